//! Flows that run in clear because a service's policy lets them. Owns: which they are. Not: the
//! policy.
//!
//! Under `prefer` a segment passes in clear only if its flow is in this table, and a flow enters
//! only by its SYN: what is unknown in mid-stream never passes (M7.14, hazard 37).

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
}

/// One worker's clear flows: fixed capacity, nothing allocated after set-up.
pub struct ClearTable {
    slots: Vec<ClearFlow>,
    free: Vec<u32>,
    index: FlowIndex,
    hasher: FlowHasher,
    cursor: u32,
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
        }
    }

    /// Enters a flow by its SYN, or begins it anew.
    ///
    /// Only where the tuple has no session: else a forged SYN without request would open a clear
    /// way for what a ciphered connection still sends after its session has ended.
    ///
    /// # Errors
    /// [`ClearTableFull`]: drop the SYN.
    pub fn insert(&mut self, flow: &FlowKey, now: Time) -> Result<(), ClearTableFull> {
        let hash = self.hasher.hash(flow);
        let slot = match self.find(hash, flow) {
            Some(slot) => slot,
            None => {
                let slot = self.free.pop().ok_or(ClearTableFull)?;
                let Self { slots, index, hasher, .. } = self;
                let occupied = (0..).zip(slots.iter()).filter(|(_, s)| s.is_occupied());
                let hash_of = |slot: u32| hasher.hash(&slots[slot as usize].flow);
                index.insert(hash, slot, hash_of, occupied.map(|(i, _)| i));
                slot
            }
        };
        self.slots[slot as usize] =
            ClearFlow { flow: *flow, since: Tick::at(now), flags: OCCUPIED };
        Ok(())
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
        if !entry.is_ending() {
            entry.since = Tick::at(now);
        }
        if fin {
            entry.flags |= FIN << direction.index();
        }
        if rst {
            entry.flags |= RST;
        }
        true
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

    /// Visits up to `budget` slots from where the last call stopped, takes out what is idle, or
    /// past its linger after RST or both FINs, and returns how many those were.
    pub fn expire(&mut self, timeouts: &Timeouts, now: Time, budget: u32) -> u32 {
        let mut removed = 0;
        for _ in 0..budget.min(self.capacity()) {
            let entry = &self.slots[self.cursor as usize];
            let limit = if entry.is_ending() { timeouts.linger } else { timeouts.idle };
            if entry.is_occupied() && entry.since.has_passed(limit, now) {
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
        table.insert(&flow(1), Time(0)).unwrap();
        assert!(table.pass(&flow(1), UP, false, false, Time(0)));
        assert!(!table.pass(&flow(2), UP, false, false, Time(0)));
        table.insert(&flow(2), Time(0)).unwrap();
        assert_eq!(table.insert(&flow(3), Time(0)), Err(ClearTableFull));
        assert!(table.remove(&flow(1)) && !table.remove(&flow(1)));
        assert!(!table.pass(&flow(1), UP, false, false, Time(0)));
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn ends_after_both_fins_or_a_reset_or_idle() {
        let timeouts = Timeouts {
            setup: Duration::ZERO,
            idle: Duration::from_secs(100),
            linger: Duration::from_secs(10),
        };
        let mut table = table(8);
        for port in 1..=4 {
            table.insert(&flow(port), seconds(0)).unwrap();
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
        table.insert(&flow(4), seconds(99)).unwrap();
        assert_eq!(table.expire(&timeouts, seconds(102), 8), 1);
        assert!(table.pass(&flow(4), UP, false, false, seconds(102)));
        assert_eq!(table.len(), 1);
    }
}
