//! The parties of a script and what moves between them. Owns workers, ports, the network and time.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use sekisho_dataplane::{
    Command, ControlEnd, Event, Policy, PortSet, Refusal, Role, RxChecksum, Service, ServiceId,
    ServiceTable, Worker, WorkerConfig,
};
use sekisho_port::{MemoryConfig, MemoryIo, MemoryWire, PacketIo, PortSide};
use sekisho_session::{FlowHasher, FlowKey, Time};

use super::Reached;
use super::checks::{self, Watch};
use crate::fuzz::script::Script;

/// Frames of each worker: with both wires blocked the pool runs low.
const PORT: MemoryConfig = MemoryConfig { frames: 160, fill: 24, ring: 32 };
/// Frames under way at most; the oldest is lost.
const NETWORK: usize = 64;
/// Sessions that control remembers, alive or not.
const NAMES: usize = 16;

/// (flow, client ISN, generation).
pub(super) type Name = (FlowKey, u32, u32);

/// A worker with its surroundings.
pub(super) struct End {
    worker: Worker,
    control: ControlEnd,
    io: MemoryIo,
    pub(super) wire: MemoryWire,
    pub(super) names: Vec<Name>,
}

/// Agent (0) and gateway (1), and what is between them.
pub(super) struct World {
    pub(super) ends: [End; 2],
    /// Frames under way and the end that they go to.
    pub(super) network: Vec<(usize, Vec<u8>)>,
    now: Time,
    watch: Watch,
    reached: Reached,
}

thread_local! {
    /// Ports are mapped once: their memory is the process's for good. A run leaves them as it found them.
    static PORTS: RefCell<Vec<(MemoryIo, MemoryWire)>> = const { RefCell::new(Vec::new()) };
}

fn port() -> (MemoryIo, MemoryWire) {
    let mapped = PORTS.with_borrow_mut(Vec::pop);
    mapped.unwrap_or_else(|| {
        MemoryIo::new(PORT).expect("invariant: a machine that runs tests has memory")
    })
}

fn services(policy: Policy) -> Vec<Service> {
    let service = |id, address: [u16; 8], prefix_len, port| {
        let address = std::net::IpAddr::from(address).to_canonical();
        let ports = PortSet::Ranges(vec![(port, port)]);
        Service { id: ServiceId(id), address, prefix_len, ports, policy }
    };
    vec![
        service(0, [0, 0, 0, 0, 0, 0xffff, 0x0a00, 0x020a], 32, 80),
        service(1, [0xfd00, 2, 0, 0, 0, 0, 0, 0], 32, 443),
    ]
}

fn table(services: &[Service]) -> ServiceTable {
    ServiceTable::new(services).expect("invariant: prefixes fit their families")
}

impl World {
    /// Reads the set-up off the script: policy, checksums, refusal.
    pub(super) fn new(script: &mut Script<'_>) -> Self {
        let how = script.u8();
        let policy = match how & 3 {
            0 | 1 => Policy::Require,
            2 => Policy::Prefer,
            _ => Policy::Off,
        };
        let services = Arc::new(table(&services(policy)));
        let end = |role| {
            let mut config = WorkerConfig::new(role, services.clone(), FlowHasher::new(&[7; 16]));
            config.sessions = 8;
            config.clear_sessions = 4;
            config.held_frames = 6;
            config.request_seed = [9; 16];
            config.refusal = if how & 4 == 0 { Refusal::Reset } else { Refusal::Silence };
            if how & 8 != 0 {
                config.rx_checksum[PortSide::Plain.index()] = RxChecksum::Offloaded;
            }
            let (worker, control) = Worker::alone(config, 16);
            let (io, wire) = port();
            End { worker, control, io, wire, names: Vec::new() }
        };
        Self {
            ends: [end(Role::Client), end(Role::Gateway)],
            network: Vec::new(),
            now: Time(1_000_000_000),
            watch: Watch::new(policy, script.rest()),
            reached: Reached::default(),
        }
    }

