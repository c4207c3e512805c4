//! From SYN to synchronisation: request and accept, hold and release, candidates.

use std::time::Duration;

use sekisho_port::PortSide;
use sekisho_session::State;
use sekisho_wire::SekishoOption;

use super::harness::*;
use super::segments::*;
use crate::{CloseCause, Command, DropReason, Event, Policy, Role};

#[test]
fn vouched_the_server_sees_the_syn_once_the_kdc_vouches() {
    // 1460 leaves no room for the tag in IPv6 packets of 1500 octets, even 16 lower.
    for (ends, mss) in [(v4(), 1444), (v6(), 1424)] {
        let mut pair = Pair::with(Policy::Require, ends);
        let sent = pair.seal_up(&pair.syn(CLIENT_ISN)).remove(0);
        let agent = pair.agent.request();
        // Claim 1: the option in the SYN is the trigger, and is what the event quotes.
        assert!(
            matches!(sent.ours(), Some(SekishoOption::Request(r)) if r.request_id == agent.request_id)
        );
        assert!(contains(sent.option_bytes(), &agent.option));
        assert_eq!(sent.mss(), Some(1460), "the gateway lowers the SYN's MSS, not the agent");
        assert!(pair.open_up(&sent.bytes).is_empty());
        let gateway = pair.gateway.request();
        assert_eq!((gateway.request_id, gateway.option), (agent.request_id, agent.option));
        assert_eq!(pair.gateway.snapshot().tallies.held, 1);

        let out = pair.gateway.install(&gateway, keys(1), (false, true));
        let syn = one(PortSide::Plain, out);
        assert_eq!((syn.ours(), syn.mss()), (None, Some(mss)));
        assert_eq!(syn.tcp.header_len, 40, "padding went with the option");
        assert_eq!(pair.gateway.sessions()[0].state, State::Keyed);

        let accept = pair.seal_down(&pair.syn_ack(CLIENT_ISN, SERVER_ISN)).remove(0);
        assert!(
            matches!(accept.ours(), Some(SekishoOption::Accept(a)) if a.request_id == agent.request_id)
        );
        assert!(pair.open_down(&accept.bytes).is_empty(), "held until the key is here");
        let out = pair.agent.install(&agent, keys(1), (true, false));
        let syn_ack = one(PortSide::Plain, out);
        assert_eq!((syn_ack.ours(), syn_ack.mss()), (None, Some(mss)));

        let ack = pair.by_client(ACK).seq(CLIENT_ISN.wrapping_add(1)).ack(SERVER_ISN + 1);
        assert!(pair.up(&ack).is_empty(), "the ACK waits for SYNC");
        let out = pair.gateway.synchronise(&gateway);
        assert_eq!(one(PortSide::Plain, out).seq().get(), CLIENT_ISN.wrapping_add(1));
        assert_eq!(pair.gateway.sessions()[0].state, State::Synced);
        assert!(pair.gateway.events().is_empty());
        assert_eq!(pair.up(&pair.client_data(0, 0, CANARY)).remove(0).payload(), CANARY);
        assert_eq!(pair.down(&pair.server_data(0, 19, CANARY)).remove(0).payload(), CANARY);
        pair.finish();
    }
}

#[test]
fn confirmed_the_syn_waits_for_sync_as_well() {
    let mut pair = Pair::new();
    pair.up(&pair.syn(CLIENT_ISN));
    let (agent, gateway) = (pair.agent.request(), pair.gateway.request());
    assert!(pair.gateway.install(&gateway, keys(1), (false, false)).is_empty());
    assert!(pair.up(&pair.syn(CLIENT_ISN)).is_empty(), "nor does its retransmission pass");
    assert_eq!(pair.gateway.dropped(DropReason::HoldReplaced), 1);
    assert!(pair.agent.install(&agent, keys(1), (true, false)).is_empty());
    let out = pair.gateway.synchronise(&gateway);
    assert!(one(PortSide::Plain, out).tcp.flags.syn());
    // Synchronised before the SYN-ACK: nothing waits any more.
    let syn_ack = pair.down(&pair.syn_ack(CLIENT_ISN, SERVER_ISN)).remove(0);
    assert_eq!((syn_ack.ours(), syn_ack.mss()), (None, Some(1444)));
    assert_eq!(pair.up(&pair.client_data(0, 0, CANARY)).remove(0).payload(), CANARY);
    pair.finish();
}

