//! Property: every option layout that a host may send, data offset 20 to 60, survives seal and open:
//! the payload is the same, the options mean the same as far as there is room (hazards 2, 4, 31); and
//! the MSS of hosts with larger packets (hazard 1).

use proptest::collection::vec;
use proptest::prelude::*;
use sekisho_port::PortSide;

use super::harness::*;
use super::segments::*;
use crate::Policy;

const NOP: u8 = 1;
const SACK: u8 = 5;
const TIMESTAMP: u8 = 8;
/// Octets that options may have, and what of them a tag takes.
const MAX_OPTIONS: usize = 40;
const TAG: usize = 16;

/// One option or NOP as it stands in the header.
fn item() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => Just(vec![NOP]),
        2 => any::<[u8; 8]>().prop_map(|value| [&[TIMESTAMP, 10], &value[..]].concat()),
        2 => vec(any::<[u8; 8]>(), 1..=4).prop_map(|blocks| {
            [&[SACK, 2 + 8 * blocks.len() as u8], &blocks.concat()[..]].concat()
        }),
        // AccECN, an option unknown to everybody, an experiment of somebody else.
        1 => (prop_oneof![Just(172), Just(174)], vec(any::<u8>(), 0..=9)).prop_map(option),
        1 => (200..240_u8, vec(any::<u8>(), 0..=18)).prop_map(option),
        1 => vec(any::<u8>(), 0..=10).prop_map(|value| option((254, [&[0x12, 0x34], &value[..]].concat()))),
    ]
}

fn option((kind, value): (u8, Vec<u8>)) -> Vec<u8> {
    [&[kind, 2 + value.len() as u8], &value[..]].concat()
}

/// A list of at most 40 octets, ended by NOPs or by End-of-List with anything behind it.
fn list() -> impl Strategy<Value = Vec<u8>> {
    (vec(item(), 0..10), any::<bool>(), 0..4_usize, any::<[u8; 40]>()).prop_map(
        |(items, ended, words, noise)| {
            let mut list = Vec::new();
            let mut has_timestamps = false;
            for item in items {
                let again = item[0] == TIMESTAMP && has_timestamps;
                if list.len() + item.len() <= MAX_OPTIONS && !again {
                    has_timestamps |= item[0] == TIMESTAMP;
                    list.extend(item);
                }
            }
            let end = (list.len().next_multiple_of(4) + 4 * words).min(MAX_OPTIONS);
            if ended && list.len() < end {
                list.push(0);
                list.extend_from_slice(&noise[..end - list.len()]);
            }
            list.resize(end, NOP);
            list
        },
    )
}

/// What a host reads: the options without padding, up to End-of-List.
fn meaning(list: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = list;
    let mut options = Vec::new();
    while let [kind, tail @ ..] = rest {
        match *kind {
            0 => break,
            NOP => rest = tail,
            _ => {
                let (option, behind) = rest.split_at(usize::from(tail[0]));
                options.push(option.to_vec());
                rest = behind;
            }
        }
    }
    options
}

/// Whether `kept` is `all` with options left out, and SACK options cut from their tails.
fn is_less_of(kept: &[Vec<u8>], all: &[Vec<u8>]) -> bool {
    let mut all = all.iter();
    kept.iter().all(|option| {
        all.any(|whole| match option[0] {
            SACK => whole[0] == SACK && whole[2..].starts_with(&option[2..]),
            _ => whole == option,
        })
    })
}

fn timestamps(options: &[Vec<u8>]) -> Option<&Vec<u8>> {
    options.iter().find(|option| option[0] == TIMESTAMP)
}

