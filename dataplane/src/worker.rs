//! One worker: its shard of sessions, its held frames, its keys, its ends of the rings. Owns the
//! state and the turn of the loop; what happens to a frame is decided in the modules beside it.

use std::collections::VecDeque;
use std::sync::Arc;

use sekisho_cipher::BATCH;
use sekisho_port::{Frame, PacketIo, PortSide};
use sekisho_session::{ClearTable, SessionId, SessionTable, Time};
use siphasher::sip::SipHasher24;

use crate::burst::{process_burst, process_frames};
use crate::config::WorkerConfig;
use crate::counters::WorkerCounters;
use crate::drop_reason::DropReason;
use crate::event::Event;
use crate::exchange::ExchangePort;
use crate::hold::{HoldKind, HoldPool};
use crate::key_cache::KeyCache;
use crate::packet::Packet;
use crate::rings::{WorkerEnd, rings};
use crate::role::Role;
use crate::{control, timers};

/// Frames taken from one ring at once.
pub const BURST: usize = 64;
/// MTU that native XDP with 4 KiB frames takes at most (design: ports); larger ones are cut to it.
pub const MAX_MTU: u16 = 3400;
/// Commands carried out per turn: control must not starve the rings, and each frame of a turn may
/// have been worth one.
const COMMANDS: usize = 4 * BURST;

/// Everything that one worker thread owns but its rings of frames.
pub struct Worker {
    pub(crate) config: WorkerConfig,
    pub(crate) table: SessionTable,
    pub(crate) clear: ClearTable,
    pub(crate) hold: HoldPool,
    pub(crate) keys: KeyCache,
    pub(crate) control: WorkerEnd,
    pub(crate) exchange: ExchangePort,
    pub(crate) counters: Arc<WorkerCounters>,
    /// Held frames let go, with the side they came in on: processed again at once.
    pub(crate) released: VecDeque<(PortSide, Frame)>,
    /// Held frames of sessions that have ended: freed at once.
    pub(crate) discard: Vec<(Frame, DropReason)>,
    /// Events that found the ring full and must not be lost. Empty but in the worst moments.
    late_events: VecDeque<Event>,
    /// Where a segment is tried under a second key.
    pub(crate) scratch: Vec<u8>,
    pub(crate) request_ids: SipHasher24,
    pub(crate) takes_no_sessions: bool,
    /// Gateway: sessions in the order of their SYNs; those that have keys or are gone stay until
    /// they come to the front.
    opening: VecDeque<SessionId>,
    pub(crate) next_scan: Time,
    burst: Vec<Frame>,
    /// Places for the packets of a batch.
    pub(crate) packets: Vec<Packet>,
}

impl Worker {
    /// A worker with its ends of the rings to control and to its peers.
    #[must_use]
    pub fn new(mut config: WorkerConfig, control: WorkerEnd, exchange: ExchangePort) -> Self {
        // A sealed frame must fit its buffer, whatever the configuration says.
        config.mtu = config.mtu.min(MAX_MTU);
        debug_assert_eq!(usize::from(config.index), exchange.own());
        Self {
            table: SessionTable::new(config.sessions, config.hasher.clone()),
            clear: ClearTable::new(config.clear_sessions, config.hasher.clone()),
            hold: HoldPool::new(config.held_frames, config.sessions),
            keys: KeyCache::new(config.sessions),
            control,
            exchange,
            counters: Arc::default(),
            released: VecDeque::with_capacity(8),
            discard: Vec::with_capacity(8),
            late_events: VecDeque::new(),
            scratch: Vec::with_capacity(sekisho_port::FRAME_CAPACITY),
            request_ids: SipHasher24::new_with_key(&config.request_seed),
            takes_no_sessions: false,
            opening: VecDeque::with_capacity(2 * config.sessions as usize),
            next_scan: Time(0),
            burst: Vec::with_capacity(BURST),
            packets: (0..BATCH).map(|_| Packet::vacant()).collect(),
            config,
        }
    }

    /// A worker without peers, and control's end of its rings: for tests, simulation, benchmarks.
    #[must_use]
    pub fn alone(config: WorkerConfig, ring: usize) -> (Self, crate::rings::ControlEnd) {
        let (worker_end, control_end) = rings(ring, None, None);
        let mut ports = crate::exchange::exchange(1, &[]);
        let port = ports.remove(0);
        (Self::new(WorkerConfig { index: 0, ..config }, worker_end, port), control_end)
    }

    /// Its counters, to be read from anywhere.
    #[must_use]
    pub fn counters(&self) -> &Arc<WorkerCounters> {
        &self.counters
    }

    /// One turn: what peers left, what control says, a burst from each port, timers, and all of
    /// it into the transmit rings. True if anything moved.
    pub fn turn(&mut self, io: &mut impl PacketIo, now: Time) -> bool {
        let mut worked = self.take_exchanged(io, now);
        for _ in 0..COMMANDS {
            let Some(command) = self.control.next_command() else {
                break;
            };
            control::run(self, io, command, now);
            worked = true;
        }
        let mut burst = std::mem::take(&mut self.burst);
        let waits = self.exchange.is_congested(now);
        for side in PortSide::BOTH.into_iter().filter(|_| !waits) {
            if io.receive(side, &mut burst, BURST) > 0 {
                process_burst(self, io, side, &mut burst, now);
                worked = true;
            }
        }
        self.burst = burst;
        timers::poll(self, io, now);
        io.flush();
        self.exchange.ring();
        self.control.ring_if_pushed();
        self.publish(io);
        worked
    }

