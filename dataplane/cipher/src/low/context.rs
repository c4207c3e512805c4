//! The expanded keys of one direction, as every kernel of the family wants them.
//!
//! Owns: their layout, the AES-256 key schedule, the powers of H, their wiping. Works on single
//! blocks with AES-NI and PCLMULQDQ, which each kernel's CPU has.

use core::arch::x86_64::*;

use zeroize::{ZeroizeOnDrop, optimization_barrier};

use super::block::{block, multiply, times_x};
use super::{Available, vaes512, wipe};

/// Round keys of AES-256.
pub(super) const ROUND_KEYS: usize = 15;
/// Powers of H that a context holds: 32 blocks of the widest step and the block before them.
pub(super) const POWERS: usize = 33;
/// Zero blocks behind the powers: what a load of whole registers reaches beyond the last.
const SLACK: usize = 8;
/// Copies of each round key.
pub(super) const LANES: usize = 4;
/// Blocks of the table: H^33 … H^1 and the slack.
pub(super) const TABLE: usize = POWERS + SLACK;

/// AES-256 schedule and powers of H; wiped on drop.
///
/// For the kernel on 512 bits each round key stands there four times, so that a load fills a register: the
/// instructions that copy one block to all lanes take a unit that the rounds need, loads do not. The other
/// kernels use the first.
/// The powers are octet-reversed and carry one factor x more, so that products come out aligned.
#[repr(C, align(64))]
pub(crate) struct Context {
    pub(super) round_keys: [[__m128i; LANES]; ROUND_KEYS],
    /// With the kernel's name three blocks, so that H^32 begins a cache line: full steps load from there.
    gap: [__m128i; 2],
    kernel: Available,
    pub(super) powers: [__m128i; TABLE],
}

impl Drop for Context {
    /// In one piece: block by block it would take as long as a third of the expansion.
    fn drop(&mut self) {
        // SAFETY: SSE2 is in every x86-64.
        let zero = unsafe { _mm_setzero_si128() };
        self.round_keys = [[zero; LANES]; ROUND_KEYS];
        self.powers = [zero; TABLE];
        optimization_barrier(self);
    }
}

impl ZeroizeOnDrop for Context {}

const _: () = assert!(size_of::<Context>() == 26 * 64, "in cache lines");

impl Context {
    /// A place for keys, without any, for a kernel that the CPU was asked for.
    pub(crate) fn vacant(kernel: Available) -> Self {
        // SAFETY: SSE2 is in every x86-64.
        let zero = unsafe { _mm_setzero_si128() };
        Self {
            round_keys: [[zero; LANES]; ROUND_KEYS],
            gap: [zero; 2],
            kernel,
            powers: [zero; TABLE],
        }
    }

    /// Expands AES key and GHASH key in this place: what is built elsewhere and moved leaves a copy there.
    #[inline]
    pub(crate) fn expand(&mut self, aes: &[u8; 32], hash: &[u8; 16]) {
        if self.kernel.is_vaes512() {
            // SAFETY: `Available` says that the CPU has the instructions of this kernel.
            unsafe { vaes512::expand(self, aes, hash) }
        } else {
            // SAFETY: as above; each kernel demands at least those that `expand` is compiled for.
            unsafe { expand(self, aes, hash) }
        }
        wipe::registers(self.kernel);
    }

    /// Round key `i`, 0 to 14.
    #[inline]
    pub(super) fn round_key(&self, i: usize) -> __m128i {
        self.round_keys[i][0]
    }

    /// The power of the block that comes before `blocks` blocks, at most 32, and theirs, in `L` registers.
    ///
    /// # Panics
    /// If so many registers reach beyond the table: they do not where all but the last few blocks are there.
    #[inline(always)]
    pub(super) fn powers_from<const L: usize>(
        &self,
        blocks: usize,
    ) -> (&__m128i, &[[__m128i; LANES]; L]) {
        let from = &self.powers[POWERS - 1 - blocks..];
        let (before, powers) = from.split_first().expect("invariant: slack behind the powers");
        (before, powers.as_chunks().0.first_chunk().expect("invariant: slack behind the powers"))
    }

