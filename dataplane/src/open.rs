//! Cipher side → plain side: tags are verified, payload is opened, our options are taken off. A
//! segment that does not verify changes nothing but its own counters (hazard 35).

use sekisho_cipher::{Associated, Payload, Tag};
use sekisho_port::Frame;
use sekisho_session::{Direction, SessionId, State, Time};
use sekisho_wire::{Rewrite, SekishoOption, TagOption, apply_options};

use crate::classify::Segment;
use crate::drop_reason::DropReason;
use crate::event::CloseCause;
use crate::hold::HoldKind;
use crate::rewrite::{self, Checksum};
use crate::role::Role;
use crate::seal::{PHASE, content, offset_reason};
use crate::segment::{self, received_checksum};
use crate::service::Policy;
use crate::verdict::Verdict;
use crate::worker::Worker;
use crate::{notes, teardown};

/// Bad tags without one good octet after which a path that re-segments is the likely cause
/// (hazard 14): more than the odd damaged or forged segment.
const RESEGMENTED: u16 = 4;

/// Decides a segment from the cipher side that belongs to the first session or, where its tag
/// does not verify there, to the second.
pub(crate) fn decide(
    worker: &mut Worker,
    frame: &mut Frame,
    segment: &Segment,
    (id, other): (SessionId, Option<SessionId>),
    now: Time,
) -> Result<Verdict, DropReason> {
    let ours = segment.ours()?;
    if segment.is_pure_ack() {
        return bare_ack(worker, frame, segment, (id, ours), now);
    }
    if !segment.has_content() {
        return Err(DropReason::BadFlags);
    }
    let tag = match ours {
        Some(SekishoOption::Tag(tag)) => tag,
        Some(_) => return Err(DropReason::OptionMisplaced),
        None => return untagged(worker, frame, segment, id),
    };
    let Some(other) = other.filter(|&other| has_keys(worker, other)) else {
        return tagged(worker, frame, segment, (id, &tag), now)
            .map_err(|reason| count(worker, segment, id, reason));
    };
    // A failed opening leaves garbage behind: keep what the second attempt needs.
    worker.scratch.clear();
    worker.scratch.extend_from_slice(frame.data());
    tagged(worker, frame, segment, (id, &tag), now).or_else(|reason| {
        frame.data_mut().copy_from_slice(&worker.scratch);
        tagged(worker, frame, segment, (other, &tag), now)
            .map_err(|_| count(worker, segment, id, reason))
    })
}

/// Counts a bad tag where it belongs; names the likely cause (hazard 14).
fn count(worker: &mut Worker, segment: &Segment, id: SessionId, reason: DropReason) -> DropReason {
    let Some(session) = worker.table.get_mut(id).filter(|_| reason == DropReason::BadTag) else {
        return reason;
    };
    session.count_bad_tag();
    let nothing_verified = session.half(segment.direction).high() == 0;
    if nothing_verified && session.bad_tags() >= RESEGMENTED {
        DropReason::Resegmented
    } else {
        DropReason::BadTag
    }
}

fn has_keys(worker: &Worker, id: SessionId) -> bool {
    worker.table.get(id).is_some_and(|session| session.keys(Direction::ClientToServer).is_some())
}

/// Pure ACKs carry no tag. Before synchronisation the gateway holds the newest: it overtakes SYNC,
/// which goes the long way over control (hazard 29).
fn bare_ack(
    worker: &mut Worker,
    frame: &mut Frame,
    segment: &Segment,
    (id, ours): (SessionId, Option<SekishoOption>),
    now: Time,
) -> Result<Verdict, DropReason> {
    match ours {
        None => {}
        Some(SekishoOption::Tag(_)) => return Err(DropReason::TagOnBareAck),
        Some(_) => return Err(DropReason::OptionMisplaced),
    }
    let checksum = received_checksum(worker, segment.side);
    let session = worker.table.get_mut(id).ok_or(DropReason::NoSession)?;
    if session.is_synchronised() {
        // Not authenticated: it moves `una`, within what was sealed, and no timer.
        session.half_mut(segment.direction.reverse()).acknowledge(segment.tcp.ack);
        rewrite::finish(frame, segment.view, checksum, &worker.counters);
        // The last segment of a connection that the client closed first is this one.
        teardown::fins(worker, id, now);
        return Ok(Verdict::Forward);
    }
    // Nothing but the SYN-ACK has gone to the client: an ACK of anything else is forged.
    let origin = session.half(Direction::ServerToClient).origin();
    let waits = worker.config.role == Role::Gateway
        && session.state() == State::Keyed
        && origin.is_some_and(|isn| segment.tcp.ack == isn.advance(1));
    if waits { Ok(Verdict::Hold(id, HoldKind::Ack)) } else { Err(DropReason::Unsynchronised) }
}

