//! Parsing frames of every shape, cut and padded ones too.

use super::*;
use crate::build::TcpSegment;
use crate::checksum;
use crate::edit::{apply_options, clear_urgent};
use crate::fixtures::{FrameSpec, PAD_EXTENSION, shapes};
use crate::l2::L2Header;
use crate::options::{MssRule, OptionCodes, Rewrite, TcpOptionsSummary};
use crate::seq::SeqNum;
use crate::tcp::TcpFlags;
use proptest::prelude::*;

/// Everything that can be asked of a frame, asked; panics are what the callers look for. Checks the
/// bounds that a view promises.
fn exercise(frame: &[u8]) -> Result<FrameView, ParseError> {
    let mut view = parse_frame(frame)?;
    assert!(view.l3 < view.l4 && view.l4 <= view.l4_end);
    assert!(usize::from(view.l4_end) <= frame.len());
    assert_eq!(L2Header::from_frame(frame, &view).unwrap().len(), usize::from(view.l3));
    let _ = checksum::verify_ipv4_header(frame, &view);
    let _ = checksum::verify_transport(frame, &view);
    let _ = checksum::is_partial(frame, &view);
    let _ = TcpSegment::reset_answering(&view);
    let mut copy = frame.to_vec();
    checksum::fill_transport(&mut copy, &view);
    match view.transport {
        Transport::Tcp(tcp) => exercise_tcp(frame, &mut view, tcp),
        Transport::Udp(udp) => assert!(udp.payload.end() <= usize::from(view.l4_end)),
        Transport::Icmp(icmp) => assert_eq!(icmp.message.end(), usize::from(view.l4_end)),
        Transport::Other(_) => {}
    }
    Ok(view)
}

fn exercise_tcp(frame: &[u8], view: &mut FrameView, tcp: TcpView) {
    assert_eq!(tcp.payload.end(), usize::from(view.l4_end));
    assert_eq!(tcp.options(frame).len() + 20, usize::from(tcp.header_len));
    let codes = OptionCodes::default();
    let summary = TcpOptionsSummary::walk(tcp.options(frame), &codes);
    let plans =
        [Rewrite::strip(codes), Rewrite::blank_tag(codes, 1).with_mss(MssRule::for_ip(view.ip))];
    for plan in plans {
        let Ok(rewritten) = plan.apply(tcp.options(frame), &summary) else { continue };
        let mut buffer = frame.to_vec();
        buffer.resize(frame.len() + 64, 0);
        let changed = apply_options(&mut buffer, view, &rewritten.block, tcp.payload.len).unwrap();
        assert!(checksum::fill_transport(&mut buffer, &changed));
        let again = parse_frame(&buffer[..changed.frame_len()]).unwrap();
        assert_eq!(again.tcp().unwrap().payload, changed.tcp().unwrap().payload);
        assert!(checksum::verify_transport(&buffer, &again));
    }
    clear_urgent(&mut frame.to_vec(), view);
}

/// Sets the IP (and UDP) length of a cut frame to what is left, so that the parse goes on beyond it.
fn with_true_length(spec: &FrameSpec, cut: &mut [u8]) {
    let l3 = spec.l3();
    let Some(rest) = cut.len().checked_sub(l3) else { return };
    let at = if spec.v6 { l3 + 4 } else { l3 + 2 };
    let len = if spec.v6 { rest.saturating_sub(40) } else { rest } as u16;
    if let Some(place) = cut.get_mut(at..at + 2) {
        place.copy_from_slice(&len.to_be_bytes());
    }
    let l4 = l3 + if spec.v6 { 40 } else { 20 };
    let Some(rest) = cut.len().checked_sub(l4).filter(|_| spec.protocol == 17) else { return };
    if let Some(place) = cut.get_mut(l4 + 4..l4 + 6) {
        place.copy_from_slice(&(rest as u16).to_be_bytes());
    }
}

