//! In-memory rings with the manners of the kernel's: frames wait in a fill ring, a full wire
//! leaves frames in the transmit ring, sent frames come back at a flush. No privilege needed.
//! It does not model time, loss or delay: that is the simulation's.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::frame::{Frame, FrameAccounting, FramePool};
use crate::io::{IoCounters, PacketIo, PortSide};

/// Sizes of one worker's in-memory rings, in frames.
#[derive(Clone, Copy, Debug)]
pub struct MemoryConfig {
    /// Frames of the worker.
    pub frames: usize,
    /// Frames waiting to be received into, for each side.
    pub fill: usize,
    /// Frames that a transmit ring holds, and packets that the wire holds before it blocks.
    pub ring: usize,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self { frames: 1024, fill: 256, ring: 256 }
    }
}

/// Packets of one side on the wire, outside of any frame.
#[derive(Debug, Default)]
struct Lane {
    to_port: VecDeque<Vec<u8>>,
    from_port: VecDeque<Vec<u8>>,
    blocked: bool,
    sink: bool,
}

/// The far end of both ports: what tests, simulation and benchmarks push into and pop from.
/// Clones are the same wire.
#[derive(Clone, Debug)]
pub struct MemoryWire {
    lanes: Arc<[Mutex<Lane>; 2]>,
}

impl MemoryWire {
    fn lane(&self, side: PortSide) -> MutexGuard<'_, Lane> {
        // A panicking test leaves plain queues behind, which stay usable.
        self.lanes[side.index()].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a packet to the port of `side`.
    pub fn push(&self, side: PortSide, bytes: &[u8]) {
        self.lane(side).to_port.push_back(bytes.to_vec());
    }

    /// The oldest packet that left by `side`.
    #[must_use]
    pub fn pop(&self, side: PortSide) -> Option<Vec<u8>> {
        self.lane(side).from_port.pop_front()
    }

    /// All packets that left by `side`, oldest first.
    #[must_use]
    pub fn drain(&self, side: PortSide) -> Vec<Vec<u8>> {
        self.lane(side).from_port.drain(..).collect()
    }

    /// Packets pushed to `side` and not yet received.
    #[must_use]
    pub fn waiting(&self, side: PortSide) -> usize {
        self.lane(side).to_port.len()
    }

    /// While blocked the wire takes nothing from the port: its transmit ring fills up.
    pub fn set_blocked(&self, side: PortSide, blocked: bool) {
        self.lane(side).blocked = blocked;
    }

    /// A sink forgets what leaves by `side`, without copying it: for benchmarks.
    pub fn set_sink(&self, side: PortSide, sink: bool) {
        self.lane(side).sink = sink;
    }
}

#[derive(Debug, Default)]
struct Rings {
    fill: VecDeque<Frame>,
    /// Frames to be sent, the oldest first; so many of them are in the transmit ring.
    queued: Vec<Frame>,
    in_ring: usize,
    counters: IoCounters,
}

/// [`PacketIo`] over plain memory.
#[derive(Debug)]
pub struct MemoryIo {
    config: MemoryConfig,
    wire: MemoryWire,
    pool: FramePool,
    sides: [Rings; 2],
    /// Frames of one side that may wait to be sent; beyond that they are dropped.
    most_queued: usize,
}

impl MemoryIo {
    /// Rings of the given sizes and the wire they hang on.
    ///
    /// Returns none when the frames' memory cannot be mapped.
    #[must_use]
    pub fn new(config: MemoryConfig) -> Option<(Self, MemoryWire)> {
        let wire = MemoryWire { lanes: Arc::default() };
        let mut io = Self {
            config,
            wire: wire.clone(),
            pool: FramePool::anonymous(config.frames)?,
            sides: Default::default(),
            most_queued: 0,
        };
        io.config.frames = io.pool.len();
        io.most_queued = config.ring.max(io.config.frames / 4);
        io.refill();
        Some((io, wire))
    }

    fn refill(&mut self) {
        for rings in &mut self.sides {
            while rings.fill.len() < self.config.fill {
                let Some(frame) = self.pool.alloc() else {
                    return;
                };
                rings.fill.push_back(frame);
            }
        }
    }

    fn send(&mut self, side: PortSide) {
        let rings = &mut self.sides[side.index()];
        let in_ring = rings.queued.len().min(self.config.ring);
        rings.counters.tx_frames += (in_ring - rings.in_ring) as u64;
        rings.in_ring = in_ring;
        if in_ring == 0 {
            return;
        }
        rings.counters.tx_kicks += 1;
        let mut lane = self.wire.lane(side);
        let room = match (lane.blocked, lane.sink) {
            (true, _) => 0,
            (false, true) => in_ring,
            (false, false) => self.config.ring.saturating_sub(lane.from_port.len()),
        };
        let taken = in_ring.min(room);
        rings.in_ring -= taken;
        if !lane.sink {
            lane.from_port.extend(rings.queued[..taken].iter().map(|frame| frame.data().to_vec()));
        }
        self.pool.free_all(rings.queued.drain(..taken));
    }
}

impl PacketIo for MemoryIo {
    fn receive(&mut self, side: PortSide, out: &mut Vec<Frame>, max: usize) -> usize {
        let rings = &mut self.sides[side.index()];
        let mut lane = self.wire.lane(side);
        let mut received = 0;
        while received < max && !lane.to_port.is_empty() {
            // Without a frame to receive into the packet waits on the wire.
            let Some(mut frame) = rings.fill.pop_front() else {
                break;
            };
            let Some(bytes) = lane.to_port.pop_front() else {
                rings.fill.push_front(frame);
                break;
            };
            if frame.fill_from(&bytes) {
                out.push(frame);
                received += 1;
            } else {
                // The kernel drops what does not fit a chunk; so does this ring.
                rings.fill.push_front(frame);
            }
        }
        rings.counters.rx_frames += received as u64;
        received
    }

