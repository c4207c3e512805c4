//! The client's end of key delivery.
//!
//! Owns the pending deliveries and their resends; what each message does is in
//! `client/messages.rs`. Does not own the session table: it names sessions,
//! the caller installs keys.

mod messages;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use rand_core::CryptoRng;

use super::{Ignored, RESEND_FIRST, RESEND_MOST, SessionRef};
use crate::identity::{DeviceId, Service};
use crate::keys::{AuthKey, DeviceKey, Role, RoleKeys, WrapKey};
use crate::message::{Body, Claim, Invite, Message, Reason};
use crate::refuse::RefuseCode;
use crate::schedule::TrafficSecrets;
use crate::wrap::Policy;

/// What a client's key delivery is made with.
pub struct ClientDeliveryConfig {
    /// `IDcl`.
    pub id: DeviceId,
    /// The client's long-term key.
    pub key: DeviceKey,
    /// Its version.
    pub key_version: u32,
    /// UDP port of key delivery, at both ends.
    pub port: u16,
    /// From SYN to DELIVER, in nanoseconds; at least 4 s.
    pub deadline: u64,
    /// How long SYNC is repeated without SYNCED (or [`ClientDelivery::on_synchronised`]), in
    /// nanoseconds. Its end fails nothing: the keys are installed and confirmed by the gateway.
    pub confirm_deadline: u64,
    /// Bounds.
    pub limits: ClientLimits,
}

/// Bounds of the table.
#[derive(Clone, Copy, Debug)]
pub struct ClientLimits {
    /// Deliveries under way.
    pub sessions: usize,
    /// INVITEs answered per epoch.
    pub invites: usize,
}

/// What the client's key delivery wants done, in the order of [`ClientDelivery::poll`].
pub enum ClientOutput {
    /// Send a datagram.
    Send {
        /// The session it belongs to.
        session: SessionRef,
        /// UDP source: the client's address.
        src: SocketAddr,
        /// UDP destination: the server's address.
        dst: SocketAddr,
        /// Payload.
        datagram: Vec<u8>,
    },
    /// The gateway proved that it holds the keys: install them. Comes before the SYNC.
    Install {
        /// The session.
        session: SessionRef,
        /// Its keys.
        secrets: TrafficSecrets,
        /// The service's policy.
        policy: Policy,
        /// How long the keys may be used, in seconds.
        lifetime_seconds: u32,
    },
    /// SYNCED arrived: the key-delivery session is over.
    Completed {
        /// The session.
        session: SessionRef,
    },
    /// The delivery failed: abort the session. After [`ClientOutput::Install`] it comes only on the
    /// gateway's own word, a REFUSE with MAC: then the gateway has given the session up.
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
        /// Nanoseconds from SYN to SYNC, or to the failure.
        latency: u64,
    },
}

/// Alarms handled per call, so that many deadlines at once do not hold up the caller.
const ALARMS_PER_CALL: usize = 1_024;

/// The client's end of key delivery.
pub struct ClientDelivery {
    id: DeviceId,
    keys: RoleKeys,
    key_version: u32,
    port: u16,
    deadline: u64,
    confirm_deadline: u64,
    limits: ClientLimits,
    rng: Box<dyn CryptoRng + Send>,
    entries: BTreeMap<SessionRef, Entry>,
    by_request: BTreeMap<u64, SessionRef>,
    alarms: BTreeSet<(u64, SessionRef)>,
    outputs: VecDeque<ClientOutput>,
    ignored: Ignored,
}

struct Entry {
    request_id: u64,
    option: [u8; 13],
    service: Service,
    started: u64,
    deadline: u64,
    resend_at: u64,
    pause: u64,
    alarm: u64,
    stage: Stage,
    /// The last REFUSE without MAC: names the failure if it comes to one.
    hint: Option<RefuseCode>,
    /// The gateway does not know the cookie: ask for another beside repeating IDENTIFY.
    ask_again: bool,
}

enum Stage {
    /// EARLY sent.
    Early,
    /// One attempt per INVITE answered; which INVITE was genuine shows at DELIVER (M4.29).
    Identifying(Vec<Attempt>),
    /// Keys installed, SYNC sent.
    Confirming(Box<Confirming>),
}

