//! AES-256: tags, and keystream of several blocks.
//!
//! Owns: the rounds, what a counter block holds. Not: what is hashed.

use core::arch::x86_64::*;

use super::lanes::{LANES, Lanes, broadcast, hold, hold_block};
use crate::low::block::block;
use crate::low::context::{Context, ROUND_KEYS};

/// Blocks of [`Lanes`].
const BLOCKS: i32 = 4;

/// Round key `i` in every lane.
#[inline]
#[target_feature(enable = "avx512f")]
fn key(ctx: &Context, i: usize) -> Lanes {
    broadcast(&ctx.round_keys[i])
}

/// A tag on its way: `AES_K(h)` with the use bit of `h` cleared (M3.5), of which the first 12 octets
/// are the tag.
#[derive(Clone, Copy)]
pub(super) struct Tagger<'a> {
    ctx: &'a Context,
    state: __m128i,
}

impl<'a> Tagger<'a> {
    /// After the first key addition; `h` comes octet-reversed.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    pub(super) fn new(ctx: &'a Context, h: __m128i) -> Self {
        let order = _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f);
        let input = _mm_and_si128(_mm_shuffle_epi8(h, order), block(!0x80));
        Self { ctx, state: _mm_xor_si128(input, ctx.round_keys[0]) }
    }

    /// One of the [`INNER`] rounds.
    #[inline]
    #[target_feature(enable = "aes,avx512f")]
    pub(super) fn round(&mut self, round: usize) {
        self.state = hold_block(_mm_aesenc_si128(self.state, self.ctx.round_keys[round]));
    }

    /// After the last round.
    #[inline]
    #[target_feature(enable = "aes")]
    pub(super) fn finish(self) -> __m128i {
        _mm_aesenclast_si128(self.state, self.ctx.round_keys[ROUND_KEYS - 1])
    }
}

/// Tags of several segments at once, from the hashes.
#[inline]
#[target_feature(enable = "aes,avx512f,avx512bw,avx512vl")]
pub(super) fn tags<const N: usize>(ctx: [&Context; N], h: [__m128i; N]) -> [__m128i; N] {
    let mut taggers = [Tagger::new(ctx[0], h[0]); N];
    for i in 1..N {
        taggers[i] = Tagger::new(ctx[i], h[i]);
    }
    for round in INNER {
        for tagger in &mut taggers {
            tagger.round(round);
        }
    }
    let mut tags = h;
    for (tag, tagger) in tags.iter_mut().zip(taggers) {
        *tag = tagger.finish();
    }
    tags
}

/// The counter blocks of one segment: `T′ ‖ u32(offset + i)` (M3.6).
#[derive(Clone, Copy)]
pub(super) struct Counter {
    /// `T′ ‖ 0⁴`, with the first round key added.
    base: Lanes,
    /// The counters of the first four blocks, in the last word of each lane, as integers.
    count: Lanes,
}

impl Counter {
    /// From a tag in the first 12 octets of a block; what is behind them does not count.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn new(ctx: &Context, tag: __m128i, offset: u64) -> Self {
        let prefix = _mm512_broadcast_i32x4(block(u128::MAX >> 32 & !0x80));
        let whitening = _mm512_xor_si512(key(ctx, 0), _mm512_broadcast_i32x4(block(0x80)));
        let tag = _mm512_and_si512(_mm512_broadcast_i32x4(tag), prefix);
        let lanes = _mm512_set_epi32(3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0);
        // The low half is meant: the counter wraps at 2^32 and `A` carries the whole offset.
        let count = _mm512_add_epi32(_mm512_set1_epi32(offset as i32), lanes);
        Self { base: _mm512_xor_si512(tag, whitening), count }
    }

    /// The states after the first key addition, for `N` lanes that begin `octets` into the
    /// keystream.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn states<const N: usize>(&self, octets: usize) -> [Lanes; N] {
        // The last word of each lane to network order, the other three cleared.
        let order = _mm512_broadcast_i32x4(_mm_set_epi32(0x0c0d_0e0f, -1, -1, -1));
        let mut count = _mm512_add_epi32(self.count, _mm512_set1_epi32((octets / 16) as i32));
        let mut states = [self.base; N];
        for state in &mut states {
            *state = _mm512_xor_si512(*state, _mm512_shuffle_epi8(count, order));
            count = _mm512_add_epi32(count, _mm512_set1_epi32(BLOCKS));
        }
        states
    }
}

/// The rounds between the first key addition and the last round.
pub(super) const INNER: core::ops::Range<usize> = 1..ROUND_KEYS - 1;

/// One of the [`INNER`] rounds, for states of one key.
#[inline]
#[target_feature(enable = "aes,vaes,avx512f")]
pub(super) fn round<const N: usize>(ctx: &Context, states: &mut [Lanes; N], round: usize) {
    let key = key(ctx, round);
    for state in states.iter_mut() {
        *state = hold(_mm512_aesenc_epi128(*state, key));
    }
}

/// All rounds but the last, each state with a key of its own.
#[inline]
#[target_feature(enable = "aes,vaes,avx512f")]
pub(super) fn rounds_each<const N: usize>(ctx: [&Context; N], states: &mut [Lanes; N]) {
    for round in INNER {
        for (state, ctx) in states.iter_mut().zip(ctx) {
            *state = hold(_mm512_aesenc_epi128(*state, key(ctx, round)));
        }
    }
}

/// The last round, with the payload folded in: keystream XOR `data`.
#[inline]
#[target_feature(enable = "aes,vaes,avx512f")]
pub(super) fn last(ctx: &Context, state: Lanes, data: Lanes) -> Lanes {
    _mm512_aesenclast_epi128(state, _mm512_xor_si512(key(ctx, ROUND_KEYS - 1), data))
}

const _: () = assert!(LANES == 16 * BLOCKS as usize, "a lane is a block");
