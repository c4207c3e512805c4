//! The procedure as it should go, its orders and its times.

use super::world::*;
use crate::delivery::{GatewayDelivery, MILLISECOND, SECOND};
use crate::identity::{DeviceId, Service};
use crate::message::{Body, Message};
use crate::refuse::RefuseCode;

const EARLY: u8 = 0;
const INVITE: u8 = 1;
const IDENTIFY: u8 = 2;
const DELIVER: u8 = 3;
const SYNC: u8 = 4;
const SYNCED: u8 = 5;
const REFUSE: u8 = 6;

/// M4.23, M4.24, M5.7.
/// M4.9, M4.24.
#[test]
fn both_ends_hold_one_fresh_key_and_outputs_come_in_order() {
    let mut w = World::new();
    w.syn_sent();
    w.syn_arrived();
    w.now += 30 * MILLISECOND;
    w.settle();
    w.assert_synchronised();
    let keys = w.gateway_installs()[0];
    let latency = 30 * MILLISECOND;
    assert_eq!(
        w.gateway_seen,
        [
            Seen::Send(INVITE),
            Seen::KeyRequest,
            Seen::Install(keys),
            Seen::Send(DELIVER),
            Seen::Synchronised,
            Seen::Send(SYNCED),
            Seen::Outcome(Ok(()), latency),
        ]
    );
    assert_eq!(
        w.client_seen,
        [
            Seen::Send(EARLY),
            Seen::Send(IDENTIFY),
            Seen::Install(keys),
            Seen::Send(SYNC),
            Seen::Completed,
            Seen::Outcome(Ok(()), latency),
        ]
    );
    assert_ne!(keys[..48], keys[48..], "the directions have keys of their own");

    let mut other = World::with(client_config(), gateway_config(), 2);
    other.handshake();
    assert_ne!(other.gateway_installs(), w.gateway_installs(), "another session, another key");
}

/// M4.19.
#[test]
fn early_may_come_before_its_syn() {
    let mut w = World::new();
    w.syn_sent();
    w.step_gateway();
    assert!(w.gateway_seen.is_empty(), "an EARLY alone causes nothing");
    assert_eq!(w.gateway.pending(), 0);
    w.now += 10 * MILLISECOND;
    w.syn_arrived();
    assert_eq!(w.gateway_seen, [Seen::Send(INVITE)]);
    w.settle();
    w.assert_synchronised();
    assert!(w.gateway_seen.contains(&Seen::Outcome(Ok(()), 10 * MILLISECOND)), "since EARLY");
}

#[test]
fn a_syn_alone_and_its_repetition_send_nothing() {
    let mut w = World::new();
    w.syn_arrived();
    w.syn_arrived();
    assert!(w.gateway_seen.is_empty());
    w.syn_sent();
    w.syn_sent();
    assert_eq!(w.client_seen, [Seen::Send(EARLY)]);
    w.settle();
    w.assert_synchronised();
}

/// M4.1, M4.19, M6.3.
#[test]
fn nat_between_the_ends_changes_nothing() {
    let mut w = World::new();
    w.outer.client = "203.0.113.9:61234".parse().unwrap();
    w.outer.client_isn = 77;
    w.outer_port = 50_123;
    w.handshake();
    w.assert_synchronised();
}

#[test]
fn nat_with_an_address_of_its_own_for_udp_changes_nothing() {
    let mut w = World::new();
    w.syn_sent();
    w.syn_arrived();
    w.outer.client = "203.0.113.9:61234".parse().unwrap();
    w.settle();
    w.assert_synchronised();
}

#[test]
fn ipv6_works_alike() {
    let mut w = World::new();
    w.inner.client = "[fd00:1::2]:40000".parse().unwrap();
    w.inner.server = "[fd00:2::10]:443".parse().unwrap();
    w.outer = w.inner;
    w.handshake();
    w.assert_synchronised();
}

/// M4.13, M4.20.
#[test]
fn a_service_known_by_name_works_under_destination_nat() {
    let name = Service::name("web").unwrap();
    let inner_server = "192.0.2.1:80".parse().unwrap();
    let mut config = gateway_config();
    config.names = vec![(name.clone(), session().server)];
    let mut w = World::with(client_config(), config, 1);
    // The path translates the dialled 192.0.2.1:80 to the server's own address and back.
    w.inner.server = inner_server;
    let translate = |w: &mut World| {
        for d in &mut w.to_gateway {
            d.dst.set_ip(session().server.ip());
        }
    };
    w.client.on_syn_sent(w.inner, R, OPTION, name, w.now);
    w.drain();
    w.syn_arrived();
    for _ in 0..4 {
        translate(&mut w);
        w.step_gateway();
        for d in &mut w.to_client {
            d.src.set_ip(inner_server.ip());
        }
        w.step_client();
    }
    w.assert_synchronised();
}