struct Attempt {
    invite: Invite,
    claim: Claim,
    identify: Vec<u8>,
    hash: [u8; 32],
}

struct Confirming {
    sync: Vec<u8>,
    synced: WrapKey,
    control: AuthKey,
    /// From SYN to the first SYNC.
    latency: u64,
}

impl Default for ClientLimits {
    fn default() -> ClientLimits {
        ClientLimits { sessions: 65_536, invites: 4 }
    }
}

impl ClientDelivery {
    /// A machine without sessions. `rng` must be a cryptographic one that is seeded freshly per start.
    #[must_use]
    pub fn new(config: ClientDeliveryConfig, rng: Box<dyn CryptoRng + Send>) -> ClientDelivery {
        ClientDelivery {
            keys: config.key.role_keys(Role::Client),
            id: config.id,
            key_version: config.key_version,
            port: config.port,
            deadline: config.deadline,
            confirm_deadline: config.confirm_deadline,
            limits: config.limits,
            rng,
            entries: BTreeMap::new(),
            by_request: BTreeMap::new(),
            alarms: BTreeSet::new(),
            outputs: VecDeque::new(),
            ignored: Ignored::default(),
        }
    }

    /// A SYN went out with a request option. `service` is what the application dialled.
    /// A repetition changes nothing.
    pub fn on_syn_sent(
        &mut self,
        session: SessionRef,
        request_id: u64,
        option: [u8; 13],
        service: Service,
        now: u64,
    ) {
        if self.entries.contains_key(&session) {
            return;
        }
        let full = self.entries.len() >= self.limits.sessions;
        if full || self.by_request.contains_key(&request_id) {
            self.ignored.over_budget += 1;
            let code = if full { RefuseCode::Overloaded } else { RefuseCode::Internal };
            self.outputs.push_back(ClientOutput::Failed { session, code });
            self.outputs.push_back(ClientOutput::Outcome {
                session,
                result: Err(code),
                latency: 0,
            });
            return;
        }
        let entry = Entry {
            request_id,
            option,
            service,
            started: now,
            deadline: now.saturating_add(self.deadline),
            resend_at: now,
            pause: RESEND_FIRST,
            alarm: now,
            stage: Stage::Early,
            hint: None,
            ask_again: false,
        };
        self.entries.insert(session, entry);
        self.by_request.insert(request_id, session);
        self.alarms.insert((now, session));
        self.resend(session, now);
    }

    /// A key-delivery datagram arrived from the cipher side.
    pub fn on_datagram(&mut self, src: SocketAddr, dst: SocketAddr, bytes: &[u8], now: u64) {
        let Ok(message) = Message::decode(bytes) else {
            self.ignored.malformed += 1;
            return;
        };
        // M4.28.
        let session = self.by_request.get(&message.request_id).copied().filter(|session| {
            src == SocketAddr::new(session.server.ip(), self.port)
                && dst == SocketAddr::new(session.client.ip(), self.port)
        });
        let Some(session) = session else {
            self.ignored.unknown += 1;
            return;
        };
        // Rekey and resync are places kept: a client of today asks for neither.
        if message.reason != Reason::New || message.epoch != 0 {
            self.ignored.out_of_stage += 1;
            return;
        }
        match &message.body {
            Body::Invite(invite) => self.on_invite(session, invite, now),
            Body::Deliver(deliver) => self.on_deliver(session, deliver, bytes, now),
            Body::Synced(synced) => self.on_synced(session, synced, &message.header()),
            Body::Refuse(refuse) => self.on_refuse(session, refuse, &message.header(), now),
            Body::Early | Body::Identify(_) | Body::Sync(_) => self.ignored.malformed += 1,
        }
    }

    /// The dataplane verified a tag of the gateway: it holds the keys, SYNCED is no longer needed.
    pub fn on_synchronised(&mut self, session: &SessionRef, _now: u64) {
        self.complete(*session);
    }

    /// The dataplane's session is gone.
    pub fn on_closed(&mut self, session: &SessionRef, now: u64) {
        if let Some(entry) = self.remove(session) {
            let (result, latency) = match entry.stage {
                Stage::Confirming(confirming) => (Ok(()), confirming.latency),
                _ => (
                    Err(entry.hint.unwrap_or(RefuseCode::Closed)),
                    now.saturating_sub(entry.started),
                ),
            };
            self.outputs.push_back(ClientOutput::Outcome { session: *session, result, latency });
        }
    }

