//! Commands on their way to workers whose rings are full. Owns order and bounds; the rings are the
//! workers'.

use std::collections::VecDeque;

use sekisho_dataplane::Command;

/// Commands kept for a worker from which on its datagrams are dropped: whoever waits for one
/// repeats his message. A flood of such messages must not fill the memory.
const DATAGRAMS_UP_TO: usize = 4096;
/// Commands kept for a worker; beyond it the worker is held for dead. Without datagrams there are
/// a few for each session, and far fewer sessions open at a time.
const MOST: usize = 1 << 17;

/// What waits, by worker.
pub(super) struct Backlog {
    queues: Vec<VecDeque<Command>>,
}

impl Backlog {
    pub(super) fn new(workers: usize) -> Self {
        Self { queues: (0..workers).map(|_| VecDeque::new()).collect() }
    }

    /// Queues a command behind those of the same worker.
    pub(super) fn push(&mut self, worker: u16, command: Command) {
        let Some(queue) = self.queues.get_mut(usize::from(worker)) else { return };
        if queue.len() >= DATAGRAMS_UP_TO && matches!(command, Command::Transmit { .. }) {
            return;
        }
        queue.push_back(command);
    }

    /// Queues a command for every worker.
    pub(super) fn push_to_all(&mut self, command: impl Fn() -> Command) {
        self.queues.iter_mut().for_each(|queue| queue.push_back(command()));
    }

    /// Gives each worker its commands in order; what `send` gives back stays at the front.
    ///
    /// # Errors
    /// The first worker that has not taken any for too long.
    pub(super) fn hand_over(
        &mut self,
        mut send: impl FnMut(usize, Command) -> Option<Command>,
    ) -> Result<(), u16> {
        for (worker, queue) in self.queues.iter_mut().enumerate() {
            while let Some(command) = queue.pop_front() {
                if let Some(command) = send(worker, command) {
                    queue.push_front(command);
                    break;
                }
            }
            if queue.len() > MOST {
                return Err(u16::try_from(worker).unwrap_or(u16::MAX));
            }
        }
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queues.iter().all(VecDeque::is_empty)
    }
}

#[cfg(test)]
mod tests {
    use sekisho_dataplane::FrameBuf;
    use sekisho_port::PortSide;

    use super::*;

    fn datagram() -> Command {
        let frame = FrameBuf::from_slice(&[0; 60]).unwrap();
        Command::Transmit { side: PortSide::Cipher, frame }
    }

    #[test]
    fn order_is_kept_and_what_is_refused_stays_in_front() {
        let mut backlog = Backlog::new(2);
        backlog.push(0, Command::Drain);
        backlog.push(0, datagram());
        backlog.push(7, Command::Drain);
        let mut sent = Vec::new();
        let refuse = |_, command| Some(command);
        backlog.hand_over(refuse).unwrap();
        assert!(!backlog.is_empty());
        backlog
            .hand_over(|worker, command| {
                sent.push((worker, format!("{command:?}")));
                None
            })
            .unwrap();
        assert!(backlog.is_empty());
        assert_eq!((sent.len(), &sent[0]), (2, &(0, "Drain".to_owned())));
    }

    #[test]
    fn a_flood_of_datagrams_is_bounded_and_ends_no_gateway() {
        let mut backlog = Backlog::new(1);
        for _ in 0..3 * DATAGRAMS_UP_TO {
            backlog.push(0, datagram());
        }
        backlog.push(0, Command::Drain);
        assert_eq!(backlog.queues[0].len(), DATAGRAMS_UP_TO + 1);
        assert_eq!(backlog.hand_over(|_, command| Some(command)), Ok(()));
        for _ in 0..=MOST {
            backlog.push(0, Command::Drain);
        }
        assert_eq!(backlog.hand_over(|_, command| Some(command)), Err(0));
    }
}
