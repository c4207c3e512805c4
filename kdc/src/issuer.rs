//! The decision over a KEY-REQUEST: octets in, octets out, and a line for the audit log; sans-I/O.
//!
//! Owns the order of the checks, the session key and the answer cache. Takes the registry as a
//! view, the policy as a value, time and randomness as parameters; sees no socket and no file.

mod cache;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

use rand_core::CryptoRng;
use sekisho_kdc_client::message::{KeyRefusal, KeyReply, KeyRequest, MessageError, sha256};
use sekisho_kdc_client::wrap::{Grant, SessionKey, gateway_associated, seal_client, seal_gateway};
use sekisho_kdc_client::{Policy, RefuseCode, Role, RoleKeys};

use crate::audit::{AuditRecord, Outcome, Transport};
use crate::policy::{Access, AccessPolicy};
use crate::registry::{Lookup, RegistryView};
use cache::AnswerCache;

/// Answers kept at most: at 20 000 requests a second nearly a second's worth, about 12 MiB.
const CACHE_ANSWERS: usize = 16_384;

/// What is decided over one request.
#[derive(Debug)]
pub struct Decision {
    /// The octets to send back; none if a hint would be longer than the request that asks for it,
    /// so that a KDC never amplifies what a forged source sends.
    pub reply: Option<Vec<u8>>,
    /// The line for the audit log.
    pub audit: AuditRecord,
}

/// Issues session keys.
pub struct Issuer {
    policy: AccessPolicy,
    lifetime_seconds: u32,
    view: Arc<RegistryView>,
    cache: AnswerCache,
}

/// A refusal in the making.
struct Refusal {
    code: RefuseCode,
    detail: &'static str,
    /// The keys of the gateway that asked, once it is known.
    keys: Option<RoleKeys>,
}

impl Refusal {
    fn hint(code: RefuseCode, detail: &'static str) -> Self {
        Self { code, detail, keys: None }
    }
}

impl Issuer {
    /// An issuer; session keys may be used for `lifetime_seconds` (0 counts as 1).
    #[must_use]
    pub fn new(policy: AccessPolicy, lifetime_seconds: u32, view: Arc<RegistryView>) -> Self {
        let cache = AnswerCache::new(CACHE_ANSWERS);
        Self { policy, lifetime_seconds: lifetime_seconds.max(1), view, cache }
    }

    /// The registry that it answers from.
    #[must_use]
    pub fn view(&self) -> &RegistryView {
        &self.view
    }

    /// Answers from another view from now on. Cached answers go, so that nobody who was revoked
    /// gets a key once more.
    pub fn set_view(&mut self, view: Arc<RegistryView>) {
        self.view = view;
        self.cache.clear();
    }

    /// Decides by another policy from now on; cached answers go.
    pub fn set_policy(&mut self, policy: AccessPolicy, lifetime_seconds: u32) {
        self.policy = policy;
        self.lifetime_seconds = lifetime_seconds.max(1);
        self.cache.clear();
    }

    /// Decides over one request; `now` in ns of any monotonic clock.
    pub fn decide(
        &mut self,
        request: &[u8],
        source: (SocketAddr, Transport),
        now: u64,
        rng: &mut dyn CryptoRng,
    ) -> Decision {
        let hash = sha256(&[request]);
        let mut audit = AuditRecord {
            source: source.0,
            transport: source.1,
            request: std::array::from_fn(|i| hash[i]),
            outcome: Outcome::Repeated,
            verified: false,
            gateway: None,
            client: None,
            service: None,
        };
        if let Some(reply) = self.cache.get(&hash, now) {
            let reply = Some(reply.clone());
            // What is cached has been verified; the names are read again for the log alone.
            if let Ok(r) = KeyRequest::decode(request) {
                audit.verified = true;
                note(&mut audit, &r);
            }
            return Decision { reply, audit };
        }
        match self.issue(request, &hash, rng, &mut audit) {
            Ok(reply) => {
                self.cache.put(hash, reply.clone(), now);
                audit.outcome = Outcome::Issued;
                Decision { reply: Some(reply), audit }
            }
            Err(refusal) => {
                audit.outcome = Outcome::Refused(refusal.code, refusal.detail);
                let auth = refusal.keys.as_ref().map(|k| &k.auth);
                let reply = KeyRefusal { request: hash, code: refusal.code }.encode(auth);
                let send = refusal.keys.is_some() || reply.len() <= request.len();
                Decision { reply: send.then_some(reply), audit }
            }
        }
    }