/// From plain side to plain side; what crossed and what arrived.
fn cross(pair: &mut Pair, up: bool, seg: &Seg) -> Option<(Got, Got)> {
    let sealed = if up { pair.seal_up(seg) } else { pair.seal_down(seg) };
    let sealed = sealed.into_iter().next()?;
    let opened = if up { pair.open_up(&sealed.bytes) } else { pair.open_down(&sealed.bytes) };
    Some((sealed, opened.into_iter().next().expect("what was sealed opens")))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_option_layout(
        list in list(),
        payload in vec(any::<u8>(), 1..200),
        (up, over_v6, fin) in any::<(bool, bool, bool)>(),
    ) {
        let mut pair = Pair::synced_over(if over_v6 { v6() } else { v4() });
        let seg = if up { pair.client_data(0, 0, &payload) } else { pair.server_data(0, 0, &payload) };
        let flags = if fin { FIN | ACK } else { PSH | ACK };
        let seg = Seg { flags, options: list.clone(), ..seg };
        let (sealed, opened) = cross(&mut pair, up, &seg).expect("never dropped for lack of room");

        let sent = meaning(&list);
        let mut crossed = meaning(sealed.option_bytes());
        let tag = crossed.pop().expect("a tag");
        prop_assert_eq!((tag[0], tag.len()), (253, TAG), "the tag is the last option");
        prop_assert!(is_less_of(&crossed, &sent), "{:?} of {:?}", crossed, sent);
        prop_assert_eq!(timestamps(&crossed), timestamps(&sent));
        let octets: usize = sent.iter().map(Vec::len).sum();
        if octets + TAG <= MAX_OPTIONS {
            prop_assert_eq!(&crossed, &sent, "there was room for all");
        }
        prop_assert!(payload.len() < 8 || sealed.payload() != payload);

        prop_assert_eq!(opened.payload(), &payload[..]);
        prop_assert_eq!(opened.tcp.flags, flags);
        prop_assert_eq!((opened.seq().get(), opened.tcp.ack.get()), (seg.seq, seg.ack));
        prop_assert_eq!(meaning(opened.option_bytes()), crossed);
        if list.len() + TAG <= MAX_OPTIONS && !list.contains(&0) {
            prop_assert_eq!(opened.bytes, seg.build(), "the very frame of the host");
        }
        pair.finish();
    }

    #[test]
    fn any_octets_where_options_should_be(
        words in vec(any::<[u8; 4]>(), 0..=10),
        payload in vec(any::<u8>(), 1..40),
        up in any::<bool>(),
    ) {
        let mut pair = Pair::synced();
        let seg = if up { pair.client_data(0, 0, &payload) } else { pair.server_data(0, 0, &payload) };
        let seg = seg.options(&words.concat());
        if let Some((_, opened)) = cross(&mut pair, up, &seg) {
            prop_assert_eq!(opened.payload(), &payload[..]);
        }
        // And from the network, where they are as good as a forgery.
        for end in [&mut pair.agent, &mut pair.gateway] {
            prop_assert!(end.take(PortSide::Cipher, &seg.build()).is_empty());
            end.assert_empty_hands();
        }
    }
}

/// M2.8.
#[test]
fn hazard_1_an_mss_beyond_our_own_mtu_leaves_room_for_the_tag_all_the_same() {
    let jumbo = [2, 4, 0x22, 0xd8];
    for (ends, most) in [(v4(), 1500 - 40 - 16), (v6(), 1500 - 60 - 16)] {
        let mut pair = Pair::with(Policy::Require, ends);
        pair.up(&pair.syn(CLIENT_ISN).options(&jumbo));
        let name = pair.gateway.request();
        let out = pair.gateway.install(&name, keys(1), (false, true));
        assert_eq!(one(PortSide::Plain, out).mss(), Some(most), "what the server hears");
        pair.down(&pair.syn_ack(CLIENT_ISN, SERVER_ISN).options(&jumbo));
        let name = pair.agent.request();
        let out = pair.agent.install(&name, keys(1), (true, false));
        assert_eq!(one(PortSide::Plain, out).mss(), Some(most), "what the client hears");
        pair.finish();
    }
}
