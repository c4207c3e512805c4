//! The sums of RFC 1071, folded into the pass.
//!
//! Owns: their accumulation in eight lanes of 64 bits and their end. Words are added as they lie in
//! memory: the sum is that of big-endian words with its two octets exchanged (RFC 1071, 2 (B)).
//!
//! Additions, averages and shifts only: every multiply-add instruction would take the place of a round of
//! AES, and there are few of those between the rounds as it is.

use core::arch::x86_64::*;

use super::lanes::{Lanes, evens, hold_number, odds};
use super::step::{Data, WIDE, halves};

/// A running sum of at most 64 KiB.
#[derive(Clone, Copy)]
pub(super) struct Running {
    /// The lanes' sum modulo 2^64.
    whole: Lanes,
    /// The lanes' sum in units of 2^50, about: enough to tell how often `whole` has wrapped.
    about: Lanes,
}

impl Running {
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn zero() -> Self {
        Self { whole: _mm512_setzero_si512(), about: _mm512_setzero_si512() }
    }

    /// Adds at most 256 octets; zeros add nothing.
    ///
    /// The average of four top words, rounded up twice on the way, is at most 1 more than a quarter of
    /// their sum.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn add<const L: usize>(&mut self, octets: [Lanes; L]) {
        let mut four = [_mm512_setzero_si512(); 4];
        four[..L].copy_from_slice(&octets);
        let [a, b, c, d] = four;
        let sum = _mm512_add_epi64(_mm512_add_epi64(a, b), _mm512_add_epi64(c, d));
        self.whole = _mm512_add_epi64(self.whole, sum);
        let quarter = _mm512_avg_epu16(_mm512_avg_epu16(a, b), _mm512_avg_epu16(c, d));
        self.about = _mm512_add_epi64(self.about, _mm512_srli_epi64::<48>(quarter));
    }

    /// Adds a step of `L` registers.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn add_step<const L: usize>(&mut self, octets: Data) {
        let [one, two] = halves(octets);
        self.add(one);
        if L > WIDE / 2 {
            self.add(two);
        }
    }

    /// Eight parts of the sum, each below 2^34.
    ///
    /// In units of 2^48, each addition of four registers leaves `about` at most 4 above and, for the bits
    /// that it does not look at, at most 4 below what it stands for; 256 additions, 64 KiB, stay within
    /// 1024 of the truth. What `whole` and the wraps make together is then nearest to it by far: a wrap more
    /// or less is 2^16 such units.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn parts(self) -> Lanes {
        let (half, low) = (_mm512_set1_epi64(1 << 15), _mm512_set1_epi64(0xffff_ffff));
        let about = _mm512_add_epi64(_mm512_slli_epi64::<2>(self.about), half);
        let known = _mm512_srli_epi64::<48>(self.whole);
        let wraps = _mm512_srli_epi64::<16>(_mm512_sub_epi64(about, known));
        // A wrap of 2^64 counts as much as one of 2^16, which is 1.
        let lower = _mm512_add_epi64(_mm512_and_si512(self.whole, low), wraps);
        _mm512_add_epi64(lower, _mm512_srli_epi64::<32>(self.whole))
    }
}

/// A running sum outside the vector registers, where nothing is in the way of the rounds of AES: words of 64
/// bits with end-around carry.
#[derive(Clone, Copy)]
pub(super) struct Words(u64);

impl Words {
    pub(super) const ZERO: Self = Self(0);

    /// Adds 64 octets.
    ///
    /// The last carry does not carry again: a word that came with a carry is not all ones, because nothing but
    /// such a word and a carry makes one.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn add(&mut self, octets: &[u8; 64]) {
        let (mut carry, mut sum) = (0, self.0);
        for word in octets.as_chunks().0 {
            carry = _addcarry_u64(carry, sum, u64::from_le_bytes(*word), &mut sum);
        }
        _addcarry_u64(carry, sum, 0, &mut sum);
        self.0 = hold_number(sum);
    }

    /// Eight parts of the sum, each below 2^32.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn parts(self) -> Lanes {
        let (low, high) = (self.0 & 0xffff_ffff, self.0 >> 32);
        _mm512_zextsi128_si512(_mm_set_epi64x(high as i64, low as i64))
    }
}