    fn issue(
        &self,
        bytes: &[u8],
        hash: &[u8; 32],
        rng: &mut dyn CryptoRng,
        audit: &mut AuditRecord,
    ) -> Result<Vec<u8>, Refusal> {
        let request = KeyRequest::decode(bytes).map_err(|e| match e {
            MessageError::Version => Refusal::hint(RefuseCode::VersionUnsupported, "version"),
            _ => Refusal::hint(RefuseCode::Malformed, "malformed"),
        })?;
        note(audit, &request);
        let gateway = self.gateway_keys(&request, bytes)?;
        audit.verified = true;
        match self.grant(&request, rng) {
            Ok((key, grant, policy, client)) => {
                let for_client = seal_client(&key, &grant, policy, &client.wrap, rng);
                let associated = gateway_associated(hash, &for_client);
                let for_gateway =
                    seal_gateway((&key, &grant, None), &associated, &gateway.wrap, rng);
                Ok(KeyReply { request: *hash, for_client, for_gateway }.encode())
            }
            Err((code, detail)) => Err(Refusal { code, detail, keys: Some(gateway) }),
        }
    }

    /// The gateway is who holds the key that verifies; the sender field only says which to try.
    fn gateway_keys(&self, request: &KeyRequest, bytes: &[u8]) -> Result<RoleKeys, Refusal> {
        let lookup = self.view.lookup(&request.sender, Role::Gateway, request.sender_key_version);
        let detail = match lookup {
            Lookup::Found(key) => {
                let keys = key.role_keys(Role::Gateway);
                if KeyRequest::verify(bytes, &keys.auth) {
                    return Ok(keys);
                }
                "gateway_hmac"
            }
            Lookup::Unknown => "gateway_unknown",
            Lookup::WrongVersion => "gateway_key_version",
            Lookup::Disabled => "gateway_disabled",
            Lookup::Revoked => "gateway_revoked",
            Lookup::Damaged => "gateway_record_damaged",
        };
        Err(Refusal::hint(RefuseCode::UnknownGateway, detail))
    }

    /// Client and policy: who is it, is it really, may it (M5.3). The key is fresh (M5.7).
    fn grant(
        &self,
        request: &KeyRequest,
        rng: &mut dyn CryptoRng,
    ) -> Result<(SessionKey, Grant, Policy, RoleKeys), (RefuseCode, &'static str)> {
        let claim = &request.claim;
        let client = match self.view.lookup(&claim.client, Role::Client, claim.key_version) {
            Lookup::Found(key) => key.role_keys(Role::Client),
            Lookup::Unknown => return Err((RefuseCode::UnknownDevice, "client_unknown")),
            Lookup::WrongVersion => return Err((RefuseCode::UnknownDevice, "client_key_version")),
            Lookup::Disabled => return Err((RefuseCode::RevokedDevice, "client_disabled")),
            Lookup::Revoked => return Err((RefuseCode::RevokedDevice, "client_revoked")),
            Lookup::Damaged => return Err((RefuseCode::Internal, "client_record_damaged")),
        };
        if !claim.verify(&client.auth, &request.authenticator) {
            return Err((RefuseCode::WrongKey, "client_authenticator"));
        }
        if claim.gateway.as_ref().is_some_and(|named| *named != request.sender) {
            return Err((RefuseCode::NotPermitted, "client_means_another_gateway"));
        }
        match self.policy.decide(&claim.client, &request.sender, &claim.service) {
            Access::NotServed => Err((RefuseCode::ServiceNotServed, "no_gateway_entry")),
            Access::NotPermitted => Err((RefuseCode::NotPermitted, "no_permit")),
            Access::Permitted(policy) => {
                let grant = Grant::for_claim(
                    claim,
                    request.sender.clone(),
                    request.gateway_nonce,
                    self.lifetime_seconds,
                );
                Ok((SessionKey::generate(rng), grant, policy, client))
            }
        }
    }
}

fn note(audit: &mut AuditRecord, request: &KeyRequest) {
    audit.gateway = Some(request.sender.clone());
    audit.client = Some(request.claim.client.clone());
    audit.service = Some(request.claim.service.clone());
}
