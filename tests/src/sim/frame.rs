//! Frames as the simulation makes and changes them. Owns building a TCP segment, shifting its
//! numbers and addresses, and wrapping a host's packets into Ethernet; checksums are mended after
//! each change.

use std::net::{IpAddr, SocketAddr};

use sekisho_wire::{FrameView, TcpFlags, TcpView, checksum, parse_frame};

/// Octets of an Ethernet header.
pub(super) const ETHERNET: usize = 14;
/// Options of SACK blocks (RFC 2018).
const SACK: u8 = 5;

/// A TCP segment to be built.
pub(super) struct Segment<'a> {
    pub(super) src: SocketAddr,
    pub(super) dst: SocketAddr,
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) flags: TcpFlags,
    pub(super) urgent: u16,
    pub(super) options: &'a [u8],
    pub(super) payload: &'a [u8],
}

impl Segment<'_> {
    /// The frame, with checksums that hold. Options are a multiple of four octets.
    pub(super) fn build(&self) -> Vec<u8> {
        let tcp_len = 20 + self.options.len() + self.payload.len();
        let mut packet = ip_header(self.src.ip(), self.dst.ip(), 6, tcp_len);
        packet.extend_from_slice(&self.src.port().to_be_bytes());
        packet.extend_from_slice(&self.dst.port().to_be_bytes());
        packet.extend_from_slice(&self.seq.to_be_bytes());
        packet.extend_from_slice(&self.ack.to_be_bytes());
        let words = ((20 + self.options.len()) / 4) as u16;
        packet.extend_from_slice(&(words << 12 | self.flags.0).to_be_bytes());
        packet.extend_from_slice(&[0xff, 0xff, 0, 0]);
        packet.extend_from_slice(&self.urgent.to_be_bytes());
        packet.extend_from_slice(self.options);
        packet.extend_from_slice(self.payload);
        let mut frame = with_ethernet(&packet);
        mend(&mut frame);
        frame
    }
}

/// An IP header without options for `length` octets of `protocol`.
pub(super) fn ip_header(src: IpAddr, dst: IpAddr, protocol: u8, length: usize) -> Vec<u8> {
    // Nothing here is longer than an MTU.
    let length = length as u16;
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let mut header = vec![0x45, 0];
            header.extend_from_slice(&(length + 20).to_be_bytes());
            header.extend_from_slice(&[0, 0, 0x40, 0, 64, protocol, 0, 0]);
            header.extend_from_slice(&src.octets());
            header.extend_from_slice(&dst.octets());
            let sum = checksum::ipv4_header(&header);
            header[10..12].copy_from_slice(&sum.to_be_bytes());
            header
        }
        (src, dst) => {
            let mut header = vec![0x60, 0, 0, 0];
            header.extend_from_slice(&length.to_be_bytes());
            header.extend_from_slice(&[protocol, 64]);
            for address in [src, dst] {
                let address = match address {
                    IpAddr::V4(v4) => v4.to_ipv6_mapped(),
                    IpAddr::V6(v6) => v6,
                };
                header.extend_from_slice(&address.octets());
            }
            header
        }
    }
}

/// An IP packet in an Ethernet frame; who it is for does not matter on a wire with two ends.
pub(super) fn with_ethernet(packet: &[u8]) -> Vec<u8> {
    let ethertype =
        if packet.first().is_some_and(|octet| octet >> 4 == 6) { [0x86, 0xdd] } else { [8, 0] };
    let mut frame = Vec::with_capacity(ETHERNET + packet.len());
    frame.extend_from_slice(&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1]);
    frame.extend_from_slice(&ethertype);
    frame.extend_from_slice(packet);
    frame
}

/// A frame with its view and its TCP header; `None` if it is none.
pub(super) fn tcp(frame: &[u8]) -> Option<(FrameView, TcpView)> {
    let view = parse_frame(frame).ok()?;
    let tcp = *view.tcp()?;
    Some((view, tcp))
}

