//! An agent and a gateway back to back.
//!
//! ```text
//! application ── plain │ agent │ cipher ══ network ══ cipher │ gateway │ plain ── server
//! ```
//! The test is the application, the network, the server and control. Debug builds balance the
//! frames of each worker after every turn by themselves.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sekisho_cipher::{EpochKeys, TrafficKeys};
use sekisho_port::{MemoryConfig, MemoryIo, MemoryWire, PacketIo, PortSide};
use sekisho_session::{FlowHasher, FlowKey, Time};
use sekisho_wire::TcpFlags;

use super::segments::{ACK, CLIENT_MAC, Got, SERVER_MAC, SYN, SYN_OPTIONS, Seg, contains};
use crate::{
    CloseCause, Command, ControlEnd, DropReason, Event, Policy, PortSet, Role, Service, ServiceId,
    ServiceTable, SessionRow, Worker, WorkerConfig, WorkerSnapshot,
};

pub(super) const CANARY: &[u8] = b"CANARY-in-the-clear";
pub(super) const CLIENT_ISN: u32 = 0xffff_ff00;
pub(super) const SERVER_ISN: u32 = 0x7fff_fff0;

pub(super) fn v4() -> (SocketAddr, SocketAddr) {
    ("10.0.0.1:40000".parse().unwrap(), "10.0.2.10:80".parse().unwrap())
}

pub(super) fn v6() -> (SocketAddr, SocketAddr) {
    ("[fd00::1]:40000".parse().unwrap(), "[fd00:2::10]:443".parse().unwrap())
}

pub(super) fn services(policy: Policy) -> Arc<ServiceTable> {
    let service = |id, address: &str, prefix_len, port| Service {
        id: ServiceId(id),
        address: address.parse().unwrap(),
        prefix_len,
        ports: PortSet::Ranges(vec![(port, port)]),
        policy,
    };
    let both = [service(0, "10.0.2.10", 32, 80), service(1, "fd00:2::", 64, 443)];
    Arc::new(ServiceTable::new(&both).unwrap())
}

pub(super) fn config(role: Role, policy: Policy) -> WorkerConfig {
    let mut config = WorkerConfig::new(role, services(policy), FlowHasher::new(&[7; 16]));
    config.sessions = 64;
    config.clear_sessions = 16;
    config.held_frames = 32;
    config.request_seed = [9; 16];
    config
}

/// Keys of both directions made from one number.
pub(super) fn keys(n: u8) -> Box<EpochKeys> {
    let keys = |n| TrafficKeys::from_bytes(&[n; 32], &[n; 16]);
    EpochKeys::new(&keys(n), &keys(n ^ 0x80)).unwrap()
}

/// One worker, its ports and its control.
pub(super) struct End {
    pub(super) worker: Worker,
    pub(super) control: ControlEnd,
    pub(super) io: MemoryIo,
    pub(super) wire: MemoryWire,
    pub(super) now: Time,
}

/// A session as commands name it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Name {
    pub(super) flow: FlowKey,
    pub(super) client_isn: u32,
    pub(super) generation: u32,
    pub(super) request_id: u64,
    pub(super) option: [u8; 13],
}

impl End {
    pub(super) fn new(config: WorkerConfig) -> Self {
        Self::with_ring(config, 64)
    }

    pub(super) fn with_ring(config: WorkerConfig, ring: usize) -> Self {
        let (worker, control) = Worker::alone(config, ring);
        let sizes = MemoryConfig { frames: 512, fill: 64, ring: 128 };
        let (io, wire) = MemoryIo::new(sizes).unwrap();
        Self { worker, control, io, wire, now: Time(1_000_000_000) }
    }

    /// Takes a frame in on `side` and gives what left by either side.
    pub(super) fn take(&mut self, side: PortSide, frame: &[u8]) -> Vec<(PortSide, Vec<u8>)> {
        self.wire.push(side, frame);
        self.turn()
    }

    pub(super) fn turn(&mut self) -> Vec<(PortSide, Vec<u8>)> {
        self.worker.turn(&mut self.io, self.now);
        PortSide::BOTH
            .into_iter()
            .flat_map(|side| self.wire.drain(side).into_iter().map(move |frame| (side, frame)))
            .collect()
    }

    pub(super) fn command(&mut self, command: Command) -> Vec<(PortSide, Vec<u8>)> {
        assert!(self.control.send(command).is_ok());
        self.turn()
    }

    pub(super) fn install(
        &mut self,
        name: &Name,
        keys: Box<EpochKeys>,
        (synced, release_syn): (bool, bool),
    ) -> Vec<(PortSide, Vec<u8>)> {
        let &Name { flow, client_isn, generation, .. } = name;
        self.command(Command::Install { flow, client_isn, generation, keys, synced, release_syn })
    }

    pub(super) fn synchronise(&mut self, name: &Name) -> Vec<(PortSide, Vec<u8>)> {
        let &Name { flow, client_isn, generation, .. } = name;
        self.command(Command::Synchronise { flow, client_isn, generation })
    }

