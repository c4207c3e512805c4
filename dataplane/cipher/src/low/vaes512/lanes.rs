//! Bytes to registers and back: every load and store of the kernel.
//!
//! Owns: the bounds of each access. A slice is cut to the accessed length first, or masked by it, so a wrong place
//! is a panic and never an access outside the frame.

use core::arch::asm;
use core::arch::x86_64::*;
use core::mem::{offset_of, transmute};

use crate::segment::{Sealed, Sums, TAG_LEN, Tag};

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

/// The mask of what there is of 64 octets from `at` on.
#[inline]
#[target_feature(enable = "bmi2")]
fn there(bytes: &[u8], at: usize) -> __mmask64 {
    _bzhi_u64(u64::MAX, bytes.len().saturating_sub(at).min(LANES) as u32)
}

/// Loads what there is of 64 octets from `at` on, with zeros behind; `at` may lie behind the end.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,bmi2")]
pub(super) fn load_part(bytes: &[u8], at: usize) -> Lanes {
    let (mask, place) = (there(bytes, at), bytes.as_ptr().wrapping_add(at));
    // SAFETY: the mask names octets of `bytes` only; masked octets are not accessed.
    unsafe { _mm512_maskz_loadu_epi8(mask, place.cast()) }
}

/// Stores to what there is of 64 octets from `at` on; returns that, with zeros behind.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,bmi2")]
pub(super) fn store_part(bytes: &mut [u8], at: usize, lanes: Lanes) -> Lanes {
    let (mask, place) = (there(bytes, at), bytes.as_mut_ptr().wrapping_add(at));
    // SAFETY: the mask names octets of `bytes` only; masked octets are not accessed.
    unsafe { _mm512_mask_storeu_epi8(place.cast(), mask, lanes) };
    _mm512_maskz_mov_epi8(mask, lanes)
}

/// Loads four blocks.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn load_lanes(blocks: &[__m128i; 4]) -> Lanes {
    // SAFETY: a reference to four blocks, 64 readable octets; the load needs no alignment.
    unsafe { _mm512_loadu_si512(blocks.as_ptr().cast()) }
}

/// A tag in the first 12 octets of a block, zeros behind. Loaded in the two words that it was written in: a wider load
/// would wait until they have left for the cache.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn received(tag: &Tag) -> __m128i {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = *tag;
    let low = hold_number(u64::from_le_bytes([a, b, c, d, e, f, g, h]));
    let high = u32::from_le_bytes([i, j, k, l]);
    _mm_set_epi64x(i64::from(high), low as i64)
}

/// The outcome whose octets these are: the tag, then the sums before and after. Written whole: what is put together in
/// memory is waited for when it is moved on.
#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn outcome(block: __m128i) -> Sealed {
    const { assert!(offset_of!(Sealed, tag) == 0 && offset_of!(Sealed, sums) == TAG_LEN) };
    const { assert!(offset_of!(Sums, before) == 0 && offset_of!(Sums, after) == 2) };
    // SAFETY: 16 octets, without a gap, and all values of them are outcomes.
    unsafe { transmute(block) }
}

/// Keeps the order of the source: what is held is computed neither before what was held earlier
/// nor behind what is held later. No instruction.
///
/// The compiler's own order finishes one chain of rounds before it begins the next, and each chain
/// waits for itself.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn hold(mut lanes: Lanes) -> Lanes {
    // SAFETY: no instruction.
    unsafe { asm!("/* {} */", inout(zmm_reg) lanes, options(nomem, nostack, preserves_flags)) };
    lanes
}

/// As [`hold`], one block.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn hold_block(mut block: __m128i) -> __m128i {
    // SAFETY: no instruction.
    unsafe { asm!("/* {} */", inout(xmm_reg) block, options(nomem, nostack, preserves_flags)) };
    block
}

/// As [`hold`], a number.
#[inline]
pub(super) fn hold_number(mut number: u64) -> u64 {
    // SAFETY: no instruction.
    unsafe { asm!("/* {} */", inout(reg) number, options(nomem, nostack, preserves_flags)) };
    number
}

/// Four blocks, the first in the lowest lane.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn join(blocks: [__m128i; 4]) -> Lanes {
    let lanes = _mm512_zextsi128_si512(blocks[0]);
    let lanes = _mm512_inserti32x4::<1>(lanes, blocks[1]);
    let lanes = _mm512_inserti32x4::<2>(lanes, blocks[2]);
    _mm512_inserti32x4::<3>(lanes, blocks[3])
}

/// The four blocks, lowest lane first.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn split(lanes: Lanes) -> [__m128i; 4] {
    [
        _mm512_castsi512_si128(lanes),
        _mm512_extracti32x4_epi32::<1>(lanes),
        _mm512_extracti32x4_epi32::<2>(lanes),
        _mm512_extracti32x4_epi32::<3>(lanes),
    ]
}

/// Lanes 0 and 2 of `a`, then of `b`.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn evens(a: Lanes, b: Lanes) -> Lanes {
    _mm512_shuffle_i32x4::<0x88>(a, b)
}

/// Lanes 1 and 3 of `a`, then of `b`.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn odds(a: Lanes, b: Lanes) -> Lanes {
    _mm512_shuffle_i32x4::<0xdd>(a, b)
}

/// Reverses the octets of each block: GHASH is big-endian on the wire.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn swap(lanes: Lanes) -> Lanes {
    let order = _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f);
    _mm512_shuffle_epi8(lanes, _mm512_broadcast_i32x4(order))
}
