//! Commands of the control thread, carried out in order. A command whose session name is stale
//! changes nothing; its keys are wiped as it is dropped.

use crossbeam::channel::Sender;
use sekisho_cipher::EpochKeys;
use sekisho_port::{Frame, PacketIo, PortSide};
use sekisho_session::{Direction, FlowKey, Input, Outcome, Session, SessionId, State, Time};
use sekisho_wire::SeqNum;
use sekisho_wire::TcpFlags;
use sekisho_wire::build::TcpSegment;

use crate::buffer::FrameBuf;
use crate::command::Command;
use crate::drop_reason::DropReason;
use crate::end::settle_released;
use crate::event::{CloseCause, PathTrouble, SessionPage, SessionRow};
use crate::hold::HoldKind;
use crate::role::Role;
use crate::worker::Worker;
use crate::{answer, notes, open, teardown};

/// Slots looked at for one page of sessions: bounds what a listing costs a turn.
const PAGE_SLOTS: u32 = 4096;

/// Carries out one command.
pub(crate) fn run(worker: &mut Worker, io: &mut impl PacketIo, command: Command, now: Time) {
    match command {
        Command::Install { flow, client_isn, generation, keys, synced, release_syn } => {
            if let Some(id) = find(worker, &flow, client_isn, generation) {
                install(worker, id, &keys, (synced, release_syn), now);
            }
        }
        Command::Synchronise { flow, client_isn, generation } => {
            if let Some(id) = find(worker, &flow, client_isn, generation)
                && !notes::synchronise(worker, id, now)
            {
                worker.counters.tallies().stale_commands.add(1);
            }
        }
        Command::Abort { flow, client_isn, generation, cause } => {
            if let Some(id) = find(worker, &flow, client_isn, generation) {
                abort(worker, io, id, cause);
            }
        }
        Command::Close { flow, client_isn, generation } => {
            if let Some(id) = find(worker, &flow, client_isn, generation) {
                close(worker, io, id, now);
            }
        }
        Command::Transmit { side, frame } => transmit(worker, io, side, &frame),
        Command::Services(services) => worker.config.services = services,
        Command::ListSessions { cursor, rows, reply } => {
            list(worker, (cursor, rows), &reply, now);
        }
        Command::Drain => worker.takes_no_sessions = true,
    }
    settle_released(worker, io, now);
}

fn find(worker: &Worker, flow: &FlowKey, client_isn: u32, generation: u32) -> Option<SessionId> {
    let found = worker.table.find(flow, SeqNum::new(client_isn), generation);
    if found.is_none() {
        worker.counters.tallies().stale_commands.add(1);
    }
    found
}

fn install(
    worker: &mut Worker,
    id: SessionId,
    keys: &EpochKeys,
    (synced, release_syn): (bool, bool),
    now: Time,
) {
    worker.keys.forget(id);
    if !matches!(worker.table.install(id, keys, now), Outcome::Moved(State::Keyed, _)) {
        worker.counters.tallies().stale_commands.add(1);
        return;
    }
    if let Some(session) = worker.table.get_mut(id) {
        // The KDC vouches for this client: whatever ran in clear on the tuple is no more.
        worker.clear.remove(session.flow());
        if release_syn && worker.config.role == Role::Gateway {
            notes::release_syn(session);
            worker.release(id, HoldKind::Handshake);
        }
    }
    if synced {
        notes::synchronise(worker, id, now);
    }
}

fn abort(worker: &mut Worker, io: &mut impl PacketIo, id: SessionId, cause: CloseCause) {
    let state = worker.table.get(id).map(sekisho_session::Session::state);
    let synced = matches!(state, Some(State::Synced | State::Draining));
    if synced && cause == CloseCause::KeyDelivery && worker.config.role == Role::Gateway {
        // A first tag verified while the failure was on its way: both ends hold the keys. A client's
        // delivery fails after its Install only on the gateway's word, so there it is the end.
        worker.counters.tallies().stale_commands.add(1);
        return;
    }
    reset_waiting(worker, io, id);
    teardown::remove(worker, id, cause);
}

/// Ends a session on the operator's word (M7.24). The host on the far side is told as if the near one had: its RST
/// is sealed, ends the session at the other box, and what either host sends meanwhile is answered by the other.
fn close(worker: &mut Worker, io: &mut impl PacketIo, id: SessionId, now: Time) {
    let state = worker.table.get(id).map(Session::state);
    if state != Some(State::Draining) {
        reset_waiting(worker, io, id);
    }
    if state == Some(State::Synced)
        && let Some(frame) = reset(worker, io, id, toward_plain(worker).reverse())
    {
        worker.released.push_back((PortSide::Plain, frame));
    }
    teardown::begin(worker, id, Input::Closed, CloseCause::Operator, now);
}

