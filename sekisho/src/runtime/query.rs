//! How other threads ask the control loop: admin socket and metrics put a question in a channel
//! and ring its bell; the loop answers between two turns and never waits for them.

use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded};
use sekisho_dataplane::{PathTrouble, SessionPage};
use sekisho_port::Doorbell;
use sekisho_session::{FlowKey, State};

use crate::admin::{StatusSource, Unanswered, Which};
use crate::status::{SessionList, SessionRow, StatusSnapshot};

/// How long a question may stay unanswered before the asker gives up.
const PATIENCE: Duration = Duration::from_secs(2);
/// Sessions that a worker hands over in one turn.
pub(super) const PAGE: usize = 256;
/// Questions that may wait.
const BACKLOG: usize = 16;

/// A question to the control loop.
pub(super) enum Query {
    /// Everything at one moment.
    Status(Sender<Box<StatusSnapshot>>),
    /// One page of the sessions of one worker, answered by the worker itself.
    Sessions { worker: u16, cursor: u32, reply: Sender<SessionPage> },
    /// Ends sessions of one worker; not answered.
    Close { worker: u16, sessions: Vec<Name> },
}

/// A session, and no other that has its addresses later.
pub(super) struct Name {
    pub(super) flow: FlowKey,
    pub(super) client_isn: u32,
    pub(super) generation: u32,
}

/// The asking end; cheap to clone.
#[derive(Clone)]
pub(super) struct ControlHandle {
    queries: Sender<Query>,
    bell: Doorbell,
    workers: u16,
}

/// A pair of an asking end and the loop's end.
pub(super) fn channel(bell: Doorbell, workers: u16) -> (ControlHandle, Receiver<Query>) {
    let (queries, receiver) = bounded(BACKLOG);
    (ControlHandle { queries, bell, workers }, receiver)
}

impl StatusSource for ControlHandle {
    fn status(&self) -> Result<StatusSnapshot, Unanswered> {
        let (reply, answer) = bounded(1);
        self.ask(Query::Status(reply))?;
        answer.recv_timeout(PATIENCE).map(|snapshot| *snapshot).map_err(|_| Unanswered)
    }

    fn sessions(&self, limit: usize) -> Result<SessionList, Unanswered> {
        let mut list = SessionList::default();
        self.pages(|_, rows| {
            list.total += rows.len() as u64;
            let room = limit.saturating_sub(list.sessions.len());
            list.sessions.extend(rows.iter().take(room).map(row));
            Ok(())
        })?;
        Ok(list)
    }

    fn close(&self, which: &Which) -> Result<u64, Unanswered> {
        let is_meant = |row: &&sekisho_dataplane::SessionRow| {
            let (client, server) = row.flow.to_socket_addrs();
            row.state != State::Draining && which.means(client, server)
        };
        let mut closed = 0;
        self.pages(|worker, rows| {
            let sessions: Vec<_> = rows.iter().filter(is_meant).map(name).collect();
            closed += sessions.len() as u64;
            if sessions.is_empty() { Ok(()) } else { self.ask(Query::Close { worker, sessions }) }
        })?;
        Ok(closed)
    }
}

impl ControlHandle {
    /// All sessions, worker by worker and page by page.
    fn pages(
        &self,
        mut each: impl FnMut(u16, &[sekisho_dataplane::SessionRow]) -> Result<(), Unanswered>,
    ) -> Result<(), Unanswered> {
        for worker in 0..self.workers {
            let mut cursor = Some(0);
            while let Some(at) = cursor {
                let (reply, answer) = bounded(1);
                self.ask(Query::Sessions { worker, cursor: at, reply })?;
                let page = answer.recv_timeout(PATIENCE).map_err(|_| Unanswered)?;
                each(worker, &page.rows)?;
                cursor = page.next;
            }
        }
        Ok(())
    }

    fn ask(&self, query: Query) -> Result<(), Unanswered> {
        self.queries.send_timeout(query, PATIENCE).map_err(|_| Unanswered)?;
        self.bell.ring();
        Ok(())
    }
}

fn name(session: &sekisho_dataplane::SessionRow) -> Name {
    let &sekisho_dataplane::SessionRow { flow, client_isn, generation, .. } = session;
    Name { flow, client_isn, generation }
}

fn row(session: &sekisho_dataplane::SessionRow) -> SessionRow {
    let (client, server) = session.flow.to_socket_addrs();
    SessionRow {
        client: client.to_string(),
        server: server.to_string(),
        state: session.state.label().into(),
        worker: session.worker,
        keyed: session.keyed,
        epoch: 0,
        waited_seconds: session.waited.as_secs_f64(),
        bytes_to_server: session.offsets[0],
        bytes_to_client: session.offsets[1],
        bad_tags: session.bad_tags.into(),
        note: note(session).into(),
    }
}

fn note(session: &sekisho_dataplane::SessionRow) -> &'static str {
    match (session.candidate, session.trouble, session.bad_tags) {
        (true, ..) => "candidate: another session of these addresses is live",
        (false, Some(PathTrouble::Resegmented), _) => {
            "resegmented: the path cuts or joins segments; it cannot be ciphered through"
        }
        (false, Some(PathTrouble::Asymmetric), _) => {
            "asymmetric: no SYN-ACK came by; the server's direction takes another way"
        }
        (false, None, 0) => "",
        (false, None, _) => "segments with a bad tag: forged, or altered on the path",
    }
}
