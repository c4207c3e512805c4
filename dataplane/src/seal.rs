//! Plain side → cipher side: segments of a session are sealed, pure ACKs pass once it is
//! synchronised (design: protection of a segment).

use sekisho_cipher::{Associated, Payload, SegmentFlags};
use sekisho_port::Frame;
use sekisho_session::{
    Charge, Direction, OffsetError, Placement, RST_ANSWER_OFFSET, SessionId, Time,
};
use sekisho_wire::edit::write_tag;
use sekisho_wire::options::TAG_OPTION_LEN;
use sekisho_wire::{Rewrite, apply_options};

use crate::classify::Segment;
use crate::drop_reason::DropReason;
use crate::rewrite::{self, Checksum};
use crate::segment::received_checksum;
use crate::verdict::Verdict;
use crate::worker::Worker;
use crate::{notes, teardown};

/// The phase of the one epoch there is until rekey exists.
pub(crate) const PHASE: u8 = 0;

/// Decides a segment from the plain side that belongs to session `id`.
pub(crate) fn decide(
    worker: &mut Worker,
    frame: &mut Frame,
    segment: &Segment,
    id: SessionId,
    now: Time,
) -> Result<Verdict, DropReason> {
    segment.ours()?;
    let Some(session) = worker.table.get(id) else {
        return Err(DropReason::NoSession);
    };
    let half = session.half(segment.direction);
    let from_server = segment.direction == Direction::ServerToClient;
    if from_server && segment.tcp.flags.rst() && half.origin().is_none() {
        return answer_to_syn(worker, frame, segment, id, now);
    }
    if !session.is_synchronised() {
        return Err(DropReason::Unsynchronised);
    }
    if segment.is_pure_ack() {
        return bare_ack(worker, frame, segment, id, now);
    }
    let (len, flags) = content(segment);
    match half.offset_to_seal(segment.tcp.seq, len, flags).map_err(offset_reason)? {
        Placement::KeepAlive => {
            let strip = Rewrite::strip(worker.config.options);
            rewrite::cut_payload(frame, segment, &strip, &worker.counters)?;
            worker.counters.tallies().keepalives_cut.add(1);
            notes::trusted(worker, frame, segment, id, now);
            Ok(Verdict::Forward)
        }
        Placement::At(offset) => {
            seal(worker, frame, segment, id, (offset, len))?;
            if let Some(session) = worker.table.get_mut(id) {
                session.half_mut(segment.direction).advance(offset, len, flags);
            }
            notes::trusted(worker, frame, segment, id, now);
            teardown::after(worker, id, segment, offset, now);
            Ok(Verdict::Forward)
        }
    }
}

/// Payload length and the flags that a tag covers.
pub(crate) fn content(segment: &Segment) -> (u16, SegmentFlags) {
    let flags = segment.tcp.flags;
    (segment.tcp.payload.len, SegmentFlags { fin: flags.fin(), rst: flags.rst() })
}

pub(crate) fn offset_reason(error: OffsetError) -> DropReason {
    match error {
        OffsetError::NoOrigin => DropReason::NoSynAck,
        OffsetError::OutOfWindow | OffsetError::LateAnswer => DropReason::OffsetRange,
        OffsetError::BelowZero => DropReason::BelowOrigin,
        OffsetError::BeyondFin => DropReason::BeyondFin,
    }
}

/// The server refuses the connection: the RST is sealed without a server ISN (hazard 39). Its
/// session drains, so that a SYN that comes again is refused again.
fn answer_to_syn(
    worker: &mut Worker,
    frame: &mut Frame,
    segment: &Segment,
    id: SessionId,
    now: Time,
) -> Result<Verdict, DropReason> {
    let session = worker.table.get(id).ok_or(DropReason::NoSession)?;
    if session.keys(segment.direction).is_none() || !notes::syn_is_released(session) {
        return Err(DropReason::Unsynchronised);
    }
    if !segment.tcp.flags.ack() || segment.tcp.ack != session.client_isn().advance(1) {
        return Err(DropReason::AckMismatch);
    }
    // A payload on it, which some stacks send as a diagnosis, has no offset: it is left behind.
    seal(worker, frame, segment, id, (RST_ANSWER_OFFSET, 0))?;
    notes::trusted(worker, frame, segment, id, now);
    teardown::refused(worker, id, now);
    Ok(Verdict::Forward)
}

fn bare_ack(
    worker: &mut Worker,
    frame: &mut Frame,
    segment: &Segment,
    id: SessionId,
    now: Time,
) -> Result<Verdict, DropReason> {
    if segment.options.ours_span.is_some() {
        return Err(DropReason::OptionMisplaced);
    }
    let checksum = received_checksum(worker, segment.side);
    rewrite::finish(frame, segment.view, checksum, &worker.counters);
    notes::trusted(worker, frame, segment, id, now);
    teardown::fins(worker, id, now);
    Ok(Verdict::Forward)
}

/// Seals the first `len` octets of the payload in place and puts the tag on.
fn seal(
    worker: &mut Worker,
    frame: &mut Frame,
    segment: &Segment,
    id: SessionId,
    (offset, len): (u64, u16),
) -> Result<(), DropReason> {
    let blank = Rewrite::blank_tag(worker.config.options, PHASE);
    let done = rewrite::options(frame, segment, &blank)?;
    let start = usize::from(segment.tcp.l4) + 20 + done.block.len();
    let end = start + usize::from(len);
    if end - usize::from(segment.view.l2_len) > usize::from(worker.config.mtu) {
        return Err(DropReason::GrownBeyondMtu);
    }
    let Worker { table, keys, counters, .. } = worker;
    let session = table.get_mut(id).ok_or(DropReason::NoSession)?;
    if session.usage_mut().charge(len) == Charge::Exhausted {
        return Err(DropReason::KeyExhausted);
    }
    let traffic_keys = session.keys(segment.direction).ok_or(DropReason::Unsynchronised)?;
    let context = keys.context(id, segment.direction, traffic_keys);
    let flags = content(segment).1;
    let associated = Associated { offset, flags, phase: PHASE };
    // `start` is within a frame of at most the MTU, checked above.
    let at = Payload { src: segment.tcp.payload.start, dst: start as u16, len };
    let tag = sekisho_cipher::seal(context, &associated, frame.buffer_mut(), at).tag;
    let view = apply_options(frame.buffer_mut(), &segment.view, &done.block, len)
        .map_err(|_| DropReason::OptionRoom)?;
    if !write_tag(frame.buffer_mut(), &view, &done.block, &tag) {
        return Err(DropReason::OptionRoom);
    }
    rewrite::finish(frame, view, Checksum::Stale, counters);
    rewrite::count_trimmed(&done, counters);
    counters.tallies().sealed_segments.add(1);
    counters.tallies().sealed_bytes.add(u64::from(len));
    Ok(())
}

const _: () = assert!(TAG_OPTION_LEN == 16, "the MSS is lowered by the tag's octets");
