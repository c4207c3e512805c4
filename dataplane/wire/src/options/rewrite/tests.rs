//! The ladder that makes room in 40 option bytes.

use super::*;
use crate::fixtures::{LINUX_SYN, MACOS_SYN, TIMESTAMPS, WINDOWS_SYN, sack};
use crate::options::kind;
use crate::options::summary::is_acc_ecn;
use crate::options::{AcceptOption, RequestOption};
use proptest::prelude::*;

const CODES: OptionCodes = OptionCodes { kind: 253, exid: 0x5E50 };
const TAG: TagOption = TagOption { phase: 1, tag: [0xC3; 12] };

fn request() -> SekishoOption {
    SekishoOption::Request(RequestOption { request_id: 0x1122_3344_5566_7788 })
}

fn tagged(options: &[u8]) -> Rewritten {
    Rewrite::insert(CODES, SekishoOption::Tag(TAG)).apply_to(options).unwrap()
}

fn stripped(options: &[u8]) -> Rewritten {
    Rewrite::strip(CODES).apply_to(options).unwrap()
}

/// The options that mean something, in order: no padding, nothing behind End-of-List.
fn meaning(options: &[u8]) -> Vec<Vec<u8>> {
    let mut out = vec![];
    let mut rest = options;
    loop {
        match rest {
            [] | [0, ..] => return out,
            [1, tail @ ..] => rest = tail,
            [_, len, ..] => {
                let (option, tail) = rest.split_at(usize::from(*len));
                out.push(option.to_vec());
                rest = tail;
            }
            [_] => panic!("malformed: {options:02x?}"),
        }
    }
}

