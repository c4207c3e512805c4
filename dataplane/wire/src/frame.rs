//! One parse per frame, into a `Copy` view of 16-bit offsets without lifetimes.
//! Owns the dispatch to the transport and the view of a whole frame; changes nothing.

use crate::bytes::chunk;
use crate::error::ParseError;
use crate::ip::{IpKind, PROTO_ICMP, PROTO_ICMPV6, PROTO_TCP, PROTO_UDP};
use crate::layers::Layers;
use crate::tcp::TcpView;
use std::net::{IpAddr, SocketAddr};
use std::ops::{Deref, Range};

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

/// A parsed frame, whole: what code off the hot path works with. Its [`Layers`] are read through
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameView {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// Offsets, IP version and protocol.
    pub layers: Layers,
    /// The transport part.
    pub transport: Transport,
}

impl Deref for FrameView {
    type Target = Layers;

    #[inline]
    fn deref(&self) -> &Layers {
        &self.layers
    }
}

impl FrameView {
    /// The view of `frame`, of which the rest has been read; `None` for a shorter one.
    pub fn of(frame: &[u8], layers: Layers, transport: Transport) -> Option<Self> {
        let (src, dst) = layers.addresses(frame)?;
        let ip = frame.get(usize::from(layers.l3)..)?;
        let (ttl, traffic_class) = match layers.ip {
            IpKind::V4 => (*ip.get(8)?, *ip.get(1)?),
            IpKind::V6 => (*ip.get(7)?, (*ip.first()? << 4) | (*ip.get(1)? >> 4)),
        };
        Some(Self { src, dst, ttl, traffic_class, layers, transport })
    }

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
pub fn parse_frame(frame: &[u8]) -> Result<FrameView, ParseError> {
    let layers = Layers::parse(frame)?;
    let transport = Transport::parse(frame, &layers)?;
    FrameView::of(frame, layers, transport).ok_or(ParseError::Truncated)
}

impl Transport {
    /// Reads the transport header of the frame that `layers` was read of.
    ///
    /// # Errors
    /// [`ParseError`]: the frame must not pass.
    #[inline]
    pub fn parse(frame: &[u8], layers: &Layers) -> Result<Self, ParseError> {
        let Layers { l4, l4_end, .. } = *layers;
        match (layers.protocol, layers.ip) {
            (PROTO_TCP, _) => TcpView::parse(frame, layers).map(Self::Tcp),
            (PROTO_UDP, _) => parse_udp(frame, l4, l4_end).map(Self::Udp),
            (PROTO_ICMP, IpKind::V4) | (PROTO_ICMPV6, IpKind::V6) => {
                let body = frame.get(usize::from(l4)..usize::from(l4_end));
                let head = body.and_then(|body| chunk::<4>(body, 0));
                let head = head.ok_or(ParseError::BadIcmpHeader)?;
                let message = Span { start: l4, len: l4_end - l4 };
                Ok(Self::Icmp(IcmpView { kind: head[0], code: head[1], message }))
            }
            (other, _) => Ok(Self::Other(other)),
        }
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