#[test]
fn a_first_tag_synchronises_and_the_held_ack_leaves_before_it() {
    let mut pair = Pair::keyed();
    let gateway = pair.gateway_name.unwrap();
    // Three ACKs: the newest is held, one each.
    for stamp in 0..3 {
        let mut ack = pair.client_data(0, 0, b"");
        ack.options[7] = stamp;
        assert!(pair.up(&ack).is_empty());
    }
    assert_eq!(pair.gateway.dropped(DropReason::HoldReplaced), 2);
    let out = pair.up(&pair.client_data(0, 0, CANARY));
    assert_eq!(out.len(), 2);
    assert_eq!((out[0].payload(), out[0].option_bytes()[7]), (&b""[..], 2));
    assert_eq!(out[1].payload(), CANARY);
    let events = pair.gateway.events();
    assert!(
        matches!(&events[..], [Event::Synchronised { generation, .. }] if *generation == gateway.generation)
    );
    // SYNC comes late and changes nothing.
    assert!(pair.gateway.synchronise(&gateway).is_empty());
    pair.finish();
}

/// M7.13.
#[test]
fn claim_3_segments_before_synchronisation_are_dropped() {
    let mut pair = Pair::new();
    pair.up(&pair.syn(CLIENT_ISN));
    let (agent, gateway) = (pair.agent.request(), pair.gateway.request());
    let data = pair.client_data(0, 0, CANARY).build();
    let ack = pair.client_data(0, 0, b"").build();
    let from_server = pair.server_data(0, 0, CANARY).build();
    let fin = pair.server_data(0, 0, b"").build();
    // Without a key: nothing passes, not even what nobody has asked for.
    for frame in [&data, &ack] {
        pair.gateway.refuses(PortSide::Cipher, frame, DropReason::Unsynchronised);
        pair.agent.refuses(PortSide::Plain, frame, DropReason::Unsynchronised);
    }
    for frame in [&from_server, &fin] {
        pair.gateway.refuses(PortSide::Plain, frame, DropReason::Unsynchronised);
        pair.agent.refuses(PortSide::Cipher, frame, DropReason::Unsynchronised);
    }
    pair.gateway.refuses(
        PortSide::Plain,
        &pair.syn_ack(CLIENT_ISN, SERVER_ISN).build(),
        DropReason::Unsynchronised,
    );
    // With a key at the gateway alone: the same, but for SYN-ACK and ACK.
    pair.gateway.install(&gateway, keys(1), (false, true));
    pair.gateway.refuses(PortSide::Plain, &from_server, DropReason::Unsynchronised);
    pair.gateway.refuses(PortSide::Cipher, &data, DropReason::Unsynchronised);
    pair.gateway.refuses(PortSide::Cipher, &ack, DropReason::Unsynchronised);
    assert!(pair.down(&pair.syn_ack(CLIENT_ISN, SERVER_ISN)).is_empty());
    pair.gateway.refuses(PortSide::Plain, &from_server, DropReason::Unsynchronised);
    // And the connection still succeeds.
    pair.agent.install(&agent, keys(1), (true, false));
    pair.gateway.synchronise(&gateway);
    assert_eq!(pair.down(&pair.server_data(0, 0, CANARY)).remove(0).payload(), CANARY);
    pair.finish();
}

#[test]
fn claim_3_a_key_at_one_end_is_not_synchronisation() {
    let mut pair = Pair::new();
    pair.up(&pair.syn(CLIENT_ISN));
    let (agent, gateway) = (pair.agent.request(), pair.gateway.request());
    pair.gateway.install(&gateway, keys(1), (true, true));
    pair.down(&pair.syn_ack(CLIENT_ISN, SERVER_ISN));
    // The agent has the key but not the gateway's confirmation: true tags do not pass yet.
    assert!(pair.agent.install(&agent, keys(1), (false, false)).is_empty());
    let sealed = pair.seal_down(&pair.server_data(0, 0, CANARY)).remove(0);
    pair.agent.refuses(PortSide::Cipher, &sealed.bytes, DropReason::Unsynchronised);
    assert_eq!(on(PortSide::Plain, pair.agent.synchronise(&agent)).len(), 1);
    assert_eq!(pair.open_down(&sealed.bytes).remove(0).payload(), CANARY);
    pair.finish();
}

