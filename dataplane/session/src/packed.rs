//! Integers without alignment, so that a session holds no padding. Owns nothing else.
//!
//! On the CPUs we run on, a get or set is one unaligned load or store.

/// An unsigned integer of `N ≤ 8` octets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Packed<const N: usize>([u8; N]);

impl<const N: usize> Packed<N> {
    /// The largest value it can hold.
    pub(crate) const MAX: u64 = u64::MAX >> (64 - 8 * N);
    pub(crate) const ZERO: Self = Self([0; N]);

    #[inline]
    pub(crate) fn get(self) -> u64 {
        let mut bytes = [0; 8];
        bytes[..N].copy_from_slice(&self.0);
        u64::from_le_bytes(bytes)
    }

    /// Stores `value`, or the largest value if it does not fit.
    #[inline]
    pub(crate) fn set(&mut self, value: u64) {
        self.0.copy_from_slice(&value.min(Self::MAX).to_le_bytes()[..N]);
    }
}

impl Packed<4> {
    #[inline]
    pub(crate) fn get32(self) -> u32 {
        u32::from_le_bytes(self.0)
    }

    #[inline]
    pub(crate) fn set32(&mut self, value: u32) {
        self.0 = value.to_le_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_and_saturates() {
        let mut five = Packed::<5>::ZERO;
        five.set(0x12_3456_789a);
        assert_eq!(five.get(), 0x12_3456_789a);
        five.set(1 << 40);
        assert_eq!(five.get(), (1 << 40) - 1);
        let mut eight = Packed::<8>::ZERO;
        eight.set(u64::MAX);
        assert_eq!(eight.get(), u64::MAX);
        assert_eq!(size_of::<Packed<5>>(), 5);
        assert_eq!(align_of::<Packed<8>>(), 1);
    }
}
