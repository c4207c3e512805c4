//! Cipher side → plain side: tags are verified, payload is opened, our options are taken off. A
//! segment that does not verify changes nothing but its own counters (hazard 35).

use sekisho_cipher::{Associated, BadTag, Payload, Sums, Tag};
use sekisho_session::{Direction, SessionId, State};
use sekisho_wire::{Rewrite, SekishoOption, TagOption, apply_options};

use crate::classify::Segment;
use crate::drop_reason::DropReason;
use crate::event::CloseCause;
use crate::hold::HoldKind;
use crate::packet::{Job, Opening, Passage, Work};
use crate::rewrite::{self, Checksum};
use crate::role::Role;
use crate::seal::{PHASE, content, offset_reason};
use crate::segment;
use crate::service::Policy;
use crate::verdict::Verdict;
use crate::worker::Worker;
use crate::{notes, teardown};

/// Bad tags without one good octet after which a path that re-segments is the likely cause
/// (hazard 14): more than the odd damaged or forged segment.
const RESEGMENTED: u16 = 4;

/// Decides a segment from the cipher side that belongs to a session or, where its tag does not
/// verify there, to the other one.
pub(crate) fn decide(
    worker: &mut Worker,
    passage: Passage<'_>,
    other: Option<SessionId>,
) -> Result<Work, DropReason> {
    let segment = passage.segment;
    let ours = segment.ours()?;
    if segment.is_pure_ack() {
        return bare_ack(worker, passage, ours);
    }
    if !segment.has_content() {
        return Err(DropReason::BadFlags);
    }
    // Without payload, FIN or RST there was no tag, or it ended above (M3.3).
    let tag = match ours {
        Some(SekishoOption::Tag(tag)) => tag,
        Some(_) => return Err(DropReason::OptionMisplaced),
        None => return untagged(worker, passage).map(Work::End),
    };
    let Some(other) = other.filter(|&other| has_keys(worker, other)) else {
        return tagged(worker, passage, &tag, None);
    };
    // A failed opening leaves garbage behind: keep what the second attempt needs.
    worker.scratch.clear();
    worker.scratch.extend_from_slice(passage.frame.data());
    let Passage { frame, segment, id, now } = passage;
    tagged(worker, Passage { frame, segment, id, now }, &tag, Some(other)).or_else(|reason| {
        let work = tagged(worker, Passage { frame, segment, id: other, now }, &tag, None);
        match work.map_err(|_| reason)? {
            Work::Open(opening) => Ok(Work::Open(Opening { blame: Some(reason), ..opening })),
            work => Ok(work),
        }
    })
}

/// Counts a bad tag where it belongs; names the likely cause (hazard 14).
fn count(worker: &mut Worker, segment: &Segment, id: SessionId) -> DropReason {
    let Some(session) = worker.table.get_mut(id) else {
        return DropReason::BadTag;
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
    worker: &Worker,
    passage: Passage<'_>,
    ours: Option<SekishoOption>,
) -> Result<Work, DropReason> {
    match ours {
        None => {}
        Some(SekishoOption::Tag(_)) => return Err(DropReason::TagOnBareAck),
        Some(_) => return Err(DropReason::OptionMisplaced),
    }
    let Passage { segment, id, .. } = passage;
    let session = worker.table.get(id).ok_or(DropReason::NoSession)?;
    if session.is_synchronised() {
        return Ok(Work::Ack(id));
    }
    // Nothing but the SYN-ACK has gone to the client: an ACK of anything else is forged.
    let origin = session.half(Direction::ServerToClient).origin();
    let waits = worker.config.role == Role::Gateway
        && session.state() == State::Keyed
        && origin.is_some_and(|isn| segment.tcp.ack == isn.advance(1));
    if waits {
        Ok(Verdict::Hold(id, HoldKind::Ack).into())
    } else {
        Err(DropReason::Unsynchronised)
    }
}

/// A bare ACK of a synchronised session goes on as it came. Not authenticated: it moves `una`,
/// within what was sealed, and no timer.
pub(crate) fn finish_ack(worker: &mut Worker, passage: Passage<'_>) -> Verdict {
    let Passage { frame, segment, id, now } = passage;
    if let Some(session) = worker.table.get_mut(id) {
        session.half_mut(segment.direction.reverse()).acknowledge(segment.tcp.ack);
    }
    rewrite::finish(frame, segment.view, segment.received.into(), &worker.counters);
    // The last segment of a connection that the client closed first is this one.
    teardown::fins(worker, id, now);
    Verdict::Forward
}

/// Payload, FIN or RST without a tag never passes, but for one case under `prefer`: a server
/// without gateway that refuses the connection.
fn untagged(worker: &mut Worker, passage: Passage<'_>) -> Result<Verdict, DropReason> {
    let Passage { frame, segment, id, .. } = passage;
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

/// Which offset a tagged segment has, and whether it may be opened now.
fn tagged(
    worker: &mut Worker,
    passage: Passage<'_>,
    tag: &TagOption,
    other: Option<SessionId>,
) -> Result<Work, DropReason> {
    let Passage { segment, id, .. } = passage;
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
            Ok(Verdict::Hold(id, HoldKind::Handshake).into())
        } else {
            Err(DropReason::Unsynchronised)
        };
    }
    // M7.13.
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
    let associated = Associated { offset, flags, phase: PHASE };
    prepare(worker, passage, associated, (tag.tag, answers_syn, other))
}

