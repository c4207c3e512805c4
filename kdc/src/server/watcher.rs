//! The thread that looks at the registry's file and hands new views to the server.
//!
//! Owns the thread: it ends when this is dropped. A slow disk or a large registry so never delays
//! an answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, park_timeout};
use std::time::{Duration, Instant};

use super::handle::ServerHandle;
use crate::registry::RegistryWatch;

/// How often a failure to read the registry is logged while it lasts.
const COMPLAIN: Duration = Duration::from_secs(10);

pub(super) struct Watcher {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    pub(super) fn spawn(
        number: u64,
        watch: RegistryWatch,
        server: ServerHandle,
    ) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("kdc-registry".into())
            .spawn(move || run(number, watch, &server, &stopped))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic of the thread has been reported by itself.
            let _ = thread.join();
        }
    }
}

fn run(number: u64, mut watch: RegistryWatch, server: &ServerHandle, stop: &AtomicBool) {
    let mut complained: Option<Instant> = None;
    loop {
        park_timeout(RegistryWatch::INTERVAL);
        if stop.load(Ordering::Acquire) {
            return;
        }
        match watch.poll() {
            Ok(Some(view)) => server.view(number, view),
            Ok(None) => complained = None,
            Err(error) if complained.is_none_or(|t| t.elapsed() >= COMPLAIN) => {
                tracing::error!(%error, "cannot read the registry; the last state stays in force");
                complained = Some(Instant::now());
            }
            Err(_) => {}
        }
    }
}
