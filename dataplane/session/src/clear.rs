//! Flows that run in clear because a service's policy lets them. Owns: which they are. Not: the
//! policy.
//!
//! Under `prefer` a segment passes in clear only if its flow is in this table, and a flow enters
//! only by its SYN: what is unknown in mid-stream never passes (M7.14, hazard 37).

use std::time::Duration;

use thiserror::Error;

use crate::flow::{Direction, FlowKey};
use crate::hash::FlowHasher;
use crate::index::FlowIndex;
use crate::limits::Timeouts;
use crate::time::{Tick, Time};

/// Every slot is taken: the flow must not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("table of clear flows is full")]
pub struct ClearTableFull;

const OCCUPIED: u8 = 1;
/// FIN seen in direction `i`: `FIN << i`.
const FIN: u8 = 2;
const BOTH_FINS: u8 = FIN | (FIN << 1);
const RST: u8 = 8;
/// A segment behind the SYN passed in direction `i`: `SEEN << i`.
const SEEN: u8 = 16;
const BOTH_SEEN: u8 = SEEN | (SEEN << 1);
/// Slots looked at for a flow that gives way: bounds what a SYN of a flood costs.
const SEARCH: u32 = 64;

struct ClearFlow {
    flow: FlowKey,
    since: Tick,
    flags: u8,
}

impl ClearFlow {
    fn is_occupied(&self) -> bool {
        self.flags & OCCUPIED != 0
    }

    fn is_ending(&self) -> bool {
        self.flags & RST != 0 || self.flags & BOTH_FINS == BOTH_FINS
    }

    /// Both ends have answered, which the sender of a forged SYN cannot make them do.
    fn is_established(&self) -> bool {
        self.flags & BOTH_SEEN == BOTH_SEEN
    }

    fn limit(&self, timeouts: &Timeouts) -> Duration {
        match (self.is_ending(), self.is_established()) {
            (true, _) => timeouts.linger,
            (false, true) => timeouts.idle,
            (false, false) => timeouts.setup,
        }
    }
}

/// One worker's clear flows: fixed capacity, nothing allocated after set-up.
pub struct ClearTable {
    slots: Vec<ClearFlow>,
    free: Vec<u32>,
    index: FlowIndex,
    hasher: FlowHasher,
    cursor: u32,
    /// Where the search for a flow that gives way goes on.
    hand: u32,
}

impl ClearTable {
    /// A table for `capacity` flows.
    #[must_use]
    pub fn new(capacity: u32, hasher: FlowHasher) -> Self {
        let vacant = |_| ClearFlow { flow: FlowKey::UNSPECIFIED, since: Tick::default(), flags: 0 };
        Self {
            slots: (0..capacity).map(vacant).collect(),
            free: (0..capacity).rev().collect(),
            index: FlowIndex::new(capacity),
            hasher,
            cursor: 0,
            hand: 0,
        }
    }

    /// Enters a flow by its SYN, or begins it anew; `answered`: by its SYN-ACK.
    ///
    /// Only where the tuple has no session: else a forged SYN without request would open a clear
    /// way for what a ciphered connection still sends after its session has ended. In a full table
    /// a flow of which no more than its SYN was seen gives way: forged SYNs must not close the
    /// service to others until the idle limit is over (hazard 20).
    ///
    /// # Errors
    /// [`ClearTableFull`]: drop the SYN.
    pub fn insert(
        &mut self,
        flow: &FlowKey,
        answered: bool,
        now: Time,
    ) -> Result<(), ClearTableFull> {
        let hash = self.hasher.hash(flow);
        let (slot, kept) = match self.find(hash, flow) {
            // A forged SYN on a flow that runs does not make it one that gives way.
            Some(slot) if !self.slots[slot as usize].is_ending() => {
                (slot, self.slots[slot as usize].flags & BOTH_SEEN)
            }
            Some(slot) => (slot, 0),
            None => (self.enter(hash)?, 0),
        };
        let seen = if answered { SEEN << Direction::ServerToClient.index() } else { 0 };
        let flags = OCCUPIED | kept | seen;
        self.slots[slot as usize] = ClearFlow { flow: *flow, since: Tick::at(now), flags };
        Ok(())
    }