#[test]
fn whole_frames_parse_with_right_checksums() {
    for (name, spec) in shapes() {
        let frame = spec.build();
        assert!(frame.len() >= 118, "{name}");
        let view = exercise(&frame).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(checksum::verify_ipv4_header(&frame, &view), "{name}");
        assert!(checksum::verify_transport(&frame, &view), "{name}");
        assert_eq!(usize::from(view.l3), spec.l3(), "{name}");
        assert_eq!(usize::from(view.vlan_count()), spec.vlan.len(), "{name}");
        assert_eq!(view.frame_len(), frame.len(), "{name}");
        assert_eq!(view.ttl, 61, "{name}");
        assert_eq!(view.traffic_class, 0x02, "{name}");
    }
}

#[test]
fn fields_of_a_tcp_segment() {
    let frame = FrameSpec::tcp(false).build();
    let view = parse_frame(&frame).unwrap();
    let tcp = view.tcp().unwrap();
    assert_eq!(view.source().unwrap().to_string(), "10.0.1.7:40000");
    assert_eq!(view.destination().unwrap().to_string(), "10.0.2.9:80");
    assert_eq!((tcp.seq, tcp.ack), (SeqNum(0x1020_3040), SeqNum(0x5060_7080)));
    assert_eq!(tcp.flags, TcpFlags::PSH | TcpFlags::ACK);
    assert_eq!((tcp.window, tcp.urgent, tcp.header_len), (0x01F6, 0, 32));
    assert_eq!(tcp.payload.slice(&frame), (0..80).collect::<Vec<u8>>());
    assert_eq!(tcp.sequence_len(), 80);
    assert!(!tcp.is_pure_ack());
}

#[test]
fn fields_of_a_udp_datagram_in_v6() {
    let frame = FrameSpec::udp(true).payload(b"hello").build();
    let view = parse_frame(&frame).unwrap();
    assert_eq!(view.source().unwrap().to_string(), "[fd00:1::7]:1088");
    assert_eq!(view.destination().unwrap().to_string(), "[fd00:2::abcd:9]:1088");
    assert_eq!(view.udp().unwrap().payload.slice(&frame), b"hello");
}

#[test]
fn ethernet_padding_is_no_payload() {
    for v6 in [false, true] {
        let mut spec = FrameSpec::tcp(v6).options(&[]).payload(b"");
        spec.flags = 0x010;
        spec.padding = 6;
        let frame = spec.build();
        let view = exercise(&frame).unwrap();
        assert_eq!(view.frame_len() + 6, frame.len());
        assert!(view.tcp().unwrap().payload.is_empty());
        assert!(view.tcp().unwrap().is_pure_ack());
        assert!(checksum::verify_transport(&frame, &view));
    }
}

#[test]
fn cut_frames_are_refused_at_every_length() {
    for (name, spec) in shapes() {
        let frame = spec.build();
        for len in 0..frame.len() {
            // The IP length still promises the whole packet.
            let error = exercise(&frame[..len]).expect_err(name);
            let expected = [ParseError::Truncated, ParseError::LengthMismatch];
            assert!(expected.contains(&error), "{name} at {len}: {error}");
        }
    }
}

#[test]
fn short_frames_with_true_lengths_parse_only_with_whole_headers() {
    for (name, spec) in shapes() {
        let frame = spec.build();
        let view = parse_frame(&frame).unwrap();
        let head = match view.transport {
            Transport::Tcp(tcp) => usize::from(tcp.payload.start),
            Transport::Udp(udp) => usize::from(udp.payload.start),
            Transport::Icmp(_) | Transport::Other(_) => usize::from(view.l4) + 4,
        };
        for len in 0..=118 {
            let mut cut = frame[..len].to_vec();
            with_true_length(&spec, &mut cut);
            let result = exercise(&cut);
            assert_eq!(result.is_ok(), len >= head, "{name} at {len}: {result:?}");
        }
    }
}

#[test]
fn mangled_frames_of_every_length_do_no_harm() {
    for (_, spec) in shapes() {
        let frame = spec.build();
        for len in 0..=118 {
            let mut cut = frame[..len].to_vec();
            with_true_length(&spec, &mut cut);
            for at in 12..len.min(112) {
                let byte = cut[at];
                for value in [0, 0xFF, byte ^ 0x10, byte.wrapping_add(1)] {
                    cut[at] = value;
                    let _ = exercise(&cut);
                }
                cut[at] = byte;
            }
        }
    }
}

