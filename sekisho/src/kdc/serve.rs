//! `sekisho kdc serve`: the server with its signals, admin socket and metrics.
//!
//! Owns the life of the process; answering is `sekisho-kdc`'s.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use sekisho_config::{Config, KdcConfig};
use sekisho_kdc::server::{Listening, Server, ServerHandle};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::status::KdcStatus;
use super::{KdcError, load};
use crate::admin::AdminServer;
use crate::metrics::Exporter;
use crate::{harden, logging};

/// Arguments of `serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The KDC's configuration file.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Write a line to this descriptor, inherited from the parent, once requests are answered.
    #[arg(long, value_name = "FD")]
    pub ready_fd: Option<u32>,
}

pub(super) fn serve(args: &ServeArgs) -> Result<(), KdcError> {
    // From here on a signal ends or reloads the server instead of killing the process.
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])
        .map_err(KdcError::system("cannot catch signals"))?;
    let config = load(&args.config)?;
    logging::start(config.log.level);
    // Before the first key is read.
    harden::process_memory();
    let server = Server::bind(config.clone())?;
    let edges = Edges::open(&config, &server.handle())?;
    announce(args.ready_fd, server.listening())?;

    let (handle, path) = (server.handle(), args.config.clone());
    let live = Config::Kdc(config);
    let signal_handle = signals.handle();
    let waiter = std::thread::Builder::new()
        .name("kdc-signals".into())
        .spawn(move || {
            for signal in signals.forever() {
                match signal {
                    SIGHUP => reload(&handle, &path, &live),
                    _ => handle.stop(),
                }
            }
        })
        .map_err(KdcError::system("cannot start a thread"))?;
    let served = server.run();
    signal_handle.close();
    // The thread has nothing left to do; a panic of it has been reported by itself.
    let _ = waiter.join();
    drop(edges);
    tracing::info!("stopped");
    Ok(served?)
}

/// The admin socket and the metrics, as far as they are wanted; gone when dropped.
struct Edges {
    _admin: AdminServer,
    _metrics: Option<Exporter>,
}

impl Edges {
    fn open(config: &KdcConfig, server: &ServerHandle) -> Result<Self, KdcError> {
        let status = Arc::new(KdcStatus::new(server.clone(), config.derived_keys));
        let metrics = config.metrics.listen.map(|at| Exporter::start(at, status.clone()));
        Ok(Self {
            _metrics: metrics.transpose()?,
            _admin: AdminServer::start(&config.admin.socket, status)?,
        })
    }
}

/// Hands a changed configuration to the server. A file that is not right, or changes what only a
/// restart can change, changes nothing. An unchanged one opens the audit log anew, for rotation.
fn reload(server: &ServerHandle, path: &Path, live: &Config) {
    let refuse = |error: &dyn std::fmt::Display| {
        tracing::error!(%error, "configuration not applied; the old one stays");
        server.counters().count_refused_reload();
    };
    let new = match load(path) {
        Ok(new) => new,
        Err(error) => return refuse(&error),
    };
    match live.changes_to(&Config::Kdc(new.clone())) {
        Ok(_) => {
            logging::set_level(new.log.level);
            server.reload(new);
        }
        Err(needs_restart) => refuse(&needs_restart),
    }
}

fn announce(fd: Option<u32>, at: Listening) -> Result<(), KdcError> {
    let shown =
        |what, address: Option<_>| address.map(|a: std::net::SocketAddr| format!("{what} {a}"));
    let at: Vec<String> =
        [shown("UDP", at.udp), shown("TCP", at.tcp)].into_iter().flatten().collect();
    eprintln!("ready: KDC answers on {}", at.join(" and "));
    let Some(fd) = fd else { return Ok(()) };
    // Through /proc, since a bare number is no owned descriptor without `unsafe`.
    std::fs::OpenOptions::new()
        .write(true)
        .open(format!("/proc/self/fd/{fd}"))
        .and_then(|mut file| file.write_all(b"ready\n"))
        .map_err(KdcError::system(format!("cannot write to descriptor {fd}")))
}
