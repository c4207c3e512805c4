//! Rewriting options in place, over every option layout.

use super::*;
use crate::fixtures::{FrameSpec, LINUX_SYN, TIMESTAMPS, shapes};
use crate::frame::parse_frame;
use crate::options::{OptionCodes, Rewrite, SekishoOption, TagOption, TcpOptionsSummary};

const CODES: OptionCodes = OptionCodes { kind: 253, exid: 0x5E50 };

/// Puts the rewritten options in, moving the payload as the cipher pass would.
fn rewrite(frame: &[u8], plan: Rewrite) -> Vec<u8> {
    let view = parse_frame(frame).unwrap();
    let tcp = *view.tcp().unwrap();
    let block = plan.apply_to(tcp.options(frame)).unwrap().block;
    let mut buffer = frame.to_vec();
    buffer.resize(frame.len() + 40, 0x77);
    let to = usize::from(tcp.l4) + TCP_HEADER_LEN + block.len();
    buffer.copy_within(tcp.payload.range(), to);
    let changed = apply_options(&mut buffer, &view, &block, tcp.payload.len).unwrap();
    assert!(checksum::fill_transport(&mut buffer, &changed));
    buffer.truncate(changed.frame_len());
    let parsed = parse_frame(&buffer).unwrap();
    // The checksum as received is the only thing that the returned view does not follow.
    assert_eq!(parsed.tcp().unwrap().payload, changed.tcp().unwrap().payload);
    assert_eq!((parsed.l4, parsed.l4_end), (changed.l4, changed.l4_end));
    assert!(checksum::verify_transport(&buffer, &parsed));
    assert!(checksum::verify_ipv4_header(&buffer, &parsed));
    buffer
}

/// M2.7.
#[test]
fn a_tag_goes_in_and_out_and_the_frame_is_as_before() {
    let tag = SekishoOption::Tag(TagOption { phase: 0, tag: [7; 12] });
    for (name, spec) in shapes() {
        let frame = spec.build();
        if spec.protocol != 6 || spec.tcp_options.len() > 24 {
            continue;
        }
        let sealed = rewrite(&frame, Rewrite::insert(CODES, tag));
        assert_eq!(sealed.len(), frame.len() + 16, "{name}");
        let view = parse_frame(&sealed).unwrap();
        let tcp = view.tcp().unwrap();
        assert_eq!(tcp.payload.slice(&sealed), spec.payload, "{name}");
        let summary = TcpOptionsSummary::walk(tcp.options(&sealed), &CODES);
        assert_eq!(summary.sekisho(), Ok(Some(tag)), "{name}");
        assert_eq!(rewrite(&sealed, Rewrite::strip(CODES)), frame, "{name}");
    }
}

#[test]
fn every_data_offset_takes_and_loses_options() {
    for v6 in [false, true] {
        for words in 0..=10 {
            let options = vec![1; words * 4];
            let frame = FrameSpec::tcp(v6).options(&options).build();
            let sealed = rewrite(&frame, Rewrite::blank_tag(CODES, 0));
            let opened = rewrite(&sealed, Rewrite::strip(CODES));
            let view = parse_frame(&opened).unwrap();
            let tcp = view.tcp().unwrap();
            assert_eq!(tcp.payload.slice(&opened), (0..80).collect::<Vec<u8>>());
            if words <= 6 {
                assert_eq!(opened, frame, "{words}");
            }
        }
    }
}

#[test]
fn a_cut_payload_leaves_a_bare_segment() {
    let frame = FrameSpec::tcp(true).vlan(&[3]).options(&LINUX_SYN).build();
    let view = parse_frame(&frame).unwrap();
    let block = Rewrite::strip(CODES).apply_to(&LINUX_SYN).unwrap().block;
    let mut buffer = frame.clone();
    let changed = apply_options(&mut buffer, &view, &block, 0).unwrap();
    assert!(checksum::fill_transport(&mut buffer, &changed));
    assert_eq!(changed.frame_len(), frame.len() - 80);
    let parsed = parse_frame(&buffer).unwrap();
    assert!(parsed.tcp().unwrap().payload.is_empty());
    assert!(checksum::verify_transport(&buffer, &parsed));
}

