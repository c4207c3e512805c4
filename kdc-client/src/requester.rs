//! Requests to the KDCs: time-outs, retries, fail-over, hedging; sans-I/O.
//!
//! Owns the exchanges in flight and what is believed about each KDC. Opens no socket and reads no
//! clock: the caller sends what [`Requester::poll`] hands out, hands in what arrives, and names the
//! time in nanoseconds of any monotonic clock.
//!
//! An exchange is one KEY-REQUEST, sent byte for byte the same to one KDC after another until the
//! first valid answer, matched by SHA-256(KEY-REQUEST) (design section 5). A KDC that stays silent
//! is set aside, probed again after a back-off beside a living one, and taken back when it answers.
//!
//! TCP: on [`RequesterOutput::SendTcp`] the caller connects to that KDC if it has no connection,
//! then writes; it reports a connection that ended or never came up. Idle connections may be kept.

mod health;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use crate::MAX_MESSAGE;
use crate::keys::RoleKeys;
use crate::message::{KdcAnswer, frame_tcp, sha256, verify_answer};
use crate::refuse::{KdcFailure, RefuseCode};
use health::Health;
pub use stream::{BadFrame, FrameReader};

const MS: u64 = 1_000_000;

/// How KEY-REQUESTs travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KdcTransport {
    /// One datagram each way.
    Udp,
    /// Frames of `u16` length and message on a connection per KDC.
    Tcp,
}

/// Limits of a [`Requester`]; times in nanoseconds.
#[derive(Debug, Clone)]
pub struct RequesterConfig {
    /// Number of KDCs, named 0, 1, … in order of preference. At least 1.
    pub servers: usize,
    /// UDP or TCP.
    pub transport: KdcTransport,
    /// Time an exchange may take in all.
    pub deadline: u64,
    /// Time the first attempt has; each further attempt has twice the one before.
    pub first_timeout: u64,
    /// Longest time an attempt has.
    pub max_timeout: u64,
    /// If set, a second KDC is asked as well when the first has not answered for so long.
    pub hedge: Option<u64>,
    /// Time a KDC found dead is left alone; doubled at each probe that stays unanswered.
    pub first_backoff: u64,
    /// Longest such time.
    pub max_backoff: u64,
    /// Exchanges in flight at most; further ones fail at once, [`KdcFailure::Overloaded`].
    pub max_exchanges: usize,
}

impl RequesterConfig {
    /// The defaults for `servers` KDCs: 1 s in all; UDP 150 ms doubling, TCP 400 ms (TCP repeats
    /// lost segments itself, so a second attempt there means another KDC or a dead connection).
    #[must_use]
    pub fn new(servers: usize, transport: KdcTransport) -> Self {
        let first_timeout = match transport {
            KdcTransport::Udp => 150 * MS,
            KdcTransport::Tcp => 400 * MS,
        };
        Self {
            servers,
            transport,
            deadline: 1000 * MS,
            first_timeout,
            max_timeout: 2400 * MS,
            hedge: None,
            first_backoff: 1000 * MS,
            max_backoff: 30_000 * MS,
            max_exchanges: 4096,
        }
    }
}

/// What the caller is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequesterOutput {
    /// Send one datagram to a KDC.
    SendUdp {
        /// Which KDC.
        kdc: usize,
        /// The datagram.
        bytes: Vec<u8>,
    },
    /// Write to the connection to a KDC, after connecting if there is none.
    SendTcp {
        /// Which KDC.
        kdc: usize,
        /// The octets, framed.
        bytes: Vec<u8>,
    },
    /// Close the connection to a KDC; the next [`RequesterOutput::SendTcp`] opens another one.
    CloseTcp {
        /// Which KDC.
        kdc: usize,
    },
    /// An exchange has ended.
    Done {
        /// Its number, as given to [`Requester::start`].
        exchange: u64,
        /// The KDC whose answer decided, if one did.
        kdc: Option<usize>,
        /// Nanoseconds since its start.
        elapsed: u64,
        /// The verified KEY-REPLY, or why there is none.
        result: Result<Vec<u8>, KdcFailure>,
    },
}

/// Counts since the start; each answer that ends nothing is one of the middle three.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequesterCounters {
    /// Requests sent, repetitions included.
    pub sent: u64,
    /// Answers to no exchange in flight: late, repeated or foreign ones.
    pub unmatched: u64,
    /// Answers that do not parse or do not verify.
    pub invalid: u64,
    /// Refusals without MAC: remembered, never believed.
    pub hints: u64,
    /// Attempts that ran out of time.
    pub timeouts: u64,
}

