//! Our options: encoding, parsing, what is malformed.

use super::*;
use crate::fixtures::{LINUX_SYN, MACOS_SYN, TIMESTAMPS, WINDOWS_SYN, sack};
use proptest::prelude::*;

const CODES: OptionCodes = OptionCodes { kind: 253, exid: 0x5E50 };
const ID: u64 = 0x0102_0304_0506_0708;

fn walk(options: &[u8]) -> TcpOptionsSummary {
    TcpOptionsSummary::walk(options, &CODES)
}

fn all_of_ours() -> [SekishoOption; 5] {
    [
        SekishoOption::Request(RequestOption { request_id: ID }),
        SekishoOption::Accept(AcceptOption { request_id: ID }),
        SekishoOption::Resync(ResyncOption { request_id: ID }),
        SekishoOption::Tag(TagOption { phase: 0, tag: [0xA5; 12] }),
        SekishoOption::Tag(TagOption { phase: 1, tag: [0x5A; 12] }),
    ]
}

#[test]
fn the_default_codes_are_those_of_the_spec() {
    assert_eq!(OptionCodes::default(), CODES);
    assert_eq!((CODES.exid_of_phase(0), CODES.exid_of_phase(1)), (0x5E50, 0x5E51));
    let odd = OptionCodes { kind: 253, exid: 0x5E51 };
    assert_eq!((odd.exid_of_phase(0), odd.exid_of_phase(1)), (0x5E50, 0x5E51));
}

