//! Builds and reads TCP segments for the tests.

use std::net::SocketAddr;

use sekisho_wire::{
    FrameView, L2Header, SekishoOption, SeqNum, TcpFlags, TcpOptionsSummary, TcpView, checksum,
    parse_frame,
};

pub(super) const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(super) const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

pub(super) const SYN: TcpFlags = TcpFlags::SYN;
pub(super) const ACK: TcpFlags = TcpFlags::ACK;
pub(super) const FIN: TcpFlags = TcpFlags::FIN;
pub(super) const RST: TcpFlags = TcpFlags::RST;
pub(super) const PSH: TcpFlags = TcpFlags::PSH;
pub(super) const URG: TcpFlags = TcpFlags::URG;

/// Options of a SYN as Linux sends it: MSS 1460, SACK, timestamps, NOP, window scale.
pub(super) const SYN_OPTIONS: [u8; 20] =
    [2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];
/// Options of a segment in mid-stream as Linux sends it.
pub(super) const TIMESTAMPS: [u8; 12] = [1, 1, 8, 10, 0, 0, 0, 2, 0, 0, 0, 1];

/// A TCP segment to be built.
#[derive(Clone, Debug)]
pub(super) struct Seg {
    pub(super) src: SocketAddr,
    pub(super) dst: SocketAddr,
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) flags: TcpFlags,
    pub(super) urgent: u16,
    pub(super) options: Vec<u8>,
    pub(super) payload: Vec<u8>,
    pub(super) vlan: Vec<u16>,
    pub(super) l2: [[u8; 6]; 2],
}

impl Seg {
    pub(super) fn new(src: SocketAddr, dst: SocketAddr, flags: TcpFlags) -> Self {
        let options = TIMESTAMPS.to_vec();
        let l2 = [SERVER_MAC, CLIENT_MAC];
        let (payload, vlan) = (Vec::new(), Vec::new());
        Self { src, dst, seq: 0, ack: 0, flags, urgent: 0, options, payload, vlan, l2 }
    }

    pub(super) fn seq(mut self, seq: u32) -> Self {
        self.seq = seq;
        self
    }

    pub(super) fn ack(mut self, ack: u32) -> Self {
        self.ack = ack;
        self
    }

    pub(super) fn options(mut self, options: &[u8]) -> Self {
        self.options = options.to_vec();
        self
    }

    pub(super) fn payload(mut self, payload: &[u8]) -> Self {
        self.payload = payload.to_vec();
        self
    }

    pub(super) fn l2(mut self, destination: [u8; 6], source: [u8; 6]) -> Self {
        self.l2 = [destination, source];
        self
    }

    /// The frame, with checksums that hold.
    pub(super) fn build(&self) -> Vec<u8> {
        let mut frame = self.l2.concat();
        for tag in &self.vlan {
            frame.extend_from_slice(&[0x81, 0]);
            frame.extend_from_slice(&tag.to_be_bytes());
        }
        let tcp_len = 20 + self.options.len() + self.payload.len();
        self.push_ip(&mut frame, u16::try_from(tcp_len).unwrap());
        frame.extend_from_slice(&self.src.port().to_be_bytes());
        frame.extend_from_slice(&self.dst.port().to_be_bytes());
        frame.extend_from_slice(&self.seq.to_be_bytes());
        frame.extend_from_slice(&self.ack.to_be_bytes());
        let offset = u16::try_from((20 + self.options.len()) / 4).unwrap() << 12;
        frame.extend_from_slice(&(offset | self.flags.0).to_be_bytes());
        frame.extend_from_slice(&[0xff, 0xff, 0, 0]);
        frame.extend_from_slice(&self.urgent.to_be_bytes());
        frame.extend_from_slice(&self.options);
        frame.extend_from_slice(&self.payload);
        let view = parse_frame(&frame).unwrap();
        assert!(checksum::fill_transport(&mut frame, &view));
        frame
    }

    fn push_ip(&self, frame: &mut Vec<u8>, tcp_len: u16) {
        match (self.src, self.dst) {
            (SocketAddr::V4(src), SocketAddr::V4(dst)) => {
                frame.extend_from_slice(&[8, 0]);
                let at = frame.len();
                frame.extend_from_slice(&[0x45, 0x02]);
                frame.extend_from_slice(&(tcp_len + 20).to_be_bytes());
                frame.extend_from_slice(&[0, 7, 0x40, 0, 63, 6, 0, 0]);
                frame.extend_from_slice(&src.ip().octets());
                frame.extend_from_slice(&dst.ip().octets());
                let sum = checksum::ipv4_header(&frame[at..]);
                frame[at + 10..at + 12].copy_from_slice(&sum.to_be_bytes());
            }
            (SocketAddr::V6(src), SocketAddr::V6(dst)) => {
                frame.extend_from_slice(&[0x86, 0xdd, 0x60, 0x20, 0, 0]);
                frame.extend_from_slice(&tcp_len.to_be_bytes());
                frame.extend_from_slice(&[6, 63]);
                frame.extend_from_slice(&src.ip().octets());
                frame.extend_from_slice(&dst.ip().octets());
            }
            _ => panic!("mixed families"),
        }
    }
}

/// A frame that came out, read and checked: it parses, its checksums hold, nothing trails it.
#[derive(Clone)]
pub(super) struct Got {
    pub(super) bytes: Vec<u8>,
    pub(super) view: FrameView,
    pub(super) tcp: TcpView,
    pub(super) options: TcpOptionsSummary,
}

impl Got {
    pub(super) fn read(bytes: Vec<u8>) -> Self {
        let view = parse_frame(&bytes).unwrap();
        let tcp = *view.tcp().unwrap();
        assert!(checksum::verify_ipv4_header(&bytes, &view), "IP checksum");
        assert!(checksum::verify_transport(&bytes, &view), "TCP checksum");
        assert_eq!(view.frame_len(), bytes.len(), "padding left");
        let options = TcpOptionsSummary::walk(tcp.options(&bytes), &Default::default());
        Self { bytes, view, tcp, options }
    }

    pub(super) fn payload(&self) -> &[u8] {
        self.tcp.payload.slice(&self.bytes)
    }

    pub(super) fn option_bytes(&self) -> &[u8] {
        self.tcp.options(&self.bytes)
    }

    pub(super) fn ours(&self) -> Option<SekishoOption> {
        self.options.sekisho().unwrap()
    }

    pub(super) fn mss(&self) -> Option<u16> {
        self.options.mss.map(|(value, _)| value)
    }

    pub(super) fn seq(&self) -> SeqNum {
        self.tcp.seq
    }

    pub(super) fn l2(&self) -> L2Header {
        L2Header::from_frame(&self.bytes, &self.view).unwrap()
    }
}

/// Whether `needle` is anywhere in `bytes`.
pub(super) fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

/// Changes a frame and mends its checksums: an attacker can do that, too.
pub(super) fn forge(frame: &[u8], change: impl FnOnce(&mut [u8], &TcpView)) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let tcp = *parse_frame(&frame).unwrap().tcp().unwrap();
    change(&mut frame, &tcp);
    let view = parse_frame(&frame).unwrap();
    assert!(checksum::fill_transport(&mut frame, &view));
    frame
}