/// M2.15.
#[test]
fn vlan_tags_are_walked_up_to_two() {
    for count in 0..4 {
        let spec = FrameSpec::tcp(false).vlan(&vec![7; count]);
        let result = exercise(&spec.build());
        match count {
            0..=2 => assert_eq!(usize::from(result.unwrap().vlan_count()), count),
            _ => assert_eq!(result, Err(ParseError::TooManyVlanTags)),
        }
    }
}

#[test]
fn other_ethertypes_are_not_ip() {
    let mut frame = FrameSpec::tcp(false).build();
    for ethertype in [0x0806u16, 0x88CC, 0x0026, 0x8847, 0x9100] {
        frame[12..14].copy_from_slice(&ethertype.to_be_bytes());
        assert_eq!(exercise(&frame), Err(ParseError::NotIp));
    }
}

#[test]
fn the_ip_version_must_match_the_ethertype() {
    let mut frame = FrameSpec::tcp(false).build();
    frame[12..14].copy_from_slice(&[0x86, 0xDD]);
    assert_eq!(exercise(&frame), Err(ParseError::BadIpv6Header));
    let mut frame = FrameSpec::tcp(true).build();
    frame[12..14].copy_from_slice(&[0x08, 0x00]);
    assert_eq!(exercise(&frame), Err(ParseError::BadIpv4Header));
}

#[test]
fn ipv4_fragments_are_refused() {
    for (fragment, refused) in [
        ([0x20, 0], true),
        ([0, 1], true),
        ([0x1F, 0xFF], true),
        ([0x40, 0], false),
        ([0, 0], false),
    ] {
        let mut frame = FrameSpec::tcp(false).build();
        frame[20..22].copy_from_slice(&fragment);
        assert_eq!(exercise(&frame) == Err(ParseError::Fragment), refused, "{fragment:?}");
    }
}

#[test]
fn ipv4_lengths_that_contradict_are_refused() {
    let frame = FrameSpec::tcp(false).build();
    let cases: [(usize, &[u8], ParseError); 5] = [
        (14, &[0x44], ParseError::BadIpv4Header),
        (14, &[0x65], ParseError::BadIpv4Header),
        (16, &[0, 0], ParseError::Jumbogram),
        (16, &[0, 19], ParseError::BadIpv4Header),
        (16, &[0xFF, 0xFF], ParseError::LengthMismatch),
    ];
    for (at, bytes, expected) in cases {
        let mut frame = frame.clone();
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        assert_eq!(exercise(&frame), Err(expected), "{bytes:?} at {at}");
    }
}

#[test]
fn ipv4_options_are_walked() {
    let cases: [(&[u8], bool); 9] = [
        (&[1, 1, 1, 0], true),
        (&[0x94, 4, 0, 0], true),
        (&[68, 8, 5, 0, 0, 0, 0, 0], true),
        (&[0, 0xFF, 0xFF, 0xFF], true),
        (&[131, 7, 4, 10, 0, 0, 1, 0], false),
        (&[137, 7, 4, 10, 0, 0, 1, 0], false),
        (&[0x94, 5, 0, 0], false),
        (&[0x94, 1, 0, 0], false),
        (&[1, 1, 1, 0x94], false),
    ];
    for (options, good) in cases {
        let mut spec = FrameSpec::tcp(false);
        spec.ip_options = options.to_vec();
        let result = exercise(&spec.build());
        if good {
            assert_eq!(usize::from(result.unwrap().l4), 34 + options.len());
        } else {
            assert_eq!(result, Err(ParseError::Ipv4Options), "{options:?}");
        }
    }
}

fn with_extensions(extensions: &[(u8, &[u8])]) -> Result<FrameView, ParseError> {
    let mut spec = FrameSpec::tcp(true);
    spec.extensions = extensions.iter().map(|(number, body)| (*number, body.to_vec())).collect();
    exercise(&spec.build())
}

