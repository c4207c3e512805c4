//! Which session a TCP segment belongs to, and what becomes of those that have none. Owns the
//! look-up and the policies; handshake, sealing and opening are beside it.

use sekisho_port::{Frame, PortSide};
use sekisho_session::{Direction, SessionId, Time};
use sekisho_wire::TcpFlags;

use crate::classify::Segment;
use crate::drop_reason::DropReason;
use crate::packet::{Job, Passage, Work};
use crate::rewrite;
use crate::role::Role;
use crate::service::{Policy, ServiceId};
use crate::verdict::Verdict;
use crate::worker::Worker;
use crate::{open, seal, syn, syn_ack};

/// How a segment stands to those before it that wait for their cipher pass.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Plain data or a bare ACK of its session: decided now or after them, it comes to the same,
    /// so it may wait with them.
    Joins,
    /// No session knows it, nor does it begin one.
    Stranger,
    /// Its session may change by it, or by those before it: they come to their end first, and it
    /// comes to its own before the next is decided.
    Alone,
    /// The same of a SYN or SYN-ACK, whose session is looked for by its ISN.
    Handshake,
}

/// Looks up what a segment belongs to, by its flow's `hash`; `live` is its session, if it has one,
/// and a guess at it before.
///
/// What waits moves `high` of the direction by verified or sealed data without FIN, and `una` of
/// the other direction. Of the first `is_near` takes care at the opener; the sealer does not look at
/// it while there is no FIN, and looks at the `una` of its own direction only. That a session ends
/// meanwhile changes nothing either: it drains, and so goes on as it did (M7.16).
#[inline(always)]
pub(crate) fn standing(
    worker: &Worker,
    segment: &Segment,
    hash: u64,
    live: &mut SessionId,
) -> Standing {
    let flags = segment.tcp.flags;
    if flags.syn() {
        return Standing::Handshake;
    }
    let Some((id, session)) = worker.table.live(*live, hash, &segment.flow) else {
        return Standing::Stranger;
    };
    *live = id;
    let joins = session.is_synchronised()
        && !session.has_candidate()
        && !flags.intersects(TcpFlags::FIN | TcpFlags::RST)
        && (segment.side == PortSide::Plain
            || session.half(segment.direction).is_near(segment.tcp.seq));
    if joins { Standing::Joins } else { Standing::Alone }
}

/// Decides a segment of a flow that this worker owns; `job` names the live session by now.
#[inline(always)]
pub(crate) fn decide(
    worker: &mut Worker,
    (frame, segment, job): (&mut Frame, &Segment, &mut Job),
    standing: Standing,
    now: Time,
) -> Result<Work, DropReason> {
    match standing {
        Standing::Joins => {
            let id = job.id;
            of_session(worker, Passage { frame, segment, id, now }, job, None)
        }
        Standing::Stranger => {
            without_session(worker, frame, segment, DropReason::NoSession, now).map(Work::End)
        }
        Standing::Handshake => handshake(worker, frame, segment, now).map(Work::End),
        Standing::Alone => {
            let (id, other) = choose(worker, segment, job.id);
            if runs_in_clear_still(worker, segment, id, now)? {
                return pass_clear(worker, frame, segment).map(Work::End);
            }
            of_session(worker, Passage { frame, segment, id, now }, job, other)
        }
    }
}

#[inline(always)]
fn of_session(
    worker: &mut Worker,
    passage: Passage<'_>,
    job: &mut Job,
    other: Option<SessionId>,
) -> Result<Work, DropReason> {
    job.id = passage.id;
    match passage.segment.side {
        PortSide::Plain => seal::decide(worker, passage, job),
        PortSide::Cipher => open::decide(worker, passage, job, other),
    }
}

fn handshake(
    worker: &mut Worker,
    frame: &mut Frame,
    segment: &Segment,
    now: Time,
) -> Result<Verdict, DropReason> {
    match (segment.direction, segment.tcp.flags.ack()) {
        (Direction::ClientToServer, false) => syn::decide(worker, frame, segment, now),
        (Direction::ServerToClient, true) => syn_ack::decide(worker, frame, segment, now),
        _ => match service(worker, segment)? {
            (_, Policy::Off) => pass_clear(worker, frame, segment),
            _ => Err(DropReason::SimultaneousOpen),
        },
    }
}

