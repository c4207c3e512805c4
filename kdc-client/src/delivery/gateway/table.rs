//! The gateway's table of deliveries: entries, their stages, alarms, and EARLY that came first.
//!
//! Owns bounds and indices. Does not own what a message means.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use zeroize::Zeroizing;

use super::super::{SECOND, SessionRef};
use crate::keys::AuthKey;
use crate::message::Claim;
use crate::refuse::RefuseCode;

/// How many sessions of one `R` are looked at. Honest clients have one; an attacker who copies
/// an `R` shall not buy a search with it.
const SAME_REQUEST: usize = 4;
/// How long an EARLY waits for its SYN: beyond it the client has sent others (M4.19).
const PARK: u64 = 5 * SECOND;

/// One delivery.
pub(super) struct Entry {
    pub(super) request_id: u64,
    pub(super) option: [u8; 13],
    /// First of SYN and EARLY.
    pub(super) started: u64,
    pub(super) stage: Stage,
    /// KDC exchanges begun.
    pub(super) exchanges: u8,
    /// The last reason why the delivery did not go on.
    pub(super) code: Option<RefuseCode>,
    /// When the last cookie given is dead; 0 = none given.
    pub(super) cookie_dead: u64,
    alarm: u64,
}

/// How far a delivery is.
pub(super) enum Stage {
    /// SYN seen; INVITE answers EARLY.
    Waiting,
    /// The KDC is asked.
    Asked(Box<Asked>),
    /// The KDC refused, or did not answer; another IDENTIFY may try again.
    Refused(Box<Asked>),
    /// Keys installed, DELIVER sent.
    Keyed(Box<Keyed>),
    /// The client proved that it holds the keys.
    Synced(Box<Done>),
    /// Over; kept while a cookie lives, so that a replay begins nothing (M4.21).
    Ended(RefuseCode),
}

/// An IDENTIFY that is with the KDC.
pub(super) struct Asked {
    pub(super) identify: Vec<u8>,
    pub(super) answered: [u8; 32],
    pub(super) claim: Claim,
    pub(super) gateway_nonce: [u8; 32],
    pub(super) request: Vec<u8>,
    pub(super) request_hash: [u8; 32],
    pub(super) exchange: u64,
    pub(super) asked_at: u64,
    pub(super) path: Path,
    /// Refused for a reason that asking again may mend, or by who did not prove to be the KDC.
    pub(super) may_retry: bool,
}

/// Where answers go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Path {
    /// The server's address and the port of key delivery.
    pub(super) ours: SocketAddr,
    /// The client, as seen here.
    pub(super) theirs: SocketAddr,
}

/// What is kept once keys are installed.
pub(super) struct Keyed {
    pub(super) answered: [u8; 32],
    pub(super) deliver: Vec<u8>,
    pub(super) control: AuthKey,
    pub(super) path: Path,
    pub(super) done: Box<Done>,
}

/// What a SYNC is compared with and answered by.
pub(super) struct Done {
    pub(super) confirm_c: Zeroizing<[u8; 32]>,
    pub(super) synced: Vec<u8>,
}

/// An EARLY without SYN.
#[derive(Clone, Copy)]
pub(super) struct Parked {
    pub(super) path: Path,
    pub(super) length: usize,
    pub(super) at: u64,
}

/// All deliveries.
pub(super) struct Table {
    entries: BTreeMap<SessionRef, Entry>,
    by_request: BTreeSet<(u64, SessionRef)>,
    alarms: BTreeSet<(u64, SessionRef)>,
    /// Deliveries in stage `Waiting`, oldest first: what gives way when the table is full.
    waiting: BTreeSet<(u64, SessionRef)>,
    capacity: usize,
    parked: BTreeMap<u64, Parked>,
    parked_order: VecDeque<(u64, u64)>,
    parked_capacity: usize,
}

