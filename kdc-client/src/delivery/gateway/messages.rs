//! What each message does at the gateway (spec §4).
//!
//! Everything is verified before anything changes. Owns no state of its own.

use subtle::ConstantTimeEq;

use super::super::{SECOND, SessionRef};
use super::table::{Asked, Done, Entry, Keyed, Parked, Path, Stage};
use super::{GatewayDelivery, GatewayOutput};
use crate::MAX_MESSAGE;
use crate::cookie::{self, Cookie};
use crate::identity::Service;
use crate::message::{
    Body, Deliver, Identify, Invite, KdcAnswer, KeyReply, KeyRequest, Message, Reason, Refuse,
    Sync, Synced, SyncedContent, sha256, verify_answer,
};
use crate::refuse::{KdcFailure, RefuseCode};
use crate::schedule::{self, EpochSecrets};
use crate::wrap;

/// INVITE is never larger than this many times what triggered it (M4.8).
const AMPLIFICATION: usize = 3;
/// A client that repeats its IDENTIFY after this long is told that the KDC is slow.
const KDC_SLOW: u64 = SECOND;

impl GatewayDelivery {
    pub(super) fn on_message(&mut self, message: &Message, path: Path, bytes: &[u8], now: u64) {
        // Rekey and resync are places kept: neither is served.
        if message.reason != Reason::New || message.epoch != 0 {
            self.ignored.out_of_stage += 1;
            return;
        }
        match &message.body {
            Body::Early => self.on_early(message.request_id, path, bytes.len(), now),
            Body::Identify(identify) => self.on_identify(message, identify, (path, bytes), now),
            Body::Sync(sync) => self.on_sync(message.request_id, sync, path, now),
            // A client's REFUSE ends nothing: its SYN's fate is decided by the deadline.
            Body::Refuse(_) => self.ignored.out_of_stage += 1,
            Body::Invite(_) | Body::Deliver(_) | Body::Synced(_) => self.ignored.malformed += 1,
        }
    }

    fn on_early(&mut self, request_id: u64, path: Path, length: usize, now: u64) {
        let Some(session) = self.table.of_request(request_id, &path).first().copied() else {
            self.table.park(request_id, Parked { path, length, at: now });
            return;
        };
        match self.table.get(&session).map(|entry| &entry.stage) {
            Some(Stage::Waiting | Stage::Refused(_)) => self.invite(session, path, length, now),
            _ => self.ignored.out_of_stage += 1,
        }
    }

    /// Answers an EARLY with a cookie. The same EARLY in the same time slot gets the same octets.
    pub(super) fn invite(&mut self, session: SessionRef, path: Path, trigger: usize, now: u64) {
        let Some(entry) = self.table.get_mut(&session) else { return };
        let cookie = Cookie {
            source: path.theirs,
            session,
            request_id: entry.request_id,
            reason: Reason::New,
            option: entry.option,
        };
        let cookie = self.cookies.seal(&cookie, now);
        let body = Body::Invite(Invite { gateway: self.id.clone(), cookie });
        let datagram = Message::new_session(entry.request_id, body).encode();
        if datagram.len() > trigger.saturating_mul(AMPLIFICATION) {
            self.ignored.over_budget += 1;
            return;
        }
        entry.cookie_dead = entry.cookie_dead.max(cookie::dead_at(now));
        self.send(Some(session), path, datagram);
    }

    fn on_identify(
        &mut self,
        message: &Message,
        identify: &Identify,
        (path, bytes): (Path, &[u8]),
        now: u64,
    ) {
        let request_id = message.request_id;
        let answered = sha256(&[bytes]);
        let cookie = self
            .cookies
            .open(&identify.cookie, path.theirs, request_id, now)
            .filter(|c| c.session.server.ip() == path.ours.ip() && c.reason == message.reason);
        let taken = || self.taken(request_id, path, &answered);
        let Some(session) = cookie.as_ref().map(|cookie| cookie.session).or_else(taken) else {
            self.ignored.bad_cookie += 1;
            self.hint(None, request_id, path, RefuseCode::BadCookie);
            return;
        };
        if let Some(cookie) = cookie
            && !self.know_by(&cookie, now)
        {
            self.ignored.over_budget += 1;
            self.hint(None, request_id, path, RefuseCode::Overloaded);
            return;
        }
        let Some(entry) = self.table.get(&session) else { return };
        match Seen::of(entry) {
            Seen::Begin => self.begin(session, message, identify, (path, bytes), now),
            Seen::Asked(hash, since) => {
                self.ignored.out_of_stage += 1;
                if hash == answered && now.saturating_sub(since) >= KDC_SLOW {
                    self.hint(Some(session), request_id, path, RefuseCode::KdcUnavailable);
                }
            }
            Seen::Refused(hash, _, may_retry) if hash != answered || may_retry => {
                self.begin(session, message, identify, (path, bytes), now);
            }
            Seen::Refused(_, code, _) | Seen::Ended(code) => {
                self.ignored.out_of_stage += 1;
                self.hint(Some(session), request_id, path, code);
            }
            Seen::Keyed(hash, deliver) if hash == answered => {
                self.send(Some(session), path, deliver);
            }
            Seen::Keyed(..) | Seen::Synced => self.ignored.out_of_stage += 1,
        }
    }

