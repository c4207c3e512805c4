//! The gateway's end of key delivery.
//!
//! Owns the pending deliveries, cookies and budgets; what each message does is
//! in `gateway/messages.rs`. Does not own the session table: it names
//! sessions, the caller installs keys.
//!
//! The client resends, the gateway answers: its only timers are deadlines.

mod messages;
mod table;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use rand_core::CryptoRng;

use self::table::{Entry, Path, Stage, Table};
use super::budget::Budgets;
use super::{Ignored, SECOND, SessionRef};
use crate::cookie::CookieKey;
use crate::identity::{DeviceId, Service};
use crate::keys::{DeviceKey, Role, RoleKeys};
use crate::message::{Body, Message, Refuse};
use crate::refuse::{KdcFailure, RefuseCode};
use crate::schedule::TrafficSecrets;

/// What a gateway's key delivery is made with.
pub struct GatewayDeliveryConfig {
    /// `IDgw`.
    pub id: DeviceId,
    /// The gateway's long-term key.
    pub key: DeviceKey,
    /// Its version.
    pub key_version: u32,
    /// Services known by name (destination NAT): the name that clients give, and the address and
    /// port of the SYN as seen here.
    pub names: Vec<(Service, SocketAddr)>,
    /// From SYN to KEY-REPLY, and again from KEY-REPLY to SYNC, in nanoseconds; at least 4 s.
    pub deadline: u64,
    /// Bounds.
    pub limits: GatewayLimits,
}

/// Bounds of tables and budgets.
#[derive(Clone, Copy, Debug)]
pub struct GatewayLimits {
    /// Deliveries under way, and for 10 s after their end: this many new sessions in 10 s.
    pub sessions: usize,
    /// EARLY that arrived before their SYN.
    pub parked: usize,
    /// Exchanges with the KDC under way.
    pub exchanges: usize,
    /// Exchanges for one session.
    pub exchanges_per_session: u8,
    /// KDC requests per source address (IPv6: per /64): burst and rate per second.
    pub source: (u32, u32),
    /// KDC requests in all: burst and rate per second.
    pub total: (u32, u32),
    /// Source addresses whose budget is kept.
    pub sources: usize,
}

/// What the gateway's key delivery wants done, in the order of [`GatewayDelivery::poll`].
pub enum GatewayOutput {
    /// Send a datagram.
    Send {
        /// The session it belongs to; `None` for a refusal without one.
        session: Option<SessionRef>,
        /// UDP source: the server's address.
        src: SocketAddr,
        /// UDP destination: the client.
        dst: SocketAddr,
        /// Payload.
        datagram: Vec<u8>,
    },
    /// Ask a KDC; the answer comes back by [`GatewayDelivery::on_kdc`].
    KeyRequest {
        /// Names the exchange.
        exchange: u64,
        /// The KEY-REQUEST.
        message: Vec<u8>,
    },
    /// The KDC vouches for the client: install the keys. Comes before the DELIVER.
    Install {
        /// The session.
        session: SessionRef,
        /// Its keys.
        secrets: TrafficSecrets,
        /// How long they may be used, in seconds.
        lifetime_seconds: u32,
    },
    /// The client proved that it holds the keys. Comes before the SYNCED.
    Synchronised {
        /// The session.
        session: SessionRef,
    },
    /// The delivery failed: abort the session.
    Failed {
        /// The session.
        session: SessionRef,
        /// Why.
        code: RefuseCode,
    },
    /// One per delivery, at its end; for metrics.
    Outcome {
        /// The session.
        session: SessionRef,
        /// Success, or why not.
        result: Result<(), RefuseCode>,
        /// Nanoseconds from the first of SYN and EARLY to SYNC, or to the failure.
        latency: u64,
    },
}

/// How long SYNCED answers a repeated SYNC after synchronisation.
const AFTER_SYNC: u64 = 10 * SECOND;
/// Alarms handled per call, so that a flood's worth of deadlines does not hold up the caller.
const ALARMS_PER_CALL: usize = 1_024;

/// The gateway's end of key delivery.
pub struct GatewayDelivery {
    id: DeviceId,
    keys: RoleKeys,
    key_version: u32,
    names: Vec<(Service, SocketAddr)>,
    deadline: u64,
    limits: GatewayLimits,
    rng: Box<dyn CryptoRng + Send>,
    cookies: CookieKey,
    budgets: Budgets,
    table: Table,
    exchanges: BTreeMap<u64, SessionRef>,
    next_exchange: u64,
    outputs: VecDeque<GatewayOutput>,
    ignored: Ignored,
}

