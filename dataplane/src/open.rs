//! Cipher side → plain side: tags are verified, payload is opened, our options are taken off. A
//! segment that does not verify changes nothing but its own counters (hazard 35).

use sekisho_cipher::{Associated, BadTag, Payload, Sums, TrafficKeys};
use sekisho_port::Frame;
use sekisho_session::{Direction, Session, SessionId, State};
use sekisho_wire::options::TAG_OPTION_LEN;
use sekisho_wire::tcp::TCP_HEADER_LEN;
use sekisho_wire::{Rewrite, SekishoOption, TagOption};

use crate::classify::Segment;
use crate::config::WorkerConfig;
use crate::drop_reason::DropReason;
use crate::event::CloseCause;
use crate::hold::HoldKind;
use crate::key_cache::KeyCache;
use crate::packet::{Job, Options, Passage, Work};
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
    job: &mut Job,
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
    (job.other, job.blame) = (None, None);
    let Some(other) = other.filter(|&other| has_keys(worker, other)) else {
        return tagged(worker, passage, job, &tag);
    };
    // A failed opening leaves garbage behind: keep what the second attempt needs.
    worker.scratch.clear();
    worker.scratch.extend_from_slice(passage.frame.data());
    let Passage { frame, segment, id, now } = passage;
    job.other = Some(other);
    tagged(worker, Passage { frame, segment, id, now }, job, &tag).or_else(|reason| {
        (job.other, job.blame) = (None, Some(reason));
        let passage = Passage { frame, segment, id: other, now };
        tagged(worker, passage, job, &tag).map_err(|_| reason)
    })
}

/// Counts a bad tag where it belongs; names the likely cause (hazard 14).
fn count(worker: &mut Worker, segment: &Segment, id: SessionId) -> DropReason {
    let Some(session) = worker.table.get_mut(id) else {
        return DropReason::BadTag;
    };
    session.count_bad_tag();
    if is_resegmented(session, segment.direction) {
        DropReason::Resegmented
    } else {
        DropReason::BadTag
    }
}

/// Whether all tags of a direction have failed so far, and enough of them to name the cause.
pub(crate) fn is_resegmented(session: &Session, direction: Direction) -> bool {
    session.half(direction).high() == 0 && session.bad_tags() >= RESEGMENTED
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
        return Ok(Work::Ack);
    }
    // Nothing but the SYN-ACK has gone to the client: an ACK of anything else is forged.
    let origin = session.half(Direction::ServerToClient).origin();
    let waits = worker.config.role == Role::Gateway
        && session.state() == State::Keyed
        && origin.is_some_and(|isn| segment.tcp.ack == isn.advance(1));
    if waits {
        Ok(Verdict::Hold(id.index(), HoldKind::Ack).into())
    } else {
        Err(DropReason::Unsynchronised)
    }
}

/// A bare ACK of a synchronised session goes on as it came. Not authenticated: it moves `una`,
/// within what was sealed, and no timer.
pub(crate) fn finish_ack(worker: &mut Worker, passage: Passage<'_>) -> Result<(), DropReason> {
    let Passage { frame, segment, id, now } = passage;
    if let Some(session) = worker.table.get_mut(id) {
        session.half_mut(segment.direction.reverse()).acknowledge(segment.tcp.ack);
    }
    rewrite::pass_on(frame, segment, &worker.counters)?;
    // The last segment of a connection that the client closed first is this one.
    teardown::fins(worker, id, now);
    Ok(())
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
    job: &mut Job,
    tag: &TagOption,
) -> Result<Work, DropReason> {
    let Passage { segment, id, .. } = passage;
    let Worker { table, keys, config, hold, .. } = worker;
    let session = table.get(id).ok_or(DropReason::NoSession)?;
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
    let Some(traffic_keys) = session.keys(direction) else {
        return if answers_syn && len == 0 && !hold.has(id.index(), HoldKind::Handshake) {
            Ok(Verdict::Hold(id.index(), HoldKind::Handshake).into())
        } else {
            Err(DropReason::Unsynchronised)
        };
    };
    // M7.13.
    let may_synchronise = config.role == Role::Gateway && session.state() == State::Keyed;
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
    job.associated = Associated { offset, flags, phase: PHASE };
    job.tag = tag.tag;
    job.answers_syn = answers_syn;
    prepare((traffic_keys, keys), config, passage, job)
}

