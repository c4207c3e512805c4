//! Packets whose destination is not in their header: M2.16.

use super::*;

/// A foreign IPv4 packet with these options.
fn with_options(options: &[u8]) -> Vec<u8> {
    let words = (options.len() / 4) as u8;
    let mut frame = Below { option_words: words, ..foreign(Ip::V4) }.tcp(40000, 80);
    frame[34..34 + options.len()].copy_from_slice(options);
    frame
}

/// A foreign IPv6 packet with these extension headers, of which those that route have so many
/// segments left.
fn routed(list: &[(u8, usize)], left: u8) -> Vec<u8> {
    let mut frame = foreign(Ip::V6).extensions(list).tcp(40000, 80);
    let mut at = 54;
    for &(kind, len) in list {
        if kind == 43 {
            frame[at + 3] = left;
        }
        at += len;
    }
    frame
}

/// M2.16, by both ports.
#[test]
fn with_other_drop_a_hidden_destination_does_not_cross() {
    if !privileged("with_other_drop_a_hidden_destination_does_not_cross") {
        return;
    }
    let hidden = [
        with_options(&[131, 7, 4, 10, 0, 2, 10, 0]),
        with_options(&[137, 7, 4, 10, 0, 2, 10, 0]),
        with_options(&[1, 1, 1, 137, 7, 4, 10, 0, 2, 10, 0, 0]),
        with_options(&[148, 4, 0, 0, 131, 7, 4, 10, 0, 2, 10, 0]),
        with_options(&[&[1; 36][..], &[1, 1, 1, 131]].concat()),
        routed(&[(43, 24)], 1),
        routed(&[(0, 8), (43, 24)], 2),
        routed(&[(60, 8), (60, 8), (60, 8), (60, 8), (60, 8), (60, 8), (43, 24)], 1),
    ];
    let open = [
        with_options(&[148, 4, 0, 0]),
        with_options(&[1; 40]),
        with_options(&[68, 8, 5, 0, 1, 2, 3, 4]),
        foreign(Ip::V4).tcp(40000, 80),
        routed(&[(43, 24)], 0),
        routed(&[(0, 8), (60, 16)], 0),
        foreign(Ip::V6).tcp(40000, 80),
    ];
    for side in [PortSide::Cipher, PortSide::Plain] {
        let mut bench = Bench::new(side);
        for frame in &hidden[..7] {
            assert_eq!(bench.run(frame), XdpCounter::ToPeer, "other = pass");
        }
        bench.set_policy(FilterPolicy { other: OtherTraffic::Drop, ..FilterPolicy::default() });
        for (n, frame) in hidden.iter().enumerate() {
            assert_eq!(bench.run(frame), XdpCounter::HiddenDestination, "{side:?} {n}");
        }
        for (n, frame) in open.iter().enumerate() {
            assert_eq!(bench.run(frame), XdpCounter::ToPeer, "{side:?} {n}");
        }
    }
}