    /// The session whose delivery goes on with just this IDENTIFY, taken while its cookie lived: a
    /// repetition needs no other (M4.25).
    fn taken(&self, request_id: u64, path: Path, answered: &[u8; 32]) -> Option<SessionRef> {
        let goes_on = |session: &SessionRef| match self.table.get(session).map(|e| &e.stage) {
            Some(Stage::Asked(asked)) => (&asked.answered, asked.path) == (answered, path),
            Some(Stage::Keyed(keyed)) => (&keyed.answered, keyed.path) == (answered, path),
            _ => false,
        };
        self.table.of_request(request_id, &path).into_iter().find(goes_on)
    }

    /// Whether there is an entry for the session that a cookie names, or room for one: the cookie
    /// alone is enough to know the session again (M4.16).
    fn know_by(&mut self, cookie: &Cookie, now: u64) -> bool {
        let session = cookie.session;
        if self.table.get(&session).is_none() {
            if !self.make_room() {
                return false;
            }
            let alarm = now.saturating_add(self.deadline);
            self.table.insert(session, cookie.request_id, cookie.option, (now, alarm));
        }
        // The cookie was given, if not by this entry: it is dead at the latest when one given now
        // would be, and until then an end must be remembered (M4.21).
        if let Some(entry) = self.table.get_mut(&session)
            && entry.cookie_dead == 0
        {
            entry.cookie_dead = cookie::dead_at(now);
        }
        true
    }

    /// Compares an IDENTIFY with its SYN and asks the KDC (M4.20).
    fn begin(
        &mut self,
        session: SessionRef,
        message: &Message,
        identify: &Identify,
        (path, bytes): (Path, &[u8]),
        now: u64,
    ) {
        let request_id = message.request_id;
        let Some(entry) = self.table.get(&session) else { return };
        let mismatch = if entry.request_id != request_id || entry.option != identify.option {
            Some(RefuseCode::OptionMismatch)
        } else if identify.gateway != self.id {
            Some(RefuseCode::UnknownGateway)
        } else if !self.is_service_of(&identify.service, &session) {
            Some(RefuseCode::ServiceMismatch)
        } else {
            None
        };
        if let Some(code) = mismatch {
            self.ignored.unverified += 1;
            self.note(&session, code);
            self.hint(Some(session), request_id, path, code);
            return;
        }
        // A session that has used up its exchanges keeps the code of the last one.
        let spent = entry.exchanges >= self.limits.exchanges_per_session;
        let code = entry.code.filter(|_| spent).unwrap_or(RefuseCode::Overloaded);
        if spent || !self.may_ask(path, now) {
            self.ignored.over_budget += 1;
            self.note(&session, code);
            self.hint(Some(session), request_id, path, code);
            return;
        }
        self.ask(session, message, identify, (path, bytes), now);
    }

    fn is_service_of(&self, service: &Service, session: &SessionRef) -> bool {
        let named = |(name, server): &(Service, _)| name == service && *server == session.server;
        *service == Service::from(session.server) || self.names.iter().any(named)
    }

    fn may_ask(&mut self, path: Path, now: u64) -> bool {
        self.exchanges.len() < self.limits.exchanges && self.budgets.take(path.theirs.ip(), now)
    }

