//! Replays, forgeries, wrong keys and services, floods, and a KDC that refuses or is away.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::world::*;
use crate::delivery::{ClientDelivery, GatewayDelivery, SECOND, SessionRef};
use crate::identity::Service;
use crate::keys::DeviceKey;
use crate::message::{Body, Invite, Message, Reason, Refuse};
use crate::refuse::RefuseCode;
use crate::wrap::Grant;

const SYNCED: u8 = 5;
const REFUSE: u8 = 6;

/// A finished handshake and everything that was sent in it.
fn recorded() -> (World, Vec<Datagram>, Vec<Datagram>) {
    let mut w = World::new();
    let (mut up, mut down) = (Vec::new(), Vec::new());
    w.syn_sent();
    w.syn_arrived();
    while !w.to_gateway.is_empty() || !w.to_client.is_empty() {
        up.extend(w.to_gateway.clone());
        w.step_gateway();
        down.extend(w.to_client.clone());
        w.step_client();
    }
    w.assert_synchronised();
    (w, up, down)
}

/// M4.21, M4.25.
#[test]
fn replays_after_the_handshake_begin_and_change_nothing() {
    let (mut w, up, down) = recorded();
    let gone = w.gateway_seen.len();
    let client = w.client_seen.len();
    for _ in 0..100 {
        for datagram in &up {
            w.give_gateway(datagram);
        }
        for datagram in &down {
            w.give_client(datagram);
        }
        w.now += SECOND / 4;
        w.timers();
    }
    assert_eq!(w.client_seen[client..], []);
    let answers = &w.gateway_seen[gone..];
    assert!(answers.contains(&Seen::Send(SYNCED)), "a repeated SYNC is answered");
    assert!(
        answers.iter().all(|s| matches!(s, Seen::Send(SYNCED | REFUSE))),
        "no request, no key, no synchronisation: {answers:?}"
    );
    assert_eq!(w.requests.len(), 1);
}

/// M4.21.
#[test]
fn replays_after_the_session_is_gone_begin_nothing() {
    let (mut w, up, _) = recorded();
    w.gateway.on_closed(&session(), w.now);
    for _ in 0..100 {
        for datagram in &up {
            w.give_gateway(datagram);
        }
        w.now += SECOND / 4;
        w.timers();
    }
    assert_eq!((w.requests.len(), w.gateway_installs().len()), (1, 1));
    assert_eq!(w.gateway.pending(), 0);
}

#[test]
fn a_replayed_handshake_gives_a_new_connection_nothing() {
    let (_, up, _) = recorded();
    // The same 4-tuple again, with another ISN: old messages name another SYN.
    let mut w = World::with(client_config(), gateway_config(), 9);
    w.outer.client_isn = 5;
    w.gateway.on_syn(w.outer, R, OPTION, w.now);
    for datagram in &up {
        w.give_gateway(datagram);
    }
    assert!(w.requests.is_empty() && w.gateway_installs().is_empty());
}

/// M4.14, M4.16.
#[test]
fn identify_needs_the_cookie_of_its_source_and_alone_rebuilds_the_rest() {
    let mut w = World::new();
    w.syn_sent();
    w.syn_arrived();
    w.step_gateway();
    w.step_client();
    let identify = w.to_gateway[0].clone();
    for foreign in ["10.0.1.2:1089", "10.0.1.3:1088"] {
        w.gateway.on_datagram(foreign.parse().unwrap(), identify.dst, &identify.bytes, w.now);
    }
    let elsewhere: SocketAddr = "10.0.2.11:1088".parse().unwrap();
    w.gateway.on_datagram(identify.src, elsewhere, &identify.bytes, w.now);
    w.drain();
    assert!(w.requests.is_empty());
    assert_eq!(w.gateway.ignored().bad_cookie, 3);

    // The pending entry goes; the cookie is enough.
    w.gateway.on_closed(&session(), w.now);
    assert_eq!(w.gateway.pending(), 0);
    w.settle();
    assert_eq!(w.gateway_installs(), w.client_installs());
    assert_eq!(w.gateway_installs().len(), 1);
}

