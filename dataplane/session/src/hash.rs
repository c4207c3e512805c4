//! The keyed symmetric hash of a 4-tuple. Owns: hash and shard. Not: the seed's origin (drawn once
//! per process, by the caller).

use std::net::SocketAddr;

use siphasher::sip::SipHasher13;

use crate::flow::{FlowKey, Ordered};

/// SipHash-1-3 under a 128-bit seed: a peer that picks its ports and addresses can neither aim at
/// one shard nor at one bucket.
///
/// One seed for all workers of a process, or they would disagree about who owns a flow.
#[derive(Clone)]
pub struct FlowHasher(SipHasher13);

impl FlowHasher {
    /// A hasher from a secret random seed.
    #[must_use]
    pub fn new(seed: &[u8; 16]) -> Self {
        Self(SipHasher13::new_with_key(seed))
    }

    /// The hash of a flow: the same for both directions.
    #[inline]
    #[must_use]
    pub fn hash(&self, flow: &FlowKey) -> u64 {
        match flow.ordered() {
            Ordered::V4(bytes) => self.0.hash(&bytes),
            Ordered::V6(bytes) => self.0.hash(&bytes),
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

#[cfg(test)]
mod tests {
    use super::*;

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
