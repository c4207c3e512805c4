//! Internet checksums (RFC 1071): full, verify, and incremental update (RFC 1624).
//! Owns arithmetic only; where checksum fields lie comes from the frame view.
//!
//! Sums are taken over native-endian words and turned round once at the end: the one's complement
//! sum does not depend on byte order (RFC 1071 §2B).

use crate::bytes::{chunk, put16};
use crate::frame::{FrameView, Transport, UDP_HEADER_LEN};
use crate::ip::{IPV4_HEADER_LEN, IpKind, PROTO_ICMPV6, PROTO_TCP, PROTO_UDP};
use crate::layers::Layers;
use crate::tcp::TcpView;
use std::net::IpAddr;

/// Offset of the checksum in a TCP header.
const TCP_CHECKSUM_AT: usize = 16;
/// Offset of the checksum in a UDP header.
const UDP_CHECKSUM_AT: usize = 6;
/// Offset of the checksum in an ICMP header.
const ICMP_CHECKSUM_AT: usize = 2;
/// Offset of the checksum in an IPv4 header.
const IPV4_CHECKSUM_AT: usize = 10;

/// A running one's complement sum, not yet folded. Pieces add up in any order as long as each but
/// the last has even length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum(u64);

impl Sum {
    /// The empty sum.
    pub const ZERO: Self = Self(0);

    /// The sum of `bytes`; an odd last byte counts as if followed by a zero.
    #[inline]
    pub fn of(bytes: &[u8]) -> Self {
        Self(sum_words(bytes))
    }

    /// This sum and that of `bytes`.
    #[inline]
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        self.plus(Self::of(bytes))
    }

    /// This sum and a 16-bit field in host order.
    #[inline]
    #[must_use]
    pub fn word(self, value: u16) -> Self {
        self.plus(Self(u64::from(value.to_be())))
    }

    /// This sum less that of a part of it, of which neither is the empty sum.
    #[inline]
    #[must_use]
    pub fn minus(self, part: Self) -> Self {
        // In one's complement the negative of a word is its complement.
        self.word(!part.fold())
    }

    /// This sum and another.
    #[inline]
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        // End-around carry: 2^64 is 1 modulo 2^16 - 1.
        let (sum, carry) = self.0.overflowing_add(other.0);
        Self(sum.wrapping_add(u64::from(carry)))
    }

    /// Folded to 16 bits, in host order, not complemented.
    #[inline]
    pub fn fold(self) -> u16 {
        // Halves, with end-around carry each time.
        let (sum, carry) = (self.0 as u32).overflowing_add((self.0 >> 32) as u32);
        let sum = sum.wrapping_add(u32::from(carry));
        let (sum, carry) = (sum as u16).overflowing_add((sum >> 16) as u16);
        u16::from_be(sum.wrapping_add(u16::from(carry)))
    }

    /// The checksum: folded and complemented, in host order.
    #[inline]
    pub fn finish(self) -> u16 {
        !self.fold()
    }
}

/// Longest slice whose lanes cannot overflow, with much to spare: 2^14 words of 32 bits.
const BLOCK_LEN: usize = 1 << 16;

#[inline]
fn sum_words(bytes: &[u8]) -> u64 {
    if bytes.len() <= BLOCK_LEN {
        return sum_block(bytes);
    }
    bytes.chunks(BLOCK_LEN).fold(Sum::ZERO, |sum, block| sum.plus(Sum(sum_block(block)))).0
}

/// Sums 32-bit halves into 64-bit lanes: no carry to track, and the loop vectorises.
#[inline]
fn sum_block(bytes: &[u8]) -> u64 {
    let mut lanes = [0u64; 8];
    let (rows, rest) = bytes.as_chunks::<32>();
    for row in rows {
        let (words, _) = row.as_chunks::<4>();
        for (lane, word) in lanes.iter_mut().zip(words) {
            *lane += u64::from(u32::from_ne_bytes(*word));
        }
    }
    let mut sum: u64 = lanes.iter().sum();
    let (words, tail) = rest.as_chunks::<4>();
    for word in words {
        sum += u64::from(u32::from_ne_bytes(*word));
    }
    // Spelt out: a copy of variable length would be a call.
    let last = match *tail {
        [] => return sum,
        [a] => [a, 0, 0, 0],
        [a, b] => [a, b, 0, 0],
        [a, b, c, ..] => [a, b, c, 0],
    };
    sum + u64::from(u32::from_ne_bytes(last))
}

