//! The world of the tests: client, gateway, KDC, and time.

use std::net::SocketAddr;

use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::delivery::{
    ClientDelivery, ClientDeliveryConfig, ClientLimits, ClientOutput, GatewayDelivery,
    GatewayDeliveryConfig, GatewayLimits, GatewayOutput, SECOND, SessionRef,
};
use crate::identity::DeviceId;
use crate::keys::{DeviceKey, Role};
use crate::message::{KeyRefusal, KeyReply, KeyRequest, sha256};
use crate::refuse::{KdcFailure, RefuseCode};
use crate::schedule::TrafficSecrets;
use crate::wrap::{self, Grant, Policy, SessionKey};

pub(super) const R: u64 = 0x1122_3344_5566_7788;
pub(super) const OPTION: [u8; 13] =
    [253, 13, 0x5e, 0x50, 0x10, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88];
pub(super) const PORT: u16 = 1088;
pub(super) const CLIENT_KEY: [u8; 32] = [0xc1; 32];
pub(super) const GATEWAY_KEY: [u8; 32] = [0x9a; 32];

/// A datagram on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Datagram {
    pub(super) src: SocketAddr,
    pub(super) dst: SocketAddr,
    pub(super) bytes: Vec<u8>,
}

/// What the gateway's output amounted to, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Send(u8),
    KeyRequest,
    Install([u8; 96]),
    Synchronised,
    Completed,
    Failed(RefuseCode),
    Outcome(Result<(), RefuseCode>, u64),
}

/// How the KDC answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kdc {
    Up,
    Down,
    /// Answers later: [`World::answer_kdc`].
    Slow,
    Refuses(RefuseCode),
}

pub(super) struct World {
    pub(super) client: ClientDelivery,
    pub(super) gateway: GatewayDelivery,
    pub(super) now: u64,
    /// As the client sees it.
    pub(super) inner: SessionRef,
    /// As the gateway sees it.
    pub(super) outer: SessionRef,
    /// Port that NAT gives the client's key delivery.
    pub(super) outer_port: u16,
    pub(super) kdc: Kdc,
    pub(super) kdc_rng: StdRng,
    pub(super) requests: Vec<(u64, Vec<u8>)>,
    pub(super) to_gateway: Vec<Datagram>,
    pub(super) to_client: Vec<Datagram>,
    pub(super) gateway_seen: Vec<Seen>,
    pub(super) client_seen: Vec<Seen>,
}

pub(super) fn session() -> SessionRef {
    SessionRef {
        client: "10.0.1.2:40000".parse().unwrap(),
        server: "10.0.2.10:80".parse().unwrap(),
        client_isn: 0xdead_beef,
    }
}

pub(super) fn client_id() -> DeviceId {
    "name:alice".parse().unwrap()
}

pub(super) fn gateway_id() -> DeviceId {
    "name:gw1".parse().unwrap()
}

pub(super) fn client_config() -> ClientDeliveryConfig {
    ClientDeliveryConfig {
        id: client_id(),
        key: DeviceKey::from_bytes(CLIENT_KEY),
        key_version: 1,
        port: PORT,
        deadline: 5 * SECOND,
        confirm_deadline: 10 * SECOND,
        limits: ClientLimits::default(),
    }
}

pub(super) fn gateway_config() -> GatewayDeliveryConfig {
    GatewayDeliveryConfig {
        id: gateway_id(),
        key: DeviceKey::from_bytes(GATEWAY_KEY),
        key_version: 1,
        names: Vec::new(),
        deadline: 5 * SECOND,
        limits: GatewayLimits::default(),
    }
}

pub(super) fn rng(seed: u64) -> Box<StdRng> {
    Box::new(StdRng::seed_from_u64(seed))
}

impl World {
    pub(super) fn new() -> World {
        World::with(client_config(), gateway_config(), 1)
    }

    pub(super) fn with(
        client: ClientDeliveryConfig,
        gateway: GatewayDeliveryConfig,
        seed: u64,
    ) -> World {
        World {
            client: ClientDelivery::new(client, rng(seed)),
            gateway: GatewayDelivery::new(gateway, rng(seed ^ 0x5555)),
            now: 1000 * SECOND,
            inner: session(),
            outer: session(),
            outer_port: PORT,
            kdc: Kdc::Up,
            kdc_rng: StdRng::seed_from_u64(seed ^ 0xaaaa),
            requests: Vec::new(),
            to_gateway: Vec::new(),
            to_client: Vec::new(),
            gateway_seen: Vec::new(),
            client_seen: Vec::new(),
        }
    }