/// An attempt that waits for its answer.
#[derive(Debug, Clone, Copy)]
struct Attempt {
    kdc: usize,
    sent: u64,
}

#[derive(Debug)]
struct Exchange {
    hash: [u8; 32],
    message: Vec<u8>,
    started: u64,
    /// When the present attempts have run out of time, or the hedge is due.
    next: u64,
    timeout: u64,
    hedge: Option<u64>,
    waiting: Vec<Attempt>,
    last: Option<usize>,
    /// KDCs whose loss or transient refusal has already moved this exchange on at once. A second
    /// time it waits for its timer, or a KDC that refuses connections would be asked in a loop.
    moved: u64,
    /// The last refusal that did not end the exchange.
    refusal: Option<RefuseCode>,
}

/// Most KDCs that one requester knows.
const MAX_SERVERS: usize = 64;

/// The exchanges of one gateway with its KDCs.
pub struct Requester {
    config: RequesterConfig,
    keys: RoleKeys,
    health: Health,
    exchanges: BTreeMap<u64, Exchange>,
    by_hash: HashMap<[u8; 32], u64>,
    timers: BTreeSet<(u64, u64)>,
    readers: Vec<FrameReader>,
    output: VecDeque<RequesterOutput>,
    counters: RequesterCounters,
}

impl Requester {
    /// A requester of the gateway that has `keys` (role gateway).
    ///
    /// The number of servers is taken as at least 1 and at most 64.
    #[must_use]
    pub fn new(mut config: RequesterConfig, keys: RoleKeys) -> Self {
        config.servers = config.servers.clamp(1, MAX_SERVERS);
        Self {
            health: Health::new(config.servers, config.first_backoff, config.max_backoff),
            readers: (0..config.servers).map(|_| FrameReader::default()).collect(),
            config,
            keys,
            exchanges: BTreeMap::new(),
            by_hash: HashMap::new(),
            timers: BTreeSet::new(),
            output: VecDeque::new(),
            counters: RequesterCounters::default(),
        }
    }

    /// Begins anew under the same keys, with other KDCs or another transport. Exchanges and outputs
    /// are forgotten without a [`RequesterOutput::Done`].
    pub fn reconfigure(&mut self, mut config: RequesterConfig) {
        config.servers = config.servers.clamp(1, MAX_SERVERS);
        self.health = Health::new(config.servers, config.first_backoff, config.max_backoff);
        self.readers = (0..config.servers).map(|_| FrameReader::default()).collect();
        self.config = config;
        self.exchanges.clear();
        self.by_hash.clear();
        self.timers.clear();
        self.output.clear();
        self.counters = RequesterCounters::default();
    }

    /// Begins an exchange: `message` is a KEY-REQUEST, `exchange` a number of the caller's choice
    /// that no exchange in flight has. It always ends in one [`RequesterOutput::Done`].
    pub fn start(&mut self, exchange: u64, message: &[u8], now: u64) {
        let hash = sha256(&[message]);
        let misuse = message.len() > MAX_MESSAGE
            || self.exchanges.contains_key(&exchange)
            || self.by_hash.contains_key(&hash);
        let failure = match (misuse, self.exchanges.len() >= self.config.max_exchanges) {
            (true, _) => Some(KdcFailure::Misuse),
            (false, true) => Some(KdcFailure::Overloaded),
            (false, false) => None,
        };
        if let Some(failure) = failure {
            let done =
                RequesterOutput::Done { exchange, kdc: None, elapsed: 0, result: Err(failure) };
            self.output.push_back(done);
            return;
        }
        let x = Exchange {
            hash,
            message: message.to_vec(),
            started: now,
            next: now,
            timeout: self.config.first_timeout,
            hedge: self.config.hedge.filter(|_| self.config.servers > 1),
            waiting: Vec::new(),
            last: None,
            moved: 0,
            refusal: None,
        };
        self.by_hash.insert(hash, exchange);
        self.exchanges.insert(exchange, x);
        if let Some(kdc) = self.health.take_probe(now) {
            self.send(exchange, kdc, now);
        }
        self.send_next(exchange, now);
        self.rearm(exchange, now);
    }

    /// Gives an exchange up without a result; a late answer is then unmatched.
    pub fn cancel(&mut self, exchange: u64) {
        self.remove(exchange);
    }