/// Eight parts of the sum of at most 256 octets, each below 2^34.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn parts<const L: usize>(octets: [Lanes; L]) -> Lanes {
    if L == 1 {
        let low = _mm512_and_si512(octets[0], _mm512_set1_epi64(0xffff_ffff));
        return _mm512_add_epi64(low, _mm512_srli_epi64::<32>(octets[0]));
    }
    let mut running = Running::zero();
    running.add(octets);
    running.parts()
}

/// The parts of four sums, two of each.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn of_four(parts: [Lanes; 4]) -> Lanes {
    let [a, b, c, d] = parts;
    let (ab, cd) = (pairs(a, b), pairs(c, d));
    _mm512_add_epi64(evens(ab, cd), odds(ab, cd))
}

/// Each of four tags with its sums behind, from [`of_four`].
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl")]
pub(super) fn beside_four(tags: [__m128i; 4], before: Lanes, after: Lanes) -> [__m128i; 4] {
    let totals = _mm512_add_epi64(evens(before, after), odds(before, after));
    // The carries back in, three times: the last time there is at most one.
    let words = _mm512_cvtepi64_epi16(around(around(around(totals))));
    // Octets exchanged back; the first sum before and the first after, and so on.
    let order = _mm_set_epi64x(0x0e0f_0607_0c0d_0405, 0x0a0b_0203_0809_0001);
    let words = _mm_shuffle_epi8(words, order);
    let [a, b, c, d] = tags;
    [
        _mm_blend_epi32::<8>(a, _mm_shuffle_epi32::<0x00>(words)),
        _mm_blend_epi32::<8>(b, _mm_shuffle_epi32::<0x55>(words)),
        _mm_blend_epi32::<8>(c, _mm_shuffle_epi32::<0xaa>(words)),
        _mm_blend_epi32::<8>(d, words),
    ]
}

/// A tag with its sums behind.
#[inline]
#[target_feature(enable = "sse4.1,avx512f,avx512bw,avx512vl")]
pub(super) fn beside(tag: __m128i, before: Lanes, after: Lanes) -> __m128i {
    let [before, after] = finish_two(before, after);
    _mm_insert_epi32::<3>(tag, (u32::from(after) << 16 | u32::from(before)) as i32)
}

/// Two sums from their parts.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn finish_two(one: Lanes, other: Lanes) -> [u16; 2] {
    let both = pairs(one, other);
    let halves =
        _mm256_add_epi64(_mm512_castsi512_si256(both), _mm512_extracti64x4_epi64::<1>(both));
    let totals =
        _mm_add_epi64(_mm256_castsi256_si128(halves), _mm256_extracti128_si256::<1>(halves));
    let totals = [_mm_cvtsi128_si64(totals), _mm_cvtsi128_si64(_mm_unpackhi_epi64(totals, totals))];
    totals.map(|total| {
        let total = total as u64;
        let once = (total & 0xffff) + (total >> 16 & 0xffff) + (total >> 32);
        let twice = (once & 0xffff) + (once >> 16);
        (((twice & 0xffff) + (twice >> 16)) as u16).swap_bytes()
    })
}

/// Neighbours added: one of `a`, one of `b`, and so on.
#[inline]
#[target_feature(enable = "avx512f")]
fn pairs(a: Lanes, b: Lanes) -> Lanes {
    _mm512_add_epi64(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b))
}

/// The lowest 16 bits, and what is above them added.
#[inline]
#[target_feature(enable = "avx512f")]
fn around(totals: Lanes) -> Lanes {
    let low = _mm512_and_si512(totals, _mm512_set1_epi64(0xffff));
    _mm512_add_epi64(low, _mm512_srli_epi64::<16>(totals))
}