/// M7.13: a client takes the time since the SYN that is answered for a round trip. Had the first been let
/// go, a slow key delivery would make its first timeout long.
#[test]
fn the_newest_syn_and_syn_ack_are_let_go() {
    /// The last octet of TSval.
    fn stamp_of(options: &[u8]) -> usize {
        options.windows(2).position(|option| option == [8, 10]).unwrap() + 5
    }
    let stamped = |mut segment: Seg, stamp: u8| {
        let at = stamp_of(&segment.options);
        segment.options[at] = stamp;
        segment
    };
    let stamp = |got: &Got| got.option_bytes()[stamp_of(got.option_bytes())];
    let mut pair = Pair::new();
    for n in 1..=3 {
        assert!(pair.up(&stamped(pair.syn(CLIENT_ISN), n)).is_empty());
    }
    let (agent, gateway) = (pair.agent.request(), pair.gateway.request());
    let out = pair.gateway.install(&gateway, keys(1), (false, true));
    assert_eq!(stamp(&one(PortSide::Plain, out)), 3);
    for n in 4..=6 {
        assert!(pair.down(&stamped(pair.syn_ack(CLIENT_ISN, SERVER_ISN), n)).is_empty());
    }
    let out = pair.agent.install(&agent, keys(1), (true, false));
    assert_eq!(stamp(&one(PortSide::Plain, out)), 6);
    assert_eq!(pair.gateway.dropped(DropReason::HoldReplaced), 2);
    assert_eq!(pair.agent.dropped(DropReason::HoldReplaced), 2);
    pair.finish();
}

/// M2.1, M7.10.
#[test]
fn hazard_16_a_syn_retransmission_is_the_same_session() {
    let mut pair = Pair::new();
    let first = pair.seal_up(&pair.syn(CLIENT_ISN)).remove(0);
    let again = pair.seal_up(&pair.syn(CLIENT_ISN)).remove(0);
    assert_eq!(first.bytes, again.bytes, "the same request id");
    pair.open_up(&first.bytes);
    pair.gateway.refuses(PortSide::Cipher, &again.bytes, DropReason::HoldReplaced);
    let gateway = pair.gateway.request();
    pair.agent.request();
    let out = pair.gateway.install(&gateway, keys(1), (false, true));
    let released = one(PortSide::Plain, out);
    // Once released, a retransmission goes the same way.
    let late = pair.open_up(&again.bytes).remove(0);
    assert_eq!(late.bytes, released.bytes);
    assert!(pair.gateway.events().is_empty());
    // Another request id with the same ISN is somebody else's.
    let forged = forge(&again.bytes, |frame, tcp| frame[usize::from(tcp.payload.start) - 4] ^= 1);
    pair.gateway.refuses(PortSide::Cipher, &forged, DropReason::RequestMismatch);
    assert_eq!(pair.gateway.sessions().len(), 1);
    pair.finish();
}

/// M2.8, M2.11, M2.12.
#[test]
fn hazards_1_7_21_the_syns_options() {
    let mut pair = Pair::new();
    let fast_open = [34, 10, 1, 2, 3, 4, 5, 6, 7, 8];
    let mptcp = [30, 4, 0, 0x81, 1, 1];
    let options = [&fast_open[..], &mptcp].concat();
    let syn = pair.syn(CLIENT_ISN).options(&options).payload(CANARY);
    let sent = pair.seal_up(&syn).remove(0);
    assert_eq!(sent.payload(), b"", "data in a SYN is cut");
    assert!(!sent.options.fast_open && !sent.options.mptcp);
    assert_eq!(pair.agent.snapshot().tallies.handshake_stripped, 1);
    pair.open_up(&sent.bytes);
    let gateway = pair.gateway.request();
    let out = pair.gateway.install(&gateway, keys(1), (false, true));
    assert_eq!(one(PortSide::Plain, out).mss(), Some(536 - 16), "an MSS where there was none");
    assert_eq!(pair.gateway.snapshot().tallies.mss_added, 1);

    // The gateway cuts by itself as well: the agent in front may not be ours.
    let request = pair.agent.request().option;
    let mut options = [&fast_open[..], &request].concat();
    options.resize(24, 1);
    let (client, server) = v6();
    let mut pair = Pair::with(Policy::Require, (client, server));
    let syn = pair.syn(5).options(&options).payload(CANARY).build();
    assert!(pair.gateway.take(PortSide::Cipher, &syn).is_empty());
    let gateway = pair.gateway.request();
    let out = pair.gateway.install(&gateway, keys(1), (false, true));
    let syn = one(PortSide::Plain, out);
    assert_eq!((syn.mss(), syn.payload(), syn.options.fast_open), (Some(1204), &b""[..], false));
}