    /// Whether there is something to do besides the ports: for the last look before a sleep.
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.control.has_commands() || self.exchange.has_work()
    }

    /// Ends all sessions and gives every frame back. The ports stay as they are: what comes in
    /// afterwards stays in their rings.
    pub fn shut_down(&mut self, io: &mut impl PacketIo, now: Time) {
        timers::end_all(self, io, now);
        self.take_exchanged(io, now);
        io.flush();
        self.control.ring_if_pushed();
        self.publish(io);
    }

    /// Counts what a turn took.
    pub(crate) fn account_time(&self, ns: u64, worked: bool) {
        let tallies = self.counters.tallies();
        tallies.turns.add(1);
        if worked { &tallies.busy_ns } else { &tallies.idle_ns }.add(ns);
    }

    /// Room for an event that may be refused?
    pub(crate) fn has_event_room(&self) -> bool {
        self.late_events.is_empty() && self.control.has_room()
    }

    /// Tells control of what anybody may have sent, or not: false if the ring is about full.
    pub(crate) fn push_event(&mut self, event: Event) -> bool {
        let room = self.has_event_room() && self.control.has_room_to_spare();
        let pushed = room && self.control.push(event);
        self.counters.tallies().events.add(u64::from(pushed));
        pushed
    }

    /// Tells control of what it must know: later, in order, if the ring is full now.
    pub(crate) fn push_surely(&mut self, event: Event) {
        self.counters.tallies().events.add(1);
        if self.has_event_room() {
            self.control.push(event);
        } else {
            self.late_events.push_back(event);
        }
    }

    /// Tries the late events again.
    pub(crate) fn push_late(&mut self) {
        while self.control.has_room()
            && let Some(event) = self.late_events.pop_front()
        {
            self.control.push(event);
        }
    }

    /// Remembers a session that has begun without anybody's word for it.
    pub(crate) fn note_opening(&mut self, id: SessionId) {
        if self.config.role != Role::Gateway {
            return;
        }
        if self.opening.len() >= 2 * self.config.sessions as usize {
            // At least half of them are stale, so this is rare.
            let table = &self.table;
            self.opening.retain(|id| is_opening(table, *id));
        }
        self.opening.push_back(id);
    }

    /// The gateway's oldest session that nobody has vouched for.
    pub(crate) fn oldest_opening(&mut self) -> Option<SessionId> {
        let table = &self.table;
        std::iter::from_fn(|| self.opening.pop_front()).find(|id| is_opening(table, *id))
    }

    /// Lets one held frame of a session go.
    pub(crate) fn release(&mut self, id: SessionId, kind: HoldKind) {
        if let Some(frame) = self.hold.take(id.index(), kind) {
            // Handshakes and ACKs are held where they came in: always the cipher side.
            self.released.push_back((PortSide::Cipher, frame));
        }
    }

    /// Lets all held frames of a session go, the handshake first.
    pub(crate) fn release_held(&mut self, id: SessionId) {
        self.release(id, HoldKind::Handshake);
        self.release(id, HoldKind::Ack);
    }

    /// Frees a frame for a reason.
    pub(crate) fn drop_frame(&self, io: &mut impl PacketIo, frame: Frame, reason: DropReason) {
        self.counters.dropped(reason);
        io.free(frame);
    }

    /// Sends a frame.
    pub(crate) fn emit(&self, io: &mut impl PacketIo, side: PortSide, frame: Frame) {
        self.counters.transmitted(side, 1, frame.len());
        io.transmit(side, frame);
    }

    fn take_exchanged(&mut self, io: &mut impl PacketIo, now: Time) -> bool {
        let mut worked = false;
        for peer in 0..self.exchange.workers() {
            while let Some(frame) = self.exchange.reclaim(peer) {
                io.free(frame);
                worked = true;
            }
            // A peer may hand a burst from each of its ports over in a turn.
            let mut burst = std::mem::take(&mut self.burst);
            let mut came_in = PortSide::Cipher;
            for _ in 0..2 * BURST {
                let Some((side, frame)) = self.exchange.take(peer, || io.alloc()) else {
                    break;
                };
                self.counters.tallies().exchange_in.add(1);
                if side != came_in || burst.len() == BURST {
                    process_frames(self, io, came_in, &mut burst, now);
                    came_in = side;
                }
                burst.push(frame);
                worked = true;
            }
            process_frames(self, io, came_in, &mut burst, now);
            self.burst = burst;
        }
        worked
    }

    /// Gauges, once per turn. Debug builds check here that no frame was lost.
    fn publish(&self, io: &impl PacketIo) {
        let inner = &self.counters.0;
        let tallies = &inner.tallies;
        tallies.held.set(self.hold.len() as u64);
        tallies.key_expansions.set(self.keys.expansions());
        for (gauge, count) in inner.sessions.iter().zip(self.table.by_state()) {
            gauge.set(u64::from(count));
        }
        inner.clear_sessions.set(u64::from(self.clear.len()));
        let frames = io.accounting();
        inner.free_frames.set(frames.pool as u64);
        inner.rx_fill.set(frames.rx_fill as u64);
        inner.tx_outstanding.set((frames.tx_outstanding + frames.batched) as u64);
        #[cfg(debug_assertions)]
        self.balance(io);
    }

    /// Frames in this worker's hands are those it holds and those under way to its peers.
    #[cfg(debug_assertions)]
    fn balance(&self, io: &impl PacketIo) {
        let known = self.hold.len() + self.exchange.outstanding();
        debug_assert_eq!(io.accounting().in_hand(), known as isize, "frames lost or doubled");
        debug_assert_eq!(self.counters.snapshot().balance(), 0, "frames uncounted");
    }
}

fn is_opening(table: &SessionTable, id: SessionId) -> bool {
    table.get(id).is_some_and(|session| session.state().is_unkeyed())
}
