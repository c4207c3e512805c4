//! What each message does at the client (spec §4).
//!
//! Everything is verified before anything changes. Owns no state of its own.

use subtle::ConstantTimeEq;

use super::super::{RESEND_FIRST, SessionRef};
use super::{Attempt, ClientDelivery, ClientOutput, Confirming, Stage};
use crate::keys::RoleKeys;
use crate::message::{
    Body, Deliver, Identify, Invite, Message, Reason, Refuse, Sync, Synced, sha256,
};
use crate::refuse::RefuseCode;
use crate::schedule::{self, EpochSecrets};
use crate::wrap::{self, Policy};

/// What a verified DELIVER gives.
struct Delivered {
    secrets: EpochSecrets,
    policy: Policy,
    lifetime_seconds: u32,
}

impl ClientDelivery {
    pub(super) fn on_invite(&mut self, session: SessionRef, invite: &Invite, now: u64) {
        let Some(entry) = self.entries.get_mut(&session) else { return };
        let attempts = match &entry.stage {
            Stage::Early => &[][..],
            Stage::Identifying(attempts) => attempts,
            Stage::Confirming(_) => {
                self.ignored.out_of_stage += 1;
                return;
            }
        };
        if attempts.iter().any(|attempt| attempt.invite == *invite) {
            self.ignored.out_of_stage += 1;
            return;
        }
        if attempts.len() >= self.limits.invites {
            self.ignored.over_budget += 1;
            return;
        }
        // Fresh for each INVITE (M4.12).
        let mut nonce = [0; 32];
        self.rng.fill_bytes(&mut nonce);
        let mut identify = Identify {
            client: self.id.clone(),
            key_version: self.key_version,
            service: entry.service.clone(),
            gateway: invite.gateway.clone(),
            nonce,
            option: entry.option,
            cookie: invite.cookie.clone(),
            authenticator: [0; 32],
        };
        let claim = identify.claim(entry.request_id, 0, Reason::New);
        identify.authenticator = claim.authenticator(&self.keys.auth);
        let identify = Message::new_session(entry.request_id, Body::Identify(identify)).encode();
        let hash = sha256(&[&identify]);
        let attempt = Attempt { invite: invite.clone(), claim, identify: identify.clone(), hash };
        match &mut entry.stage {
            Stage::Identifying(attempts) => attempts.push(attempt),
            stage => *stage = Stage::Identifying(vec![attempt]),
        }
        (entry.pause, entry.ask_again) = (RESEND_FIRST, false);
        self.send(session, identify);
        self.arm(session, now);
    }

    pub(super) fn on_deliver(
        &mut self,
        session: SessionRef,
        deliver: &Deliver,
        bytes: &[u8],
        now: u64,
    ) {
        let Some(entry) = self.entries.get_mut(&session) else { return };
        let Stage::Identifying(attempts) = &entry.stage else {
            self.ignored.out_of_stage += 1;
            return;
        };
        let verified = attempts
            .iter()
            .find(|attempt| attempt.hash == deliver.answered)
            .and_then(|attempt| attempt.verify(deliver, bytes, &self.keys));
        let Some(Delivered { secrets, policy, lifetime_seconds }) = verified else {
            self.ignored.unverified += 1;
            return;
        };
        let confirm = *secrets.confirm_c;
        let sync = Message::new_session(entry.request_id, Body::Sync(Sync { confirm })).encode();
        entry.stage = Stage::Confirming(Box::new(Confirming {
            sync: sync.clone(),
            synced: secrets.synced,
            control: secrets.control,
            latency: now.saturating_sub(entry.started),
        }));
        (entry.hint, entry.pause) = (None, RESEND_FIRST);
        entry.deadline = now.saturating_add(self.confirm_deadline);
        let secrets = secrets.traffic;
        self.outputs.push_back(ClientOutput::Install {
            session,
            secrets,
            policy,
            lifetime_seconds,
        });
        self.send(session, sync);
        self.arm(session, now);
    }

    /// SYNCED ends the delivery, if its box opens (M4.31).
    pub(super) fn on_synced(&mut self, session: SessionRef, synced: &Synced, header: &[u8]) {
        match self.entries.get(&session).map(|entry| &entry.stage) {
            Some(Stage::Confirming(confirming)) => match synced.open(&confirming.synced, header) {
                Ok(_) => self.complete(session),
                Err(_) => self.ignored.unverified += 1,
            },
            _ => self.ignored.out_of_stage += 1,
        }
    }

    /// A hint, or with a MAC that verifies the end (M4.17, M4.18).
    pub(super) fn on_refuse(
        &mut self,
        session: SessionRef,
        refuse: &Refuse,
        header: &[u8],
        now: u64,
    ) {
        let Some(entry) = self.entries.get_mut(&session) else { return };
        match (refuse.mac, &entry.stage) {
            (None, _) => {
                entry.hint = Some(refuse.code);
                entry.ask_again = refuse.code == RefuseCode::BadCookie;
            }
            (Some(mac), Stage::Confirming(confirming)) => {
                let expected = Refuse::gateway_mac(&confirming.control, header, refuse.code);
                if bool::from(expected.ct_eq(&mac)) {
                    self.fail(session, refuse.code, now);
                } else {
                    self.ignored.unverified += 1;
                }
            }
            (Some(_), _) => self.ignored.unverified += 1,
        }
    }
}

impl Attempt {
    /// Opens `Ccl`, compares every field with this attempt, and checks `confirm_g` (M4.30).
    fn verify(&self, deliver: &Deliver, bytes: &[u8], keys: &RoleKeys) -> Option<Delivered> {
        let content = wrap::open_client(&deliver.wrapped, &keys.wrap).ok()?;
        let gateway = &self.invite.gateway;
        if !content.grant.matches(&self.claim, gateway, &deliver.gateway_nonce) {
            return None;
        }
        let th = schedule::transcript_hash(&self.identify, Deliver::without_confirm(bytes)?);
        let secrets = schedule::epoch_secrets(&content.key, None, &th).ok()?;
        bool::from(secrets.confirm_g.ct_eq(&deliver.confirm)).then_some(Delivered {
            secrets,
            policy: content.policy,
            lifetime_seconds: content.grant.lifetime_seconds,
        })
    }
}