/// M7.3.
#[test]
fn hazard_38_a_second_syn_ack_with_another_isn_moves_nothing() {
    let mut pair = Pair::new();
    pair.up(&pair.syn(CLIENT_ISN));
    let (agent, gateway) = (pair.agent.request(), pair.gateway.request());
    pair.gateway.install(&gateway, keys(1), (false, true));
    let first = pair.seal_down(&pair.syn_ack(CLIENT_ISN, SERVER_ISN)).remove(0);
    let other = pair.syn_ack(CLIENT_ISN, SERVER_ISN ^ 0x1000).build();
    pair.gateway.refuses(PortSide::Plain, &other, DropReason::IsnChanged);
    // Retransmitted as it was, it passes.
    assert_eq!(pair.seal_down(&pair.syn_ack(CLIENT_ISN, SERVER_ISN))[0].bytes, first.bytes);
    assert!(pair.open_down(&first.bytes).is_empty());
    pair.agent.refuses(PortSide::Cipher, &first.bytes, DropReason::HoldReplaced);
    pair.agent.install(&agent, keys(1), (true, false));
    let moved = forge(&first.bytes, |frame, tcp| frame[usize::from(tcp.l4) + 4] ^= 1);
    pair.agent.refuses(PortSide::Cipher, &moved, DropReason::IsnChanged);
    assert_eq!(pair.open_down(&first.bytes).len(), 1, "the same again passes");
    pair.gateway.synchronise(&gateway);
    assert_eq!(pair.down(&pair.server_data(0, 0, CANARY)).remove(0).payload(), CANARY);
    pair.finish();
}

/// M7.11.
#[test]
fn hazard_15_a_spoofed_syn_ends_nothing() {
    let mut pair = Pair::synced();
    let spoofed = pair.seal_up(&pair.syn(77)).remove(0);
    pair.agent.request();
    assert!(pair.open_up(&spoofed.bytes).is_empty());
    let name = pair.gateway.request();
    assert_eq!(pair.gateway.sessions().len(), 2);
    // The live session goes on, in both directions.
    assert_eq!(pair.up(&pair.client_data(0, 0, CANARY)).remove(0).payload(), CANARY);
    assert_eq!(pair.down(&pair.server_data(0, 19, CANARY)).remove(0).payload(), CANARY);
    // A newer one takes the place of a candidate that nobody has vouched for.
    let another = forge(&spoofed.bytes, |frame, tcp| frame[usize::from(tcp.l4) + 4] ^= 1);
    assert!(pair.gateway.take(PortSide::Cipher, &another).is_empty());
    let events = pair.gateway.events();
    assert!(matches!(
        &events[..],
        [
            Event::Closed { cause: CloseCause::Superseded, generation, .. },
            Event::Request { .. }
        ] if *generation == name.generation
    ));
    // Aborted, it leaves the live session alone; no server has heard of it.
    let sessions = pair.gateway.sessions();
    let candidate = sessions.iter().find(|row| row.candidate).unwrap();
    let name = Name { client_isn: candidate.client_isn, generation: candidate.generation, ..name };
    assert!(pair.gateway.abort(&name, CloseCause::KeyDelivery).is_empty());
    assert_eq!(pair.gateway.closed(), [CloseCause::KeyDelivery]);
    assert_eq!(pair.up(&pair.client_data(19, 19, CANARY)).remove(0).payload(), CANARY);
    pair.agent.wait(20);
    pair.agent.wait(2);
    pair.finish();
}

