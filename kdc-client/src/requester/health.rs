//! What we believe about each KDC: alive or silent, and when a silent one is tried again.
//!
//! Owns the order of preference and the back-off; knows nothing of messages.

/// Attempts in a row without any answer after which a KDC counts as dead.
const STRIKES: u8 = 2;

/// One KDC as its requester sees it.
#[derive(Debug, Clone, Copy, Default)]
struct Peer {
    strikes: u8,
    last_heard: Option<u64>,
    /// Set while dead: the next probe may leave at this time (ns).
    retry_at: Option<u64>,
    backoff: u64,
    sent: u64,
}

/// The KDCs in the order of the configuration, the first being preferred.
#[derive(Debug)]
pub(super) struct Health {
    peers: Vec<Peer>,
    first_backoff: u64,
    max_backoff: u64,
}

impl Health {
    pub(super) fn new(servers: usize, first_backoff: u64, max_backoff: u64) -> Self {
        Self { peers: vec![Peer::default(); servers], first_backoff, max_backoff }
    }

    pub(super) fn is_dead(&self, kdc: usize) -> bool {
        self.peers.get(kdc).is_some_and(|p| p.retry_at.is_some())
    }

    /// The KDC to ask next: the first living one after `last` in cyclic order, else simply the
    /// next one, since asking a dead KDC beats asking none.
    pub(super) fn next_after(&self, last: Option<usize>) -> usize {
        let n = self.peers.len();
        let start = last.map_or(0, |l| l + 1);
        (0..n).map(|i| (start + i) % n).find(|&k| !self.is_dead(k)).unwrap_or(start % n)
    }

    /// A dead KDC whose back-off has passed, if there is one. It is due again only after a doubled
    /// back-off, so one exchange probes and the others do not pay for it.
    pub(super) fn take_probe(&mut self, now: u64) -> Option<usize> {
        let max = self.max_backoff;
        let due = |p: &Peer| p.retry_at.is_some_and(|at| now >= at);
        let k = self.peers.iter().position(due)?;
        let p = &mut self.peers[k];
        p.backoff = p.backoff.saturating_mul(2).min(max);
        p.retry_at = Some(now.saturating_add(p.backoff));
        Some(k)
    }

    /// A message leaves for `kdc`.
    pub(super) fn sent(&mut self, kdc: usize) {
        if let Some(p) = self.peers.get_mut(kdc) {
            p.sent += 1;
        }
    }

    /// Messages sent, and whether the latest news was an answer.
    pub(super) fn summary(&self, kdc: usize) -> (u64, Option<bool>) {
        let Some(p) = self.peers.get(kdc) else { return (0, None) };
        let answering = match (p.strikes > 0 || p.retry_at.is_some(), p.last_heard) {
            (true, _) => Some(false),
            (false, Some(_)) => Some(true),
            (false, None) => None,
        };
        (p.sent, answering)
    }

    /// A valid answer came from `kdc`.
    pub(super) fn heard(&mut self, kdc: usize, now: u64) {
        if let Some(p) = self.peers.get_mut(kdc) {
            *p = Peer { last_heard: Some(now), sent: p.sent, ..Peer::default() };
        }
    }

    /// Whether anything valid came from `kdc` at or after `since`.
    pub(super) fn heard_since(&self, kdc: usize, since: u64) -> bool {
        self.peers.get(kdc).is_some_and(|p| p.last_heard.is_some_and(|t| t >= since))
    }

    /// An attempt sent at `sent` ran out of time. Silence counts only if the KDC answered nobody
    /// meanwhile: one lost datagram among many answered ones says nothing about it.
    pub(super) fn timed_out(&mut self, kdc: usize, sent: u64, now: u64) {
        if self.heard_since(kdc, sent) {
            return;
        }
        let strikes = match self.peers.get_mut(kdc) {
            Some(p) => {
                p.strikes = p.strikes.saturating_add(1);
                p.strikes
            }
            None => return,
        };
        if strikes >= STRIKES {
            self.unreachable(kdc, now);
        }
    }

    /// The caller knows that `kdc` cannot be reached.
    pub(super) fn unreachable(&mut self, kdc: usize, now: u64) {
        let first = self.first_backoff;
        if let Some(p) = self.peers.get_mut(kdc)
            && p.retry_at.is_none()
        {
            p.backoff = first;
            p.retry_at = Some(now.saturating_add(first));
        }
    }
}
