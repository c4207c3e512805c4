//! The end of sessions: claim 2, and what must not end one.

use sekisho_port::PortSide;
use sekisho_session::State;

use super::harness::*;
use super::segments::*;
use crate::{CloseCause, DropReason};

/// Both FINs and their ACKs.
fn close(pair: &mut Pair) {
    let fin = Seg { flags: FIN | ACK, ..pair.client_data(0, 0, b"bye") };
    assert!(pair.up(&fin).remove(0).tcp.flags.fin());
    let fin = Seg { flags: FIN | ACK, ..pair.server_data(0, 4, b"") };
    assert!(pair.down(&fin).remove(0).tcp.flags.fin());
    assert_eq!(pair.gateway.sessions()[0].state, State::Synced);
    assert_eq!(pair.up(&pair.client_data(4, 1, b"")).len(), 1);
}

/// Draining, then gone: key wiped, control told why by agent and gateway, the gauge at zero, replays dropped.
fn drains_and_goes(pair: &mut Pair, causes: [CloseCause; 2], replay: &[u8]) {
    for (end, cause) in [&mut pair.agent, &mut pair.gateway].into_iter().zip(causes) {
        let rows = end.sessions();
        assert_eq!((rows[0].state, rows[0].keyed), (State::Draining, true));
        assert_eq!(end.snapshot().sessions[State::Draining.index()], 1);
        for _ in 0..13 {
            end.wait(1);
        }
        assert_eq!(end.closed(), [cause]);
        assert!(end.sessions().is_empty());
        assert_eq!(end.snapshot().sessions, [0; State::COUNT]);
    }
    pair.gateway.refuses(PortSide::Cipher, replay, DropReason::NoSession);
    pair.finish();
}

/// M7.15, M7.17.
#[test]
fn claim_2_after_both_fins_the_key_goes() {
    let mut pair = Pair::synced();
    let replay = pair.seal_up(&pair.client_data(0, 0, b"bye")).remove(0).bytes;
    close(&mut pair);
    // Hazard 33: while it drains, late retransmissions still pass.
    assert_eq!(pair.open_up(&replay).remove(0).payload(), b"bye");
    let fin = Seg { flags: FIN | ACK, ..pair.server_data(0, 4, b"") };
    assert_eq!(pair.down(&fin).len(), 1);
    drains_and_goes(&mut pair, [CloseCause::Finished; 2], &replay);
}

#[test]
fn the_last_ack_may_be_the_clients_or_the_servers() {
    for client_first in [true, false] {
        let mut pair = Pair::synced();
        let up = Seg { flags: FIN | ACK, ..pair.client_data(0, u64::from(!client_first), b"") };
        let down = Seg { flags: FIN | ACK, ..pair.server_data(0, u64::from(client_first), b"") };
        if client_first {
            pair.up(&up);
            pair.down(&down);
            pair.up(&pair.client_data(1, 1, b""));
        } else {
            pair.down(&down);
            pair.up(&up);
            pair.down(&pair.server_data(1, 1, b""));
        }
        assert_eq!(pair.agent.sessions()[0].state, State::Draining);
        assert_eq!(pair.gateway.sessions()[0].state, State::Draining);
        pair.finish();
    }
}

#[test]
fn the_last_ack_may_come_on_a_fin_that_is_repeated() {
    let mut pair = Pair::synced();
    let fin = |pair: &Pair, acked| Seg { flags: FIN | ACK, ..pair.client_data(0, acked, b"") };
    pair.up(&fin(&pair, 0));
    pair.down(&Seg { flags: FIN | ACK, ..pair.server_data(0, 1, b"") });
    assert_eq!(pair.agent.sessions()[0].state, State::Synced);
    assert_eq!(pair.gateway.sessions()[0].state, State::Synced);
    pair.up(&fin(&pair, 1));
    assert_eq!(pair.agent.sessions()[0].state, State::Draining);
    assert_eq!(pair.gateway.sessions()[0].state, State::Draining);
    pair.finish();
}

