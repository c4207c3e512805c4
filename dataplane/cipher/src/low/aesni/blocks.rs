//! Bytes to registers and back: every load and store of the kernel; and the sums of RFC 1071.
//!
//! Owns: the bounds of each access. A slice is cut to the accessed length first, so a wrong place is
//! a panic and never an access outside the frame.

use core::arch::asm;
use core::arch::x86_64::*;

/// One block of 16 octets.
pub(super) type Block = __m128i;

/// Octets of a block.
pub(super) const BLOCK: usize = 16;
/// Blocks of a step: with two rounds begun in each cycle and a latency of four, eight states fill
/// the units, and leave half the registers to the hash.
pub(super) const BLOCKS: usize = 8;
/// Octets of a step.
pub(super) const STEP: usize = BLOCKS * BLOCK;

/// Loads block `i`.
#[inline]
#[target_feature(enable = "avx")]
pub(super) fn load(bytes: &[u8], i: usize) -> Block {
    let place = &bytes[i * BLOCK..(i + 1) * BLOCK];
    // SAFETY: `place` is 16 readable octets (sliced above); the load needs no alignment.
    unsafe { _mm_loadu_si128(place.as_ptr().cast()) }
}

/// Stores block `i`.
#[inline]
#[target_feature(enable = "avx")]
pub(super) fn store(bytes: &mut [u8], i: usize, block: Block) {
    let place = &mut bytes[i * BLOCK..(i + 1) * BLOCK];
    // SAFETY: `place` is 16 writable octets (sliced above); the store needs no alignment.
    unsafe { _mm_storeu_si128(place.as_mut_ptr().cast(), block) }
}

/// Loads block `i` of a payload, or what there is of it, zeros behind.
#[inline]
#[target_feature(enable = "avx")]
pub(super) fn load_part(bytes: &[u8], i: usize) -> Block {
    if bytes.len() >= (i + 1) * BLOCK {
        return load(bytes, i);
    }
    let mut whole = [0; BLOCK];
    let rest = bytes.get(i * BLOCK..).unwrap_or_default();
    whole[..rest.len()].copy_from_slice(rest);
    load(&whole, 0)
}

/// Stores block `i` of a payload, or what there is of it; returns that, zeros behind.
#[inline]
#[target_feature(enable = "avx")]
pub(super) fn store_part(bytes: &mut [u8], i: usize, block: Block) -> Block {
    if bytes.len() >= (i + 1) * BLOCK {
        store(bytes, i, block);
        return block;
    }
    let mut whole = [0; BLOCK];
    store(&mut whole, 0, block);
    let rest = bytes.get_mut(i * BLOCK..).unwrap_or_default();
    let len = rest.len();
    rest.copy_from_slice(&whole[..len]);
    whole[len..].fill(0);
    load(&whole, 0)
}

/// Reverses the octets: GHASH and counters are big-endian on the wire.
#[inline]
#[target_feature(enable = "avx")]
pub(super) fn swap(block: Block) -> Block {
    let order = _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f);
    _mm_shuffle_epi8(block, order)
}

/// Keeps the order of the source: what is held is computed neither before what was held earlier
/// nor behind what is held later. No instruction.
///
/// The compiler's own order finishes one chain of rounds before it begins the next, and each chain
/// waits for itself.
#[inline]
#[target_feature(enable = "avx")]
pub(super) fn hold(mut block: Block) -> Block {
    // SAFETY: no instruction.
    unsafe { asm!("/* {} */", inout(xmm_reg) block, options(nomem, nostack, preserves_flags)) };
    block
}

/// A running sum of RFC 1071, words as they lie in memory: that of big-endian words with its two
/// octets exchanged (RFC 1071, 2 (B)).
#[derive(Clone, Copy)]
pub(super) struct Running(Block);

impl Running {
    /// For `blocks` calls of [`Running::add`], at most 4096 (64 KiB).
    ///
    /// A word enters less 2^15, as the signed multiply-add wants it, two to a lane of 32 bits; what
    /// that takes away stands here from the start, so that the end is exact.
    #[inline]
    #[target_feature(enable = "avx")]
    pub(super) fn new(blocks: usize) -> Self {
        Self(_mm_set1_epi32((blocks << 16) as i32))
    }

    /// Adds 16 octets; zeros add nothing.
    #[inline]
    #[target_feature(enable = "avx")]
    pub(super) fn add(&mut self, words: Block) {
        let signed = _mm_xor_si128(words, _mm_set1_epi16(i16::MIN));
        self.0 = _mm_add_epi32(self.0, _mm_madd_epi16(signed, _mm_set1_epi16(1)));
    }

    /// The sum.
    #[inline]
    #[target_feature(enable = "avx")]
    pub(super) fn finish(self) -> u16 {
        // Each lane is below 2^29, so four of them are below 2^31.
        let halves = _mm_add_epi32(self.0, _mm_shuffle_epi32::<0x4e>(self.0));
        let total = _mm_add_epi32(halves, _mm_shuffle_epi32::<0xb1>(halves));
        let total = _mm_cvtsi128_si32(total) as u32;
        // Twice end-around carry: the second time there is at most one.
        let once = (total & 0xffff) + (total >> 16);
        let twice = (once & 0xffff) + (once >> 16);
        (twice as u16).swap_bytes()
    }
}
