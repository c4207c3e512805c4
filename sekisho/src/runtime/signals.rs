//! SIGHUP, SIGTERM and SIGINT as bytes on a pipe that the control loop polls.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// What the operator asked for since the last look.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Requests {
    /// SIGHUP: read the configuration again.
    pub(super) reload: bool,
    /// SIGTERM or SIGINT: drain, detach, end.
    pub(super) stop: bool,
}

/// Registered handlers; the signals stay caught for the life of the process.
pub(super) struct Signals {
    reload: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    wake: UnixStream,
}

impl Signals {
    /// Catches the three signals.
    ///
    /// # Errors
    /// When the operating system refuses the pipe or a handler.
    pub(super) fn catch() -> io::Result<Self> {
        let (wake, write) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        let reload = Arc::new(AtomicBool::new(false));
        let stop = Arc::new(AtomicBool::new(false));
        for (signal, flag) in [(SIGHUP, &reload), (SIGTERM, &stop), (SIGINT, &stop)] {
            signal_hook::flag::register(signal, Arc::clone(flag))?;
            signal_hook::low_level::pipe::register(signal, write.try_clone()?)?;
        }
        Ok(Self { reload, stop, wake })
    }

    /// Readable once a signal has come.
    #[must_use]
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Takes what has come since the last call.
    pub(super) fn take(&mut self) -> Requests {
        let mut sink = [0; 64];
        while matches!(self.wake.read(&mut sink), Ok(n) if n > 0) {}
        Requests {
            reload: self.reload.swap(false, Ordering::Relaxed),
            stop: self.stop.swap(false, Ordering::Relaxed),
        }
    }
}
