//! The asking end of the admin socket, used by `status`, `sessions` and `doctor`.

use std::io::{self, Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Answer, Command, Request, VERSION};

/// Where sockets are looked for if none is named: the directory of the default in the configuration.
const SOCKET_DIRECTORY: &str = "/run/sekisho";
/// How long a running process may take; longer than it waits for its own control loop.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest reply: `MAX_SESSIONS` sessions of about 400 octets each, and room.
const MAX_REPLY: u64 = 16 << 20;

/// Why a running process did not answer.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Nothing listens there.
    #[error("{}: no running process answers ({source}); is it started, and is this its `socket` in [admin]?", path.display())]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It broke off, or took too long.
    #[error("{}: the running process gives no whole answer: {source}", path.display())]
    Broken {
        /// The socket.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It said something else than an answer.
    #[error("{}: the answer is not understood ({reason}); are both programs of one version?", path.display())]
    Unintelligible {
        /// The socket.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// It refused.
    #[error("{0}")]
    Refused(String),
    /// No socket was named, and there is none to be found.
    #[error("no admin socket in {SOCKET_DIRECTORY}: name one with --socket or --config")]
    NoSocket,
    /// No socket was named, and there are several.
    #[error(
        "several admin sockets in {SOCKET_DIRECTORY} ({0}): name one with --socket or --config"
    )]
    SeveralSockets(String),
}

/// Asks the process behind `socket`.
///
/// # Errors
/// If nothing listens there, or it gives no answer in time, or refuses.
pub fn ask(socket: &Path, command: Command) -> Result<Answer, AdminError> {
    let unreachable = |source| AdminError::Unreachable { path: socket.to_owned(), source };
    let broken = |source| AdminError::Broken { path: socket.to_owned(), source };
    let unintelligible =
        |reason: String| AdminError::Unintelligible { path: socket.to_owned(), reason };

    let mut stream = UnixStream::connect(socket).map_err(unreachable)?;
    let request = Request { version: VERSION, command };
    let mut line =
        serde_json::to_vec(&request).map_err(|error| unintelligible(error.to_string()))?;
    line.push(b'\n');
    stream.set_read_timeout(Some(PATIENCE)).map_err(broken)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(broken)?;
    stream.write_all(&line).map_err(broken)?;
    let mut reply = Vec::new();
    stream.take(MAX_REPLY).read_to_end(&mut reply).map_err(broken)?;
    if reply.is_empty() {
        return Err(broken(io::ErrorKind::UnexpectedEof.into()));
    }
    match serde_json::from_slice(&reply).map_err(|error| unintelligible(error.to_string()))? {
        Answer::Error(refusal) => Err(AdminError::Refused(refusal.message)),
        answer => Ok(answer),
    }
}

/// The only admin socket in the default directory.
///
/// # Errors
/// If there is none, or more than one.
pub fn find_socket() -> Result<PathBuf, AdminError> {
    find_socket_in(Path::new(SOCKET_DIRECTORY))
}

pub(super) fn find_socket_in(directory: &Path) -> Result<PathBuf, AdminError> {
    let entries = std::fs::read_dir(directory).map_err(|_| AdminError::NoSocket)?;
    let is_socket =
        |entry: &std::fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_socket());
    let named = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "sock");
    let mut sockets: Vec<PathBuf> =
        entries.flatten().filter(is_socket).map(|entry| entry.path()).filter(named).collect();
    sockets.sort();
    match sockets.len() {
        0 => Err(AdminError::NoSocket),
        1 => Ok(sockets.remove(0)),
        _ => {
            let names = sockets
                .iter()
                .filter_map(|path| path.file_name())
                .map(|name| name.to_string_lossy());
            Err(AdminError::SeveralSockets(names.collect::<Vec<_>>().join(", ")))
        }
    }
}
