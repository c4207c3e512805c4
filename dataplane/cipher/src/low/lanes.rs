//! Bytes to registers and back: every load and store of the kernel.
//!
//! Owns: the bounds of each access. A slice is cut to the accessed length first, so a wrong place
//! is a panic and never an access outside the frame.

use core::arch::x86_64::*;

/// Four blocks of 16 octets.
pub(super) type Lanes = __m512i;

/// Octets of [`Lanes`].
pub(super) const LANES: usize = 64;

/// Loads 64 octets at `at`.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn load(bytes: &[u8], at: usize) -> Lanes {
    let place = &bytes[at..at + LANES];
    // SAFETY: `place` is 64 readable octets (sliced above); the load needs no alignment.
    unsafe { _mm512_loadu_si512(place.as_ptr().cast()) }
}

/// Stores 64 octets at `at`.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn store(bytes: &mut [u8], at: usize, lanes: Lanes) {
    let place = &mut bytes[at..at + LANES];
    // SAFETY: `place` is 64 writable octets (sliced above); the store needs no alignment.
    unsafe { _mm512_storeu_si512(place.as_mut_ptr().cast(), lanes) }
}

/// The mask of the first `len` of 64 octets; `len` is 1 to 64.
#[inline]
pub(super) fn first(len: usize) -> __mmask64 {
    assert!((1..=LANES).contains(&len), "invariant: a part is 1 to 64 octets");
    u64::MAX >> (LANES - len)
}

/// Loads `len` octets, 1 to 64, at `at`; the rest is zero.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn load_part(bytes: &[u8], at: usize, len: usize) -> Lanes {
    let mask = first(len);
    let place = &bytes[at..at + len];
    // SAFETY: the mask names the `len` readable octets of `place`; masked octets are not accessed.
    unsafe { _mm512_maskz_loadu_epi8(mask, place.as_ptr().cast()) }
}

/// Stores the first `len` octets, 1 to 64, at `at`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn store_part(bytes: &mut [u8], at: usize, len: usize, lanes: Lanes) {
    let mask = first(len);
    let place = &mut bytes[at..at + len];
    // SAFETY: the mask names the `len` writable octets of `place`; masked octets are not accessed.
    unsafe { _mm512_mask_storeu_epi8(place.as_mut_ptr().cast(), mask, lanes) }
}

/// Loads four neighbouring blocks of a table.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn load_blocks(table: &[__m128i], at: usize) -> Lanes {
    let place = &table[at..at + 4];
    // SAFETY: `place` is four blocks, 64 readable octets; the load needs no alignment.
    unsafe { _mm512_loadu_si512(place.as_ptr().cast()) }
}

/// A block from its little-endian value.
#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn block(value: u128) -> __m128i {
    _mm_set_epi64x((value >> 64) as i64, value as i64)
}

/// The little-endian value of a block.
#[inline]
#[target_feature(enable = "sse4.1")]
pub(super) fn value(block: __m128i) -> u128 {
    let low = _mm_extract_epi64::<0>(block) as u64;
    let high = _mm_extract_epi64::<1>(block) as u64;
    u128::from(high) << 64 | u128::from(low)
}

/// Reverses the octets of each block: GHASH and counters are big-endian on the wire.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn swap(lanes: Lanes) -> Lanes {
    let order = _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f);
    _mm512_shuffle_epi8(lanes, _mm512_broadcast_i32x4(order))
}