/// Computes all checksums anew.
pub(super) fn mend(frame: &mut [u8]) {
    let Ok(view) = parse_frame(frame) else { return };
    let start = usize::from(view.l3);
    if frame.get(start).is_some_and(|octet| octet >> 4 == 4) {
        let sum = checksum::ipv4_header(&frame[start..start + 20]);
        frame[start + 10..start + 12].copy_from_slice(&sum.to_be_bytes());
    }
    checksum::fill_transport(frame, &view);
}

/// Adds to the sequence number, or to the acknowledgement and what SACK says of the same stream.
pub(super) fn shift(frame: &mut [u8], sequence: u32, acknowledgement: u32) {
    let Some((_, view)) = tcp(frame) else { return };
    let l4 = usize::from(view.l4);
    add(frame, l4 + 4, sequence);
    if view.flags.ack() && acknowledgement != 0 {
        add(frame, l4 + 8, acknowledgement);
        shift_sack(frame, l4 + 20, l4 + usize::from(view.header_len), acknowledgement);
    }
    mend(frame);
}

fn shift_sack(frame: &mut [u8], mut at: usize, end: usize, by: u32) {
    while at < end {
        match frame[at] {
            0 => return,
            1 => at += 1,
            kind => {
                let Some(length) = frame.get(at + 1).map(|length| usize::from(*length)) else {
                    return;
                };
                if length < 2 || at + length > end {
                    return;
                }
                if kind == SACK {
                    (at + 2..at + length - 3).step_by(4).for_each(|edge| add(frame, edge, by));
                }
                at += length;
            }
        }
    }
}

fn add(frame: &mut [u8], at: usize, by: u32) {
    if let Some(place) = frame.get_mut(at..at + 4) {
        let value = u32::from_be_bytes([place[0], place[1], place[2], place[3]]).wrapping_add(by);
        place.copy_from_slice(&value.to_be_bytes());
    }
}

/// Puts another source, or another destination, into a TCP segment or UDP datagram.
pub(super) fn readdress(frame: &mut [u8], src: Option<SocketAddr>, dst: Option<SocketAddr>) {
    let Ok(view) = parse_frame(frame) else { return };
    if view.ports().is_none() {
        return;
    }
    let (l3, l4) = (usize::from(view.l3), usize::from(view.l4));
    for (end, place) in [(src, 0), (dst, 1)] {
        let Some(end) = end else { continue };
        match end.ip() {
            IpAddr::V4(ip) => {
                let at = l3 + 12 + 4 * place;
                frame[at..at + 4].copy_from_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                let at = l3 + 8 + 16 * place;
                frame[at..at + 16].copy_from_slice(&ip.octets());
            }
        }
        let at = l4 + 2 * place;
        frame[at..at + 2].copy_from_slice(&end.port().to_be_bytes());
    }
    mend(frame);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(options: &[u8]) -> Vec<u8> {
        let (src, dst) = ("10.0.0.1:4000".parse().unwrap(), "10.0.2.10:80".parse().unwrap());
        let (flags, payload) = (TcpFlags::ACK, &b"payload"[..]);
        Segment { src, dst, seq: u32::MAX, ack: 5, flags, urgent: 0, options, payload }.build()
    }

    fn holds(frame: &[u8]) -> bool {
        let view = parse_frame(frame).unwrap();
        checksum::verify_ipv4_header(frame, &view) && checksum::verify_transport(frame, &view)
    }

    #[test]
    fn numbers_shift_with_sack_and_checksums_hold() {
        let mut frame = segment(&[1, 1, SACK, 10, 0, 0, 0, 1, 0, 0, 0, 9]);
        shift(&mut frame, 2, u32::MAX);
        let (_, tcp) = tcp(&frame).unwrap();
        assert_eq!((tcp.seq.get(), tcp.ack.get()), (1, 4));
        assert_eq!(tcp.options(&frame)[4..], [0, 0, 0, 0, 0, 0, 0, 8]);
        assert!(holds(&frame));
    }

    #[test]
    fn addresses_change_and_checksums_hold() {
        let mut frame = segment(&[]);
        let src: SocketAddr = "192.0.2.9:777".parse().unwrap();
        readdress(&mut frame, Some(src), None);
        let view = parse_frame(&frame).unwrap();
        assert_eq!(view.source(), Some(src));
        assert!(holds(&frame));
    }
}
