//! Plain side → cipher side: segments of a session are sealed, pure ACKs pass once it is
//! synchronised (design: protection of a segment). Owns what comes before and behind the cipher
//! pass.

use sekisho_cipher::{Associated, Payload, Sealed, SegmentFlags};
use sekisho_port::Frame;
use sekisho_session::{Charge, Direction, OffsetError, Placement, RST_ANSWER_OFFSET, Session};
use sekisho_wire::options::TAG_OPTION_LEN;
use sekisho_wire::tcp::{MAX_OPTIONS_LEN, TCP_HEADER_LEN};
use sekisho_wire::{OptionBlock, Rewrite, TagOption};

use crate::classify::Segment;
use crate::config::WorkerConfig;
use crate::drop_reason::DropReason;
use crate::key_cache::KeyCache;
use crate::notes::Stretch;
use crate::packet::{Job, Options, Passage, Work};
use crate::rewrite::{self, Checksum};
use crate::verdict::Verdict;
use crate::worker::Worker;
use crate::{answer, notes, teardown};

/// The phase of the one epoch there is until rekey exists.
pub(crate) const PHASE: u8 = 0;

/// Decides a segment from the plain side that belongs to a session.
#[inline]
pub(crate) fn decide(
    worker: &mut Worker,
    passage: Passage<'_>,
    job: &mut Job,
) -> Result<Work, DropReason> {
    let Passage { segment, id, .. } = passage;
    segment.ours()?;
    let Worker { table, keys, config, .. } = worker;
    let session = table.get_mut(id).ok_or(DropReason::NoSession)?;
    let half = session.half(segment.direction);
    let from_server = segment.direction == Direction::ServerToClient;
    if from_server && segment.tcp.flags.rst() && half.origin().is_none() {
        let stretch = answer_to_syn(session, segment)?;
        return prepare((session, keys), config, passage, job, stretch);
    }
    if !session.is_synchronised() {
        return Err(DropReason::Unsynchronised);
    }
    if segment.is_pure_ack() {
        if segment.options.ours_span.is_some() {
            return Err(DropReason::OptionMisplaced);
        }
        if from_server && is_half_open(session, segment) {
            return Ok(answer_half_open(passage).into());
        }
        return Ok(Work::Ack);
    }
    let (len, flags) = content(segment);
    match half.offset_to_seal(segment.tcp.seq, len, flags).map_err(offset_reason)? {
        Placement::KeepAlive => Ok(Work::KeepAlive),
        Placement::At(offset) => {
            prepare((session, keys), config, passage, job, (offset, len, flags))
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
fn answer_to_syn(session: &Session, segment: &Segment) -> Result<Stretch, DropReason> {
    if session.keys(segment.direction).is_none() || !notes::syn_is_released(session) {
        return Err(DropReason::Unsynchronised);
    }
    if !segment.tcp.flags.ack() || segment.tcp.ack != session.client_isn().advance(1) {
        return Err(DropReason::AckMismatch);
    }
    // A payload on it, which some stacks send as a diagnosis, has no offset: it is left behind.
    Ok((RST_ANSWER_OFFSET, 0, content(segment).1))
}

/// The server answers the SYN by an ACK of something else: it has a connection of this tuple still
/// that its client no longer knows (M7.23).
fn is_half_open(session: &Session, segment: &Segment) -> bool {
    session.half(Direction::ServerToClient).origin().is_none()
        && segment.tcp.ack != session.client_isn().advance(1)
}

/// What the client would answer (RFC 9293, 3.10.7.3). Its own RST could not be sealed: it lies in no
/// stream that there is.
fn answer_half_open(passage: Passage<'_>) -> Verdict {
    let Passage { frame, segment, .. } = passage;
    match segment.view(frame.data()) {
        Ok(view) if answer::turn_into_reset(frame, &view) => Verdict::Answer(DropReason::HalfOpen),
        _ => Verdict::Drop(DropReason::HalfOpen),
    }
}

/// The job of sealing the first `len` octets of the payload in place, with what it takes to put the
/// tag on afterwards. Charges the key: from here on it will be used.
#[inline(always)]
fn prepare(
    (session, keys): (&mut Session, &mut KeyCache),
    config: &WorkerConfig,
    Passage { frame, segment, id, .. }: Passage<'_>,
    job: &mut Job,
    (offset, len, flags): Stretch,
) -> Result<Work, DropReason> {
    match plain_options(segment, len) {
        Some(keep) => job.options = Options::Spliced(keep),
        None => rewritten(config, frame, segment, job)?,
    }
    let start = usize::from(segment.tcp.l4) + TCP_HEADER_LEN + job.options.len(TAG_OPTION_LEN);
    let end = start + usize::from(len);
    if end - usize::from(segment.layers.l3) > usize::from(config.mtu) {
        return Err(DropReason::GrownBeyondMtu);
    }
    let traffic_keys = session.keys(segment.direction).ok_or(DropReason::Unsynchronised)?;
    let Some(key) = keys.place(id, segment.direction, traffic_keys) else {
        return Ok(Work::Later);
    };
    if session.usage_mut().charge(len) == Charge::Exhausted {
        return Err(DropReason::KeyExhausted);
    }
    job.key = key;
    job.associated = Associated { offset, flags, phase: PHASE };
    // `start` is within a frame of at most the MTU, checked above.
    job.at = Payload { src: segment.tcp.payload.start, dst: start as u16, len };
    Ok(Work::Cipher)
}

/// Options that take more than to be appended to.
#[inline(never)]
fn rewritten(
    config: &WorkerConfig,
    frame: &Frame,
    segment: &Segment,
    job: &mut Job,
) -> Result<(), DropReason> {
    let blank = Rewrite::blank_tag(config.options, PHASE);
    let done = rewrite::options(frame, segment, &blank)?;
    job.options = Options::Rewritten(done.block);
    job.trimmed = done.changes.gave_way();
    Ok(())
}

/// The options as they are, where nothing but the tag behind them is needed, and no other change of
/// a segment that keeps its payload.
#[inline(always)]
fn plain_options(segment: &Segment, len: u16) -> Option<u8> {
    let keep = rewrite::splice_point(segment)?;
    let plain = segment.options.ours_span.is_none()
        && usize::from(keep) + TAG_OPTION_LEN <= MAX_OPTIONS_LEN
        && len == segment.tcp.payload.len;
    plain.then_some(keep)
}

/// Behind the cipher pass: puts the tag on, and tells the session what went out.
#[inline(always)]
pub(crate) fn finish(
    worker: &mut Worker,
    passage: Passage<'_>,
    job: &Job,
    sealed: &Sealed,
) -> Result<(), DropReason> {
    let segment = passage.segment;
    // A corrupt segment must not become an authentic one: nobody sees its tag (M3.10).
    if !segment.received.holds(sealed.sums.before) {
        return Err(DropReason::BadChecksum);
    }
    let frame = &mut *passage.frame;
    let Associated { offset, flags, .. } = job.associated;
    let len = job.at.len;
    match (&job.options, segment.received.header_sum()) {
        (Options::Spliced(keep), Some(header)) => {
            let option = TagOption { phase: PHASE, tag: sealed.tag }.encode(&worker.config.options);
            rewrite::append_tag(frame, segment, *keep, &option, (header, sealed.sums.after))?;
        }
        (Options::Rewritten(block), _) => {
            put_rewritten(worker, frame, segment, (block, len), sealed)?;
            worker.counters.tallies().options_trimmed.add(u64::from(job.trimmed));
        }
        // Only segments with a header sum are spliced.
        (Options::Spliced(_), None) => return Err(DropReason::OptionRoom),
    }
    worker.counters.tallies().sealed_segments.add(1);
    worker.counters.tallies().sealed_bytes.add(u64::from(len));
    let may_end = notes::sealed(worker, &passage, (offset, len, flags));
    if offset == RST_ANSWER_OFFSET {
        teardown::refused(worker, passage.id, passage.now);
    } else if may_end {
        teardown::after(worker, passage.id, segment, offset, passage.now);
    }
    Ok(())
}

/// Puts on rewritten options, whose place for the tag is filled in.
#[inline(never)]
fn put_rewritten(
    worker: &Worker,
    frame: &mut Frame,
    segment: &Segment,
    (block, len): (&OptionBlock, u16),
    sealed: &Sealed,
) -> Result<(), DropReason> {
    let mut block = *block;
    if !block.set_tag(&sealed.tag) {
        return Err(DropReason::OptionRoom);
    }
    let checksum = Checksum::Payload(sealed.sums.after);
    rewrite::apply(frame, segment, (&block, len), checksum, &worker.counters)
}

/// A bare ACK goes on as it came.
pub(crate) fn finish_ack(worker: &mut Worker, passage: Passage<'_>) -> Result<(), DropReason> {
    let segment = passage.segment;
    rewrite::pass_on(passage.frame, segment, &worker.counters)?;
    notes::trusted(worker, &passage);
    teardown::fins(worker, passage.id, passage.now);
    Ok(())
}

/// A keep-alive goes on as a bare ACK (hazard 8).
pub(crate) fn keep_alive(worker: &mut Worker, passage: Passage<'_>) -> Result<(), DropReason> {
    let strip = Rewrite::strip(worker.config.options);
    rewrite::cut_payload(passage.frame, passage.segment, &strip, &worker.counters)?;
    worker.counters.tallies().keepalives_cut.add(1);
    notes::trusted(worker, &passage);
    Ok(())
}

const _: () = assert!(TAG_OPTION_LEN == 16, "the MSS is lowered by the tag's octets");
