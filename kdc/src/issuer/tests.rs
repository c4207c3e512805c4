//! Decisions over requests: each outcome, each refusal, the cache.

use super::*;
use crate::registry::{KeyState, NewKey, Registry};
use rand::SeedableRng;
use rand::rngs::StdRng;
use sekisho_config::Config;
use sekisho_kdc_client::message::{
    Claim, KdcAnswer, Reason, TYPE_EARLY, TYPE_IDENTIFY, verify_answer,
};
use sekisho_kdc_client::wrap::{open_client, open_gateway};
use sekisho_kdc_client::{DeviceId, DeviceKey, MasterKey, Service};
use std::collections::HashSet;

const SECOND: u64 = 1_000_000_000;

const CONFIG: &str = r#"
role = "kdc"
[kdc]
listen_udp = "127.0.0.1:1089"
registry = "/nonexistent/registry.redb"
master_key_file = "/nonexistent/master.key"
[[gateway]]
id = "name:gw1"
services = ["10.0.2.0/24:80-90", "[fd00::1]:443", "name:web"]
[[gateway]]
id = "name:gw2"
services = ["*"]
[[permit]]
client = "name:mallory"
gateway = "*"
policy = "off"
[[permit]]
client = "name:bob"
gateway = "name:gw1"
services = ["name:web"]
policy = "prefer"
[[permit]]
client = "name:alice"
gateway = "name:gw1"
"#;

fn policy(text: &str) -> AccessPolicy {
    match Config::parse(text).unwrap() {
        Config::Kdc(c) => AccessPolicy::new(&c).unwrap(),
        other => panic!("{:?}", other.role()),
    }
}

fn id(text: &str) -> DeviceId {
    text.parse().unwrap()
}

/// A KDC with a registry on disk, and the keys of its devices.
struct Bench {
    dir: tempfile::TempDir,
    registry: Registry,
    issuer: Issuer,
    derived: bool,
    now: u64,
    rng: StdRng,
}

impl Bench {
    fn new(derived: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let master = Arc::new(MasterKey::from_bytes([5; 32]));
        let registry = Registry::create(&dir.path().join("r.redb"), master).unwrap();
        if !derived {
            for client in ["alice", "bob", "mallory"] {
                let client = id(&format!("name:{client}"));
                registry.add(&client, Role::Client, None, NewKey::Random).unwrap();
            }
            for gateway in ["name:gw1", "name:gw2"] {
                registry.add(&id(gateway), Role::Gateway, None, NewKey::Random).unwrap();
            }
        }
        let view = Arc::new(registry.view(derived).unwrap());
        let issuer = Issuer::new(policy(CONFIG), 3600, view);
        Self { dir, registry, issuer, derived, now: SECOND, rng: StdRng::seed_from_u64(7) }
    }

    fn key(&self, device: &str, role: Role) -> DeviceKey {
        match self.derived {
            true => MasterKey::from_bytes([5; 32]).device_key(role, &id(device), 1),
            false => self.registry.export(&id(device), None).unwrap().1,
        }
    }

    fn renew(&mut self) {
        self.issuer.set_view(Arc::new(self.registry.view(self.derived).unwrap()));
    }

    fn decide(&mut self, bytes: &[u8]) -> Decision {
        let source = ("192.0.2.1:4000".parse().unwrap(), Transport::Udp);
        self.issuer.decide(bytes, source, self.now, &mut self.rng)
    }

    /// The request of `gateway` for `client`, after `edit`, with both keys as registered.
    fn request(&self, client: &str, gateway: &str, edit: impl FnOnce(&mut KeyRequest)) -> Vec<u8> {
        let client_key = self.key(client, Role::Client).role_keys(Role::Client);
        let gateway_key = self.key(gateway, Role::Gateway).role_keys(Role::Gateway);
        request(client, gateway, &client_key, &gateway_key, edit)
    }