/// M2.15.
#[test]
fn ipv6_extension_headers_are_walked_or_refused() {
    let pad = &PAD_EXTENSION[..];
    let view = with_extensions(&[(0, pad), (60, pad), (43, &[0, 4, 0, 0, 0, 0, 0]), (60, pad)]);
    assert_eq!(view.unwrap().l4, 14 + 40 + 32);
    let long = [&[1u8, 1, 12][..], &[0; 12]].concat();
    assert_eq!(with_extensions(&[(60, &long)]).unwrap().l4, 14 + 40 + 16);
    // Atomic fragments too.
    assert_eq!(with_extensions(&[(44, &[0, 0, 0, 0, 0, 0, 1])]), Err(ParseError::Fragment));
    assert_eq!(
        with_extensions(&[(60, pad), (44, &[0, 0, 1, 0, 0, 0, 1])]),
        Err(ParseError::Fragment)
    );
    let refused: [&[(u8, &[u8])]; 7] = [
        &[(60, pad), (0, pad)],
        &[(43, &[0, 4, 1, 0, 0, 0, 0])],
        &[(51, &[0, 0, 0, 0, 0, 0, 0])],
        &[(135, pad)],
        &[(139, pad)],
        &[(140, pad)],
        &[(60, &[0xFF, 1, 4, 0, 0, 0, 0])],
    ];
    for extensions in refused {
        assert_eq!(with_extensions(extensions), Err(ParseError::ExtensionHeader), "{extensions:?}");
    }
}

#[test]
fn the_extension_header_walk_is_bounded() {
    let pad = &PAD_EXTENSION[..];
    let chain = |count| with_extensions(&vec![(60, pad); count]);
    assert!(chain(crate::ip::MAX_EXTENSION_HEADERS).is_ok());
    assert_eq!(chain(crate::ip::MAX_EXTENSION_HEADERS + 1), Err(ParseError::ExtensionHeader));
}

/// M3.3.
#[test]
fn ipv6_jumbograms_are_refused() {
    let mut frame = FrameSpec::tcp(true).build();
    frame[18..20].copy_from_slice(&[0, 0]);
    assert_eq!(exercise(&frame), Err(ParseError::Jumbogram));
    frame[20] = 59;
    assert_eq!(exercise(&frame).unwrap().transport, Transport::Other(59));
}

#[test]
fn data_offsets_below_20_or_beyond_the_packet_are_refused() {
    for v6 in [false, true] {
        for words in 0..16u8 {
            let mut frame = FrameSpec::tcp(v6).options(&[]).payload(&[0; 16]).build();
            let l4 = if v6 { 54 } else { 34 };
            frame[l4 + 12] = words << 4;
            let result = exercise(&frame);
            assert_eq!(result.is_ok(), (5..=9).contains(&words), "{words}");
        }
    }
}

#[test]
fn udp_lengths_that_contradict_are_refused() {
    let frame = FrameSpec::udp(false).payload(&[7; 10]).build();
    for len in 0..40u16 {
        let mut frame = frame.clone();
        frame[38..40].copy_from_slice(&len.to_be_bytes());
        let result = exercise(&frame);
        match len {
            8..=18 => assert_eq!(result.unwrap().udp().unwrap().payload.len, len - 8),
            _ => assert_eq!(result, Err(ParseError::BadUdpHeader)),
        }
    }
}

#[test]
fn oversized_frames_are_refused() {
    assert_eq!(parse_frame(&vec![0; 65536]).unwrap_err(), ParseError::Oversized);
    assert_eq!(parse_frame(&vec![0; 65535]).unwrap_err(), ParseError::NotIp);
}

#[test]
fn the_view_stays_small() {
    assert!(size_of::<FrameView>() <= 80, "{}", size_of::<FrameView>());
}

#[test]
fn error_labels_are_distinct() {
    let mut labels: Vec<_> = ParseError::ALL.iter().map(|error| error.label()).collect();
    labels.sort_unstable();
    labels.dedup();
    assert_eq!(labels.len(), ParseError::ALL.len());
}

proptest! {
    #[test]
    fn random_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = exercise(&bytes);
    }

    #[test]
    fn random_bytes_behind_plausible_headers_do_no_harm(
        shape in 0usize..14,
        tail in proptest::collection::vec(any::<u8>(), 0..120),
        keep in 14usize..70,
    ) {
        let (_, spec) = shapes().swap_remove(shape);
        let mut frame = spec.build();
        frame.truncate(keep);
        frame.extend(tail);
        with_true_length(&spec, &mut frame);
        let _ = exercise(&frame);
    }
}
