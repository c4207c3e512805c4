//! What other threads may ask of a running server, and what they may read of it.
//!
//! Owns the inbox with its wake-up and the counters. The server alone acts on the inbox.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sekisho_config::KdcConfig;
use sekisho_kdc_client::RefuseCode;

use crate::audit::Outcome;
use crate::registry::RegistryView;

/// A request to the server's thread.
pub(super) enum Command {
    Stop,
    Reload(Box<KdcConfig>),
    /// From the watcher of that number; one that has been replaced may still have a view on its way.
    View(u64, Arc<RegistryView>),
}

/// Requests decided since the start, by outcome.
#[derive(Debug)]
pub struct KdcCounters {
    issued: AtomicU64,
    repeated: AtomicU64,
    refused: Vec<AtomicU64>,
    /// Registry views taken into use.
    pub(super) views: AtomicU64,
    pub(super) reloads_applied: AtomicU64,
    pub(super) reloads_refused: AtomicU64,
    generation: AtomicU64,
    /// Devices with an enabled key, and those without one, in the present view.
    pub(super) devices: [AtomicU64; 2],
}

impl Default for KdcCounters {
    fn default() -> Self {
        Self {
            issued: AtomicU64::new(0),
            repeated: AtomicU64::new(0),
            refused: RefuseCode::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            views: AtomicU64::new(0),
            reloads_applied: AtomicU64::new(0),
            reloads_refused: AtomicU64::new(0),
            generation: AtomicU64::new(0),
            devices: [AtomicU64::new(0), AtomicU64::new(0)],
        }
    }
}

impl KdcCounters {
    pub(super) fn count(&self, outcome: Outcome) {
        let counter = match outcome {
            Outcome::Issued => Some(&self.issued),
            Outcome::Repeated => Some(&self.repeated),
            Outcome::Refused(code, _) => {
                RefuseCode::ALL.iter().position(|c| *c == code).and_then(|i| self.refused.get(i))
            }
        };
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Every outcome's label with its count: `issued`, `repeated`, then each refusal.
    #[must_use]
    pub fn outcomes(&self) -> Vec<(&'static str, u64)> {
        let own = [("issued", &self.issued), ("repeated", &self.repeated)];
        let refused = RefuseCode::ALL.iter().map(|c| c.label()).zip(&self.refused);
        own.into_iter().chain(refused).map(|(l, c)| (l, c.load(Ordering::Relaxed))).collect()
    }

    /// Reloads applied and refused.
    #[must_use]
    pub fn reloads(&self) -> (u64, u64) {
        let read = |c: &AtomicU64| c.load(Ordering::Relaxed);
        (read(&self.reloads_applied), read(&self.reloads_refused))
    }

    /// Counts a configuration that did not even come to the server, because its file is wrong.
    pub fn count_refused_reload(&self) {
        self.reloads_refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Devices that are enabled in one key version at least, and all others.
    #[must_use]
    pub fn devices(&self) -> (u64, u64) {
        let [enabled, others] = &self.devices;
        (enabled.load(Ordering::Relaxed), others.load(Ordering::Relaxed))
    }

    pub(super) fn registry(&self, view: &RegistryView) {
        let enabled = view.enabled();
        self.generation.store(view.generation(), Ordering::Relaxed);
        self.devices[0].store(enabled as u64, Ordering::Relaxed);
        self.devices[1].store((view.len() - enabled) as u64, Ordering::Relaxed);
    }

    /// The number of the last change of the registry that answers go by.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// How often a changed registry was taken into use.
    #[must_use]
    pub fn registry_reads(&self) -> u64 {
        self.views.load(Ordering::Relaxed)
    }
}

/// Speaks to a running server from any thread.
#[derive(Clone)]
pub struct ServerHandle {
    inbox: Arc<Inbox>,
    pub(super) counters: Arc<KdcCounters>,
}

struct Inbox {
    commands: Mutex<Vec<Command>>,
    bell: UnixStream,
}

/// The server's end.
pub(super) struct InboxReader {
    inbox: Arc<Inbox>,
    bell: UnixStream,
}

impl ServerHandle {
    pub(super) fn new() -> std::io::Result<(Self, InboxReader)> {
        let (ring, hear) = UnixStream::pair()?;
        ring.set_nonblocking(true)?;
        hear.set_nonblocking(true)?;
        let inbox = Arc::new(Inbox { commands: Mutex::new(Vec::new()), bell: ring });
        let handle = Self { inbox: Arc::clone(&inbox), counters: Arc::default() };
        Ok((handle, InboxReader { inbox, bell: hear }))
    }

    /// Ends the server after the requests of its present turn.
    pub fn stop(&self) {
        self.push(Command::Stop);
    }

    /// Applies another checked configuration; if it cannot be applied the old one stays, and the
    /// log says why.
    pub fn reload(&self, config: KdcConfig) {
        self.push(Command::Reload(Box::new(config)));
    }

    /// The counters, which may be read at any time.
    #[must_use]
    pub fn counters(&self) -> &KdcCounters {
        &self.counters
    }

    pub(super) fn view(&self, watcher: u64, view: RegistryView) {
        self.push(Command::View(watcher, Arc::new(view)));
    }

    fn push(&self, command: Command) {
        self.inbox.commands.lock().unwrap_or_else(PoisonError::into_inner).push(command);
        // A full pipe has rung already.
        let _ = (&self.inbox.bell).write(&[1]);
    }
}

impl InboxReader {
    /// What to wait on.
    pub(super) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// Takes what has come.
    pub(super) fn take(&mut self) -> Vec<Command> {
        let mut sink = [0; 64];
        while self.bell.read(&mut sink).is_ok_and(|n| n == sink.len()) {}
        std::mem::take(&mut *self.inbox.commands.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Where a server listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// The UDP address, its port filled in if the configuration left it to the system.
    pub udp: Option<SocketAddr>,
    /// The TCP address, likewise.
    pub tcp: Option<SocketAddr>,
}
