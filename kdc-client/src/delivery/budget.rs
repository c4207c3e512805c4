//! How many KDC requests a source, and all sources together, may cause.
//!
//! Owns token buckets; sources are addresses that a cookie has proved (M4.22).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use super::SECOND;

/// A full sweep of the sources is done at most this often.
const SWEEP: u64 = SECOND;

/// A token bucket: `burst` at once, `rate` per second.
#[derive(Clone, Copy)]
struct Bucket {
    /// Credit in nanoseconds of refill; a token costs `SECOND / rate` of it.
    credit: u64,
    updated: u64,
}

#[derive(Clone, Copy)]
struct Shape {
    cost: u64,
    most: u64,
}

/// The budgets of a gateway.
pub(super) struct Budgets {
    total: Bucket,
    total_shape: Shape,
    sources: BTreeMap<IpAddr, Bucket>,
    source_shape: Shape,
    capacity: usize,
    swept: u64,
}

impl Budgets {
    /// `source` and `total` are (burst, rate per second); `capacity` bounds the sources kept.
    pub(super) fn new(source: (u32, u32), total: (u32, u32), capacity: usize) -> Budgets {
        let total_shape = Shape::new(total);
        Budgets {
            total: Bucket { credit: total_shape.most, updated: 0 },
            total_shape,
            sources: BTreeMap::new(),
            source_shape: Shape::new(source),
            capacity,
            swept: 0,
        }
    }

    /// Takes one token of the source and one of all, or none of either.
    pub(super) fn take(&mut self, source: IpAddr, now: u64) -> bool {
        let source = network(source);
        let shape = self.source_shape;
        let mut bucket = match self.sources.get(&source).copied() {
            Some(bucket) => bucket,
            None if self.has_room(now) => Bucket { credit: shape.most, updated: now },
            None => return false,
        };
        bucket.refill(shape, now);
        self.total.refill(self.total_shape, now);
        let enough = bucket.credit >= shape.cost && self.total.credit >= self.total_shape.cost;
        if enough {
            bucket.credit -= shape.cost;
            self.total.credit -= self.total_shape.cost;
        }
        self.sources.insert(source, bucket);
        enough
    }

    /// Forgets sources whose bucket is full again: they are as good as new.
    fn has_room(&mut self, now: u64) -> bool {
        if self.sources.len() >= self.capacity && now.saturating_sub(self.swept) >= SWEEP {
            self.swept = now;
            let shape = self.source_shape;
            self.sources.retain(|_, bucket| {
                bucket.refill(shape, now);
                bucket.credit < shape.most
            });
        }
        self.sources.len() < self.capacity
    }
}

impl Shape {
    fn new((burst, rate): (u32, u32)) -> Shape {
        let cost = SECOND / u64::from(rate.max(1));
        Shape { cost, most: cost * u64::from(burst) }
    }
}

impl Bucket {
    fn refill(&mut self, shape: Shape, now: u64) {
        let passed = now.saturating_sub(self.updated);
        self.credit = self.credit.saturating_add(passed).min(shape.most);
        self.updated = self.updated.max(now);
    }
}

/// IPv6 sources count by /64: within one, an attacker has addresses without end.
fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    #[test]
    /// M4.22.
    fn burst_then_rate_per_source_and_in_all() {
        let mut budgets = Budgets::new((3, 2), (5, 1), 100);
        assert_eq!((0..9).filter(|_| budgets.take(ip(1), 0)).count(), 3);
        assert_eq!((0..9).filter(|_| budgets.take(ip(2), 0)).count(), 2);
        assert!(!budgets.take(ip(1), SECOND / 2), "the total has refilled half a token");
        assert!(budgets.take(ip(1), SECOND));
        assert!(!budgets.take(ip(3), SECOND));
    }

    #[test]
    fn sources_are_bounded_and_forgotten_when_full_again() {
        let mut budgets = Budgets::new((1, 1), (1000, 1000), 2);
        assert!(budgets.take(ip(1), 0));
        assert!(budgets.take(ip(2), 0));
        assert!(!budgets.take(ip(3), 0), "no room");
        assert!(budgets.take(ip(3), 2 * SECOND));
        assert!(budgets.sources.len() <= 2);
    }

    #[test]
    fn ipv6_counts_by_64() {
        let mut budgets = Budgets::new((1, 1), (1000, 1000), 9);
        assert!(budgets.take("fd00:0:0:1::1".parse().unwrap(), 0));
        assert!(!budgets.take("fd00:0:0:1::2".parse().unwrap(), 0));
        assert!(budgets.take("fd00:0:0:2::1".parse().unwrap(), 0));
    }
}
