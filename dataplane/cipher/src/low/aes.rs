//! AES-256: schedule, one block, keystream of several blocks.
//!
//! Owns: the rounds. Not: what a counter block holds.

use core::arch::x86_64::*;

use super::lanes::{Lanes, swap};

/// Round keys of AES-256.
pub(super) const ROUND_KEYS: usize = 15;

/// The round keys of a key, in `keys`.
#[inline]
#[target_feature(enable = "aes,avx512f")]
pub(super) fn expand(keys: &mut [__m128i; ROUND_KEYS]) {
    even::<0x01>(keys, 2);
    odd(keys, 3);
    even::<0x02>(keys, 4);
    odd(keys, 5);
    even::<0x04>(keys, 6);
    odd(keys, 7);
    even::<0x08>(keys, 8);
    odd(keys, 9);
    even::<0x10>(keys, 10);
    odd(keys, 11);
    even::<0x20>(keys, 12);
    odd(keys, 13);
    even::<0x40>(keys, 14);
}

/// Words 0 to 3 of two rounds: rotated and with the round's constant (FIPS 197, 5.2).
#[inline]
#[target_feature(enable = "aes,avx512f")]
fn even<const CONSTANT: i32>(keys: &mut [__m128i; ROUND_KEYS], i: usize) {
    let word = _mm_aeskeygenassist_si128::<CONSTANT>(keys[i - 1]);
    keys[i] = _mm_xor_si128(prefix_sums(keys[i - 2]), _mm_shuffle_epi32::<0xff>(word));
}

/// Words 4 to 7 of two rounds: substituted only.
#[inline]
#[target_feature(enable = "aes,avx512f")]
fn odd(keys: &mut [__m128i; ROUND_KEYS], i: usize) {
    let word = _mm_aeskeygenassist_si128::<0>(keys[i - 1]);
    keys[i] = _mm_xor_si128(prefix_sums(keys[i - 2]), _mm_shuffle_epi32::<0xaa>(word));
}

/// Each 32-bit word added to all before it.
#[inline]
#[target_feature(enable = "avx512f")]
fn prefix_sums(key: __m128i) -> __m128i {
    let pairs = _mm_xor_si128(key, _mm_slli_si128::<4>(key));
    _mm_xor_si128(pairs, _mm_slli_si128::<8>(pairs))
}

/// Encrypts one block.
#[inline]
#[target_feature(enable = "aes,avx512f")]
pub(super) fn encrypt(keys: &[__m128i; ROUND_KEYS], block: __m128i) -> __m128i {
    let mut state = _mm_xor_si128(block, keys[0]);
    for key in &keys[1..ROUND_KEYS - 1] {
        state = _mm_aesenc_si128(state, *key);
    }
    _mm_aesenclast_si128(state, keys[ROUND_KEYS - 1])
}

/// All rounds but the last over `4 N` counter blocks that begin at `counter + first`.
///
/// `counter` holds the first counter block four times, octets reversed, plus 0 to 3: its lowest
/// word counts, and wraps by itself at 2^32.
#[inline]
#[target_feature(enable = "aes,vaes,avx512f,avx512bw")]
pub(super) fn rounds<const N: usize>(
    keys: &[__m128i; ROUND_KEYS],
    counter: Lanes,
    first: u32,
) -> [Lanes; N] {
    let mut state = [_mm512_setzero_si512(); N];
    let whitening = _mm512_broadcast_i32x4(keys[0]);
    let mut block = first;
    for state in &mut state {
        let step = _mm512_maskz_set1_epi32(0x1111, block as i32);
        *state = _mm512_xor_si512(swap(_mm512_add_epi32(counter, step)), whitening);
        block += 4;
    }
    for key in &keys[1..ROUND_KEYS - 1] {
        let key = _mm512_broadcast_i32x4(*key);
        for state in &mut state {
            *state = _mm512_aesenc_epi128(*state, key);
        }
    }
    state
}

/// The last round, with the payload folded in: keystream XOR `data`.
#[inline]
#[target_feature(enable = "aes,vaes,avx512f")]
pub(super) fn last(keys: &[__m128i; ROUND_KEYS], state: Lanes, data: Lanes) -> Lanes {
    let key = _mm512_broadcast_i32x4(keys[ROUND_KEYS - 1]);
    _mm512_aesenclast_epi128(state, _mm512_xor_si512(key, data))
}