    /// Time passed; call at [`ClientDelivery::next_deadline`] or later.
    pub fn on_timer(&mut self, now: u64) {
        for _ in 0..ALARMS_PER_CALL {
            let Some((_, session)) = self.alarms.first().copied().filter(|(at, _)| *at <= now)
            else {
                break;
            };
            match self.entries.get(&session) {
                Some(entry) if entry.deadline <= now => self.on_deadline(session, now),
                _ => self.resend(session, now),
            }
        }
    }

    /// When [`ClientDelivery::on_timer`] wants to be called next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        self.alarms.first().map(|(at, _)| *at)
    }

    /// The next thing to do, oldest first; call until `None` after every input.
    pub fn poll(&mut self) -> Option<ClientOutput> {
        self.outputs.pop_front()
    }

    /// What was refused without effect.
    #[must_use]
    pub fn ignored(&self) -> Ignored {
        self.ignored
    }

    /// Deliveries under way.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.entries.len()
    }

    fn on_deadline(&mut self, session: SessionRef, now: u64) {
        let Some(entry) = self.entries.get(&session) else { return };
        if matches!(entry.stage, Stage::Confirming(_)) {
            // confirm_g was valid: the session is synchronised here, and may well be in use.
            self.on_closed(&session, now);
        } else {
            self.fail(session, entry.hint.unwrap_or(RefuseCode::Timeout), now);
        }
    }

    /// Sends what the stage repeats (M4.27), and sets the next repetition.
    fn resend(&mut self, session: SessionRef, now: u64) {
        let Some(entry) = self.entries.get(&session) else { return };
        let early = || Message::new_session(entry.request_id, Body::Early).encode();
        let datagrams: Vec<Vec<u8>> = match &entry.stage {
            Stage::Early => vec![early()],
            Stage::Identifying(attempts) => {
                let identifies = attempts.iter().map(|attempt| attempt.identify.clone());
                entry.ask_again.then(early).into_iter().chain(identifies).collect()
            }
            Stage::Confirming(confirming) => vec![confirming.sync.clone()],
        };
        for datagram in datagrams {
            self.send(session, datagram);
        }
        self.arm(session, now);
    }

    /// Sets the alarm after a send, and doubles the pause for the one after.
    fn arm(&mut self, session: SessionRef, now: u64) {
        let Some(entry) = self.entries.get_mut(&session) else { return };
        entry.resend_at = now.saturating_add(entry.pause);
        entry.pause = (entry.pause * 2).min(RESEND_MOST);
        let alarm = entry.resend_at.min(entry.deadline);
        self.alarms.remove(&(entry.alarm, session));
        self.alarms.insert((alarm, session));
        entry.alarm = alarm;
    }

    fn complete(&mut self, session: SessionRef) {
        if !matches!(self.entries.get(&session), Some(Entry { stage: Stage::Confirming(_), .. })) {
            return;
        }
        if let Some(Entry { stage: Stage::Confirming(confirming), .. }) = self.remove(&session) {
            let latency = confirming.latency;
            self.outputs.push_back(ClientOutput::Completed { session });
            self.outputs.push_back(ClientOutput::Outcome { session, result: Ok(()), latency });
        }
    }

    fn fail(&mut self, session: SessionRef, code: RefuseCode, now: u64) {
        let Some(entry) = self.remove(&session) else { return };
        let latency = now.saturating_sub(entry.started);
        self.outputs.push_back(ClientOutput::Failed { session, code });
        self.outputs.push_back(ClientOutput::Outcome { session, result: Err(code), latency });
    }

    fn remove(&mut self, session: &SessionRef) -> Option<Entry> {
        let entry = self.entries.remove(session)?;
        self.by_request.remove(&entry.request_id);
        self.alarms.remove(&(entry.alarm, *session));
        Some(entry)
    }

    fn send(&mut self, session: SessionRef, datagram: Vec<u8>) {
        let src = SocketAddr::new(session.client.ip(), self.port);
        let dst = SocketAddr::new(session.server.ip(), self.port);
        self.outputs.push_back(ClientOutput::Send { session, src, dst, datagram });
    }
}
