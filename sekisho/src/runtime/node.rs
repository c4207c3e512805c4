//! The control loop of a gateway or client agent: one thread that turns between worker events,
//! KDC sockets, timers, signals and questions. Owns the turn; decisions are `control`'s.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crossbeam::channel::Receiver;
use sekisho_config::Config;
use sekisho_dataplane::{Clock, Command, ServiceId, WorkerHandle};
use sekisho_port::{PortControl, PortSide, Waiter};
use sekisho_session::State;

use super::StartError;
use super::backlog::Backlog;
use super::kdc_links::KdcLinks;
use super::query::{Name, PAGE, Query};
use super::services::Services;
use super::signals::Signals;
use crate::control::{Control, Effect};

/// Longest sleep of the control loop.
const TURN_MAX: Duration = Duration::from_millis(250);
/// Events taken from one worker before the next is looked at.
const EVENTS_PER_TURN: usize = 256;
/// How long sessions may go on after SIGTERM.
const DRAIN: Duration = Duration::from_secs(5);
/// Pause between two looks at the ports.
const TEND: u64 = 1_000_000_000;

/// What the node is doing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Serving.
    Running,
    /// No new sessions; ends when the last one is gone, or at this time in nanoseconds.
    Draining {
        /// The end of patience.
        until: u64,
    },
}

/// Everything that runs in one process.
pub(super) struct Node {
    pub(super) config: Config,
    pub(super) path: PathBuf,
    pub(super) control: Control,
    pub(super) workers: Vec<WorkerHandle>,
    pub(super) backlog: Backlog,
    pub(super) ports: PortControl,
    pub(super) kdc: KdcLinks,
    pub(super) services: Services,
    pub(super) signals: Signals,
    pub(super) queries: Receiver<Query>,
    pub(super) clock: Clock,
    pub(super) waiter: Waiter,
    pub(super) phase: Phase,
    pub(super) reloads: Reloads,
    /// Of each port, by [`PortSide::index`].
    pub(super) health: [PortHealth; 2],
    /// When the ports are looked at next, in nanoseconds.
    pub(super) tend_at: u64,
    /// When the process began, in nanoseconds of `clock`.
    pub(super) began: u64,
    pub(super) started: SystemTime,
}

/// How a port was at the last look.
#[derive(Default)]
pub(super) struct PortHealth {
    pub(super) up: bool,
    /// Id of the attached XDP program.
    pub(super) program: u32,
    /// Why the attached program is not ours.
    pub(super) foreign: Option<String>,
}

/// How reloads went.
#[derive(Default)]
pub(super) struct Reloads {
    pub(super) applied: u64,
    pub(super) refused: u64,
    pub(super) last_error: Option<String>,
}

/// Why the loop ended other than by a signal.
#[derive(Debug, thiserror::Error)]
pub enum LoopError {
    /// A worker thread ended by itself.
    #[error("worker {0} has ended by itself; protected traffic is dropped until the restart")]
    WorkerDied(u16),
    /// A worker takes no commands.
    #[error("worker {0} does not take commands any more")]
    WorkerStuck(u16),
}

impl Node {
    /// Turns until a signal says stop and the sessions are gone.
    pub(super) fn run(&mut self) -> Result<(), LoopError> {
        loop {
            let now = self.clock.now().0;
            self.take_events(now);
            self.kdc.drive(&mut self.control, now);
            if self.control.next_deadline().is_some_and(|at| at <= now) {
                self.control.on_timer(now);
            }
            self.on_signals(now);
            self.tend(now);
            self.answer();
            self.carry_out(now);
            self.hand_over()?;
            if self.is_finished(now)? {
                return Ok(());
            }
            self.sleep(now);
        }
    }

    /// Ends the workers, which closes their sockets, then takes the programs off the ports. After an
    /// error the programs stay: protected traffic is dropped until a successor takes over.
    pub(super) fn close(self, ended: Result<(), LoopError>) -> Result<(), StartError> {
        let Self { workers, ports, .. } = self;
        for worker in &workers {
            worker.stop();
        }
        for worker in workers {
            let index = worker.index();
            if !worker.join() {
                tracing::error!(worker = index, "the worker ended with a panic");
            }
        }
        ended?;
        ports.detach()?;
        tracing::info!("detached");
        Ok(())
    }

    fn take_events(&mut self, now: u64) {
        for worker in &self.workers {
            for _ in 0..EVENTS_PER_TURN {
                let Some(event) = worker.poll_event() else { break };
                self.control.on_event(event, now);
            }
        }
    }

