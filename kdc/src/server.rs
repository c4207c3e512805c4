//! The KDC as a server: one thread over UDP, TCP, its inbox and its timers.
//!
//! Owns the sockets and the clock. Decides nothing: every request goes through [`Issuer`]. One
//! thread suffices, as a decision costs some ten microseconds; only reading the registry has a
//! thread of its own.

mod audit_log;
mod connection;
mod handle;
#[cfg(test)]
mod tests;
mod watcher;

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rand_core::UnwrapErr;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sekisho_config::KdcConfig;
use sekisho_kdc_client::{MAX_MESSAGE, MasterKey};

use crate::audit::Transport;
use crate::issuer::Issuer;
use crate::keyfile::{self, KeyFileError};
use crate::policy::AccessPolicy;
use crate::registry::{Registry, RegistryError, RegistryWatch};
use audit_log::AuditLog;
use connection::Connection;
use handle::{Command, InboxReader};
pub use handle::{KdcCounters, Listening, ServerHandle};
use watcher::Watcher;

/// Connections in all; a further one takes the place of the one that waits longest.
const MAX_CONNECTIONS: usize = 512;
/// Connections from one address; further ones are closed.
const MAX_PER_SOURCE: usize = 64;
/// Datagrams answered, and connections accepted, before the others have their turn.
const BURST: usize = 64;
/// The longest wait without anything to do.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Why a KDC cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The master key file.
    #[error("{0}; make it with: sekisho kdc init")]
    MasterKey(#[from] KeyFileError),
    /// The registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// An identifier of the configuration.
    #[error("policy: {0}")]
    Policy(#[from] sekisho_kdc_client::IdError),
    /// A listener.
    #[error("cannot listen on {what} {address}: {source}")]
    Listen {
        /// UDP or TCP.
        what: &'static str,
        /// The configured address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The audit log.
    #[error("audit log {path}: {source}")]
    Audit {
        /// The configured file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Anything else of the operating system.
    #[error("cannot serve: {0}")]
    System(#[from] std::io::Error),
}

/// A KDC that listens.
pub struct Server {
    config: KdcConfig,
    issuer: Issuer,
    udp: Option<UdpSocket>,
    tcp: Option<TcpListener>,
    connections: Vec<Connection>,
    audit: AuditLog,
    inbox: InboxReader,
    handle: ServerHandle,
    /// Until the thread that owns it runs.
    watch: Option<RegistryWatch>,
    watcher: Option<Watcher>,
    /// Number of the present watcher.
    watchers: u64,
    started: Instant,
}

/// What the sockets reported in one turn.
struct Ready {
    inbox: bool,
    udp: bool,
    tcp: bool,
    connections: Vec<bool>,
}

impl Server {
    /// Opens everything that the configuration names and begins to listen; [`Server::run`] answers.
    ///
    /// # Errors
    /// [`ServeError`] names what stands in the way.
    pub fn bind(config: KdcConfig) -> Result<Self, ServeError> {
        let (issuer, watch) = open_issuer(&config)?;
        let audit = open_audit(&config)?;
        let udp = config.listen_udp.map(bind_udp).transpose()?;
        let tcp = config.listen_tcp.map(bind_tcp).transpose()?;
        let (handle, inbox) = ServerHandle::new()?;
        handle.counters.registry(issuer.view());
        Ok(Self {
            config,
            issuer,
            udp,
            tcp,
            connections: Vec::new(),
            audit,
            inbox,
            handle,
            watch: Some(watch),
            watcher: None,
            watchers: 0,
            started: Instant::now(),
        })
    }

    /// Speaks to this server from other threads.
    #[must_use]
    pub fn handle(&self) -> ServerHandle {
        self.handle.clone()
    }

    /// Where it listens.
    #[must_use]
    pub fn listening(&self) -> Listening {
        Listening {
            udp: self.udp.as_ref().and_then(|s| s.local_addr().ok()),
            tcp: self.tcp.as_ref().and_then(|s| s.local_addr().ok()),
        }
    }

    /// Answers until [`ServerHandle::stop`].
    ///
    /// # Errors
    /// [`ServeError::System`] if the system refuses to wait on the sockets or to start a thread.
    pub fn run(mut self) -> Result<(), ServeError> {
        if let Some(watch) = self.watch.take() {
            self.watcher = Some(Watcher::spawn(self.watchers, watch, self.handle.clone())?);
        }
        loop {
            let ready = self.wait()?;
            // Before the requests of this turn: a revocation does not wait behind a burst.
            let stop = ready.inbox && self.obey();
            if ready.udp {
                self.serve_udp();
            }
            self.serve_connections(&ready.connections);
            if ready.tcp {
                self.accept();
            }
            self.audit.flush();
            if stop {
                return Ok(());
            }
        }
    }

    fn wait(&self) -> std::io::Result<Ready> {
        let none = PollFlags::empty();
        let mut fds = vec![PollFd::from_borrowed_fd(self.inbox.bell(), PollFlags::IN)];
        fds.extend(self.udp.iter().map(|s| PollFd::new(s, PollFlags::IN)));
        fds.extend(self.tcp.iter().map(|s| PollFd::new(s, PollFlags::IN)));
        let first = fds.len();
        for c in &self.connections {
            let read = if c.wants_read() { PollFlags::IN } else { none };
            let write = if c.wants_write() { PollFlags::OUT } else { none };
            fds.push(PollFd::from_borrowed_fd(c.stream.as_fd(), read | write));
        }
        let now = Instant::now();
        let next = self.connections.iter().map(Connection::deadline).min();
        let wait = next.map_or(LONGEST_WAIT, |at| at.saturating_duration_since(now));
        let wait = Timespec::try_from(wait.min(LONGEST_WAIT)).ok();
        match poll(&mut fds, wait.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        let mut hit = fds.iter().map(|fd| !fd.revents().is_empty());
        let mut of = |there: bool| there && hit.next().unwrap_or(false);
        Ok(Ready {
            inbox: of(true),
            udp: of(self.udp.is_some()),
            tcp: of(self.tcp.is_some()),
            connections: fds[first..].iter().map(|fd| !fd.revents().is_empty()).collect(),
        })
    }

    /// Does what other threads asked for; true to stop.
    fn obey(&mut self) -> bool {
        let mut stop = false;
        for command in self.inbox.take() {
            match command {
                Command::Stop => stop = true,
                Command::View(number, _) if number != self.watchers => {}
                Command::View(_, view) => {
                    tracing::info!(devices = view.len(), "registry read again");
                    self.handle.counters.views.fetch_add(1, Ordering::Relaxed);
                    self.issuer.set_view(view);
                    self.handle.counters.registry(self.issuer.view());
                }
                Command::Reload(config) => self.reload(*config),
            }
        }
        stop
    }

    fn reload(&mut self, config: KdcConfig) {
        let counters = Arc::clone(&self.handle.counters);
        match self.apply(config) {
            Ok(()) => {
                counters.reloads_applied.fetch_add(1, Ordering::Relaxed);
                counters.registry(self.issuer.view());
                tracing::info!("configuration applied");
            }
            Err(error) => {
                counters.reloads_refused.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%error, "configuration not applied; the old one stays");
            }
        }
    }

    /// Applies another configuration, all of it or nothing. Listeners whose address stays are kept,
    /// and with them the datagrams and connections that wait there.
    fn apply(&mut self, config: KdcConfig) -> Result<(), ServeError> {
        let (issuer, watch) = open_issuer(&config)?;
        let audit = open_audit(&config)?;
        let udp = match config.listen_udp == self.config.listen_udp {
            true => None,
            false => Some(config.listen_udp.map(bind_udp).transpose()?),
        };
        let tcp = match config.listen_tcp == self.config.listen_tcp {
            true => None,
            false => Some(config.listen_tcp.map(bind_tcp).transpose()?),
        };
        self.watcher = Some(Watcher::spawn(self.watchers + 1, watch, self.handle.clone())?);
        self.watchers += 1;
        self.issuer = issuer;
        self.audit.flush();
        self.audit = audit;
        if let Some(udp) = udp {
            self.udp = udp;
        }
        if let Some(tcp) = tcp {
            self.tcp = tcp;
        }
        self.config = config;
        Ok(())
    }

    fn serve_udp(&mut self) {
        // One octet more than the longest message, so that a longer one is seen as such.
        let mut buffer = [0; MAX_MESSAGE + 1];
        for _ in 0..BURST {
            let Some(socket) = self.udp.as_ref() else { return };
            let (len, source) = match socket.recv_from(&mut buffer) {
                Ok(got) => got,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                // An ICMP error of an earlier answer; the next call clears it.
                Err(_) => continue,
            };
            let reply = self.decide(&buffer[..len], source, Transport::Udp);
            if let (Some(reply), Some(socket)) = (reply, self.udp.as_ref()) {
                // What cannot be sent is lost like any datagram; the gateway asks again.
                let _ = socket.send_to(&reply, source);
            }
        }
    }

    fn serve_connections(&mut self, ready: &[bool]) {
        let now = Instant::now();
        let mut connections = std::mem::take(&mut self.connections);
        let mut index = 0;
        let mut messages = Vec::new();
        connections.retain_mut(|c| {
            let hit = ready.get(index).copied().unwrap_or(false);
            index += 1;
            if !hit {
                return now < c.deadline();
            }
            let open = !c.wants_read() || c.read(now, &mut messages);
            for message in messages.drain(..) {
                if let Some(reply) = self.decide(&message, c.peer, Transport::Tcp) {
                    c.answer(&reply, now);
                }
            }
            c.write(now) && open && now < c.deadline()
        });
        self.connections = connections;
    }

    fn accept(&mut self) {
        let now = Instant::now();
        for _ in 0..BURST {
            let (stream, peer) = match self.tcp.as_ref().map(TcpListener::accept) {
                Some(Ok(accepted)) => accepted,
                Some(Err(e)) if e.kind() != ErrorKind::WouldBlock => {
                    // Out of descriptors, most likely: without making room, or a pause, the
                    // listener would stay ready and the loop would spin.
                    if !self.drop_longest_waiting() {
                        std::thread::sleep(Duration::from_millis(10));
                    }
                    return;
                }
                _ => return,
            };
            if self.connections.iter().filter(|c| same_host(c.peer, peer)).count() >= MAX_PER_SOURCE
            {
                continue;
            }
            if self.connections.len() >= MAX_CONNECTIONS {
                self.drop_longest_waiting();
            }
            if let Ok(connection) = Connection::new(stream, peer, now) {
                self.connections.push(connection);
            }
        }
    }

    /// Closes the connection whose last frame is the oldest; false if there is none.
    fn drop_longest_waiting(&mut self) -> bool {
        let oldest = self.connections.iter().enumerate().min_by_key(|(_, c)| c.last_frame);
        let Some((index, _)) = oldest else { return false };
        self.connections.swap_remove(index);
        true
    }

    fn decide(&mut self, bytes: &[u8], source: SocketAddr, via: Transport) -> Option<Vec<u8>> {
        let now = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let mut rng = UnwrapErr(getrandom::SysRng);
        let decision = self.issuer.decide(bytes, (source, via), now, &mut rng);
        self.handle.counters.count(decision.audit.outcome);
        self.audit.record(&decision.audit, now);
        decision.reply
    }
}

fn same_host(a: SocketAddr, b: SocketAddr) -> bool {
    let host = |s: SocketAddr| -> IpAddr { s.ip().to_canonical() };
    host(a) == host(b)
}

/// The master key that a configuration names.
///
/// # Errors
/// [`KeyFileError`] as from [`keyfile::read`].
pub fn load_master(config: &KdcConfig) -> Result<Arc<MasterKey>, KeyFileError> {
    let key = keyfile::read(&config.master_key_file)?;
    Ok(Arc::new(MasterKey::from_bytes(*key)))
}

fn open_issuer(config: &KdcConfig) -> Result<(Issuer, RegistryWatch), ServeError> {
    let registry = Registry::open(&config.registry, load_master(config)?)?;
    let (watch, view) = RegistryWatch::start(registry, config.derived_keys)?;
    let policy = AccessPolicy::new(config)?;
    let lifetime = u32::try_from(config.key_lifetime.as_secs()).unwrap_or(u32::MAX);
    Ok((Issuer::new(policy, lifetime, Arc::new(view)), watch))
}

fn open_audit(config: &KdcConfig) -> Result<AuditLog, ServeError> {
    AuditLog::open(config.audit_log.as_deref()).map_err(|source| ServeError::Audit {
        path: config.audit_log.clone().unwrap_or_default(),
        source,
    })
}

fn bind_udp(address: SocketAddr) -> Result<UdpSocket, ServeError> {
    let bind = || {
        let socket = UdpSocket::bind(address)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    };
    bind().map_err(|source| ServeError::Listen { what: "UDP", address, source })
}

fn bind_tcp(address: SocketAddr) -> Result<TcpListener, ServeError> {
    let bind = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    bind().map_err(|source| ServeError::Listen { what: "TCP", address, source })
}
