//! Bytes to registers and back: every load and store of the kernel.
//!
//! Owns: the bounds of each access. A slice is cut to the accessed length first, so a wrong place
//! is a panic and never an access outside the frame.

use core::arch::asm;
use core::arch::x86_64::*;

/// Two blocks of 16 octets.
pub(super) type Lanes = __m256i;

/// Octets of [`Lanes`].
pub(super) const LANES: usize = 32;

/// Loads 32 octets at `at`.
#[inline]
#[target_feature(enable = "avx2")]
fn load(bytes: &[u8], at: usize) -> Lanes {
    let place = &bytes[at..at + LANES];
    // SAFETY: `place` is 32 readable octets (sliced above); the load needs no alignment.
    unsafe { _mm256_loadu_si256(place.as_ptr().cast()) }
}

/// Stores 32 octets at `at`.
#[inline]
#[target_feature(enable = "avx2")]
fn store(bytes: &mut [u8], at: usize, lanes: Lanes) {
    let place = &mut bytes[at..at + LANES];
    // SAFETY: `place` is 32 writable octets (sliced above); the store needs no alignment.
    unsafe { _mm256_storeu_si256(place.as_mut_ptr().cast(), lanes) }
}

/// Loads all of `bytes`, at most `N` registers, zeros behind.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load_all<const N: usize>(bytes: &[u8]) -> [Lanes; N] {
    let mut data = [_mm256_setzero_si256(); N];
    for (i, data) in data.iter_mut().enumerate() {
        let at = i * LANES;
        if at + LANES <= bytes.len() {
            *data = load(bytes, at);
        } else if at < bytes.len() {
            let mut part = [0; LANES];
            part[..bytes.len() - at].copy_from_slice(&bytes[at..]);
            *data = load(&part, 0);
        }
    }
    data
}

/// Stores to all of `bytes`; returns what was stored, zeros behind.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn store_all<const N: usize>(bytes: &mut [u8], mut data: [Lanes; N]) -> [Lanes; N] {
    let len = bytes.len();
    for (i, data) in data.iter_mut().enumerate() {
        let at = i * LANES;
        if at + LANES <= len {
            store(bytes, at, *data);
        } else {
            let rest = len.saturating_sub(at);
            let mut part = [0; LANES];
            store(&mut part, 0, *data);
            part[rest..].fill(0);
            bytes[len - rest..].copy_from_slice(&part[..rest]);
            *data = load(&part, 0);
        }
    }
    data
}

/// Loads two neighbouring blocks of a table.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load_blocks(table: &[__m128i], at: usize) -> Lanes {
    let place = &table[at..at + 2];
    // SAFETY: `place` is two blocks, 32 readable octets; the load needs no alignment.
    unsafe { _mm256_loadu_si256(place.as_ptr().cast()) }
}

/// Keeps the order of the source: what is held is computed neither before what was held earlier
/// nor behind what is held later. No instruction.
///
/// The compiler's own order finishes one chain of rounds before it begins the next, and each chain
/// waits for itself.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn hold(mut lanes: Lanes) -> Lanes {
    // SAFETY: no instruction.
    unsafe { asm!("/* {} */", inout(ymm_reg) lanes, options(nomem, nostack, preserves_flags)) };
    lanes
}

/// Reverses the octets of each block: GHASH is big-endian on the wire.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn swap(lanes: Lanes) -> Lanes {
    let order = _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f);
    _mm256_shuffle_epi8(lanes, _mm256_broadcastsi128_si256(order))
}

/// The sum of the two lanes.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn fold(lanes: Lanes) -> __m128i {
    _mm_xor_si128(_mm256_castsi256_si128(lanes), _mm256_extracti128_si256::<1>(lanes))
}