    pub(super) fn abort(&mut self, name: &Name, cause: CloseCause) -> Vec<(PortSide, Vec<u8>)> {
        let &Name { flow, client_isn, generation, .. } = name;
        self.command(Command::Abort { flow, client_isn, generation, cause })
    }

    pub(super) fn close(&mut self, name: &Name) -> Vec<(PortSide, Vec<u8>)> {
        let &Name { flow, client_isn, generation, .. } = name;
        self.command(Command::Close { flow, client_isn, generation })
    }

    pub(super) fn events(&self) -> Vec<Event> {
        std::iter::from_fn(|| self.control.poll_event()).collect()
    }

    /// The one Request event that waits.
    pub(super) fn request(&self) -> Name {
        let events = self.events();
        match &events[..] {
            &[Event::Request { flow, client_isn, generation, request_id, option, .. }] => {
                Name { flow, client_isn, generation, request_id, option }
            }
            other => panic!("one request expected: {other:?}"),
        }
    }

    /// The causes of the Closed events that wait; others may not be there.
    pub(super) fn closed(&self) -> Vec<CloseCause> {
        self.events()
            .into_iter()
            .map(|event| match event {
                Event::Closed { cause, .. } => cause,
                other => panic!("only Closed expected: {other:?}"),
            })
            .collect()
    }

    pub(super) fn snapshot(&self) -> WorkerSnapshot {
        self.worker.counters().snapshot()
    }

    pub(super) fn dropped(&self, reason: DropReason) -> u64 {
        self.snapshot().dropped(reason)
    }

    /// Takes a frame in that must be dropped for `reason`, and changes nothing else.
    #[track_caller]
    pub(super) fn refuses(&mut self, side: PortSide, frame: &[u8], reason: DropReason) {
        let before = self.snapshot();
        let out = self.take(side, frame);
        let after = self.snapshot();
        let moved: Vec<_> =
            DropReason::ALL.iter().filter(|r| after.dropped(**r) != before.dropped(**r)).collect();
        assert_eq!(moved, [&reason]);
        assert!(out.is_empty(), "dropped and yet sent");
    }

    pub(super) fn sessions(&mut self) -> Vec<SessionRow> {
        let (reply, page) = crossbeam::channel::bounded(1);
        let out =
            self.command(Command::ListSessions { cursor: 0, rows: Vec::with_capacity(64), reply });
        assert!(out.is_empty());
        page.recv().unwrap().rows
    }

    pub(super) fn wait(&mut self, seconds: u64) -> Vec<(PortSide, Vec<u8>)> {
        self.now = self.now.after(Duration::from_secs(seconds));
        self.turn()
    }

    /// No frame is anywhere but in pool and rings.
    pub(super) fn assert_empty_hands(&mut self) {
        self.turn();
        assert_eq!(self.io.accounting().in_hand(), 0);
        assert_eq!(self.snapshot().balance(), 0);
    }
}

/// Frames of one side, read.
#[track_caller]
pub(super) fn on(side: PortSide, out: Vec<(PortSide, Vec<u8>)>) -> Vec<Got> {
    out.into_iter()
        .map(|(at, frame)| {
            assert_eq!(at, side, "left by the wrong side");
            Got::read(frame)
        })
        .collect()
}

/// The one frame that left by `side`.
#[track_caller]
pub(super) fn one(side: PortSide, out: Vec<(PortSide, Vec<u8>)>) -> Got {
    let mut got = on(side, out);
    assert_eq!(got.len(), 1, "one frame expected");
    got.remove(0)
}

/// Agent and gateway, and everything that crossed the network between them.
pub(super) struct Pair {
    pub(super) agent: End,
    pub(super) gateway: End,
    pub(super) client: SocketAddr,
    pub(super) server: SocketAddr,
    pub(super) agent_name: Option<Name>,
    pub(super) gateway_name: Option<Name>,
    pub(super) crossed: Vec<Vec<u8>>,
}

impl Pair {
    pub(super) fn new() -> Self {
        Self::with(Policy::Require, v4())
    }

    pub(super) fn with(policy: Policy, (client, server): (SocketAddr, SocketAddr)) -> Self {
        Self {
            agent: End::new(config(Role::Client, policy)),
            gateway: End::new(config(Role::Gateway, policy)),
            client,
            server,
            agent_name: None,
            gateway_name: None,
            crossed: Vec::new(),
        }
    }

    /// A session whose handshake is done and that is synchronised at both ends.
    pub(super) fn synced() -> Self {
        Self::synced_over(v4())
    }

    pub(super) fn synced_over(ends: (SocketAddr, SocketAddr)) -> Self {
        let mut pair = Self::with(Policy::Require, ends);
        pair.connect(CLIENT_ISN, SERVER_ISN, 1);
        pair
    }

    /// A session whose SYN-ACK has come to the client: the gateway waits for SYNC or a first tag.
    pub(super) fn keyed() -> Self {
        let mut pair = Self::new();
        pair.exchange_keys(CLIENT_ISN, SERVER_ISN, 1);
        pair
    }

