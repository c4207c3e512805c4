//! What time does to sessions: set-up limit, idle limit, linger. Walks the tables in bounded
//! steps; the limits are the session table's.

use std::time::Duration;

use sekisho_port::PacketIo;
use sekisho_session::{Input, Time};

use crate::control::reset_waiting;
use crate::end::settle_released;
use crate::event::CloseCause;
use crate::worker::Worker;
use crate::{notes, teardown};

/// How often a part of the tables is looked at.
const STEP: Duration = Duration::from_millis(10);
/// Steps for one walk over a whole table: each session is looked at about once a second.
const STEPS_PER_WALK: u64 = 100;

/// Looks at as many slots as the time since the last look asks for.
pub(crate) fn poll(worker: &mut Worker, io: &mut impl PacketIo, now: Time) {
    if now < worker.next_scan {
        return;
    }
    let late = now.since(worker.next_scan).as_nanos() / STEP.as_nanos();
    let steps = u64::try_from(late).unwrap_or(STEPS_PER_WALK).saturating_add(1);
    worker.next_scan = now.after(STEP);
    let share = |slots: u32| {
        let due = u64::from(slots).div_ceil(STEPS_PER_WALK).saturating_mul(steps);
        u32::try_from(due).unwrap_or(slots).min(slots)
    };
    let timeouts = worker.config.timeouts;
    let mut budget = share(worker.table.capacity());
    while let Some((id, input)) = worker.table.next_expired(&timeouts, now, &mut budget) {
        let cause = match input {
            Input::SetupExpired => {
                reset_waiting(worker, io, id);
                CloseCause::HoldExpired
            }
            Input::IdleExpired => CloseCause::Idle,
            _ => worker.table.get(id).map_or(CloseCause::Idle, |s| notes::cause(s.marks())),
        };
        teardown::begin(worker, id, input, cause, now);
    }
    let clear = share(worker.clear.capacity());
    worker.clear.expire(&timeouts, now, clear);
    settle_released(worker, io, now);
    worker.push_late();
}

/// Ends every session; for a worker that stops.
pub(crate) fn end_all(worker: &mut Worker, io: &mut impl PacketIo, now: Time) {
    let capacity = worker.table.capacity();
    for slot in 0..capacity {
        let found = worker.table.page(slot, 1).next().map(|(id, _)| id);
        if let Some(id) = found {
            teardown::remove(worker, id, CloseCause::Stopped);
        }
    }
    settle_released(worker, io, now);
}
