//! Bytes carried inside a ring's slot, so that crossing threads costs no allocation.

use std::ops::Deref;

/// Longest datagram of key delivery, octets of UDP payload (design: key delivery).
pub const DATAGRAM_MAX: usize = 1200;
/// Longest frame that control may send: an Ethernet frame of 1500 octets of IP.
pub const FRAME_MAX: usize = 1514;

/// A datagram of key delivery.
pub type DatagramBuf = InlineBuf<DATAGRAM_MAX>;
/// A whole Ethernet frame built by control.
pub type FrameBuf = InlineBuf<FRAME_MAX>;

/// Up to `N` octets, held in place.
#[derive(Clone)]
pub struct InlineBuf<const N: usize> {
    len: u16,
    bytes: [u8; N],
}

impl<const N: usize> InlineBuf<N> {
    /// Copies `bytes`; `None` if there are more than `N` of them.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        let len = u16::try_from(bytes.len()).ok()?;
        let mut buf = Self { len, bytes: [0; N] };
        buf.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(buf)
    }
}

impl<const N: usize> Deref for InlineBuf<N> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// Length only: a payload may be anybody's.
impl<const N: usize> std::fmt::Debug for InlineBuf<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "InlineBuf({} of {N})", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_up_to_its_capacity() {
        assert_eq!(&*InlineBuf::<4>::from_slice(b"abcd").unwrap(), b"abcd");
        assert_eq!(&*InlineBuf::<4>::from_slice(b"").unwrap(), b"");
        assert!(InlineBuf::<4>::from_slice(b"abcde").is_none());
    }
}