#[test]
fn half_closed_is_not_closed() {
    let mut pair = Pair::synced();
    let fin = Seg { flags: FIN | ACK, ..pair.client_data(0, 0, b"request") };
    pair.up(&fin);
    assert_eq!(pair.down(&pair.server_data(0, 8, CANARY)).remove(0).payload(), CANARY);
    assert_eq!(pair.gateway.sessions()[0].state, State::Synced);
    pair.gateway.wait(100);
    assert_eq!(pair.down(&pair.server_data(19, 8, CANARY)).remove(0).payload(), CANARY);
    // Data behind its FIN contradicts it.
    let more = pair.client_data(8, 0, b"more").build();
    pair.agent.refuses(PortSide::Plain, &more, DropReason::BeyondFin);
    pair.finish();
}

/// M7.15, M7.16.
#[test]
fn claim_2_after_a_reset_the_key_goes() {
    for from_client in [true, false] {
        let mut pair = Pair::synced();
        let replay = pair.seal_up(&pair.client_data(0, 0, CANARY)).remove(0).bytes;
        pair.open_up(&replay);
        pair.down(&pair.server_data(0, 19, b"x"));
        let passed = if from_client {
            pair.up(&Seg { flags: RST | ACK, ..pair.client_data(19, 1, b"") })
        } else {
            pair.down(&Seg { flags: RST | ACK, ..pair.server_data(1, 19, b"") })
        };
        assert!(passed[0].tcp.flags.rst() && passed[0].ours().is_none());
        drains_and_goes(&mut pair, [CloseCause::Reset; 2], &replay);
    }
}

#[test]
fn a_reset_elsewhere_passes_and_ends_nothing() {
    let mut pair = Pair::synced();
    pair.up(&pair.client_data(0, 0, CANARY));
    pair.down(&pair.server_data(0, 19, b""));
    let old = Seg { flags: RST, ..pair.client_data(5, 0, b"") };
    assert_eq!(pair.up(&old).len(), 1);
    let ahead = Seg { flags: RST, ..pair.client_data(500, 0, b"") };
    assert_eq!(pair.up(&ahead).len(), 1);
    assert_eq!(pair.agent.sessions()[0].state, State::Synced);
    assert_eq!(pair.gateway.sessions()[0].state, State::Synced);
    pair.finish();
}

#[test]
fn claim_2_after_idle_the_key_goes() {
    let mut pair = Pair::synced();
    let replay = pair.seal_up(&pair.client_data(0, 0, CANARY)).remove(0).bytes;
    pair.open_up(&replay);
    for end in [&mut pair.agent, &mut pair.gateway] {
        end.wait(3 * 3600 - 2);
        assert_eq!(end.sessions()[0].state, State::Synced);
        for _ in 0..6 {
            end.wait(1);
        }
    }
    drains_and_goes(&mut pair, [CloseCause::Idle; 2], &replay);
}

/// M7.9.
#[test]
fn hazard_35_what_is_not_authenticated_keeps_nothing_alive() {
    let mut pair = Pair::synced();
    let ack = pair.client_data(0, 0, b"").build();
    for _ in 0..4 {
        pair.gateway.wait(3600);
        pair.gateway.take(PortSide::Cipher, &ack);
    }
    pair.gateway.wait(1);
    let state = pair.gateway.sessions().first().map(|row| row.state);
    assert_ne!(state, Some(State::Synced));
    // The hosts' own keep-alive, answered from the plain side, does.
    let mut pair = Pair::synced();
    for _ in 0..4 {
        pair.gateway.wait(3600);
        pair.gateway.take(PortSide::Plain, &pair.server_data(0, 0, b"").build());
    }
    assert_eq!(pair.gateway.sessions()[0].state, State::Synced);
}