    #[track_caller]
    fn refused(&mut self, bytes: &[u8], gateway: Option<&str>, code: RefuseCode, detail: &str) {
        let decision = self.decide(bytes);
        match decision.audit.outcome {
            Outcome::Refused(c, d) => assert_eq!((c, d), (code, detail)),
            other => panic!("{other:?}"),
        }
        assert_eq!(decision.audit.verified, gateway.is_some());
        let reply = decision.reply.expect("a refusal");
        let keys = self.key(gateway.unwrap_or("name:gw1"), Role::Gateway).role_keys(Role::Gateway);
        match verify_answer(&reply, &sha256(&[bytes]), &keys).unwrap() {
            KdcAnswer::Refusal { refusal, authentic } => {
                assert_eq!((refusal.code, authentic), (code, gateway.is_some()));
            }
            KdcAnswer::Reply(_) => panic!("a reply"),
        }
    }
}

fn request(
    client: &str,
    gateway: &str,
    client_key: &RoleKeys,
    gateway_key: &RoleKeys,
    edit: impl FnOnce(&mut KeyRequest),
) -> Vec<u8> {
    let mut r = KeyRequest {
        sender: id(gateway),
        sender_key_version: 1,
        claim: Claim {
            message_type: TYPE_IDENTIFY,
            request_id: 0x0102_0304_0506_0708,
            epoch: 0,
            reason: Reason::New,
            client: id(client),
            key_version: 1,
            gateway: Some(id(gateway)),
            service: "10.0.2.10:80".parse().unwrap(),
            nonce: [3; 32],
            rest: [4; 32],
        },
        authenticator: [0; 32],
        gateway_nonce: [9; 32],
    };
    edit(&mut r);
    if r.authenticator == [0; 32] {
        r.authenticator = r.claim.authenticator(&client_key.auth);
    }
    r.encode(&gateway_key.auth)
}

fn service(text: &str) -> Service {
    text.parse().unwrap()
}

#[track_caller]
fn issued(bench: &mut Bench, client: &str, bytes: &[u8]) -> (SessionKey, Policy) {
    let decision = bench.decide(bytes);
    assert_eq!(decision.audit.outcome, Outcome::Issued);
    let sent = KeyRequest::decode(bytes).unwrap();
    let keys = bench.key(&sent.sender.to_string(), Role::Gateway).role_keys(Role::Gateway);
    let hash = sha256(&[bytes]);
    let reply = match verify_answer(&decision.reply.unwrap(), &hash, &keys).unwrap() {
        KdcAnswer::Reply(reply) => reply,
        other => panic!("{other:?}"),
    };
    let associated = gateway_associated(&hash, &reply.for_client);
    let cgw = open_gateway(&reply.for_gateway, &associated, &keys.wrap).unwrap();
    let wrap = bench.key(client, Role::Client).role_keys(Role::Client).wrap;
    let ccl = open_client(&reply.for_client, &wrap).unwrap();
    assert!(cgw.key.ct_eq(&ccl.key), "both ends get one key");
    assert_eq!(cgw.grant, ccl.grant);
    assert!(ccl.grant.matches(&sent.claim, &sent.sender, &sent.gateway_nonce));
    assert_eq!(ccl.grant.lifetime_seconds, 3600);
    (ccl.key, ccl.policy)
}

#[test]
fn registered_devices_get_one_fresh_key_per_request() {
    let mut b = Bench::new(false);
    let first = b.request("name:alice", "name:gw1", |_| {});
    let second = b.request("name:alice", "name:gw1", |r| r.gateway_nonce = [8; 32]);
    let (a, told) = issued(&mut b, "name:alice", &first);
    let (c, _) = issued(&mut b, "name:alice", &second);
    assert!(!a.ct_eq(&c), "another request, another key");
    assert_eq!(told, Policy::Require);
    // EARLY names no gateway; names, IPv6 and the policy of the permit.
    let early = b.request("name:alice", "name:gw1", |r| {
        r.claim.message_type = TYPE_EARLY;
        r.claim.gateway = None;
        r.claim.service = service("[fd00::1]:443");
    });
    issued(&mut b, "name:alice", &early);
    let named = b.request("name:bob", "name:gw1", |r| r.claim.service = service("name:web"));
    assert_eq!(issued(&mut b, "name:bob", &named).1, Policy::Prefer);
}

#[test]
fn derived_keys_issue_without_any_record() {
    let mut b = Bench::new(true);
    let bytes = b.request("name:alice", "name:gw1", |_| {});
    issued(&mut b, "name:alice", &bytes);
    b.registry.revoke_unregistered(&id("name:alice"), Role::Client).unwrap();
    b.renew();
    b.refused(&bytes, Some("name:gw1"), RefuseCode::RevokedDevice, "client_revoked");
}