/// M2.7.
#[test]
fn a_corrupt_ipv4_header_stays_corrupt() {
    let mut frame = FrameSpec::tcp(false).build();
    frame[22] ^= 0x40;
    let view = parse_frame(&frame).unwrap();
    assert!(!checksum::verify_ipv4_header(&frame, &view));
    let block = Rewrite::strip(CODES).apply_to(&TIMESTAMPS).unwrap().block;
    let changed = apply_options(&mut frame, &view, &block, 7).unwrap();
    assert!(!checksum::verify_ipv4_header(&frame, &changed));
}

#[test]
fn what_does_not_fit_is_refused_and_nothing_written() {
    let frame = FrameSpec::tcp(false).build();
    let view = parse_frame(&frame).unwrap();
    let block = Rewrite::blank_tag(CODES, 0).apply_to(&TIMESTAMPS).unwrap().block;
    for len in 0..frame.len() + 16 {
        let mut buffer = frame.clone();
        buffer.resize(len, 0);
        let before = buffer.clone();
        let error = apply_options(&mut buffer, &view, &block, 80).unwrap_err();
        assert_eq!(error, BuildError::OutputTooSmall);
        assert_eq!(buffer, before);
    }
    let mut buffer = frame.clone();
    assert_eq!(apply_options(&mut buffer, &view, &block, 65530), Err(BuildError::TooLong));
    let mut odd = OptionBlock::new();
    odd.push(&[1, 1, 1]).unwrap();
    assert_eq!(apply_options(&mut buffer, &view, &odd, 1), Err(BuildError::BadOptions));
    assert_eq!(buffer, frame);
    let mut udp = FrameSpec::udp(false).build();
    let view = parse_frame(&udp).unwrap();
    assert_eq!(apply_options(&mut udp, &view, &block, 1), Err(BuildError::NotTcp));
}

#[test]
fn a_tag_is_written_where_the_block_left_its_place() {
    let frame = FrameSpec::tcp(false).build();
    let view = parse_frame(&frame).unwrap();
    let mut block = Rewrite::blank_tag(CODES, 1).apply_to(&TIMESTAMPS).unwrap().block;
    assert!(block.set_tag(&[0x3C; 12]));
    let mut buffer = frame.clone();
    buffer.resize(frame.len() + 16, 0);
    let changed = apply_options(&mut buffer, &view, &block, 80).unwrap();
    let options = changed.tcp().unwrap().options(&buffer);
    let expected = SekishoOption::Tag(TagOption { phase: 1, tag: [0x3C; 12] });
    assert_eq!(TcpOptionsSummary::walk(options, &CODES).sekisho(), Ok(Some(expected)));
    let mut strip = Rewrite::strip(CODES).apply_to(&TIMESTAMPS).unwrap().block;
    assert!(!strip.set_tag(&[0; 12]));
}

#[test]
fn urgent_is_zeroed_and_nothing_else() {
    let mut spec = FrameSpec::tcp(false);
    spec.flags = 0x1F8;
    let mut frame = spec.build();
    frame[34 + 18..34 + 20].copy_from_slice(&[0x12, 0x34]);
    let mut view = parse_frame(&frame).unwrap();
    assert!(clear_urgent(&mut frame, &mut view));
    let after = parse_frame(&frame).unwrap();
    assert_eq!(after, view);
    assert_eq!(after.tcp().unwrap().urgent, 0);
    assert_eq!(after.tcp().unwrap().flags, TcpFlags(0x1D8));
    assert!(!clear_urgent(&mut frame, &mut view));
    // A pointer without the flag goes too.
    frame[34 + 19] = 9;
    let mut view = parse_frame(&frame).unwrap();
    assert!(clear_urgent(&mut frame, &mut view));
    assert_eq!(frame[34 + 19], 0);
}