    /// A datagram came from a KDC.
    pub fn on_datagram(&mut self, kdc: usize, bytes: &[u8], now: u64) {
        self.on_answer(kdc, bytes, now);
    }

    /// Octets came on the connection to a KDC.
    pub fn on_stream_data(&mut self, kdc: usize, bytes: &[u8], now: u64) {
        let Some(reader) = self.readers.get_mut(kdc) else { return };
        let mut answers = Vec::new();
        let framed = reader.push(bytes, |message| answers.push(message.to_vec()));
        for answer in answers {
            self.on_answer(kdc, &answer, now);
        }
        if framed.is_err() {
            self.counters.invalid += 1;
            self.output.push_back(RequesterOutput::CloseTcp { kdc });
            self.on_stream_closed(kdc, now);
        }
    }

    /// The connection to a KDC has ended. What waited on it is sent elsewhere, or again.
    pub fn on_stream_closed(&mut self, kdc: usize, now: u64) {
        if let Some(reader) = self.readers.get_mut(kdc) {
            reader.clear();
        }
        let waits = |x: &Exchange| x.waiting.iter().find(|a| a.kdc == kdc).copied();
        let waiting: Vec<(u64, Attempt)> =
            self.exchanges.iter().filter_map(|(id, x)| Some((*id, waits(x)?))).collect();
        if let Some((_, attempt)) = waiting.first() {
            self.health.timed_out(kdc, attempt.sent, now);
        }
        for (exchange, _) in waiting {
            self.move_on(exchange, kdc, now);
        }
    }

    /// A KDC cannot be reached: its connection was refused or broke, or an ICMP error came. The end
    /// of a connection on which nothing waits says nothing about the KDC: it may be idle.
    pub fn on_unreachable(&mut self, kdc: usize, now: u64) {
        if self.exchanges.values().any(|x| x.waiting.iter().any(|a| a.kdc == kdc)) {
            self.health.unreachable(kdc, now);
        }
        self.on_stream_closed(kdc, now);
    }

    /// Time has come to [`Requester::next_deadline`].
    pub fn on_timer(&mut self, now: u64) {
        while let Some(&(at, exchange)) = self.timers.first() {
            if at > now {
                return;
            }
            self.timers.pop_first();
            self.expire(exchange, now);
        }
    }

