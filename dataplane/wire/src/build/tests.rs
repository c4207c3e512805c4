//! Frames built here parse back, with right checksums.

use super::*;
use crate::fixtures::{FrameSpec, naive_sum};
use crate::frame::parse_frame;
use proptest::prelude::*;

const MTU: usize = 1514;

fn l2() -> L2Header {
    L2Header::new([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
}

fn tagged_l2() -> L2Header {
    let frame = FrameSpec::tcp(true).vlan(&[5, 6]).build();
    L2Header::from_frame(&frame, &parse_frame(&frame).unwrap()).unwrap()
}

fn ends(v6: bool) -> (SocketAddr, SocketAddr) {
    let (src, dst) = if v6 {
        ("[fd00::1]:1088", "[fd00::2]:40000")
    } else {
        ("10.0.2.9:1088", "10.0.1.7:40000")
    };
    (src.parse().unwrap(), dst.parse().unwrap())
}

#[test]
fn datagrams_parse_back() {
    for v6 in [false, true] {
        for l2 in [l2(), tagged_l2()] {
            for len in [0usize, 1, 2, 3, 127, 128, 1199, 1200] {
                let payload: Vec<u8> = (0..len).map(|i| (i * 7) as u8).collect();
                let (src, dst) = ends(v6);
                let mut out = [0xAAu8; MTU];
                let n = udp_datagram(&l2, src, dst, &payload, &mut out).unwrap();
                let frame = &out[..n];
                let view = parse_frame(frame).unwrap();
                assert_eq!((view.source(), view.destination()), (Some(src), Some(dst)));
                assert_eq!(view.udp().unwrap().payload.slice(frame), payload);
                assert_eq!(view.frame_len(), n);
                assert!(checksum::verify_transport(frame, &view));
                assert!(checksum::verify_ipv4_header(frame, &view));
                assert_ne!(view.udp().unwrap().checksum, 0);
                assert_eq!(frame[..12], l2.as_bytes()[..12]);
                assert!(out[n..].iter().all(|byte| *byte == 0xAA));
            }
        }
    }
}

#[test]
fn the_ipv4_header_sums_to_zero_by_the_plain_sum_too() {
    let (src, dst) = ends(false);
    let mut out = [0; MTU];
    udp_datagram(&l2(), src, dst, b"x", &mut out).unwrap();
    assert_eq!(naive_sum(&out[14..34]), 0xFFFF);
}

#[test]
fn mapped_addresses_are_ipv4_on_the_wire() {
    let mut out = [0; MTU];
    let src = "[::ffff:10.0.0.1]:1".parse().unwrap();
    let dst = "10.0.0.2:2".parse().unwrap();
    let n = udp_datagram(&l2(), src, dst, b"x", &mut out).unwrap();
    let view = parse_frame(&out[..n]).unwrap();
    assert_eq!(view.source().unwrap().to_string(), "10.0.0.1:1");
    assert!(checksum::verify_transport(&out[..n], &view));
}

#[test]
fn what_cannot_be_built_is_refused() {
    let (v4, v6) = (ends(false).0, ends(true).1);
    let mut out = vec![0; 70_000];
    let error = udp_datagram(&l2(), v4, v6, b"x", &mut out);
    assert_eq!(error, Err(BuildError::MixedFamilies));
    let (src, dst) = ends(false);
    assert_eq!(udp_datagram(&l2(), src, dst, &[0; 65_508], &mut out), Err(BuildError::TooLong));
    assert_eq!(udp_datagram(&l2(), src, dst, &[0; 65_507], &mut out), Ok(65_549));
    for v6 in [false, true] {
        let (src, dst) = ends(v6);
        let need = if v6 { 14 + 40 + 8 + 5 } else { 14 + 20 + 8 + 5 };
        for len in 0..need {
            let result = udp_datagram(&l2(), src, dst, b"hello", &mut out[..len]);
            assert_eq!(result, Err(BuildError::OutputTooSmall));
        }
        assert_eq!(udp_datagram(&l2(), src, dst, b"hello", &mut out[..need]), Ok(need));
    }
}

#[test]
fn resets_answer_as_a_closed_port_would() {
    let mut syn = FrameSpec::tcp(false).payload(b"");
    syn.flags = 0x002;
    let view = parse_frame(&syn.build()).unwrap();
    let reset = TcpSegment::reset_answering(&view).unwrap();
    assert_eq!(
        (reset.src.to_string(), reset.dst.to_string()),
        ("10.0.2.9:80".into(), "10.0.1.7:40000".into())
    );
    assert_eq!((reset.seq, reset.ack), (SeqNum(0), SeqNum(0x1020_3041)));
    assert_eq!(reset.flags, TcpFlags::RST | TcpFlags::ACK);

    let data = parse_frame(&FrameSpec::tcp(false).build()).unwrap();
    let reset = TcpSegment::reset_answering(&data).unwrap();
    assert_eq!((reset.seq, reset.flags), (SeqNum(0x5060_7080), TcpFlags::RST));

    let mut rst = FrameSpec::tcp(false);
    rst.flags = 0x014;
    assert_eq!(TcpSegment::reset_answering(&parse_frame(&rst.build()).unwrap()), None);
    let udp = parse_frame(&FrameSpec::udp(false).build()).unwrap();
    assert_eq!(TcpSegment::reset_answering(&udp), None);
}

#[test]
fn odd_options_are_refused() {
    let (src, dst) = ends(false);
    let mut out = [0; MTU];
    for len in 0..60usize {
        let options = vec![1; len];
        let segment = TcpSegment {
            src,
            dst,
            seq: SeqNum(1),
            ack: SeqNum(2),
            flags: TcpFlags::ACK,
            window: 3,
            options: &options,
        };
        let result = tcp_segment(&l2(), &segment, &mut out);
        match len {
            0..=40 if len % 4 == 0 => assert_eq!(result, Ok(14 + 20 + 20 + len)),
            _ => assert_eq!(result, Err(BuildError::BadOptions)),
        }
    }
}

proptest! {
    #[test]
    fn segments_parse_back(
        v6 in any::<bool>(), tagged in any::<bool>(), seq in any::<u32>(), ack in any::<u32>(),
        flags in 0u16..0x200, window in any::<u16>(), words in 0usize..=10,
    ) {
        let (src, dst) = ends(v6);
        let options = vec![1; words * 4];
        let segment = TcpSegment {
            src, dst, seq: SeqNum(seq), ack: SeqNum(ack), flags: TcpFlags(flags), window,
            options: &options,
        };
        let l2 = if tagged { tagged_l2() } else { l2() };
        let mut out = [0; 128];
        let n = tcp_segment(&l2, &segment, &mut out).unwrap();
        let frame = &out[..n];
        let view = parse_frame(frame).unwrap();
        let tcp = view.tcp().unwrap();
        prop_assert_eq!((view.source(), view.destination()), (Some(src), Some(dst)));
        prop_assert_eq!((tcp.seq.0, tcp.ack.0, tcp.flags.0, tcp.window), (seq, ack, flags, window));
        prop_assert_eq!(tcp.options(frame), &options[..]);
        prop_assert!(tcp.payload.is_empty());
        prop_assert!(checksum::verify_transport(frame, &view));
        for len in 0..n {
            prop_assert_eq!(tcp_segment(&l2, &segment, &mut out[..len]), Err(BuildError::OutputTooSmall));
        }
    }
}