impl Default for GatewayLimits {
    fn default() -> GatewayLimits {
        GatewayLimits {
            sessions: 131_072,
            parked: 4_096,
            exchanges: 8_192,
            exchanges_per_session: 4,
            source: (4_096, 2_000),
            total: (16_384, 20_000),
            sources: 8_192,
        }
    }
}

impl GatewayDelivery {
    /// A machine without sessions. `rng` must be a cryptographic one that is seeded freshly per start.
    #[must_use]
    pub fn new(
        config: GatewayDeliveryConfig,
        mut rng: Box<dyn CryptoRng + Send>,
    ) -> GatewayDelivery {
        let limits = config.limits;
        GatewayDelivery {
            keys: config.key.role_keys(Role::Gateway),
            id: config.id,
            key_version: config.key_version,
            names: config.names,
            deadline: config.deadline,
            limits,
            cookies: CookieKey::generate(&mut *rng),
            rng,
            budgets: Budgets::new(limits.source, limits.total, limits.sources),
            table: Table::new(limits.sessions, limits.parked),
            exchanges: BTreeMap::new(),
            next_exchange: 0,
            outputs: VecDeque::new(),
            ignored: Ignored::default(),
        }
    }

    /// A SYN with a request option arrived and is held. A repetition changes nothing.
    pub fn on_syn(&mut self, session: SessionRef, request_id: u64, option: [u8; 13], now: u64) {
        if let Some(entry) = self.table.get(&session) {
            if let Stage::Ended(code) = entry.stage {
                // One handshake per 4-tuple, ISN and epoch, and it is over (M4.21).
                self.outputs.push_back(GatewayOutput::Failed { session, code });
            }
            return;
        }
        if !self.make_room() {
            self.ignored.over_budget += 1;
            self.finish(session, Err(RefuseCode::Overloaded), now, now);
            return;
        }
        let early = self.table.unpark(request_id, &session, now);
        let started = early.map_or(now, |parked| parked.at.min(now));
        let alarm = now.saturating_add(self.deadline);
        self.table.insert(session, request_id, option, (started, alarm));
        if let Some(parked) = early {
            self.invite(session, parked.path, parked.length, now);
        }
    }

    /// A key-delivery datagram arrived from the cipher side.
    pub fn on_datagram(&mut self, src: SocketAddr, dst: SocketAddr, bytes: &[u8], now: u64) {
        let path = Path { ours: dst, theirs: src };
        match Message::decode(bytes) {
            Ok(message) => self.on_message(&message, path, bytes, now),
            Err(_) => self.ignored.malformed += 1,
        }
    }

    /// A KDC answered (KEY-REPLY or KEY-REFUSAL as received), or none did.
    pub fn on_kdc(&mut self, exchange: u64, outcome: Result<&[u8], KdcFailure>, now: u64) {
        let Some(session) = self.exchanges.remove(&exchange) else {
            self.ignored.unknown += 1;
            return;
        };
        self.on_answer(session, exchange, outcome, now);
    }

    /// No exchange under way will be answered (the requester was replaced): as if no KDC did.
    /// Clients that still wait begin new ones by repeating IDENTIFY.
    pub fn abandon_exchanges(&mut self, now: u64) {
        for (exchange, session) in std::mem::take(&mut self.exchanges) {
            self.on_answer(session, exchange, Err(KdcFailure::Unavailable), now);
        }
    }

    /// The dataplane verified a first tag before SYNC came: as good as SYNC.
    pub fn on_synchronised(&mut self, session: &SessionRef, now: u64) {
        let Some(Entry { stage: Stage::Keyed(_), started, .. }) = self.table.get(session) else {
            return;
        };
        let started = *started;
        self.enter_synced(session, now);
        self.outcome(*session, Ok(()), now.saturating_sub(started));
    }

    /// The dataplane's session is gone.
    pub fn on_closed(&mut self, session: &SessionRef, now: u64) {
        let Some(entry) = self.table.get(session) else { return };
        let (started, code) = (entry.started, entry.code.unwrap_or(RefuseCode::Closed));
        match entry.stage {
            Stage::Ended(_) => return,
            Stage::Synced(_) => {}
            _ => self.outcome(*session, Err(code), now.saturating_sub(started)),
        }
        self.end(session, code, now);
    }

    /// Time passed; call at [`GatewayDelivery::next_deadline`] or later.
    pub fn on_timer(&mut self, now: u64) {
        for _ in 0..ALARMS_PER_CALL {
            match self.table.next_alarm() {
                Some((at, session)) if at <= now => self.on_alarm(session, now),
                _ => break,
            }
        }
    }