/// M5.3.
#[test]
fn every_refusal_has_its_code() {
    let mut b = Bench::new(false);
    let gw = Some("name:gw1");
    let ask = |b: &Bench, edit: &dyn Fn(&mut KeyRequest)| {
        b.request("name:alice", "name:gw1", |r| edit(r))
    };

    let r = ask(&b, &|r| r.claim.client = id("name:nobody"));
    b.refused(&r, gw, RefuseCode::UnknownDevice, "client_unknown");
    let r = ask(&b, &|r| r.claim.client = id("name:gw1"));
    b.refused(&r, gw, RefuseCode::UnknownDevice, "client_unknown");
    let r = ask(&b, &|r| r.claim.key_version = 2);
    b.refused(&r, gw, RefuseCode::UnknownDevice, "client_key_version");
    let r = ask(&b, &|r| r.authenticator = [1; 32]);
    b.refused(&r, gw, RefuseCode::WrongKey, "client_authenticator");
    // Bob's key does not speak for Alice.
    let r = b.request("name:bob", "name:gw1", |r| r.claim.client = id("name:alice"));
    b.refused(&r, gw, RefuseCode::WrongKey, "client_authenticator");
    let r = ask(&b, &|r| r.claim.gateway = Some(id("name:gw2")));
    b.refused(&r, gw, RefuseCode::NotPermitted, "client_means_another_gateway");
    let r = ask(&b, &|r| r.claim.service = service("10.0.3.10:80"));
    b.refused(&r, gw, RefuseCode::ServiceNotServed, "no_gateway_entry");
    let r = ask(&b, &|r| r.claim.service = service("10.0.2.10:91"));
    b.refused(&r, gw, RefuseCode::ServiceNotServed, "no_gateway_entry");
    let r = b.request("name:bob", "name:gw1", |_| {});
    b.refused(&r, gw, RefuseCode::NotPermitted, "no_permit");
    let r = b.request("name:alice", "name:gw2", |_| {});
    b.refused(&r, Some("name:gw2"), RefuseCode::NotPermitted, "no_permit");
    let r = b.request("name:mallory", "name:gw1", |_| {});
    b.refused(&r, gw, RefuseCode::NotPermitted, "no_permit");

    let r = ask(&b, &|r| r.sender = id("name:gw9"));
    b.refused(&r, None, RefuseCode::UnknownGateway, "gateway_unknown");
    let r = ask(&b, &|r| r.sender = id("name:alice"));
    b.refused(&r, None, RefuseCode::UnknownGateway, "gateway_unknown");
    let r = ask(&b, &|r| r.sender_key_version = 2);
    b.refused(&r, None, RefuseCode::UnknownGateway, "gateway_key_version");
    // A gateway that signs with its own key under another's name.
    let r = ask(&b, &|r| r.sender = id("name:gw2"));
    b.refused(&r, None, RefuseCode::UnknownGateway, "gateway_hmac");
    let mut r = ask(&b, &|_| {});
    let last = r.len() - 1;
    r[last] ^= 1;
    b.refused(&r, None, RefuseCode::UnknownGateway, "gateway_hmac");

    let mut r = ask(&b, &|_| {});
    r[0] = 2;
    b.refused(&r, None, RefuseCode::VersionUnsupported, "version");
    let mut r = ask(&b, &|_| {});
    r.push(0);
    b.refused(&r, None, RefuseCode::Malformed, "malformed");
}

/// M5.3.
#[test]
fn any_changed_octet_of_a_request_is_refused() {
    let mut b = Bench::new(false);
    let good = b.request("name:alice", "name:gw1", |_| {});
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x40;
        let decision = b.decide(&bad);
        assert!(matches!(decision.audit.outcome, Outcome::Refused(..)), "octet {at}");
        assert!(!decision.audit.verified, "octet {at}");
    }
    for len in 0..good.len() {
        let decision = b.decide(&good[..len]);
        assert!(matches!(decision.audit.outcome, Outcome::Refused(..)), "{len} octets");
        assert!(decision.reply.is_none_or(|r| r.len() <= len), "a hint amplifies at {len}");
    }
}

