//! Frames of our own making: UDP datagrams (key delivery) and TCP segments without payload (RST,
//! bare ACK). Layer 2 is borrowed from a frame seen before; checksums are complete.

use crate::checksum::{self, Sum};
use crate::error::BuildError;
use crate::frame::{FrameView, UDP_HEADER_LEN};
use crate::ip::{IPV4_HEADER_LEN, IPV6_HEADER_LEN, IpKind, PROTO_TCP, PROTO_UDP};
use crate::l2::L2Header;
use crate::seq::SeqNum;
use crate::tcp::{MAX_OPTIONS_LEN, TCP_HEADER_LEN, TcpFlags};
use std::net::{IpAddr, SocketAddr};

/// TTL and hop limit of our own packets (the value RFC 1700 recommends).
pub const HOP_LIMIT: u8 = 64;

/// A TCP segment without payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpSegment<'a> {
    /// Source.
    pub src: SocketAddr,
    /// Destination.
    pub dst: SocketAddr,
    /// Sequence number.
    pub seq: SeqNum,
    /// Acknowledgement number.
    pub ack: SeqNum,
    /// Flags.
    pub flags: TcpFlags,
    /// Window.
    pub window: u16,
    /// Options, a multiple of 4 bytes up to 40.
    pub options: &'a [u8],
}

impl TcpSegment<'static> {
    /// The RST that a closed port would send in answer to a segment (RFC 9293 §3.10.7.1).
    /// `None` where the segment is not TCP or is a RST itself: those are never answered.
    pub fn reset_answering(view: &FrameView) -> Option<Self> {
        let tcp = view.tcp().filter(|tcp| !tcp.flags.rst())?;
        let (seq, ack, flags) = if tcp.flags.ack() {
            (tcp.ack, SeqNum(0), TcpFlags::RST)
        } else {
            let ack = tcp.seq.advance(tcp.sequence_len());
            (SeqNum(0), ack, TcpFlags::RST | TcpFlags::ACK)
        };
        Some(Self {
            src: SocketAddr::new(view.dst, tcp.dst_port),
            dst: SocketAddr::new(view.src, tcp.src_port),
            seq,
            ack,
            flags,
            window: 0,
            options: &[],
        })
    }
}

/// Builds a UDP datagram into `out`; answers the length of the frame. Nothing is fragmented: the
/// caller keeps `payload` below the path's MTU (key delivery: 1200 bytes, spec §4).
pub fn udp_datagram(
    l2: &L2Header,
    src: SocketAddr,
    dst: SocketAddr,
    payload: &[u8],
    out: &mut [u8],
) -> Result<usize, BuildError> {
    let l4_len = UDP_HEADER_LEN + payload.len();
    let packet = Packet::start(l2, src.ip(), dst.ip(), PROTO_UDP, l4_len, out)?;
    let len = packet.l4_len;
    let mut header = [0u8; UDP_HEADER_LEN];
    header[..2].copy_from_slice(&src.port().to_be_bytes());
    header[2..4].copy_from_slice(&dst.port().to_be_bytes());
    header[4..6].copy_from_slice(&len.to_be_bytes());
    let sum = packet.pseudo.bytes(&header).bytes(payload);
    // A computed zero is sent as all ones: zero means "no checksum" (RFC 768).
    let checksum = match sum.finish() {
        0 => 0xFFFF,
        checksum => checksum,
    };
    header[6..8].copy_from_slice(&checksum.to_be_bytes());
    let (head, body) =
        packet.l4.split_at_mut_checked(UDP_HEADER_LEN).ok_or(BuildError::OutputTooSmall)?;
    head.copy_from_slice(&header);
    body.copy_from_slice(payload);
    Ok(packet.frame_len)
}

