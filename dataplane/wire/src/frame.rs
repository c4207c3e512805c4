//! One parse per frame, into a `Copy` view of 16-bit offsets without lifetimes.
//! Owns Ethernet, VLAN tags and the dispatch to IP and transport; changes nothing.

use crate::bytes::{be16, chunk};
use crate::error::ParseError;
use crate::ip::{
    IpKind, IpPart, PROTO_ICMP, PROTO_ICMPV6, PROTO_TCP, PROTO_UDP, parse_ipv4, parse_ipv6,
};
use crate::l2::{
    ETHERNET_LEN, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_QINQ, ETHERTYPE_VLAN, MAX_VLAN_TAGS,
    VLAN_TAG_LEN,
};
use crate::tcp::TcpView;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

/// Length of a UDP header.
pub const UDP_HEADER_LEN: usize = 8;

/// A piece of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Span {
    /// Offset from the start of the frame.
    pub start: u16,
    /// Length in bytes.
    pub len: u16,
}

impl Span {
    /// Offset behind the last byte.
    #[inline]
    pub fn end(self) -> usize {
        usize::from(self.start) + usize::from(self.len)
    }

    /// As a range of indices.
    #[inline]
    pub fn range(self) -> Range<usize> {
        usize::from(self.start)..self.end()
    }

    /// No bytes.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    /// The bytes in the frame that the view was made of (empty for any shorter slice).
    #[inline]
    pub fn slice(self, frame: &[u8]) -> &[u8] {
        frame.get(self.range()).unwrap_or(&[])
    }
}

/// A UDP datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpView {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Checksum field as received; 0 = none (IPv4 only).
    pub checksum: u16,
    /// Payload by the UDP length field.
    pub payload: Span,
}

/// An ICMP or ICMPv6 message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpView {
    /// Type: its meaning depends on the IP version of the frame.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// The whole message, type octet included.
    pub message: Span,
}

/// What the IP packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp(TcpView),
    /// UDP.
    Udp(UdpView),
    /// ICMP over IPv4, ICMPv6 over IPv6.
    Icmp(IcmpView),
    /// Any other protocol number, unread.
    Other(u8),
}

/// A parsed frame. `l2_len == l3 <= l4 <= l4_end <= frame.len()` held when it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameView {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Length of the layer-2 header, VLAN tags included.
    pub l2_len: u16,
    /// VLAN tags: 0, 1 or 2.
    pub vlan_count: u8,
    /// IP version.
    pub ip: IpKind,
    /// TTL or hop limit.
    pub ttl: u8,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// Offset of the IP header.
    pub l3: u16,
    /// Offset of the transport header.
    pub l4: u16,
    /// End of the packet by its IP length: Ethernet padding lies behind it.
    pub l4_end: u16,
    /// The transport part.
    pub transport: Transport,
}

impl FrameView {
    /// The TCP view, where it is TCP.
    #[inline]
    pub fn tcp(&self) -> Option<&TcpView> {
        match &self.transport {
            Transport::Tcp(tcp) => Some(tcp),
            _ => None,
        }
    }

    /// The UDP view, where it is UDP.
    #[inline]
    pub fn udp(&self) -> Option<&UdpView> {
        match &self.transport {
            Transport::Udp(udp) => Some(udp),
            _ => None,
        }
    }

    /// Length of the frame without Ethernet padding.
    #[inline]
    pub fn frame_len(&self) -> usize {
        usize::from(self.l4_end)
    }

    /// Source address and port of TCP or UDP.
    pub fn source(&self) -> Option<SocketAddr> {
        self.ports().map(|(port, _)| SocketAddr::new(self.src, port))
    }

    /// Destination address and port of TCP or UDP.
    pub fn destination(&self) -> Option<SocketAddr> {
        self.ports().map(|(_, port)| SocketAddr::new(self.dst, port))
    }

    /// Source and destination port of TCP or UDP.
    #[inline]
    pub fn ports(&self) -> Option<(u16, u16)> {
        match &self.transport {
            Transport::Tcp(tcp) => Some((tcp.src_port, tcp.dst_port)),
            Transport::Udp(udp) => Some((udp.src_port, udp.dst_port)),
            Transport::Icmp(_) | Transport::Other(_) => None,
        }
    }
}