fn joined(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// M2.6, M2.7.
#[test]
fn a_tag_goes_behind_timestamps_and_comes_off_again() {
    let sealed = tagged(&TIMESTAMPS);
    assert_eq!(sealed.block.as_bytes(), joined(&[&TIMESTAMPS, &TAG.encode(&CODES)]));
    assert_eq!(sealed.block.tag_offset(), Some(16));
    assert_eq!(sealed.changes, Changes::default());
    let opened = stripped(sealed.block.as_bytes());
    assert_eq!(opened.block.as_bytes(), TIMESTAMPS);
    assert_eq!(opened.block.tag_offset(), None);
}

#[test]
fn a_tag_alone() {
    let sealed = tagged(&[]);
    assert_eq!(sealed.block.as_bytes(), TAG.encode(&CODES));
    assert!(stripped(sealed.block.as_bytes()).block.is_empty());
}

#[test]
fn a_blank_tag_is_filled_in_later() {
    let mut blank = Rewrite::blank_tag(CODES, 1).apply_to(&TIMESTAMPS).unwrap();
    assert!(blank.block.set_tag(&TAG.tag));
    assert_eq!(blank.block, tagged(&TIMESTAMPS).block);
    assert!(!stripped(&TIMESTAMPS).block.clone().set_tag(&TAG.tag));
}

#[test]
fn a_request_and_an_accept_fit_every_usual_syn() {
    for syn in [&LINUX_SYN[..], &WINDOWS_SYN, &MACOS_SYN, &[2, 4, 5, 0xB4], &[]] {
        let accept = SekishoOption::Accept(AcceptOption { request_id: 1 });
        for ours in [request(), accept] {
            let with = Rewrite::insert(CODES, ours).apply_to(syn).unwrap();
            assert_eq!(with.changes, Changes::default());
            let mut expected = meaning(syn);
            expected.push(ours.encode(&CODES)[..13].to_vec());
            assert_eq!(meaning(with.block.as_bytes()), expected);
            let without = stripped(with.block.as_bytes());
            assert_eq!(meaning(without.block.as_bytes()), meaning(syn));
            // Its padding has gone with it.
            assert_eq!(
                without.block.len(),
                meaning(syn)
                    .concat()
                    .len()
                    .next_multiple_of(4)
                    .max(if meaning(syn) == meaning(&WINDOWS_SYN) { 12 } else { 0 },)
                    .max(if meaning(syn) == meaning(&MACOS_SYN) { 24 } else { 0 })
            );
        }
    }
}

#[test]
fn end_of_list_padding_does_not_hide_ours() {
    let options = [8, 10, 0, 1, 2, 3, 4, 5, 6, 7, 0, 0xFF];
    let sealed = tagged(&options);
    assert_eq!(sealed.block.len(), 28);
    let summary = TcpOptionsSummary::walk(sealed.block.as_bytes(), &CODES);
    assert_eq!(summary.sekisho(), Ok(Some(SekishoOption::Tag(TAG))));
    // Garbage behind End-of-List has not become an option.
    assert_eq!(meaning(sealed.block.as_bytes()).len(), 2);
}

#[test]
fn ladder_drops_padding_first() {
    // 12 + 4 + 12 = 28 with padding, and 16 more; 10 + 3 + 10 without.
    let options = joined(&[&TIMESTAMPS, &[1, 3, 3, 7], &sack(1)]);
    let sealed = tagged(&options);
    assert_eq!(sealed.block.len(), 40);
    assert_eq!(
        sealed.changes,
        Changes { padding_dropped: true, ..Changes::default() },
        "23 bytes and a tag fit 40"
    );
    assert_eq!(meaning(stripped(sealed.block.as_bytes()).block.as_bytes()), meaning(&options));
}

#[test]
fn ladder_trims_sack_from_the_tail_and_keeps_the_first() {
    for blocks in 1..=3u8 {
        let options = joined(&[&TIMESTAMPS, &sack(blocks)]);
        let sealed = tagged(&options);
        assert_eq!(sealed.changes.sack_blocks_trimmed, blocks - 1);
        let opened = stripped(sealed.block.as_bytes());
        let expected = joined(&[&TIMESTAMPS, &[1, 1, 5, 10], &sack(3)[4..12]]);
        assert_eq!(meaning(opened.block.as_bytes()), meaning(&expected));
        assert_eq!(sealed.block.len(), if blocks == 1 { 40 } else { 36 });
    }
    // Without timestamps two blocks fit beside the tag, of four.
    let sealed = tagged(&sack(4));
    assert_eq!(sealed.changes.sack_blocks_trimmed, 2);
    assert_eq!(
        meaning(sealed.block.as_bytes())[0],
        sack(4)[2..20]
            .iter()
            .enumerate()
            .map(|(at, byte)| if at == 1 { 18 } else { *byte })
            .collect::<Vec<_>>()
    );
}

#[test]
fn ladder_drops_acc_ecn_after_sack() {
    let acc_ecn = [172, 11, 1, 2, 3, 4, 5, 6, 7, 8, 9];
    let fits = joined(&[&TIMESTAMPS, &acc_ecn, &[1]]);
    assert!(!tagged(&fits).changes.acc_ecn_dropped);
    let options = joined(&[&TIMESTAMPS, &acc_ecn, &[1], &sack(1)]);
    let sealed = tagged(&options);
    assert!(sealed.changes.acc_ecn_dropped);
    assert_eq!(sealed.changes.sack_blocks_trimmed, 0);
    let left: Vec<u8> = meaning(sealed.block.as_bytes()).iter().map(|option| option[0]).collect();
    assert_eq!(left, [8, 5, 253]);
}

#[test]
fn ladder_ends_with_options_unknown_to_us() {
    let unknown = [200, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18];
    let options = joined(&[&TIMESTAMPS, &unknown]);
    let sealed = tagged(&options);
    assert_eq!(sealed.changes.unknown_dropped, 1);
    assert_eq!(meaning(sealed.block.as_bytes()).len(), 2);
}

/// M2.14: an option of a kind that counts, with a length that none of its kind has, means nothing to hosts.
#[test]
fn true_timestamps_outlast_false_ones_before_them() {
    let false_ones = [kind::TIMESTAMPS, 14, 0, 0, 0, 4, 4, 9, 9, 9, 9, 2, 2, 2];
    let list = joined(&[&[1, 1], &false_ones, &[2, 2], &TIMESTAMPS[2..], &[1, 1]]);
    let before = TcpOptionsSummary::walk(&list, &CODES);
    let sealed = tagged(&list);
    let after = TcpOptionsSummary::walk(sealed.block.as_bytes(), &CODES);
    assert!(before.timestamps.is_some());
    assert_eq!(after.timestamps, before.timestamps);
    assert_eq!(sealed.changes.unknown_dropped, 1);
}

/// M2.11, M2.12.
#[test]
fn fast_open_and_mptcp_are_removed_with_their_padding() {
    let fast_open = [34, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1];
    let mptcp = [30, 12, 1, 0x81, 0, 0, 0, 0, 0, 0, 0, 9];
    let syn = joined(&[&LINUX_SYN, &fast_open]);
    let plain = stripped(&syn);
    assert_eq!(plain.block.as_bytes(), LINUX_SYN);
    assert!(plain.changes.fast_open_removed && !plain.changes.mptcp_removed);
    let plain = stripped(&joined(&[&LINUX_SYN, &mptcp]));
    assert_eq!(plain.block.as_bytes(), LINUX_SYN);
    assert!(plain.changes.mptcp_removed);
    let plain = stripped(&joined(&[&[254, 4, 0xF9, 0x89], &LINUX_SYN]));
    assert_eq!(plain.block.as_bytes(), LINUX_SYN);
    // Removal makes the room: 36 bytes and a request.
    let sealed = Rewrite::insert(CODES, request()).apply_to(&joined(&[&LINUX_SYN, &fast_open]));
    assert_eq!(sealed.unwrap().block.len(), 36);
}

#[test]
fn malformed_and_repeated_ours_never_reach_the_plain_side() {
    let bad = [253, 6, 0x5E, 0x50, 9, 9, 1, 1];
    assert_eq!(stripped(&joined(&[&bad, &TIMESTAMPS])).block.as_bytes(), TIMESTAMPS);
    let twice = joined(&[&bad, &bad, &TIMESTAMPS]);
    assert_eq!(stripped(&twice).block.as_bytes(), TIMESTAMPS);
    assert_eq!(stripped(&joined(&[&TIMESTAMPS, &bad, &bad])).block.as_bytes(), TIMESTAMPS);
    // A forged one is replaced by the true one.
    let sealed =
        tagged(&joined(&[&TIMESTAMPS, &TagOption { phase: 0, tag: [1; 12] }.encode(&CODES)]));
    assert_eq!(sealed.block, tagged(&TIMESTAMPS).block);
}

/// M2.9, M2.10.
#[test]
fn mss_is_lowered_or_added() {
    let lower = |options: &[u8], ip| {
        let plan = Rewrite::strip(CODES).with_mss(MssRule::for_ip(ip));
        let rewritten = plan.apply_to(options).unwrap();
        let mss = TcpOptionsSummary::walk(rewritten.block.as_bytes(), &CODES).mss;
        (mss.map(|(value, _)| value), rewritten.changes.mss, rewritten.block.len())
    };
    assert_eq!(lower(&LINUX_SYN, IpKind::V4), (Some(1444), MssChange::Lowered(1444), 20));
    assert_eq!(lower(&[], IpKind::V4), (Some(520), MssChange::Inserted(520), 4));
    assert_eq!(lower(&[], IpKind::V6), (Some(1204), MssChange::Inserted(1204), 4));
    // A wrong length is as good as absent, and goes.
    assert_eq!(lower(&[2, 3, 5, 1], IpKind::V4), (Some(520), MssChange::Inserted(520), 4));
    for (value, expected) in [(64u16, 48u16), (63, 48), (49, 48), (48, 48), (20, 20), (0, 0)] {
        let [high, low] = value.to_be_bytes();
        assert_eq!(lower(&[2, 4, high, low], IpKind::V4).0, Some(expected), "{value}");
    }
    // A path of 1500 bytes has no room for what a host with larger packets announces.
    for (value, ip, expected) in
        [(8960u16, IpKind::V4, 1444), (1460, IpKind::V6, 1424), (1000, IpKind::V4, 984)]
    {
        let [high, low] = value.to_be_bytes();
        let plan = Rewrite::strip(CODES).with_mss(MssRule::for_path(ip, 1500));
        let rewritten = plan.apply_to(&[2, 4, high, low]).unwrap();
        assert_eq!(rewritten.changes.mss, MssChange::Lowered(expected), "{value}");
    }
    // Each of two is lowered: hosts differ in which one they take.
    let plan = Rewrite::strip(CODES).with_mss(MssRule::for_ip(IpKind::V4));
    let twice = plan.apply_to(&[2, 4, 5, 0xB4, 2, 4, 4, 0]).unwrap();
    assert_eq!(twice.block.as_bytes(), [2, 4, 5, 0xA4, 2, 4, 3, 0xF0]);
}

#[test]
fn mss_is_added_to_a_full_list() {
    // Timestamps, window scale, SACK permitted, an unknown option: 40 bytes and no MSS.
    let unknown = [200, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18];
    let options = joined(&[&TIMESTAMPS, &[1, 3, 3, 7, 1, 1, 4, 2], &unknown]);
    let plan = Rewrite::strip(CODES).with_mss(MssRule::for_ip(IpKind::V4));
    let rewritten = plan.apply_to(&options).unwrap();
    assert_eq!(rewritten.changes.mss, MssChange::Inserted(520));
    assert!(rewritten.changes.padding_dropped);
    assert_eq!(rewritten.changes.unknown_dropped, 0);
    assert_eq!(rewritten.block.len(), 40);
}

#[test]
fn malformed_lists_are_refused() {
    for bad in [&[8u8, 0, 1, 1][..], &[8, 1, 1, 1], &[2, 9, 0, 0], &[1, 1, 1, 2]] {
        let error = Err(OptionError::MalformedList);
        assert_eq!(Rewrite::strip(CODES).apply_to(bad), error);
        assert_eq!(Rewrite::blank_tag(CODES, 0).apply_to(bad), error);
        assert_eq!(
            Rewrite::strip(CODES).with_mss(MssRule::for_ip(IpKind::V4)).apply_to(bad),
            error
        );
    }
}

#[test]
fn a_summary_of_other_options_does_no_harm() {
    let foreign = tagged(&[]).block;
    for summary_of in [foreign.as_bytes(), &LINUX_SYN, &[0; 40], &TIMESTAMPS] {
        let summary = TcpOptionsSummary::walk(summary_of, &CODES);
        for options in [&TIMESTAMPS[..], &[], &[0; 40], &[9; 60]] {
            let _ = Rewrite::strip(CODES).apply(options, &summary);
            let _ = Rewrite::blank_tag(CODES, 0).apply(options, &summary);
        }
    }
}

/// One option or NOP as hosts send them in mid-stream or in a SYN, and a few that nobody sends.
fn option() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => Just(vec![1]),
        2 => any::<[u8; 8]>().prop_map(|body| joined(&[&[8, 10], &body])),
        2 => (1u8..5).prop_map(|blocks| sack(blocks)[2..].to_vec()),
        1 => any::<[u8; 2]>().prop_map(|body| joined(&[&[2, 4], &body])),
        1 => any::<u8>().prop_map(|shift| vec![3, 3, shift]),
        1 => Just(vec![4, 2]),
        1 => Just(vec![172, 5, 1, 2, 3]),
        1 => Just(vec![174, 11, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        1 => (prop_oneof![200u8..252, 60u8..90], proptest::collection::vec(any::<u8>(), 0..20))
            .prop_map(|(kind, body)| joined(&[&[kind, 2 + body.len() as u8], &body])),
    ]
}

/// A list of options of exactly 4 × `words` bytes, padded with NOP or End-of-List and garbage.
fn list() -> impl Strategy<Value = Vec<u8>> {
    list_up_to(10, any::<bool>().boxed())
}

fn list_up_to(words: usize, end: BoxedStrategy<bool>) -> impl Strategy<Value = Vec<u8>> {
    let parts = proptest::collection::vec(option(), 0..12);
    (0..=words, parts, end, any::<[u8; 40]>()).prop_map(|(words, parts, end, garbage)| {
        let mut out: Vec<u8> = vec![];
        for part in parts {
            if out.len() + part.len() <= words * 4 {
                out.extend(part);
            }
        }
        if end && out.len() < words * 4 {
            out.push(0);
            let rest = words * 4 - out.len();
            out.extend(&garbage[..rest]);
        }
        out.resize(words * 4, 1);
        out
    })
}

/// What may have become of `before`: trimmed SACK, lost AccECN and unknown options, all counted.
fn explained(before: &[Vec<u8>], after: &[Vec<u8>], changes: &Changes) -> bool {
    let mut rest = after.iter().peekable();
    let (mut sack, mut acc_ecn, mut unknown) = (0, false, 0);
    for option in before {
        match rest.peek() {
            Some(kept) if *kept == option => {
                rest.next();
            }
            Some(kept)
                if option[0] == kind::SACK
                    && kept[0] == kind::SACK
                    && kept[2..] == option[2..kept.len()] =>
            {
                sack += (option.len() - kept.len()) / 8;
                rest.next();
            }
            _ if is_acc_ecn(option) => acc_ecn = true,
            _ if option[0] == kind::SACK && option.len() == 10 => {
                sack += 1;
                unknown += 1;
            }
            _ => unknown += 1,
        }
    }
    let counted = usize::from(changes.sack_blocks_trimmed) + usize::from(changes.unknown_dropped);
    rest.next().is_none()
        && acc_ecn == changes.acc_ecn_dropped
        && sack <= usize::from(changes.sack_blocks_trimmed) + unknown
        && unknown <= counted
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Hazard 31: every data offset, every layout.
    #[test]
    fn strip_of_insert_restores_the_options(options in list(), phase in 0u8..2, tag in any::<[u8; 12]>()) {
        let tag = TagOption { phase, tag };
        let sealed = Rewrite::insert(CODES, SekishoOption::Tag(tag)).apply_to(&options).unwrap();
        prop_assert!(sealed.block.len() <= 40 && sealed.block.len().is_multiple_of(4));
        let summary = TcpOptionsSummary::walk(sealed.block.as_bytes(), &CODES);
        prop_assert_eq!(summary.sekisho(), Ok(Some(SekishoOption::Tag(tag))));
        let at = sealed.block.tag_offset().unwrap();
        prop_assert_eq!(&sealed.block.as_bytes()[at..at + 12], &tag.tag[..]);

        let opened = stripped(sealed.block.as_bytes());
        prop_assert_eq!(opened.changes, Changes::default());
        prop_assert!(opened.block.len() <= options.len().max(meaning(&options).concat().len()));
        let (before, after) = (meaning(&options), meaning(opened.block.as_bytes()));
        let fits = before.concat().len() + 16 <= 40;
        if fits {
            prop_assert_eq!(&before, &after);
            prop_assert!(!sealed.changes.acc_ecn_dropped && sealed.changes.sack_blocks_trimmed == 0);
        } else {
            prop_assert!(sealed.changes.padding_dropped);
            prop_assert!(explained(&before, &after, &sealed.changes), "{:?}", sealed);
        }
    }

    #[test]
    fn a_verbatim_fit_restores_every_byte(options in list_up_to(6, Just(false).boxed())) {
        let sealed = tagged(&options);
        prop_assert_eq!(&sealed.block.as_bytes()[..options.len()], &options[..]);
        let opened = stripped(sealed.block.as_bytes());
        prop_assert_eq!(opened.block.as_bytes(), &options[..]);
    }

    #[test]
    fn essentials_survive_with_any_insertion(options in list(), which in 0u8..3, mss in any::<bool>()) {
        let mut plan = match which {
            0 => Rewrite::strip(CODES),
            1 => Rewrite::insert(CODES, request()),
            _ => Rewrite::insert(CODES, SekishoOption::Tag(TAG)),
        };
        if mss {
            plan = plan.with_mss(MssRule::for_ip(IpKind::V6));
        }
        let rewritten = plan.apply_to(&options).unwrap();
        let before = TcpOptionsSummary::walk(&options, &CODES);
        let after = TcpOptionsSummary::walk(rewritten.block.as_bytes(), &CODES);
        prop_assert!(!after.malformed);
        prop_assert_eq!(after.timestamps, before.timestamps);
        prop_assert_eq!(after.window_scale, before.window_scale);
        prop_assert_eq!(after.sack_permitted, before.sack_permitted);
        prop_assert_eq!(after.sekisho(), Ok(plan.insert));
        let expected = match (mss, before.mss) {
            (false, found) => found.map(|(value, _)| value),
            // No packet has room for more: 65 535 octets less headers and tag (M2.8).
            (true, Some((value, _))) => {
                Some(value.saturating_sub(16).min(65_535 - 76).max(value.min(48)))
            }
            (true, None) => Some(1204),
        };
        prop_assert_eq!(after.mss.map(|(value, _)| value), expected);
    }

    #[test]
    fn any_bytes_are_rewritten_or_refused(options in proptest::collection::vec(any::<u8>(), 0..64)) {
        for plan in [
            Rewrite::strip(CODES),
            Rewrite::insert(CODES, request()).with_mss(MssRule::for_ip(IpKind::V4)),
            Rewrite::blank_tag(CODES, 0),
        ] {
            if let Ok(rewritten) = plan.apply_to(&options) {
                prop_assert!(rewritten.block.len() <= 40);
                let summary = TcpOptionsSummary::walk(rewritten.block.as_bytes(), &CODES);
                prop_assert_eq!(summary.sekisho(), Ok(plan.insert));
            }
        }
    }
}
