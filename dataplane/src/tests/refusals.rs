//! Connections that do not come about: refused by the server, by us, or by silence.

use sekisho_port::PortSide;
use sekisho_session::State;
use sekisho_wire::SekishoOption;

use super::harness::*;
use super::segments::*;
use crate::{CloseCause, DropReason, Policy, Refusal, Role};

/// M2.13.
#[test]
fn hazard_40_signed_segments_are_refused() {
    let mut md5 = vec![19, 18];
    md5.resize(18, 0xaa);
    md5.resize(20, 1);
    let ao = [29, 16, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for options in [&md5[..], &ao] {
        let mut pair = Pair::new();
        let syn = pair.syn(CLIENT_ISN).options(options).build();
        let out = pair.agent.take(PortSide::Plain, &syn);
        let reset = one(PortSide::Plain, out);
        assert!(reset.tcp.flags.contains(RST | ACK));
        assert_eq!(reset.tcp.ack.get(), CLIENT_ISN.wrapping_add(1));
        assert_eq!(pair.agent.dropped(DropReason::TcpMd5Ao), 1);
        let out = pair.gateway.take(PortSide::Cipher, &syn);
        assert!(one(PortSide::Cipher, out).tcp.flags.rst());
        assert!(pair.agent.events().is_empty() && pair.gateway.events().is_empty());
        // In the SYN-ACK as well.
        pair.up(&pair.syn(7));
        let gateway = pair.gateway.request();
        pair.gateway.install(&gateway, keys(1), (false, true));
        let syn_ack = pair.syn_ack(7, SERVER_ISN).options(options).build();
        pair.gateway.refuses(PortSide::Plain, &syn_ack, DropReason::TcpMd5Ao);
    }
}

/// M7.4.
#[test]
fn hazard_39_a_refused_connection_fails_at_once() {
    for key_first in [false, true] {
        let mut pair = Pair::new();
        pair.up(&pair.syn(CLIENT_ISN));
        let (agent, gateway) = (pair.agent.request(), pair.gateway.request());
        let rst = pair.by_server(RST | ACK).ack(CLIENT_ISN.wrapping_add(1)).options(&[]);
        let stray = rst.clone().ack(CLIENT_ISN).build();
        pair.gateway.refuses(PortSide::Plain, &rst.build(), DropReason::Unsynchronised);
        pair.gateway.install(&gateway, keys(1), (false, true));
        pair.gateway.refuses(PortSide::Plain, &stray, DropReason::AckMismatch);
        let sealed = pair.seal_down(&rst.clone().payload(b"closed")).remove(0);
        assert!(matches!(sealed.ours(), Some(SekishoOption::Tag(_))));
        assert_eq!(sealed.payload(), b"", "a diagnosis has no offset");
        let forged = forge(&sealed.bytes, |frame, tcp| frame[usize::from(tcp.l4) + 30] ^= 1);
        if key_first {
            assert!(pair.agent.install(&agent, keys(1), (true, false)).is_empty());
            pair.agent.refuses(PortSide::Cipher, &forged, DropReason::BadTag);
            let got = pair.open_down(&sealed.bytes).remove(0);
            assert!(got.tcp.flags.contains(RST | ACK) && got.ours().is_none());
        } else {
            assert!(pair.open_down(&sealed.bytes).is_empty(), "held until the key is here");
            let out = pair.agent.install(&agent, keys(1), (true, false));
            let got = one(PortSide::Plain, out);
            assert!(got.tcp.flags.contains(RST | ACK) && got.ours().is_none());
        }
        // A SYN that comes again is refused again, while the session drains.
        assert_eq!(pair.up(&pair.syn(CLIENT_ISN)).len(), 1);
        assert_eq!(pair.down(&rst).len(), 1);
        for end in [&mut pair.agent, &mut pair.gateway] {
            assert_eq!(end.sessions()[0].state, State::Draining);
            end.wait(12);
            end.wait(2);
            assert_eq!(end.closed(), [CloseCause::Refused]);
        }
        pair.finish();
    }
}

#[test]
fn a_forged_refusal_that_was_held_does_not_pass() {
    let mut pair = Pair::new();
    pair.up(&pair.syn(CLIENT_ISN));
    let (agent, gateway) = (pair.agent.request(), pair.gateway.request());
    pair.gateway.install(&gateway, keys(1), (false, true));
    let rst = pair.by_server(RST | ACK).ack(CLIENT_ISN.wrapping_add(1)).options(&[]);
    let sealed = pair.seal_down(&rst).remove(0);
    let forged = forge(&sealed.bytes, |frame, tcp| frame[usize::from(tcp.l4) + 30] ^= 1);
    assert!(pair.open_down(&forged).is_empty());
    assert!(pair.agent.install(&agent, keys(1), (true, false)).is_empty());
    assert_eq!(pair.agent.dropped(DropReason::BadTag), 1);
    assert_eq!(pair.agent.sessions()[0].state, State::Synced);
    assert_eq!(pair.open_down(&sealed.bytes).len(), 1, "the true one still does");
    pair.finish();
}

#[test]
fn hazard_11_simultaneous_open_is_refused() {
    let mut pair = Pair::new();
    let syn = pair.by_server(SYN).seq(5).options(&SYN_OPTIONS).build();
    pair.gateway.refuses(PortSide::Plain, &syn, DropReason::SimultaneousOpen);
    pair.agent.refuses(PortSide::Cipher, &syn, DropReason::SimultaneousOpen);
    let syn_ack = pair.by_client(SYN | ACK).build();
    pair.gateway.refuses(PortSide::Cipher, &syn_ack, DropReason::SimultaneousOpen);
}

#[test]
fn silence_where_it_is_configured() {
    let mut quiet = config(Role::Gateway, Policy::Require);
    quiet.refusal = Refusal::Silence;
    let mut gateway = End::new(quiet);
    let syn = Pair::new().syn(5).build();
    gateway.refuses(PortSide::Cipher, &syn, DropReason::NoRequest);
}
