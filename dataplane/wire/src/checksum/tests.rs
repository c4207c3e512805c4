//! Checksums against a naive sum, and incremental updates against full ones.

use super::*;
use crate::fixtures::{FrameSpec, naive_sum};
use crate::frame::parse_frame;
use proptest::prelude::*;

/// 0 and 0xFFFF are the same number in one's complement.
fn same(left: u16, right: u16) -> bool {
    left == right || (left.min(right) == 0 && left.max(right) == 0xFFFF)
}

#[test]
fn example_of_rfc_1071() {
    let bytes = [0x00, 0x01, 0xF2, 0x03, 0xF4, 0xF5, 0xF6, 0xF7];
    assert_eq!(Sum::of(&bytes).fold(), 0xDDF2);
    assert_eq!(Sum::of(&bytes).finish(), !0xDDF2);
}

#[test]
fn example_of_rfc_1624() {
    // Equation 2 would give 0xFFFF here.
    assert_eq!(update_u16(0xDD2F, 0x5555, 0x3285), 0x0000);
}

#[test]
fn known_ipv4_header() {
    let header = [
        0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xB8, 0x61, 0xC0, 0xA8, 0x00,
        0x01, 0xC0, 0xA8, 0x00, 0xC7,
    ];
    assert_eq!(ipv4_header(&header), 0xB861);
}

#[test]
fn every_length_and_alignment_matches_the_plain_sum() {
    let bytes: Vec<u8> = (0..400u32).map(|i| (i * 37 + 11) as u8).collect();
    for start in 0..9 {
        for end in start..bytes.len() {
            let slice = &bytes[start..end];
            assert_eq!(Sum::of(slice).fold(), naive_sum(slice), "{start}..{end}");
        }
    }
}

#[test]
fn all_ones_and_long_slices_do_not_overflow() {
    for len in [65_535usize, 65_536, 65_538, 1 << 20] {
        let bytes = vec![0xFF; len];
        assert!(same(Sum::of(&bytes).fold(), naive_sum(&bytes)), "{len}");
    }
    assert_eq!(Sum::of(&[0; 64]).fold(), 0);
    assert_eq!(Sum(u64::MAX).plus(Sum(u64::MAX)).fold(), 0xFFFF);
}

#[test]
fn a_single_flipped_bit_is_noticed() {
    for spec in [FrameSpec::tcp(false), FrameSpec::tcp(true), FrameSpec::udp(true)] {
        let frame = spec.build();
        let view = parse_frame(&frame).unwrap();
        for at in usize::from(view.l4)..view.frame_len() {
            for bit in 0..8 {
                let mut bad = frame.clone();
                bad[at] ^= 1 << bit;
                // The view is the old one: only the sum is under test, not the lengths.
                let untouched = matches!(view.transport, Transport::Udp(_)) && bad[at] == 0;
                assert!(untouched || !verify_transport(&bad, &view), "{at}.{bit}");
            }
        }
    }
}

#[test]
fn udp_without_checksum_is_right_in_v4_only() {
    for v6 in [false, true] {
        let mut frame = FrameSpec::udp(v6).build();
        let at = usize::from(parse_frame(&frame).unwrap().l4) + 6;
        frame[at..at + 2].copy_from_slice(&[0, 0]);
        let view = parse_frame(&frame).unwrap();
        assert_eq!(verify_transport(&frame, &view), !v6);
    }
}