    /// When [`GatewayDelivery::on_timer`] wants to be called next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        self.table.next_alarm().map(|(at, _)| at)
    }

    /// The next thing to do, oldest first; call until `None` after every input.
    pub fn poll(&mut self) -> Option<GatewayOutput> {
        self.outputs.pop_front()
    }

    /// What was refused without effect.
    #[must_use]
    pub fn ignored(&self) -> Ignored {
        self.ignored
    }

    /// Deliveries in the table, ended ones whose cookies live included.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.table.len()
    }

    fn on_alarm(&mut self, session: SessionRef, now: u64) {
        let Some(entry) = self.table.get(&session) else { return };
        let (started, last) = (entry.started, entry.code);
        let code = match &entry.stage {
            Stage::Ended(_) | Stage::Synced(_) => {
                self.table.remove(&session);
                return;
            }
            Stage::Waiting => last.unwrap_or(RefuseCode::Timeout),
            Stage::Asked(_) => RefuseCode::KdcUnavailable,
            Stage::Refused(_) => last.unwrap_or(RefuseCode::Internal),
            Stage::Keyed(_) => RefuseCode::Timeout,
        };
        self.refuse_at_end(session, code);
        self.end(&session, code, now);
        self.finish(session, Err(code), started, now);
    }

    /// Tells the client why its delivery ends here: with a MAC once it is keyed (M4.26).
    fn refuse_at_end(&mut self, session: SessionRef, code: RefuseCode) {
        let Some(entry) = self.table.get(&session) else { return };
        let mut refuse = Refuse { code, mac: None };
        let (path, control) = match &entry.stage {
            Stage::Asked(asked) => (asked.path, None),
            Stage::Keyed(keyed) => (keyed.path, Some(&keyed.control)),
            _ => return,
        };
        let mut message = Message::new_session(entry.request_id, Body::Refuse(refuse.clone()));
        if let Some(control) = control {
            refuse.mac = Some(Refuse::gateway_mac(control, &message.header(), code));
            message.body = Body::Refuse(refuse);
        }
        self.send(Some(session), path, message.encode());
    }

    /// Ends a delivery: wiped at once; its name stays while a cookie could begin it anew.
    fn end(&mut self, session: &SessionRef, code: RefuseCode, now: u64) {
        let Some(entry) = self.table.get(session) else { return };
        let dead = entry.cookie_dead;
        if matches!(entry.stage, Stage::Waiting) || dead <= now {
            self.table.remove(session);
            return;
        }
        if let Some(Stage::Asked(asked)) = self.table.advance(session, Stage::Ended(code), dead) {
            self.exchanges.remove(&asked.exchange);
        }
    }

    fn enter_synced(&mut self, session: &SessionRef, now: u64) {
        let Some(entry) = self.table.get_mut(session) else { return };
        let alarm = now.saturating_add(AFTER_SYNC).max(entry.cookie_dead);
        match std::mem::replace(&mut entry.stage, Stage::Waiting) {
            Stage::Keyed(keyed) => {
                self.table.advance(session, Stage::Synced(keyed.done), alarm);
            }
            other => entry.stage = other,
        }
    }

    /// Makes room for one delivery; what has proved nothing gives way, oldest first (M4.22).
    fn make_room(&mut self) -> bool {
        if !self.table.is_full() {
            return true;
        }
        let Some((session, entry)) = self.table.evict() else { return false };
        // After an INVITE the cookie alone brings the delivery back, so nobody is told.
        if entry.cookie_dead == 0 {
            let code = RefuseCode::Overloaded;
            self.outputs.push_back(GatewayOutput::Failed { session, code });
        }
        true
    }

    fn finish(
        &mut self,
        session: SessionRef,
        result: Result<(), RefuseCode>,
        started: u64,
        now: u64,
    ) {
        if let Err(code) = result {
            self.outputs.push_back(GatewayOutput::Failed { session, code });
        }
        self.outcome(session, result, now.saturating_sub(started));
    }

    fn outcome(&mut self, session: SessionRef, result: Result<(), RefuseCode>, latency: u64) {
        self.outputs.push_back(GatewayOutput::Outcome { session, result, latency });
    }

    fn send(&mut self, session: Option<SessionRef>, path: Path, datagram: Vec<u8>) {
        let Path { ours: src, theirs: dst } = path;
        self.outputs.push_back(GatewayOutput::Send { session, src, dst, datagram });
    }
}
