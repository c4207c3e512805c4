//! Floods and forgeries: what strangers send must not keep others out.

use sekisho_port::PortSide;

use super::harness::*;
use super::policy::tag_option;
use super::segments::*;
use crate::{
    CloseCause, Command, DropReason, Event, Policy, PortSet, Service, ServiceId, ServiceTable,
};

/// The SYN of another client as it comes from its agent: `sealed` with another source port.
fn of_port(sealed: &[u8], port: u16) -> Vec<u8> {
    forge(sealed, |frame, tcp| {
        let at = usize::from(tcp.l4);
        frame[at..at + 2].copy_from_slice(&port.to_be_bytes());
    })
}

#[test]
fn a_flood_of_requests_neither_keeps_others_out_nor_ends_what_has_keys() {
    let mut pair = Pair::new();
    pair.connect(CLIENT_ISN, SERVER_ISN, 1);
    let syn = Pair::new().seal_up(&pair.syn(77)).remove(0).bytes;
    // Table (64 sessions) and pool (32 frames) many times over; control keeps up.
    for port in 1..1000 {
        assert!(pair.gateway.take(PortSide::Cipher, &of_port(&syn, port)).is_empty());
        let requests = pair.gateway.events().into_iter();
        assert_eq!(requests.filter(|event| matches!(event, Event::Request { .. })).count(), 1);
    }
    assert_eq!(pair.gateway.sessions().len(), 64);
    assert_eq!(pair.gateway.dropped(DropReason::TableFull), 0);
    // An honest client among them is served while the flood goes on.
    let honest = of_port(&syn, 50_000);
    assert!(pair.gateway.take(PortSide::Cipher, &honest).is_empty());
    let name = pair
        .gateway
        .events()
        .into_iter()
        .find_map(|event| match event {
            Event::Request { flow, client_isn, generation, request_id, option, .. } => {
                Some(Name { flow, client_isn, generation, request_id, option })
            }
            _ => None,
        })
        .unwrap();
    for port in 1000..1020 {
        pair.gateway.take(PortSide::Cipher, &of_port(&syn, port));
    }
    let out = pair.gateway.install(&name, keys(2), (false, true));
    assert!(one(PortSide::Plain, out).tcp.flags.syn());
    for port in 2000..3000 {
        pair.gateway.take(PortSide::Cipher, &of_port(&syn, port));
        pair.gateway.events();
    }
    let sessions = pair.gateway.sessions();
    assert!(sessions.iter().any(|row| row.flow == name.flow && row.keyed));
    // The live session never noticed.
    let sealed = pair.seal_down(&pair.server_data(0, 0, CANARY));
    assert_eq!(pair.open_down(&sealed[0].bytes)[0].payload(), CANARY);
    // All that had no key goes when its wait is over, and no frame is left behind.
    for _ in 0..40 {
        pair.gateway.wait(1);
        pair.gateway.events();
    }
    assert_eq!(pair.gateway.sessions().len(), 1);
    pair.finish();
}

#[test]
fn a_flood_of_syns_without_request_leaves_room_under_prefer() {
    let mut pair = Pair::with(Policy::Prefer, v4());
    let gateway = &mut pair.gateway;
    let helper = Pair::new();
    let seg = |port: u16, seg: Seg| {
        let mut seg = seg;
        seg.src.set_port(port);
        seg.build()
    };
    let (syn, syn_ack, data) = (
        helper.syn(CLIENT_ISN).build(),
        helper.syn_ack(CLIENT_ISN, SERVER_ISN).build(),
        helper.client_data(0, 0, b"x").build(),
    );
    for (side, frame) in
        [(PortSide::Cipher, &syn), (PortSide::Plain, &syn_ack), (PortSide::Cipher, &data)]
    {
        assert_eq!(gateway.take(side, frame).len(), 1);
    }
    for port in 1..500 {
        assert_eq!(gateway.take(PortSide::Cipher, &seg(port, helper.syn(1))).len(), 1, "{port}");
    }
    assert_eq!(gateway.take(PortSide::Cipher, &data).len(), 1);
    for _ in 0..40 {
        gateway.wait(1);
    }
    assert_eq!(gateway.snapshot().clear_sessions, 1);
}

