//! The command line: what can be said, who does it, and what the exit code means.
//!
//! Owns arguments, exit codes and the split between standard output (answers) and standard error (everything else).

mod check;
mod doctor;
mod look;
mod serve;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::admin::Endpoint;
use crate::kdc::KdcCommand;

/// Transparent cipher gateway for TCP: payload between client and gateway is ciphered, programs and servers stay as
/// they are.
#[derive(Debug, Parser)]
#[command(
    name = "sekisho",
    version,
    after_help = "Exit codes: 0 ok, 1 failed, 2 usage, 3 degraded."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a cipher gateway in front of servers
    Gateway(Serve),
    /// Run a client agent in front of applications
    Client(Serve),
    /// Run a key distribution centre, and keep its devices
    #[command(subcommand)]
    Kdc(KdcCommand),
    /// Check a configuration file and show every error
    Check(Check),
    /// Show what a running process is doing
    Status(Look),
    /// Show the sessions of a running gateway or client agent
    Sessions(Sessions),
    /// End sessions of a running gateway or client agent: both hosts get a RST
    Close(Close),
    /// Examine the machine, the ports, the files, the KDCs and the running process
    Doctor(Doctor),
}

/// Arguments of a process that serves.
#[derive(Debug, Args)]
pub struct Serve {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct Check {
    /// Configuration file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Arguments of whoever asks a running process.
#[derive(Debug, Args)]
pub struct Look {
    /// Which process to ask
    #[command(flatten)]
    pub at: Where,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `sessions`.
#[derive(Debug, Args)]
pub struct Sessions {
    /// As for `status`
    #[command(flatten)]
    pub look: Look,
    /// Show at most so many
    #[arg(long, value_name = "N", default_value_t = crate::admin::DEFAULT_SESSIONS)]
    pub limit: usize,
}

/// Arguments of `close`.
#[derive(Debug, Args)]
pub struct Close {
    /// As for `status`
    #[command(flatten)]
    pub look: Look,
    /// Which sessions
    #[command(flatten)]
    pub which: Meant,
}

/// Which sessions are meant: those that both addresses fit, where both are named.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct Meant {
    /// Sessions of this client: ADDRESS, ADDRESS/LENGTH or ADDRESS:PORT
    #[arg(long, value_name = "ENDPOINT")]
    pub client: Option<Endpoint>,
    /// Sessions of this server: ADDRESS, ADDRESS/LENGTH or ADDRESS:PORT
    #[arg(long, value_name = "ENDPOINT")]
    pub server: Option<Endpoint>,
    /// All sessions
    #[arg(long, conflicts_with_all = ["client", "server"])]
    pub all: bool,
}

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Configuration file to examine the machine for
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Admin socket of the running process, if not that of the file
    #[arg(long, value_name = "SOCKET")]
    pub socket: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Which process to ask; without either the only socket in `/run/sekisho`.
#[derive(Debug, Args)]
pub struct Where {
    /// Admin socket of the process
    #[arg(long, value_name = "SOCKET", conflicts_with = "config")]
    pub socket: Option<PathBuf>,
    /// Configuration file of the process, which names its socket
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All is well.
    Ok,
    /// It failed.
    Failed,
    /// It was asked wrongly.
    Usage,
    /// It worked, and something needs attention.
    Degraded,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Ok => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Degraded => 3,
        })
    }
}

/// Does what the command line says.
pub fn run(cli: Cli) -> Exit {
    match cli.command {
        Command::Gateway(serve) => serve::gateway(&serve),
        Command::Client(serve) => serve::client(&serve),
        Command::Kdc(command) => crate::kdc::run(command),
        Command::Check(check) => check::check(&check),
        Command::Status(look) => look::status(&look),
        Command::Sessions(sessions) => look::sessions(&sessions),
        Command::Close(close) => look::close(&close),
        Command::Doctor(doctor) => doctor::doctor(&doctor),
    }
}

/// Writes an answer to standard output. A reader that has gone (`| head`) is no failure.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// The same for one JSON object.
fn print_json(value: &serde_json::Value) {
    print(&format!("{value:#}\n"));
}

/// Says on standard error what failed.
fn failed(error: impl std::fmt::Display) -> Exit {
    let _ = writeln!(std::io::stderr().lock(), "sekisho: {error}");
    Exit::Failed
}

/// Loads a file; its errors are shown as they are.
fn load(path: &std::path::Path) -> Result<sekisho_config::Config, Exit> {
    sekisho_config::Config::load(path).map_err(|error| {
        let _ = writeln!(std::io::stderr().lock(), "{error}");
        Exit::Failed
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_socket_and_a_file_are_not_named_together() {
        assert!(
            Cli::try_parse_from(["sekisho", "status", "--socket", "/s", "--config", "/c"]).is_err()
        );
        assert!(Cli::try_parse_from(["sekisho", "status", "--json"]).is_ok());
        assert!(Cli::try_parse_from(["sekisho", "gateway"]).is_err(), "a gateway needs its file");
    }

    #[test]
    fn nobody_closes_all_sessions_by_leaving_something_out() {
        let parses = |line: &str| Cli::try_parse_from(line.split(' ')).is_ok();
        for line in ["", " --all --client 10.0.1.5", " --client here"] {
            assert!(!parses(&format!("sekisho close{line}")), "{line}");
        }
        for line in [" --all", " --client 10.0.1.0/24 --server 10.0.2.10:443", " --server ::/0"] {
            assert!(parses(&format!("sekisho close{line}")), "{line}");
        }
    }
}