    /// A slot for a new flow of that hash, in the index already.
    fn enter(&mut self, hash: u64) -> Result<u32, ClearTableFull> {
        if self.free.is_empty() {
            self.give_way();
        }
        let slot = self.free.pop().ok_or(ClearTableFull)?;
        let Self { slots, index, hasher, .. } = self;
        let occupied = (0..).zip(slots.iter()).filter(|(_, s)| s.is_occupied());
        let hash_of = |slot: u32| hasher.hash(&slots[slot as usize].flow);
        index.insert(hash, slot, hash_of, occupied.map(|(i, _)| i));
        Ok(slot)
    }

    /// Takes out the next flow that is not established. The hand goes round, so the oldest goes
    /// about first.
    fn give_way(&mut self) {
        for _ in 0..SEARCH.min(self.capacity()) {
            let entry = &self.slots[self.hand as usize];
            self.hand = if self.hand + 1 < self.capacity() { self.hand + 1 } else { 0 };
            if entry.is_occupied() && !entry.is_established() {
                let flow = entry.flow;
                self.remove(&flow);
                return;
            }
        }
    }

    /// True if a segment of this flow passes in clear; takes note of its FIN and RST.
    pub fn pass(
        &mut self,
        flow: &FlowKey,
        direction: Direction,
        fin: bool,
        rst: bool,
        now: Time,
    ) -> bool {
        let Some(slot) = self.find(self.hasher.hash(flow), flow) else { return false };
        let entry = &mut self.slots[slot as usize];
        if rst {
            entry.flags |= RST;
            entry.flags &= !BOTH_SEEN;
        } else {
            entry.flags |= SEEN << direction.index();
            if entry.is_established() {
                // Both ends go on talking: the RST was forged, or not where its receiver takes it.
                entry.flags &= !RST;
            }
        }
        if !entry.is_ending() {
            entry.since = Tick::at(now);
        }
        if fin {
            entry.flags |= FIN << direction.index();
        }
        true
    }

    /// True if the flow runs in clear; takes note of nothing.
    #[must_use]
    pub fn contains(&self, flow: &FlowKey) -> bool {
        self.find(self.hasher.hash(flow), flow).is_some()
    }

    /// Takes a flow out; true if it was there.
    pub fn remove(&mut self, flow: &FlowKey) -> bool {
        let hash = self.hasher.hash(flow);
        let Some(slot) = self.find(hash, flow) else { return false };
        self.index.remove(hash, slot);
        self.slots[slot as usize].flags = 0;
        self.free.push(slot);
        true
    }

    /// Visits up to `budget` slots from where the last call stopped, takes out what is idle, never came about, or is
    /// past its linger after RST or both FINs, and returns how many those were.
    pub fn expire(&mut self, timeouts: &Timeouts, now: Time, budget: u32) -> u32 {
        let mut removed = 0;
        for _ in 0..budget.min(self.capacity()) {
            let entry = &self.slots[self.cursor as usize];
            if entry.is_occupied() && entry.since.has_passed(entry.limit(timeouts), now) {
                let flow = entry.flow;
                self.remove(&flow);
                removed += 1;
            }
            self.cursor = if self.cursor + 1 < self.capacity() { self.cursor + 1 } else { 0 };
        }
        removed
    }

