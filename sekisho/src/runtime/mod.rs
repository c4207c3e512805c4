//! The edge: threads, sockets, the clock and signals around the sans-I/O core.
//!
//! [`run_gateway`] and [`run_client`] start everything in an order that never lets a protected
//! frame pass unfiltered, turn until a signal ends them, and take everything down again.

mod assemble;
mod backlog;
pub(crate) mod counted;
mod kdc_link;
mod kdc_links;
mod node;
mod query;
mod reload;
mod services;
mod signals;
mod snapshot;

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use sekisho_config::{ClientConfig, Config, GatewayConfig};
use sekisho_dataplane::{Clock, Role, spawn};
use sekisho_port::{PortPair, PortSide, Waiter};

use crate::admin::AdminServer;
use crate::control::{Control, End};
use crate::metrics::Exporter;
use backlog::Backlog;
use kdc_links::KdcLinks;
pub use node::LoopError;
use node::{Node, Phase, Reloads};
use signals::Signals;

/// Why a gateway or client agent did not start, or ended other than by a signal.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The device key.
    #[error(transparent)]
    Key(#[from] sekisho_kdc::keyfile::KeyFileError),
    /// The device identifier is no valid name; the configuration check admits none such.
    #[error("`{0}` is no device name")]
    DeviceName(String),
    /// The operating system gives no random numbers.
    #[error("the operating system gives no random numbers; check /dev/urandom and getrandom(2)")]
    Randomness,
    /// The cipher kernel that the configuration or the environment asks for.
    #[error("{0}; see `[workers] cipher` and the environment variable SEKISHO_CIPHER")]
    Cipher(#[from] sekisho_cipher::BadKernel),
    /// The ports.
    #[error(transparent)]
    Ports(#[from] sekisho_port::PortError),
    /// The worker threads.
    #[error(transparent)]
    Workers(#[from] sekisho_dataplane::SpawnError),
    /// The admin socket.
    #[error(transparent)]
    Admin(#[from] crate::admin::AdminServerError),
    /// The metrics exporter.
    #[error(transparent)]
    Metrics(#[from] crate::metrics::ExporterError),
    /// A descriptor, a pipe or a signal handler.
    #[error("the operating system refuses: {0}")]
    Os(std::io::Error),
    /// The control loop ended.
    #[error(transparent)]
    Loop(#[from] LoopError),
}

/// Runs a gateway until a signal ends it. `path` is read again at SIGHUP.
///
/// # Errors
/// [`StartError`], each with what to do about it.
pub fn run_gateway(config: GatewayConfig, path: &Path) -> Result<(), StartError> {
    let end = End::Gateway(assemble::gateway_end(&config)?);
    let kdc = KdcLinks::new(&config.kdc);
    run(Config::Gateway(config), path, end, kdc)
}

/// Runs a client agent until a signal ends it. `path` is read again at SIGHUP.
///
/// # Errors
/// [`StartError`], each with what to do about it.
pub fn run_client(config: ClientConfig, path: &Path) -> Result<(), StartError> {
    let end = End::Client(assemble::client_end(&config.node)?);
    run(Config::Client(config), path, end, KdcLinks::default())
}

fn run(config: Config, path: &Path, end: End, kdc: KdcLinks) -> Result<(), StartError> {
    let role = match end {
        End::Gateway(_) => Role::Gateway,
        End::Client(_) => Role::Client,
    };
    let role_word = config.role().word();
    let node = config.node().expect("invariant: gateways and clients have a node part").clone();
    // Before any key is expanded.
    let cipher = sekisho_cipher::choose_kernel(node.workers.cipher.word())?;
    crate::harden::process_memory();
    // Early: a signal during the start must not leave a half-open port behind.
    let signals = Signals::catch().map_err(StartError::Os)?;
    let clock = Clock::start();
    let waiter = Waiter::new().map_err(StartError::Os)?;
    let (handle, queries) = query::channel(waiter.doorbell(), node.workers.count);
    let handle = Arc::new(handle);
    let admin = AdminServer::start(&node.admin.socket, handle.clone())?;
    let exporter = node.metrics.listen.map(|listen| Exporter::start(listen, handle)).transpose()?;

    let (sockets, ports) = PortPair::open(&assemble::ports(&node, role))?;
    let mtu = ports.report(PortSide::Cipher).mtu;
    let worker_config = assemble::worker_config(&node, role, mtu)?;
    let specs = assemble::worker_specs(&node, &worker_config, sockets)?;
    let workers = spawn(specs, clock, Some(waiter.doorbell()))?;

    let mut node = Node {
        services: services::Services::new(&node.services),
        backlog: Backlog::new(workers.len()),
        config,
        path: path.to_owned(),
        control: Control::new(end),
        workers,
        ports,
        kdc,
        signals,
        queries,
        clock,
        waiter,
        phase: Phase::Running,
        reloads: Reloads::default(),
        health: Default::default(),
        tend_at: 0,
        began: clock.now().0,
        started: SystemTime::now(),
    };
    tracing::info!(role = role_word, cipher, "ready");
    let ended = node.run();
    drop((admin, exporter));
    node.close(ended)
}
