//! A client, a gateway and a KDC whose long-term keys the fuzzer's bodies know. Owns the names, the keys
//! and the policy.

use std::net::SocketAddr;
use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::StdRng;
use sekisho_config::Config;
use sekisho_kdc::audit::Transport;
use sekisho_kdc::issuer::{Decision, Issuer};
use sekisho_kdc::policy::AccessPolicy;
use sekisho_kdc::registry::RegistryView;
use sekisho_kdc_client::message::{Claim, KeyRequest, Reason, TYPE_IDENTIFY};
use sekisho_kdc_client::{DeviceId, DeviceKey, MasterKey, Role, RoleKeys, Service};

/// Nanoseconds of a second.
pub(super) const SECOND: u64 = 1_000_000_000;

const MASTER: [u8; 32] = [5; 32];
const CONFIG: &str = r#"
role = "kdc"
[kdc]
listen_udp = "127.0.0.1:1089"
registry = "/nonexistent/registry.redb"
master_key_file = "/nonexistent/master.key"
[[gateway]]
id = "name:gw1"
services = ["10.0.2.0/24:80-90", "[fd00::1]:443", "name:web"]
[[permit]]
client = "name:mallory"
gateway = "*"
policy = "off"
[[permit]]
client = "*"
gateway = "name:gw1"
"#;

pub(super) fn client_id() -> DeviceId {
    name("alice")
}

pub(super) fn gateway_id() -> DeviceId {
    name("gw1")
}

fn name(name: &str) -> DeviceId {
    DeviceId::name(name).expect("invariant: a valid name")
}

/// The key that the KDC derives for a device.
pub(super) fn device_key(role: Role, id: &DeviceId, version: u32) -> DeviceKey {
    MasterKey::from_bytes(MASTER).device_key(role, id, version)
}

pub(super) fn role_keys(role: Role, id: &DeviceId, version: u32) -> RoleKeys {
    device_key(role, id, version).role_keys(role)
}

/// A KDC and its randomness, the same in every run.
pub(super) struct Kdc {
    issuer: Issuer,
    rng: StdRng,
}

impl Kdc {
    pub(super) fn new() -> Self {
        let policy = match Config::parse(CONFIG) {
            Ok(Config::Kdc(config)) => AccessPolicy::new(&config).unwrap_or_default(),
            _ => AccessPolicy::default(),
        };
        let master = Arc::new(MasterKey::from_bytes(MASTER));
        let view = Arc::new(RegistryView::derived_only(master));
        Self { issuer: Issuer::new(policy, 3600, view), rng: StdRng::seed_from_u64(1) }
    }

    pub(super) fn decide(&mut self, request: &[u8], now: u64) -> Decision {
        let source = (SocketAddr::from(([192, 0, 2, 1], 4000)), Transport::Udp);
        self.issuer.decide(request, source, now, &mut self.rng)
    }
}

/// A request that a KDC grants.
pub(super) fn request(number: u8) -> KeyRequest {
    let claim = Claim {
        message_type: TYPE_IDENTIFY,
        request_id: u64::from(number),
        epoch: 0,
        reason: Reason::New,
        client: client_id(),
        key_version: 1,
        gateway: Some(gateway_id()),
        service: Service::Address(SocketAddr::from(([10, 0, 2, 10], 80))),
        nonce: [number; 32],
        rest: [7; 32],
    };
    let authenticator = claim.authenticator(&role_keys(Role::Client, &client_id(), 1).auth);
    let gateway_nonce = [number ^ 0xff; 32];
    KeyRequest { sender: gateway_id(), sender_key_version: 1, claim, authenticator, gateway_nonce }
}

/// The same as octets.
pub(super) fn request_octets(number: u8) -> Vec<u8> {
    request(number).encode(&role_keys(Role::Gateway, &gateway_id(), 1).auth)
}