#[test]
fn a_forged_refusal_does_not_take_the_place_of_the_answer() {
    let mut pair = Pair::new();
    let syn = pair.syn(CLIENT_ISN);
    assert!(pair.up(&syn).is_empty());
    pair.agent_name = Some(pair.agent.request());
    pair.gateway_name = Some(pair.gateway.request());
    // Blind: addresses and ports are known, the ISN is not.
    let rst = pair.by_server(RST | ACK).ack(CLIENT_ISN.wrapping_add(2)).options(&tag_option());
    pair.agent.refuses(PortSide::Cipher, &rst.build(), DropReason::AckMismatch);
    let name = pair.gateway_name.unwrap();
    pair.gateway.install(&name, keys(1), (false, true));
    assert!(pair.down(&pair.syn_ack(CLIENT_ISN, SERVER_ISN)).is_empty(), "held");
    let name = pair.agent_name.unwrap();
    let out = pair.agent.install(&name, keys(1), (true, false));
    assert!(one(PortSide::Plain, out).tcp.flags.syn());
    // Nor does a blind ACK take the place of the one that waits at the gateway.
    let ack = pair.by_client(ACK).seq(CLIENT_ISN.wrapping_add(1));
    let ack = ack.ack(SERVER_ISN.wrapping_add(1));
    assert!(pair.up(&ack).is_empty(), "held");
    let mut forged = ack.clone();
    forged.ack = forged.ack.wrapping_add(1);
    pair.gateway.refuses(PortSide::Cipher, &forged.build(), DropReason::Unsynchronised);
    let name = pair.gateway_name.unwrap();
    let out = pair.gateway.synchronise(&name);
    assert_eq!(one(PortSide::Plain, out).tcp.ack.get(), SERVER_ISN.wrapping_add(1));
    assert_eq!(pair.gateway.abort(&name, CloseCause::Operator).len(), 1);
    pair.agent.abort(&pair.agent_name.unwrap(), CloseCause::Operator);
    pair.finish();
}

/// M7.20.
#[test]
fn a_session_of_a_service_that_is_taken_away_goes_on_in_cipher() {
    let mut pair = Pair::synced();
    let retired = Service {
        id: ServiceId(0),
        address: "10.0.2.10".parse().unwrap(),
        prefix_len: 32,
        ports: PortSet::All,
        policy: Policy::Require,
    };
    let table = ServiceTable::default().with_retired(&[retired]).unwrap();
    let table = std::sync::Arc::new(table);
    pair.gateway.command(Command::Services(table.clone()));
    pair.agent.command(Command::Services(table));
    assert_eq!(pair.down(&pair.server_data(0, 0, CANARY)).remove(0).payload(), CANARY);
    assert_eq!(pair.up(&pair.client_data(0, 0, CANARY)).remove(0).payload(), CANARY);
    // New connections pass as they are.
    let mut syn = pair.syn(5);
    syn.src.set_port(9);
    let syn = syn.build();
    assert_eq!(pair.gateway.take(PortSide::Cipher, &syn), [(PortSide::Plain, syn)]);
    pair.finish();
}

#[test]
fn options_of_ours_from_the_plain_side_never_reach_the_network() {
    for policy in [Policy::Off, Policy::Prefer] {
        let mut pair = Pair::with(policy, v4());
        let syn = pair.syn(CLIENT_ISN).build();
        assert_eq!(pair.gateway.take(PortSide::Cipher, &syn).len(), 1);
        let forged = pair.syn_ack(CLIENT_ISN, SERVER_ISN).options(&tag_option()).build();
        pair.gateway.refuses(PortSide::Plain, &forged, DropReason::OptionMisplaced);
        let forged = pair.server_data(0, 0, b"x").options(&tag_option()).build();
        pair.gateway.refuses(PortSide::Plain, &forged, DropReason::OptionMisplaced);
    }
    // An application's own request is taken off where the service is off.
    let mut pair = Pair::with(Policy::Off, v4());
    let asked = Pair::new().seal_up(&pair.syn(CLIENT_ISN)).remove(0).bytes;
    let out = one(PortSide::Cipher, pair.agent.take(PortSide::Plain, &asked));
    assert_eq!(out.ours(), None);
}

#[test]
fn a_flood_of_datagrams_leaves_room_for_the_events_of_sessions() {
    let mut pair = Pair::new();
    let datagram = super::policy::datagram(pair.client, pair.server, 1088, 1088, b"garbage");
    for _ in 0..200 {
        pair.gateway.take(PortSide::Cipher, &datagram);
    }
    assert!(pair.gateway.dropped(DropReason::EventRingFull) > 0);
    assert!(pair.up(&pair.syn(CLIENT_ISN)).is_empty());
    let events = pair.gateway.events();
    assert!(matches!(events.last(), Some(Event::Request { .. })));
    assert_eq!(events.len(), 48 + 1);
}
