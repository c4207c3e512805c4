//! The sums of RFC 1071, folded into the pass.
//!
//! Owns: their accumulation in 8 lanes of 32 bits and their end. Words are added as they lie in
//! memory: the sum is that of big-endian words with its two octets exchanged (RFC 1071, 2 (B)).

use core::arch::x86_64::*;

use super::lanes::Lanes;
use crate::segment::Sums;

/// Running sums of what is read and what is written.
#[derive(Clone, Copy)]
pub(super) struct Running {
    before: Lanes,
    after: Lanes,
}

impl Running {
    /// For `lanes` registers of [`Running::add`], at most 2048 (64 KiB).
    ///
    /// A word enters less 2^15, as the signed multiply-add wants it, two to a lane of 32 bits; what
    /// that takes away stands here from the start, so that the end is exact.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn new(lanes: usize) -> Self {
        let bias = _mm256_set1_epi32((lanes << 16) as i32);
        Self { before: bias, after: bias }
    }

    /// Adds octets as they were and as they become; zeros add nothing.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn add<const N: usize>(&mut self, before: [Lanes; N], after: [Lanes; N]) {
        for i in 0..N {
            self.before = add_words(self.before, before[i]);
            self.after = add_words(self.after, after[i]);
        }
    }

    /// Both sums.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn finish(self) -> Sums {
        // Words 0, 1 and 4, 5 come from `before`, the others from `after`.
        let pairs = _mm256_hadd_epi32(self.before, self.after);
        let halves =
            _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256::<1>(pairs));
        let totals = _mm_hadd_epi32(halves, halves);
        let (before, after) = (_mm_extract_epi32::<0>(totals), _mm_extract_epi32::<1>(totals));
        Sums { before: fold(before as u32), after: fold(after as u32) }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn add_words(sum: Lanes, words: Lanes) -> Lanes {
    let signed = _mm256_xor_si256(words, _mm256_set1_epi16(i16::MIN));
    _mm256_add_epi32(sum, _mm256_madd_epi16(signed, _mm256_set1_epi16(1)))
}

/// Adds the carries back in and exchanges the octets.
#[inline]
fn fold(total: u32) -> u16 {
    let once = (total & 0xffff) + (total >> 16);
    (((once & 0xffff) + (once >> 16)) as u16).swap_bytes()
}