    fn ask(
        &mut self,
        session: SessionRef,
        message: &Message,
        identify: &Identify,
        (path, bytes): (Path, &[u8]),
        now: u64,
    ) {
        let answered = sha256(&[bytes]);
        let exchange = self.next_exchange;
        let alarm = self.table.alarm(&session);
        let Some(entry) = self.table.get_mut(&session) else { return };
        let again = match std::mem::replace(&mut entry.stage, Stage::Waiting) {
            // The same IDENTIFY keeps its Ng, so the KDC sees the same request (M5.4).
            Stage::Refused(asked) if asked.answered == answered => Some(asked),
            _ => None,
        };
        entry.exchanges = entry.exchanges.saturating_add(1);
        let asked = match again {
            Some(mut asked) => {
                (asked.exchange, asked.asked_at, asked.path) = (exchange, now, path);
                asked
            }
            None => {
                let mut gateway_nonce = [0; 32];
                self.rng.fill_bytes(&mut gateway_nonce);
                let claim = identify.claim(message.request_id, message.epoch, message.reason);
                let request = KeyRequest {
                    sender: self.id.clone(),
                    sender_key_version: self.key_version,
                    claim: claim.clone(),
                    authenticator: identify.authenticator,
                    gateway_nonce,
                }
                .encode(&self.keys.auth);
                Box::new(Asked {
                    identify: bytes.to_vec(),
                    answered,
                    claim,
                    gateway_nonce,
                    request_hash: sha256(&[&request]),
                    request,
                    exchange,
                    asked_at: now,
                    path,
                    may_retry: false,
                })
            }
        };
        self.next_exchange += 1;
        self.exchanges.insert(exchange, session);
        let message = asked.request.clone();
        self.table.advance(&session, Stage::Asked(asked), alarm);
        self.outputs.push_back(GatewayOutput::KeyRequest { exchange, message });
    }

    pub(super) fn on_answer(
        &mut self,
        session: SessionRef,
        exchange: u64,
        outcome: Result<&[u8], KdcFailure>,
        now: u64,
    ) {
        let asked = match self.table.get(&session).map(|entry| &entry.stage) {
            Some(Stage::Asked(asked)) if asked.exchange == exchange => asked,
            _ => {
                self.ignored.out_of_stage += 1;
                return;
            }
        };
        let keyed = match outcome {
            Err(failure) => Err((failure.code(), failure.code().is_transient())),
            Ok(bytes) => match verify_answer(bytes, &asked.request_hash, &self.keys) {
                Ok(KdcAnswer::Reply(reply)) => {
                    self.accept(asked, &reply).map_err(|code| (code, true))
                }
                Ok(KdcAnswer::Refusal { refusal, authentic }) => {
                    Err((refusal.code, refusal.code.is_transient() || !authentic))
                }
                Err(_) => Err((RefuseCode::BadReply, true)),
            },
        };
        match keyed {
            Ok(installed) => self.install(session, installed, now),
            Err((code, may_retry)) => self.refused(session, code, may_retry),
        }
    }

    /// Opens and checks a KEY-REPLY (M5.6), and makes all that follows from it. Changes nothing.
    fn accept(&self, asked: &Asked, reply: &KeyReply) -> Result<Installed, RefuseCode> {
        let associated = wrap::gateway_associated(&asked.request_hash, &reply.for_client);
        let content = wrap::open_gateway(&reply.for_gateway, &associated, &self.keys.wrap)
            .map_err(|_| RefuseCode::BadReply)?;
        if !content.grant.matches(&asked.claim, &self.id, &asked.gateway_nonce) {
            return Err(RefuseCode::BadReply);
        }
        let mut deliver = Deliver {
            answered: asked.answered,
            gateway_nonce: asked.gateway_nonce,
            wrapped: reply.for_client.clone(),
            confirm: [0; 32],
        };
        let request_id = asked.claim.request_id;
        let encode = |deliver: &Deliver| {
            Message::new_session(request_id, Body::Deliver(deliver.clone())).encode()
        };
        let unconfirmed = encode(&deliver);
        let covered = Deliver::without_confirm(&unconfirmed).ok_or(RefuseCode::Internal)?;
        let th = schedule::transcript_hash(&asked.identify, covered);
        let secrets =
            schedule::epoch_secrets(&content.key, None, &th).map_err(|_| RefuseCode::Internal)?;
        deliver.confirm = secrets.confirm_g;
        let deliver = encode(&deliver);
        if deliver.len() > MAX_MESSAGE {
            return Err(RefuseCode::BadReply);
        }
        let lifetime_seconds = content.grant.lifetime_seconds;
        Ok(Installed { deliver, secrets, lifetime_seconds })
    }

