//! GF(2^128) as SP 800-38D writes it, bit by bit.
//!
//! Owns: a product and a hash that share nothing with any kernel. Slow; for tests only.

/// The unit: the first bit of the first octet. Under it GHASH is the sum of the blocks.
pub(super) const UNIT: u128 = 1 << 127;

/// `x · y`; the first bit of a block is the coefficient of x^0 (6.3, algorithm 1).
pub(super) fn multiply(x: u128, y: u128) -> u128 {
    let (mut z, mut v) = (0, y);
    for bit in (0..128).rev() {
        if x >> bit & 1 == 1 {
            z ^= v;
        }
        v = if v & 1 == 1 { v >> 1 ^ 0xe1 << 120 } else { v >> 1 };
    }
    z
}

/// GHASH of whole blocks (6.4, algorithm 2).
pub(super) fn hash(key: u128, blocks: &[u8]) -> u128 {
    let (blocks, rest) = blocks.as_chunks::<16>();
    assert!(rest.is_empty(), "whole blocks");
    blocks.iter().fold(0, |sum, block| multiply(sum ^ u128::from_be_bytes(*block), key))
}
