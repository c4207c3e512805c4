//! The layer-2 header that frames of our own making borrow from a frame seen before (design §2).
//! Owns Ethernet addresses and VLAN tags as opaque bytes; never answers ARP or ND.

use crate::ip::IpKind;
use crate::layers::Layers;
use std::fmt;

/// Destination and source address, EtherType.
pub const ETHERNET_LEN: usize = 14;
/// One 802.1Q or 802.1ad tag.
pub const VLAN_TAG_LEN: usize = 4;
/// Tags that are walked; a third one is refused (hazard 26).
pub const MAX_VLAN_TAGS: usize = 2;
/// The longest header kept.
pub const MAX_L2_LEN: usize = ETHERNET_LEN + MAX_VLAN_TAGS * VLAN_TAG_LEN;

pub(crate) const ETHERTYPE_IPV4: u16 = 0x0800;
pub(crate) const ETHERTYPE_IPV6: u16 = 0x86DD;
pub(crate) const ETHERTYPE_VLAN: u16 = 0x8100;
pub(crate) const ETHERTYPE_QINQ: u16 = 0x88A8;

/// An Ethernet header with up to two VLAN tags, EtherType last.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct L2Header {
    bytes: [u8; MAX_L2_LEN],
    len: u8,
}

impl L2Header {
    /// The header of a parsed frame. `None` only if `frame` is not the one that
    /// `layers` was made of.
    #[inline]
    pub fn from_frame(frame: &[u8], layers: &Layers) -> Option<Self> {
        Self::from_bytes(frame.get(..usize::from(layers.l3))?)
    }

    /// From header bytes alone: 14, 18 or 22 of them.
    #[inline]
    pub fn from_bytes(header: &[u8]) -> Option<Self> {
        if !matches!(header.len(), 14 | 18 | 22) {
            return None;
        }
        let mut bytes = [0; MAX_L2_LEN];
        bytes[..header.len()].copy_from_slice(header);
        // At most 22, checked above.
        Some(Self { bytes, len: header.len() as u8 })
    }

    /// An untagged header; the builders set the EtherType.
    pub fn new(destination: [u8; 6], source: [u8; 6]) -> Self {
        let mut bytes = [0; MAX_L2_LEN];
        bytes[..6].copy_from_slice(&destination);
        bytes[6..12].copy_from_slice(&source);
        Self { bytes, len: ETHERNET_LEN as u8 }
    }

    /// The same header for a frame that goes back: addresses swapped, tags kept.
    #[must_use]
    pub fn swapped(&self) -> Self {
        let mut out = *self;
        out.bytes[..6].copy_from_slice(&self.bytes[6..12]);
        out.bytes[6..12].copy_from_slice(&self.bytes[..6]);
        out
    }

    /// The same header with the EtherType of that IP version.
    #[must_use]
    pub fn with_ip(&self, kind: IpKind) -> Self {
        let ethertype = match kind {
            IpKind::V4 => ETHERTYPE_IPV4,
            IpKind::V6 => ETHERTYPE_IPV6,
        };
        let mut out = *self;
        let end = self.len();
        out.bytes[end - 2..end].copy_from_slice(&ethertype.to_be_bytes());
        out
    }

    /// The bytes as they stand in a frame.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len()]
    }

    /// Length in bytes: 14, 18 or 22.
    #[inline]
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        // The constructors admit no other length; `min` lets the compiler see it.
        usize::from(self.len).min(MAX_L2_LEN)
    }
}

impl fmt::Debug for L2Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "L2Header({:02x?})", self.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swap_keeps_tags_and_is_its_own_inverse() {
        let bytes: Vec<u8> = (0..18).collect();
        let header = L2Header::from_bytes(&bytes).unwrap();
        let back = header.swapped();
        assert_eq!(&back.as_bytes()[..6], &bytes[6..12]);
        assert_eq!(&back.as_bytes()[6..12], &bytes[..6]);
        assert_eq!(&back.as_bytes()[12..], &bytes[12..]);
        assert_eq!(back.swapped(), header);
    }

    #[test]
    fn only_whole_headers_are_taken() {
        let bytes = [0u8; 30];
        for len in 0..=30 {
            assert_eq!(
                L2Header::from_bytes(&bytes[..len]).is_some(),
                matches!(len, 14 | 18 | 22),
                "{len}"
            );
        }
    }

    #[test]
    fn ethertype_follows_the_ip_version() {
        let header = L2Header::new([1; 6], [2; 6]);
        assert_eq!(header.with_ip(IpKind::V4).as_bytes()[12..], [0x08, 0x00]);
        assert_eq!(header.with_ip(IpKind::V6).as_bytes()[12..], [0x86, 0xDD]);
    }
}
