//! The place where one port's link is pinned: a directory of its own, locked while a gateway runs.
//! Without the lock a second gateway would take the links of a living one for a dead one's.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::Errno;

use super::FilterError;

/// Held as long as the gateway runs; the kernel lets it go when the process dies.
pub(crate) struct PinPlace {
    directory: PathBuf,
    _lock: OwnedFd,
}

impl PinPlace {
    /// Makes and locks the place for the port named `interface` within `pin_directory`, which is
    /// on a bpffs.
    pub(crate) fn lock(pin_directory: &Path, interface: &str) -> Result<Self, FilterError> {
        // A bpffs takes no dots in names.
        let directory = pin_directory.join(interface.replace('.', "_"));
        match locked(&directory) {
            Ok(lock) => Ok(Self { directory, _lock: lock }),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(FilterError::InUse { path: directory })
            }
            Err(error) => Err(FilterError::PinDirectory { path: directory, error }),
        }
    }

    pub(super) fn link(&self) -> PathBuf {
        self.directory.join("link")
    }
}

impl Drop for PinPlace {
    fn drop(&mut self) {
        // Stays while a link is pinned in it, which is what makes the pin outlive the process.
        let _ = fs::remove_dir(&self.directory);
    }
}

fn locked(directory: &Path) -> io::Result<OwnedFd> {
    match fs::create_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let lock = open(directory, flags, Mode::empty())?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(Errno::WOULDBLOCK) => Err(io::ErrorKind::WouldBlock.into()),
        Err(error) => Err(error.into()),
    }
}
