//! The control loop's core: worker events, key-delivery datagrams, KDC answers and time go in;
//! commands for workers and messages for KDCs come out. Owns who is told what and in which
//! order; sockets, clocks and threads are `runtime`'s, the protocol is `sekisho_kdc_client`'s.

mod client;
mod gateway;
mod l2_cache;
mod outcomes;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use sekisho_dataplane::{CloseCause, Command, Event, FrameBuf, ServiceId};
use sekisho_kdc_client::delivery::Ignored;
use sekisho_kdc_client::{RefuseCode, SessionRef};
use sekisho_port::PortSide;
use sekisho_session::FlowKey;
use sekisho_wire::{L2Header, build};

pub use client::ClientEnd;
pub use gateway::{GatewayEnd, KdcMessage};
pub use outcomes::{KdcOutcomes, Outcomes};

use l2_cache::L2Cache;

/// Room for a key-delivery frame: two VLAN tags, IPv6, UDP and the longest message are 1274 octets.
const MAX_FRAME: usize = 1514;

/// Something for the edge to do, in order.
// Lives for one turn of the control loop; boxing commands would only move them twice.
#[allow(clippy::large_enum_variant)]
#[derive(Debug)]
pub enum Effect {
    /// Hand to a worker through its ring.
    Command {
        /// Which worker.
        worker: u16,
        /// What.
        command: Command,
    },
    /// Send to a KDC.
    Kdc(KdcMessage),
    /// Every worker from now on requires cipher for this service: the KDC said so.
    Pin(ServiceId),
}

/// The end of key delivery that this program is.
// One value per process: the difference in size costs nothing.
#[allow(clippy::large_enum_variant)]
pub enum End {
    /// In front of servers.
    Gateway(GatewayEnd),
    /// In front of clients.
    Client(ClientEnd),
}

/// Which worker owns a session, and how the worker names it.
#[derive(Clone, Copy)]
struct Owner {
    worker: u16,
    flow: FlowKey,
    generation: u32,
    service: ServiceId,
}

/// The control core of a gateway or a client agent.
pub struct Control {
    end: End,
    board: Board,
}

/// What both ends need to reach workers: who owns which session, layer-2 headers, the effects so far.
#[derive(Default)]
struct Board {
    owners: HashMap<SessionRef, Owner>,
    l2: L2Cache,
    effects: VecDeque<Effect>,
    outcomes: Outcomes,
}

impl Control {
    /// A control core with nothing in progress.
    #[must_use]
    pub fn new(end: End) -> Self {
        Self { end, board: Board::default() }
    }

    /// Takes one event of a worker. `now` in nanoseconds.
    pub fn on_event(&mut self, event: Event, now: u64) {
        match event {
            Event::Request {
                worker,
                flow,
                client_isn,
                generation,
                request_id,
                option,
                service,
                l2,
            } => {
                let session = session_ref(&flow, client_isn);
                self.board.owners.insert(session, Owner { worker, flow, generation, service });
                match &mut self.end {
                    End::Gateway(end) => end.on_syn(session, request_id, option, now),
                    End::Client(end) => {
                        self.board.l2.learn(session.client.ip(), session.server.ip(), l2);
                        end.on_syn(session, request_id, option, now);
                    }
                }
            }
            Event::Datagram { side: PortSide::Cipher, src, dst, l2, bytes, .. } => {
                self.board.l2.learn(dst.ip(), src.ip(), l2.swapped());
                match &mut self.end {
                    End::Gateway(end) => end.on_datagram(src, dst, &bytes, now),
                    End::Client(end) => end.on_datagram(src, dst, &bytes, now),
                }
            }
            // Key delivery never comes from the plain side; the worker drops it, this is the second lock.
            Event::Datagram { side: PortSide::Plain, .. } => {}
            Event::Synchronised { flow, client_isn, .. } => {
                if let End::Gateway(end) = &mut self.end {
                    end.on_synchronised(&session_ref(&flow, client_isn), now);
                }
            }
            Event::Closed { flow, client_isn, generation, cause, .. } => {
                self.on_closed(&session_ref(&flow, client_isn), generation, cause, now);
            }
        }
        self.settle();
    }

    /// A datagram came from a KDC.
    pub fn on_kdc_datagram(&mut self, kdc: usize, bytes: &[u8], now: u64) {
        self.with_gateway(|end| end.on_kdc_datagram(kdc, bytes, now));
    }

    /// Octets came on the connection to a KDC.
    pub fn on_kdc_stream(&mut self, kdc: usize, bytes: &[u8], now: u64) {
        self.with_gateway(|end| end.on_kdc_stream(kdc, bytes, now));
    }

    /// The way to a KDC broke, or a message could not be sent on it.
    pub fn on_kdc_unreachable(&mut self, kdc: usize, now: u64) {
        self.with_gateway(|end| end.on_kdc_unreachable(kdc, now));
    }