/// The sum of a header, which is a few words of 32 bits; a tail that is none is not read.
#[inline(always)]
fn sum_header(bytes: &[u8]) -> Sum {
    // The usual lengths (TCP without options, with timestamps, with timestamps and tag) by name: for
    // so few words a loop takes longer to set up than to run.
    if let Ok(header) = <&[u8; 32]>::try_from(bytes) {
        sum_array(header)
    } else if let Ok(header) = <&[u8; 48]>::try_from(bytes) {
        sum_array(header)
    } else if let Ok(header) = <&[u8; 20]>::try_from(bytes) {
        sum_array(header)
    } else {
        sum_unusual(bytes)
    }
}

#[inline(never)]
fn sum_unusual(bytes: &[u8]) -> Sum {
    let (words, _) = bytes.as_chunks::<4>();
    Sum(words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum())
}

#[inline(always)]
fn sum_array<const N: usize>(bytes: &[u8; N]) -> Sum {
    let (longs, rest) = bytes.as_chunks::<8>();
    let (words, _) = rest.as_chunks::<4>();
    let mut sum = Sum::ZERO;
    for long in longs {
        sum = sum.plus(Sum(u64::from_ne_bytes(*long)));
    }
    for word in words {
        sum = sum.plus(Sum(u64::from(u32::from_ne_bytes(*word))));
    }
    sum
}

/// The sum of the pseudo header, its addresses read from the frame; `len` as in [`pseudo_header`].
#[inline(always)]
fn pseudo_in(frame: &[u8], layers: &Layers, len: u16) -> Option<Sum> {
    let addresses = match layers.ip {
        IpKind::V4 => sum_array(layers.addresses_v4(frame)?),
        IpKind::V6 => sum_array(layers.addresses_v6(frame)?),
    };
    Some(addresses.word(u16::from(layers.protocol)).word(len))
}

/// The sum of one address, straight from its words.
#[inline]
fn address(address: IpAddr) -> Sum {
    match address {
        IpAddr::V4(v4) => Sum(u64::from(u32::from_ne_bytes(v4.octets()))),
        IpAddr::V6(v6) => {
            let octets = v6.octets();
            let (words, _) = octets.as_chunks::<4>();
            Sum(words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum())
        }
    }
}

/// The pseudo header of RFC 9293 §3.1 and RFC 8200 §8.1; `len` = transport header and payload.
#[inline]
pub fn pseudo_header(src: IpAddr, dst: IpAddr, protocol: u8, len: u16) -> Sum {
    address(src).plus(address(dst)).word(u16::from(protocol)).word(len)
}

/// The checksum of an IPv4 header with its checksum field taken as zero.
pub fn ipv4_header(header: &[u8]) -> u16 {
    let before = header.get(..IPV4_CHECKSUM_AT).unwrap_or(header);
    let after = header.get(IPV4_CHECKSUM_AT + 2..).unwrap_or(&[]);
    Sum::of(before).bytes(after).finish()
}

/// The IPv4 header sums to zero. Always true for IPv6, which has no checksum.
#[inline(always)]
pub fn verify_ipv4_header(frame: &[u8], layers: &Layers) -> bool {
    let (start, end) = (usize::from(layers.l3), usize::from(layers.l4));
    let sum = match (layers.ip, end.saturating_sub(start)) {
        (IpKind::V6, _) => return true,
        (IpKind::V4, IPV4_HEADER_LEN) => chunk::<IPV4_HEADER_LEN>(frame, start).map(sum_array),
        (IpKind::V4, _) => frame.get(start..end).map(sum_header),
    };
    sum.is_some_and(|sum| sum.fold() == 0xFFFF)
}

/// Where the checksum of a transport lies, over which bytes, and the sum of its pseudo header.
struct Cover {
    start: usize,
    end: usize,
    field: usize,
    pseudo: Sum,
}

#[inline]
fn cover(view: &FrameView) -> Option<Cover> {
    let start = usize::from(view.l4);
    let (end, field, protocol) = match &view.transport {
        Transport::Tcp(_) => (usize::from(view.l4_end), TCP_CHECKSUM_AT, Some(PROTO_TCP)),
        Transport::Udp(udp) => (udp.payload.end(), UDP_CHECKSUM_AT, Some(PROTO_UDP)),
        Transport::Icmp(icmp) => {
            let protocol = (view.ip == IpKind::V6).then_some(PROTO_ICMPV6);
            (icmp.message.end(), ICMP_CHECKSUM_AT, protocol)
        }
        Transport::Other(_) => return None,
    };
    let len = u16::try_from(end.checked_sub(start)?).ok()?;
    let pseudo = match protocol {
        Some(protocol) => pseudo_header(view.src, view.dst, protocol, len),
        None => Sum::ZERO,
    };
    Some(Cover { start, end, field: start + field, pseudo })
}

