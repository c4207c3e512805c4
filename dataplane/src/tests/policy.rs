//! Policies per service, what passes in clear and what never does, key-delivery datagrams, and
//! frames that do not belong here.

use std::net::SocketAddr;

use sekisho_port::PortSide;
use sekisho_wire::build::udp_datagram;
use sekisho_wire::{L2Header, SekishoOption};

use super::harness::*;
use super::segments::*;
use crate::{CloseCause, Command, DropReason, Event, Policy, Role};

pub(super) fn datagram(
    mut src: SocketAddr,
    mut dst: SocketAddr,
    src_port: u16,
    dst_port: u16,
    payload: &[u8],
) -> Vec<u8> {
    src.set_port(src_port);
    dst.set_port(dst_port);
    let mut frame = vec![0; 2000];
    let l2 = L2Header::new(SERVER_MAC, CLIENT_MAC);
    let len = udp_datagram(&l2, src, dst, payload, &mut frame).unwrap();
    frame.truncate(len);
    frame
}

#[test]
fn require_refuses_a_syn_without_request() {
    let mut pair = Pair::new();
    let out = pair.gateway.take(PortSide::Cipher, &pair.syn(CLIENT_ISN).build());
    let reset = one(PortSide::Cipher, out);
    assert!(reset.tcp.flags.contains(RST | ACK));
    assert_eq!(reset.tcp.ack.get(), CLIENT_ISN.wrapping_add(1));
    assert_eq!(&reset.l2().as_bytes()[..12], &[CLIENT_MAC, SERVER_MAC].concat()[..]);
    assert_eq!(pair.gateway.dropped(DropReason::NoRequest), 1);
    assert_eq!(pair.gateway.snapshot().tallies.refused, 1);
    assert!(pair.gateway.events().is_empty());
    // And nothing in mid-stream passes (hazard 37).
    for frame in [pair.client_data(0, 0, CANARY), pair.client_data(0, 0, b"")] {
        pair.gateway.refuses(PortSide::Cipher, &frame.build(), DropReason::NoSession);
        pair.agent.refuses(PortSide::Plain, &frame.build(), DropReason::NoSession);
    }
    for frame in [pair.server_data(0, 0, CANARY), pair.syn_ack(1, 2)] {
        pair.gateway.refuses(PortSide::Plain, &frame.build(), DropReason::NoSession);
        pair.agent.refuses(PortSide::Cipher, &frame.build(), DropReason::NoSession);
    }
}

/// M7.14.
#[test]
fn prefer_passes_what_began_in_clear_and_nothing_else() {
    let mut pair = Pair::with(Policy::Prefer, v4());
    let gateway = &mut pair.gateway;
    // Hazard 37: unknown segments in mid-stream never pass.
    let (client, server) = v4();
    let helper = Pair::with(Policy::Prefer, (client, server));
    let data = helper.client_data(0, 0, CANARY).build();
    let answer = helper.server_data(0, 0, CANARY).build();
    gateway.refuses(PortSide::Cipher, &data, DropReason::NoSession);
    gateway.refuses(PortSide::Plain, &answer, DropReason::NoSession);
    // Begun by a SYN without request, it passes as it is.
    let syn = helper.syn(CLIENT_ISN).build();
    assert_eq!(gateway.take(PortSide::Cipher, &syn), [(PortSide::Plain, syn.clone())]);
    let syn_ack = helper.syn_ack(CLIENT_ISN, SERVER_ISN).build();
    assert_eq!(gateway.take(PortSide::Plain, &syn_ack), [(PortSide::Cipher, syn_ack)]);
    assert_eq!(gateway.take(PortSide::Cipher, &data), [(PortSide::Plain, data.clone())]);
    assert_eq!(gateway.take(PortSide::Plain, &answer), [(PortSide::Cipher, answer)]);
    let counted = gateway.snapshot();
    assert_eq!((counted.clear_sessions, counted.tallies.sessions_clear), (1, 1));
    assert_eq!(counted.tallies.passed_clear, 4);
    // Hazard 32: our options do not reach the server that way either.
    let tagged = helper.client_data(0, 0, CANARY).options(&tag_option()).build();
    gateway.refuses(PortSide::Cipher, &tagged, DropReason::OptionMisplaced);
    // Reset and lingered, it is unknown again.
    let rst = helper.client_data(0, 0, b"");
    let rst = Seg { flags: RST | ACK, ..rst }.build();
    assert_eq!(gateway.take(PortSide::Cipher, &rst).len(), 1);
    for _ in 0..20 {
        gateway.wait(1);
    }
    assert_eq!(gateway.snapshot().clear_sessions, 0);
    gateway.refuses(PortSide::Cipher, &data, DropReason::NoSession);
    gateway.assert_empty_hands();
}

pub(super) fn tag_option() -> Vec<u8> {
    let mut option = vec![253, 16, 0x5e, 0x50];
    option.resize(16, 0xaa);
    option
}

