//! 32-bit TCP sequence numbers. Owns wrapping comparison; 64-bit stream offsets belong to `session`.

use std::fmt;

/// A TCP sequence or acknowledgement number. It has no total order: compare by distance.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(transparent)]
pub struct SeqNum(pub u32);

impl SeqNum {
    /// Wraps a number in host byte order.
    pub const fn new(value: u32) -> Self {
        Self(value)
    }

    /// The number in host byte order.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The sequence number `count` octets further on.
    #[must_use]
    pub const fn advance(self, count: u32) -> Self {
        Self(self.0.wrapping_add(count))
    }

    /// The sequence number `count` octets back.
    #[must_use]
    pub const fn back(self, count: u32) -> Self {
        Self(self.0.wrapping_sub(count))
    }

    /// Signed distance from `origin` to here: positive where `self` is later, modulo 2^32.
    pub const fn distance_from(self, origin: Self) -> i32 {
        self.0.wrapping_sub(origin.0).cast_signed()
    }

    /// Later than `other` by less than 2^31 octets.
    pub const fn is_after(self, other: Self) -> bool {
        self.distance_from(other) > 0
    }

    /// Earlier than `other` by at most 2^31 octets.
    pub const fn is_before(self, other: Self) -> bool {
        self.distance_from(other) < 0
    }
}

impl From<u32> for SeqNum {
    fn from(value: u32) -> Self {
        Self(value)
    }
}

impl From<SeqNum> for u32 {
    fn from(value: SeqNum) -> Self {
        value.0
    }
}

impl fmt::Debug for SeqNum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SeqNum({:#010x})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_wraps_both_ways() {
        let low = SeqNum(5);
        let high = SeqNum(u32::MAX - 4);
        assert_eq!(low.distance_from(high), 10);
        assert_eq!(high.distance_from(low), -10);
        assert!(low.is_after(high) && high.is_before(low));
        assert_eq!(high.advance(10), low);
        assert_eq!(low.back(10), high);
        assert!(!low.is_after(low) && !low.is_before(low));
    }
}