/// The transport checksum is right. A UDP checksum of zero counts as right in IPv4 ("none") and as
/// wrong in IPv6. Transports that this crate does not read are not judged: true.
#[inline]
pub fn verify_transport(frame: &[u8], view: &FrameView) -> bool {
    if let Transport::Udp(udp) = &view.transport
        && udp.checksum == 0
    {
        return view.ip == IpKind::V4;
    }
    match cover(view) {
        None => true,
        Some(cover) => frame
            .get(cover.start..cover.end)
            .is_some_and(|bytes| cover.pseudo.bytes(bytes).fold() == 0xFFFF),
    }
}

/// The sum of pseudo header and TCP header as it stands, checksum field included: with the
/// payload's it folds to 0xFFFF where the checksum is right. `None` for another frame than they were
/// read of.
#[inline(always)]
pub fn tcp_header_sum(frame: &[u8], layers: &Layers, tcp: &TcpView) -> Option<Sum> {
    let header = frame.get(usize::from(layers.l4)..usize::from(tcp.payload.start))?;
    let len = layers.l4_end.checked_sub(layers.l4)?;
    Some(pseudo_in(frame, layers, len)?.plus(sum_header(header)))
}

/// The checksum field holds the pseudo-header sum alone: a host left the rest to an offload that
/// never happened (hazard 5). A finished checksum looks like this once in 65536 frames, so ask only
/// when [`verify_transport`] has failed.
pub fn is_partial(frame: &[u8], view: &FrameView) -> bool {
    let Some(cover) = cover(view) else { return false };
    chunk::<2>(frame, cover.field)
        .is_some_and(|field| u16::from_be_bytes(*field) == cover.pseudo.fold())
}

/// Computes and writes the transport checksum over the frame as it stands.
/// False only if `frame` is shorter than `view` says, or the transport has no checksum.
#[inline]
pub fn fill_transport(frame: &mut [u8], view: &FrameView) -> bool {
    let Some(cover) = cover(view) else { return false };
    if put16(frame, cover.field, 0).is_none() {
        return false;
    }
    let Some(bytes) = frame.get(cover.start..cover.end) else { return false };
    let checksum = finish_for(view, cover.pseudo.bytes(bytes));
    put16(frame, cover.field, checksum).is_some()
}

/// Like [`fill_transport`] where the sum of the payload is already known (the cipher pass can take
/// it along): only the TCP header is read. False if the frame is not TCP.
#[inline]
pub fn fill_tcp_with_payload_sum(frame: &mut [u8], view: &FrameView, payload: Sum) -> bool {
    let (Some(cover), Transport::Tcp(tcp)) = (cover(view), &view.transport) else { return false };
    if put16(frame, cover.field, 0).is_none() {
        return false;
    }
    let Some(header) = frame.get(cover.start..usize::from(tcp.payload.start)) else { return false };
    let sum = cover.pseudo.plus(sum_header(header)).plus(payload);
    put16(frame, cover.field, sum.finish()).is_some()
}

/// Writes the TCP checksum that makes up for `sum`: of pseudo header, header without checksum field,
/// and payload. False if `frame` is shorter than `layers` says.
#[inline(always)]
pub fn put_tcp(frame: &mut [u8], layers: &Layers, sum: Sum) -> bool {
    put16(frame, usize::from(layers.l4) + TCP_CHECKSUM_AT, sum.finish()).is_some()
}

/// In UDP a computed zero is sent as all ones (RFC 768): zero means "none".
#[inline]
fn finish_for(view: &FrameView, sum: Sum) -> u16 {
    match (sum.finish(), &view.transport) {
        (0, Transport::Udp(_)) => 0xFFFF,
        (checksum, _) => checksum,
    }
}

/// The checksum after one 16-bit field changed (RFC 1624, equation 3). An error already in
/// `checksum` stays in it.
#[inline]
pub const fn update_u16(checksum: u16, old: u16, new: u16) -> u16 {
    let sum = !checksum as u32 + !old as u32 + new as u32;
    let sum = (sum >> 16) + (sum & 0xFFFF);
    let sum = (sum >> 16) + (sum & 0xFFFF);
    !(sum as u16)
}

/// The checksum after one 32-bit field changed.
#[inline]
pub const fn update_u32(checksum: u16, old: u32, new: u32) -> u16 {
    let high = update_u16(checksum, (old >> 16) as u16, (new >> 16) as u16);
    update_u16(high, old as u16, new as u16)
}

/// The checksum after bytes with the sum `old` gave way to bytes with the sum `new`, both at even
/// offsets. Carries an error through a rewrite of the whole payload (hazard 5).
#[inline]
pub fn update_sum(checksum: u16, old: Sum, new: Sum) -> u16 {
    update_u16(checksum, old.fold(), new.fold())
}

#[cfg(test)]
mod tests;

/// The smallest UDP datagram that has a checksum field.
const _: () = assert!(UDP_CHECKSUM_AT + 2 == UDP_HEADER_LEN);