/// M4.2, M4.8.
#[test]
fn invite_is_at_most_three_times_its_trigger_and_all_messages_fit() {
    let long = "n".repeat(64);
    let mut gateway = gateway_config();
    gateway.id = DeviceId::name(&long).unwrap();
    let mut client = client_config();
    client.id = DeviceId::name(&long).unwrap();
    let mut w = World::with(client, gateway, 1);
    w.kdc = Kdc::Slow;
    w.inner.client = "[fd00:1::2]:40000".parse().unwrap();
    w.inner.server = "[fd00:2::10]:443".parse().unwrap();
    w.outer = w.inner;
    w.syn_sent();
    w.syn_arrived();
    let early = w.to_gateway[0].bytes.len();
    w.step_gateway();
    let invite = w.to_client[0].bytes.len();
    assert!(early >= 128 && invite <= 3 * early, "{early} {invite}");
    w.step_client();
    assert!(w.to_gateway[0].bytes.len() <= crate::MAX_MESSAGE);
    w.step_gateway();
    assert!(w.requests[0].1.len() <= crate::MAX_MESSAGE);
}

/// M4.24, M4.25.
#[test]
fn a_verified_tag_stands_for_sync_and_a_late_sync_is_still_answered() {
    let mut w = World::new();
    w.handshake_until_sync();
    w.gateway.on_synchronised(&session(), w.now);
    w.gateway.on_synchronised(&session(), w.now);
    w.drain();
    assert!(!w.gateway_seen.contains(&Seen::Synchronised), "the dataplane knows it already");
    assert_eq!(w.gateway_seen.last(), Some(&Seen::Outcome(Ok(()), 0)));
    let outcomes = w.gateway_seen.len();
    w.settle();
    assert_eq!(w.gateway_seen[outcomes..], [Seen::Send(SYNCED)]);
    assert!(w.client_seen.contains(&Seen::Completed));
}

/// M4.31.
#[test]
fn a_verified_tag_at_the_client_stands_for_synced() {
    let mut w = World::new();
    w.client.on_synchronised(&session(), w.now);
    w.syn_sent();
    w.client.on_synchronised(&session(), w.now);
    w.drain();
    assert_eq!(w.client.pending(), 1, "before the keys it means nothing");
    w.syn_arrived();
    w.step_gateway();
    w.step_client();
    w.step_gateway();
    w.step_client();
    w.to_gateway.clear();
    w.client.on_synchronised(&session(), w.now);
    w.drain();
    assert!(w.client_seen.contains(&Seen::Completed));
    assert_eq!(w.client.pending(), 0);
}

/// M4.27.
#[test]
fn resends_are_byte_identical_and_back_off_from_200_ms_to_3_s() {
    let mut config = client_config();
    config.deadline = 20 * SECOND;
    let mut w = World::with(config, gateway_config(), 1);
    w.syn_sent();
    let first = w.to_gateway[0].clone();
    let mut times = Vec::new();
    let start = w.now;
    while let Some(at) = w.client.next_deadline().filter(|at| *at < start + 15 * SECOND) {
        w.now = at;
        w.to_gateway.clear();
        w.timers();
        assert_eq!(w.to_gateway, std::slice::from_ref(&first));
        times.push((at - start) / MILLISECOND);
    }
    assert_eq!(times, [200, 600, 1400, 3000, 6000, 9000, 12_000]);
}

/// M4.25, M4.27.
#[test]
fn each_message_lost_once_is_sent_again_the_same() {
    for lost in [EARLY, INVITE, IDENTIFY, DELIVER, SYNC, SYNCED] {
        let mut w = World::new();
        w.syn_sent();
        w.syn_arrived();
        let mut gone = None;
        let end = w.now + 2 * SECOND;
        while w.now < end {
            lose_once(&mut w.to_gateway, lost, &mut gone);
            w.step_gateway();
            lose_once(&mut w.to_client, lost, &mut gone);
            w.step_client();
            if w.to_gateway.is_empty() && w.to_client.is_empty() {
                w.now = w.next_deadline().unwrap_or(end);
                w.timers();
            }
        }
        assert!(gone.is_some(), "message {lost} was on its way");
        w.assert_synchronised();
        let asked = w.gateway_seen.iter().filter(|s| **s == Seen::KeyRequest).count();
        assert_eq!(asked, 1, "one handshake asks the KDC once");
    }
}

/// M4.26, M4.31.
#[test]
fn deadlines_end_a_delivery_without_answer_at_both_ends() {
    let mut w = World::new();
    w.syn_sent();
    w.to_gateway.clear();
    w.syn_arrived();
    let start = w.now;
    while let Some(at) = w.next_deadline() {
        w.now = at;
        w.timers();
        w.to_gateway.clear();
    }
    assert_eq!(w.now - start, 5 * SECOND);
    let expected =
        [Seen::Failed(RefuseCode::Timeout), Seen::Outcome(Err(RefuseCode::Timeout), 5 * SECOND)];
    assert_eq!(w.gateway_seen, expected);
    assert!(w.client_seen.ends_with(&expected));
    assert_eq!((w.client.pending(), w.gateway.pending()), (0, 0));
}