    /// Time has come to [`Self::next_deadline`] or beyond.
    pub fn on_timer(&mut self, now: u64) {
        match &mut self.end {
            End::Gateway(end) => end.on_timer(now),
            End::Client(end) => end.on_timer(now),
        }
        self.settle();
    }

    /// When [`Self::on_timer`] is wanted next, in nanoseconds.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        match &self.end {
            End::Gateway(end) => end.next_deadline(),
            End::Client(end) => end.next_deadline(),
        }
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Effect> {
        self.board.effects.pop_front()
    }

    /// Counters for metrics and status.
    #[must_use]
    pub fn outcomes(&self) -> &Outcomes {
        &self.board.outcomes
    }

    /// Counters of the KDC requests; all zero at a client agent.
    #[must_use]
    pub fn kdc_outcomes(&self) -> KdcOutcomes {
        match &self.end {
            End::Gateway(end) => end.outcomes(),
            End::Client(_) => KdcOutcomes::default(),
        }
    }

    /// Key-delivery messages that were refused without effect.
    #[must_use]
    pub fn ignored(&self) -> Ignored {
        match &self.end {
            End::Gateway(end) => end.ignored(),
            End::Client(end) => end.ignored(),
        }
    }

    /// Whether the KDC at this place is held for dead.
    #[must_use]
    pub fn kdc_is_dead(&self, kdc: usize) -> bool {
        matches!(&self.end, End::Gateway(end) if end.kdc_is_dead(kdc))
    }

    /// The gateway's end, for a reload of what can change in it; `None` at a client agent.
    pub fn gateway_mut(&mut self) -> Option<&mut GatewayEnd> {
        match &mut self.end {
            End::Gateway(end) => Some(end),
            End::Client(_) => None,
        }
    }

    /// Services have other numbers from now on: what the KDC says of each is told anew.
    pub fn forget_pins(&mut self) {
        if let End::Client(end) = &mut self.end {
            end.forget_pins();
        }
    }

    fn on_closed(&mut self, session: &SessionRef, generation: u32, cause: CloseCause, now: u64) {
        // A later session of the same addresses and ISN may have taken the name already.
        if self.board.owners.get(session).is_none_or(|owner| owner.generation != generation) {
            return;
        }
        self.board.owners.remove(session);
        self.board.outcomes.closed(cause);
        match &mut self.end {
            End::Gateway(end) => end.on_closed(session, now),
            End::Client(end) => end.on_closed(session, now),
        }
    }

    fn with_gateway(&mut self, input: impl FnOnce(&mut GatewayEnd)) {
        if let End::Gateway(end) = &mut self.end {
            input(end);
        }
        self.settle();
    }

    fn settle(&mut self) {
        match &mut self.end {
            End::Gateway(end) => end.settle(&mut self.board),
            End::Client(end) => end.settle(&mut self.board),
        }
    }
}

impl Board {
    /// Queues a key-delivery datagram. Without a layer-2 header for that direction it is not sent:
    /// the peer's resend brings one.
    fn send(
        &mut self,
        session: Option<&SessionRef>,
        src: SocketAddr,
        dst: SocketAddr,
        datagram: &[u8],
    ) {
        let Some(header) = self.l2.find(src.ip(), dst.ip()) else { return };
        let worker = session.and_then(|s| self.owners.get(s)).map_or(0, |owner| owner.worker);
        let Some(frame) = datagram_frame(&header, src, dst, datagram) else { return };
        self.effects.push_back(Effect::Command {
            worker,
            command: Command::Transmit { side: PortSide::Cipher, frame },
        });
    }

    /// Queues a command to the owner of a session; nothing if the session is gone.
    fn command(&mut self, session: &SessionRef, make: impl FnOnce(&Owner) -> Command) {
        if let Some(owner) = self.owners.get(session) {
            let effect = Effect::Command { worker: owner.worker, command: make(owner) };
            self.effects.push_back(effect);
        }
    }

    /// Key delivery failed: has the side that waits told. The delivery's outcome counts it and logs it.
    fn fail(&mut self, session: &SessionRef, code: RefuseCode) {
        tracing::debug!(client = %session.client, server = %session.server, code = code.label(), "key delivery failed");
        let client_isn = session.client_isn;
        self.command(session, |owner| Command::Abort {
            flow: owner.flow,
            client_isn,
            generation: owner.generation,
            cause: CloseCause::KeyDelivery,
        });
    }
}

fn session_ref(flow: &FlowKey, client_isn: u32) -> SessionRef {
    let (client, server) = flow.to_socket_addrs();
    SessionRef { client, server, client_isn }
}

fn datagram_frame(
    header: &L2Header,
    src: SocketAddr,
    dst: SocketAddr,
    payload: &[u8],
) -> Option<FrameBuf> {
    let mut bytes = [0; MAX_FRAME];
    let length = build::udp_datagram(header, src, dst, payload, &mut bytes).ok()?;
    FrameBuf::from_slice(&bytes[..length])
}
