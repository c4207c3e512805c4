//! AES-256: tags, and keystream of several blocks.
//!
//! Owns: the rounds, what a counter block holds. Not: what is hashed.

use core::arch::x86_64::*;

use super::blocks::{BLOCK, Block, hold, swap};
use crate::low::block::block;
use crate::low::context::{Context, ROUND_KEYS};
use crate::segment::{TAG_LEN, Tag};

/// The rounds between the first key addition and the last round.
pub(super) const INNER: core::ops::Range<usize> = 1..ROUND_KEYS - 1;

/// `AES_K(h)` with the use bit cleared (M3.5), several at once; `h` comes octet-reversed. The
/// first 12 octets of each are a tag.
#[inline]
#[target_feature(enable = "aes,avx")]
pub(super) fn tags<const N: usize>(ctx: [&Context; N], h: [Block; N]) -> [Block; N] {
    let all_but_use = block(!0x80);
    let mut state = h;
    for (state, ctx) in state.iter_mut().zip(ctx) {
        *state = _mm_xor_si128(_mm_and_si128(swap(*state), all_but_use), ctx.round_key(0));
    }
    for round in INNER {
        for (state, ctx) in state.iter_mut().zip(ctx) {
            *state = hold(_mm_aesenc_si128(*state, ctx.round_key(round)));
        }
    }
    for (state, ctx) in state.iter_mut().zip(ctx) {
        *state = _mm_aesenclast_si128(*state, ctx.round_key(ROUND_KEYS - 1));
    }
    state
}

/// A tag in the octets of a block that [`tags`] leaves it in.
#[inline]
#[target_feature(enable = "avx")]
pub(super) fn from_tag(tag: &Tag) -> Block {
    let mut whole = [0; BLOCK];
    whole[..TAG_LEN].copy_from_slice(tag);
    block(u128::from_le_bytes(whole))
}

/// The tag in the octets of a block.
#[inline]
#[target_feature(enable = "avx")]
pub(super) fn to_tag(block: Block) -> Tag {
    let mut tag = [0; TAG_LEN];
    tag[..8].copy_from_slice(&_mm_extract_epi64::<0>(block).to_le_bytes());
    tag[8..].copy_from_slice(&_mm_extract_epi32::<2>(block).to_le_bytes());
    tag
}

/// The counter blocks of one segment: `T′ ‖ u32(offset + i)` (M3.6).
#[derive(Clone, Copy)]
pub(super) struct Counter {
    /// `T′ ‖ 0⁴`, with the first round key added.
    base: Block,
    /// The counter of the first block, as an integer, in every word.
    count: Block,
}

impl Counter {
    /// From a tag in the first 12 octets of a block; what is behind them does not count.
    #[inline]
    #[target_feature(enable = "avx")]
    pub(super) fn new(ctx: &Context, tag: Block, offset: u64) -> Self {
        let prefix = _mm_and_si128(tag, block(u128::MAX >> 32));
        let base = _mm_xor_si128(_mm_or_si128(prefix, block(0x80)), ctx.round_key(0));
        // The low half is meant: the counter wraps at 2^32 and `A` carries the whole offset.
        Self { base, count: _mm_set1_epi32(offset as i32) }
    }

    /// The states after the first key addition, for `N` blocks that begin `octets` into the
    /// keystream.
    #[inline]
    #[target_feature(enable = "avx")]
    pub(super) fn states<const N: usize>(&self, octets: usize) -> [Block; N] {
        // The last word to network order, the other three cleared.
        let order = _mm_set_epi32(0x0c0d_0e0f, -1, -1, -1);
        let mut count = _mm_add_epi32(self.count, _mm_set1_epi32((octets / BLOCK) as i32));
        let mut states = [self.base; N];
        for state in &mut states {
            *state = _mm_xor_si128(*state, _mm_shuffle_epi8(count, order));
            count = _mm_add_epi32(count, _mm_set1_epi32(1));
        }
        states
    }
}

/// One of the [`INNER`] rounds.
#[inline]
#[target_feature(enable = "aes,avx")]
pub(super) fn round<const N: usize>(ctx: &Context, states: &mut [Block; N], round: usize) {
    for state in states.iter_mut() {
        *state = hold(_mm_aesenc_si128(*state, ctx.round_key(round)));
    }
}

/// The last round, with the payload folded in: keystream XOR `data`.
#[inline]
#[target_feature(enable = "aes,avx")]
pub(super) fn last(ctx: &Context, state: Block, data: Block) -> Block {
    _mm_aesenclast_si128(state, _mm_xor_si128(ctx.round_key(ROUND_KEYS - 1), data))
}
