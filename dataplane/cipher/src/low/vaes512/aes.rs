//! AES-256: tags, and keystream of several blocks.
//!
//! Owns: the rounds, what a counter block holds. Not: what is hashed.

use core::arch::x86_64::*;

use super::lanes::{LANES, Lanes, hold, hold_block, load_lanes};
use super::step::Data;
use crate::low::block::block;
use crate::low::context::{Context, ROUND_KEYS};

/// Blocks of [`Lanes`].
const BLOCKS: i32 = 4;

/// The rounds between the first key addition and the last round.
pub(super) const INNER: core::ops::Range<usize> = 1..ROUND_KEYS - 1;
/// The last round.
pub(super) const LAST: usize = ROUND_KEYS - 1;

/// Round key `i` in every lane.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn key(ctx: &Context, i: usize) -> Lanes {
    load_lanes(&ctx.round_keys[i])
}

/// Tags of several segments at once: `AES_K(h)` with the use bit of each `h` cleared (M3.5), of which
/// the first 12 octets are the tag. The hashes come octet-reversed.
#[inline]
#[target_feature(enable = "aes,avx512f,avx512bw,avx512vl")]
pub(super) fn tags<const N: usize>(ctx: [&Context; N], h: [__m128i; N]) -> [__m128i; N] {
    let mut states = h;
    for (state, ctx) in states.iter_mut().zip(ctx) {
        *state = whitened(ctx, *state);
    }
    for round in INNER {
        for (state, ctx) in states.iter_mut().zip(ctx) {
            *state = hold_block(_mm_aesenc_si128(*state, ctx.round_key(round)));
        }
    }
    for (state, ctx) in states.iter_mut().zip(ctx) {
        *state = _mm_aesenclast_si128(*state, ctx.round_key(ROUND_KEYS - 1));
    }
    states
}

/// A tag on its way, a round at a time beside other work.
pub(super) struct Tagger<'a> {
    ctx: &'a Context,
    state: __m128i,
}

impl<'a> Tagger<'a> {
    /// Of the hash in the lowest lane of `h`, as [`tags`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    pub(super) fn new(ctx: &'a Context, h: Lanes) -> Self {
        Self { ctx, state: whitened(ctx, _mm512_castsi512_si128(h)) }
    }

    /// One of the [`INNER`] rounds.
    #[inline]
    #[target_feature(enable = "aes,avx512f")]
    pub(super) fn round(&mut self, round: usize) {
        self.state = hold_block(_mm_aesenc_si128(self.state, self.ctx.round_key(round)));
    }

    /// All rounds: the tag.
    #[target_feature(enable = "aes,avx512f")]
    pub(super) fn all(&mut self) -> __m128i {
        for round in INNER {
            self.round(round);
        }
        self.last()
    }

    /// The last round: the tag.
    #[inline]
    #[target_feature(enable = "aes")]
    pub(super) fn last(&self) -> __m128i {
        _mm_aesenclast_si128(self.state, self.ctx.round_key(ROUND_KEYS - 1))
    }
}

/// A hash with its use bit cleared, after the first key addition.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn whitened(ctx: &Context, h: __m128i) -> __m128i {
    let order = _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f);
    _mm_xor_si128(_mm_and_si128(_mm_shuffle_epi8(h, order), block(!0x80)), ctx.round_key(0))
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
        let prefix = block(u128::MAX >> 32 & !0x80);
        let tag = _mm_or_si128(_mm_and_si128(tag, prefix), block(0x80));
        let base = _mm512_broadcast_i32x4(_mm_xor_si128(tag, ctx.round_key(0)));
        let lanes = _mm512_set_epi32(3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0);
        // The low half is meant: the counter wraps at 2^32 and `A` carries the whole offset.
        let count = _mm512_add_epi32(_mm512_set1_epi32(offset as i32), lanes);
        Self { base, count }
    }

    /// The counters of the register that begins `octets` into the keystream.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn count(&self, octets: usize) -> Lanes {
        _mm512_add_epi32(self.count, _mm512_set1_epi32((octets / 16) as i32))
    }

    /// The state of these counters after the first key addition; then they are those of the next register.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn state(&self, count: &mut Lanes) -> Lanes {
        // The last word of each lane to network order, the other three cleared.
        let order = _mm512_broadcast_i32x4(_mm_set_epi32(0x0c0d_0e0f, -1, -1, -1));
        let state = _mm512_xor_si512(self.base, _mm512_shuffle_epi8(*count, order));
        *count = _mm512_add_epi32(*count, _mm512_set1_epi32(BLOCKS));
        state
    }

    /// The states of the first `L` registers after the first key addition.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn first<const L: usize>(&self) -> [Lanes; L] {
        let mut count = self.count;
        let mut first = [self.base; L];
        for state in &mut first {
            *state = self.state(&mut count);
        }
        first
    }
}

/// One of the [`INNER`] rounds, for the first `L` states of a step.
#[inline]
#[target_feature(enable = "aes,vaes,avx512f")]
pub(super) fn round<const L: usize>(ctx: &Context, states: &mut Data, round: usize) {
    let key = key(ctx, round);
    for state in states.iter_mut().take(L) {
        *state = round_one(key, *state);
    }
}

/// All rounds but the last of `N` times `L` states, each `L` with a key of their own.
#[inline]
#[target_feature(enable = "aes,vaes,avx512f")]
pub(super) fn rounds_each<const N: usize, const L: usize>(
    ctx: [&Context; N],
    states: &mut [[Lanes; L]; N],
) {
    for round in INNER {
        for (states, ctx) in states.iter_mut().zip(ctx) {
            let key = key(ctx, round);
            for state in states {
                *state = round_one(key, *state);
            }
        }
    }
}

/// One of the [`INNER`] rounds of one state.
#[inline]
#[target_feature(enable = "aes,vaes,avx512f")]
pub(super) fn round_one(key: Lanes, state: Lanes) -> Lanes {
    hold(_mm512_aesenc_epi128(state, key))
}

/// The last round, with the payload folded in: keystream XOR `data`.
#[inline]
#[target_feature(enable = "aes,vaes,avx512f")]
pub(super) fn last(key: Lanes, state: Lanes, data: Lanes) -> Lanes {
    _mm512_aesenclast_epi128(state, _mm512_xor_si512(key, data))
}

const _: () = assert!(LANES == 16 * BLOCKS as usize, "a lane is a block");
