//! Where frames come to their ends: sent, freed, held, handed to another worker. Owns the end of
//! every frame, and so the count of each.

use sekisho_port::{Frame, PacketIo, PortSide};
use sekisho_session::Time;

use crate::burst::process_frame;
use crate::drop_reason::DropReason;
use crate::hold::HoldKind;
use crate::role::Role;
use crate::verdict::Verdict;
use crate::worker::Worker;

/// Free frames below which a worker keeps what it has: one burst.
const LOW_POOL: usize = crate::worker::BURST;

/// Does to a frame that came in on `side` what was decided.
pub(crate) fn conclude(
    worker: &mut Worker,
    io: &mut impl PacketIo,
    side: PortSide,
    frame: Frame,
    verdict: Verdict,
) {
    match verdict {
        Verdict::Forward => worker.emit(io, side.other(), frame),
        Verdict::Consume => {
            worker.counters.tallies().consumed.add(1);
            io.free(frame);
        }
        Verdict::Drop(reason) => worker.drop_frame(io, frame, reason),
        Verdict::Answer(reason) => {
            // The frame that came in ended; its buffer leaves as one of our own.
            worker.counters.dropped(reason);
            worker.counters.tallies().made.add(1);
            worker.counters.tallies().refused.add(1);
            worker.emit(io, side, frame);
        }
        Verdict::Hold(slot, kind) => hold(worker, io, (slot, kind), frame),
        Verdict::HandOff(owner) => hand_off(worker, io, (owner as usize, side), frame),
    }
}

/// Whether the last step let frames go.
#[inline]
pub(crate) fn has_released(worker: &Worker) -> bool {
    !worker.discard.is_empty() || !worker.released.is_empty()
}

/// Frames that the last step let go of: those that waited run through the pipeline once more, now
/// that their session has come further; those whose session has ended are freed.
pub(crate) fn settle_released(worker: &mut Worker, io: &mut impl PacketIo, now: Time) {
    while let Some((frame, reason)) = worker.discard.pop() {
        worker.drop_frame(io, frame, reason);
    }
    while let Some((side, frame)) = worker.released.pop_front() {
        process_frame(worker, io, side, frame, now);
    }
}

fn hold(worker: &mut Worker, io: &mut impl PacketIo, (slot, kind): (u32, HoldKind), frame: Frame) {
    // Held frames must not dry the pool up: then TCP's own repetition has to do.
    if io.free_frames() < LOW_POOL && !worker.hold.has(slot, kind) {
        return worker.drop_frame(io, frame, DropReason::NoFrame);
    }
    // Who floods the gateway with SYNs shall not keep others' out: the oldest gives way.
    if worker.config.role == Role::Gateway
        && !worker.hold.has_place(slot, kind)
        && let Some(older) = worker.hold.give_way()
    {
        worker.drop_frame(io, older, DropReason::HoldFull);
    }
    match worker.hold.put(slot, kind, frame) {
        Ok(None) => {}
        Ok(Some(older)) => worker.drop_frame(io, older, DropReason::HoldReplaced),
        Err(frame) => worker.drop_frame(io, frame, DropReason::HoldFull),
    }
}

fn hand_off(
    worker: &mut Worker,
    io: &mut impl PacketIo,
    (owner, side): (usize, PortSide),
    frame: Frame,
) {
    // A pool that is low must not wait for frames to come back from another worker.
    if io.free_frames() < LOW_POOL {
        return worker.drop_frame(io, frame, DropReason::NoFrame);
    }
    match worker.exchange.hand(owner, side, frame) {
        Ok(()) => worker.counters.tallies().exchange_out.add(1),
        Err(frame) => worker.drop_frame(io, frame, DropReason::ExchangeFull),
    }
}