/// Fills in what is left of the job of verifying and opening in place, and of taking our option and
/// its padding off afterwards (hazard 4).
#[inline(always)]
fn prepare(
    (traffic_keys, keys): (&TrafficKeys, &mut KeyCache),
    config: &WorkerConfig,
    Passage { frame, segment, id, .. }: Passage<'_>,
    job: &mut Job,
) -> Result<Work, DropReason> {
    match plain_options(segment) {
        Some(keep) => job.options = Options::Spliced(keep),
        None => rewritten(config, frame, segment, job)?,
    }
    let Some(key) = keys.place(id, segment.direction, traffic_keys) else {
        return Ok(Work::Later);
    };
    let start = usize::from(segment.tcp.l4) + TCP_HEADER_LEN + job.options.len(0);
    let payload = segment.tcp.payload;
    job.id = id;
    job.key = key;
    // The frame shrinks, and was at most an MTU long.
    job.at = Payload { src: payload.start, dst: start as u16, len: payload.len };
    Ok(Work::Cipher)
}

/// Options that it takes more than to cut the tag off of.
#[inline(never)]
fn rewritten(
    config: &WorkerConfig,
    frame: &Frame,
    segment: &Segment,
    job: &mut Job,
) -> Result<(), DropReason> {
    let strip = Rewrite::strip(config.options);
    job.options = Options::Rewritten(rewrite::options(frame, segment, &strip)?.block);
    Ok(())
}

/// The options that stay, where the tag behind them is all there is to take off, in a segment that
/// needs no other change.
#[inline(always)]
fn plain_options(segment: &Segment) -> Option<u8> {
    let keep = rewrite::splice_point(segment)?;
    let header_len = TCP_HEADER_LEN + usize::from(keep) + TAG_OPTION_LEN;
    (usize::from(segment.tcp.header_len) == header_len).then_some(keep)
}

/// Behind the cipher pass: what has verified teaches its session and goes on, without our option.
#[inline(always)]
pub(crate) fn finish(
    worker: &mut Worker,
    passage: Passage<'_>,
    job: &Job,
    opened: &Result<Sums, BadTag>,
) -> Result<(), DropReason> {
    let Passage { frame, segment, id, now } = passage;
    let before = opened.as_ref().map_or_else(|bad| bad.before, |sums| sums.before);
    if !segment.received.holds(before) {
        return Err(DropReason::BadChecksum);
    }
    match (opened, job.other) {
        (Ok(sums), _) => verified(worker, Passage { frame, segment, id, now }, job, sums),
        (Err(BadTag { .. }), None) => Err(job.blame.unwrap_or_else(|| count(worker, segment, id))),
        (Err(BadTag { .. }), Some(other)) => {
            frame.data_mut().copy_from_slice(&worker.scratch);
            second(worker, Passage { frame, segment, id: other, now }, job)
                .map_err(|_| count(worker, segment, id))
        }
    }
}

/// The second attempt, with the keys of the other session that the segment may belong to.
fn second(worker: &mut Worker, passage: Passage<'_>, first: &Job) -> Result<(), DropReason> {
    let Passage { frame, segment, id, now } = passage;
    let tag = TagOption { phase: first.associated.phase, tag: first.tag };
    let mut job = Job::vacant();
    let work = tagged(worker, Passage { frame, segment, id, now }, &mut job, &tag)?;
    if work != Work::Cipher {
        return Err(DropReason::BadTag);
    }
    let context = worker.keys.context(job.key);
    let sums = sekisho_cipher::open(context, &job.associated, frame.buffer_mut(), job.at, &job.tag)
        .map_err(|_| DropReason::BadTag)?;
    verified(worker, Passage { frame, segment, id, now }, &job, &sums)
}

#[inline(always)]
fn verified(
    worker: &mut Worker,
    passage: Passage<'_>,
    job: &Job,
    sums: &Sums,
) -> Result<(), DropReason> {
    let segment = passage.segment;
    let frame = &mut *passage.frame;
    let Associated { offset, flags, phase } = job.associated;
    let len = job.at.len;
    match (&job.options, segment.received.header_sum()) {
        (Options::Spliced(keep), Some(header)) => {
            let option = TagOption { phase, tag: job.tag }.encode(&worker.config.options);
            rewrite::cut_tag(frame, segment, *keep, &option, (header, sums.after))?;
        }
        (Options::Rewritten(block), _) => {
            let checksum = Checksum::Payload(sums.after);
            rewrite::apply(frame, segment, (block, len), checksum, &worker.counters)?;
        }
        // Only segments with a header sum are spliced.
        (Options::Spliced(_), None) => return Err(DropReason::OptionRoom),
    }
    worker.counters.tallies().opened_segments.add(1);
    worker.counters.tallies().opened_bytes.add(u64::from(len));
    let may_end = notes::verified(worker, &passage, (offset, len, flags));
    if job.answers_syn {
        teardown::refused(worker, passage.id, passage.now);
    } else if may_end {
        teardown::after(worker, passage.id, segment, offset, passage.now);
    }
    Ok(())
}
