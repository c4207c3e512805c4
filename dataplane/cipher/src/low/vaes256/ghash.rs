//! GHASH over up to 16 blocks with one reduction.
//!
//! Owns: the running hash of a segment. Blocks are kept octet-reversed.

use core::arch::x86_64::*;

use super::lanes::{Lanes, fold, load_blocks, swap};
use crate::low::block::POLYNOMIAL;
use crate::low::context::{Context, POWERS};

/// A running hash.
#[derive(Clone, Copy)]
pub(super) struct Hash<'a> {
    ctx: &'a Context,
    /// Product of the block `A`, until the first step takes it in.
    low: Lanes,
    middle: Lanes,
    high: Lanes,
    /// The value so far, in the lower lane.
    value: Lanes,
}

impl<'a> Hash<'a> {
    /// Begins with the block `A` (octet-reversed); `blocks`, at most 16, come next.
    #[inline]
    #[target_feature(enable = "avx2,vpclmulqdq")]
    pub(super) fn new(ctx: &'a Context, associated: __m128i, blocks: usize) -> Self {
        let zero = _mm256_setzero_si256();
        let mut hash = Self { ctx, low: zero, middle: zero, high: zero, value: zero };
        let power = _mm256_zextsi128_si256(ctx.powers[POWERS - 1 - blocks]);
        hash.add(_mm256_zextsi128_si256(associated), power);
        hash
    }

    /// Adds `a` × `b`, lane by lane.
    #[inline]
    #[target_feature(enable = "avx2,vpclmulqdq")]
    fn add(&mut self, a: Lanes, b: Lanes) {
        let one = _mm256_clmulepi64_epi128::<0x01>(a, b);
        let other = _mm256_clmulepi64_epi128::<0x10>(a, b);
        self.low = _mm256_xor_si256(self.low, _mm256_clmulepi64_epi128::<0x00>(a, b));
        self.high = _mm256_xor_si256(self.high, _mm256_clmulepi64_epi128::<0x11>(a, b));
        self.middle = _mm256_xor_si256(self.middle, _mm256_xor_si256(one, other));
    }

    /// Takes in `blocks` blocks, as they lie in memory, with zeros behind the last.
    #[inline]
    #[target_feature(enable = "avx2,vpclmulqdq")]
    pub(super) fn absorb<const N: usize>(&mut self, data: [Lanes; N], blocks: usize) {
        let mut value = self.value;
        for (i, data) in data.into_iter().enumerate() {
            let data = _mm256_xor_si256(swap(data), value);
            // Lanes without blocks are zeros, whatever they are multiplied by.
            let power = (POWERS - blocks + 2 * i).min(POWERS - 1);
            self.add(data, load_blocks(&self.ctx.powers, power));
            value = _mm256_setzero_si256();
        }
        let zero = _mm256_setzero_si256();
        self.value = _mm256_zextsi128_si256(fold(self.reduce()));
        (self.low, self.middle, self.high) = (zero, zero, zero);
    }

    /// The sum of products modulo the polynomial, lane by lane.
    #[inline]
    #[target_feature(enable = "avx2,vpclmulqdq")]
    fn reduce(&self) -> Lanes {
        fold_in(self.high, fold_in(self.middle, self.low))
    }

    /// The hash, octet-reversed; of the block `A` alone if nothing was taken in.
    #[inline]
    #[target_feature(enable = "avx2,vpclmulqdq")]
    pub(super) fn finish(self) -> __m128i {
        fold(_mm256_xor_si256(self.value, self.reduce()))
    }
}

/// Takes the lower half of a product away, which the polynomial makes part of the upper.
#[inline]
#[target_feature(enable = "avx2,vpclmulqdq")]
fn fold_in(upper: Lanes, lower: Lanes) -> Lanes {
    let polynomial = _mm256_broadcastsi128_si256(_mm_set_epi64x(POLYNOMIAL, 1));
    let product = _mm256_clmulepi64_epi128::<0x01>(polynomial, lower);
    let swapped = _mm256_shuffle_epi32::<0x4e>(lower);
    _mm256_xor_si256(upper, _mm256_xor_si256(swapped, product))
}
