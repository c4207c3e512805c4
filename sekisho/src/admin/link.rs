//! Questions from the admin and metrics threads to the control loop, and answers back.
//!
//! The control loop is asked only when somebody looks, so looking costs nothing while nobody does, and what is
//! shown is never old. It answers between two rounds; who asked waits for a bounded time.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::Duration;

use super::{StatusSource, Unanswered};
use crate::status::{SessionList, StatusSnapshot};

/// How long one question waits: far longer than a healthy loop takes, shorter than people and scrapers wait.
const PATIENCE: Duration = Duration::from_secs(2);

/// A question to the control loop.
pub enum Ask {
    /// The status.
    Status(Reply<StatusSnapshot>),
    /// Some sessions.
    Sessions {
        /// At most so many.
        limit: usize,
        /// Where they go.
        reply: Reply<SessionList>,
    },
}

/// Where one answer goes. It may be kept until the workers have reported; dropping it is an answer as well.
pub struct Reply<T>(SyncSender<T>);

impl<T> Reply<T> {
    /// Answers. Whoever asked may have gone meanwhile: then the answer is dropped.
    pub fn send(self, answer: T) {
        // One place per question and one answer: it never waits.
        let _ = self.0.try_send(answer);
    }
}

/// The askers' end; clones ask the same loop.
#[derive(Clone)]
pub struct StatusLink {
    asks: Sender<Ask>,
    wake: Arc<dyn Fn() + Send + Sync>,
    patience: Duration,
}

/// The control loop's end.
pub struct StatusInbox {
    asks: Receiver<Ask>,
}

/// Both ends. `wake` is called after each question, to end the control loop's sleep.
pub fn link(wake: impl Fn() + Send + Sync + 'static) -> (StatusLink, StatusInbox) {
    let (sender, receiver) = channel();
    (
        StatusLink { asks: sender, wake: Arc::new(wake), patience: PATIENCE },
        StatusInbox { asks: receiver },
    )
}

impl StatusInbox {
    /// The next question, if one is waiting.
    pub fn next(&self) -> Option<Ask> {
        self.asks.try_recv().ok()
    }
}

impl StatusLink {
    /// The same link with another patience.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    fn ask<T>(&self, ask: impl FnOnce(Reply<T>) -> Ask) -> Result<T, Unanswered> {
        let (sender, receiver) = sync_channel(1);
        self.asks.send(ask(Reply(sender))).map_err(|_| Unanswered)?;
        (self.wake)();
        receiver.recv_timeout(self.patience).map_err(|_| Unanswered)
    }
}

impl StatusSource for StatusLink {
    fn status(&self) -> Result<StatusSnapshot, Unanswered> {
        self.ask(Ask::Status)
    }

    fn sessions(&self, limit: usize) -> Result<SessionList, Unanswered> {
        self.ask(|reply| Ask::Sessions { limit, reply })
    }
}
