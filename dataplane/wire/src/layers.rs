//! Where the layers of a frame begin and end: all that the hot path keeps of Ethernet and IP, in a
//! few octets. Owns the walk over Ethernet and VLAN tags, and the addresses as they stand in the
//! frame; IP headers are read in `ip`, transports in `frame` and `tcp`.

use crate::bytes::{be16, chunk};
use crate::error::ParseError;
use crate::ip::{IpKind, parse_ipv4, parse_ipv6};
use crate::l2::{
    ETHERNET_LEN, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_QINQ, ETHERTYPE_VLAN, MAX_VLAN_TAGS,
    VLAN_TAG_LEN,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Offset of the addresses in an IPv4 header.
const IPV4_ADDRESSES_AT: usize = 12;
/// Offset of the addresses in an IPv6 header.
const IPV6_ADDRESSES_AT: usize = 8;

/// Offsets of a frame. `l3 <= l4 <= l4_end <= frame.len()` held when they were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layers {
    /// Offset of the IP header: the length of the layer-2 header, VLAN tags included.
    pub l3: u16,
    /// Offset of the transport header.
    pub l4: u16,
    /// End of the packet by its IP length: Ethernet padding lies behind it.
    pub l4_end: u16,
    /// IP version.
    pub ip: IpKind,
    /// Protocol number of the transport.
    pub protocol: u8,
}

impl Layers {
    /// Of no frame.
    pub const NONE: Self = Self { l3: 0, l4: 0, l4_end: 0, ip: IpKind::V4, protocol: 0 };

    /// Walks Ethernet, at most two VLAN tags, IPv4 or IPv6; what the transport is, is not looked
    /// at. Checksums are not verified.
    ///
    /// # Errors
    /// [`ParseError`]: the frame must not pass.
    #[inline]
    pub fn parse(frame: &[u8]) -> Result<Self, ParseError> {
        let mut layers = Self::NONE;
        layers.read(frame).map(|()| layers)
    }

    /// [`Layers::parse`] in place, which leaves nothing to copy; of a frame that must not pass no
    /// more than a part is filled in.
    ///
    /// # Errors
    /// As [`Layers::parse`].
    #[inline(always)]
    pub fn read(&mut self, frame: &[u8]) -> Result<(), ParseError> {
        if frame.len() > usize::from(u16::MAX) {
            return Err(ParseError::Oversized);
        }
        let (ethertype, l3) = parse_ethernet(frame)?;
        let (ip, (protocol, l4, l4_end)) = match ethertype {
            ETHERTYPE_IPV4 => (IpKind::V4, parse_ipv4(frame, l3)?),
            ETHERTYPE_IPV6 => (IpKind::V6, parse_ipv6(frame, l3)?),
            _ => return Err(ParseError::NotIp),
        };
        // None is beyond the frame, whose length fits 16 bits.
        (self.l3, self.l4, self.l4_end) = (l3 as u16, l4 as u16, l4_end as u16);
        (self.ip, self.protocol) = (ip, protocol);
        Ok(())
    }

    /// Length of the frame without Ethernet padding.
    #[inline]
    pub fn frame_len(&self) -> usize {
        usize::from(self.l4_end)
    }

    /// VLAN tags: 0, 1 or 2.
    pub fn vlan_count(&self) -> u8 {
        (usize::from(self.l3).saturating_sub(ETHERNET_LEN) / VLAN_TAG_LEN) as u8
    }

    /// Both addresses, source first, as an IPv4 header has them; `None` for a frame that is shorter
    /// than the one that these are the offsets of.
    #[inline]
    pub fn addresses_v4<'a>(&self, frame: &'a [u8]) -> Option<&'a [u8; 8]> {
        chunk(frame, usize::from(self.l3) + IPV4_ADDRESSES_AT)
    }

    /// The same of an IPv6 header.
    #[inline]
    pub fn addresses_v6<'a>(&self, frame: &'a [u8]) -> Option<&'a [u8; 32]> {
        chunk(frame, usize::from(self.l3) + IPV6_ADDRESSES_AT)
    }

    /// Source and destination, whichever the IP version; `None` for a shorter frame.
    pub fn addresses(&self, frame: &[u8]) -> Option<(IpAddr, IpAddr)> {
        Some(match self.ip {
            IpKind::V4 => {
                let [a, b, c, d, e, f, g, h] = *self.addresses_v4(frame)?;
                (Ipv4Addr::new(a, b, c, d).into(), Ipv4Addr::new(e, f, g, h).into())
            }
            IpKind::V6 => {
                let (halves, _) = self.addresses_v6(frame)?.as_chunks::<16>();
                (Ipv6Addr::from(halves[0]).into(), Ipv6Addr::from(halves[1]).into())
            }
        })
    }
}

/// EtherType behind the tags, and where the header behind it begins.
#[inline]
fn parse_ethernet(frame: &[u8]) -> Result<(u16, usize), ParseError> {
    let mut l3 = ETHERNET_LEN;
    let mut ethertype = be16(frame, l3 - 2).ok_or(ParseError::Truncated)?;
    while matches!(ethertype, ETHERTYPE_VLAN | ETHERTYPE_QINQ) {
        if l3 == ETHERNET_LEN + MAX_VLAN_TAGS * VLAN_TAG_LEN {
            return Err(ParseError::TooManyVlanTags);
        }
        l3 += VLAN_TAG_LEN;
        ethertype = be16(frame, l3 - 2).ok_or(ParseError::Truncated)?;
    }
    Ok((ethertype, l3))
}
