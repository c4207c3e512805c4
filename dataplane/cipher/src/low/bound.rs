//! The least time of a payload: its AES rounds and carry-less products on registers that depend on
//! nothing, as fast as the units take them.
//!
//! Owns: a measure for benchmarks. Ciphers nothing and sees no key.

use core::arch::x86_64::*;
use std::hint::black_box;

use super::block::block;

/// Four blocks of 16 octets.
type Lanes = __m512i;
/// Octets of [`Lanes`].
const LANES: usize = 64;

/// Independent chains: they cover the latency of a round, and with two products a round the numbers come
/// out even: 7 times 64 octets take 7 × 14 rounds and 7 × 4 products.
const CHAINS: usize = 7;
/// Rounds of AES-256.
const ROUNDS: usize = 14;
/// Products beside one round of all chains; 64 octets are four blocks of four half products, each lane of
/// 512 bits does one.
const PRODUCTS: usize = 2;

/// The arithmetic of `segments` payloads of `len` octets.
/// False, and nothing done, where the CPU has no such instructions.
pub(crate) fn bound(segments: u64, len: u16) -> bool {
    let all = is_x86_feature_detected!("aes")
        && is_x86_feature_detected!("vaes")
        && is_x86_feature_detected!("vpclmulqdq")
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl");
    if !all {
        return false;
    }
    let steps = segments * u64::from(len).div_ceil(LANES as u64);
    // SAFETY: every instruction used was detected above.
    unsafe { payloads(steps) };
    // SAFETY: as above.
    unsafe { tags(segments) };
    true
}

/// `steps` times 64 octets, seven at once: two products after each round of all seven.
#[target_feature(enable = "aes,vaes,vpclmulqdq,avx512f,avx512bw,avx512vl")]
fn payloads(steps: u64) {
    let seed = _mm512_broadcast_i32x4(block(black_box(0x5e15)));
    let mut states = [seed; CHAINS];
    let mut products = [seed; PRODUCTS];
    for _ in 0..steps.div_ceil(CHAINS as u64) {
        for _ in 0..ROUNDS {
            for state in &mut states {
                *state = _mm512_aesenc_epi128(*state, seed);
            }
            for (product, state) in products.iter_mut().zip(states) {
                *product = add_product(*product, state, seed);
            }
        }
    }
    black_box((states, products));
}

/// One product, added to a sum as GHASH does.
#[inline]
#[target_feature(enable = "vpclmulqdq,avx512f")]
fn add_product(sum: Lanes, a: Lanes, b: Lanes) -> Lanes {
    _mm512_xor_si512(sum, _mm512_clmulepi64_epi128::<0x00>(a, b))
}

/// One AES block for each of `segments`, seven at once.
#[target_feature(enable = "aes,avx512f,avx512vl")]
fn tags(segments: u64) {
    let seed = block(black_box(0x5e15));
    let mut states = [seed; CHAINS];
    for _ in 0..segments.div_ceil(CHAINS as u64) {
        for _ in 0..ROUNDS {
            for state in &mut states {
                *state = _mm_aesenc_si128(*state, seed);
            }
        }
    }
    black_box(states);
}