/// Payload, FIN or RST without a tag never passes, but for one case under `prefer`: a server
/// without gateway that refuses the connection.
fn untagged(
    worker: &mut Worker,
    frame: &mut Frame,
    segment: &Segment,
    id: SessionId,
) -> Result<Verdict, DropReason> {
    let session = worker.table.get(id).ok_or(DropReason::NoSession)?;
    if session.is_synchronised() {
        return Err(DropReason::TagMissing);
    }
    let tcp = &segment.tcp;
    let refuses = worker.config.role == Role::Client
        && session.state().is_unkeyed()
        && !session.is_candidate()
        && tcp.flags.rst()
        && tcp.flags.ack()
        && tcp.ack == session.client_isn().advance(1);
    if refuses && segment::service(worker, segment)?.1 == Policy::Prefer {
        teardown::remove(worker, id, CloseCause::Clear);
        return segment::pass_clear(worker, frame, segment);
    }
    Err(DropReason::Unsynchronised)
}

fn tagged(
    worker: &mut Worker,
    frame: &mut Frame,
    segment: &Segment,
    (id, tag): (SessionId, &TagOption),
    now: Time,
) -> Result<Verdict, DropReason> {
    let session = worker.table.get(id).ok_or(DropReason::NoSession)?;
    let direction = segment.direction;
    let (len, flags) = content(segment);
    let half = session.half(direction);
    let answers_syn =
        direction == Direction::ServerToClient && flags.rst && half.origin().is_none();
    // The ACK of an answer is looked at before it is held: one sent blindly must not take the place
    // that the real answer needs.
    let acks_syn = segment.tcp.flags.ack() && segment.tcp.ack == session.client_isn().advance(1);
    if answers_syn && len == 0 && !acks_syn {
        return Err(DropReason::AckMismatch);
    }
    if session.keys(direction).is_none() {
        return if answers_syn && len == 0 && !worker.hold.has(id, HoldKind::Handshake) {
            Ok(Verdict::Hold(id, HoldKind::Handshake))
        } else {
            Err(DropReason::Unsynchronised)
        };
    }
    let may_synchronise = worker.config.role == Role::Gateway && session.state() == State::Keyed;
    if !(session.is_synchronised() || answers_syn || may_synchronise) {
        return Err(DropReason::Unsynchronised);
    }
    if tag.phase != PHASE {
        return Err(DropReason::NoKeyForPhase);
    }
    let offset = if answers_syn && len == 0 {
        half.offset_of_answer()
    } else {
        half.offset_to_open(segment.tcp.seq, len, flags)
    }
    .map_err(offset_reason)?;
    open(worker, frame, segment, id, (offset, &tag.tag))?;
    if let Some(session) = worker.table.get_mut(id) {
        session.half_mut(direction).advance(offset, len, flags);
    }
    notes::verified(worker, frame, segment, id, now);
    if answers_syn {
        teardown::refused(worker, id, now);
    } else {
        teardown::after(worker, id, segment, offset, now);
    }
    Ok(Verdict::Forward)
}

/// Verifies and opens in place, and takes our option and its padding off (hazard 4).
fn open(
    worker: &mut Worker,
    frame: &mut Frame,
    segment: &Segment,
    id: SessionId,
    (offset, tag): (u64, &Tag),
) -> Result<(), DropReason> {
    let strip = Rewrite::strip(worker.config.options);
    let done = rewrite::options(frame, segment, &strip)?;
    let (len, flags) = content(segment);
    let Worker { table, keys, counters, .. } = worker;
    let session = table.get(id).ok_or(DropReason::NoSession)?;
    let traffic_keys = session.keys(segment.direction).ok_or(DropReason::Unsynchronised)?;
    let context = keys.context(id, segment.direction, traffic_keys);
    let associated = Associated { offset, flags, phase: PHASE };
    let start = usize::from(segment.tcp.l4) + 20 + done.block.len();
    // The frame shrinks, and was at most an MTU long.
    let at = Payload { src: segment.tcp.payload.start, dst: start as u16, len };
    sekisho_cipher::open(context, &associated, frame.buffer_mut(), at, tag)
        .map_err(|_| DropReason::BadTag)?;
    let view = apply_options(frame.buffer_mut(), &segment.view, &done.block, len)
        .map_err(|_| DropReason::OptionRoom)?;
    rewrite::finish(frame, view, Checksum::Stale, counters);
    counters.tallies().opened_segments.add(1);
    counters.tallies().opened_bytes.add(u64::from(len));
    Ok(())
}
