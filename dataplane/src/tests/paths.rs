//! Connections that one end, or one direction of the path, does not know of.

use sekisho_port::PortSide;

use super::harness::*;
use super::segments::*;
use crate::{DropReason, PathTrouble, Policy, Role};

/// M7.23: the client and its agent were restarted, server and gateway were not.
#[test]
fn a_half_open_server_is_told_that_its_connection_is_no_more() {
    for ends in [v4(), v6()] {
        let mut pair = Pair::synced_over(ends);
        pair.agent = End::new(config(Role::Client, Policy::Require));
        let isn = CLIENT_ISN.wrapping_add(70_000);
        assert!(pair.up(&pair.syn(isn)).is_empty(), "held");
        let (agent, gateway) = (pair.agent.request(), pair.gateway.request());
        assert_eq!(pair.gateway.install(&gateway, keys(2), (false, true)).len(), 1);
        pair.agent.install(&agent, keys(2), (true, false));
        // What the server has to say about the SYN belongs to the old connection (RFC 5961).
        let challenge = pair.server_data(0, 0, b"").build();
        let out = pair.gateway.take(PortSide::Plain, &challenge);
        assert_eq!(on(PortSide::Cipher, out).len(), 1, "a vouched candidate ends nothing yet");
        pair.gateway.synchronise(&gateway);
        let reset = one(PortSide::Plain, pair.gateway.take(PortSide::Plain, &challenge));
        assert_eq!(reset.tcp.flags, RST);
        assert_eq!(reset.seq().get(), CLIENT_ISN.wrapping_add(1), "where the server takes it");
        assert_eq!((reset.view.src, reset.view.dst), (ends.0.ip(), ends.1.ip()));
        assert_eq!(pair.gateway.dropped(DropReason::HalfOpen), 1);
        // The SYN comes again, and now the server accepts it.
        assert_eq!(pair.up(&pair.syn(isn)).len(), 1);
        assert_eq!(pair.down(&pair.syn_ack(isn, SERVER_ISN)).len(), 1);
        // From now on an ACK is the connection's own.
        let ack = pair.server_data(0, 0, b"").ack(isn).build();
        let out = pair.gateway.take(PortSide::Plain, &ack);
        assert_eq!(on(PortSide::Cipher, out).len(), 1);
        assert_eq!(pair.gateway.dropped(DropReason::HalfOpen), 1);
        pair.gateway.assert_empty_hands();
    }
}

/// The server's direction runs past the boxes: what goes the other way says so, at both.
#[test]
fn hazard_27_a_client_whose_syn_ack_never_came_by_is_named() {
    for ends in [v4(), v6()] {
        let mut pair = Pair::with(Policy::Require, ends);
        pair.up(&pair.syn(CLIENT_ISN));
        let (agent, gateway) = (pair.agent.request(), pair.gateway.request());
        pair.gateway.install(&gateway, keys(1), (true, true));
        pair.agent.install(&agent, keys(1), (true, false));
        assert_eq!(pair.gateway.sessions()[0].trouble, None, "it may still come");
        assert_eq!(pair.up(&pair.client_data(0, 0, CANARY)).len(), 1);
        for end in [&mut pair.agent, &mut pair.gateway] {
            assert_eq!(end.sessions()[0].trouble, Some(PathTrouble::Asymmetric));
            assert_eq!(end.snapshot().tallies.asymmetric, 1);
        }
        // Both directions this way: no trouble.
        let mut whole = Pair::synced_over(ends);
        assert_eq!(whole.up(&whole.client_data(0, 0, CANARY)).len(), 1);
        assert_eq!(whole.gateway.sessions()[0].trouble, None);
        assert_eq!(whole.gateway.snapshot().tallies.asymmetric, 0);
    }
}
