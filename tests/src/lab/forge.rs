//! Frames that no host of the lab would send: segments of any content, ICMP errors, fragments,
//! extension headers, VLAN tags, cut and mangled ones. Owns bytes only; `inject` sends them.

use std::net::SocketAddr;

use sekisho_wire::checksum::{Sum, ipv4_header, pseudo_header};

/// TCP flag bits.
pub mod flag {
    /// FIN.
    pub const FIN: u8 = 0x01;
    /// SYN.
    pub const SYN: u8 = 0x02;
    /// RST.
    pub const RST: u8 = 0x04;
    /// PSH.
    pub const PSH: u8 = 0x08;
    /// ACK.
    pub const ACK: u8 = 0x10;
}

const ETHERNET: usize = 14;
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const FRAGMENT_HEADER: u8 = 44;
const ICMPV6: u8 = 58;
const DESTINATION_OPTIONS: u8 = 60;

/// MAC addresses and the two ends of a forged flow.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// Source and destination MAC address.
    pub macs: ([u8; 6], [u8; 6]),
    /// Source.
    pub src: SocketAddr,
    /// Destination.
    pub dst: SocketAddr,
}

/// What a forged TCP segment says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Segment<'a> {
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Bits of [`flag`].
    pub flags: u8,
    /// Options, a multiple of four bytes.
    pub options: &'a [u8],
    /// Payload.
    pub payload: &'a [u8],
}

impl Flow {
    /// A whole frame with a TCP segment and right checksums.
    pub fn segment(&self, segment: &Segment<'_>) -> Vec<u8> {
        let mut tcp = Vec::new();
        tcp.extend(self.src.port().to_be_bytes());
        tcp.extend(self.dst.port().to_be_bytes());
        tcp.extend(segment.seq.to_be_bytes());
        tcp.extend(segment.ack.to_be_bytes());
        let words = (20 + segment.options.len()) / 4;
        tcp.extend([(words as u8) << 4, segment.flags, 0xFF, 0xFF, 0, 0, 0, 0]);
        tcp.extend(segment.options);
        tcp.extend(segment.payload);
        self.packet(TCP, tcp, 16)
    }

    /// A whole frame with a UDP datagram.
    pub fn datagram(&self, payload: &[u8]) -> Vec<u8> {
        let mut udp = Vec::new();
        udp.extend(self.src.port().to_be_bytes());
        udp.extend(self.dst.port().to_be_bytes());
        udp.extend((8 + payload.len() as u16).to_be_bytes());
        udp.extend([0, 0]);
        udp.extend(payload);
        self.packet(UDP, udp, 6)
    }

    /// A whole frame with an ICMP or ICMPv6 error (type and code) about the packet in the frame
    /// `about`, which it quotes in full.
    pub fn icmp_error(&self, error: (u8, u8), about: &[u8]) -> Vec<u8> {
        let mut message = vec![error.0, error.1, 0, 0, 0, 0, 0, 0];
        message.extend(&about[ETHERNET..]);
        self.packet(if self.src.is_ipv4() { ICMP } else { ICMPV6 }, message, 2)
    }

    /// The other direction.
    pub fn reversed(&self) -> Self {
        Self { macs: (self.macs.1, self.macs.0), src: self.dst, dst: self.src }
    }