/// M4.15.
#[test]
fn a_stale_cookie_is_refused() {
    let mut w = World::new();
    w.syn_sent();
    w.syn_arrived();
    w.step_gateway();
    w.step_client();
    w.now += 20 * SECOND;
    w.step_gateway();
    assert!(w.requests.is_empty());
    assert_eq!(w.gateway.ignored().bad_cookie, 1);
}

/// M4.25: what was taken while its cookie lived is answered as long as the delivery lasts, under a
/// deadline longer than a cookie's life.
#[test]
fn an_identify_taken_in_time_is_answered_after_its_cookie_is_dead() {
    let (mut client, mut gateway) = (client_config(), gateway_config());
    (client.deadline, gateway.deadline) = (30 * SECOND, 30 * SECOND);
    let mut w = World::with(client, gateway, 1);
    w.syn_sent();
    w.syn_arrived();
    w.step_gateway();
    w.step_client();
    let identify = w.to_gateway[0].clone();
    w.step_gateway();
    let deliver = w.to_client.remove(0);
    w.now += 25 * SECOND;
    // Neither to another source nor for other octets.
    w.gateway.on_datagram("10.0.1.2:1089".parse().unwrap(), identify.dst, &identify.bytes, w.now);
    let mut other = identify.clone();
    *other.bytes.last_mut().unwrap() ^= 1;
    w.give_gateway(&other);
    assert_eq!(w.gateway.ignored().bad_cookie, 2);
    assert!(w.to_client.drain(..).all(|answer| answer.bytes[1] == 6), "refused");
    w.give_gateway(&identify);
    assert_eq!(w.to_client, [deliver]);
    w.settle();
    w.assert_synchronised();
    assert_eq!(w.requests.len(), 1);
}

#[test]
fn a_wrong_key_gets_its_code_at_both_ends_and_no_second_request() {
    let mut config = client_config();
    config.key = DeviceKey::from_bytes([7; 32]);
    let mut w = World::with(config, gateway_config(), 1);
    w.handshake();
    let start = w.now;
    w.run_until(start + 30 * SECOND);
    assert_eq!(w.requests.len(), 1, "the same IDENTIFY is refused from memory");
    for seen in [&w.gateway_seen, &w.client_seen] {
        assert!(seen.contains(&Seen::Failed(RefuseCode::WrongKey)), "{seen:?}");
        assert!(seen.contains(&Seen::Outcome(Err(RefuseCode::WrongKey), 5 * SECOND)));
    }
    assert!(w.client_installs().is_empty() && w.gateway_installs().is_empty());
    assert_eq!((w.client.pending(), w.gateway.pending()), (0, 0));
}

#[test]
fn every_refusal_of_the_kdc_reaches_the_client_as_its_code() {
    for code in RefuseCode::ALL {
        let mut w = World::new();
        w.kdc = Kdc::Refuses(*code);
        w.handshake();
        w.run_until(w.now + 30 * SECOND);
        assert!(w.client_seen.contains(&Seen::Failed(*code)), "{code}");
        assert!(w.requests.len() <= 4, "{code}: {}", w.requests.len());
        assert!(w.client_installs().is_empty());
    }
}

#[test]
fn an_unknown_device_is_refused_by_code() {
    let mut config = client_config();
    config.id = "mac:02:00:00:00:00:01".parse().unwrap();
    let mut w = World::with(config, gateway_config(), 1);
    w.handshake();
    w.run_until(w.now + 30 * SECOND);
    assert!(w.client_seen.contains(&Seen::Failed(RefuseCode::UnknownDevice)));
}