#[test]
fn ours_are_encoded_as_the_spec_says_and_read_back() {
    let request = RequestOption { request_id: ID }.encode(&CODES);
    assert_eq!(request, [253, 13, 0x5E, 0x50, 0x10, 1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(AcceptOption { request_id: ID }.encode(&CODES)[4], 0x11);
    assert_eq!(ResyncOption { request_id: ID }.encode(&CODES)[4], 0x12);
    let tag = TagOption { phase: 1, tag: [9; 12] }.encode(&CODES);
    assert_eq!(tag, [253, 16, 0x5E, 0x51, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9]);
    for option in all_of_ours() {
        let encoded = option.encode(&CODES);
        let parsed = SekishoOption::parse(&encoded[..option.len()], &CODES);
        assert_eq!(parsed, Some(Ok(option)));
    }
}

#[test]
fn malformed_ours_are_named_and_foreign_ones_left_alone() {
    let request = RequestOption { request_id: ID }.encode(&CODES);
    let tag = TagOption { phase: 0, tag: [9; 12] }.encode(&CODES);
    for (at, value) in [(4, 0x00), (4, 0x20), (4, 0x13), (4, 0x1F), (1, 12), (1, 14), (3, 0x51)] {
        let mut bad = request;
        bad[at] = value;
        let parsed = SekishoOption::parse(&bad, &CODES);
        assert_eq!(parsed, Some(Err(OptionError::MalformedOurs)), "{at} {value}");
    }
    for len in 4..16 {
        let mut bad = tag[..len].to_vec();
        bad[1] = len as u8;
        let parsed = SekishoOption::parse(&bad, &CODES);
        // 13 bytes are the length of a request, whose version octet is then wrong.
        assert_eq!(parsed, Some(Err(OptionError::MalformedOurs)), "{len}");
    }
    for (at, value) in [(0, 254), (2, 0x5F), (3, 0x52)] {
        let mut foreign = request;
        foreign[at] = value;
        assert_eq!(SekishoOption::parse(&foreign, &CODES), None, "{at} {value}");
    }
    assert_eq!(SekishoOption::parse(&[253, 2], &CODES), None);
}

#[test]
fn the_walk_reads_what_hosts_send() {
    let linux = walk(&LINUX_SYN);
    assert_eq!(linux.mss, Some((1460, 0)));
    assert_eq!(linux.window_scale, Some(7));
    assert_eq!(linux.timestamps, Some((0x0001_0203, 0)));
    assert!(linux.sack_permitted && !linux.malformed);
    assert_eq!(linux.end, 20);
    let windows = walk(&WINDOWS_SYN);
    assert_eq!((windows.mss, windows.window_scale), (Some((1460, 0)), Some(8)));
    assert_eq!(windows.timestamps, None);
    assert_eq!(walk(&MACOS_SYN).end, 22);
    let data = walk(&TIMESTAMPS);
    assert_eq!((data.timestamps, data.end), (Some((0x0001_0203, 0x0405_0607)), 12));
    assert_eq!(walk(&sack(3)).sack_blocks, 3);
}

#[test]
fn the_short_cut_for_timestamps_agrees_with_the_walk() {
    // The same options in another order take the long way.
    let other = [8, 10, 0, 1, 2, 3, 4, 5, 6, 7, 1, 1];
    assert_eq!(walk(&TIMESTAMPS), walk(&other));
    let tag = TagOption { phase: 1, tag: [3; 12] }.encode(&CODES);
    let short = walk(&[&TIMESTAMPS[..], &tag].concat());
    let long = walk(&[&other[..], &tag].concat());
    assert_eq!(short, long);
    // Timestamps that are there twice: the first count.
    let twice = [&TIMESTAMPS[..], &[8, 10, 9, 9, 9, 9, 9, 9, 9, 9, 1, 1]].concat();
    assert_eq!(walk(&twice).timestamps, walk(&TIMESTAMPS).timestamps);
}

#[test]
fn options_that_bar_protection_are_seen() {
    let mut md5 = vec![19, 18];
    md5.extend([0; 16]);
    assert!(walk(&md5).md5_or_ao);
    assert!(walk(&[29, 4, 1, 1]).md5_or_ao);
    assert!(walk(&[34, 2]).fast_open);
    assert!(walk(&[34, 10, 1, 2, 3, 4, 5, 6, 7, 8]).fast_open);
    assert!(walk(&[254, 4, 0xF9, 0x89]).fast_open);
    assert!(walk(&[253, 4, 0xF9, 0x89]).fast_open);
    assert!(walk(&[30, 12, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]).mptcp);
    assert!(walk(&[172, 5, 0, 0, 1]).acc_ecn && walk(&[174, 2]).acc_ecn);
    assert!(walk(&[254, 4, 0xAC, 0xCE]).acc_ecn);
    let none = walk(&LINUX_SYN);
    assert!(!none.md5_or_ao && !none.fast_open && !none.mptcp && !none.acc_ecn);
}

#[test]
fn one_of_ours_is_read_and_two_are_refused() {
    for option in all_of_ours() {
        let mut options = TIMESTAMPS.to_vec();
        options.extend(&option.encode(&CODES)[..option.len()]);
        let one = walk(&options);
        assert_eq!(one.sekisho(), Ok(Some(option)));
        assert_eq!(one.ours_span, Some((12, option.len() as u8)));
        let mut twice = option.encode(&CODES)[..option.len()].to_vec();
        twice.extend(option.encode(&CODES)[..option.len()].to_vec());
        assert_eq!(walk(&twice).sekisho(), Err(OptionError::DuplicateOurs));
    }
    assert_eq!(walk(&TIMESTAMPS).sekisho(), Ok(None));
}

#[test]
fn malformed_lists_stop_the_walk() {
    for bad in [&[8u8, 0][..], &[8, 1], &[8], &[2, 4, 5], &[1, 1, 1, 5], &[253, 16, 0x5E, 0x50]] {
        let summary = walk(bad);
        assert!(summary.malformed, "{bad:?}");
        assert_eq!(summary.sekisho(), Err(OptionError::MalformedList));
    }
    // What stands behind End-of-List was never sent.
    let mut hidden = vec![0];
    hidden.extend(TagOption { phase: 0, tag: [1; 12] }.encode(&CODES));
    assert_eq!(walk(&hidden).sekisho(), Ok(None));
    assert_eq!(walk(&hidden).end, 0);
}

proptest! {
    #[test]
    fn the_walk_takes_anything(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let summary = walk(&bytes);
        prop_assert!(usize::from(summary.end) <= bytes.len().min(40));
        let _ = summary.sekisho();
    }

    #[test]
    fn parse_takes_anything(bytes in proptest::collection::vec(any::<u8>(), 0..20), ours in any::<bool>()) {
        let mut bytes = bytes;
        if ours && bytes.len() >= 4 {
            bytes[0] = 253;
            bytes[2] = 0x5E;
            bytes[3] = 0x50 | (bytes[3] & 1);
        }
        let parsed = SekishoOption::parse(&bytes, &CODES);
        if let Some(Ok(option)) = parsed {
            prop_assert_eq!(&option.encode(&CODES)[..option.len()], &bytes[..]);
        }
    }
}
