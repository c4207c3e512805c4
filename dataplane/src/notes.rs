//! What a session learns from a segment that may teach it something: one from the plain side, or
//! one that has verified. Owns the owner's eight bits of a session.

use sekisho_cipher::SegmentFlags;
use sekisho_session::{Direction, Input, Outcome, Session, SessionId, State, Time};

use crate::event::{CloseCause, Event};
use crate::packet::Passage;
use crate::role::Role;
use crate::teardown;
use crate::worker::Worker;

/// Set once the SYN has left for the server.
const SYN_RELEASED: u8 = 0x80;
/// Why the session drains: an index into [`CloseCause::ALL`].
const CAUSE: u8 = 0x0f;

const _: () = assert!(CloseCause::ALL.len() <= CAUSE as usize + 1);

/// Whether the server knows of this session.
pub(crate) fn syn_is_released(session: &Session) -> bool {
    session.marks() & SYN_RELEASED != 0
}

/// From now on the SYN, and its retransmissions, go to the server.
pub(crate) fn release_syn(session: &mut Session) {
    session.set_marks(session.marks() | SYN_RELEASED);
}

/// Remembers why the session drains; the first cause stands.
pub(crate) fn set_cause(session: &mut Session, cause: CloseCause) {
    if session.marks() & CAUSE == 0 {
        session.set_marks(session.marks() | cause as u8);
    }
}

/// The cause that `marks` remember.
pub(crate) fn cause(marks: u8) -> CloseCause {
    CloseCause::ALL.get(usize::from(marks & CAUSE)).copied().unwrap_or(CloseCause::Finished)
}

/// What a segment brings of its stream: offset, payload length, flags.
pub(crate) type Stretch = (u64, u16, SegmentFlags);

/// A segment from the plain side, whose word is taken.
pub(crate) fn trusted(worker: &mut Worker, passage: &Passage<'_>) {
    if let Some(session) = worker.table.get_mut(passage.id) {
        learn(session, passage);
    }
}

/// A segment from the plain side that was sealed. Tells whether the session may have come to its end
/// by it.
#[inline(always)]
pub(crate) fn sealed(
    worker: &mut Worker,
    passage: &Passage<'_>,
    (offset, len, flags): Stretch,
) -> bool {
    let Some(session) = worker.table.get_mut(passage.id) else {
        return false;
    };
    let direction = passage.segment.direction;
    session.half_mut(direction).advance(offset, len, flags);
    learn(session, passage);
    // The server's direction runs elsewhere, and nothing of it will be ciphered (hazard 27).
    let one_way = offset == 0
        && direction == Direction::ClientToServer
        && session.half(Direction::ServerToClient).origin().is_none();
    let may_end = flags.rst || session.fins_acknowledged();
    if one_way {
        worker.counters.tallies().asymmetric.add(1);
    }
    may_end
}

#[inline(always)]
fn learn(session: &mut Session, passage: &Passage<'_>) {
    let Passage { frame, segment, now, .. } = passage;
    if segment.tcp.flags.ack() {
        session.half_mut(segment.direction.reverse()).acknowledge(segment.tcp.ack);
    }
    if let Some(l2) = frame.data().get(..usize::from(segment.layers.l3)) {
        session.set_l2_bytes(segment.direction, l2);
    }
    session.touch(*now);
}

/// A segment from the cipher side that has verified. The first one at the gateway synchronises the
/// session: the client seals only once it knows that both ends hold the key.
#[inline]
pub(crate) fn verified(worker: &mut Worker, passage: &Passage<'_>, stretch: Stretch) -> bool {
    let may_end = sealed(worker, passage, stretch);
    let id = passage.id;
    let first = worker.config.role == Role::Gateway
        && worker.table.get(id).is_some_and(|session| session.state() == State::Keyed);
    if first {
        first_verified(worker, id, passage.now);
    }
    may_end
}

#[cold]
fn first_verified(worker: &mut Worker, id: SessionId, now: Time) {
    if synchronise(worker, id, now) {
        let Some(session) = worker.table.get(id) else {
            return;
        };
        let event = Event::Synchronised {
            worker: worker.config.index,
            flow: *session.flow(),
            client_isn: session.client_isn().get(),
            generation: id.generation(),
        };
        worker.push_surely(event);
    }
}

/// Both ends hold the keys: the session is synchronised, what it displaces is gone, and what was
/// held for it is in the outbox. False if that cannot be.
pub(crate) fn synchronise(worker: &mut Worker, id: SessionId, now: Time) -> bool {
    match worker.table.apply(id, Input::Synchronised, now) {
        Outcome::Moved(_, displaced) => {
            if let Some(removed) = displaced {
                teardown::forget(worker, &removed, CloseCause::Replaced);
            }
            if let Some(session) = worker.table.get_mut(id) {
                release_syn(session);
            }
            worker.release_held(id);
            true
        }
        Outcome::Stayed => true,
        Outcome::Gone(removed) => {
            teardown::forget(worker, &removed, CloseCause::Replaced);
            false
        }
        Outcome::Refused => false,
    }
}
