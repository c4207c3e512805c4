//! The socket edge of the admin protocol: one thread, one request at a time, everything bounded in time and size.

use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{MAX_REQUEST, StatusSource, handle};

/// How long one client may take with its request, and with taking its reply.
const CLIENT_PATIENCE: Duration = Duration::from_secs(2);

/// Why there is no admin socket.
#[derive(Debug, thiserror::Error)]
pub enum AdminServerError {
    /// A running process answers on it.
    #[error("{}: another process answers there; end it, or give this one another `socket` in [admin]", .0.display())]
    InUse(PathBuf),
    /// Something else has its name.
    #[error("{}: exists and is no socket; remove it, or choose another `socket` in [admin]", .0.display())]
    NoSocket(PathBuf),
    /// The system refuses.
    #[error("{}: {action}: {source}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The system's reason.
        source: io::Error,
    },
}

/// The running server; dropping it ends the thread and removes the socket.
pub struct AdminServer {
    path: PathBuf,
    inode: u64,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl AdminServer {
    /// Listens on `path`, for this user only, and answers from `source`. The directory is made if it is missing; a
    /// socket that nobody answers on is replaced.
    ///
    /// # Errors
    /// If another process answers there, or the system refuses.
    pub fn start(path: &Path, source: Arc<dyn StatusSource>) -> Result<Self, AdminServerError> {
        let (listener, inode) = listen(path)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let run = move || serve(&listener, source.as_ref(), &stopped);
        let thread = std::thread::Builder::new().name("sekisho-admin".into()).spawn(run);
        let thread = thread.map_err(|source| failed(path, "start its thread", source))?;
        Ok(Self { path: path.to_owned(), inode, stop, thread: Some(thread) })
    }
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // The thread sleeps in accept: a connection of our own wakes it. Where even that fails the listener is
        // unusable, and its thread ends with the process.
        let woken = UnixStream::connect(&self.path).is_ok();
        // A successor may have taken the name over: its socket stays.
        if std::fs::symlink_metadata(&self.path).is_ok_and(|metadata| metadata.ino() == self.inode)
        {
            let _ = std::fs::remove_file(&self.path);
        }
        if let Some(thread) = self.thread.take().filter(|_| woken) {
            let _ = thread.join();
        }
    }
}

fn failed(path: &Path, action: &'static str, source: io::Error) -> AdminServerError {
    AdminServerError::Io { path: path.to_owned(), action, source }
}

fn listen(path: &Path) -> Result<(UnixListener, u64), AdminServerError> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)
            .map_err(|source| failed(path, "make its directory", source))?;
    }
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(AdminServerError::NoSocket(path.to_owned()));
        }
        Ok(_) if UnixStream::connect(path).is_ok() => {
            return Err(AdminServerError::InUse(path.to_owned()));
        }
        _ => {}
    }
    // Bound under a name of our own and renamed when its mode is right: nobody else can connect in between.
    let mut own = path.as_os_str().to_owned();
    own.push(format!(".{}", std::process::id()));
    let own = PathBuf::from(own);
    let _ = std::fs::remove_file(&own);
    let listener = UnixListener::bind(&own).map_err(|source| failed(path, "bind", source))?;
    let ready = std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o600))
        .and_then(|()| std::fs::rename(&own, path))
        .and_then(|()| std::fs::symlink_metadata(path));
    match ready {
        Ok(metadata) => Ok((listener, metadata.ino())),
        Err(source) => {
            let _ = std::fs::remove_file(&own);
            Err(failed(path, "set its mode", source))
        }
    }
}

fn serve(listener: &UnixListener, source: &dyn StatusSource, stop: &AtomicBool) {
    while !stop.load(Ordering::Acquire) {
        match listener.accept() {
            Ok(_) if stop.load(Ordering::Acquire) => break,
            Ok((stream, _)) => {
                if let Err(error) = converse(stream, source) {
                    tracing::debug!(%error, "an admin client went away");
                }
            }
            Err(error) => {
                // Out of descriptors, for instance: not worth ending, nor spinning.
                tracing::warn!(%error, "the admin socket cannot accept");
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

fn converse(mut stream: UnixStream, source: &dyn StatusSource) -> io::Result<()> {
    stream.set_write_timeout(Some(CLIENT_PATIENCE))?;
    let Some(request) = read_line(&mut stream)? else { return Ok(()) };
    let mut reply = handle(&request, source);
    reply.push('\n');
    stream.write_all(reply.as_bytes())
}

/// One line, or none if the client closed without one, was too slow or sent too much.
fn read_line(stream: &mut UnixStream) -> io::Result<Option<String>> {
    let deadline = Instant::now() + CLIENT_PATIENCE;
    let mut line = Vec::new();
    let mut chunk = [0; 512];
    while line.len() <= MAX_REQUEST {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        stream.set_read_timeout(Some(left))?;
        let count = stream.read(&mut chunk)?;
        if count == 0 {
            return Ok(None);
        }
        line.extend_from_slice(&chunk[..count]);
        if let Some(end) = line.iter().position(|octet| *octet == b'\n') {
            line.truncate(end);
            return Ok(Some(String::from_utf8_lossy(&line).into_owned()));
        }
    }
    Ok(None)
}