    fn carry_out(&mut self, now: u64) {
        while let Some(effect) = self.control.poll() {
            match effect {
                Effect::Command { worker, command } => self.queue(worker, command),
                Effect::Kdc(message) => self.kdc.send(message, &mut self.control, now),
                Effect::Pin(service) => self.pin(service),
            }
        }
    }

    pub(super) fn queue(&mut self, worker: u16, command: Command) {
        self.backlog.push(worker, command);
    }

    fn hand_over(&mut self) -> Result<(), LoopError> {
        let workers = &self.workers;
        self.backlog
            .hand_over(|worker, command| workers.get(worker)?.send(command).err())
            .map_err(LoopError::WorkerStuck)
    }

    fn pin(&mut self, id: ServiceId) {
        if self.services.pin(id) {
            tracing::info!(service = id.0, "the KDC requires cipher for this service; pinned");
            self.publish_services();
        }
    }

    /// Hands the present service table to every worker.
    pub(super) fn publish_services(&mut self) {
        let table = Arc::new(self.services.table());
        self.backlog.push_to_all(|| Command::Services(table.clone()));
    }

    /// About once a second: passes the link's state through and looks whose program is attached.
    fn tend(&mut self, now: u64) {
        if now < self.tend_at {
            return;
        }
        self.tend_at = now + TEND;
        if let Err(error) = self.ports.pass_link_state() {
            tracing::warn!(%error, "cannot pass the link's state through");
        }
        for side in PortSide::BOTH {
            let health = &mut self.health[side.index()];
            health.up = self.ports.link_state(side).is_ok_and(|state| state.up && state.carrier);
            match self.ports.check_attached(side) {
                Ok(program) => {
                    health.program = program;
                    health.foreign = None;
                }
                Err(error) => health.foreign = Some(error.to_string()),
            }
        }
    }

    fn on_signals(&mut self, now: u64) {
        let requests = self.signals.take();
        if requests.reload {
            self.reload();
        }
        if requests.stop {
            self.begin_stop(now);
        }
    }

    /// The first request drains; a second one ends at once.
    fn begin_stop(&mut self, now: u64) {
        let until = match self.phase {
            Phase::Running => {
                let wait = DRAIN.as_secs();
                tracing::info!("stopping: no new sessions, {wait} s for those there are");
                now + DRAIN.as_nanos() as u64
            }
            Phase::Draining { .. } => {
                tracing::info!("stopping at once: asked a second time");
                now
            }
        };
        self.phase = Phase::Draining { until };
        self.backlog.push_to_all(|| Command::Drain);
    }

    fn is_finished(&self, now: u64) -> Result<bool, LoopError> {
        if let Some(dead) = self.workers.iter().find(|worker| !worker.is_alive()) {
            return Err(LoopError::WorkerDied(dead.index()));
        }
        let Phase::Draining { until } = self.phase else { return Ok(false) };
        let handed_over = self.backlog.is_empty();
        Ok(now >= until || (handed_over && self.live_sessions() == 0))
    }

    /// Sessions that are not torn down yet.
    fn live_sessions(&self) -> u64 {
        let live = |counts: [u64; State::COUNT]| {
            counts.iter().sum::<u64>() - counts[State::Draining.index()]
        };
        self.workers.iter().map(|worker| live(worker.counters().snapshot().sessions)).sum()
    }

    fn answer(&mut self) {
        while let Ok(query) = self.queries.try_recv() {
            match query {
                // An asker that has given up is no error.
                Query::Status(reply) => drop(reply.try_send(Box::new(self.snapshot()))),
                Query::Sessions { worker, cursor, reply } => {
                    let rows = Vec::with_capacity(PAGE);
                    self.queue(worker, Command::ListSessions { cursor, rows, reply });
                }
                Query::Close { worker, sessions } => {
                    tracing::info!(worker, sessions = sessions.len(), "closed by the operator");
                    for Name { flow, client_isn, generation } in sessions {
                        self.queue(worker, Command::Close { flow, client_isn, generation });
                    }
                }
            }
        }
    }

    fn sleep(&mut self, now: u64) {
        let until = self
            .control
            .next_deadline()
            .map_or(TURN_MAX, |at| Duration::from_nanos(at.saturating_sub(now)));
        let waiting = !self.backlog.is_empty();
        // A full ring empties within a worker's turn; nobody rings when it does.
        let timeout = if waiting { Duration::from_millis(1) } else { until.min(TURN_MAX) };
        let mut sources: Vec<_> = self.kdc.interests().collect();
        sources.push((self.signals.fd(), rustix::event::PollFlags::IN));
        let (workers, queries) = (&self.workers, &self.queries);
        self.waiter.wait_with(&sources, timeout, || {
            workers.iter().any(WorkerHandle::has_events) || !queries.is_empty()
        });
    }
}
