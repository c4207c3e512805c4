//! Frames of sessions that another worker owns. The owner gives one free frame back for each it
//! takes, so no pool ever shrinks; without that the handing queue dies after as many frames as its
//! pool has. Owns the rings between workers and the count of frames under way.

use std::sync::Arc;
use std::time::Duration;

use crossbeam::queue::ArrayQueue;
use sekisho_port::{Doorbell, Frame, PortSide};
use sekisho_session::Time;

/// Frames under way from one worker to one other at most: what 10 Gbit/s of full segments bring
/// while a peer sleeps for a millisecond.
pub const EXCHANGE_DEPTH: usize = 1024;
/// Frames under way from which on no more are received: what both ports can bring in a turn still
/// fits. Until then frames wait in the receive rings, where there is more room.
const HIGH_WATER: usize = EXCHANGE_DEPTH - 2 * crate::worker::BURST;
/// How long frames wait for a peer that gives nothing back. Beyond it the peer is taken for stuck,
/// and its frames are dropped so that others' go on.
pub const PATIENCE: Duration = Duration::from_millis(20);

/// One ordered pair of workers.
struct Lane {
    /// Frames handed over, with the side they came in on.
    forth: ArrayQueue<(PortSide, Frame)>,
    /// Free frames given back.
    back: ArrayQueue<Frame>,
}

/// One worker's view of its lanes to and from one other worker.
struct Peer {
    to: Arc<Lane>,
    from: Arc<Lane>,
    /// Handed over and not yet given back: never above the lanes' capacity, so neither is ever
    /// found full by the one who pushes.
    outstanding: usize,
    /// When the lane was last below the mark, or gave a frame back.
    moved: Time,
    gave_back: bool,
    handed: bool,
    bell: Option<Doorbell>,
}

/// The exchange as one worker sees it. Position `own` of `peers` is empty.
pub struct ExchangePort {
    own: usize,
    peers: Vec<Option<Peer>>,
}

/// Lanes between all pairs of `workers`, one port each. `bells` wake the workers, by index.
#[must_use]
pub fn exchange(workers: usize, bells: &[Option<Doorbell>]) -> Vec<ExchangePort> {
    let lanes: Vec<Vec<Arc<Lane>>> = (0..workers)
        .map(|_| {
            let lane = || Lane {
                forth: ArrayQueue::new(EXCHANGE_DEPTH),
                back: ArrayQueue::new(EXCHANGE_DEPTH),
            };
            (0..workers).map(|_| Arc::new(lane())).collect()
        })
        .collect();
    let peer = |own: usize, other: usize| Peer {
        to: lanes[own][other].clone(),
        from: lanes[other][own].clone(),
        outstanding: 0,
        moved: Time(0),
        gave_back: false,
        handed: false,
        bell: bells.get(other).cloned().flatten(),
    };
    (0..workers)
        .map(|own| ExchangePort {
            own,
            peers: (0..workers).map(|other| (other != own).then(|| peer(own, other))).collect(),
        })
        .collect()
}

impl ExchangePort {
    /// Workers, this one included.
    pub(crate) fn workers(&self) -> usize {
        self.peers.len()
    }

    /// Hands a frame to its owner.
    ///
    /// # Errors
    /// The frame, where too many are under way to that owner already.
    pub(crate) fn hand(&mut self, owner: usize, side: PortSide, frame: Frame) -> Result<(), Frame> {
        let Some(peer) = self.peers.get_mut(owner).and_then(Option::as_mut) else {
            return Err(frame);
        };
        if peer.outstanding >= EXCHANGE_DEPTH {
            return Err(frame);
        }
        peer.to.forth.push((side, frame)).map_err(|(_, frame)| frame)?;
        peer.outstanding += 1;
        peer.handed = true;
        Ok(())
    }

    /// The next frame from `peer`, in exchange for a free one that `free` supplies. Without a
    /// free frame the handed one stays where it is.
    pub(crate) fn take(
        &mut self,
        peer: usize,
        free: impl FnOnce() -> Option<Frame>,
    ) -> Option<(PortSide, Frame)> {
        let lane = &self.peers.get(peer)?.as_ref()?.from;
        if lane.forth.is_empty() {
            return None;
        }
        let in_return = free()?;
        // Only this worker pops, so what was there still is.
        let taken = lane.forth.pop();
        let returned = lane.back.push(in_return);
        debug_assert!(taken.is_some() && returned.is_ok(), "exchange lanes have one end each");
        taken
    }

    /// The next free frame that came back from `peer`.
    pub(crate) fn reclaim(&mut self, peer: usize) -> Option<Frame> {
        let peer = self.peers.get_mut(peer)?.as_mut()?;
        let frame = peer.to.back.pop()?;
        peer.outstanding -= 1;
        peer.gave_back = true;
        Some(frame)
    }

    /// Whether to leave frames in the receive rings, since a peer has as many as it should have
    /// and is giving some back. Once per turn, after the lanes were emptied.
    pub(crate) fn is_congested(&mut self, now: Time) -> bool {
        let mut congested = false;
        for peer in self.peers.iter_mut().flatten() {
            if peer.outstanding < HIGH_WATER || std::mem::take(&mut peer.gave_back) {
                peer.moved = now;
            }
            congested |= peer.outstanding >= HIGH_WATER && now.since(peer.moved) < PATIENCE;
        }
        congested
    }

    /// Frames handed over whose exchange has not come back.
    #[cfg(debug_assertions)]
    pub(crate) fn outstanding(&self) -> usize {
        self.peers.iter().flatten().map(|peer| peer.outstanding).sum()
    }

    /// Whether a peer has left anything for this worker.
    pub(crate) fn has_work(&self) -> bool {
        self.peers
            .iter()
            .flatten()
            .any(|peer| !peer.from.forth.is_empty() || !peer.to.back.is_empty())
    }

    /// Wakes the peers that were handed frames since the last call.
    pub(crate) fn ring(&mut self) {
        for peer in self.peers.iter_mut().flatten() {
            if std::mem::take(&mut peer.handed)
                && let Some(bell) = &peer.bell
            {
                bell.ring();
            }
        }
    }

    /// Index of the worker that holds this port.
    pub(crate) fn own(&self) -> usize {
        self.own
    }
}