/// The job of verifying and opening in place, with what it takes to take our option and its padding
/// off afterwards (hazard 4).
fn prepare(
    worker: &mut Worker,
    passage: Passage<'_>,
    associated: Associated,
    (tag, answers_syn, other): (Tag, bool, Option<SessionId>),
) -> Result<Work, DropReason> {
    let Passage { frame, segment, id, .. } = passage;
    let strip = Rewrite::strip(worker.config.options);
    let options = rewrite::options(frame, segment, &strip)?.block;
    let Worker { table, keys, .. } = worker;
    let session = table.get(id).ok_or(DropReason::NoSession)?;
    let traffic_keys = session.keys(segment.direction).ok_or(DropReason::Unsynchronised)?;
    let Some(key) = keys.place(id, segment.direction, traffic_keys) else {
        return Ok(Work::Later);
    };
    let start = usize::from(segment.tcp.l4) + 20 + options.len();
    let payload = segment.tcp.payload;
    // The frame shrinks, and was at most an MTU long.
    let at = Payload { src: payload.start, dst: start as u16, len: payload.len };
    let job = Job { key, associated, at };
    let opened = Err(BadTag { before: 0 });
    Ok(Work::Open(Opening { id, other, job, tag, options, answers_syn, opened, blame: None }))
}

/// Behind the cipher pass: what has verified teaches its session and goes on, without our option.
pub(crate) fn finish(
    worker: &mut Worker,
    passage: Passage<'_>,
    opening: &Opening,
) -> Result<Verdict, DropReason> {
    let Passage { frame, segment, id, now } = passage;
    let opened = opening.opened;
    let before = opened.as_ref().map_or_else(|bad| bad.before, |sums| sums.before);
    if !segment.received.holds(before) {
        return Err(DropReason::BadChecksum);
    }
    let sums = match (opened, opening.other) {
        (Ok(sums), _) => sums,
        (Err(BadTag { .. }), Some(other)) => {
            frame.data_mut().copy_from_slice(&worker.scratch);
            return second(worker, Passage { frame, segment, id: other, now }, opening)
                .map_err(|_| count(worker, segment, id));
        }
        (Err(BadTag { .. }), None) => {
            return Err(opening.blame.unwrap_or_else(|| count(worker, segment, id)));
        }
    };
    verified(worker, Passage { frame, segment, id, now }, opening, &sums)
}

/// The second attempt, with the keys of the other session that the segment may belong to.
fn second(
    worker: &mut Worker,
    passage: Passage<'_>,
    first: &Opening,
) -> Result<Verdict, DropReason> {
    let Passage { frame, segment, id, now } = passage;
    let tag = TagOption { phase: first.job.associated.phase, tag: first.tag };
    let work = tagged(worker, Passage { frame, segment, id, now }, &tag, None)?;
    let Work::Open(opening) = work else {
        return Err(DropReason::BadTag);
    };
    let Job { key, associated, at } = opening.job;
    let context = worker.keys.context(key);
    let sums = sekisho_cipher::open(context, &associated, frame.buffer_mut(), at, &opening.tag)
        .map_err(|_| DropReason::BadTag)?;
    verified(worker, Passage { frame, segment, id, now }, &opening, &sums)
}

fn verified(
    worker: &mut Worker,
    passage: Passage<'_>,
    opening: &Opening,
    sums: &Sums,
) -> Result<Verdict, DropReason> {
    let segment = passage.segment;
    let frame = &mut *passage.frame;
    let Associated { offset, flags, .. } = opening.job.associated;
    let len = opening.job.at.len;
    let view = apply_options(frame.buffer_mut(), &segment.view, &opening.options, len)
        .map_err(|_| DropReason::OptionRoom)?;
    rewrite::finish(frame, view, Checksum::Payload(sums.after), &worker.counters);
    worker.counters.tallies().opened_segments.add(1);
    worker.counters.tallies().opened_bytes.add(u64::from(len));
    if let Some(session) = worker.table.get_mut(passage.id) {
        session.half_mut(segment.direction).advance(offset, len, flags);
    }
    notes::verified(worker, &passage);
    if opening.answers_syn {
        teardown::refused(worker, passage.id, passage.now);
    } else {
        teardown::after(worker, passage.id, segment, offset, passage.now);
    }
    Ok(Verdict::Forward)
}