impl Table {
    pub(super) fn new(capacity: usize, parked_capacity: usize) -> Table {
        Table {
            entries: BTreeMap::new(),
            by_request: BTreeSet::new(),
            alarms: BTreeSet::new(),
            waiting: BTreeSet::new(),
            capacity,
            parked: BTreeMap::new(),
            parked_order: VecDeque::new(),
            parked_capacity,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get(&self, session: &SessionRef) -> Option<&Entry> {
        self.entries.get(session)
    }

    pub(super) fn get_mut(&mut self, session: &SessionRef) -> Option<&mut Entry> {
        self.entries.get_mut(session)
    }

    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= self.capacity
    }

    /// Takes out the oldest delivery that has proved nothing yet.
    pub(super) fn evict(&mut self) -> Option<(SessionRef, Entry)> {
        let (_, session) = *self.waiting.first()?;
        self.remove(&session).map(|entry| (session, entry))
    }

    /// Adds a delivery in stage `Waiting`; the caller has made room.
    pub(super) fn insert(
        &mut self,
        session: SessionRef,
        request_id: u64,
        option: [u8; 13],
        (started, alarm): (u64, u64),
    ) {
        let entry = Entry {
            request_id,
            option,
            started,
            stage: Stage::Waiting,
            exchanges: 0,
            code: None,
            cookie_dead: 0,
            alarm,
        };
        self.by_request.insert((request_id, session));
        self.alarms.insert((alarm, session));
        self.waiting.insert((started, session));
        self.entries.insert(session, entry);
    }

    /// Puts a delivery into another stage and sets its alarm; gives the stage before.
    pub(super) fn advance(
        &mut self,
        session: &SessionRef,
        stage: Stage,
        alarm: u64,
    ) -> Option<Stage> {
        let entry = self.entries.get_mut(session)?;
        self.alarms.remove(&(entry.alarm, *session));
        self.alarms.insert((alarm, *session));
        entry.alarm = alarm;
        self.waiting.remove(&(entry.started, *session));
        Some(std::mem::replace(&mut entry.stage, stage))
    }

    pub(super) fn alarm(&self, session: &SessionRef) -> u64 {
        self.entries.get(session).map_or(0, |entry| entry.alarm)
    }

    pub(super) fn remove(&mut self, session: &SessionRef) -> Option<Entry> {
        let entry = self.entries.remove(session)?;
        self.by_request.remove(&(entry.request_id, *session));
        self.alarms.remove(&(entry.alarm, *session));
        self.waiting.remove(&(entry.started, *session));
        Some(entry)
    }

    pub(super) fn next_alarm(&self) -> Option<(u64, SessionRef)> {
        self.alarms.first().copied()
    }

    /// Sessions of this `R` to the address that a datagram was sent to; the one of the datagram's
    /// own source first (behind NAT the two may differ).
    pub(super) fn of_request(&self, request_id: u64, path: &Path) -> Vec<SessionRef> {
        let mut found: Vec<SessionRef> = self
            .by_request
            .range((request_id, LEAST)..)
            .take_while(|(r, _)| *r == request_id)
            .map(|(_, session)| *session)
            .filter(|session| session.server.ip() == path.ours.ip())
            .take(SAME_REQUEST)
            .collect();
        found.sort_by_key(|session| session.client.ip() != path.theirs.ip());
        found
    }

    /// Keeps an EARLY until its SYN comes; the first of an `R` stands, the oldest of all gives way.
    pub(super) fn park(&mut self, request_id: u64, parked: Parked) {
        self.expire_parked(parked.at);
        if self.parked_capacity == 0 || self.parked.contains_key(&request_id) {
            return;
        }
        if self.parked_order.len() >= self.parked_capacity
            && let Some(oldest) = self.parked_order.pop_front()
        {
            self.forget_parked(oldest);
        }
        self.parked_order.push_back((parked.at, request_id));
        self.parked.insert(request_id, parked);
    }

    /// Takes the EARLY of a SYN, if one waits for this server.
    pub(super) fn unpark(
        &mut self,
        request_id: u64,
        session: &SessionRef,
        now: u64,
    ) -> Option<Parked> {
        self.expire_parked(now);
        let parked = self.parked.get(&request_id)?;
        if parked.path.ours.ip() != session.server.ip() {
            return None;
        }
        // Its place in the order stays behind and is skipped when it comes to the front.
        self.parked.remove(&request_id)
    }

    fn expire_parked(&mut self, now: u64) {
        while let Some(oldest) = self.parked_order.front().copied() {
            if now.saturating_sub(oldest.0) < PARK {
                break;
            }
            self.parked_order.pop_front();
            self.forget_parked(oldest);
        }
    }

    fn forget_parked(&mut self, (at, request_id): (u64, u64)) {
        if self.parked.get(&request_id).is_some_and(|parked| parked.at == at) {
            self.parked.remove(&request_id);
        }
    }
}

/// Sorts before every session.
const LEAST: SessionRef = {
    let zero = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);
    SessionRef { client: zero, server: zero, client_isn: 0 }
};
