//! Answers of the last seconds, by the hash of their request.
//!
//! A gateway repeats its KEY-REQUEST octet for octet when a datagram is lost; the same reply to it
//! keeps `Ccl` and `Cgw` of one session key together (design section 5). Bounded in time and number.

use std::collections::{HashMap, VecDeque};

/// How long an answer is kept, ns.
pub(super) const LIFETIME: u64 = 5_000_000_000;

pub(super) struct AnswerCache {
    capacity: usize,
    answers: HashMap<[u8; 32], Vec<u8>>,
    /// In the order of arrival, so of expiry.
    expiry: VecDeque<(u64, [u8; 32])>,
}

impl AnswerCache {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, answers: HashMap::new(), expiry: VecDeque::new() }
    }

    pub(super) fn get(&mut self, request: &[u8; 32], now: u64) -> Option<&Vec<u8>> {
        while self.expiry.front().is_some_and(|(until, _)| *until <= now) {
            self.drop_oldest();
        }
        self.answers.get(request)
    }

    /// Keeps an answer; when full, the oldest goes.
    pub(super) fn put(&mut self, request: [u8; 32], answer: Vec<u8>, now: u64) {
        if self.capacity == 0 {
            return;
        }
        while self.answers.len() >= self.capacity {
            self.drop_oldest();
        }
        if self.answers.insert(request, answer).is_none() {
            self.expiry.push_back((now.saturating_add(LIFETIME), request));
        }
    }

    pub(super) fn clear(&mut self) {
        self.answers.clear();
        self.expiry.clear();
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.answers.len()
    }

    fn drop_oldest(&mut self) {
        if let Some((_, request)) = self.expiry.pop_front() {
            self.answers.remove(&request);
        }
    }
}
