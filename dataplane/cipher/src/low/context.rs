//! The expanded keys of one direction, as the kernel wants them.
//!
//! Owns: their layout and their wiping.

use core::arch::x86_64::*;

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::Available;
use super::aes::{self, ROUND_KEYS};
use super::ghash::{self, TABLE};
use super::lanes::block;

/// AES-256 schedule and powers of H; wiped on drop.
///
/// In this order and alignment H^16 begins a cache line, as every full step loads from there.
#[derive(Zeroize, ZeroizeOnDrop)]
#[repr(C, align(64))]
pub(crate) struct Context {
    pub(super) round_keys: [__m128i; ROUND_KEYS],
    pub(super) powers: [__m128i; TABLE],
}

impl Context {
    /// Expands AES key and GHASH key on a CPU that was asked.
    pub(crate) fn new(_: Available, aes: &[u8; 32], hash: &[u8; 16]) -> Self {
        // SAFETY: `Available` says that every instruction of the kernel was detected.
        unsafe { expand(aes, hash) }
    }
}

#[target_feature(enable = "aes,pclmulqdq,vaes,vpclmulqdq,avx512f,avx512bw,avx512vl")]
fn expand(key: &[u8; 32], hash: &[u8; 16]) -> Context {
    let zero = _mm_setzero_si128();
    let mut ctx = Context { round_keys: [zero; ROUND_KEYS], powers: [zero; TABLE] };
    let (halves, _) = key.as_chunks::<16>();
    ctx.round_keys[0] = block(u128::from_le_bytes(halves[0]));
    ctx.round_keys[1] = block(u128::from_le_bytes(halves[1]));
    aes::expand(&mut ctx.round_keys);
    ghash::fill_powers(block(u128::from_be_bytes(*hash)), &mut ctx.powers);
    ctx
}
