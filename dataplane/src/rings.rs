//! The two rings between a worker and the control thread. Owns their ends and the bells; does not
//! know what the messages mean.

use std::sync::Arc;

use crossbeam::queue::ArrayQueue;
use sekisho_port::Doorbell;

use crate::command::Command;
use crate::event::Event;

/// The worker's end.
pub struct WorkerEnd {
    events: Arc<ArrayQueue<Event>>,
    commands: Arc<ArrayQueue<Command>>,
    control_bell: Option<Doorbell>,
    pushed: bool,
}

/// Control's end.
pub struct ControlEnd {
    events: Arc<ArrayQueue<Event>>,
    commands: Arc<ArrayQueue<Command>>,
    worker_bell: Option<Doorbell>,
}

/// A pair of rings with room for `capacity` messages each. The bells wake the far end, where it
/// sleeps at all.
#[must_use]
pub fn rings(
    capacity: usize,
    control_bell: Option<Doorbell>,
    worker_bell: Option<Doorbell>,
) -> (WorkerEnd, ControlEnd) {
    let events = Arc::new(ArrayQueue::new(capacity.max(1)));
    let commands = Arc::new(ArrayQueue::new(capacity.max(1)));
    let worker = WorkerEnd {
        events: events.clone(),
        commands: commands.clone(),
        control_bell,
        pushed: false,
    };
    (worker, ControlEnd { events, commands, worker_bell })
}

impl WorkerEnd {
    /// Room for one more event? Only this end pushes, so a yes stays true.
    pub(crate) fn has_room(&self) -> bool {
        !self.events.is_full()
    }

    /// Room for an event that anybody can cause at will? A quarter of the ring is kept for those
    /// that belong to sessions.
    pub(crate) fn has_room_to_spare(&self) -> bool {
        let capacity = self.events.capacity();
        self.events.len() < capacity - capacity / 4
    }

    /// False, and the event is gone, if the ring is full.
    pub(crate) fn push(&mut self, event: Event) -> bool {
        self.pushed = true;
        self.events.push(event).is_ok()
    }

    pub(crate) fn next_command(&self) -> Option<Command> {
        self.commands.pop()
    }

    pub(crate) fn has_commands(&self) -> bool {
        !self.commands.is_empty()
    }

    /// Wakes control if anything was pushed since the last call: once per turn, not per event.
    pub(crate) fn ring_if_pushed(&mut self) {
        if std::mem::take(&mut self.pushed)
            && let Some(bell) = &self.control_bell
        {
            bell.ring();
        }
    }
}

impl ControlEnd {
    /// The oldest event, if any.
    pub fn poll_event(&self) -> Option<Event> {
        self.events.pop()
    }

    /// Whether events wait.
    #[must_use]
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Hands a command over and wakes the worker.
    ///
    /// # Errors
    /// The command itself, where the ring is full: to be tried again later, in order.
    #[allow(clippy::result_large_err)] // The command goes back as it came, frame and all.
    pub fn send(&self, command: Command) -> Result<(), Command> {
        self.commands.push(command)?;
        if let Some(bell) = &self.worker_bell {
            bell.ring();
        }
        Ok(())
    }
}
