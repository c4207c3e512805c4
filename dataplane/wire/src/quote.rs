//! The TCP packet that an ICMP error quotes: addresses, ports, sequence number, and the two places
//! that name a size. Owns their offsets within the frame; which quotations may pass is decided by
//! others.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::bytes::{be16, chunk, put16};
use crate::frame::{FrameView, IcmpView};
use crate::ip::{IPV4_HEADER_LEN, IPV6_HEADER_LEN, IpKind, PROTO_TCP, walk_extension_headers};
use crate::seq::SeqNum;

/// An ICMP header: the quotation begins behind it.
pub const ICMP_HEADER_LEN: usize = 8;
/// What RFC 792 asks to be quoted of the transport header: of TCP ports and sequence number.
pub const QUOTED_TRANSPORT_LEN: usize = 8;

/// MTU that an IPv4 host need not go below: what every host takes (RFC 791, 3.1).
const SMALLEST_V4: u16 = 576;
/// MTU that an IPv6 host must not go below (RFC 8201, 4).
const SMALLEST_V6: u32 = 1280;

/// A quoted TCP packet, as far as every error quotes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotedTcp {
    /// Who sent the packet that the error is about.
    pub source: SocketAddr,
    /// Whom it was for.
    pub destination: SocketAddr,
    /// Its sequence number.
    pub seq: SeqNum,
    /// Offset in the frame of its TCP header, of which 8 octets are there.
    pub transport: usize,
}

impl QuotedTcp {
    /// Reads the quotation of an ICMP error; `None` where it is not TCP, is a fragment, or ends too
    /// early. Lengths of the quoted packet are not held against the message: it may be cut.
    #[must_use]
    pub fn read(frame: &[u8], view: &FrameView, icmp: &IcmpView) -> Option<Self> {
        // Nothing behind the message, Ethernet padding included, is part of the quotation.
        let frame = frame.get(..icmp.message.end())?;
        let at = usize::from(icmp.message.start) + ICMP_HEADER_LEN;
        let (source, destination, transport) = match view.ip {
            IpKind::V4 => quoted_v4(frame, at)?,
            IpKind::V6 => quoted_v6(frame, at)?,
        };
        let tcp = chunk::<QUOTED_TRANSPORT_LEN>(frame, transport)?;
        let port = |at: usize| u16::from_be_bytes([tcp[at], tcp[at + 1]]);
        Some(Self {
            source: SocketAddr::new(source, port(0)),
            destination: SocketAddr::new(destination, port(2)),
            seq: SeqNum::new(u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]])),
            transport,
        })
    }
}

fn quoted_v4(frame: &[u8], at: usize) -> Option<(IpAddr, IpAddr, usize)> {
    let h = chunk::<IPV4_HEADER_LEN>(frame, at)?;
    let header_len = usize::from(h[0] & 0x0f) * 4;
    // Of a fragment the receiver of the error cannot tell what it was sent as.
    let whole = u16::from_be_bytes([h[6], h[7]]) & 0x3fff == 0;
    if h[0] >> 4 != 4 || header_len < IPV4_HEADER_LEN || h[9] != PROTO_TCP || !whole {
        return None;
    }
    let source = Ipv4Addr::new(h[12], h[13], h[14], h[15]);
    let destination = Ipv4Addr::new(h[16], h[17], h[18], h[19]);
    Some((source.into(), destination.into(), at + header_len))
}

fn quoted_v6(frame: &[u8], at: usize) -> Option<(IpAddr, IpAddr, usize)> {
    let h = chunk::<IPV6_HEADER_LEN>(frame, at)?;
    if h[0] >> 4 != 6 {
        return None;
    }
    let behind = at + IPV6_HEADER_LEN;
    let (protocol, transport) = walk_extension_headers(frame, h[6], behind, frame.len()).ok()?;
    if protocol != PROTO_TCP {
        return None;
    }
    let source = Ipv6Addr::from(*chunk::<16>(h, 8)?);
    let destination = Ipv6Addr::from(*chunk::<16>(h, 24)?);
    Some((source.into(), destination.into(), transport))
}

/// Whether the message says that a packet was too big for a link, and for which MTU.
#[must_use]
pub fn is_too_big(ip: IpKind, icmp: &IcmpView) -> bool {
    match ip {
        IpKind::V4 => icmp.kind == 3 && icmp.code == 4,
        IpKind::V6 => icmp.kind == 2,
    }
}

/// Lowers the MTU of a message that [`is_too_big`] by `octets`, not below 576 and 1280, and the
/// total length of an IPv4 packet quoted, from which a host guesses where the MTU is 0 (RFC 1191,
/// 5). The ICMP checksum is left to be filled. False where the message ends too early.
pub fn lower_mtu(frame: &mut [u8], ip: IpKind, icmp: &IcmpView, octets: u16) -> bool {
    lower(frame, ip, usize::from(icmp.message.start), octets).is_some()
}

fn lower(frame: &mut [u8], ip: IpKind, message: usize, octets: u16) -> Option<()> {
    match ip {
        IpKind::V4 => {
            let mtu = be16(frame, message + 6)?;
            if mtu != 0 {
                put16(frame, message + 6, mtu.saturating_sub(octets).max(SMALLEST_V4))?;
            }
            let total = message + ICMP_HEADER_LEN + 2;
            let quoted = be16(frame, total)?;
            put16(frame, total, quoted.saturating_sub(octets))
        }
        IpKind::V6 => {
            let mtu = u32::from_be_bytes(*chunk::<4>(frame, message + 4)?);
            let lowered = mtu.saturating_sub(u32::from(octets)).max(SMALLEST_V6);
            let field = frame.get_mut(message + 4..message + 8)?;
            field.copy_from_slice(&lowered.to_be_bytes());
            Some(())
        }
    }
}

#[cfg(test)]
mod tests;
