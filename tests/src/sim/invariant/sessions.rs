//! A segment whose tag does not verify changes nothing, and no session outlives its wait. Owns
//! what is compared; the state is what an operator can see of it.

use std::time::Duration;

use sekisho_dataplane::{DropReason, SessionRow, WorkerSnapshot};
use sekisho_session::{State, Timeouts};

use super::Finding;

const BAD_TAG: &str = "a bad tag changes no state";
const FORGED: &str = "a forged segment never passes";
const OVERDUE: &str = "every session ends within its time";

/// A table is walked once a second, and waits are counted in ticks of 67 ms.
const SLACK: Duration = Duration::from_millis(2500);

/// What is seen of a station.
pub(in crate::sim) struct View {
    sessions: Vec<SessionRow>,
    counters: WorkerSnapshot,
}

impl View {
    pub(in crate::sim) fn new(sessions: Vec<SessionRow>, counters: WorkerSnapshot) -> Self {
        Self { sessions, counters }
    }

    /// Compares with what is seen after one forged frame more: nothing was opened; and if its tag
    /// was bad, nothing else has changed but the counts of it. True if it was.
    pub(in crate::sim) fn compare(&self, after: &Self) -> Result<bool, Finding> {
        let opened = |view: &Self| view.counters.tallies.opened_segments;
        if opened(after) != opened(self) {
            return Err((FORGED, "the worker opened it".to_owned()));
        }
        let bad = |view: &Self| {
            [DropReason::BadTag, DropReason::Resegmented]
                .map(|reason| view.counters.dropped(reason))
                .iter()
                .sum::<u64>()
        };
        if bad(after) == bad(self) {
            return Ok(false);
        }
        let rows = |view: &Self| view.sessions.iter().map(observable).collect::<Vec<_>>();
        if rows(self) != rows(after) {
            return Err((BAD_TAG, format!("{:?} became {:?}", rows(self), rows(after))));
        }
        let numbers = |view: &Self| {
            let (c, t) = (&view.counters, &view.counters.tallies);
            let sent: u64 = c.sides.iter().map(|side| side.tx_packets).sum();
            let (sealed, opened) = (t.sealed_segments, t.opened_segments);
            (sent, sealed, opened, t.held, t.events, t.sessions_closed, c.sessions)
        };
        if numbers(self) != numbers(after) {
            return Err((BAD_TAG, format!("{:?} became {:?}", numbers(self), numbers(after))));
        }
        Ok(true)
    }
}

/// All of a session that a bad tag must leave alone: everything but the count of bad tags.
fn observable(row: &SessionRow) -> String {
    let SessionRow { flow, client_isn, generation, state, candidate, request_id, .. } = row;
    let SessionRow { keyed, sealed_bytes, sealed_segments, offsets, waited, worker, .. } = row;
    format!(
        "{flow:?} {client_isn} {generation} {state:?} {candidate} {request_id} {keyed} \
         {sealed_bytes} {sealed_segments} {offsets:?} {waited:?} {worker}"
    )
}

/// No session is older than the wait of its state.
pub(in crate::sim) fn none_overdue(
    sessions: &[SessionRow],
    timeouts: &Timeouts,
) -> Result<(), Finding> {
    for row in sessions {
        let limit = match row.state {
            State::Synced => timeouts.idle,
            State::Draining => timeouts.linger,
            _ => timeouts.setup,
        };
        if row.waited > limit + SLACK {
            let (state, waited) = (row.state, row.waited);
            return Err((OVERDUE, format!("{state:?} for {waited:?}, limit {limit:?}")));
        }
    }
    Ok(())
}
