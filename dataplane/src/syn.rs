//! The SYN: the gateway detects the cipher request and holds the segment, the client agent inserts
//! the request and lets it go (design: TCP options, life of a session).

use std::hash::Hasher;

use sekisho_port::Frame;
use sekisho_session::{Direction, InsertError, Session, SessionId, State, Time};
use sekisho_wire::{L2Header, MssRule, RequestOption, Rewrite, SekishoOption};

use crate::answer;
use crate::classify::Segment;
use crate::config::Refusal;
use crate::drop_reason::DropReason;
use crate::event::{CloseCause, Event};
use crate::hold::HoldKind;
use crate::rewrite;
use crate::role::Role;
use crate::segment::{pass_clear, service};
use crate::service::{Policy, ServiceId};
use crate::verdict::Verdict;
use crate::worker::Worker;
use crate::{notes, teardown};

/// Decides a SYN without ACK from the client's side.
pub(crate) fn decide(
    worker: &mut Worker,
    frame: &mut Frame,
    segment: &Segment,
    now: Time,
) -> Result<Verdict, DropReason> {
    let (service, policy) = service(worker, segment)?;
    if policy == Policy::Off {
        return off(worker, frame, segment);
    }
    let ours = segment.ours()?;
    // M2.13.
    if segment.options.md5_or_ao {
        return Ok(refuse(worker, frame, segment, DropReason::TcpMd5Ao));
    }
    let request_id = match (worker.config.role, ours) {
        // What an application puts there is taken off again: the request is the agent's to make.
        (Role::Client, _) => request_id(worker, segment),
        (Role::Gateway, Some(SekishoOption::Request(request))) => request.request_id,
        (Role::Gateway, Some(_)) => return Err(DropReason::OptionMisplaced),
        (Role::Gateway, None) => return without_request(worker, frame, segment, policy, now),
    };
    match worker.table.find_by_isn(&segment.flow, segment.tcp.seq) {
        Some(id) => repeated(worker, frame, segment, (id, request_id)),
        None => begin(worker, frame, segment, (service, request_id), now),
    }
}

/// `R` = SipHash of flow and ISN under the boot's seed: a SYN that comes again says the same (M2.1).
/// Never 0, which means "unknown" in key delivery.
fn request_id(worker: &Worker, segment: &Segment) -> u64 {
    let mut hasher = worker.request_ids;
    for end in [segment.flow.client(), segment.flow.server()] {
        match end.ip() {
            std::net::IpAddr::V4(ip) => hasher.write(&ip.octets()),
            std::net::IpAddr::V6(ip) => hasher.write(&ip.octets()),
        }
        hasher.write(&end.port().to_be_bytes());
    }
    hasher.write(&segment.tcp.seq.get().to_be_bytes());
    hasher.finish().max(1)
}

/// Unprotected by policy; a request that somebody made all the same does not go on.
fn off(worker: &mut Worker, frame: &mut Frame, segment: &Segment) -> Result<Verdict, DropReason> {
    if segment.options.ours_span.is_some() {
        let strip = Rewrite::strip(worker.config.options);
        rewrite::handshake(frame, segment, &strip, &worker.counters)?;
        worker.counters.tallies().passed_clear.add(1);
        return Ok(Verdict::Forward);
    }
    pass_clear(worker, frame, segment)
}

/// A client without agent, or somebody in between who took the request off.
fn without_request(
    worker: &mut Worker,
    frame: &mut Frame,
    segment: &Segment,
    policy: Policy,
    now: Time,
) -> Result<Verdict, DropReason> {
    if policy == Policy::Require {
        return Ok(refuse(worker, frame, segment, DropReason::NoRequest));
    }
    // A tuple that runs in cipher does not turn to clear by a SYN that anybody can send.
    if worker.table.lookup(&segment.flow).is_some() {
        return Err(DropReason::NoRequest);
    }
    let before = worker.clear.len();
    worker.clear.insert(&segment.flow, false, now).map_err(|_| DropReason::ClearTableFull)?;
    let fresh = u64::from(worker.clear.len() - before);
    worker.counters.tallies().sessions_clear.add(fresh);
    pass_clear(worker, frame, segment)
}

/// Refused: by RST or by silence, as configured.
fn refuse(worker: &Worker, frame: &mut Frame, segment: &Segment, reason: DropReason) -> Verdict {
    let answers = worker.config.refusal == Refusal::Reset;
    match segment.view(frame.data()) {
        Ok(view) if answers && answer::turn_into_reset(frame, &view) => Verdict::Answer(reason),
        _ => Verdict::Drop(reason),
    }
}