    pub(super) fn syn_sent(&mut self) {
        let service = self.inner.server.into();
        self.client.on_syn_sent(self.inner, R, OPTION, service, self.now);
        self.drain();
    }

    pub(super) fn syn_arrived(&mut self) {
        self.gateway.on_syn(self.outer, R, OPTION, self.now);
        self.drain();
    }

    /// Carries datagrams, without loss and without time, until none is under way.
    pub(super) fn settle(&mut self) {
        while !self.to_gateway.is_empty() || !self.to_client.is_empty() {
            self.step_gateway();
            self.step_client();
        }
    }

    pub(super) fn step_gateway(&mut self) {
        for datagram in std::mem::take(&mut self.to_gateway) {
            self.give_gateway(&datagram);
        }
    }

    pub(super) fn step_client(&mut self) {
        for datagram in std::mem::take(&mut self.to_client) {
            self.give_client(&datagram);
        }
    }

    /// A datagram as the client sent it arrives at the gateway, through NAT if there is one.
    pub(super) fn give_gateway(&mut self, datagram: &Datagram) {
        let src = SocketAddr::new(self.outer.client.ip(), self.outer_port);
        self.gateway.on_datagram(src, datagram.dst, &datagram.bytes, self.now);
        self.drain();
    }

    pub(super) fn give_client(&mut self, datagram: &Datagram) {
        let dst = SocketAddr::new(self.inner.client.ip(), PORT);
        self.client.on_datagram(datagram.src, dst, &datagram.bytes, self.now);
        self.drain();
    }

    /// Lets time pass in the machines' own steps, carrying what they send.
    pub(super) fn run_until(&mut self, end: u64) {
        self.settle();
        while let Some(at) = self.next_deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.timers();
            self.settle();
        }
        self.now = self.now.max(end);
    }

    pub(super) fn next_deadline(&self) -> Option<u64> {
        [self.client.next_deadline(), self.gateway.next_deadline()].into_iter().flatten().min()
    }

    pub(super) fn timers(&mut self) {
        self.client.on_timer(self.now);
        self.gateway.on_timer(self.now);
        self.drain();
    }

    /// From nothing to both ends synchronised.
    pub(super) fn handshake(&mut self) {
        self.syn_sent();
        self.syn_arrived();
        self.settle();
    }

    pub(super) fn drain(&mut self) {
        while let Some(output) = self.client.poll() {
            let seen = self.client_output(output);
            self.client_seen.push(seen);
        }
        while let Some(output) = self.gateway.poll() {
            let seen = self.gateway_output(output);
            self.gateway_seen.push(seen);
        }
    }

    fn client_output(&mut self, output: ClientOutput) -> Seen {
        match output {
            ClientOutput::Send { src, dst, datagram: bytes, .. } => {
                let kind = bytes[1];
                self.to_gateway.push(Datagram { src, dst, bytes });
                Seen::Send(kind)
            }
            ClientOutput::Install { secrets, policy, lifetime_seconds, .. } => {
                assert_eq!((policy, lifetime_seconds), (Policy::Require, 3600));
                Seen::Install(key_bytes(&secrets))
            }
            ClientOutput::Completed { .. } => Seen::Completed,
            ClientOutput::Failed { code, .. } => Seen::Failed(code),
            ClientOutput::Outcome { result, latency, .. } => Seen::Outcome(result, latency),
        }
    }

    fn gateway_output(&mut self, output: GatewayOutput) -> Seen {
        match output {
            GatewayOutput::Send { src, dst, datagram: bytes, .. } => {
                let kind = bytes[1];
                self.to_client.push(Datagram { src, dst, bytes });
                Seen::Send(kind)
            }
            GatewayOutput::KeyRequest { exchange, message } => {
                self.requests.push((exchange, message));
                self.answer_kdc();
                Seen::KeyRequest
            }
            GatewayOutput::Install { secrets, lifetime_seconds, .. } => {
                assert_eq!(lifetime_seconds, 3600);
                Seen::Install(key_bytes(&secrets))
            }
            GatewayOutput::Synchronised { .. } => Seen::Synchronised,
            GatewayOutput::Failed { code, .. } => Seen::Failed(code),
            GatewayOutput::Outcome { result, latency, .. } => Seen::Outcome(result, latency),
        }
    }

    /// Answers the last KEY-REQUEST unless the KDC is slow.
    fn answer_kdc(&mut self) {
        let (exchange, message) = self.requests.last().unwrap().clone();
        match self.kdc {
            Kdc::Slow => {}
            Kdc::Down => self.gateway.on_kdc(exchange, Err(KdcFailure::Unavailable), self.now),
            Kdc::Refuses(code) => {
                self.gateway.on_kdc(exchange, Err(KdcFailure::Refused(code)), self.now);
            }
            Kdc::Up => {
                let answer = kdc_answer(&message, &mut self.kdc_rng);
                self.gateway.on_kdc(exchange, Ok(&answer), self.now);
            }
        }
    }

    pub(super) fn gateway_installs(&self) -> Vec<[u8; 96]> {
        installs(&self.gateway_seen)
    }

    pub(super) fn client_installs(&self) -> Vec<[u8; 96]> {
        installs(&self.client_seen)
    }

    /// Both ends hold the same one key and know it.
    pub(super) fn assert_synchronised(&self) {
        assert_eq!(self.gateway_installs().len(), 1, "{:?}", self.gateway_seen);
        assert_eq!(self.gateway_installs(), self.client_installs());
        assert!(self.gateway_seen.contains(&Seen::Synchronised), "{:?}", self.gateway_seen);
        assert!(self.client_seen.contains(&Seen::Completed), "{:?}", self.client_seen);
    }
}