#[test]
fn prefer_goes_on_in_clear_where_there_is_no_gateway() {
    let mut pair = Pair::with(Policy::Prefer, v4());
    let sent = pair.seal_up(&pair.syn(CLIENT_ISN)).remove(0);
    assert!(sent.ours().is_some());
    pair.agent.request();
    let syn_ack = pair.syn_ack(CLIENT_ISN, SERVER_ISN).build();
    let out = pair.agent.take(PortSide::Cipher, &syn_ack);
    assert_eq!(out, [(PortSide::Plain, syn_ack)]);
    assert_eq!(pair.agent.closed(), [CloseCause::Clear]);
    let data = pair.client_data(0, 0, b"hello").build();
    assert_eq!(pair.agent.take(PortSide::Plain, &data), [(PortSide::Cipher, data)]);
    assert_eq!(pair.agent.snapshot().tallies.sessions_clear, 1);

    // Its refusal passes as well.
    let mut pair = Pair::with(Policy::Prefer, v4());
    pair.seal_up(&pair.syn(CLIENT_ISN));
    pair.agent.request();
    let rst = pair.by_server(RST | ACK).ack(CLIENT_ISN.wrapping_add(1)).options(&[]).build();
    assert_eq!(pair.agent.take(PortSide::Cipher, &rst), [(PortSide::Plain, rst.clone())]);
    assert_eq!(pair.agent.closed(), [CloseCause::Clear]);
    // Under `require` it does not.
    let mut pair = Pair::new();
    pair.seal_up(&pair.syn(CLIENT_ISN));
    pair.agent.request();
    pair.agent.refuses(PortSide::Cipher, &rst, DropReason::Unsynchronised);
}

#[test]
fn prefer_never_falls_back_once_a_key_is_here() {
    let mut pair = Pair::with(Policy::Prefer, v4());
    pair.connect(CLIENT_ISN, SERVER_ISN, 1);
    let bare = pair.syn_ack(CLIENT_ISN, SERVER_ISN).build();
    pair.agent.refuses(PortSide::Cipher, &bare, DropReason::NoAccept);
    // A SYN without request on a ciphered tuple opens no way in clear.
    let syn = pair.syn(99).build();
    pair.gateway.refuses(PortSide::Cipher, &syn, DropReason::NoRequest);
    let clear = pair.client_data(0, 0, CANARY).build();
    pair.gateway.refuses(PortSide::Cipher, &clear, DropReason::TagMissing);
    assert_eq!(pair.up(&pair.client_data(0, 0, CANARY)).len(), 1);
    pair.finish();
}

#[test]
fn a_spoofed_request_does_not_end_a_connection_in_clear() {
    let mut pair = Pair::with(Policy::Prefer, v4());
    let syn = pair.syn(CLIENT_ISN).build();
    pair.gateway.take(PortSide::Cipher, &syn);
    let data = pair.client_data(0, 0, b"in clear by policy").build();
    assert_eq!(pair.gateway.take(PortSide::Cipher, &data).len(), 1);
    let spoofed = pair.seal_up(&pair.syn(7)).remove(0);
    assert!(pair.open_up(&spoofed.bytes).is_empty());
    let name = pair.gateway.request();
    let answer = pair.server_data(0, 0, b"still").build();
    assert_eq!(pair.gateway.take(PortSide::Cipher, &data).len(), 1);
    assert_eq!(pair.gateway.take(PortSide::Plain, &answer).len(), 1);
    // Vouched for, the new connection is the only one: no clear way is left.
    pair.gateway.install(&name, keys(1), (false, true));
    pair.gateway.refuses(PortSide::Plain, &answer, DropReason::Unsynchronised);
    pair.gateway.refuses(PortSide::Cipher, &data, DropReason::Unsynchronised);
    assert_eq!(pair.gateway.snapshot().clear_sessions, 0);
}

#[test]
fn off_passes_untouched() {
    let mut pair = Pair::with(Policy::Off, v4());
    let frames = [
        (PortSide::Cipher, pair.syn(1).payload(b"fast open")),
        (PortSide::Cipher, pair.client_data(0, 0, CANARY)),
        (PortSide::Plain, pair.server_data(0, 0, CANARY)),
        (PortSide::Plain, pair.by_server(SYN)),
    ];
    for (side, seg) in frames {
        let frame = seg.build();
        assert_eq!(pair.gateway.take(side, &frame), [(side.other(), frame)]);
    }
    // Hazard 32: in no state do our options reach the plain side.
    let agent = Pair::new().seal_up(&pair.syn(1)).remove(0);
    assert!(matches!(agent.ours(), Some(SekishoOption::Request(_))));
    let out = pair.gateway.take(PortSide::Cipher, &agent.bytes);
    assert_eq!(one(PortSide::Plain, out).ours(), None);
    let tagged = pair.client_data(0, 0, CANARY).options(&tag_option()).build();
    pair.gateway.refuses(PortSide::Cipher, &tagged, DropReason::OptionMisplaced);
    assert!(pair.gateway.events().is_empty() && pair.gateway.sessions().is_empty());
}

