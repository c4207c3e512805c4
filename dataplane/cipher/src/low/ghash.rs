//! GHASH over up to 16 blocks with one reduction.
//!
//! Owns: the arithmetic in GF(2^128) and the running value. Blocks are kept octet-reversed; the
//! powers of H carry one factor x more, so that products come out aligned without shifting.

use core::arch::x86_64::*;

use super::lanes::{Lanes, load_blocks, swap};

/// Powers of H that a context holds: 16 blocks of a step and the block before them.
pub(super) const POWERS: usize = 17;
/// Zero blocks behind the powers, so that the last, partly filled lanes load within the table.
const SLACK: usize = 3;
/// Blocks of the table: H^17 … H^1 and the slack.
pub(super) const TABLE: usize = POWERS + SLACK;

/// x^127 + x^126 + x^121 + 1 in the high half: the reflected polynomial without its ends.
const POLYNOMIAL: i64 = 0xc200_0000_0000_0000_u64 as i64;

/// An unreduced sum of products.
#[derive(Clone, Copy)]
struct Products {
    low: Lanes,
    middle: Lanes,
    high: Lanes,
}

impl Products {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn zero() -> Self {
        let zero = _mm512_setzero_si512();
        Self { low: zero, middle: zero, high: zero }
    }

    /// Adds `a` × `b`, lane by lane.
    #[inline]
    #[target_feature(enable = "avx512f,vpclmulqdq")]
    fn add(&mut self, a: Lanes, b: Lanes) {
        self.low = _mm512_xor_si512(self.low, _mm512_clmulepi64_epi128::<0x00>(a, b));
        self.high = _mm512_xor_si512(self.high, _mm512_clmulepi64_epi128::<0x11>(a, b));
        let one = _mm512_clmulepi64_epi128::<0x01>(a, b);
        let other = _mm512_clmulepi64_epi128::<0x10>(a, b);
        self.middle = _mm512_ternarylogic_epi64::<0x96>(self.middle, one, other);
    }

    /// The sum modulo the polynomial, lane by lane.
    #[inline]
    #[target_feature(enable = "avx512f,vpclmulqdq")]
    fn reduce(self) -> Lanes {
        let polynomial = _mm512_broadcast_i32x4(_mm_set_epi64x(POLYNOMIAL, 1));
        let middle = _mm512_ternarylogic_epi64::<0x96>(
            self.middle,
            _mm512_shuffle_epi32::<0x4e>(self.low),
            _mm512_clmulepi64_epi128::<0x01>(polynomial, self.low),
        );
        _mm512_ternarylogic_epi64::<0x96>(
            self.high,
            _mm512_shuffle_epi32::<0x4e>(middle),
            _mm512_clmulepi64_epi128::<0x01>(polynomial, middle),
        )
    }
}

/// `a` × `b`, lane by lane.
#[inline]
#[target_feature(enable = "avx512f,vpclmulqdq")]
fn multiply(a: Lanes, b: Lanes) -> Lanes {
    let mut products = Products::zero();
    products.add(a, b);
    products.reduce()
}

/// Fills the table from H (octet-reversed): H^17 first.
#[inline]
#[target_feature(enable = "avx512f,vpclmulqdq")]
pub(super) fn fill_powers(h: __m128i, table: &mut [__m128i; TABLE]) {
    // H times x: shift by one and fold the bit that falls out, without a branch on it.
    let carries = _mm_srai_epi32::<31>(_mm_shuffle_epi32::<0xd3>(h));
    let fold = _mm_and_si128(carries, _mm_set_epi64x(POLYNOMIAL | 1, 1));
    let one = _mm_xor_si128(_mm_add_epi64(h, h), fold);

    let one = _mm512_zextsi128_si512(one);
    let two = multiply(one, one);
    let three = multiply(two, one);
    let four = multiply(two, two);
    let first = _mm512_castsi512_si128(one);
    let fourth = _mm512_castsi512_si128(four);
    let mut group = _mm512_zextsi128_si512(fourth);
    group = _mm512_inserti32x4::<1>(group, _mm512_castsi512_si128(three));
    group = _mm512_inserti32x4::<2>(group, _mm512_castsi512_si128(two));
    group = _mm512_inserti32x4::<3>(group, first);
    let by_four = _mm512_broadcast_i32x4(fourth);
    for end in [POWERS, POWERS - 4, POWERS - 8, POWERS - 12] {
        table[end - 4] = _mm512_castsi512_si128(group);
        table[end - 3] = _mm512_extracti32x4_epi32::<1>(group);
        table[end - 2] = _mm512_extracti32x4_epi32::<2>(group);
        table[end - 1] = _mm512_extracti32x4_epi32::<3>(group);
        group = multiply(group, by_four);
    }
    table[0] = _mm512_extracti32x4_epi32::<3>(group);
}

/// A running hash.
pub(super) struct Hash<'a> {
    powers: &'a [__m128i; TABLE],
    /// Product of the leading block, until the first step takes it in.
    lead: Products,
    /// The value so far, in the lowest lane.
    value: Lanes,
}

impl<'a> Hash<'a> {
    /// Begins with one block (octet-reversed); `blocks` is what the first [`Hash::absorb`] takes.
    #[inline]
    #[target_feature(enable = "avx512f,vpclmulqdq")]
    pub(super) fn begin(powers: &'a [__m128i; TABLE], block: __m128i, blocks: usize) -> Self {
        let mut lead = Products::zero();
        let power = _mm512_zextsi128_si512(powers[POWERS - 1 - blocks]);
        lead.add(_mm512_zextsi128_si512(block), power);
        Self { powers, lead, value: _mm512_setzero_si512() }
    }

    /// Takes in `blocks` blocks, as they lie in memory, with zeros behind the last.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,vpclmulqdq")]
    pub(super) fn absorb<const N: usize>(&mut self, data: [Lanes; N], blocks: usize) {
        let mut products = self.lead;
        let mut power = POWERS - blocks;
        let mut value = self.value;
        for data in data {
            let data = _mm512_xor_si512(swap(data), value);
            products.add(data, load_blocks(self.powers, power));
            value = _mm512_setzero_si512();
            power += 4;
        }
        self.lead = Products::zero();
        let lanes = products.reduce();
        let halves =
            _mm256_xor_si256(_mm512_castsi512_si256(lanes), _mm512_extracti64x4_epi64::<1>(lanes));
        let sum =
            _mm_xor_si128(_mm256_castsi256_si128(halves), _mm256_extracti128_si256::<1>(halves));
        self.value = _mm512_zextsi128_si512(sum);
    }

    /// The hash, octet-reversed.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn finish(self) -> __m128i {
        _mm512_castsi512_si128(self.value)
    }
}
