//! AES-256: tags, and keystream of several blocks.
//!
//! Owns: the rounds, what a counter block holds. Not: what is hashed.

use core::arch::x86_64::*;

use super::lanes::{Lanes, hold};
use crate::low::block::block;
use crate::low::context::{Context, ROUND_KEYS};

/// Round key `i` in both lanes.
#[inline]
#[target_feature(enable = "avx2")]
fn key(ctx: &Context, i: usize) -> Lanes {
    _mm256_broadcastsi128_si256(ctx.round_key(i))
}

/// `AES_K(h)` with the use bit of `h` cleared (M3.5), several at once; `h` comes octet-reversed.
/// The first 12 octets of each are a tag.
#[inline]
#[target_feature(enable = "aes,avx2")]
pub(super) fn tags<const N: usize>(ctx: [&Context; N], h: [__m128i; N]) -> [__m128i; N] {
    let order = _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f);
    let mut states = h;
    for (state, ctx) in states.iter_mut().zip(ctx) {
        let input = _mm_and_si128(_mm_shuffle_epi8(*state, order), block(!0x80));
        *state = _mm_xor_si128(input, ctx.round_key(0));
    }
    for round in 1..ROUND_KEYS - 1 {
        for (state, ctx) in states.iter_mut().zip(ctx) {
            *state = _mm_aesenc_si128(*state, ctx.round_key(round));
        }
    }
    for (state, ctx) in states.iter_mut().zip(ctx) {
        *state = _mm_aesenclast_si128(*state, ctx.round_key(ROUND_KEYS - 1));
    }
    states
}

/// The counter blocks of one segment: `T′ ‖ u32(offset + i)` (M3.6).
#[derive(Clone, Copy)]
pub(super) struct Counter<'a> {
    ctx: &'a Context,
    /// `T′ ‖ 0⁴`, with the first round key added.
    base: Lanes,
    /// The counters of the first two blocks, in the last word of each lane, as integers.
    count: Lanes,
}

impl<'a> Counter<'a> {
    /// From a tag in the first 12 octets of a block; what is behind them does not count.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn new(ctx: &'a Context, tag: __m128i, offset: u64) -> Self {
        let tag = _mm_and_si128(tag, block(u128::MAX >> 32 & !0x80));
        let base = _mm_xor_si128(_mm_xor_si128(tag, block(0x80)), ctx.round_key(0));
        // The low half is meant: the counter wraps at 2^32 and `A` carries the whole offset.
        let first = _mm256_set1_epi32(offset as i32);
        let count = _mm256_add_epi32(first, _mm256_set_epi32(1, 0, 0, 0, 0, 0, 0, 0));
        Self { ctx, base: _mm256_broadcastsi128_si256(base), count }
    }

    /// `data` XOR the keystream that begins `octets` into the payload.
    #[inline]
    #[target_feature(enable = "aes,vaes,avx2")]
    pub(super) fn crypt<const N: usize>(&self, octets: usize, data: [Lanes; N]) -> [Lanes; N] {
        // The last word of each lane to network order, the other three cleared.
        let order = _mm256_broadcastsi128_si256(_mm_set_epi32(0x0c0d_0e0f, -1, -1, -1));
        let mut count = _mm256_add_epi32(self.count, _mm256_set1_epi32((octets / 16) as i32));
        let mut states = [self.base; N];
        for state in &mut states {
            *state = _mm256_xor_si256(*state, _mm256_shuffle_epi8(count, order));
            count = _mm256_add_epi32(count, _mm256_set1_epi32(2));
        }
        for round in 1..ROUND_KEYS - 1 {
            let key = key(self.ctx, round);
            for state in &mut states {
                *state = hold(_mm256_aesenc_epi128(*state, key));
            }
        }
        let key = key(self.ctx, ROUND_KEYS - 1);
        for (state, data) in states.iter_mut().zip(data) {
            *state = _mm256_aesenclast_epi128(*state, _mm256_xor_si256(key, data));
        }
        states
    }
}
