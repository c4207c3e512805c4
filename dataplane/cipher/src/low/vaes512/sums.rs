//! The sums of RFC 1071, folded into the pass.
//!
//! Owns: their accumulation in 16 lanes of 32 bits and their end. Words are added as they lie in
//! memory: the sum is that of big-endian words with its two octets exchanged (RFC 1071, 2 (B)).

use core::arch::x86_64::*;

use super::lanes::{Lanes, add_products, evens, odds};
use crate::segment::Sums;

/// Running sums of what is read and what is written.
#[derive(Clone, Copy)]
pub(super) struct Running {
    before: Lanes,
    after: Lanes,
}

impl Running {
    /// For `lanes` calls of [`Running::add`], at most 1024 (64 KiB).
    ///
    /// A word enters less 2^15, as the signed multiply-add wants it, two to a lane of 32 bits; what
    /// that takes away stands here from the start, so that the end is exact.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn new(lanes: usize) -> Self {
        let bias = _mm512_set1_epi32((lanes << 16) as i32);
        Self { before: bias, after: bias }
    }

    /// Adds 64 octets as they were and as they become; zeros add nothing.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub(super) fn add(&mut self, before: Lanes, after: Lanes) {
        self.before = add_words(self.before, before);
        self.after = add_words(self.after, after);
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn add_words(sum: Lanes, words: Lanes) -> Lanes {
    let signed = _mm512_xor_si512(words, _mm512_set1_epi16(i16::MIN));
    add_products(sum, signed, _mm512_set1_epi16(1))
}

/// The sums of several segments.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) fn finish_each<const N: usize>(running: [Running; N]) -> [Sums; N] {
    let mut sums = [Sums::default(); N];
    for i in (0..N).step_by(4) {
        let [a, b, c, d] = [i, i + 1, i + 2, i + 3].map(|i| i.min(N - 1));
        let four = finish_four([running[a], running[b], running[c], running[d]]);
        // Past the end the last one is repeated, with an equal outcome.
        sums[a] = four[0];
        sums[b] = four[1];
        sums[c] = four[2];
        sums[d] = four[3];
    }
    sums
}

/// The sums of four segments at once.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn finish_four(running: [Running; 4]) -> [Sums; 4] {
    let [a, b, c, d] = running;
    let before = sum_each([a.before, b.before, c.before, d.before]);
    let after = sum_each([a.after, b.after, c.after, d.after]);
    // Words 0 and 1 of each lane become parts of `before`, 2 and 3 of `after`.
    let halves = _mm512_add_epi32(
        _mm512_unpacklo_epi64(before, after),
        _mm512_unpackhi_epi64(before, after),
    );
    let total = _mm512_add_epi32(halves, _mm512_shuffle_epi32::<0xb1>(halves));
    // Twice end-around carry: the second time there is at most one.
    let words = _mm512_set1_epi32(0xffff);
    let once = _mm512_add_epi32(_mm512_and_si512(total, words), _mm512_srli_epi32::<16>(total));
    let twice = _mm512_add_epi32(_mm512_and_si512(once, words), _mm512_srli_epi32::<16>(once));
    let totals = _mm512_cvtepi64_epi32(twice);
    let totals = [
        _mm256_extract_epi64::<0>(totals),
        _mm256_extract_epi64::<1>(totals),
        _mm256_extract_epi64::<2>(totals),
        _mm256_extract_epi64::<3>(totals),
    ];
    [of(totals[0]), of(totals[1]), of(totals[2]), of(totals[3])]
}

/// Both sums from the low halves of two 32-bit words.
#[inline]
fn of(totals: i64) -> Sums {
    Sums { before: (totals as u16).swap_bytes(), after: ((totals >> 32) as u16).swap_bytes() }
}

/// Lane `i` of the result is the sum of the lanes of `parts[i]`.
#[inline]
#[target_feature(enable = "avx512f")]
fn sum_each(parts: [Lanes; 4]) -> Lanes {
    let [a, b, c, d] = parts;
    let ab = _mm512_add_epi32(evens(a, b), odds(a, b));
    let cd = _mm512_add_epi32(evens(c, d), odds(c, d));
    _mm512_add_epi32(evens(ab, cd), odds(ab, cd))
}
