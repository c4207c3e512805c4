//! The end of sessions (design: life of a session; claim 2): which segment starts it, and what is
//! left to do once a session has left the table.

use sekisho_session::{Input, Outcome, Removed, SessionId, State, Time};

use crate::classify::Segment;
use crate::drop_reason::DropReason;
use crate::event::{CloseCause, Event};
use crate::hold::HoldKind;
use crate::notes;
use crate::worker::Worker;

/// A segment was sealed or verified at `offset`: does it, or what it acknowledges, end the session?
pub(crate) fn after(worker: &mut Worker, id: SessionId, segment: &Segment, offset: u64, now: Time) {
    let Some(session) = worker.table.get(id) else {
        return;
    };
    if segment.tcp.flags.rst() && session.half(segment.direction).reset_takes_effect(offset) {
        begin(worker, id, Input::Reset, CloseCause::Reset, now);
    }
    fins(worker, id, now);
}

/// Both FINs verified or sealed, and acknowledged?
pub(crate) fn fins(worker: &mut Worker, id: SessionId, now: Time) {
    let done =
        worker.table.get(id).is_some_and(|s| s.state() == State::Synced && s.fins_acknowledged());
    if done {
        begin(worker, id, Input::FinsAcknowledged, CloseCause::Finished, now);
    }
}

/// The server has refused the connection (hazard 39).
pub(crate) fn refused(worker: &mut Worker, id: SessionId, now: Time) {
    begin(worker, id, Input::SynRefused, CloseCause::Refused, now);
}

/// Passes an input on that ends a session, now or after its linger.
pub(crate) fn begin(
    worker: &mut Worker,
    id: SessionId,
    input: Input,
    cause: CloseCause,
    now: Time,
) -> bool {
    match worker.table.apply(id, input, now) {
        Outcome::Moved(..) => {
            if let Some(session) = worker.table.get_mut(id) {
                notes::set_cause(session, cause);
            }
            true
        }
        Outcome::Gone(removed) => {
            forget(worker, &removed, cause);
            true
        }
        Outcome::Stayed => true,
        Outcome::Refused => false,
    }
}

/// Removes a session whatever its state.
pub(crate) fn remove(worker: &mut Worker, id: SessionId, cause: CloseCause) {
    if let Some(removed) = worker.table.remove(id) {
        forget(worker, &removed, cause);
    }
}

/// What a session leaves behind: cached keys, held frames, control's knowledge of it.
pub(crate) fn forget(worker: &mut Worker, removed: &Removed, cause: CloseCause) {
    worker.keys.forget(removed.id);
    for kind in [HoldKind::Handshake, HoldKind::Ack] {
        if let Some(frame) = worker.hold.take(removed.id.index(), kind) {
            worker.discard.push((frame, DropReason::HoldEnded));
        }
    }
    worker.counters.tallies().sessions_closed.add(1);
    worker.push_surely(Event::Closed {
        worker: worker.config.index,
        flow: removed.flow,
        client_isn: removed.client_isn.get(),
        generation: removed.id.generation(),
        cause,
    });
}
