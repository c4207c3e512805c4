//! Counters of one worker: written by its thread alone, read by anyone. Owns the numbers; names
//! and labels of metrics are the program's.

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::utils::CachePadded;
use sekisho_port::PortSide;
use sekisho_session::State;

use crate::drop_reason::DropReason;

/// A counter or gauge with one writer: load and store, no locked instruction.
#[derive(Default)]
pub(crate) struct Cell(AtomicU64);

impl Cell {
    #[inline]
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One side's packets and bytes (whole frames, without Ethernet padding that was cut).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SideSnapshot {
    /// Frames taken from the receive ring.
    pub rx_packets: u64,
    /// Their bytes.
    pub rx_bytes: u64,
    /// Frames handed to the transmit ring.
    pub tx_packets: u64,
    /// Their bytes.
    pub tx_bytes: u64,
}

macro_rules! tallies {
    ($($(#[doc = $help:literal])+ $name:ident,)+) => {
        /// Single numbers of a worker.
        #[derive(Default)]
        pub(crate) struct Tallies { $(pub(crate) $name: Cell,)+ }

        /// Single numbers of a worker, as read at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct TallySnapshot { $($(#[doc = $help])+ pub $name: u64,)+ }

        impl TallySnapshot {
            /// Name, help text and value of each, in declaration order.
            #[must_use]
            pub fn rows(&self) -> Vec<(&'static str, &'static str, u64)> {
                vec![$((stringify!($name), concat!($($help),+).trim_ascii(), self.$name),)+]
            }

            fn add(&mut self, other: &Self) {
                $(self.$name = self.$name.wrapping_add(other.$name);)+
            }
        }

        impl Tallies {
            fn snapshot(&self) -> TallySnapshot {
                TallySnapshot { $($name: self.$name.get(),)+ }
            }
        }
    };
}

tallies! {
    /// Frames made here: RST, bare ACK, frames of control.
    made,
    /// Frames taken up by control: key-delivery datagrams.
    consumed,
    /// Gauge: frames held until their session is synchronised.
    held,
    /// Frames handed to the worker that owns their session.
    exchange_out,
    /// Frames taken over from other workers.
    exchange_in,
    /// Segments sealed.
    sealed_segments,
    /// Payload octets sealed.
    sealed_bytes,
    /// Segments opened and verified.
    opened_segments,
    /// Payload octets opened and verified.
    opened_bytes,
    /// SYN and SYN-ACK whose MSS was lowered by the tag's 16 octets.
    mss_lowered,
    /// SYN and SYN-ACK that had no MSS option and got one.
    mss_added,
    /// SYN and SYN-ACK that lost a Fast Open or MPTCP option, or payload.
    handshake_stripped,
    /// Segments that lost SACK blocks or AccECN to make room for the tag.
    options_trimmed,
    /// Keep-alives whose garbage octet was cut.
    keepalives_cut,
    /// Segments whose urgent pointer was cleared.
    urgent_cleared,
    /// ICMP errors whose quotation was cut to the ports and sequence number.
    quotations_cut,
    /// ICMP messages about a packet that is too big, whose MTU was lowered by the tag's 16 octets.
    mtu_lowered,
    /// Cipher sessions begun.
    sessions_opened,
    /// Cipher sessions ended.
    sessions_closed,
    /// Sessions of `prefer` services that began in clear.
    sessions_clear,
    /// First segments of clients that came without the server's SYN-ACK: asymmetric routing.
    asymmetric,
    /// Frames passed in clear by policy (`off`, or `prefer` without request).
    passed_clear,
    /// SYNs that were refused, and ACKs of forgotten connections, answered with a RST.
    refused,
    /// Events handed to control.
    events,
    /// Commands whose session name was stale; their keys are wiped.
    stale_commands,
    /// Key contexts expanded: misses of the per-worker cache.
    key_expansions,
    /// Turns of the worker's loop.
    turns,
    /// Nanoseconds spent in turns that moved something.
    busy_ns,
    /// Nanoseconds spent in turns that found nothing, and asleep.
    idle_ns,
}

#[derive(Default)]
pub(crate) struct Side {
    pub(crate) rx_packets: Cell,
    pub(crate) rx_bytes: Cell,
    pub(crate) tx_packets: Cell,
    pub(crate) tx_bytes: Cell,
}

#[derive(Default)]
pub(crate) struct Inner {
    pub(crate) sides: [Side; 2],
    pub(crate) tallies: Tallies,
    pub(crate) drops: DropCells,
    pub(crate) sessions: [Cell; State::COUNT],
    pub(crate) clear_sessions: Cell,
    pub(crate) free_frames: Cell,
    pub(crate) rx_fill: Cell,
    pub(crate) tx_outstanding: Cell,
}

pub(crate) struct DropCells([Cell; DropReason::COUNT]);

impl Default for DropCells {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Cell::default()))
    }
}

/// All counters of one worker, on cache lines of their own. One writer.
#[derive(Default)]
pub struct WorkerCounters(pub(crate) CachePadded<Inner>);