    /// Ethernet and IP before `body`, whose checksum stands at `at`.
    fn packet(&self, protocol: u8, mut body: Vec<u8>, at: usize) -> Vec<u8> {
        let length = body.len() as u16;
        let pseudo = match protocol {
            ICMP => Sum::ZERO,
            _ => pseudo_header(self.src.ip(), self.dst.ip(), protocol, length),
        };
        let checksum = pseudo.plus(Sum::of(&body)).finish();
        body[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
        let mut frame = self.macs.1.to_vec();
        frame.extend(self.macs.0);
        match (self.src.ip(), self.dst.ip()) {
            (std::net::IpAddr::V4(src), std::net::IpAddr::V4(dst)) => {
                frame.extend([0x08, 0x00, 0x45, 0]);
                frame.extend((20 + length).to_be_bytes());
                frame.extend([0x5E, 0x50, 0, 0, 64, protocol, 0, 0]);
                frame.extend(src.octets());
                frame.extend(dst.octets());
                seal_ipv4(&mut frame);
            }
            (std::net::IpAddr::V6(src), std::net::IpAddr::V6(dst)) => {
                frame.extend([0x86, 0xDD, 0x60, 0, 0, 0]);
                frame.extend(length.to_be_bytes());
                frame.extend([protocol, 64]);
                frame.extend(src.octets());
                frame.extend(dst.octets());
            }
            _ => {}
        }
        frame.extend(body);
        frame
    }
}

fn is_ipv4(frame: &[u8]) -> bool {
    frame.get(12..14) == Some(&[0x08, 0x00])
}

/// Writes the IPv4 header checksum.
fn seal_ipv4(frame: &mut [u8]) {
    let checksum = ipv4_header(&frame[ETHERNET..ETHERNET + 20]);
    frame[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&checksum.to_be_bytes());
}

/// Puts VLAN tags (outermost first, 802.1Q each) between the MAC addresses and the EtherType.
pub fn tagged(frame: &[u8], vlans: &[u16]) -> Vec<u8> {
    let mut out = frame[..12].to_vec();
    for vlan in vlans {
        out.extend([0x81, 0x00]);
        out.extend(vlan.to_be_bytes());
    }
    out.extend(&frame[12..]);
    out
}

/// Cuts the IP packet into two fragments; the first carries `first` bytes (a multiple of 8).
pub fn fragments(frame: &[u8], first: usize) -> [Vec<u8>; 2] {
    let piece = |range: std::ops::Range<usize>, more: bool| {
        let offset = range.start as u16;
        let mut out;
        if is_ipv4(frame) {
            let body = &frame[ETHERNET + 20..];
            out = frame[..ETHERNET + 20].to_vec();
            let length = 20 + range.len() as u16;
            out[ETHERNET + 2..ETHERNET + 4].copy_from_slice(&length.to_be_bytes());
            let field = (offset / 8) | if more { 0x2000 } else { 0 };
            out[ETHERNET + 6..ETHERNET + 8].copy_from_slice(&field.to_be_bytes());
            seal_ipv4(&mut out);
            out.extend(&body[range]);
        } else {
            let body = &frame[ETHERNET + 40..];
            let field = offset | u16::from(more);
            let mut header = vec![frame[ETHERNET + 6], 0];
            header.extend(field.to_be_bytes());
            header.extend([0x5E, 0x50, 0x5E, 0x50]);
            header.extend(&body[range]);
            out = with_next_header(frame, FRAGMENT_HEADER, &header);
        }
        out
    };
    let header = if is_ipv4(frame) { ETHERNET + 20 } else { ETHERNET + 40 };
    let length = frame.len() - header;
    [piece(0..first, true), piece(first..length, false)]
}

/// Puts the transport part of an IPv6 frame behind a destination-options header.
pub fn behind_extension(frame: &[u8]) -> Vec<u8> {
    // Next header, length 0 (8 bytes), PadN with four zero bytes.
    let mut body = vec![frame[ETHERNET + 6], 0, 1, 4, 0, 0, 0, 0];
    body.extend(&frame[ETHERNET + 40..]);
    with_next_header(frame, DESTINATION_OPTIONS, &body)
}

/// The IPv6 header of `frame` with another next header and body.
fn with_next_header(frame: &[u8], next: u8, body: &[u8]) -> Vec<u8> {
    let mut out = frame[..ETHERNET + 40].to_vec();
    out[ETHERNET + 4..ETHERNET + 6].copy_from_slice(&(body.len() as u16).to_be_bytes());
    out[ETHERNET + 6] = next;
    out.extend(body);
    out
}

/// Copies of `frame`: cut at every length from the Ethernet header to its end, and of full length with
/// bytes turned over behind the Ethernet header, the same ones in every run.
pub fn mangled(frame: &[u8]) -> Vec<Vec<u8>> {
    let mut out: Vec<Vec<u8>> =
        (ETHERNET..frame.len()).map(|length| frame[..length].to_vec()).collect();
    // A linear congruential generator (Knuth's MMIX constants): the order matters to nobody.
    let mut state = 3_263_879u64;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    for _ in 0..256 {
        let mut copy = frame.to_vec();
        for _ in 0..=next() % 4 {
            let at = ETHERNET + next() % (copy.len() - ETHERNET);
            copy[at] ^= 1 << (next() % 8);
        }
        out.push(copy);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use sekisho_wire::checksum::{verify_ipv4_header, verify_transport};
    use sekisho_wire::{ParseError, parse_frame};

    fn flow(src: &str, dst: &str) -> Flow {
        Flow { macs: ([2; 6], [4; 6]), src: src.parse().unwrap(), dst: dst.parse().unwrap() }
    }

    #[test]
    fn forged_segments_parse_with_right_checksums() {
        for (src, dst) in [("10.0.1.10:5", "10.0.2.10:80"), ("[fd00:1::10]:5", "[fd00:2::10]:80")] {
            let flow = flow(src, dst);
            let segment = Segment { payload: b"abc", flags: flag::ACK, ..Segment::default() };
            for frame in [flow.segment(&segment), tagged(&flow.segment(&segment), &[7, 8])] {
                let view = parse_frame(&frame).unwrap();
                assert!(verify_ipv4_header(&frame, &view) && verify_transport(&frame, &view));
                assert_eq!(view.tcp().unwrap().payload.slice(&frame), b"abc");
                assert_eq!(view.source(), Some(flow.src));
            }
            let about = flow.reversed().segment(&segment);
            for frame in [flow.datagram(b"abcd"), flow.icmp_error((3, 3), &about)] {
                assert!(verify_transport(&frame, &parse_frame(&frame).unwrap()));
            }
        }
    }

    #[test]
    fn fragments_and_extensions_are_what_they_claim() {
        for (src, dst) in [("10.0.1.10:5", "10.0.2.10:80"), ("[fd00:1::10]:5", "[fd00:2::10]:80")] {
            let segment = Segment { payload: &[7; 64], ..Segment::default() };
            let frame = flow(src, dst).segment(&segment);
            for fragment in fragments(&frame, 32) {
                assert_eq!(parse_frame(&fragment), Err(ParseError::Fragment));
            }
        }
        let frame = flow("[fd00:1::10]:5", "[fd00:2::10]:80").segment(&Segment::default());
        let view = parse_frame(&behind_extension(&frame)).unwrap();
        assert_eq!((view.l4 - view.l3, view.frame_len()), (48, frame.len() + 8));
    }

    #[test]
    fn mangled_frames_have_every_length() {
        let frame = vec![9; 118];
        let lengths: Vec<usize> = mangled(&frame).iter().map(Vec::len).collect();
        assert!((14..=118).all(|length| lengths.contains(&length)));
    }
}