    /// Install first, then DELIVER (M4.23): both travel by one ring, so keys are there before it.
    fn install(&mut self, session: SessionRef, installed: Installed, now: u64) {
        let Installed { deliver, secrets, lifetime_seconds } = installed;
        let Some(entry) = self.table.get(&session) else { return };
        let Stage::Asked(asked) = &entry.stage else { return };
        let path = asked.path;
        let mut synced =
            Message::new_session(entry.request_id, Body::Synced(Synced { sealed: Vec::new() }));
        synced.body = Body::Synced(Synced::seal(&secrets.synced, &synced.header(), SyncedContent));
        let keyed = Keyed {
            answered: asked.answered,
            deliver: deliver.clone(),
            control: secrets.control,
            path,
            done: Box::new(Done { confirm_c: secrets.confirm_c, synced: synced.encode() }),
        };
        let alarm = now.saturating_add(self.deadline);
        self.table.advance(&session, Stage::Keyed(Box::new(keyed)), alarm);
        let secrets = secrets.traffic;
        self.outputs.push_back(GatewayOutput::Install { session, secrets, lifetime_seconds });
        self.send(Some(session), path, deliver);
    }

    fn refused(&mut self, session: SessionRef, code: RefuseCode, may_retry: bool) {
        let alarm = self.table.alarm(&session);
        let Some(entry) = self.table.get_mut(&session) else { return };
        let request_id = entry.request_id;
        match std::mem::replace(&mut entry.stage, Stage::Waiting) {
            Stage::Asked(mut asked) => {
                entry.code = Some(code);
                asked.may_retry = may_retry;
                let path = asked.path;
                self.table.advance(&session, Stage::Refused(asked), alarm);
                self.hint(Some(session), request_id, path, code);
            }
            other => entry.stage = other,
        }
    }

    /// Synchronised first, then SYNCED (M4.24); a repetition gets the same SYNCED (M4.25).
    fn on_sync(&mut self, request_id: u64, sync: &Sync, path: Path, now: u64) {
        let sessions = self.table.of_request(request_id, &path);
        let verified = sessions.into_iter().find_map(|session| {
            let Entry { stage, started, .. } = self.table.get(&session)?;
            let (done, first) = match stage {
                Stage::Keyed(keyed) => (&keyed.done, true),
                Stage::Synced(done) => (done, false),
                _ => return None,
            };
            let equal = bool::from(done.confirm_c.ct_eq(&sync.confirm));
            equal.then(|| (session, done.synced.clone(), first, *started))
        });
        let Some((session, synced, first, started)) = verified else {
            self.ignored.unverified += 1;
            return;
        };
        if first {
            self.enter_synced(&session, now);
            self.outputs.push_back(GatewayOutput::Synchronised { session });
        }
        self.send(Some(session), path, synced);
        if first {
            self.outcome(session, Ok(()), now.saturating_sub(started));
        }
    }

    fn note(&mut self, session: &SessionRef, code: RefuseCode) {
        if let Some(entry) = self.table.get_mut(session) {
            entry.code = Some(code);
        }
    }

    /// A REFUSE without MAC: smaller than what it answers, and it ends nothing (M4.17).
    fn hint(&mut self, session: Option<SessionRef>, request_id: u64, path: Path, code: RefuseCode) {
        let refuse = Body::Refuse(Refuse { code, mac: None });
        self.send(session, path, Message::new_session(request_id, refuse).encode());
    }
}

/// What an IDENTIFY meets.
enum Seen {
    Begin,
    Asked([u8; 32], u64),
    Refused([u8; 32], RefuseCode, bool),
    Keyed([u8; 32], Vec<u8>),
    Synced,
    Ended(RefuseCode),
}

impl Seen {
    fn of(entry: &Entry) -> Self {
        match &entry.stage {
            Stage::Waiting => Self::Begin,
            Stage::Asked(asked) => Self::Asked(asked.answered, asked.asked_at),
            Stage::Refused(asked) => {
                let code = entry.code.unwrap_or(RefuseCode::Internal);
                Self::Refused(asked.answered, code, asked.may_retry)
            }
            Stage::Keyed(keyed) => Self::Keyed(keyed.answered, keyed.deliver.clone()),
            Stage::Synced(_) => Self::Synced,
            Stage::Ended(code) => Self::Ended(*code),
        }
    }
}

/// All that follows from a verified KEY-REPLY.
struct Installed {
    deliver: Vec<u8>,
    secrets: EpochSecrets,
    lifetime_seconds: u32,
}