    /// A frame comes in, and the end takes its turn.
    pub(super) fn give(&mut self, end: usize, side: PortSide, frame: &[u8]) {
        self.ends[end].wire.push(side, frame);
        self.turn(end);
    }

    pub(super) fn turn(&mut self, end: usize) {
        let this = &mut self.ends[end];
        this.worker.turn(&mut this.io, self.now);
        checks::frames_are_conserved(&this.worker, &this.io);
        self.take_events(end);
        for side in PortSide::BOTH {
            for frame in self.ends[end].wire.drain(side) {
                self.watch.leaves(end, side, &frame);
                if side == PortSide::Cipher {
                    if self.network.len() == NETWORK {
                        self.network.remove(0);
                    }
                    self.network.push((1 - end, frame));
                }
            }
        }
    }

    fn take_events(&mut self, end: usize) {
        let this = &mut self.ends[end];
        while let Some(event) = this.control.poll_event() {
            match event {
                Event::Request { flow, client_isn, generation, .. } => {
                    if this.names.len() == NAMES {
                        this.names.remove(0);
                    }
                    this.names.push((flow, client_isn, generation));
                }
                Event::Closed { .. } => self.reached.closed += 1,
                Event::Datagram { .. } | Event::Synchronised { .. } => {}
            }
        }
    }

    pub(super) fn command(&mut self, end: usize, command: Command) {
        if self.ends[end].control.send(command).is_ok() {
            self.turn(end);
        }
    }

    pub(super) fn list_sessions(&mut self, end: usize) {
        let (reply, page) = crossbeam::channel::bounded(1);
        self.command(end, Command::ListSessions { cursor: 0, rows: Vec::with_capacity(8), reply });
        let rows = page.try_recv().map(|page| page.rows).unwrap_or_default();
        checks::rows_are_possible(&rows);
    }

    /// Another policy, or the services retired: what is in cipher goes on in cipher.
    pub(super) fn change_services(&mut self, end: usize, script: &mut Script<'_>) {
        let policy = script.one_of([Policy::Require, Policy::Prefer, Policy::Off]);
        let services = services(policy);
        let table = match script.u8() % 2 {
            0 => table(&services),
            _ => match ServiceTable::default().with_retired(&services) {
                Ok(table) => table,
                Err(_) => return,
            },
        };
        self.watch.policy_changes();
        self.command(end, Command::Services(Arc::new(table)));
    }

    pub(super) fn pass_time(&mut self, script: &mut Script<'_>) {
        let ms = script.one_of([1, 100, 1_000, 5_000, 11_000, 16_000, 3_600_000, 4 * 3_600_000]);
        self.now = self.now.after(Duration::from_millis(ms));
        for end in 0..2 {
            self.turn(end);
        }
    }

    /// Frames of unknown content come in by `side`: octets on a plain side are then anybody's.
    pub(super) fn taint(&mut self, side: PortSide) {
        if side == PortSide::Plain {
            self.watch.hosts_say_anything();
        }
    }

    /// Ends everything: every frame must be back in pool and rings.
    pub(super) fn finish(mut self) -> Reached {
        for end in 0..2 {
            for side in PortSide::BOTH {
                self.ends[end].wire.set_blocked(side, false);
            }
            // Twice: what was stuck in the rings, and what waited behind it.
            self.turn(end);
            self.turn(end);
            let this = &mut self.ends[end];
            this.worker.shut_down(&mut this.io, self.now);
            this.io.flush();
            self.turn(end);
            self.turn(end);
        }
        let Self { ends, mut reached, .. } = self;
        for End { worker, control, mut io, wire, .. } in ends {
            io.flush();
            checks::all_frames_are_back(&worker, &io);
            let counts = worker.counters().snapshot();
            reached.sealed += counts.tallies.sealed_segments;
            reached.opened += counts.tallies.opened_segments;
            reached.dropped += counts.dropped_total();
            drop((worker, control));
            for side in PortSide::BOTH {
                let _ = wire.drain(side);
            }
            PORTS.with_borrow_mut(|ports| ports.push((io, wire)));
        }
        reached
    }
}