pub(super) fn installs(seen: &[Seen]) -> Vec<[u8; 96]> {
    seen.iter()
        .filter_map(|s| match s {
            Seen::Install(keys) => Some(*keys),
            _ => None,
        })
        .collect()
}

fn key_bytes(secrets: &TrafficSecrets) -> [u8; 96] {
    let mut out = [0; 96];
    out[..32].copy_from_slice(&secrets.client_to_server.aes);
    out[32..48].copy_from_slice(&secrets.client_to_server.ghash);
    out[48..80].copy_from_slice(&secrets.server_to_client.aes);
    out[80..].copy_from_slice(&secrets.server_to_client.ghash);
    out
}

/// A KDC that knows one client and one gateway.
pub(super) fn kdc_answer(message: &[u8], rng: &mut StdRng) -> Vec<u8> {
    kdc_answer_with(message, rng, |grant| (grant.clone(), grant))
}

/// The same, of a KDC that errs: `err` makes of the right grant what `Ccl` and `Cgw` say.
pub(super) fn kdc_answer_with(
    message: &[u8],
    rng: &mut StdRng,
    err: impl FnOnce(Grant) -> (Grant, Grant),
) -> Vec<u8> {
    let gateway = DeviceKey::from_bytes(GATEWAY_KEY).role_keys(Role::Gateway);
    let client = DeviceKey::from_bytes(CLIENT_KEY).role_keys(Role::Client);
    let hash = sha256(&[message]);
    let request = KeyRequest::decode(message).unwrap();
    assert_eq!(request.sender, gateway_id());
    assert!(KeyRequest::verify(message, &gateway.auth));
    let claim = &request.claim;
    let refusal = |code| KeyRefusal { request: hash, code }.encode(Some(&gateway.auth));
    if claim.client != client_id() || claim.key_version != 1 {
        return refusal(RefuseCode::UnknownDevice);
    }
    if claim.gateway != Some(gateway_id()) || !claim.verify(&client.auth, &request.authenticator) {
        return refusal(RefuseCode::WrongKey);
    }
    let grant = Grant::for_claim(claim, gateway_id(), request.gateway_nonce, 3600);
    let key = SessionKey::generate(rng);
    let (told_client, told_gateway) = err(grant);
    let for_client = wrap::seal_client(&key, &told_client, Policy::Require, &client.wrap, rng);
    let associated = wrap::gateway_associated(&hash, &for_client);
    let content = (&key, &told_gateway, None);
    let for_gateway = wrap::seal_gateway(content, &associated, &gateway.wrap, rng);
    KeyReply { request: hash, for_client, for_gateway }.encode()
}