    /// Every round key and power of H.
    #[cfg(test)]
    pub(super) fn secrets(&self) -> Vec<[u8; 16]> {
        let blocks = self.round_keys.iter().map(|copies| copies[0]).chain(self.powers);
        // SAFETY: both are 16 octets of which all values are valid.
        let octets =
            blocks.map(|block| unsafe { core::mem::transmute::<__m128i, [u8; 16]>(block) });
        octets.filter(|octets| *octets != [0; 16]).collect()
    }

    /// Who may seal and open with this context.
    #[inline]
    pub(crate) fn kernel(&self) -> Available {
        self.kernel
    }
}

#[target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1")]
fn expand(ctx: &mut Context, key: &[u8; 32], hash: &[u8; 16]) {
    schedule::<1>(key, &mut ctx.round_keys);
    fill_powers(first_power(hash), &mut ctx.powers);
}

/// H, octet-reversed, times x.
#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn first_power(hash: &[u8; 16]) -> __m128i {
    times_x(block(u128::from_be_bytes(*hash)))
}

/// The round keys (FIPS 197, 5.2), `COPIES` times each.
#[inline]
#[target_feature(enable = "aes,ssse3")]
pub(super) fn schedule<const COPIES: usize>(
    key: &[u8; 32],
    keys: &mut [[__m128i; LANES]; ROUND_KEYS],
) {
    let (halves, _) = key.as_chunks::<16>();
    let [mut even, mut odd] = [0, 1].map(|i| block(u128::from_le_bytes(halves[i])));
    let mut constant = 1;
    for i in (0..ROUND_KEYS - 1).step_by(2) {
        keys[i][..COPIES].fill(even);
        keys[i + 1][..COPIES].fill(odd);
        even = next_even(even, odd, constant);
        odd = next_odd(odd, even);
        constant <<= 1;
    }
    keys[ROUND_KEYS - 1][..COPIES].fill(even);
}

/// Adds the last word of the key before, rotated, substituted and with the round's constant.
///
/// The last round of AES substitutes and adds in one instruction, because equal columns make its
/// row shift the identity.
#[inline]
#[target_feature(enable = "aes,ssse3")]
fn next_even(key: __m128i, before: __m128i, constant: i32) -> __m128i {
    let rotated = _mm_shuffle_epi8(before, _mm_set1_epi32(0x0c0f_0e0d));
    let word = _mm_aesenclast_si128(rotated, _mm_set1_epi32(constant));
    _mm_xor_si128(prefix_sums(key), word)
}

/// Adds the last word of the key before, substituted.
#[inline]
#[target_feature(enable = "aes,ssse3")]
fn next_odd(key: __m128i, before: __m128i) -> __m128i {
    let last = _mm_shuffle_epi32::<0xff>(before);
    let word = _mm_aesenclast_si128(last, _mm_setzero_si128());
    _mm_xor_si128(prefix_sums(key), word)
}

/// Each 32-bit word added to all before it.
#[inline]
#[target_feature(enable = "sse2")]
fn prefix_sums(key: __m128i) -> __m128i {
    let pairs = _mm_xor_si128(key, _mm_slli_si128::<4>(key));
    _mm_xor_si128(pairs, _mm_slli_si128::<8>(pairs))
}

/// Fills the table from [`first_power`] as far as the narrow kernels use it: H^17 … H^1. The powers double four
/// times, so that the longest chain is five products.
#[inline]
#[target_feature(enable = "pclmulqdq,ssse3,sse4.1")]
fn fill_powers(one: __m128i, table: &mut [__m128i; TABLE]) {
    table[POWERS - 1] = one;
    for have in [1, 2, 4, 8] {
        let top = table[POWERS - have];
        for i in 1..=have {
            table[POWERS - have - i] = multiply(top, table[POWERS - i]);
        }
    }
    table[POWERS - 17] = multiply(table[POWERS - 16], one);
}
