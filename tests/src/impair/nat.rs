//! Ports rewritten as an address translator does: a client's flow leaves with a port of the box's
//! choice, answers get the old one back. Addresses stay: the box answers no neighbour discovery.

use std::collections::HashMap;
use std::net::SocketAddr;

use sekisho_wire::{FrameView, Transport};

use super::edit::{put16, with_checksum};
use super::spec::Way;

/// The first port given out: apart from what hosts choose themselves.
const FIRST_PORT: u16 = 10_000;
/// So many are given out in turn.
const PORTS: u16 = 20_000;

/// A flow: whether it is TCP, the client as one side knows it, the server.
type Key = (bool, SocketAddr, SocketAddr);

/// The table of translations.
#[derive(Debug, Default)]
pub(super) struct Nat {
    enabled: bool,
    given: u16,
    outward: HashMap<Key, u16>,
    inward: HashMap<Key, u16>,
}

impl Nat {
    pub(super) fn new(enabled: bool) -> Self {
        Self { enabled, ..Self::default() }
    }

    /// Rewrites a packet; whether it changed.
    pub(super) fn apply(&mut self, frame: &mut [u8], view: &FrameView, way: Way) -> bool {
        if !self.enabled {
            return false;
        }
        let tcp = matches!(view.transport, Transport::Tcp(_));
        let (Some(src), Some(dst)) = (view.source(), view.destination()) else { return false };
        let l4 = usize::from(view.l4);
        let (at, port) = match way {
            Way::Up => (l4, self.outward(tcp, src, dst)),
            Way::Down => match self.inward.get(&(tcp, dst, src)) {
                Some(&port) => (l4 + 2, port),
                None => return false,
            },
        };
        with_checksum(frame, view, |frame| {
            put16(frame, at, port);
            true
        })
    }

    fn outward(&mut self, tcp: bool, client: SocketAddr, server: SocketAddr) -> u16 {
        if let Some(&port) = self.outward.get(&(tcp, client, server)) {
            return port;
        }
        let port = FIRST_PORT + self.given;
        self.given = (self.given + 1) % PORTS;
        let shown = SocketAddr::new(client.ip(), port);
        // A port that comes round again leaves its earlier flow, as translators' tables do.
        if let Some(old) = self.inward.insert((tcp, shown, server), client.port()) {
            self.outward.remove(&(tcp, SocketAddr::new(client.ip(), old), server));
        }
        self.outward.insert((tcp, client, server), port);
        port
    }
}