/// M7.24: both hosts are told behind what they were sent, the far one under a tag that ends the session there too.
#[test]
fn what_the_operator_closes_is_reset_at_both_hosts() {
    for at_gateway in [true, false] {
        let mut pair = Pair::synced();
        let replay = pair.seal_up(&pair.client_data(0, 0, CANARY)).remove(0).bytes;
        pair.open_up(&replay);
        pair.down(&pair.server_data(0, 0, b"answer"));
        let (near, far, name) = match at_gateway {
            true => (&mut pair.gateway, &mut pair.agent, pair.gateway_name),
            false => (&mut pair.agent, &mut pair.gateway, pair.agent_name),
        };
        let (to_plain, to_cipher): (Vec<_>, Vec<_>) =
            near.close(&name.unwrap()).into_iter().partition(|(side, _)| *side == PortSide::Plain);
        let sealed = one(PortSide::Cipher, to_cipher);
        let to_far = far.take(PortSide::Cipher, &sealed.bytes);
        let (to_near, to_far) = (one(PortSide::Plain, to_plain), one(PortSide::Plain, to_far));
        let (to_server, to_client) = if at_gateway { (to_near, to_far) } else { (to_far, to_near) };
        let ends = [
            (&to_server, pair.server, CLIENT_ISN.wrapping_add(1 + CANARY.len() as u32)),
            (&to_client, pair.client, SERVER_ISN + 1 + b"answer".len() as u32),
        ];
        for (reset, host, next) in ends {
            assert!(reset.tcp.flags.rst());
            assert_eq!((reset.view.destination(), reset.seq().get()), (Some(host), next));
        }
        // What is under way still opens, and is answered by a host that knows nothing of it.
        assert_eq!(pair.open_up(&replay).remove(0).payload(), CANARY);
        let near = if at_gateway { &mut pair.gateway } else { &mut pair.agent };
        assert!(near.close(&name.unwrap()).is_empty(), "a second word changes nothing");
        let mut causes = [CloseCause::Operator, CloseCause::Reset];
        if at_gateway {
            causes.reverse();
        }
        drains_and_goes(&mut pair, causes, &replay);
    }
}

/// Nobody has heard of it yet but the client, whose own box gives up.
#[test]
fn a_session_without_keys_goes_at_the_operators_word() {
    let mut pair = Pair::new();
    pair.up(&pair.syn(CLIENT_ISN));
    let (agent, gateway) = (pair.agent.request(), pair.gateway.request());
    assert!(pair.gateway.close(&gateway).is_empty());
    assert_eq!(pair.gateway.closed(), [CloseCause::Operator]);
    assert!(one(PortSide::Plain, pair.agent.close(&agent)).tcp.flags.rst());
    assert_eq!(pair.agent.closed(), [CloseCause::Operator]);
    pair.finish();
}

#[test]
fn time_wait_reuse_while_it_drains() {
    let mut pair = Pair::synced();
    close(&mut pair);
    // The same SYN again is an old duplicate, a new one is a new connection.
    let old = pair.syn(CLIENT_ISN).build();
    pair.agent.refuses(PortSide::Plain, &old, DropReason::SynRepeated);
    pair.connect(500_000_000, 600_000_000, 3);
    assert_eq!(pair.gateway.closed(), [CloseCause::Replaced]);
    assert_eq!(pair.gateway.sessions().len(), 1);
    let data = pair.by_client(ACK).seq(500_000_001).ack(600_000_001).payload(CANARY);
    assert_eq!(pair.up(&data).remove(0).payload(), CANARY);
    pair.finish();
}

#[test]
fn a_worker_that_stops_wipes_everything_and_gives_all_frames_back() {
    let mut pair = Pair::synced();
    pair.up(&pair.syn(7));
    let now = pair.gateway.now;
    pair.gateway.events();
    pair.gateway.worker.shut_down(&mut pair.gateway.io, now);
    assert_eq!(pair.gateway.closed(), [CloseCause::Stopped; 2]);
    assert!(pair.gateway.sessions().is_empty());
    pair.gateway.assert_empty_hands();
}