    fn transmit(&mut self, side: PortSide, frame: Frame) {
        let rings = &mut self.sides[side.index()];
        if rings.queued.len() >= self.most_queued {
            rings.counters.tx_dropped += 1;
            self.pool.free(frame);
        } else {
            rings.queued.push(frame);
        }
    }

    fn flush(&mut self) {
        for side in PortSide::BOTH {
            self.send(side);
        }
        self.refill();
    }

    fn alloc(&mut self) -> Option<Frame> {
        self.pool.alloc()
    }

    fn free(&mut self, frame: Frame) {
        self.pool.free(frame);
    }

    fn free_frames(&self) -> usize {
        self.pool.len()
    }

    fn backlog(&self) -> usize {
        self.sides.iter().map(|r| r.queued.len()).sum()
    }

    fn accounting(&self) -> FrameAccounting {
        FrameAccounting {
            total: self.config.frames,
            pool: self.pool.len(),
            rx_fill: self.sides.iter().map(|r| r.fill.len()).sum(),
            tx_outstanding: self.sides.iter().map(|r| r.in_ring).sum(),
            batched: self.sides.iter().map(|r| r.queued.len() - r.in_ring).sum(),
        }
    }

    fn counters(&self, side: PortSide) -> IoCounters {
        self.sides[side.index()].counters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> (MemoryIo, MemoryWire) {
        MemoryIo::new(MemoryConfig { frames: 32, fill: 8, ring: 4 }).unwrap()
    }

    #[test]
    fn a_packet_crosses_from_side_to_side_and_no_frame_is_lost() {
        let (mut io, wire) = small();
        wire.push(PortSide::Cipher, b"one");
        let mut burst = Vec::new();
        assert_eq!(io.receive(PortSide::Cipher, &mut burst, 64), 1);
        assert_eq!(io.accounting().in_hand(), 1);
        io.transmit(PortSide::Plain, burst.pop().unwrap());
        assert_eq!(io.accounting().batched, 1);
        io.flush();
        assert_eq!(wire.pop(PortSide::Plain).unwrap(), b"one");
        assert_eq!(wire.pop(PortSide::Cipher), None);
        assert_eq!(io.accounting().in_hand(), 0);
        assert_eq!(io.accounting().rx_fill, 16);
        assert_eq!(io.counters(PortSide::Cipher).rx_frames, 1);
        assert_eq!(io.counters(PortSide::Plain).tx_frames, 1);
    }

    #[test]
    fn a_blocked_wire_keeps_frames_up_to_a_bound_then_drops_and_counts() {
        let (mut io, wire) = small();
        wire.set_blocked(PortSide::Plain, true);
        for n in 0..12_u8 {
            let mut frame = io.alloc().unwrap();
            assert!(frame.fill_from(&[n]));
            io.transmit(PortSide::Plain, frame);
            io.flush();
        }
        assert_eq!(io.backlog(), 8);
        assert_eq!(io.counters(PortSide::Plain).tx_dropped, 4);
        assert_eq!(io.accounting().in_hand(), 0);
        wire.set_blocked(PortSide::Plain, false);
        io.flush();
        assert_eq!(wire.drain(PortSide::Plain), [[0], [1], [2], [3]]);
        io.flush();
        assert_eq!(wire.drain(PortSide::Plain), [[4], [5], [6], [7]]);
        assert_eq!(io.backlog(), 0);
        assert_eq!(io.accounting().in_hand(), 0);
    }

    #[test]
    fn an_empty_fill_ring_stops_reception_until_frames_come_back() {
        let (mut io, wire) = small();
        let held: Vec<_> = std::iter::from_fn(|| io.alloc()).collect();
        for _ in 0..10 {
            wire.push(PortSide::Plain, &[1; 60]);
        }
        let mut burst = Vec::new();
        assert_eq!(io.receive(PortSide::Plain, &mut burst, 64), 8);
        io.flush();
        assert_eq!(io.receive(PortSide::Plain, &mut burst, 64), 0);
        held.into_iter().chain(burst.drain(..)).for_each(|f| io.free(f));
        io.flush();
        assert_eq!(io.receive(PortSide::Plain, &mut burst, 64), 2);
        burst.drain(..).for_each(|f| io.free(f));
        assert_eq!(io.accounting().in_hand(), 0);
    }

    #[test]
    fn an_oversized_packet_is_dropped_and_its_frame_stays() {
        let (mut io, wire) = small();
        wire.push(PortSide::Plain, &[0; crate::FRAME_CAPACITY + 1]);
        let mut burst = Vec::new();
        assert_eq!(io.receive(PortSide::Plain, &mut burst, 64), 0);
        assert_eq!(wire.waiting(PortSide::Plain), 0);
        assert_eq!(io.accounting().in_hand(), 0);
    }

    #[test]
    fn a_sink_gives_frames_back_without_copying() {
        let (mut io, wire) = small();
        wire.set_sink(PortSide::Cipher, true);
        for _ in 0..100 {
            let frame = io.alloc().unwrap();
            io.transmit(PortSide::Cipher, frame);
            io.flush();
        }
        assert_eq!(io.counters(PortSide::Cipher).tx_frames, 100);
        assert!(wire.pop(PortSide::Cipher).is_none());
        assert_eq!(io.accounting().in_hand(), 0);
    }
}