#[test]
fn hazard_15_a_candidate_replaces_the_session_when_it_synchronises() {
    let mut pair = Pair::synced();
    pair.up(&pair.client_data(0, 0, b"old"));
    let old = pair.seal_up(&pair.client_data(3, 0, CANARY)).remove(0);
    // The server answers the SYN of a tuple that it still knows with an ACK of the old stream,
    // the client's stack resets the old connection: both pass under the old session.
    pair.up(&pair.syn(1_000_000));
    let (agent, gateway) = (pair.agent.request(), pair.gateway.request());
    let out = pair.gateway.install(&gateway, keys(2), (false, true));
    assert_eq!(one(PortSide::Plain, out).seq().get(), 1_000_000);
    assert_eq!(pair.down(&pair.server_data(0, 3, b"")).len(), 1, "challenge ACK");
    // A SYN without vouching does not displace a candidate with a key.
    let other = pair.seal_up(&pair.syn(5)).remove(0);
    pair.gateway.refuses(PortSide::Cipher, &other.bytes, DropReason::CandidateBusy);
    let events = pair.agent.events();
    assert!(matches!(events[0], Event::Closed { cause: CloseCause::Superseded, .. }));
    pair.agent.take(PortSide::Plain, &pair.syn(1_000_000).build());
    let again = pair.agent.events();
    assert!(matches!(again[0], Event::Closed { cause: CloseCause::Superseded, .. }));
    let Event::Request { generation, .. } = again[1] else { panic!("{again:?}") };
    let agent = Name { generation, ..agent };

    let accept = pair.seal_down(&pair.syn_ack(1_000_000, 2_000_000)).remove(0);
    assert!(pair.open_down(&accept.bytes).is_empty());
    let early = pair.server_data(0, 0, CANARY).seq(2_000_001).ack(1_000_001).build();
    pair.gateway.refuses(PortSide::Plain, &early, DropReason::Unsynchronised);
    let out = pair.agent.install(&agent, keys(2), (true, false));
    assert_eq!(one(PortSide::Plain, out).seq().get(), 2_000_000);
    assert_eq!(pair.agent.closed(), [CloseCause::Replaced]);
    // First tag under the candidate's key, tried after the live one's.
    let data = pair.by_client(ACK).seq(1_000_001).ack(2_000_001).payload(CANARY);
    assert_eq!(pair.up(&data).remove(0).payload(), CANARY);
    assert_eq!(pair.gateway.dropped(DropReason::BadTag), 0);
    let events = pair.gateway.events();
    assert!(matches!(
        &events[..],
        [Event::Closed { cause: CloseCause::Replaced, .. }, Event::Synchronised { .. }]
    ));
    assert_eq!(pair.gateway.sessions().len(), 1);
    // What was sealed for the old session verifies no more.
    assert!(pair.open_up(&old.bytes).is_empty());
    pair.finish();
}

#[test]
fn accept_must_be_there_and_match() {
    let mut pair = Pair::new();
    pair.up(&pair.syn(CLIENT_ISN));
    let (agent, gateway) = (pair.agent.request(), pair.gateway.request());
    pair.gateway.install(&gateway, keys(1), (false, true));
    let accept = pair.seal_down(&pair.syn_ack(CLIENT_ISN, SERVER_ISN)).remove(0);
    let bare = pair.syn_ack(CLIENT_ISN, SERVER_ISN).build();
    pair.agent.refuses(PortSide::Cipher, &bare, DropReason::NoAccept);
    let other_id =
        forge(&accept.bytes, |frame, tcp| frame[usize::from(tcp.payload.start) - 4] ^= 1);
    pair.agent.refuses(PortSide::Cipher, &other_id, DropReason::AcceptMismatch);
    let other_ack = forge(&accept.bytes, |frame, tcp| frame[usize::from(tcp.l4) + 11] ^= 1);
    pair.agent.refuses(PortSide::Cipher, &other_ack, DropReason::AckMismatch);
    let request = forge(&accept.bytes, |frame, tcp| {
        frame[usize::from(tcp.payload.start) - 12] &= 0xf0;
    });
    pair.agent.refuses(PortSide::Cipher, &request, DropReason::OptionMisplaced);
    let version = forge(&accept.bytes, |frame, tcp| {
        frame[usize::from(tcp.payload.start) - 12] ^= 0x20;
    });
    pair.agent.refuses(PortSide::Cipher, &version, DropReason::OptionMalformed);
    // With the key here, a SYN-ACK without accept is refused as well.
    pair.agent.install(&agent, keys(1), (true, false));
    pair.agent.refuses(PortSide::Cipher, &bare, DropReason::NoAccept);
    assert_eq!(pair.open_down(&accept.bytes).len(), 1);
    pair.finish();
}

