//! The programs on a host: one connection each, with a stream to send, one to receive, and a way
//! to end. Owns what a connection has done and what became of it.

use std::fmt;

use smoltcp::socket::tcp::{RecvError, Socket, State};

use super::stall::Stall;
use crate::sim::invariant::Finding;
use crate::sim::invariant::streams::{Reader, Streams};
use crate::sim::party::setup::SERVER_FIRST_PORT;
use crate::sim::pattern;
use crate::sim::plan::{Connection, Ending};

/// Octets handed to a socket, or taken from it, at once.
const CHUNK: usize = 4096;

/// Who opened the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::sim) enum Role {
    /// This end; the number of the connection in the plan.
    Client(usize),
    /// The other.
    Server,
}

/// What became of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::sim) enum Fate {
    /// Both streams came to their ends, or this end reset it as planned.
    Complete,
    /// It never was established.
    Refused,
    /// It was established, and is gone.
    Aborted,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Inward {
    Open,
    Ended,
    Broken,
}

/// One connection of a host.
pub(in crate::sim) struct App {
    role: Role,
    ending: Ending,
    stream: u32,
    total: u64,
    written: u64,
    is_closed: bool,
    has_reset: bool,
    gave_up: bool,
    was_established: bool,
    inward: Inward,
    reader: Reader,
    name: u64,
    fate: Option<Fate>,
    pub(super) stall: Stall,
}

impl App {
    /// The opener.
    pub(in crate::sim) fn client(number: usize, plan: &Connection, streams: &mut Streams) -> Self {
        let stream = streams.open(false);
        let name = u64::from(stream);
        Self::new((Role::Client(number), plan.ending), (stream, plan.up), name)
    }

    /// The other end.
    pub(in crate::sim) fn server(name: u64, port: u16, down: u64, streams: &mut Streams) -> Self {
        let ending = match port {
            SERVER_FIRST_PORT => Ending::ServerCloses,
            _ => Ending::ClientCloses,
        };
        Self::new((Role::Server, ending), (streams.open(false), down), name)
    }

    fn new((role, ending): (Role, Ending), (stream, total): (u32, u64), name: u64) -> Self {
        Self {
            role,
            ending,
            stream,
            total,
            written: 0,
            is_closed: false,
            has_reset: false,
            gave_up: false,
            was_established: false,
            inward: Inward::Open,
            reader: Reader::default(),
            name,
            fate: None,
            stall: Stall::default(),
        }
    }

    /// Reads, writes and closes as far as the socket lets it.
    pub(in crate::sim) fn step(
        &mut self,
        socket: &mut Socket<'_>,
        streams: &mut Streams,
    ) -> Result<(), Finding> {
        let not_yet = [State::SynSent, State::SynReceived, State::Listen, State::Closed];
        self.was_established |= !not_yet.contains(&socket.state());
        if !self.was_established {
            return Ok(());
        }
        self.read(socket, streams)?;
        self.write(socket, streams);
        self.end(socket, streams);
        Ok(())
    }

    fn read(&mut self, socket: &mut Socket<'_>, streams: &mut Streams) -> Result<(), Finding> {
        let mut chunk = [0; CHUNK];
        while self.inward == Inward::Open {
            match socket.recv_slice(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(read) => streams.deliver(&mut self.reader, self.name, &chunk[..read])?,
                Err(RecvError::Finished) => {
                    self.inward = Inward::Ended;
                    streams.finish(&self.reader)?;
                }
                Err(RecvError::InvalidState) => self.inward = Inward::Broken,
            }
        }
        Ok(())
    }

    fn write(&mut self, socket: &mut Socket<'_>, streams: &mut Streams) {
        let mut chunk = [0; CHUNK];
        while self.written < self.total && socket.can_send() {
            let length = (self.total - self.written).min(CHUNK as u64) as usize;
            pattern::fill(self.stream, self.written, false, &mut chunk[..length]);
            let Ok(taken) = socket.send_slice(&chunk[..length]) else { return };
            streams.wrote(self.stream, taken);
            self.written += taken as u64;
            if taken < length {
                return;
            }
        }
    }

    fn end(&mut self, socket: &mut Socket<'_>, streams: &mut Streams) {
        let has_all = self.inward == Inward::Ended;
        let is_due = self.written == self.total
            && match (self.role, self.ending) {
                (Role::Client(_), Ending::ClientCloses) | (Role::Server, Ending::ServerCloses) => {
                    true
                }
                (Role::Client(_), Ending::ServerCloses) | (Role::Server, _) => has_all,
                (Role::Client(_), Ending::ClientResets(_)) => false,
            };
        if is_due && !self.is_closed && socket.may_send() {
            self.is_closed = true;
            streams.close(self.stream);
            socket.close();
        }
        if let Ending::ClientResets(after) = self.ending
            && self.written >= after
            && !self.has_reset
        {
            self.has_reset = true;
            socket.abort();
        }
    }

    /// Whether this end opened the connection.
    pub(super) fn is_client(&self) -> bool {
        self.role != Role::Server
    }

    /// Resets the connection out of turn.
    pub(super) fn give_up(&mut self, socket: &mut Socket<'_>) {
        self.gave_up = true;
        socket.abort();
    }

    /// What became of a client's connection whose socket is in `state`; once.
    pub(super) fn take_fate(&mut self, state: State) -> Option<(usize, Fate)> {
        let Role::Client(number) = self.role else { return None };
        let whole = self.is_closed && self.inward == Inward::Ended;
        // In `LastAck` nothing is missing but an acknowledgement that the peer may give no more.
        let is_over = match state {
            State::Closed | State::TimeWait => true,
            State::LastAck => whole,
            _ => false,
        };
        if self.fate.is_some() || !is_over {
            return None;
        }
        let as_planned = whole || (self.has_reset && !self.gave_up);
        let fate = match (as_planned, self.was_established) {
            (true, _) => Fate::Complete,
            (false, true) => Fate::Aborted,
            (false, false) => Fate::Refused,
        };
        self.fate = Some(fate);
        Some((number, fate))
    }
}

impl fmt::Display for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { role, ending, stream, written, total, inward, .. } = self;
        write!(f, "{role:?} {ending:?} stream {stream}: {written} of {total}, inward {inward:?}")
    }
}
