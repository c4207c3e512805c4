//! Frames that wait for their session: a bounded pool, at most two per session. Owns the frames
//! it holds; whether and where they go is the caller's.

use sekisho_port::Frame;
use sekisho_session::SessionId;

/// Which of a session's two places.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HoldKind {
    /// Gateway: the SYN. Client: the SYN-ACK, or the sealed RST that answers the SYN.
    Handshake = 0,
    /// Gateway: the newest pure ACK.
    Ack = 1,
}

const NONE: u16 = u16::MAX;

/// The pool of one worker.
pub(crate) struct HoldPool {
    frames: Vec<Option<Frame>>,
    vacant: Vec<u16>,
    by_session: Vec<[u16; 2]>,
}

impl HoldPool {
    /// Room for `frames` frames (at most 65 535 count) of `sessions` sessions.
    pub(crate) fn new(frames: usize, sessions: u32) -> Self {
        let frames = u16::try_from(frames).unwrap_or(NONE);
        Self {
            frames: (0..frames).map(|_| None).collect(),
            vacant: (0..frames).rev().collect(),
            by_session: vec![[NONE; 2]; sessions as usize],
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.frames.len() - self.vacant.len()
    }

    pub(crate) fn has_room(&self) -> bool {
        !self.vacant.is_empty()
    }

    pub(crate) fn has(&self, session: SessionId, kind: HoldKind) -> bool {
        self.by_session[session.index as usize][kind as usize] != NONE
    }

    /// Holds `frame`; gives back the one that it replaces.
    ///
    /// # Errors
    /// `frame` itself, where the pool is full.
    pub(crate) fn put(
        &mut self,
        session: SessionId,
        kind: HoldKind,
        frame: Frame,
    ) -> Result<Option<Frame>, Frame> {
        let place = &mut self.by_session[session.index as usize][kind as usize];
        if *place != NONE {
            return Ok(self.frames[usize::from(*place)].replace(frame));
        }
        let Some(at) = self.vacant.pop() else {
            return Err(frame);
        };
        *place = at;
        self.frames[usize::from(at)] = Some(frame);
        Ok(None)
    }

    pub(crate) fn take(&mut self, session: SessionId, kind: HoldKind) -> Option<Frame> {
        let at =
            std::mem::replace(&mut self.by_session[session.index as usize][kind as usize], NONE);
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

    fn id(index: u32) -> SessionId {
        SessionId { index, generation: 1 }
    }

    #[test]
    fn bounded_and_newest_wins() {
        let mut pool = FramePool::anonymous(4).unwrap();
        let mut frame = |n: u8| {
            let mut frame = pool.alloc().unwrap();
            assert!(frame.fill_from(&[n]));
            frame
        };
        let mut hold = HoldPool::new(2, 3);
        assert!(hold.put(id(0), HoldKind::Ack, frame(1)).unwrap().is_none());
        let replaced = hold.put(id(0), HoldKind::Ack, frame(2)).unwrap().unwrap();
        assert_eq!(replaced.data(), [1]);
        assert!(hold.put(id(0), HoldKind::Handshake, frame(3)).unwrap().is_none());
        assert!(!hold.has_room());
        let refused = hold.put(id(2), HoldKind::Ack, frame(4)).unwrap_err();
        assert_eq!(refused.data(), [4]);
        assert_eq!(hold.len(), 2);
        let taken = hold.take(id(0), HoldKind::Ack).unwrap();
        assert_eq!(taken.data(), [2]);
        assert!(hold.take(id(0), HoldKind::Ack).is_none());
        assert!(hold.has(id(0), HoldKind::Handshake) && hold.has_room());
        let last = hold.take(id(0), HoldKind::Handshake).unwrap();
        for frame in [replaced, refused, taken, last] {
            pool.free(frame);
        }
        assert_eq!((hold.len(), pool.len()), (0, 4));
    }
}