/// The service dialled, or why the segment is none of ours.
pub(crate) fn service(
    worker: &Worker,
    segment: &Segment,
) -> Result<(ServiceId, Policy), DropReason> {
    let services = &worker.config.services;
    let server = segment.flow.server();
    services.lookup(server.ip(), server.port()).ok_or_else(|| {
        let client = segment.flow.client();
        match services.lookup(client.ip(), client.port()) {
            Some(_) => DropReason::WrongSide,
            None => DropReason::NotAService,
        }
    })
}

/// A segment without session passes by policy only; `reason` is told where it does not.
pub(crate) fn without_session(
    worker: &mut Worker,
    frame: &mut Frame,
    segment: &Segment,
    reason: DropReason,
    now: Time,
) -> Result<Verdict, DropReason> {
    let passes = match service(worker, segment)?.1 {
        Policy::Require => false,
        Policy::Prefer => note_clear(worker, segment, now),
        Policy::Off => true,
    };
    if passes { pass_clear(worker, frame, segment) } else { Err(reason) }
}

/// Lets a segment pass in clear, as it is. Only policy leads here.
pub(crate) fn pass_clear(
    worker: &mut Worker,
    frame: &mut Frame,
    segment: &Segment,
) -> Result<Verdict, DropReason> {
    // Our options pass in clear to neither side, in any state (hazard 32, M2.5).
    if segment.options.ours_span.is_some() {
        return Err(DropReason::OptionMisplaced);
    }
    let view = segment.view(frame.data())?;
    rewrite::pass(frame, &view, segment.received.into());
    worker.counters.tallies().passed_clear.add(1);
    Ok(Verdict::Forward)
}

fn note_clear(worker: &mut Worker, segment: &Segment, now: Time) -> bool {
    let flags = segment.tcp.flags;
    worker.clear.pass(&segment.flow, segment.direction, flags.fin(), flags.rst(), now)
}

/// A SYN with request on the tuple of a connection in clear, perhaps spoofed, ends nothing: until
/// the KDC vouches for it (its keys come, the entry goes) the old connection goes on.
fn runs_in_clear_still(
    worker: &mut Worker,
    segment: &Segment,
    id: SessionId,
    now: Time,
) -> Result<bool, DropReason> {
    let unkeyed = worker.table.get(id).is_some_and(|session| session.state().is_unkeyed());
    if !unkeyed || worker.clear.is_empty() || segment.options.ours_span.is_some() {
        return Ok(false);
    }
    Ok(service(worker, segment)?.1 == Policy::Prefer && note_clear(worker, segment, now))
}

/// Live session or candidate (hazard 15)? The second is tried where the first one's tag fails.
fn choose(worker: &Worker, segment: &Segment, live: SessionId) -> (SessionId, Option<SessionId>) {
    let has_candidate = worker.table.get(live).is_some_and(|session| session.has_candidate());
    if !has_candidate {
        return (live, None);
    }
    let Some(id) = worker.table.candidate(&segment.flow) else {
        return (live, None);
    };
    let Some(candidate) = worker.table.get(id) else {
        return (live, None);
    };
    let first = candidate.client_isn().advance(1);
    let tcp = &segment.tcp;
    let origin = candidate.half(Direction::ServerToClient).origin();
    match (segment.direction, segment.side) {
        // A RST that answers the candidate's SYN, before any SYN-ACK (hazard 39).
        (Direction::ServerToClient, _)
            if tcp.flags.rst() && origin.is_none() && tcp.flags.ack() && tcp.ack == first =>
        {
            (id, None)
        }
        // Once the server has answered the candidate's SYN its old connection is no more.
        (Direction::ServerToClient, PortSide::Plain)
            if origin.is_some_and(|isn| in_stream(tcp.seq.distance_from(isn))) =>
        {
            (id, None)
        }
        // The ACK that ends the candidate's handshake.
        (Direction::ClientToServer, PortSide::Cipher)
            if segment.is_pure_ack() && tcp.seq == first && origin.is_some() =>
        {
            (id, None)
        }
        (Direction::ClientToServer, PortSide::Cipher)
            if worker.config.role == Role::Gateway && segment.has_content() =>
        {
            (live, Some(id))
        }
        _ => (live, None),
    }
}

/// A sequence number that a stream just begun can have reached.
fn in_stream(distance: i32) -> bool {
    (1..=1 << 30).contains(&distance)
}
