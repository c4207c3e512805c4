//! One block of 16 octets: values in and out, products in GF(2^128).
//!
//! Owns: the arithmetic that contexts are made with. Blocks of GHASH are kept octet-reversed.

use core::arch::x86_64::*;

use crate::segment::{TAG_LEN, Tag};

/// x^127 + x^126 + x^121 + 1 in the high half: the reflected polynomial without its ends.
pub(super) const POLYNOMIAL: i64 = 0xc200_0000_0000_0000_u64 as i64;

/// A block from its little-endian value.
#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn block(value: u128) -> __m128i {
    _mm_set_epi64x((value >> 64) as i64, value as i64)
}

/// A tag in the first 12 octets of a block, zeros behind.
///
/// Put together in registers: what is written in pieces cannot be loaded as a whole before all earlier
/// work has ended.
#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn read_tag(tag: &Tag) -> __m128i {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = *tag;
    let low = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
    let high = u32::from_le_bytes([i, j, k, l]);
    _mm_set_epi64x(i64::from(high), low as i64)
}

/// The first 12 octets of a block.
#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn write_tag(block: __m128i) -> Tag {
    let mut tag = [0; TAG_LEN];
    let last = _mm_cvtsi128_si32(_mm_unpackhi_epi64(block, block));
    tag[..8].copy_from_slice(&_mm_cvtsi128_si64(block).to_le_bytes());
    tag[8..].copy_from_slice(&last.to_le_bytes());
    tag
}

/// H times x: shifts by one and folds the bit that falls out, without a branch on it.
#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn times_x(h: __m128i) -> __m128i {
    let carries = _mm_srai_epi32::<31>(_mm_shuffle_epi32::<0xd3>(h));
    let fold = _mm_and_si128(carries, _mm_set_epi64x(POLYNOMIAL | 1, 1));
    _mm_xor_si128(_mm_add_epi64(h, h), fold)
}

/// `a` × `b` modulo the polynomial, where one of the two carries the factor x.
#[inline]
#[target_feature(enable = "pclmulqdq,sse2")]
pub(super) fn multiply(a: __m128i, b: __m128i) -> __m128i {
    let polynomial = _mm_set_epi64x(POLYNOMIAL, 1);
    let low = _mm_clmulepi64_si128::<0x00>(a, b);
    let high = _mm_clmulepi64_si128::<0x11>(a, b);
    let one = _mm_clmulepi64_si128::<0x01>(a, b);
    let other = _mm_clmulepi64_si128::<0x10>(a, b);
    let middle = _mm_xor_si128(_mm_xor_si128(one, other), _mm_shuffle_epi32::<0x4e>(low));
    let middle = _mm_xor_si128(middle, _mm_clmulepi64_si128::<0x01>(polynomial, low));
    let high = _mm_xor_si128(high, _mm_shuffle_epi32::<0x4e>(middle));
    _mm_xor_si128(high, _mm_clmulepi64_si128::<0x01>(polynomial, middle))
}