/// A first SYN: a new session, or a candidate beside a live one (hazard 15, M7.10).
fn begin(
    worker: &mut Worker,
    frame: &mut Frame,
    segment: &Segment,
    (service, request_id): (ServiceId, u64),
    now: Time,
) -> Result<Verdict, DropReason> {
    let role = worker.config.role;
    if worker.takes_no_sessions {
        return Err(DropReason::Draining);
    }
    // Without room to tell control no state is made: TCP repeats the SYN.
    if !worker.has_event_room() {
        return Err(DropReason::EventRingFull);
    }
    let l2 = L2Header::from_frame(frame.data(), &segment.layers).ok_or(DropReason::Truncated)?;
    let rewrite = outgoing(worker, segment, request_id);
    // Rewritten, or shown to be rewritable, before there is a session to be left behind.
    match role {
        Role::Client => rewrite::handshake(frame, segment, &rewrite, &worker.counters)?,
        Role::Gateway => drop(rewrite::options(frame, segment, &rewrite)?),
    }
    let id = insert(worker, segment, now)?;
    worker.note_opening(id);
    if let Some(session) = worker.table.get_mut(id) {
        session.set_request_id(request_id);
        session.set_l2(Direction::ClientToServer, &l2);
        if role == Role::Client {
            notes::release_syn(session);
        }
    }
    if role == Role::Client {
        // The application is believed: its old connection of this tuple is no more.
        worker.clear.remove(&segment.flow);
    }
    worker.counters.tallies().sessions_opened.add(1);
    worker.push_surely(Event::Request {
        worker: worker.config.index,
        flow: segment.flow,
        client_isn: segment.tcp.seq.get(),
        generation: id.generation(),
        request_id,
        option: RequestOption { request_id }.encode(&worker.config.options),
        service,
        l2,
    });
    Ok(match role {
        Role::Gateway => Verdict::Hold(id.index(), HoldKind::Handshake),
        Role::Client => Verdict::Forward,
    })
}

fn insert(worker: &mut Worker, segment: &Segment, now: Time) -> Result<SessionId, DropReason> {
    let (flow, isn) = (&segment.flow, segment.tcp.seq);
    let busy = match worker.table.insert(flow, isn, now) {
        Ok(id) => return Ok(id),
        Err(InsertError::Full) => worker.oldest_opening().ok_or(DropReason::TableFull)?,
        Err(InsertError::Exists(_)) => return Err(DropReason::SynRepeated),
        Err(InsertError::CandidateExists(id)) => id,
    };
    // Of a full table a session that nobody has vouched for gives way (hazard 20, M7.18).
    // A candidate that nobody has vouched for gives way, or a spoofed SYN would keep the tuple.
    if !worker.table.get(busy).is_some_and(|session| session.state().is_unkeyed()) {
        return Err(DropReason::CandidateBusy);
    }
    teardown::remove(worker, busy, CloseCause::Superseded);
    worker.table.insert(flow, isn, now).map_err(|_| DropReason::TableFull)
}

/// The options of a SYN as it leaves: without ours and with a lower MSS towards the server
/// (hazard 1, M2.8: each box lowers what its own plain side hears), with the request towards the gateway.
fn outgoing(worker: &Worker, segment: &Segment, request_id: u64) -> Rewrite {
    let codes = worker.config.options;
    match worker.config.role {
        Role::Gateway => {
            Rewrite::strip(codes).with_mss(MssRule::for_path(segment.layers.ip, worker.config.mtu))
        }
        Role::Client => {
            Rewrite::insert(codes, SekishoOption::Request(RequestOption { request_id }))
        }
    }
}

/// The same SYN again: the same session, no second event (hazard 16).
fn repeated(
    worker: &mut Worker,
    frame: &mut Frame,
    segment: &Segment,
    (id, request_id): (SessionId, u64),
) -> Result<Verdict, DropReason> {
    let session = worker.table.get(id).ok_or(DropReason::NoSession)?;
    if session.request_id() != request_id {
        return Err(DropReason::RequestMismatch);
    }
    let rewrite = outgoing(worker, segment, request_id);
    if !notes::syn_is_released(session) {
        // The newest is held: the client takes the time from the SYN that is answered for a round trip.
        rewrite::options(frame, segment, &rewrite)?;
        return Ok(Verdict::Hold(id.index(), HoldKind::Handshake));
    }
    if is_over(session) {
        return Err(DropReason::SynRepeated);
    }
    rewrite::handshake(frame, segment, &rewrite, &worker.counters)?;
    Ok(Verdict::Forward)
}

/// A session that had its handshake and drains: its SYN is an old duplicate.
fn is_over(session: &Session) -> bool {
    session.state() == State::Draining && session.half(Direction::ServerToClient).origin().is_some()
}
