//! Frames that wait for their session: a bounded pool, at most two per session. Owns the frames
//! it holds; whether and where they go is the caller's.

use sekisho_port::Frame;

/// Which of a session's two places.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HoldKind {
    /// The newest, at the gateway SYN, at the client SYN-ACK; or there the sealed RST that answers the
    /// SYN, if nothing else did.
    Handshake = 0,
    /// Gateway: the newest pure ACK.
    Ack = 1,
}

const NONE: u16 = u16::MAX;

/// The pool of one worker.
pub(crate) struct HoldPool {
    frames: Vec<Option<Frame>>,
    /// Slot of the session that each frame is held for, and as what.
    owners: Vec<(u32, HoldKind)>,
    vacant: Vec<u16>,
    by_session: Vec<[u16; 2]>,
    /// Where the search for a frame that gives way goes on.
    hand: usize,
}

impl HoldPool {
    /// Room for `frames` frames (at most 65 535 count) of `sessions` sessions.
    pub(crate) fn new(frames: usize, sessions: u32) -> Self {
        let frames = u16::try_from(frames).unwrap_or(NONE);
        Self {
            frames: (0..frames).map(|_| None).collect(),
            owners: vec![(0, HoldKind::Handshake); usize::from(frames)],
            vacant: (0..frames).rev().collect(),
            by_session: vec![[NONE; 2]; sessions as usize],
            hand: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.frames.len() - self.vacant.len()
    }

    pub(crate) fn has(&self, slot: u32, kind: HoldKind) -> bool {
        self.by_session[slot as usize][kind as usize] != NONE
    }

    /// Whether a frame of the session in `slot` can be held without another's giving way.
    pub(crate) fn has_place(&self, slot: u32, kind: HoldKind) -> bool {
        !self.vacant.is_empty() || self.has(slot, kind)
    }

    /// Holds `frame`; gives back the one that it replaces.
    ///
    /// # Errors
    /// `frame` itself, where the pool is full.
    pub(crate) fn put(
        &mut self,
        slot: u32,
        kind: HoldKind,
        frame: Frame,
    ) -> Result<Option<Frame>, Frame> {
        let place = &mut self.by_session[slot as usize][kind as usize];
        if *place != NONE {
            return Ok(self.frames[usize::from(*place)].replace(frame));
        }
        let Some(at) = self.vacant.pop() else {
            return Err(frame);
        };
        *place = at;
        self.frames[usize::from(at)] = Some(frame);
        self.owners[usize::from(at)] = (slot, kind);
        Ok(None)
    }

    /// Takes out the next held frame of a handshake, which its sender repeats. The hand goes
    /// round, so the oldest goes about first.
    pub(crate) fn give_way(&mut self) -> Option<Frame> {
        for _ in 0..self.frames.len() {
            let at = self.hand;
            self.hand = (at + 1) % self.frames.len();
            let (session, kind) = self.owners[at];
            if kind == HoldKind::Handshake
                && let Some(frame) = self.frames[at].take()
            {
                self.by_session[session as usize][kind as usize] = NONE;
                // Places were counted in 16 bits when the pool was made.
                self.vacant.push(at as u16);
                return Some(frame);
            }
        }
        None
    }

    pub(crate) fn take(&mut self, slot: u32, kind: HoldKind) -> Option<Frame> {
        let at = std::mem::replace(&mut self.by_session[slot as usize][kind as usize], NONE);
        if at == NONE {
            return None;
        }
        self.vacant.push(at);
        self.frames[usize::from(at)].take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sekisho_port::FramePool;

    #[test]
    fn bounded_and_newest_wins() {
        let mut pool = FramePool::anonymous(4).unwrap();
        let mut frame = |n: u8| {
            let mut frame = pool.alloc().unwrap();
            assert!(frame.fill_from(&[n]));
            frame
        };
        let mut hold = HoldPool::new(2, 3);
        assert!(hold.put(0, HoldKind::Ack, frame(1)).unwrap().is_none());
        let replaced = hold.put(0, HoldKind::Ack, frame(2)).unwrap().unwrap();
        assert_eq!(replaced.data(), [1]);
        assert!(hold.put(0, HoldKind::Handshake, frame(3)).unwrap().is_none());
        let refused = hold.put(2, HoldKind::Ack, frame(4)).unwrap_err();
        assert_eq!(refused.data(), [4]);
        assert_eq!(hold.len(), 2);
        let taken = hold.take(0, HoldKind::Ack).unwrap();
        assert_eq!(taken.data(), [2]);
        assert!(hold.take(0, HoldKind::Ack).is_none());
        assert!(hold.has(0, HoldKind::Handshake));
        let last = hold.take(0, HoldKind::Handshake).unwrap();
        for frame in [replaced, refused, taken, last] {
            pool.free(frame);
        }
        assert_eq!((hold.len(), pool.len()), (0, 4));
    }

    #[test]
    fn handshakes_give_way_in_turn_and_acks_do_not() {
        let mut pool = FramePool::anonymous(8).unwrap();
        let mut hold = HoldPool::new(3, 8);
        assert!(hold.give_way().is_none());
        for (n, kind) in [(0, HoldKind::Handshake), (1, HoldKind::Ack), (2, HoldKind::Handshake)] {
            let mut frame = pool.alloc().unwrap();
            assert!(frame.fill_from(&[n]));
            assert!(hold.put(n.into(), kind, frame).unwrap().is_none());
        }
        for expected in [0, 2] {
            let frame = hold.give_way().unwrap();
            assert_eq!(frame.data(), [expected]);
            assert!(!hold.has(expected.into(), HoldKind::Handshake));
            pool.free(frame);
        }
        assert!(hold.give_way().is_none() && hold.has(1, HoldKind::Ack));
        pool.free(hold.take(1, HoldKind::Ack).unwrap());
        assert_eq!((hold.len(), pool.len()), (0, 8));
    }
}
