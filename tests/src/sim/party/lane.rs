//! One worker of a station with its in-memory ports, and the count of what went in and came out.
//! Owns the frames' memory of all runs: it can be mapped, but never given back.

use std::collections::VecDeque;

use sekisho_dataplane::{Command, ControlEnd, SessionRow, Worker, WorkerSnapshot};
use sekisho_port::{MemoryConfig, MemoryIo, MemoryWire, PacketIo, PortSide};
use sekisho_session::Time;

/// Frames of a worker: two fill rings, a burst, a reserve of one burst, and some to hold.
const SIZES: MemoryConfig = MemoryConfig { frames: 384, fill: 64, ring: 128 };
/// Sessions listed at once, more than a run has.
const ROWS: usize = 64;

/// In-memory ports that runs lend and give back.
#[derive(Default)]
pub(in crate::sim) struct Depot(Vec<(MemoryIo, MemoryWire)>);

impl Depot {
    /// Ports with all frames in their pool.
    fn take(&mut self) -> (MemoryIo, MemoryWire) {
        self.0.pop().unwrap_or_else(|| {
            MemoryIo::new(SIZES).expect("invariant: 1.5 MiB of memory can be mapped")
        })
    }
}

/// A worker and its surroundings.
pub(in crate::sim) struct Lane {
    worker: Worker,
    pub(super) control: ControlEnd,
    io: MemoryIo,
    wire: MemoryWire,
    /// By [`PortSide::index`]: frames pushed towards the worker, frames that left it.
    pushed: [u64; 2],
    left: [u64; 2],
    /// Frames that a full transmit ring had dropped before this worker had the ports.
    ring_drops: u64,
    commands: VecDeque<Command>,
}

impl Lane {
    pub(super) fn new((worker, control): (Worker, ControlEnd), depot: &mut Depot) -> Self {
        let (io, wire) = depot.take();
        let (pushed, left) = ([0; 2], [0; 2]);
        let ring_drops = dropped_by_rings(&io);
        let commands = VecDeque::new();
        Self { worker, control, io, wire, pushed, left, ring_drops, commands }
    }

    /// A frame for the port of `side`.
    pub(super) fn push(&mut self, side: PortSide, frame: &[u8]) {
        self.pushed[side.index()] += 1;
        self.wire.push(side, frame);
    }

    /// A command, after those that wait already.
    pub(super) fn command(&mut self, command: Command) {
        self.commands.push_back(command);
    }

    /// Lets the wire of the cipher side take frames, or not.
    pub(super) fn block(&self, blocked: bool) {
        self.wire.set_blocked(PortSide::Cipher, blocked);
    }

    /// One turn of the worker; what left it goes to `out`. True if it has more to do.
    pub(super) fn turn(&mut self, now: Time, out: &mut Vec<(PortSide, Vec<u8>)>) -> bool {
        while let Some(command) = self.commands.pop_front() {
            if let Err(command) = self.control.send(command) {
                self.commands.push_front(command);
                break;
            }
        }
        let moved = self.worker.turn(&mut self.io, now);
        for side in PortSide::BOTH {
            while let Some(frame) = self.wire.pop(side) {
                self.left[side.index()] += 1;
                out.push((side, frame));
            }
        }
        moved || !self.commands.is_empty()
    }

    /// Its sessions. The turn that lists them must move nothing else.
    pub(super) fn sessions(&mut self, now: Time) -> Vec<SessionRow> {
        let (reply, page) = crossbeam::channel::bounded(1);
        self.command(Command::ListSessions { cursor: 0, rows: Vec::with_capacity(ROWS), reply });
        let mut out = Vec::new();
        self.turn(now, &mut out);
        debug_assert!(out.is_empty(), "listing sends nothing");
        page.try_recv().map(|page| page.rows).unwrap_or_default()
    }

    pub(super) fn snapshot(&self) -> WorkerSnapshot {
        self.worker.counters().snapshot()
    }

    pub(super) fn has_work(&self) -> bool {
        self.worker.has_work()
    }

    /// Frames neither in the pool nor in a ring.
    pub(super) fn in_hand(&self) -> isize {
        self.io.accounting().in_hand()
    }

    /// Why its counters cannot be right, if they cannot.
    pub(super) fn miscount(&self) -> Option<String> {
        let snapshot = self.snapshot();
        if snapshot.balance() != 0 {
            return Some(format!("rx + made - tx - drops - held = {}", snapshot.balance()));
        }
        for side in PortSide::BOTH {
            let counted = snapshot.sides[side.index()];
            let received = self.pushed[side.index()] - self.wire.waiting(side) as u64;
            if counted.rx_packets != received {
                return Some(format!("{side}: {} counted, {received} came", counted.rx_packets));
            }
        }
        let sent: u64 = snapshot.sides.iter().map(|side| side.tx_packets).sum();
        let gone = self.left.iter().sum::<u64>()
            + self.io.backlog() as u64
            + (dropped_by_rings(&self.io) - self.ring_drops);
        (sent != gone).then(|| format!("{sent} counted as sent, {gone} left"))
    }

    /// Ends the worker; frames come home from wherever they are.
    pub(super) fn settle(&mut self, now: Time) {
        self.block(false);
        self.worker.shut_down(&mut self.io, now);
        for side in PortSide::BOTH {
            while self.wire.pop(side).is_some() {}
        }
        self.io.flush();
    }

    /// Gives the ports back. Those that have lost a frame are not lent again.
    pub(super) fn release(mut self, depot: &mut Depot, now: Time) -> isize {
        // What still waits on the wire would be the next worker's.
        let mut burst = Vec::new();
        for side in PortSide::BOTH {
            while self.wire.waiting(side) > 0 {
                self.io.receive(side, &mut burst, usize::MAX);
                burst.drain(..).for_each(|frame| self.io.free(frame));
                self.io.flush();
            }
        }
        self.settle(now);
        let lost = self.io.accounting().in_hand();
        if lost == 0 {
            depot.0.push((self.io, self.wire));
        }
        lost
    }
}

fn dropped_by_rings(io: &MemoryIo) -> u64 {
    PortSide::BOTH.iter().map(|side| io.counters(*side).tx_dropped).sum()
}