    /// From SYN to synchronisation, `hold = vouched`.
    pub(super) fn connect(&mut self, client_isn: u32, server_isn: u32, key: u8) {
        self.exchange_keys(client_isn, server_isn, key);
        let ack = self.by_client(ACK).seq(client_isn.wrapping_add(1));
        let early = self.up(&ack.ack(server_isn.wrapping_add(1)));
        assert!(early.is_empty(), "the ACK is held");
        let name = self.gateway_name.unwrap();
        assert_eq!(on(PortSide::Plain, self.gateway.synchronise(&name)).len(), 1);
        // What a displaced session said on the way is for the test that made one.
        self.agent.events();
    }

    fn exchange_keys(&mut self, client_isn: u32, server_isn: u32, key: u8) {
        let syn = self.up(&self.syn(client_isn));
        assert!(syn.is_empty(), "the SYN is held");
        self.agent_name = Some(self.agent.request());
        self.gateway_name = Some(self.gateway.request());
        let name = self.gateway_name.unwrap();
        let out = self.gateway.install(&name, keys(key), (false, true));
        assert!(one(PortSide::Plain, out).tcp.flags.syn());
        let held = self.down(&self.syn_ack(client_isn, server_isn));
        assert!(held.is_empty(), "the SYN-ACK is held");
        let name = self.agent_name.unwrap();
        let out = self.agent.install(&name, keys(key), (true, false));
        assert!(one(PortSide::Plain, out).tcp.flags.syn());
    }

    pub(super) fn by_client(&self, flags: TcpFlags) -> Seg {
        Seg::new(self.client, self.server, flags).l2(SERVER_MAC, CLIENT_MAC)
    }

    pub(super) fn by_server(&self, flags: TcpFlags) -> Seg {
        Seg::new(self.server, self.client, flags).l2(CLIENT_MAC, SERVER_MAC)
    }

    pub(super) fn syn(&self, isn: u32) -> Seg {
        self.by_client(SYN).seq(isn).options(&SYN_OPTIONS)
    }

    pub(super) fn syn_ack(&self, client_isn: u32, server_isn: u32) -> Seg {
        let syn_ack = self.by_server(SYN | ACK).seq(server_isn).options(&SYN_OPTIONS);
        syn_ack.ack(client_isn.wrapping_add(1))
    }

    /// Data of the client at `offset` from its first octet, acknowledging `acked` of the server's.
    pub(super) fn client_data(&self, offset: u64, acked: u64, payload: &[u8]) -> Seg {
        let seq = CLIENT_ISN.wrapping_add(1).wrapping_add(offset as u32);
        let ack = SERVER_ISN.wrapping_add(1).wrapping_add(acked as u32);
        self.by_client(ACK).seq(seq).ack(ack).payload(payload)
    }

    /// Data of the server, likewise.
    pub(super) fn server_data(&self, offset: u64, acked: u64, payload: &[u8]) -> Seg {
        let seq = SERVER_ISN.wrapping_add(1).wrapping_add(offset as u32);
        let ack = CLIENT_ISN.wrapping_add(1).wrapping_add(acked as u32);
        self.by_server(ACK).seq(seq).ack(ack).payload(payload)
    }

    /// Through the agent onto the network.
    pub(super) fn seal_up(&mut self, seg: &Seg) -> Vec<Got> {
        let out = self.agent.take(PortSide::Plain, &seg.build());
        self.note(on(PortSide::Cipher, out))
    }

    /// Through the gateway onto the network.
    pub(super) fn seal_down(&mut self, seg: &Seg) -> Vec<Got> {
        let out = self.gateway.take(PortSide::Plain, &seg.build());
        self.note(on(PortSide::Cipher, out))
    }

    /// From the network through the gateway to the server.
    pub(super) fn open_up(&mut self, frame: &[u8]) -> Vec<Got> {
        on(PortSide::Plain, self.gateway.take(PortSide::Cipher, frame))
    }

    /// From the network through the agent to the application.
    pub(super) fn open_down(&mut self, frame: &[u8]) -> Vec<Got> {
        on(PortSide::Plain, self.agent.take(PortSide::Cipher, frame))
    }

    /// All the way from application to server.
    pub(super) fn up(&mut self, seg: &Seg) -> Vec<Got> {
        let sealed = self.seal_up(seg);
        sealed.iter().flat_map(|frame| self.open_up(&frame.bytes)).collect()
    }

    /// All the way from server to application.
    pub(super) fn down(&mut self, seg: &Seg) -> Vec<Got> {
        let sealed = self.seal_down(seg);
        sealed.iter().flat_map(|frame| self.open_down(&frame.bytes)).collect()
    }

    fn note(&mut self, frames: Vec<Got>) -> Vec<Got> {
        self.crossed.extend(frames.iter().map(|frame| frame.bytes.clone()));
        frames
    }

    /// Nothing that crossed the network showed the canary, and no frame is lost at either end.
    pub(super) fn finish(&mut self) {
        assert!(!self.crossed.is_empty());
        assert!(self.crossed.iter().all(|frame| !contains(frame, CANARY)), "leak");
        self.agent.assert_empty_hands();
        self.gateway.assert_empty_hands();
    }
}