    /// Flows in the table.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.capacity() - u32::try_from(self.free.len()).unwrap_or(0)
    }

    /// True if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Flows that fit.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        // Made from a u32.
        u32::try_from(self.slots.len()).unwrap_or(u32::MAX)
    }

    fn find(&self, hash: u64, flow: &FlowKey) -> Option<u32> {
        self.index.find(hash, |slot| self.slots[slot as usize].flow == *flow)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn table(capacity: u32) -> ClearTable {
        ClearTable::new(capacity, FlowHasher::new(&[3; 16]))
    }

    fn flow(port: u16) -> FlowKey {
        FlowKey::new(([10, 0, 0, 1], port).into(), ([10, 0, 2, 10], 80).into()).unwrap()
    }

    fn seconds(s: u64) -> Time {
        Time(s * 1_000_000_000)
    }

    const UP: Direction = Direction::ClientToServer;
    const DOWN: Direction = Direction::ServerToClient;

    #[test]
    fn only_what_was_entered_passes() {
        let mut table = table(2);
        assert!(!table.pass(&flow(1), UP, false, false, Time(0)));
        table.insert(&flow(1), false, Time(0)).unwrap();
        assert!(table.pass(&flow(1), UP, false, false, Time(0)));
        assert!(!table.pass(&flow(2), UP, false, false, Time(0)));
        table.insert(&flow(2), false, Time(0)).unwrap();
        for port in [1, 2] {
            assert!(table.pass(&flow(port), DOWN, false, false, Time(0)));
            assert!(table.pass(&flow(port), UP, false, false, Time(0)));
        }
        assert_eq!(table.insert(&flow(3), false, Time(0)), Err(ClearTableFull));
        assert!(table.remove(&flow(1)) && !table.remove(&flow(1)));
        assert!(!table.pass(&flow(1), UP, false, false, Time(0)));
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn ends_after_both_fins_or_a_reset_or_idle() {
        let timeouts = Timeouts {
            setup: Duration::from_secs(100),
            idle: Duration::from_secs(100),
            linger: Duration::from_secs(10),
        };
        let mut table = table(8);
        for port in 1..=4 {
            table.insert(&flow(port), false, seconds(0)).unwrap();
        }
        assert!(table.pass(&flow(1), UP, true, false, seconds(1)));
        assert!(table.pass(&flow(1), DOWN, true, false, seconds(1)));
        assert!(table.pass(&flow(2), DOWN, false, true, seconds(1)));
        assert!(table.pass(&flow(3), UP, true, false, seconds(1)));
        assert_eq!(table.expire(&timeouts, seconds(10), 8), 0);
        // A late retransmission passes and does not prolong the linger.
        assert!(table.pass(&flow(1), UP, true, false, seconds(10)));
        assert_eq!(table.expire(&timeouts, seconds(12), 8), 2);
        assert_eq!(table.expire(&timeouts, seconds(99), 8), 0);
        // Begun anew by a SYN: the idle wait starts again.
        table.insert(&flow(4), false, seconds(99)).unwrap();
        assert_eq!(table.expire(&timeouts, seconds(102), 8), 1);
        assert!(table.pass(&flow(4), UP, false, false, seconds(102)));
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn syns_that_nobody_answers_for_give_way_and_end_soon() {
        let timeouts = Timeouts {
            setup: Duration::from_secs(15),
            idle: Duration::from_secs(10_000),
            linger: Duration::from_secs(10),
        };
        let mut table = table(4);
        table.insert(&flow(1), false, seconds(0)).unwrap();
        assert!(table.pass(&flow(1), DOWN, false, false, seconds(0)));
        assert!(table.pass(&flow(1), UP, false, false, seconds(0)));
        // At an agent the first that is seen of a clear flow is the answer.
        table.insert(&flow(2), true, seconds(0)).unwrap();
        assert!(table.pass(&flow(2), UP, false, false, seconds(0)));
        // A flood of forged SYNs, on the tuples of the two as well; the server answers each.
        for port in 1..1000 {
            table.insert(&flow(port), false, seconds(1)).unwrap();
            assert!(table.pass(&flow(port), DOWN, false, false, seconds(1)));
        }
        assert_eq!(table.len(), 4);
        assert!(table.pass(&flow(1), DOWN, false, false, seconds(1)));
        assert!(table.pass(&flow(2), DOWN, false, false, seconds(1)));
        assert_eq!(table.expire(&timeouts, seconds(20), 4), 2);
        assert_eq!(table.expire(&timeouts, seconds(9_000), 4), 0);
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn a_reset_that_neither_end_heeds_ends_nothing() {
        let timeouts = Timeouts {
            setup: Duration::from_secs(15),
            idle: Duration::from_secs(100),
            linger: Duration::from_secs(10),
        };
        let mut table = table(2);
        for port in [1, 2] {
            table.insert(&flow(port), true, seconds(0)).unwrap();
            assert!(table.pass(&flow(port), UP, false, true, seconds(1)));
            // What was under way comes late, and proves nothing.
            assert!(table.pass(&flow(port), DOWN, false, false, seconds(1)));
        }
        assert!(table.pass(&flow(1), UP, false, false, seconds(2)));
        assert!(table.pass(&flow(2), UP, false, true, seconds(2)));
        assert_eq!(table.expire(&timeouts, seconds(14), 2), 1);
        assert!(table.pass(&flow(1), DOWN, false, false, seconds(50)));
    }
}
