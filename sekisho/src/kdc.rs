//! `sekisho kdc …`: the key distribution centre from the command line.
//!
//! Owns the commands, their output and exit codes. The registry, the decisions and the server are
//! `sekisho-kdc`'s.

mod device;
mod serve;
mod status;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use sekisho_config::{Config, ConfigError, KdcConfig};
use sekisho_kdc::keyfile::{self, KeyFileError};
use sekisho_kdc::registry::{Registry, RegistryError};
use sekisho_kdc::server::{ServeError, load_master};
use sekisho_kdc_client::MasterKey;

use crate::cli::Exit;
pub use device::DeviceCommand;
pub use serve::ServeArgs;

/// The key distribution centre.
#[derive(Debug, Subcommand)]
pub enum KdcCommand {
    /// Make the master key (unless there is one) and an empty registry.
    Init(Common),
    /// Answer key requests until SIGTERM; SIGHUP applies a changed configuration.
    Serve(ServeArgs),
    /// Register, list and revoke devices; in force at a serving KDC when the command ends.
    #[command(subcommand)]
    Device(DeviceCommand),
}

/// What all commands take.
#[derive(Debug, Args)]
pub struct Common {
    /// The KDC's configuration file.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum KdcError {
    /// The configuration file.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// It is a file of another role.
    #[error("{path}: role is \"{role}\", this command needs \"kdc\"")]
    Role {
        /// The file.
        path: PathBuf,
        /// Its role.
        role: &'static str,
    },
    /// The registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A key file.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The server.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The key is registered and its file could not be written.
    #[error(
        "{source}; the key is registered, write it with: sekisho kdc device export {id} --key-out FILE"
    )]
    KeyNotWritten {
        /// The device.
        id: String,
        /// Why not.
        source: KeyFileError,
    },
    /// A derived key is of no use to this KDC.
    #[error(
        "{0}: derived_keys is not set, so this KDC would not accept a derived key; use: sekisho kdc device add"
    )]
    NotDerived(PathBuf),
    /// The registry has changed and the serving KDC has not read it.
    #[error(
        "the registry is changed, but the KDC that serves from it has not read it: see its log"
    )]
    NotInForce,
    /// The admin socket.
    #[error(transparent)]
    Admin(#[from] crate::admin::AdminServerError),
    /// The metrics.
    #[error(transparent)]
    Metrics(#[from] crate::metrics::ExporterError),
    /// Anything else of the operating system.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl KdcError {
    fn system(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        |source| Self::System { what, source }
    }
}

/// Runs a command with the process's own output.
#[must_use]
pub fn run(command: KdcCommand) -> Exit {
    let error = match execute(command, &mut std::io::stdout().lock()) {
        Ok(()) => return Exit::Ok,
        Err(error) => error,
    };
    match &error {
        // Many lines, each with file, line and column.
        KdcError::Config(report) => eprintln!("{report}"),
        error => eprintln!("sekisho: {error}"),
    }
    if matches!(error, KdcError::Role { .. }) { Exit::Usage } else { Exit::Failed }
}

/// Runs a command, writing what it has to say to `out`.
///
/// # Errors
/// [`KdcError`] says what went wrong and what to do.
pub fn execute(command: KdcCommand, out: &mut dyn Write) -> Result<(), KdcError> {
    match command {
        KdcCommand::Init(common) => init(&common, out),
        KdcCommand::Serve(args) => serve::serve(&args),
        KdcCommand::Device(command) => device::execute(command, out),
    }
}

/// Reads and checks a KDC's configuration file.
fn load(path: &Path) -> Result<KdcConfig, KdcError> {
    match Config::load(path)? {
        Config::Kdc(config) => Ok(config),
        other => Err(KdcError::Role { path: path.to_owned(), role: other.role().word() }),
    }
}

fn open_registry(config: &KdcConfig) -> Result<Registry, KdcError> {
    Ok(Registry::open(&config.registry, load_master(config)?)?)
}

fn init(common: &Common, out: &mut dyn Write) -> Result<(), KdcError> {
    let config = load(&common.config)?;
    // First: beside a registry a new master key would be of no use, and in its way.
    if config.registry.exists() {
        return Err(RegistryError::Exists(config.registry).into());
    }
    for file in [&config.master_key_file, &config.registry] {
        make_parent(file)?;
    }
    let made = !config.master_key_file.exists();
    let master = if made { create_master(&config)? } else { load_master(&config)? };
    Registry::create(&config.registry, master)?;
    let text = match common.json {
        true => serde_json::json!({
            "registry": config.registry,
            "master_key_file": config.master_key_file,
            "master_key_made": made,
        })
        .to_string(),
        false => format!(
            "made registry    {}\n{} master key  {}\nkeep a copy of the master key: without it the registry is lost",
            config.registry.display(),
            if made { "made" } else { "kept" },
            config.master_key_file.display(),
        ),
    };
    print(out, &text)
}

fn create_master(config: &KdcConfig) -> Result<Arc<MasterKey>, KdcError> {
    let mut key = keyfile::KeyBytes::default();
    getrandom::fill(key.as_mut_slice())
        .map_err(|e| KdcError::system("no randomness from the system")(e.into()))?;
    keyfile::write_new(&config.master_key_file, &key)?;
    Ok(Arc::new(MasterKey::from_bytes(*key)))
}

/// Makes the directory of a file if it is missing, for this user only.
fn make_parent(file: &Path) -> Result<(), KdcError> {
    use std::os::unix::fs::DirBuilderExt;
    let Some(dir) = file.parent().filter(|d| !d.as_os_str().is_empty()) else { return Ok(()) };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(KdcError::system(format!("cannot make directory {}", dir.display())))
}

fn print(out: &mut dyn Write, text: &str) -> Result<(), KdcError> {
    writeln!(out, "{text}").map_err(KdcError::system("cannot write the output"))
}
