//! Virtual time and what happens when. Owns the order of events: by time, and in the order of
//! their making where times are equal.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use sekisho_session::Time;

/// Nanoseconds of one microsecond.
pub(super) const MICROSECOND: u64 = 1_000;
/// Nanoseconds of one millisecond.
pub(super) const MILLISECOND: u64 = 1_000_000;
/// Nanoseconds of one second.
pub(super) const SECOND: u64 = 1_000_000_000;

/// Events of kind `E`, with the present.
pub(super) struct Schedule<E> {
    now: u64,
    made: u64,
    heap: BinaryHeap<Entry<E>>,
}

struct Entry<E> {
    at: u64,
    number: u64,
    event: E,
}

impl<E> Schedule<E> {
    /// Nothing to come, and time stands at `start`.
    pub(super) fn new(start: u64) -> Self {
        Self { now: start, made: 0, heap: BinaryHeap::new() }
    }

    /// The present, in nanoseconds.
    pub(super) fn now(&self) -> u64 {
        self.now
    }

    /// The present, as workers take it.
    pub(super) fn time(&self) -> Time {
        Time(self.now)
    }

    /// Adds an event; one in the past happens next.
    pub(super) fn at(&mut self, at: u64, event: E) {
        self.made += 1;
        self.heap.push(Entry { at: at.max(self.now), number: self.made, event });
    }

    /// Adds an event `delay` nanoseconds from now.
    pub(super) fn after(&mut self, delay: u64, event: E) {
        self.at(self.now.saturating_add(delay), event);
    }

    /// Goes on to the next event, unless it lies beyond `end`.
    pub(super) fn next(&mut self, end: u64) -> Option<E> {
        if self.heap.peek()?.at > end {
            return None;
        }
        let entry = self.heap.pop()?;
        self.now = entry.at;
        Some(entry.event)
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        // The heap gives its greatest first.
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_orders_and_equal_times_keep_their_order() {
        let mut schedule = Schedule::new(100);
        schedule.at(300, 'c');
        schedule.after(100, 'a');
        schedule.at(200, 'b');
        schedule.at(5, 'x');
        let mut seen = Vec::new();
        while let Some(event) = schedule.next(250) {
            seen.push((schedule.now(), event));
        }
        assert_eq!(seen, [(100, 'x'), (200, 'a'), (200, 'b')]);
        assert_eq!(schedule.next(300), Some('c'));
        assert_eq!(schedule.next(u64::MAX), None);
    }
}