#[test]
fn services_can_change_under_way() {
    let mut pair = Pair::synced();
    assert!(pair.gateway.command(Command::Services(services(Policy::Off))).is_empty());
    // The live session stays what it is.
    assert_eq!(pair.up(&pair.client_data(0, 0, CANARY)).remove(0).payload(), CANARY);
    pair.gateway.command(Command::Services(Default::default()));
    let mut other = pair.syn(1);
    other.src.set_port(9);
    pair.gateway.refuses(PortSide::Cipher, &other.build(), DropReason::NotAService);
    pair.finish();
}

#[test]
fn frames_that_do_not_belong_here() {
    let mut pair = Pair::new();
    let mut foreign = pair.syn(1);
    foreign.dst.set_port(81);
    pair.gateway.refuses(PortSide::Cipher, &foreign.build(), DropReason::NotAService);
    // The protected address as source on the cipher side of a gateway: wiring or spoofing.
    let wrong = pair.server_data(0, 0, CANARY).build();
    pair.gateway.refuses(PortSide::Cipher, &wrong, DropReason::WrongSide);
    let wrong = pair.client_data(0, 0, CANARY).build();
    pair.gateway.refuses(PortSide::Plain, &wrong, DropReason::WrongSide);
    let dns = datagram(pair.client, pair.server, 53, 53, CANARY);
    pair.gateway.refuses(PortSide::Cipher, &dns, DropReason::UnexpectedProtocol);
    for flags in [FIN | SYN, SYN | RST, FIN | RST | ACK, PSH] {
        let frame = Seg { flags, ..pair.client_data(0, 0, b"x") }.build();
        pair.gateway.refuses(PortSide::Cipher, &frame, DropReason::BadFlags);
    }
    let mut long = pair.client_data(0, 0, &[7; 1500]).build();
    pair.gateway.refuses(PortSide::Cipher, &long, DropReason::MtuExceeded);
    pair.agent.refuses(PortSide::Plain, &long, DropReason::MtuExceeded);
    long.truncate(600);
    pair.agent.refuses(PortSide::Plain, &long, DropReason::LengthMismatch);
}

#[test]
fn key_delivery_goes_to_control_from_the_cipher_side_only() {
    for ends in [v4(), v6()] {
        let mut pair = Pair::with(Policy::Require, ends);
        let (client, server) = ends;
        let early = datagram(client, server, 1088, 1088, &[5; 1200]);
        assert!(pair.gateway.take(PortSide::Cipher, &early).is_empty());
        let events = pair.gateway.events();
        let [Event::Datagram { src, dst, bytes, l2, side, .. }] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!((src.ip(), src.port(), dst.ip()), (client.ip(), 1088, server.ip()));
        assert_eq!((&bytes[..], l2.len(), *side), (&[5; 1200][..], 14, PortSide::Cipher));
        // Through a NAT the client's port is another one, the server's is not.
        let natted = datagram(client, server, 2222, 1088, b"x");
        pair.gateway.take(PortSide::Cipher, &natted);
        assert_eq!(pair.gateway.events().len(), 1);
        pair.gateway.refuses(PortSide::Plain, &early, DropReason::KdpFromPlain);
        pair.agent.refuses(PortSide::Plain, &early, DropReason::KdpFromPlain);
        let long = datagram(client, server, 1088, 1088, &[5; 1201]);
        pair.gateway.refuses(PortSide::Cipher, &long, DropReason::KdpLength);
        let empty = datagram(client, server, 1088, 1088, b"");
        pair.gateway.refuses(PortSide::Cipher, &empty, DropReason::KdpLength);
        let mut broken = early.clone();
        *broken.last_mut().unwrap() ^= 1;
        pair.gateway.refuses(PortSide::Cipher, &broken, DropReason::BadChecksum);
        // The answer goes out as control made it.
        let frame = crate::FrameBuf::from_slice(&early).unwrap();
        let out = pair.gateway.command(Command::Transmit { side: PortSide::Cipher, frame });
        assert_eq!(out, [(PortSide::Cipher, early)]);
        pair.gateway.assert_empty_hands();
    }
}

#[test]
fn pages_of_sessions() {
    let mut small = config(Role::Client, Policy::Require);
    small.sessions = 16;
    let mut agent = End::new(small);
    for port in 1..=5 {
        let mut syn = Pair::new().syn(u32::from(port));
        syn.src.set_port(port);
        agent.take(PortSide::Plain, &syn.build());
    }
    let (mut cursor, mut seen) = (Some(0), Vec::new());
    while let Some(at) = cursor {
        let (reply, page) = crossbeam::channel::bounded(1);
        let rows = Vec::with_capacity(2);
        agent.command(Command::ListSessions { cursor: at, rows, reply });
        let page = page.recv().unwrap();
        assert!(page.rows.len() <= 2);
        seen.extend(page.rows.iter().map(|row| row.flow.client().port()));
        cursor = page.next;
    }
    seen.sort_unstable();
    assert_eq!(seen, [1, 2, 3, 4, 5]);
}