#[test]
fn a_client_with_the_gateways_key_swapped_for_another_gets_no_key() {
    // The box is for another client key: DELIVER does not verify, the client waits for a better one.
    let mut w = World::new();
    w.handshake_until_deliver();
    let deliver = w.to_client[0].clone();
    let mut config = client_config();
    config.key = DeviceKey::from_bytes([7; 32]);
    let mut stranger = ClientDelivery::new(config, rng(1));
    stranger.on_syn_sent(session(), R, OPTION, session().server.into(), w.now);
    stranger.on_datagram(deliver.src, deliver.dst, &deliver.bytes, w.now);
    assert_eq!(stranger.ignored().out_of_stage, 1);
    w.settle();
    w.assert_synchronised();
}

/// M4.20.
#[test]
fn a_spliced_service_or_option_is_refused_before_the_kdc_is_asked() {
    for (service, option, code) in [
        ("10.0.2.10:443", OPTION, RefuseCode::ServiceMismatch),
        ("10.0.2.11:80", OPTION, RefuseCode::ServiceMismatch),
        ("name:web", OPTION, RefuseCode::ServiceMismatch),
        ("10.0.2.10:80", [0; 13], RefuseCode::OptionMismatch),
    ] {
        let mut w = World::new();
        let service: Service = service.parse().unwrap();
        w.client.on_syn_sent(session(), R, option, service, w.now);
        w.syn_arrived();
        w.run_until(w.now + 30 * SECOND);
        assert!(w.requests.is_empty());
        assert!(w.client_seen.contains(&Seen::Failed(code)), "{code}: {:?}", w.client_seen);
        assert!(w.gateway_seen.contains(&Seen::Failed(code)), "{code}");
    }
}

#[test]
fn a_gateway_named_otherwise_than_its_invite_is_refused() {
    // A man in the middle puts another gateway's name into INVITE.
    let mut w = World::new();
    w.syn_sent();
    w.syn_arrived();
    w.step_gateway();
    let genuine = w.to_client.remove(0);
    let mut message = Message::decode(&genuine.bytes).unwrap();
    let Body::Invite(Invite { gateway, .. }) = &mut message.body else { panic!("INVITE") };
    *gateway = "name:gw2".parse().unwrap();
    w.give_client(&Datagram { bytes: message.encode(), ..genuine.clone() });
    w.settle();
    assert!(w.requests.is_empty());
    assert!(w.gateway_installs().is_empty());
    w.give_client(&genuine);
    w.settle();
    w.assert_synchronised();
}

/// M4.21.
#[test]
fn a_forged_identify_does_not_keep_the_genuine_one_out() {
    let mut w = World::new();
    w.syn_sent();
    w.syn_arrived();
    w.step_gateway();
    w.step_client();
    let genuine = w.to_gateway.remove(0);
    let mut forged = genuine.clone();
    *forged.bytes.last_mut().unwrap() ^= 1; // the authenticator
    w.give_gateway(&forged);
    assert!(w.gateway_seen.contains(&Seen::Send(REFUSE)));
    w.give_gateway(&genuine);
    w.settle();
    w.assert_synchronised();
    assert_eq!(w.requests.len(), 2);
}

/// M4.21.
#[test]
fn one_session_asks_the_kdc_at_most_four_times() {
    let mut w = World::new();
    w.syn_sent();
    w.syn_arrived();
    w.step_gateway();
    w.step_client();
    let genuine = w.to_gateway.remove(0);
    for bit in 0..8 {
        let mut forged = genuine.clone();
        *forged.bytes.last_mut().unwrap() ^= 1 << bit;
        w.give_gateway(&forged);
    }
    assert_eq!(w.requests.len(), 4);
    assert_eq!(w.gateway.ignored().over_budget, 4);
}

