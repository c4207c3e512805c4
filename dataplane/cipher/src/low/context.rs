//! The expanded keys of one direction, as every kernel of the family wants them.
//!
//! Owns: their layout, the AES-256 key schedule, the powers of H, their wiping. Works on single
//! blocks with AES-NI and PCLMULQDQ, which each kernel's CPU has.

use core::arch::x86_64::*;

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::Available;
use super::block::{block, multiply, times_x};

/// Round keys of AES-256.
pub(super) const ROUND_KEYS: usize = 15;
/// Powers of H that a context holds: 16 blocks of a step and the block before them.
pub(super) const POWERS: usize = 17;
/// Zero blocks behind the powers, so that the last, partly filled lanes load within the table.
const SLACK: usize = 3;
/// Blocks of the table: H^17 … H^1 and the slack.
pub(super) const TABLE: usize = POWERS + SLACK;

/// AES-256 schedule and powers of H; wiped on drop.
///
/// In this order and alignment H^16 begins a cache line, as every full step loads from there. The
/// powers are octet-reversed and carry one factor x more, so that products come out aligned.
#[derive(Zeroize, ZeroizeOnDrop)]
#[repr(C, align(64))]
pub(crate) struct Context {
    pub(super) round_keys: [__m128i; ROUND_KEYS],
    pub(super) powers: [__m128i; TABLE],
    #[zeroize(skip)]
    kernel: Available,
}

const _: () = assert!(size_of::<Context>() == 576, "nine cache lines");

impl Context {
    /// Expands AES key and GHASH key for a kernel that the CPU was asked for.
    #[inline]
    pub(crate) fn new(kernel: Available, aes: &[u8; 32], hash: &[u8; 16]) -> Self {
        // SAFETY: `Available` says that the CPU has the instructions of a kernel; each kernel
        // demands at least those that `expand` is compiled for.
        unsafe { expand(kernel, aes, hash) }
    }

    /// Who may seal and open with this context.
    #[inline]
    pub(crate) fn kernel(&self) -> Available {
        self.kernel
    }
}

#[target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1")]
fn expand(kernel: Available, key: &[u8; 32], hash: &[u8; 16]) -> Context {
    let zero = _mm_setzero_si128();
    let mut ctx = Context { round_keys: [zero; ROUND_KEYS], powers: [zero; TABLE], kernel };
    let (halves, _) = key.as_chunks::<16>();
    ctx.round_keys[0] = block(u128::from_le_bytes(halves[0]));
    ctx.round_keys[1] = block(u128::from_le_bytes(halves[1]));
    schedule(&mut ctx.round_keys);
    fill_powers(block(u128::from_be_bytes(*hash)), &mut ctx.powers);
    ctx
}

/// The remaining round keys from the first two (FIPS 197, 5.2).
#[inline]
#[target_feature(enable = "aes,ssse3")]
fn schedule(keys: &mut [__m128i; ROUND_KEYS]) {
    let [mut even, mut odd, ..] = *keys;
    let mut constant = 1;
    for i in (2..ROUND_KEYS - 1).step_by(2) {
        even = next_even(even, odd, constant);
        odd = next_odd(odd, even);
        (keys[i], keys[i + 1]) = (even, odd);
        constant <<= 1;
    }
    keys[ROUND_KEYS - 1] = next_even(even, odd, constant);
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

/// Fills the table from H (octet-reversed): H^17 first. The powers double four times, so that the
/// longest chain is five products.
#[inline]
#[target_feature(enable = "pclmulqdq,ssse3,sse4.1")]
fn fill_powers(h: __m128i, table: &mut [__m128i; TABLE]) {
    let one = times_x(h);
    table[POWERS - 1] = one;
    for have in [1, 2, 4, 8] {
        let top = table[POWERS - have];
        for i in 1..=have {
            table[POWERS - have - i] = multiply(top, table[POWERS - i]);
        }
    }
    table[0] = multiply(table[1], one);
}
