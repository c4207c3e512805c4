//! The keyed symmetric hash of a 4-tuple. Owns: hash and shard. Not: the seed's origin (drawn once
//! per process, by the caller).

use std::net::SocketAddr;

use crate::flow::{FlowKey, Ordered};

/// SipHash-1-3 under a 128-bit seed: a peer that picks its ports and addresses can neither aim at
/// one shard nor at one bucket.
///
/// One seed for all workers of a process, or they would disagree about who owns a flow.
#[derive(Clone)]
pub struct FlowHasher {
    keys: [u64; 2],
}

impl FlowHasher {
    /// A hasher from a secret random seed.
    #[must_use]
    pub fn new(seed: &[u8; 16]) -> Self {
        let (halves, _) = seed.as_chunks::<8>();
        Self { keys: [u64::from_le_bytes(halves[0]), u64::from_le_bytes(halves[1])] }
    }

    /// The hash of a flow: the same for both directions.
    #[inline]
    #[must_use]
    pub fn hash(&self, flow: &FlowKey) -> u64 {
        match flow.ordered() {
            Ordered::V4(words) => sip13(self.keys, &words),
            Ordered::V6(words) => sip13(self.keys, &words),
        }
    }

    /// [`FlowHasher::hash`] of a segment whose direction is not known; `None` as for
    /// [`FlowKey::new`].
    #[must_use]
    pub fn symmetric_hash(&self, src: SocketAddr, dst: SocketAddr) -> Option<u64> {
        FlowKey::new(src, dst).map(|flow| self.hash(&flow))
    }

    /// The worker that owns flows of this hash, of `workers`; 0 if there is none to choose from.
    ///
    /// Takes bits 25..57: the table's buckets use the low ones and its tags the top seven.
    #[inline]
    #[must_use]
    pub fn shard(hash: u64, workers: usize) -> usize {
        let bits = u128::from((hash >> 25) & 0xffff_ffff);
        // Less than `workers` by construction, so it fits.
        usize::try_from((bits * workers as u128) >> 32).unwrap_or(0)
    }
}

/// SipHash-1-3 of whole little-endian words: without octets to gather it is half as long.
#[inline]
fn sip13<const N: usize>([k0, k1]: [u64; 2], words: &[u64; N]) -> u64 {
    let mut v = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    // The last block holds the length in octets.
    for word in words.iter().copied().chain([(8 * N as u64) << 56]) {
        v[3] ^= word;
        sip_round(&mut v);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    (0..3).for_each(|_| sip_round(&mut v));
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

#[inline(always)]
fn sip_round([a, b, c, d]: &mut [u64; 4]) {
    *a = a.wrapping_add(*b);
    *b = b.rotate_left(13) ^ *a;
    *a = a.rotate_left(32);
    *c = c.wrapping_add(*d);
    *d = d.rotate_left(16) ^ *c;
    *a = a.wrapping_add(*d);
    *d = d.rotate_left(21) ^ *a;
    *c = c.wrapping_add(*b);
    *b = b.rotate_left(17) ^ *c;
    *c = c.rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::*;
    use siphasher::sip::SipHasher13;

    #[test]
    fn it_is_siphash_1_3() {
        let seed: [u8; 16] = std::array::from_fn(|n| 3 * n as u8);
        let theirs = SipHasher13::new_with_key(&seed);
        let keys = FlowHasher::new(&seed).keys;
        for n in 0..100_u64 {
            let words: [u64; 5] =
                std::array::from_fn(|at| (n + at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let octets = words.map(u64::to_le_bytes).concat();
            assert_eq!(sip13(keys, &words), theirs.hash(&octets));
            let two = [words[0], words[1]];
            assert_eq!(sip13(keys, &two), theirs.hash(&octets[..16]));
        }
    }

    fn flow(n: u32) -> FlowKey {
        let client = SocketAddr::from((n.to_be_bytes(), 40_000));
        FlowKey::new(client, "10.0.2.10:80".parse().unwrap()).unwrap()
    }

    #[test]
    fn both_directions_hash_alike() {
        let hasher = FlowHasher::new(&[7; 16]);
        for n in 0..1000u32 {
            let flow = flow(n.wrapping_mul(0x9e37_79b9));
            let hash = hasher.hash(&flow);
            assert_eq!(hasher.symmetric_hash(flow.client(), flow.server()), Some(hash));
            assert_eq!(hasher.symmetric_hash(flow.server(), flow.client()), Some(hash));
        }
    }

    #[test]
    fn the_seed_matters() {
        let (one, two) = (FlowHasher::new(&[1; 16]), FlowHasher::new(&[2; 16]));
        assert_ne!(one.hash(&flow(1)), two.hash(&flow(1)));
    }

    #[test]
    fn shards_are_even_and_in_range() {
        let hasher = FlowHasher::new(&[7; 16]);
        for workers in [1, 2, 3, 8] {
            let mut counts = vec![0u32; workers];
            for n in 0..8000 {
                counts[FlowHasher::shard(hasher.hash(&flow(n)), workers)] += 1;
            }
            let even = 8000 / workers as u32;
            for count in counts {
                assert!(count.abs_diff(even) < even / 5, "{workers} workers: {count}");
            }
        }
        assert_eq!(FlowHasher::shard(u64::MAX, 0), 0);
        assert_eq!(FlowHasher::shard(u64::MAX, 3), 2);
    }
}