#[test]
fn states_of_keys_are_obeyed() {
    let mut b = Bench::new(false);
    let r = b.request("name:alice", "name:gw1", |_| {});
    b.registry.set_state(&id("name:alice"), None, KeyState::Disabled).unwrap();
    b.renew();
    b.refused(&r, Some("name:gw1"), RefuseCode::RevokedDevice, "client_disabled");
    b.registry.set_state(&id("name:alice"), None, KeyState::Enabled).unwrap();
    b.renew();
    issued(&mut b, "name:alice", &r);
    b.registry.set_state(&id("name:alice"), None, KeyState::Revoked).unwrap();
    b.renew();
    b.refused(&r, Some("name:gw1"), RefuseCode::RevokedDevice, "client_revoked");

    let key = b.key("name:gw1", Role::Gateway).role_keys(Role::Gateway);
    let bob = b.key("name:bob", Role::Client).role_keys(Role::Client);
    for (state, detail) in
        [(KeyState::Disabled, "gateway_disabled"), (KeyState::Revoked, "gateway_revoked")]
    {
        b.registry.set_state(&id("name:gw1"), None, state).unwrap();
        b.renew();
        let r = request("name:bob", "name:gw1", &bob, &key, |_| {});
        let decision = b.decide(&r);
        assert_eq!(decision.audit.outcome, Outcome::Refused(RefuseCode::UnknownGateway, detail));
    }
}

#[test]
fn a_repeated_request_gets_the_same_octets_for_five_seconds() {
    let mut b = Bench::new(false);
    let r = b.request("name:alice", "name:gw1", |_| {});
    let first = b.decide(&r).reply.unwrap();
    b.now += 5 * SECOND - 1;
    let again = b.decide(&r);
    assert_eq!(again.audit.outcome, Outcome::Repeated);
    assert_eq!(again.audit.client, Some(id("name:alice")));
    assert!(again.audit.verified);
    assert_eq!(again.reply.unwrap(), first);
    b.now += 1;
    let later = b.decide(&r);
    assert_eq!(later.audit.outcome, Outcome::Issued);
    assert_ne!(later.reply.unwrap(), first);
}

#[test]
fn a_revocation_reaches_behind_the_cache() {
    let mut b = Bench::new(false);
    let r = b.request("name:alice", "name:gw1", |_| {});
    assert_eq!(b.decide(&r).audit.outcome, Outcome::Issued);
    b.registry.set_state(&id("name:alice"), None, KeyState::Revoked).unwrap();
    b.renew();
    b.refused(&r, Some("name:gw1"), RefuseCode::RevokedDevice, "client_revoked");

    let mut b = Bench::new(false);
    let r = b.request("name:alice", "name:gw1", |_| {});
    assert_eq!(b.decide(&r).audit.outcome, Outcome::Issued);
    b.issuer.set_policy(policy(&CONFIG.replace("name:alice", "name:carol")), 60);
    b.refused(&r, Some("name:gw1"), RefuseCode::NotPermitted, "no_permit");
}

#[test]
fn the_cache_is_bounded_and_drops_the_oldest() {
    let mut cache = AnswerCache::new(3);
    let key = |i: u8| [i; 32];
    for i in 0..10 {
        cache.put(key(i), vec![i], u64::from(i));
        assert!(cache.len() <= 3);
    }
    assert!(cache.get(&key(6), 10).is_none());
    assert_eq!(cache.get(&key(7), 10), Some(&vec![7]));
    assert!(cache.get(&key(7), 7 + cache::LIFETIME).is_none());
    assert_eq!(cache.len(), 2);
    cache.clear();
    assert!(cache.get(&key(9), 10).is_none() && cache.len() == 0);
}

#[test]
fn the_same_view_and_seed_give_fresh_nonces_and_no_key_in_the_log() {
    let mut b = Bench::new(false);
    let mut replies = HashSet::new();
    for i in 0..50u8 {
        let r = b.request("name:alice", "name:gw1", |r| r.gateway_nonce = [i; 32]);
        let decision = b.decide(&r);
        let line = serde_json::to_string(&decision.audit).unwrap();
        let key = b.key("name:alice", Role::Client);
        assert!(!line.contains(&hex::encode(&key.expose()[..8])));
        assert!(
            line.contains(r#""outcome":"issued""#) && line.contains(r#""client":"name:alice""#)
        );
        assert!(replies.insert(decision.reply.unwrap()));
    }
    assert!(b.dir.path().exists());
}