/// M4.31.
#[test]
fn a_client_that_misses_synced_keeps_its_session() {
    let mut w = World::new();
    w.handshake_until_sync();
    let end = w.now + 20 * SECOND;
    let mut syncs = 0;
    while let Some(at) = w.client.next_deadline().filter(|at| *at < end) {
        syncs += w.to_gateway.drain(..).filter(|d| d.bytes[1] == SYNC).count();
        w.now = at;
        w.client.on_timer(at);
        w.drain();
    }
    assert_eq!(syncs, 7, "at 0, 0.2, 0.6, 1.4, 3, 6 and 9 s");
    assert_eq!(w.client.pending(), 0);
    assert_eq!(w.client_seen.last(), Some(&Seen::Outcome(Ok(()), 0)));
    assert!(!w.client_seen.iter().any(|s| matches!(s, Seen::Failed(_))));
}

/// M4.10, M4.18, M4.26.
#[test]
fn a_gateway_that_misses_sync_refuses_with_a_mac_and_the_client_ends_at_once() {
    let mut w = World::new();
    w.handshake_until_sync();
    w.to_gateway.clear();
    let at = w.now + 5 * SECOND;
    w.now = at;
    w.gateway.on_timer(at);
    w.drain();
    assert_eq!(w.to_client.len(), 1);
    let refuse = w.to_client[0].clone();
    assert_eq!(refuse.bytes[1], REFUSE);
    // Any other octet in it, and it ends nothing.
    for bit in 0..refuse.bytes.len() * 8 {
        let mut bad = refuse.clone();
        bad.bytes[bit / 8] ^= 1 << (bit % 8);
        w.give_client(&bad);
        assert_eq!(w.client.pending(), 1, "bit {bit}");
    }
    w.settle();
    assert!(w.client_seen.contains(&Seen::Failed(RefuseCode::Timeout)));
    assert!(w.gateway_seen.contains(&Seen::Failed(RefuseCode::Timeout)));
    assert_eq!(w.client.pending(), 0);
}

#[test]
fn closing_ends_a_delivery_with_one_outcome() {
    let mut w = World::new();
    w.syn_sent();
    w.syn_arrived();
    w.client.on_closed(&session(), w.now);
    w.client.on_closed(&session(), w.now);
    w.gateway.on_closed(&session(), w.now);
    w.gateway.on_closed(&session(), w.now);
    w.drain();
    let closed = Seen::Outcome(Err(RefuseCode::Closed), 0);
    assert_eq!(w.gateway_seen, std::slice::from_ref(&closed));
    assert_eq!(w.client_seen, [Seen::Send(EARLY), closed]);
    assert_eq!((w.client.next_deadline(), w.gateway.next_deadline()), (None, None));

    let mut w = World::new();
    w.handshake();
    let before = (w.client_seen.len(), w.gateway_seen.len());
    w.client.on_closed(&session(), w.now);
    w.gateway.on_closed(&session(), w.now);
    w.drain();
    assert_eq!((w.client_seen.len(), w.gateway_seen.len()), before);
}

#[test]
fn tables_are_empty_when_all_is_over() {
    let mut w = World::new();
    w.handshake();
    assert_eq!(w.client.pending(), 0);
    w.run_until(w.now + 30 * SECOND);
    assert_eq!(w.gateway.pending(), 0);
    assert_eq!(w.gateway.next_deadline(), None);
    w.assert_synchronised();
}

/// M4.17.
#[test]
fn a_restarted_gateway_is_asked_for_a_new_cookie() {
    let mut w = World::new();
    w.syn_sent();
    w.syn_arrived();
    w.step_gateway();
    // Another gateway, with another cookie key, takes the place; the SYN comes again.
    w.gateway = GatewayDelivery::new(gateway_config(), rng(99));
    w.syn_arrived();
    w.run_until(w.now + SECOND);
    assert!(w.gateway_seen.contains(&Seen::Send(REFUSE)), "bad_cookie is a hint");
    w.assert_synchronised();
}

/// Takes the first message of a type away; every later one must be the same.
fn lose_once(way: &mut Vec<Datagram>, kind: u8, gone: &mut Option<Datagram>) {
    let Some(at) = way.iter().position(|d| d.bytes[1] == kind) else { return };
    match gone {
        None => *gone = Some(way.remove(at)),
        Some(gone) => assert_eq!(way[at], *gone),
    }
}

impl World {
    /// Up to the SYNC, which is on its way.
    pub(super) fn handshake_until_sync(&mut self) {
        self.syn_sent();
        self.syn_arrived();
        self.step_gateway();
        self.step_client();
        self.step_gateway();
        self.step_client();
        assert_eq!(self.to_gateway.len(), 1);
        assert!(matches!(Message::decode(&self.to_gateway[0].bytes).unwrap().body, Body::Sync(_)));
    }
}
