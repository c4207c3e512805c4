//! One sleep over all sockets of a worker and its doorbell. It owns no ring and reads no packet.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

#[derive(Debug)]
struct Bell {
    event: OwnedFd,
    asleep: AtomicBool,
}

/// Wakes a worker that sleeps in [`Waiter::wait`]. Clones ring the same bell.
#[derive(Clone, Debug)]
pub struct Doorbell {
    bell: Arc<Bell>,
}

impl Doorbell {
    /// Wakes the worker if it sleeps; costs a system call only then. To be called after the
    /// work was put where the worker's `has_work` finds it.
    #[inline]
    pub fn ring(&self) {
        // Pairs with the fence in `wait`: either the sleeper sees the work, or this sees it asleep.
        fence(Ordering::SeqCst);
        if self.bell.asleep.load(Ordering::Relaxed) {
            // The only failure is a counter that is full, which is a bell rung already.
            let _ = rustix::io::write(&self.bell.event, &1_u64.to_ne_bytes());
        }
    }
}

/// Why [`Waiter::wait`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// A socket has frames (or an error, which the next receive or flush meets).
    Frames,
    /// The doorbell rang, or there was work already.
    Doorbell,
    /// Nothing happened within the time given.
    Timeout,
}

/// The one place where a worker sleeps.
#[derive(Debug)]
pub struct Waiter {
    doorbell: Doorbell,
    sockets: Vec<OwnedFd>,
}

impl Waiter {
    /// A waiter without sockets, for rings in memory: only its doorbell wakes it.
    ///
    /// # Errors
    /// The process has no file descriptor left.
    pub fn new() -> io::Result<Self> {
        Self::over(Vec::new())
    }

    /// A waiter over `sockets`, which are duplicates of the worker's own descriptors.
    pub(crate) fn over(sockets: Vec<OwnedFd>) -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let bell = Arc::new(Bell { event, asleep: AtomicBool::new(false) });
        Ok(Self { doorbell: Doorbell { bell }, sockets })
    }

    /// The bell that wakes this waiter.
    #[must_use]
    pub fn doorbell(&self) -> Doorbell {
        self.doorbell.clone()
    }

    /// Sleeps until a socket has frames, the doorbell rings or `timeout` has passed.
    ///
    /// `has_work` looks at the worker's queues once more after the bell has been armed: work put
    /// there earlier would ring no bell.
    pub fn wait(&mut self, timeout: Duration, has_work: impl FnOnce() -> bool) -> Wake {
        let bell = PollFd::from_borrowed_fd(self.doorbell.bell.event.as_fd(), PollFlags::IN);
        let mut fds: [PollFd<'_>; MAX_SOCKETS + 1] = std::array::from_fn(|_| bell.clone());
        let watched = self.sockets.len().min(MAX_SOCKETS);
        for (slot, socket) in fds[1..].iter_mut().zip(&self.sockets) {
            *slot = PollFd::new(socket, PollFlags::IN);
        }
        self.doorbell.bell.armed(has_work, || sleep(&mut fds[..=watched], timeout))
    }

    /// As [`Self::wait`], over other descriptors as well; for control threads, it allocates.
    pub fn wait_with(
        &mut self,
        others: &[(BorrowedFd<'_>, PollFlags)],
        timeout: Duration,
        has_work: impl FnOnce() -> bool,
    ) -> Wake {
        let bell = PollFd::from_borrowed_fd(self.doorbell.bell.event.as_fd(), PollFlags::IN);
        let sockets = self.sockets.iter().map(|socket| PollFd::new(socket, PollFlags::IN));
        let others = others.iter().map(|(fd, flags)| PollFd::from_borrowed_fd(*fd, *flags));
        let mut fds: Vec<_> = std::iter::once(bell).chain(sockets).chain(others).collect();
        self.doorbell.bell.armed(has_work, || sleep(&mut fds, timeout))
    }
}

impl Bell {
    /// Runs `sleep` with the bell armed, unless there is work already.
    fn armed(&self, has_work: impl FnOnce() -> bool, sleep: impl FnOnce() -> Wake) -> Wake {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let wake = if has_work() { Wake::Doorbell } else { sleep() };
        self.asleep.store(false, Ordering::Relaxed);
        wake
    }
}

/// Ports a waiter can watch without allocating: two sides, and room for a second queue each.
const MAX_SOCKETS: usize = 4;

/// Polls `fds`, of which the first is the doorbell.
fn sleep(fds: &mut [PollFd<'_>], timeout: Duration) -> Wake {
    let timeout = Timespec {
        tv_sec: timeout.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    };
    match poll(fds, Some(&timeout)) {
        Ok(0) | Err(Errno::INTR) => return Wake::Timeout,
        Ok(_) => {}
        // Out of kernel memory: the caller's loop goes on as if time had passed.
        Err(_) => return Wake::Timeout,
    }
    match fds.first() {
        Some(bell) if !bell.revents().is_empty() => {
            // Empties the counter; that it is empty already is no failure.
            let _ = rustix::io::read(bell, &mut [0_u8; 8]);
            Wake::Doorbell
        }
        _ => Wake::Frames,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::time::Instant;

    #[test]
    fn time_passes() {
        let mut waiter = Waiter::new().unwrap();
        let started = Instant::now();
        assert_eq!(waiter.wait(Duration::from_millis(20), || false), Wake::Timeout);
        assert!(started.elapsed() >= Duration::from_millis(20));
    }

    #[test]
    fn work_found_after_arming_prevents_the_sleep() {
        let mut waiter = Waiter::new().unwrap();
        assert_eq!(waiter.wait(Duration::from_secs(60), || true), Wake::Doorbell);
    }

    #[test]
    fn a_bell_rung_while_awake_costs_nothing_and_is_not_kept() {
        let mut waiter = Waiter::new().unwrap();
        waiter.doorbell().ring();
        assert_eq!(waiter.wait(Duration::from_millis(5), || false), Wake::Timeout);
    }

    #[test]
    fn no_wake_up_is_lost_over_many_hand_overs() {
        const ROUNDS: usize = 20_000;
        let mut waiter = Waiter::new().unwrap();
        let bell = waiter.doorbell();
        let sent = Arc::new(AtomicUsize::new(0));
        let seen = Arc::new(AtomicUsize::new(0));
        let producer = {
            let (sent, seen) = (sent.clone(), seen.clone());
            std::thread::spawn(move || {
                for round in 1..=ROUNDS {
                    sent.store(round, Ordering::Release);
                    bell.ring();
                    while seen.load(Ordering::Acquire) < round {
                        std::hint::spin_loop();
                        std::thread::yield_now();
                    }
                }
            })
        };
        let mut last = 0;
        while last < ROUNDS {
            let wake = waiter.wait(Duration::from_secs(10), || sent.load(Ordering::Acquire) > last);
            assert_ne!(wake, Wake::Timeout, "lost after {last}");
            last = sent.load(Ordering::Acquire);
            seen.store(last, Ordering::Release);
        }
        producer.join().unwrap();
    }
}