impl WorkerCounters {
    #[inline]
    pub(crate) fn received(&self, side: PortSide, packets: usize, bytes: usize) {
        let cells = &self.0.sides[side.index()];
        cells.rx_packets.add(packets as u64);
        cells.rx_bytes.add(bytes as u64);
    }

    #[inline]
    pub(crate) fn transmitted(&self, side: PortSide, packets: usize, bytes: usize) {
        let cells = &self.0.sides[side.index()];
        cells.tx_packets.add(packets as u64);
        cells.tx_bytes.add(bytes as u64);
    }

    #[inline]
    pub(crate) fn dropped(&self, reason: DropReason) {
        self.0.drops.0[reason.index()].add(1);
    }

    #[inline]
    pub(crate) fn tallies(&self) -> &Tallies {
        &self.0.tallies
    }

    /// Reads everything. Numbers of one snapshot may be a burst apart from each other.
    #[must_use]
    pub fn snapshot(&self) -> WorkerSnapshot {
        let inner = &self.0;
        WorkerSnapshot {
            sides: std::array::from_fn(|at| SideSnapshot {
                rx_packets: inner.sides[at].rx_packets.get(),
                rx_bytes: inner.sides[at].rx_bytes.get(),
                tx_packets: inner.sides[at].tx_packets.get(),
                tx_bytes: inner.sides[at].tx_bytes.get(),
            }),
            drops: std::array::from_fn(|at| inner.drops.0[at].get()),
            sessions: std::array::from_fn(|at| inner.sessions[at].get()),
            clear_sessions: inner.clear_sessions.get(),
            free_frames: inner.free_frames.get(),
            rx_fill: inner.rx_fill.get(),
            tx_outstanding: inner.tx_outstanding.get(),
            tallies: inner.tallies.snapshot(),
        }
    }
}

impl std::fmt::Debug for WorkerCounters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.snapshot().fmt(f)
    }
}

/// The counters of one worker at one moment; [`WorkerSnapshot::add`] sums workers.
#[derive(Clone, Debug)]
pub struct WorkerSnapshot {
    /// By [`PortSide::index`].
    pub sides: [SideSnapshot; 2],
    /// By [`DropReason::index`].
    pub drops: [u64; DropReason::COUNT],
    /// Gauges: sessions by state, in the order of `sekisho_session::State::ALL`.
    pub sessions: [u64; State::COUNT],
    /// Gauge: sessions of `prefer` services in clear.
    pub clear_sessions: u64,
    /// Gauge: free frames.
    pub free_frames: u64,
    /// Gauge: frames waiting to be received into, both sides.
    pub rx_fill: u64,
    /// Gauge: frames in transmit rings, both sides.
    pub tx_outstanding: u64,
    /// Single numbers.
    pub tallies: TallySnapshot,
}

impl Default for WorkerSnapshot {
    fn default() -> Self {
        WorkerCounters::default().snapshot()
    }
}

impl WorkerSnapshot {
    /// Frames dropped for `reason`.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops[reason.index()]
    }

    /// Frames dropped for any reason.
    #[must_use]
    pub fn dropped_total(&self) -> u64 {
        self.drops.iter().sum()
    }

    /// Frames taken in less frames accounted for. Zero whenever a burst is done:
    /// `rx + made + exchange_in = tx + Σ drops + consumed + exchange_out + held`.
    #[must_use]
    pub fn balance(&self) -> i128 {
        let side = |f: fn(&SideSnapshot) -> u64| self.sides.iter().map(f).sum::<u64>();
        let t = &self.tallies;
        let taken = side(|s| s.rx_packets) + t.made + t.exchange_in;
        let given =
            side(|s| s.tx_packets) + self.dropped_total() + t.consumed + t.exchange_out + t.held;
        i128::from(taken) - i128::from(given)
    }

    /// Adds another worker's numbers.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.sides.iter_mut().zip(&other.sides) {
            mine.rx_packets += theirs.rx_packets;
            mine.rx_bytes += theirs.rx_bytes;
            mine.tx_packets += theirs.tx_packets;
            mine.tx_bytes += theirs.tx_bytes;
        }
        let mine = self.drops.iter_mut().chain(&mut self.sessions);
        for (mine, theirs) in mine.zip(other.drops.iter().chain(&other.sessions)) {
            *mine += theirs;
        }
        self.clear_sessions += other.clear_sessions;
        self.free_frames += other.free_frames;
        self.rx_fill += other.rx_fill;
        self.tx_outstanding += other.tx_outstanding;
        self.tallies.add(&other.tallies);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_add_up_and_balance() {
        let counters = WorkerCounters::default();
        counters.received(PortSide::Cipher, 1, 100);
        counters.received(PortSide::Plain, 1, 60);
        counters.transmitted(PortSide::Plain, 1, 84);
        counters.dropped(DropReason::BadTag);
        let mut sum = counters.snapshot();
        assert_eq!(sum.balance(), 0);
        sum.add(&counters.snapshot());
        assert_eq!(sum.dropped(DropReason::BadTag), 2);
        assert_eq!(sum.sides[PortSide::Cipher.index()].rx_bytes, 200);
        assert_eq!(sum.balance(), 0);
        counters.received(PortSide::Plain, 1, 1);
        assert_eq!(counters.snapshot().balance(), 1);
    }
}