/// Sends a RST to the host on the plain side, where it knows of the session: at the agent the
/// application that waits, at the gateway the server that has got the SYN.
pub(crate) fn reset_waiting(worker: &mut Worker, io: &mut impl PacketIo, id: SessionId) {
    if let Some(frame) = reset(worker, io, id, toward_plain(worker)) {
        worker.emit(io, PortSide::Plain, frame);
    }
}

/// The direction whose receiver is the host on the plain side.
fn toward_plain(worker: &Worker) -> Direction {
    match worker.config.role {
        Role::Client => Direction::ServerToClient,
        Role::Gateway => Direction::ClientToServer,
    }
}

/// A RST of one direction behind all that was handed over in it; none while the server has not heard of the session.
fn reset(
    worker: &Worker,
    io: &mut impl PacketIo,
    id: SessionId,
    direction: Direction,
) -> Option<Frame> {
    let session = worker.table.get(id).filter(|s| notes::syn_is_released(s))?;
    let half = session.half(direction);
    // A sequence number is the offset's low 32 bits, counted from ISN + 1.
    let next = |isn: SeqNum| isn.advance(1).advance(half.high() as u32);
    let (seq, ack, flags) = match half.origin() {
        Some(isn) => (next(isn), SeqNum::new(0), TcpFlags::RST),
        None => (SeqNum::new(0), session.client_isn().advance(1), TcpFlags::RST | TcpFlags::ACK),
    };
    let (src, dst) = session.flow().source_and_destination(direction);
    let reset = TcpSegment { src, dst, seq, ack, flags, window: 0, options: &[] };
    let l2 = session.l2(direction)?;
    let mut frame = io.alloc()?;
    if answer::write(&mut frame, &l2, &reset) {
        worker.counters.tallies().made.add(1);
        Some(frame)
    } else {
        io.free(frame);
        None
    }
}

fn transmit(worker: &mut Worker, io: &mut impl PacketIo, side: PortSide, bytes: &FrameBuf) {
    worker.counters.tallies().made.add(1);
    let Some(mut frame) = io.alloc() else {
        return worker.counters.dropped(DropReason::NoFrame);
    };
    if frame.fill_from(bytes) {
        worker.emit(io, side, frame);
    } else {
        worker.drop_frame(io, frame, DropReason::Oversized);
    }
}

fn list(
    worker: &Worker,
    (cursor, mut rows): (u32, Vec<SessionRow>),
    reply: &Sender<SessionPage>,
    now: Time,
) {
    rows.clear();
    let end = cursor.saturating_add(PAGE_SLOTS);
    let mut next = (end < worker.table.capacity()).then_some(end);
    for (id, session) in worker.table.page(cursor, PAGE_SLOTS) {
        if rows.len() == rows.capacity() {
            next = Some(id.index());
            break;
        }
        let server = session.flow().server();
        rows.push(SessionRow {
            flow: *session.flow(),
            client_isn: session.client_isn().get(),
            generation: id.generation(),
            state: session.state(),
            candidate: session.is_candidate(),
            request_id: session.request_id(),
            service: worker.config.services.lookup(server.ip(), server.port()).map(|s| s.0),
            worker: worker.config.index,
            keyed: session.keys(Direction::ClientToServer).is_some(),
            sealed_bytes: session.usage().bytes(),
            sealed_segments: session.usage().segments(),
            offsets: Direction::BOTH.map(|direction| session.half(direction).high()),
            bad_tags: session.bad_tags(),
            trouble: trouble(worker.config.role, session),
            waited: session.waited(now),
        });
    }
    // Control may have given up waiting; then the page is nobody's.
    let _ = reply.try_send(SessionPage { worker: worker.config.index, rows, next });
}

/// What is likely to be wrong with a session's path.
fn trouble(role: Role, session: &Session) -> Option<PathTrouble> {
    let opened = role.direction(PortSide::Cipher);
    if open::is_resegmented(session, opened) {
        return Some(PathTrouble::Resegmented);
    }
    let half = |direction| session.half(direction);
    let one_way = half(Direction::ClientToServer).high() > 0
        && half(Direction::ServerToClient).origin().is_none();
    one_way.then_some(PathTrouble::Asymmetric)
}
