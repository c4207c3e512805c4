//! Worker threads: pinned, polling, stopped and joined. Owns threads, the process's clock and the
//! two poll modes; what a turn does is `worker.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sekisho_port::{Doorbell, PacketIo, Waiter};
use sekisho_session::Time;

use crate::command::Command;
use crate::config::WorkerConfig;
use crate::counters::WorkerCounters;
use crate::event::Event;
use crate::exchange::exchange;
use crate::rings::{ControlEnd, rings};
use crate::worker::Worker;

/// How a worker waits for frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PollMode {
    /// Never sleeps: lowest latency, one core each.
    Busy,
    /// Spins for a while, then sleeps over its sockets and its doorbell.
    Adaptive,
}

/// Turns without work before an adaptive worker sleeps: some tens of microseconds.
const SPIN_TURNS: u32 = 64;
/// Longest sleep: timers of sessions are looked at this often at least.
const SLEEP: Duration = Duration::from_millis(100);
/// Longest sleep while frames wait in a transmit ring (port: `backlog`).
const SLEEP_WITH_BACKLOG: Duration = Duration::from_millis(1);

/// Monotonic time since the process began to work; one for all its threads.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// A clock that reads about one second now: 0 stays free for "never".
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Time {
        let since = self.0.elapsed() + Duration::from_secs(1);
        Time(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }
}

/// One worker to be started. Specs are given in the order of `config.index`, which is set anew.
pub struct WorkerSpec<Io> {
    /// What the worker is told.
    pub config: WorkerConfig,
    /// Its rings and frames.
    pub io: Io,
    /// Its sleep over those rings' sockets.
    pub waiter: Waiter,
    /// Core to be pinned to; `None`: the scheduler's choice.
    pub core: Option<usize>,
    /// Busy or adaptive.
    pub poll: PollMode,
    /// Messages that the ring to and the ring from control hold, each.
    pub ring: usize,
}

/// Why workers could not be started; those begun are stopped again.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The system has no thread left.
    #[error("cannot start the thread of worker {worker}: {source}")]
    Thread {
        /// Which worker.
        worker: u16,
        /// What the system said.
        source: std::io::Error,
    },
    /// The configured core does not exist or may not be used.
    #[error("worker {worker} cannot be pinned to core {core}: not among the usable cores")]
    Core {
        /// Which worker.
        worker: u16,
        /// The core asked for.
        core: usize,
    },
}

/// A running worker, as control holds it. Dropping it stops the worker and waits for it.
pub struct WorkerHandle {
    index: u16,
    end: ControlEnd,
    counters: Arc<WorkerCounters>,
    stop: Arc<AtomicBool>,
    bell: Doorbell,
    thread: Option<JoinHandle<()>>,
}

impl WorkerHandle {
    /// Number of the worker.
    #[must_use]
    pub fn index(&self) -> u16 {
        self.index
    }

    /// The oldest event, if any.
    pub fn poll_event(&self) -> Option<Event> {
        self.end.poll_event()
    }

    /// Whether events wait: for control's own sleep.
    #[must_use]
    pub fn has_events(&self) -> bool {
        self.end.has_events()
    }

    /// Hands a command over and wakes the worker.
    ///
    /// # Errors
    /// The command itself, where the ring is full: to be tried again later, in order.
    #[allow(clippy::result_large_err)] // The command goes back as it came, frame and all.
    pub fn send(&self, command: Command) -> Result<(), Command> {
        self.end.send(command)
    }

    /// Its counters.
    #[must_use]
    pub fn counters(&self) -> &Arc<WorkerCounters> {
        &self.counters
    }

    /// False once the thread has ended, which it does only when told to, or by a bug.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Asks the worker to end; its sessions end with [`crate::CloseCause::Stopped`].
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.bell.ring();
    }

    /// Stops the worker and waits for its end. False if it panicked.
    pub fn join(mut self) -> bool {
        self.finish()
    }

    fn finish(&mut self) -> bool {
        self.stop();
        self.thread.take().is_none_or(|thread| thread.join().is_ok())
    }
}

impl Drop for WorkerHandle {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Starts all workers of a process, with the exchange between them. `control` is rung when a
/// worker has pushed events.
///
/// # Errors
/// [`SpawnError`]; no worker runs then.
pub fn spawn<Io: PacketIo + Send + 'static>(
    specs: Vec<WorkerSpec<Io>>,
    clock: Clock,
    control: Option<Doorbell>,
) -> Result<Vec<WorkerHandle>, SpawnError> {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    for (worker, spec) in (0_u16..).zip(&specs) {
        if let Some(core) = spec.core
            && !cores.iter().any(|usable| usable.id == core)
        {
            return Err(SpawnError::Core { worker, core });
        }
    }
    let bells: Vec<_> = specs.iter().map(|spec| Some(spec.waiter.doorbell())).collect();
    let ports = exchange(specs.len(), &bells);
    let mut handles = Vec::with_capacity(specs.len());
    for ((index, mut spec), port) in (0_u16..).zip(specs).zip(ports) {
        spec.config.index = index;
        let bell = spec.waiter.doorbell();
        let (worker_end, end) = rings(spec.ring, control.clone(), Some(bell.clone()));
        let worker = Worker::new(spec.config, worker_end, port);
        let counters = worker.counters().clone();
        let stop = Arc::new(AtomicBool::new(false));
        let run = Run {
            worker,
            io: spec.io,
            waiter: spec.waiter,
            core: spec.core,
            poll: spec.poll,
            clock,
            stop: stop.clone(),
        };
        let thread = std::thread::Builder::new()
            .name(format!("sekisho-w{index}"))
            .spawn(move || run.run())
            .map_err(|source| SpawnError::Thread { worker: index, source })?;
        handles.push(WorkerHandle { index, end, counters, stop, bell, thread: Some(thread) });
    }
    Ok(handles)
}

struct Run<Io> {
    worker: Worker,
    io: Io,
    waiter: Waiter,
    core: Option<usize>,
    poll: PollMode,
    clock: Clock,
    stop: Arc<AtomicBool>,
}

impl<Io: PacketIo> Run<Io> {
    fn run(mut self) {
        if let Some(id) = self.core {
            core_affinity::set_for_current(core_affinity::CoreId { id });
        }
        let mut idle_turns = 0;
        let mut last = self.clock.now();
        let mut worked = false;
        while !self.stop.load(Ordering::Acquire) {
            let now = self.clock.now();
            // What has passed is the turn before and the sleep that may have followed it.
            self.worker.account_time(now.0.saturating_sub(last.0), worked);
            last = now;
            worked = self.worker.turn(&mut self.io, now);
            idle_turns = if worked { 0 } else { idle_turns + 1 };
            if self.poll == PollMode::Adaptive && idle_turns >= SPIN_TURNS {
                self.sleep();
            } else if !worked {
                std::hint::spin_loop();
            }
        }
        let now = self.clock.now();
        self.worker.shut_down(&mut self.io, now);
    }

    fn sleep(&mut self) {
        let timeout = if self.io.backlog() > 0 { SLEEP_WITH_BACKLOG } else { SLEEP };
        let (worker, stop) = (&self.worker, &self.stop);
        self.waiter.wait(timeout, || worker.has_work() || stop.load(Ordering::Acquire));
    }
}