/// M7.18.
#[test]
fn full_tables_rings_and_pools_drop_the_syn_and_make_no_state() {
    let pair = Pair::new();
    let mut small = config(Role::Client, Policy::Require);
    small.sessions = 1;
    let mut agent = End::new(small.clone());
    let (first, second) = (pair.syn(1).build(), {
        let mut syn = pair.syn(2);
        syn.src.set_port(40_001);
        syn.build()
    });
    assert_eq!(agent.take(PortSide::Plain, &first).len(), 1);
    agent.refuses(PortSide::Plain, &second, DropReason::TableFull);

    small.sessions = 8;
    let mut agent = End::with_ring(small.clone(), 1);
    assert_eq!(agent.take(PortSide::Plain, &first).len(), 1);
    agent.refuses(PortSide::Plain, &second, DropReason::EventRingFull);
    assert_eq!(agent.sessions().len(), 1);
    agent.request();
    let sealed = one(PortSide::Cipher, agent.take(PortSide::Plain, &second));

    small.role = Role::Gateway;
    small.held_frames = 1;
    let mut gateway = End::new(small);
    let other = forge(&sealed.bytes, |frame, tcp| frame[usize::from(tcp.l4) + 1] ^= 1);
    assert!(gateway.take(PortSide::Cipher, &sealed.bytes).is_empty());
    // A worker that drains takes none.
    gateway.command(Command::Drain);
    gateway.refuses(PortSide::Cipher, &other, DropReason::Draining);
    assert_eq!(gateway.sessions().len(), 1);
}

#[test]
fn events_that_must_not_be_lost_wait_for_room() {
    let mut pair = Pair::new();
    pair.agent = End::with_ring(config(Role::Client, Policy::Require), 1);
    pair.seal_up(&pair.syn(CLIENT_ISN));
    let name = pair.agent.request();
    // A datagram fills the ring; the session ends all the same.
    let datagram = super::policy::datagram(pair.server, pair.client, 1088, 1088, b"x");
    pair.agent.take(PortSide::Cipher, &datagram);
    pair.agent.refuses(PortSide::Cipher, &datagram, DropReason::EventRingFull);
    let out = pair.agent.abort(&name, CloseCause::KeyDelivery);
    assert_eq!(out.len(), 1);
    assert_eq!(pair.agent.events().len(), 1);
    pair.agent.now = pair.agent.now.after(Duration::from_millis(50));
    pair.agent.turn();
    assert_eq!(pair.agent.closed(), [CloseCause::KeyDelivery]);
}

/// M7.12.
#[test]
fn stale_names_change_nothing() {
    let mut pair = Pair::new();
    pair.up(&pair.syn(CLIENT_ISN));
    let gateway = pair.gateway.request();
    let stale = Name { generation: gateway.generation + 1, ..gateway };
    assert!(pair.gateway.install(&stale, keys(1), (false, true)).is_empty());
    assert!(pair.gateway.synchronise(&stale).is_empty());
    assert!(pair.gateway.abort(&stale, CloseCause::Operator).is_empty());
    let other = Name { client_isn: 9, ..gateway };
    assert!(pair.gateway.install(&other, keys(1), (false, true)).is_empty());
    // Synchronising without a key cannot be either.
    assert!(pair.gateway.synchronise(&gateway).is_empty());
    assert_eq!(pair.gateway.snapshot().tallies.stale_commands, 5);
    assert_eq!(pair.gateway.sessions()[0].state, State::Requested);
    // Keys come once.
    pair.gateway.install(&gateway, keys(1), (false, true));
    pair.gateway.install(&gateway, keys(2), (false, true));
    assert_eq!(pair.gateway.snapshot().tallies.stale_commands, 6);
}

