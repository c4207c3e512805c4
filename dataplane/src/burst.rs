//! The one burst loop: parse → look up → decide → cipher → checksum → emit, for both roles and
//! both sides. Owns the order of the steps and the end of every frame.

use sekisho_port::{Frame, PacketIo, PortSide};
use sekisho_session::{FlowHasher, SessionId, Time};
use sekisho_wire::{FrameView, L2Header};

use crate::buffer::DatagramBuf;
use crate::classify::{Class, classify};
use crate::drop_reason::DropReason;
use crate::event::Event;
use crate::hold::HoldKind;
use crate::quotation;
use crate::role::Role;
use crate::segment;
use crate::verdict::Verdict;
use crate::worker::Worker;

/// Takes all of `frames`, which came in on `side`, to their ends.
pub fn process_burst(
    worker: &mut Worker,
    io: &mut impl PacketIo,
    side: PortSide,
    frames: &mut Vec<Frame>,
    now: Time,
) {
    for frame in frames.drain(..) {
        worker.counters.received(side, frame.len());
        process_frame(worker, io, side, frame, now);
    }
}

/// One frame, from the ring or from another worker.
pub(crate) fn process_frame(
    worker: &mut Worker,
    io: &mut impl PacketIo,
    side: PortSide,
    mut frame: Frame,
    now: Time,
) {
    let verdict = decide(worker, side, &mut frame, now).unwrap_or_else(Verdict::Drop);
    // What this frame released was sent before it and leaves before it.
    settle_released(worker, io, now);
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
        Verdict::Hold(session, kind) => hold(worker, io, (session, kind), frame),
        Verdict::HandOff(owner) => hand_off(worker, io, (owner, side), frame),
    }
}

fn hold(
    worker: &mut Worker,
    io: &mut impl PacketIo,
    (session, kind): (SessionId, HoldKind),
    frame: Frame,
) {
    // Held frames must not dry the pool up: then TCP's own repetition has to do.
    if io.free_frames() < LOW_POOL && !worker.hold.has(session, kind) {
        return worker.drop_frame(io, frame, DropReason::NoFrame);
    }
    // Who floods the gateway with SYNs shall not keep others' out: the oldest gives way.
    if worker.config.role == Role::Gateway
        && !worker.hold.has_place(session, kind)
        && let Some(older) = worker.hold.give_way()
    {
        worker.drop_frame(io, older, DropReason::HoldFull);
    }
    match worker.hold.put(session, kind, frame) {
        Ok(None) => {}
        Ok(Some(older)) => worker.drop_frame(io, older, DropReason::HoldReplaced),
        Err(frame) => worker.drop_frame(io, frame, DropReason::HoldFull),
    }
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

fn decide(
    worker: &mut Worker,
    side: PortSide,
    frame: &mut Frame,
    now: Time,
) -> Result<Verdict, DropReason> {
    match classify(&worker.config, side, frame.data())? {
        Class::Tcp(segment) => {
            let hash = worker.config.hasher.hash(&segment.flow);
            let owner = FlowHasher::shard(hash, worker.exchange.workers());
            if owner != worker.exchange.own() {
                return Ok(Verdict::HandOff(owner));
            }
            segment::decide(worker, frame, &segment, hash, now)
        }
        Class::Datagram(view) => datagram(worker, side, frame, &view),
        Class::Icmp(view, icmp) => {
            quotation::cut(frame, &view, &icmp)?;
            worker.counters.tallies().quotations_cut.add(1);
            Ok(Verdict::Forward)
        }
    }
}

/// Key delivery goes to control, which knows what it means; any worker may take it.
fn datagram(
    worker: &mut Worker,
    side: PortSide,
    frame: &Frame,
    view: &FrameView,
) -> Result<Verdict, DropReason> {
    let (Some(udp), Some(src), Some(dst)) = (view.udp(), view.source(), view.destination()) else {
        return Err(DropReason::UdpHeader);
    };
    let l2 = L2Header::from_frame(frame.data(), view).ok_or(DropReason::Truncated)?;
    let payload = udp.payload.slice(frame.data());
    let bytes = DatagramBuf::from_slice(payload)
        .filter(|bytes| !bytes.is_empty())
        .ok_or(DropReason::KdpLength)?;
    let event = Event::Datagram { worker: worker.config.index, side, src, dst, l2, bytes };
    if worker.push_event(event) { Ok(Verdict::Consume) } else { Err(DropReason::EventRingFull) }
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

/// Free frames below which a worker keeps what it has: one burst.
const LOW_POOL: usize = crate::worker::BURST;