/// Parses an Ethernet frame: at most two VLAN tags, IPv4 or IPv6, TCP, UDP or ICMP.
///
/// Checksums are not verified here. Every offset in the result lies within `frame`.
#[inline]
pub fn parse_frame(frame: &[u8]) -> Result<FrameView, ParseError> {
    if frame.len() > usize::from(u16::MAX) {
        return Err(ParseError::Oversized);
    }
    let (ethertype, vlan_count) = parse_ethernet(frame)?;
    let l3 = ETHERNET_LEN + vlan_count * VLAN_TAG_LEN;
    let part = match ethertype {
        ETHERTYPE_IPV4 => parse_ipv4(frame, l3)?,
        ETHERTYPE_IPV6 => parse_ipv6(frame, l3)?,
        _ => return Err(ParseError::NotIp),
    };
    let transport = parse_transport(frame, &part)?;
    // All offsets are at most frame.len(), which fits 16 bits.
    Ok(FrameView {
        src: part.src,
        dst: part.dst,
        l2_len: l3 as u16,
        vlan_count: vlan_count as u8,
        ip: part.kind,
        ttl: part.ttl,
        traffic_class: part.traffic_class,
        l3: l3 as u16,
        l4: part.l4 as u16,
        l4_end: part.l4_end as u16,
        transport,
    })
}

/// EtherType behind the tags, and how many tags there were.
#[inline]
fn parse_ethernet(frame: &[u8]) -> Result<(u16, usize), ParseError> {
    let mut ethertype = be16(frame, ETHERNET_LEN - 2).ok_or(ParseError::Truncated)?;
    let mut tags = 0;
    while matches!(ethertype, ETHERTYPE_VLAN | ETHERTYPE_QINQ) {
        if tags == MAX_VLAN_TAGS {
            return Err(ParseError::TooManyVlanTags);
        }
        tags += 1;
        let at = ETHERNET_LEN + tags * VLAN_TAG_LEN - 2;
        ethertype = be16(frame, at).ok_or(ParseError::Truncated)?;
    }
    Ok((ethertype, tags))
}

#[inline]
fn parse_transport(frame: &[u8], part: &IpPart) -> Result<Transport, ParseError> {
    let l4 = part.l4 as u16;
    let l4_end = part.l4_end as u16;
    match (part.protocol, part.kind) {
        (PROTO_TCP, _) => TcpView::parse(frame, l4, l4_end).map(Transport::Tcp),
        (PROTO_UDP, _) => parse_udp(frame, l4, l4_end).map(Transport::Udp),
        (PROTO_ICMP, IpKind::V4) | (PROTO_ICMPV6, IpKind::V6) => {
            let body = frame.get(part.l4..part.l4_end).ok_or(ParseError::BadIcmpHeader)?;
            let head = chunk::<4>(body, 0).ok_or(ParseError::BadIcmpHeader)?;
            let message = Span { start: l4, len: l4_end - l4 };
            Ok(Transport::Icmp(IcmpView { kind: head[0], code: head[1], message }))
        }
        (other, _) => Ok(Transport::Other(other)),
    }
}

fn parse_udp(frame: &[u8], l4: u16, l4_end: u16) -> Result<UdpView, ParseError> {
    let datagram =
        frame.get(usize::from(l4)..usize::from(l4_end)).ok_or(ParseError::BadUdpHeader)?;
    let h = chunk::<UDP_HEADER_LEN>(datagram, 0).ok_or(ParseError::BadUdpHeader)?;
    let len = u16::from_be_bytes([h[4], h[5]]);
    if usize::from(len) < UDP_HEADER_LEN || usize::from(len) > datagram.len() {
        return Err(ParseError::BadUdpHeader);
    }
    Ok(UdpView {
        src_port: u16::from_be_bytes([h[0], h[1]]),
        dst_port: u16::from_be_bytes([h[2], h[3]]),
        checksum: u16::from_be_bytes([h[6], h[7]]),
        payload: Span { start: l4 + UDP_HEADER_LEN as u16, len: len - UDP_HEADER_LEN as u16 },
    })
}

#[cfg(test)]
mod tests;