#[test]
fn failure_resets_the_side_that_waits() {
    let mut pair = Pair::new();
    pair.up(&pair.syn(CLIENT_ISN));
    let (agent, gateway) = (pair.agent.request(), pair.gateway.request());
    let out = pair.agent.abort(&agent, CloseCause::KeyDelivery);
    let reset = one(PortSide::Plain, out);
    assert!(reset.tcp.flags.contains(RST | ACK));
    assert_eq!((reset.seq().get(), reset.tcp.ack.get()), (0, CLIENT_ISN.wrapping_add(1)));
    assert_eq!(
        (reset.view.source(), reset.view.destination()),
        (Some(pair.server), Some(pair.client))
    );
    assert_eq!(&reset.l2().as_bytes()[..12], &[CLIENT_MAC, SERVER_MAC].concat()[..]);
    assert_eq!(pair.agent.closed(), [CloseCause::KeyDelivery]);
    assert!(pair.agent.sessions().is_empty());
    // The gateway's server never saw the SYN: nobody waits, and the SYN is freed.
    assert!(pair.gateway.abort(&gateway, CloseCause::KeyDelivery).is_empty());
    assert_eq!(pair.gateway.dropped(DropReason::HoldEnded), 1);
    assert_eq!(pair.gateway.closed(), [CloseCause::KeyDelivery]);
    // Where it has, it is told.
    pair.up(&pair.syn(CLIENT_ISN));
    let gateway = pair.gateway.request();
    pair.gateway.install(&gateway, keys(1), (false, true));
    let out = pair.gateway.abort(&gateway, CloseCause::KeyDelivery);
    let reset = one(PortSide::Plain, out);
    assert_eq!(reset.tcp.flags, RST);
    assert_eq!(reset.seq().get(), CLIENT_ISN.wrapping_add(1));
    assert_eq!(&reset.l2().as_bytes()[..12], &[SERVER_MAC, CLIENT_MAC].concat()[..]);
    pair.agent.events();
    pair.agent.wait(20);
    pair.finish();
}

#[test]
fn a_late_failure_of_key_delivery_ends_nothing() {
    let mut pair = Pair::synced();
    let name = pair.gateway_name.unwrap();
    assert!(pair.gateway.abort(&name, CloseCause::KeyDelivery).is_empty());
    assert_eq!(pair.up(&pair.client_data(0, 0, CANARY)).len(), 1);
    // The operator's word is another thing.
    let out = pair.gateway.abort(&name, CloseCause::Operator);
    let next = CLIENT_ISN.wrapping_add(1 + CANARY.len() as u32);
    assert_eq!(one(PortSide::Plain, out).seq().get(), next);
    assert_eq!(pair.gateway.closed(), [CloseCause::Operator]);
    // At the agent it comes only on the gateway's word: there it is the end.
    let name = pair.agent_name.unwrap();
    let out = pair.agent.abort(&name, CloseCause::KeyDelivery);
    assert_eq!(one(PortSide::Plain, out).seq().get(), SERVER_ISN + 1);
    assert_eq!(pair.agent.closed(), [CloseCause::KeyDelivery]);
    pair.finish();
}

#[test]
fn a_handshake_that_control_forgets_ends_by_itself() {
    let mut pair = Pair::new();
    pair.up(&pair.syn(CLIENT_ISN));
    pair.agent.request();
    pair.gateway.request();
    assert!(pair.agent.wait(14).is_empty());
    pair.agent.wait(2);
    let out = pair.agent.wait(2);
    assert!(out.is_empty() || one(PortSide::Plain, out).tcp.flags.rst());
    assert_eq!(pair.agent.closed(), [CloseCause::HoldExpired]);
    pair.gateway.wait(16);
    pair.gateway.wait(2);
    assert_eq!(pair.gateway.closed(), [CloseCause::HoldExpired]);
    assert_eq!(pair.gateway.snapshot().sessions, [0; 6]);
    pair.finish();
}