/// Builds a TCP segment without payload into `out`; answers the length of the frame.
pub fn tcp_segment(
    l2: &L2Header,
    segment: &TcpSegment<'_>,
    out: &mut [u8],
) -> Result<usize, BuildError> {
    let options = segment.options;
    if !options.len().is_multiple_of(4) || options.len() > MAX_OPTIONS_LEN {
        return Err(BuildError::BadOptions);
    }
    let l4_len = TCP_HEADER_LEN + options.len();
    let (src, dst) = (segment.src, segment.dst);
    let packet = Packet::start(l2, src.ip(), dst.ip(), PROTO_TCP, l4_len, out)?;
    let [flags_high, flags_low] = segment.flags.0.to_be_bytes();
    let mut header = [0u8; TCP_HEADER_LEN];
    header[..2].copy_from_slice(&src.port().to_be_bytes());
    header[2..4].copy_from_slice(&dst.port().to_be_bytes());
    header[4..8].copy_from_slice(&segment.seq.0.to_be_bytes());
    header[8..12].copy_from_slice(&segment.ack.0.to_be_bytes());
    header[12] = ((l4_len / 4) as u8) << 4 | (flags_high & 1);
    header[13] = flags_low;
    header[14..16].copy_from_slice(&segment.window.to_be_bytes());
    let checksum = packet.pseudo.bytes(&header).bytes(options).finish();
    header[16..18].copy_from_slice(&checksum.to_be_bytes());
    let (head, tail) =
        packet.l4.split_at_mut_checked(TCP_HEADER_LEN).ok_or(BuildError::OutputTooSmall)?;
    head.copy_from_slice(&header);
    tail.copy_from_slice(options);
    Ok(packet.frame_len)
}

/// Layer 2 and 3 written, layer 4 still to come.
struct Packet<'a> {
    l4: &'a mut [u8],
    l4_len: u16,
    frame_len: usize,
    pseudo: Sum,
}

impl<'a> Packet<'a> {
    fn start(
        l2: &L2Header,
        src: IpAddr,
        dst: IpAddr,
        protocol: u8,
        l4_len: usize,
        out: &'a mut [u8],
    ) -> Result<Self, BuildError> {
        // A mapped address is IPv4 on the wire.
        let (src, dst) = (src.to_canonical(), dst.to_canonical());
        let mut header = [0u8; IPV6_HEADER_LEN];
        let (kind, ip_len) = match (src, dst) {
            (IpAddr::V4(_), IpAddr::V4(_)) => (IpKind::V4, IPV4_HEADER_LEN),
            (IpAddr::V6(_), IpAddr::V6(_)) => (IpKind::V6, IPV6_HEADER_LEN),
            _ => return Err(BuildError::MixedFamilies),
        };
        let total = u16::try_from(ip_len + l4_len).map_err(|_| BuildError::TooLong)?;
        match (src, dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                write_ipv4(&mut header, total, protocol, [src.octets(), dst.octets()]);
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let payload = total - IPV6_HEADER_LEN as u16;
                write_ipv6(&mut header, payload, protocol, [src.octets(), dst.octets()]);
            }
            _ => return Err(BuildError::MixedFamilies),
        }
        let l2 = l2.with_ip(kind);
        let frame_len = l2.len() + usize::from(total);
        let frame = out.get_mut(..frame_len).ok_or(BuildError::OutputTooSmall)?;
        let (l2_place, packet) = frame.split_at_mut(l2.len());
        l2_place.copy_from_slice(l2.as_bytes());
        let (l3_place, l4) = packet.split_at_mut(ip_len);
        l3_place.copy_from_slice(&header[..ip_len]);
        let l4_len = total - ip_len as u16;
        let pseudo = checksum::pseudo_header(src, dst, protocol, l4_len);
        Ok(Self { l4, l4_len, frame_len, pseudo })
    }
}

/// Don't-fragment and identification 0: an atomic datagram (RFC 6864 §4).
fn write_ipv4(out: &mut [u8; IPV6_HEADER_LEN], total: u16, protocol: u8, ends: [[u8; 4]; 2]) {
    out[0] = 0x45;
    out[2..4].copy_from_slice(&total.to_be_bytes());
    out[6] = 0x40;
    out[8] = HOP_LIMIT;
    out[9] = protocol;
    out[12..16].copy_from_slice(&ends[0]);
    out[16..20].copy_from_slice(&ends[1]);
    let checksum = Sum::of(&out[..IPV4_HEADER_LEN]).finish();
    out[10..12].copy_from_slice(&checksum.to_be_bytes());
}

fn write_ipv6(out: &mut [u8; IPV6_HEADER_LEN], payload: u16, next: u8, ends: [[u8; 16]; 2]) {
    out[0] = 0x60;
    out[4..6].copy_from_slice(&payload.to_be_bytes());
    out[6] = next;
    out[7] = HOP_LIMIT;
    out[8..24].copy_from_slice(&ends[0]);
    out[24..40].copy_from_slice(&ends[1]);
}

#[cfg(test)]
mod tests;
