//! IPv4 and IPv6 headers: lengths proven against the frame, options and extension headers walked.
//! Owns the way from layer 3 to layer 4; what layer 4 means is not decided here.

use crate::bytes::chunk;
use crate::error::ParseError;

/// Length of an IPv4 header without options.
pub const IPV4_HEADER_LEN: usize = 20;
/// Length of the fixed IPv6 header.
pub const IPV6_HEADER_LEN: usize = 40;
/// Extension headers walked before the packet is refused (spec M2.15): RFC 8200 §4.1 knows four that
/// may stand before TCP, hosts send one or two; the XDP program walks as many.
pub const MAX_EXTENSION_HEADERS: usize = 6;

/// Protocol number of ICMP.
pub const PROTO_ICMP: u8 = 1;
/// Protocol number of TCP.
pub const PROTO_TCP: u8 = 6;
/// Protocol number of UDP.
pub const PROTO_UDP: u8 = 17;
/// Protocol number of ICMPv6.
pub const PROTO_ICMPV6: u8 = 58;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;
const MOBILITY: u8 = 135;
const HIP: u8 = 139;
const SHIM6: u8 = 140;

/// IP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IpKind {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Protocol number, and where layer 4 begins and ends.
pub(crate) type Within = (u8, usize, usize);

/// Parses the IPv4 header at `l3`. On success `l3 + 20 <= l4 <= l4_end <= frame.len()`.
#[inline]
pub(crate) fn parse_ipv4(frame: &[u8], l3: usize) -> Result<Within, ParseError> {
    let h = chunk::<IPV4_HEADER_LEN>(frame, l3).ok_or(ParseError::Truncated)?;
    let header_len = usize::from(h[0] & 0x0F) * 4;
    if h[0] >> 4 != 4 || header_len < IPV4_HEADER_LEN {
        return Err(ParseError::BadIpv4Header);
    }
    let total = usize::from(u16::from_be_bytes([h[2], h[3]]));
    if total == 0 {
        return Err(ParseError::Jumbogram);
    }
    if total < header_len {
        return Err(ParseError::BadIpv4Header);
    }
    if l3 + total > frame.len() {
        return Err(ParseError::LengthMismatch);
    }
    // More fragments, or an offset: no ports to be trusted here (hazard 25).
    if u16::from_be_bytes([h[6], h[7]]) & 0x3FFF != 0 {
        return Err(ParseError::Fragment);
    }
    if header_len > IPV4_HEADER_LEN {
        let options = frame.get(l3 + IPV4_HEADER_LEN..l3 + header_len);
        walk_ipv4_options(options.ok_or(ParseError::Truncated)?)?;
    }
    Ok((h[9], l3 + header_len, l3 + total))
}

/// Every option is named by kind and length; source routing is refused because the address in the
/// header is then not the one that is protected.
#[cold]
fn walk_ipv4_options(options: &[u8]) -> Result<(), ParseError> {
    const END: u8 = 0;
    const NOP: u8 = 1;
    const LOOSE_SOURCE_ROUTE: u8 = 131;
    const STRICT_SOURCE_ROUTE: u8 = 137;
    let mut at = 0;
    while let Some(&kind) = options.get(at) {
        match kind {
            END => return Ok(()),
            NOP => at += 1,
            LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE => return Err(ParseError::Ipv4Options),
            _ => match options.get(at + 1) {
                Some(&len) if len >= 2 && at + usize::from(len) <= options.len() => {
                    at += usize::from(len);
                }
                _ => return Err(ParseError::Ipv4Options),
            },
        }
    }
    Ok(())
}

/// Parses the IPv6 header at `l3`. On success `l3 + 40 <= l4 <= l4_end <= frame.len()`.
#[inline]
pub(crate) fn parse_ipv6(frame: &[u8], l3: usize) -> Result<Within, ParseError> {
    let h = chunk::<IPV6_HEADER_LEN>(frame, l3).ok_or(ParseError::Truncated)?;
    if h[0] >> 4 != 6 {
        return Err(ParseError::BadIpv6Header);
    }
    let payload = usize::from(u16::from_be_bytes([h[4], h[5]]));
    let next = h[6];
    if payload == 0 && next != NO_NEXT_HEADER {
        return Err(ParseError::Jumbogram);
    }
    let l4_end = l3 + IPV6_HEADER_LEN + payload;
    if l4_end > frame.len() {
        return Err(ParseError::LengthMismatch);
    }
    let (protocol, l4) = match next {
        PROTO_TCP | PROTO_UDP | PROTO_ICMPV6 => (next, l3 + IPV6_HEADER_LEN),
        _ => walk_extension_headers(frame, next, l3 + IPV6_HEADER_LEN, l4_end)?,
    };
    Ok((protocol, l4, l4_end))
}

const NO_NEXT_HEADER: u8 = 59;

/// Steps over hop-by-hop (first only), destination options and used-up routing headers.
/// Everything else that is an extension header is refused: a fragment has no ports, AH signs what
/// we change, a routing header with segments left hides the real destination.
#[cold]
pub(crate) fn walk_extension_headers(
    frame: &[u8],
    first: u8,
    start: usize,
    end: usize,
) -> Result<(u8, usize), ParseError> {
    let mut next = first;
    let mut at = start;
    for step in 0..=MAX_EXTENSION_HEADERS {
        match next {
            HOP_BY_HOP if step == 0 => {}
            ROUTING | DESTINATION_OPTIONS => {}
            FRAGMENT => return Err(ParseError::Fragment),
            HOP_BY_HOP | AUTHENTICATION | MOBILITY | HIP | SHIM6 => {
                return Err(ParseError::ExtensionHeader);
            }
            _ => return Ok((next, at)),
        }
        if step == MAX_EXTENSION_HEADERS {
            break;
        }
        let head = frame.get(at..end).and_then(|rest| rest.first_chunk::<4>());
        let head = head.ok_or(ParseError::ExtensionHeader)?;
        if next == ROUTING && head[3] != 0 {
            return Err(ParseError::ExtensionHeader);
        }
        at += 8 + usize::from(head[1]) * 8;
        if at > end {
            return Err(ParseError::ExtensionHeader);
        }
        next = head[0];
    }
    Err(ParseError::ExtensionHeader)
}
