//! The SYN-ACK: the gateway adds its accept and lets it go, the client agent checks the accept and
//! holds the segment until it has the key (design: TCP options, life of a session).

use sekisho_port::Frame;
use sekisho_session::{Direction, Origin, Session, Time};
use sekisho_wire::{AcceptOption, MssRule, Rewrite, SekishoOption};

use crate::classify::Segment;
use crate::drop_reason::DropReason;
use crate::event::CloseCause;
use crate::hold::HoldKind;
use crate::packet::Passage;
use crate::role::Role;
use crate::segment::{pass_clear, service, without_session};
use crate::service::Policy;
use crate::verdict::Verdict;
use crate::worker::Worker;
use crate::{notes, rewrite, teardown};

/// Decides a SYN-ACK from the server's side.
pub(crate) fn decide(
    worker: &mut Worker,
    frame: &mut Frame,
    segment: &Segment,
    now: Time,
) -> Result<Verdict, DropReason> {
    let client_isn = segment.tcp.ack.back(1);
    let Some(id) = worker.table.find_by_isn(&segment.flow, client_isn) else {
        let reason = match worker.table.lookup(&segment.flow) {
            Some(_) => DropReason::AckMismatch,
            None => DropReason::NoSession,
        };
        return without_session(worker, frame, segment, reason, now);
    };
    let ours = segment.ours()?;
    if segment.options.md5_or_ao {
        return Err(DropReason::TcpMd5Ao);
    }
    match worker.config.role {
        Role::Gateway => from_server(worker, Passage { frame, segment, id, now }),
        Role::Client => from_gateway(worker, Passage { frame, segment, id, now }, ours),
    }
}

/// Both origins are fixed by the first SYN and SYN-ACK handed over (hazard 38).
fn fix_origin(session: &mut Session, segment: &Segment) -> Result<(), DropReason> {
    match session.half_mut(Direction::ServerToClient).fix_origin(segment.tcp.seq) {
        Origin::Fixed | Origin::Same => Ok(()),
        Origin::Other => Err(DropReason::IsnChanged),
    }
}

fn from_server(worker: &mut Worker, passage: Passage<'_>) -> Result<Verdict, DropReason> {
    let Passage { segment, id, .. } = passage;
    let codes = worker.config.options;
    let session = worker.table.get_mut(id).ok_or(DropReason::NoSession)?;
    if !notes::syn_is_released(session) {
        return Err(DropReason::Unsynchronised);
    }
    let accept = AcceptOption { request_id: session.request_id() };
    let insert = Rewrite::insert(codes, SekishoOption::Accept(accept));
    rewrite::options(passage.frame, segment, &insert)?;
    fix_origin(session, segment)?;
    rewrite::handshake(passage.frame, segment, &insert, &worker.counters)?;
    notes::trusted(worker, &passage);
    Ok(Verdict::Forward)
}

fn from_gateway(
    worker: &mut Worker,
    passage: Passage<'_>,
    ours: Option<SekishoOption>,
) -> Result<Verdict, DropReason> {
    let Passage { segment, id, .. } = passage;
    let codes = worker.config.options;
    let session = worker.table.get_mut(id).ok_or(DropReason::NoSession)?;
    match ours {
        Some(SekishoOption::Accept(accept)) if accept.request_id == session.request_id() => {}
        Some(SekishoOption::Accept(_)) => return Err(DropReason::AcceptMismatch),
        Some(_) => return Err(DropReason::OptionMisplaced),
        None => return without_accept(worker, passage),
    }
    let synchronised = session.is_synchronised();
    let strip =
        Rewrite::strip(codes).with_mss(MssRule::for_path(segment.layers.ip, worker.config.mtu));
    rewrite::options(passage.frame, segment, &strip)?;
    if !synchronised {
        // The newest, like the SYN: its timestamps are the ones that round trips are taken from.
        return Ok(Verdict::Hold(id.index(), HoldKind::Handshake));
    }
    fix_origin(session, segment)?;
    rewrite::handshake(passage.frame, segment, &strip, &worker.counters)?;
    notes::trusted(worker, &passage);
    Ok(Verdict::Forward)
}

/// There is no gateway at the other end, or somebody took its accept off. Only `prefer` goes on,
/// and only while no key says otherwise.
fn without_accept(worker: &mut Worker, passage: Passage<'_>) -> Result<Verdict, DropReason> {
    let Passage { frame, segment, id, now } = passage;
    let lone = worker
        .table
        .get(id)
        .is_some_and(|session| session.state().is_unkeyed() && !session.is_candidate());
    if !lone || service(worker, segment)?.1 != Policy::Prefer {
        return Err(DropReason::NoAccept);
    }
    worker.clear.insert(&segment.flow, true, now).map_err(|_| DropReason::ClearTableFull)?;
    worker.counters.tallies().sessions_clear.add(1);
    teardown::remove(worker, id, CloseCause::Clear);
    pass_clear(worker, frame, segment)
}