#[test]
fn a_udp_checksum_of_zero_is_sent_as_ones() {
    // The payload word that brings the sum to 0xFFFF, hence the checksum to 0.
    let mut frame = FrameSpec::udp(false).payload(&[0, 0]).build();
    let view = parse_frame(&frame).unwrap();
    let checksum = view.udp().unwrap().checksum;
    let at = usize::from(view.udp().unwrap().payload.start);
    frame[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
    assert!(fill_transport(&mut frame, &view));
    let view = parse_frame(&frame).unwrap();
    assert_eq!(view.udp().unwrap().checksum, 0xFFFF);
    assert!(verify_transport(&frame, &view));
}

#[test]
fn partial_checksums_are_recognised_and_mended() {
    for v6 in [false, true] {
        let whole = FrameSpec::tcp(v6).build();
        let view = parse_frame(&whole).unwrap();
        assert!(!is_partial(&whole, &view));
        let l4 = usize::from(view.l4);
        let len = (view.frame_len() - l4) as u16;
        let pseudo = pseudo_header(view.src, view.dst, 6, len).fold();
        let mut frame = whole.clone();
        frame[l4 + 16..l4 + 18].copy_from_slice(&pseudo.to_be_bytes());
        assert!(is_partial(&frame, &view) && !verify_transport(&frame, &view));
        assert!(fill_transport(&mut frame, &view));
        assert_eq!(frame, whole);
    }
}

#[test]
fn short_buffers_are_refused() {
    let frame = FrameSpec::tcp(false).build();
    let view = parse_frame(&frame).unwrap();
    for len in 0..frame.len() {
        let mut cut = frame[..len].to_vec();
        assert!(!verify_transport(&cut, &view));
        assert!(!fill_transport(&mut cut, &view));
    }
}

proptest! {
    #[test]
    fn pieces_of_even_length_add_up(
        bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 0usize..300,
    ) {
        let cut = cut.min(bytes.len()) & !1;
        let (head, tail) = bytes.split_at(cut);
        let pieces = Sum::of(head).bytes(tail).fold();
        prop_assert!(same(pieces, naive_sum(&bytes)));
        prop_assert!(same(Sum::of(tail).bytes(head).fold() , pieces) || tail.len() % 2 == 1);
    }

    #[test]
    fn incremental_update_equals_full(
        mut bytes in proptest::collection::vec(any::<u8>(), 2..120),
        at in any::<prop::sample::Index>(), new in any::<u16>(), wide in any::<u32>(),
    ) {
        let at = at.index(bytes.len() / 2) * 2;
        prop_assume!(at + 2 <= bytes.len());
        let before = Sum::of(&bytes).finish();
        let old = u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        bytes[at..at + 2].copy_from_slice(&new.to_be_bytes());
        prop_assert!(same(update_u16(before, old, new), Sum::of(&bytes).finish()));
        if at + 4 <= bytes.len() {
            let before = Sum::of(&bytes).finish();
            let old = u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
            bytes[at..at + 4].copy_from_slice(&wide.to_be_bytes());
            prop_assert!(same(update_u32(before, old, wide), Sum::of(&bytes).finish()));
        }
    }

    #[test]
    fn a_rewritten_payload_keeps_right_and_wrong_apart(
        payload in proptest::collection::vec(any::<u8>(), 80), error in any::<u16>(),
    ) {
        let mut frame = FrameSpec::tcp(true).build();
        let view = parse_frame(&frame).unwrap();
        let tcp = *view.tcp().unwrap();
        let wrong = tcp.checksum ^ error;
        let updated = update_sum(wrong, Sum::of(tcp.payload.slice(&frame)), Sum::of(&payload));
        frame[tcp.payload.range()].copy_from_slice(&payload);
        let at = usize::from(tcp.l4) + 16;
        frame[at..at + 2].copy_from_slice(&updated.to_be_bytes());
        prop_assert_eq!(verify_transport(&frame, &view), same(wrong, tcp.checksum));
    }

    #[test]
    fn a_known_payload_sum_gives_the_same_checksum(
        payload in proptest::collection::vec(any::<u8>(), 0..200), v6 in any::<bool>(),
    ) {
        let frame = FrameSpec::tcp(v6).payload(&payload).build();
        let view = parse_frame(&frame).unwrap();
        let mut again = frame.clone();
        prop_assert!(fill_tcp_with_payload_sum(&mut again, &view, Sum::of(&payload)));
        prop_assert_eq!(again, frame);
    }
}