/// M4.17.
#[test]
fn a_refuse_without_mac_ends_nothing() {
    let hint = |code| Message::new_session(R, Body::Refuse(Refuse { code, mac: None })).encode();
    let mut w = World::new();
    w.syn_sent();
    w.syn_arrived();
    let (src, dst) = (w.to_gateway[0].dst, w.to_gateway[0].src);
    for code in RefuseCode::ALL {
        w.give_client(&Datagram { src, dst, bytes: hint(*code) });
        w.gateway.on_datagram(dst, src, &hint(*code), w.now);
    }
    assert_eq!((w.client.pending(), w.gateway.pending()), (1, 1));
    w.settle();
    w.assert_synchronised();
}

/// M4.12, M4.29.
#[test]
fn a_client_answers_four_invites_and_no_more() {
    let mut w = World::new();
    w.syn_sent();
    let (src, dst) = (w.to_gateway[0].dst, w.to_gateway[0].src);
    w.to_gateway.clear();
    for n in 0..10u8 {
        let invite = Invite { gateway: gateway_id(), cookie: vec![n; 40] };
        let bytes = Message::new_session(R, Body::Invite(invite)).encode();
        for _ in 0..2 {
            w.give_client(&Datagram { src, dst, bytes: bytes.clone() });
        }
    }
    assert_eq!(w.to_gateway.len(), 4);
    assert_eq!(w.client.ignored().over_budget, 12);
    let nonces: BTreeSet<_> = w
        .to_gateway
        .iter()
        .map(|sent| match Message::decode(&sent.bytes).unwrap().body {
            Body::Identify(identify) => identify.nonce,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(nonces.len(), 4, "a nonce for each");
}

#[test]
fn abandoned_exchanges_are_begun_anew_by_the_clients() {
    let mut w = World::new();
    w.kdc = Kdc::Slow;
    w.handshake();
    w.gateway.abandon_exchanges(w.now);
    w.drain();
    w.kdc = Kdc::Up;
    w.run_until(w.now + SECOND);
    w.assert_synchronised();
    let (exchange, request) = w.requests[0].clone();
    let late = kdc_answer(&request, &mut w.kdc_rng);
    w.gateway.on_kdc(exchange, Ok(&late), w.now);
    w.drain();
    w.assert_synchronised();
}

/// M5.6.
#[test]
fn a_grant_with_any_wrong_field_is_refused_by_the_end_it_is_for() {
    let wrong: [fn(&mut Grant); 9] = [
        |g| g.request_id ^= 1,
        |g| g.epoch += 1,
        |g| g.reason = Reason::Resync,
        |g| g.client = "name:bob".parse().unwrap(),
        |g| g.gateway = "name:gw2".parse().unwrap(),
        |g| g.service = "10.0.2.10:443".parse().unwrap(),
        |g| g.nonce[0] ^= 1,
        |g| g.gateway_nonce[0] ^= 1,
        |g| g.lifetime_seconds = 0,
    ];
    for (n, spoil) in wrong.iter().enumerate() {
        for at_gateway in [true, false] {
            let mut w = World::new();
            w.kdc = Kdc::Slow;
            w.handshake();
            let (exchange, request) = w.requests[0].clone();
            let answer = kdc_answer_with(&request, &mut w.kdc_rng, |right| {
                let mut spoilt = right.clone();
                spoil(&mut spoilt);
                if at_gateway { (right, spoilt) } else { (spoilt, right) }
            });
            w.gateway.on_kdc(exchange, Ok(&answer), w.now);
            w.drain();
            w.settle();
            assert_eq!(w.gateway_installs().is_empty(), at_gateway, "field {n}");
            assert!(w.client_installs().is_empty(), "field {n}");
            w.run_until(w.now + 30 * SECOND);
            assert!(w.client_seen.iter().any(|s| matches!(s, Seen::Failed(_))), "field {n}");
            assert!(w.gateway_seen.iter().any(|s| matches!(s, Seen::Failed(_))), "field {n}");
        }
    }
}

/// M4.28.
#[test]
fn datagrams_from_elsewhere_are_not_heard() {
    let (_, _, down) = recorded();
    let mut w = World::new();
    w.syn_sent();
    for datagram in &down {
        for src in ["10.0.2.11:1088", "10.0.2.10:1089"] {
            w.client.on_datagram(src.parse().unwrap(), datagram.dst, &datagram.bytes, w.now);
        }
    }
    assert_eq!(w.client.ignored().unknown, 2 * down.len() as u64);
}

/// M5.4.
#[test]
fn a_kdc_that_comes_back_in_time_saves_the_delivery() {
    let mut w = World::new();
    w.kdc = Kdc::Down;
    w.handshake();
    assert!(w.gateway_installs().is_empty());
    w.kdc = Kdc::Up;
    w.run_until(w.now + SECOND);
    w.assert_synchronised();
    assert_eq!(w.requests[0].1, w.requests[1].1, "the KDC sees the same request");
}

#[test]
fn a_kdc_that_does_not_answer_is_named_at_both_ends() {
    let mut w = World::new();
    w.kdc = Kdc::Slow;
    w.handshake();
    w.run_until(w.now + 30 * SECOND);
    for seen in [&w.gateway_seen, &w.client_seen] {
        assert!(seen.contains(&Seen::Failed(RefuseCode::KdcUnavailable)), "{seen:?}");
    }
    assert_eq!(w.requests.len(), 1, "the requester retries, not the delivery");
    // Its answer comes after all: nobody waits any more.
    let (exchange, request) = w.requests[0].clone();
    let answer = kdc_answer(&request, &mut w.kdc_rng);
    w.gateway.on_kdc(exchange, Ok(&answer), w.now);
    w.drain();
    assert!(w.gateway_installs().is_empty());
}

#[test]
fn a_repeated_answer_of_the_kdc_installs_once() {
    let mut w = World::new();
    w.kdc = Kdc::Slow;
    w.handshake();
    let (exchange, request) = w.requests[0].clone();
    let first = kdc_answer(&request, &mut w.kdc_rng);
    let second = kdc_answer(&request, &mut w.kdc_rng);
    for answer in [&first, &first, &second] {
        w.gateway.on_kdc(exchange, Ok(answer), w.now);
        w.drain();
    }
    w.settle();
    w.assert_synchronised();
}

/// M4.22.
#[test]
fn the_budget_of_a_source_and_of_all_bounds_kdc_requests() {
    let mut config = gateway_config();
    config.limits.source = (3, 1);
    config.limits.total = (5, 1);
    let mut gateway = GatewayDelivery::new(config, rng(3));
    let mut asked = Vec::new();
    for (address, expected) in [(2u8, 3usize), (3, 5), (4, 5)] {
        for n in 0..4u16 {
            asked.extend(connect(&mut gateway, address, n));
        }
        assert_eq!(asked.len(), expected, "after source {address}");
    }
    assert!(gateway.ignored().over_budget >= 7);
}

/// A client at 10.0.1.`address` runs up to IDENTIFY; gives the exchanges that it caused.
fn connect(gateway: &mut GatewayDelivery, address: u8, n: u16) -> Vec<u64> {
    use crate::delivery::{ClientOutput, GatewayOutput};
    let ip = std::net::Ipv4Addr::new(10, 0, 1, address);
    let request_id = u64::from(address) << 16 | u64::from(n);
    let session = SessionRef { client: (ip, 40_000 + n).into(), ..session() };
    let mut client = ClientDelivery::new(client_config(), rng(request_id));
    client.on_syn_sent(session, request_id, OPTION, session.server.into(), 0);
    gateway.on_syn(session, request_id, OPTION, 0);
    let mut exchanges = Vec::new();
    for _ in 0..3 {
        while let Some(output) = client.poll() {
            if let ClientOutput::Send { src, dst, datagram, .. } = output {
                gateway.on_datagram(src, dst, &datagram, 0);
            }
        }
        while let Some(output) = gateway.poll() {
            match output {
                GatewayOutput::Send { src, dst, datagram, .. } => {
                    client.on_datagram(src, dst, &datagram, 0);
                }
                GatewayOutput::KeyRequest { exchange, .. } => exchanges.push(exchange),
                _ => {}
            }
        }
    }
    exchanges
}

/// M4.16, M4.22.
#[test]
fn a_flood_of_syns_is_bounded_and_a_client_with_a_cookie_gets_through() {
    let mut config = gateway_config();
    config.limits.sessions = 8;
    config.limits.parked = 4;
    let mut w = World::with(client_config(), config, 1);
    w.syn_sent();
    w.syn_arrived();
    w.step_gateway();
    for n in 0..100u16 {
        let client = SocketAddr::from(([198, 51, 100, 1], 1000 + n));
        let flood = SessionRef { client, ..session() };
        w.gateway.on_syn(flood, u64::from(n), OPTION, w.now);
        w.drain();
        assert!(w.gateway.pending() <= 8);
    }
    let turned_away =
        w.gateway_seen.iter().filter(|s| **s == Seen::Failed(RefuseCode::Overloaded)).count();
    assert_eq!(turned_away, 92, "each SYN beyond the table pushes out one without a cookie");
    w.settle();
    w.assert_synchronised();
}

/// M4.19.
#[test]
fn parked_early_are_bounded_and_expire() {
    let mut config = gateway_config();
    config.limits.parked = 4;
    let mut gateway = GatewayDelivery::new(config, rng(3));
    let dst: SocketAddr = "10.0.2.10:1088".parse().unwrap();
    let src: SocketAddr = "10.0.1.2:1088".parse().unwrap();
    let early = |r| Message::new_session(r, Body::Early).encode();
    for r in 0..100 {
        gateway.on_datagram(src, dst, &early(r), r);
    }
    let mut invited = |r, server: &str, now| {
        let client = SocketAddr::from(([10, 0, 1, 2], 2000 + r as u16));
        let session = SessionRef { client, server: server.parse().unwrap(), client_isn: 1 };
        gateway.on_syn(session, r, OPTION, now);
        gateway.poll().is_some()
    };
    assert!(!invited(95, "10.0.2.10:80", 200), "the oldest gave way");
    assert!(!invited(96, "10.0.2.11:80", 200), "another server's");
    assert!(invited(97, "10.0.2.10:80", 200));
    assert!(invited(98, "10.0.2.10:80", 200));
    assert!(!invited(99, "10.0.2.10:80", 200 + 5 * SECOND), "expired");
}

#[test]
fn a_full_client_table_fails_at_once() {
    let mut config = client_config();
    config.limits.sessions = 1;
    let mut w = World::with(config, gateway_config(), 1);
    w.syn_sent();
    let other = SessionRef { client_isn: 1, ..session() };
    w.client.on_syn_sent(other, 2, OPTION, other.server.into(), w.now);
    w.drain();
    assert!(w.client_seen.contains(&Seen::Failed(RefuseCode::Overloaded)));
    assert_eq!(w.client.pending(), 1);
}

#[test]
fn a_syn_of_an_ended_handshake_fails_at_once_with_its_code() {
    let mut w = World::new();
    w.kdc = Kdc::Refuses(RefuseCode::RevokedDevice);
    w.handshake();
    w.client.on_closed(&session(), w.now);
    let end = w.now + 5 * SECOND;
    w.now = end;
    w.timers();
    assert!(w.gateway_seen.contains(&Seen::Failed(RefuseCode::RevokedDevice)));
    let before = w.gateway_seen.len();
    w.syn_arrived();
    assert_eq!(w.gateway_seen[before..], [Seen::Failed(RefuseCode::RevokedDevice)]);
    w.run_until(w.now + 30 * SECOND);
    assert_eq!(w.gateway.pending(), 0);
}

impl World {
    fn handshake_until_deliver(&mut self) {
        self.syn_sent();
        self.syn_arrived();
        self.step_gateway();
        self.step_client();
        self.step_gateway();
        assert_eq!(self.to_client[0].bytes[1], 3);
    }
}