    /// When [`Requester::on_timer`] is due, if it is.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<RequesterOutput> {
        self.output.pop_front()
    }

    /// Exchanges in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.exchanges.len()
    }

    /// Whether a KDC is held for dead at present.
    #[must_use]
    pub fn is_dead(&self, kdc: usize) -> bool {
        self.health.is_dead(kdc)
    }

    /// What is known of a KDC: messages sent to it, repetitions included, and whether the latest
    /// news of it was an answer (none before the first answer or failure).
    #[must_use]
    pub fn server(&self, kdc: usize) -> (u64, Option<bool>) {
        self.health.summary(kdc)
    }

    /// Counts since the start.
    #[must_use]
    pub fn counters(&self) -> RequesterCounters {
        self.counters
    }

    fn on_answer(&mut self, kdc: usize, bytes: &[u8], now: u64) {
        let hash = match KdcAnswer::decode(bytes) {
            Ok(answer) => *answer.request(),
            Err(_) => {
                self.counters.invalid += 1;
                return;
            }
        };
        let Some(&exchange) = self.by_hash.get(&hash) else {
            self.counters.unmatched += 1;
            return;
        };
        match verify_answer(bytes, &hash, &self.keys) {
            Err(_) => self.counters.invalid += 1,
            Ok(KdcAnswer::Reply(_)) => {
                self.health.heard(kdc, now);
                self.finish(exchange, Some(kdc), Ok(bytes.to_vec()), now);
            }
            Ok(KdcAnswer::Refusal { refusal, authentic }) => {
                self.on_refusal(exchange, kdc, refusal.code, authentic, now);
            }
        }
    }

    fn on_refusal(&mut self, exchange: u64, kdc: usize, code: RefuseCode, mac: bool, now: u64) {
        let Some(x) = self.exchanges.get_mut(&exchange) else { return };
        if !mac {
            // Anyone on the path can write one; whoever else is asked may still answer.
            x.refusal.get_or_insert(code);
            self.counters.hints += 1;
            return;
        }
        self.health.heard(kdc, now);
        if code.is_transient() {
            x.refusal = Some(code);
            self.move_on(exchange, kdc, now);
        } else {
            self.finish(exchange, Some(kdc), Err(KdcFailure::Refused(code)), now);
        }
    }

    /// Nothing more is to be expected from `kdc` for this exchange: asks the next one, once at once.
    fn move_on(&mut self, exchange: u64, kdc: usize, now: u64) {
        let Some(x) = self.exchanges.get_mut(&exchange) else { return };
        x.waiting.retain(|a| a.kdc != kdc);
        let bit = 1u64 << (kdc % MAX_SERVERS);
        if !x.waiting.is_empty() || x.moved & bit != 0 {
            return;
        }
        x.moved |= bit;
        self.send_next(exchange, now);
        self.rearm(exchange, now);
    }

    /// The timer of an exchange fired: it is over, a hedge is due, or the attempts timed out.
    fn expire(&mut self, exchange: u64, now: u64) {
        let Some(x) = self.exchanges.get_mut(&exchange) else { return };
        let over = now.saturating_sub(x.started) >= self.config.deadline;
        if !over && x.hedge.take().is_some() {
            self.send_next(exchange, now);
            self.rearm(exchange, now);
            return;
        }
        let timed_out = std::mem::take(&mut x.waiting);
        x.timeout = x.timeout.saturating_mul(2).min(self.config.max_timeout);
        self.counters.timeouts += timed_out.len() as u64;
        for attempt in timed_out {
            self.silent(attempt, now);
        }
        if over {
            let refusal = self.exchanges.get(&exchange).and_then(|x| x.refusal);
            let failure = refusal.map_or(KdcFailure::Unavailable, KdcFailure::Refused);
            self.finish(exchange, None, Err(failure), now);
        } else {
            self.send_next(exchange, now);
            self.rearm(exchange, now);
        }
    }

    /// An attempt ended without an answer. A connection on which nothing came meanwhile is given
    /// up, or a half-dead one would swallow every later request too.
    fn silent(&mut self, attempt: Attempt, now: u64) {
        self.health.timed_out(attempt.kdc, attempt.sent, now);
        let quiet = !self.health.heard_since(attempt.kdc, attempt.sent);
        if self.config.transport == KdcTransport::Tcp && quiet {
            self.output.push_back(RequesterOutput::CloseTcp { kdc: attempt.kdc });
            self.on_stream_closed(attempt.kdc, now);
        }
    }

    fn send_next(&mut self, exchange: u64, now: u64) {
        let last = self.exchanges.get(&exchange).and_then(|x| x.last);
        let kdc = self.health.next_after(last);
        self.send(exchange, kdc, now);
        if let Some(x) = self.exchanges.get_mut(&exchange) {
            x.last = Some(kdc);
        }
    }

    fn send(&mut self, exchange: u64, kdc: usize, now: u64) {
        let Some(x) = self.exchanges.get_mut(&exchange) else { return };
        x.waiting.push(Attempt { kdc, sent: now });
        self.counters.sent += 1;
        self.health.sent(kdc);
        self.output.push_back(match self.config.transport {
            KdcTransport::Udp => RequesterOutput::SendUdp { kdc, bytes: x.message.clone() },
            KdcTransport::Tcp => RequesterOutput::SendTcp { kdc, bytes: frame_tcp(&x.message) },
        });
    }

    /// Sets the timer of an exchange for the attempt that has just left.
    fn rearm(&mut self, exchange: u64, now: u64) {
        let Some(x) = self.exchanges.get_mut(&exchange) else { return };
        self.timers.remove(&(x.next, exchange));
        let wait = x.hedge.map_or(x.timeout, |hedge| hedge.min(x.timeout));
        let over = x.started.saturating_add(self.config.deadline);
        x.next = now.saturating_add(wait).min(over);
        self.timers.insert((x.next, exchange));
    }

    fn finish(
        &mut self,
        exchange: u64,
        kdc: Option<usize>,
        result: Result<Vec<u8>, KdcFailure>,
        now: u64,
    ) {
        let Some(x) = self.remove(exchange) else { return };
        let elapsed = now.saturating_sub(x.started);
        self.output.push_back(RequesterOutput::Done { exchange, kdc, elapsed, result });
    }

    fn remove(&mut self, exchange: u64) -> Option<Exchange> {
        let x = self.exchanges.remove(&exchange)?;
        self.by_hash.remove(&x.hash);
        self.timers.remove(&(x.next, exchange));
        Some(x)
    }
}
