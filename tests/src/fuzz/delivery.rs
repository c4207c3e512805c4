//! Key delivery, both ends and a KDC, on a network that the script owns: what it loses, repeats, changes
//! and makes up must never give an end a key that the other does not have.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use rand::SeedableRng;
use rand::rngs::StdRng;
use sekisho_kdc_client::delivery::{ClientLimits, GatewayLimits};
use sekisho_kdc_client::message::{Body, Message};
use sekisho_kdc_client::{
    ClientDelivery, ClientDeliveryConfig, ClientOutput, DELIVERY_PORT, GatewayDelivery,
    GatewayDeliveryConfig, GatewayOutput, KdcFailure, MAX_MESSAGE, RefuseCode, Role, SessionRef,
    TrafficSecrets,
};

use super::parties::{Kdc, SECOND, client_id, device_key, gateway_id};
use super::script::Script;

/// Most steps of one script.
const STEPS: usize = 200;
/// Datagrams under way at most; the oldest is lost.
const NETWORK: usize = 32;
const SESSIONS: u8 = 4;

/// Runs one script.
///
/// # Panics
/// Where an end installs a key twice or one that the other does not have, the client before the gateway
/// or synchronised without it, a message is too long, or an INVITE longer than three times its trigger.
pub fn delivery(data: &[u8]) {
    message(data);
    let _ = run(data);
}

/// Octets that are a message are its only form, but for the padding of EARLY and unknown refusal codes.
fn message(octets: &[u8]) {
    if let Ok(message) = Message::decode(octets) {
        if matches!(&message.body, Body::Refuse(refuse) if refuse.code == RefuseCode::Internal) {
            return;
        }
        let again = message.encode();
        assert!(octets.starts_with(&again), "not canonical: {message:?}");
        assert!(octets[again.len()..].iter().all(|octet| *octet == 0), "{message:?}");
    }
}

/// How many sessions both ends hold a key of, and how many are synchronised at both.
pub(super) fn run(data: &[u8]) -> (usize, usize) {
    let mut script = Script::new(data);
    let mut world = World::new();
    for _ in 0..STEPS {
        if script.is_over() {
            break;
        }
        world.step(&mut script);
    }
    world.finish()
}

/// Where a datagram goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum To {
    Client,
    Gateway,
}

#[derive(Clone)]
struct Datagram {
    to: To,
    src: SocketAddr,
    dst: SocketAddr,
    octets: Vec<u8>,
}

/// Keys as octets, by session.
type Keys = BTreeMap<SessionRef, [u8; 96]>;

struct World {
    client: ClientDelivery,
    gateway: GatewayDelivery,
    kdc: Kdc,
    now: u64,
    network: Vec<Datagram>,
    requests: Vec<(u64, Vec<u8>)>,
    client_keys: Keys,
    gateway_keys: Keys,
    completed: usize,
    synchronised: usize,
    /// Length of what the gateway is answering now.
    trigger: usize,
}

fn session(number: u8) -> SessionRef {
    SessionRef {
        client: SocketAddr::from(([10, 0, 1, 2], 40_000 + u16::from(number))),
        server: SocketAddr::from(([10, 0, 2, 10], 80 + u16::from(number & 1))),
        client_isn: 0xdead_beef,
    }
}

/// Request id, and the request option that says it.
fn request(number: u8) -> (u64, [u8; 13]) {
    let id = 0x1122_3344_5566_7700 | u64::from(number);
    let mut option = [253, 13, 0x5e, 0x50, 0x10, 0, 0, 0, 0, 0, 0, 0, 0];
    option[5..].copy_from_slice(&id.to_be_bytes());
    (id, option)
}

impl World {
    fn new() -> Self {
        let client = ClientDeliveryConfig {
            id: client_id(),
            key: device_key(Role::Client, &client_id(), 1),
            key_version: 1,
            port: DELIVERY_PORT,
            deadline: 5 * SECOND,
            confirm_deadline: 10 * SECOND,
            limits: ClientLimits::default(),
        };
        let gateway = GatewayDeliveryConfig {
            id: gateway_id(),
            key: device_key(Role::Gateway, &gateway_id(), 1),
            key_version: 1,
            names: Vec::new(),
            deadline: 5 * SECOND,
            // Small, so that a script reaches the bounds.
            limits: GatewayLimits { sessions: 3, parked: 2, ..GatewayLimits::default() },
        };
        let rng = |seed| Box::new(StdRng::seed_from_u64(seed));
        Self {
            client: ClientDelivery::new(client, rng(1)),
            gateway: GatewayDelivery::new(gateway, rng(2)),
            kdc: Kdc::new(),
            now: 1000 * SECOND,
            network: Vec::new(),
            requests: Vec::new(),
            client_keys: BTreeMap::new(),
            gateway_keys: BTreeMap::new(),
            completed: 0,
            synchronised: 0,
            trigger: 0,
        }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        match script.u8() % 16 {
            0 | 1 => {
                let number = script.u8() % SESSIONS;
                let (session, (id, option)) = (session(number), request(number));
                let service = session.server.into();
                self.client.on_syn_sent(session, id, option, service, self.now);
            }
            2 | 3 => {
                let number = script.u8() % SESSIONS;
                let (id, option) = request(number);
                self.gateway.on_syn(session(number), id, option, self.now);
            }
            4..=7 => self.deliver(script, false),
            8 => self.deliver(script, true),
            9 => self.mangle(script),
            10 => {
                let octets = script.piece().to_vec();
                let to = if script.flag() { To::Client } else { To::Gateway };
                let session = session(script.u8() % SESSIONS);
                let host = SocketAddr::new(session.client.ip(), DELIVERY_PORT);
                let server = SocketAddr::new(session.server.ip(), DELIVERY_PORT);
                let (src, dst) = if to == To::Client { (server, host) } else { (host, server) };
                self.give(&Datagram { to, src, dst, octets });
            }
            11 | 12 => self.answer(script),
            13 => {
                let ms = script.one_of([1, 100, 250, 1_000, 3_000, 5_100, 11_000, 21_000]);
                self.now += ms * SECOND / 1_000;
                self.client.on_timer(self.now);
                self.gateway.on_timer(self.now);
            }
            14 => {
                let (session, at_client) = (session(script.u8() % SESSIONS), script.flag());
                self.close(&session, at_client);
            }
            _ => {
                let session = session(script.u8() % SESSIONS);
                // A tag can verify only where both ends have the key.
                if self.client_keys.contains_key(&session) {
                    self.gateway.on_synchronised(&session, self.now);
                    self.client.on_synchronised(&session, self.now);
                }
            }
        }
        self.drain();
    }

    fn close(&mut self, session: &SessionRef, at_client: bool) {
        if at_client {
            self.client.on_closed(session, self.now);
        } else {
            self.gateway.on_closed(session, self.now);
        }
    }

    fn deliver(&mut self, script: &mut Script<'_>, again: bool) {
        if self.network.is_empty() {
            return;
        }
        let at = script.below(self.network.len());
        let datagram = if again { self.network[at].clone() } else { self.network.remove(at) };
        self.give(&datagram);
    }

    /// A datagram changed, or sent from elsewhere, or back to where it came from.
    fn mangle(&mut self, script: &mut Script<'_>) {
        if self.network.is_empty() {
            return;
        }
        let mut datagram = self.network[script.below(self.network.len())].clone();
        match script.u8() % 4 {
            0 => datagram.src.set_port(script.u16()),
            1 => {
                datagram.to = if datagram.to == To::Client { To::Gateway } else { To::Client };
                std::mem::swap(&mut datagram.src, &mut datagram.dst);
            }
            _ => script.mutate(&mut datagram.octets),
        }
        self.give(&datagram);
    }

    fn give(&mut self, datagram: &Datagram) {
        let Datagram { to, src, dst, octets } = datagram;
        self.trigger = octets.len();
        match to {
            To::Client => self.client.on_datagram(*src, *dst, octets, self.now),
            To::Gateway => self.gateway.on_datagram(*src, *dst, octets, self.now),
        }
        self.drain();
        self.trigger = 0;
    }

    /// The KDC answers a request, answers it with another's reply, or is down.
    fn answer(&mut self, script: &mut Script<'_>) {
        if self.requests.is_empty() {
            return;
        }
        let at = script.below(self.requests.len());
        let (exchange, message) = self.requests.remove(at);
        let how = script.u8();
        let decided = self.kdc.decide(&message, self.now).reply.unwrap_or_default();
        match how {
            0..=199 => self.gateway.on_kdc(exchange, Ok(&decided), self.now),
            200..=219 => self.gateway.on_kdc(exchange, Err(KdcFailure::Unavailable), self.now),
            220..=229 => self.gateway.abandon_exchanges(self.now),
            _ => {
                let mut changed = decided;
                script.mutate(&mut changed);
                self.gateway.on_kdc(exchange, Ok(&changed), self.now);
            }
        }
    }

    fn send(&mut self, datagram: Datagram) {
        assert!(datagram.octets.len() <= MAX_MESSAGE);
        let invite = datagram.to == To::Client && datagram.octets.get(1) == Some(&1);
        if invite && self.trigger > 0 {
            assert!(datagram.octets.len() <= 3 * self.trigger, "an amplifier");
        }
        if self.network.len() == NETWORK {
            self.network.remove(0);
        }
        self.network.push(datagram);
    }

    fn drain(&mut self) {
        while let Some(output) = self.gateway.poll() {
            self.of_the_gateway(output);
        }
        while let Some(output) = self.client.poll() {
            self.of_the_client(output);
        }
    }

    fn of_the_gateway(&mut self, output: GatewayOutput) {
        match output {
            GatewayOutput::Send { src, dst, datagram: octets, .. } => {
                self.send(Datagram { to: To::Client, src, dst, octets });
            }
            GatewayOutput::KeyRequest { exchange, message } => {
                self.requests.push((exchange, message));
            }
            GatewayOutput::Install { session, secrets, lifetime_seconds } => {
                assert_eq!(lifetime_seconds, 3600);
                self.gateway_keys.insert(session, octets(&secrets));
            }
            GatewayOutput::Synchronised { session } => {
                let (ours, theirs) =
                    (self.gateway_keys.get(&session), self.client_keys.get(&session));
                assert!(ours.is_some() && ours == theirs, "synchronised with nobody");
                self.synchronised += 1;
            }
            GatewayOutput::Failed { .. } | GatewayOutput::Outcome { .. } => {}
        }
    }

    fn of_the_client(&mut self, output: ClientOutput) {
        match output {
            ClientOutput::Send { src, dst, datagram: octets, .. } => {
                self.send(Datagram { to: To::Gateway, src, dst, octets });
            }
            ClientOutput::Install { session, secrets, lifetime_seconds, .. } => {
                assert_eq!(lifetime_seconds, 3600);
                let keys = octets(&secrets);
                assert_eq!(self.gateway_keys.get(&session), Some(&keys), "a key of nobody else");
                self.client_keys.insert(session, keys);
            }
            ClientOutput::Completed { session } => {
                assert!(self.client_keys.contains_key(&session));
                self.completed += 1;
            }
            ClientOutput::Failed { .. } | ClientOutput::Outcome { .. } => {}
        }
    }

    fn finish(mut self) -> (usize, usize) {
        // Whatever is left comes to its end by time alone.
        for _ in 0..60 {
            self.now += SECOND;
            self.client.on_timer(self.now);
            self.gateway.on_timer(self.now);
            self.drain();
        }
        assert_eq!(self.client.pending(), 0, "a delivery without end at the client");
        (self.client_keys.len(), self.completed.min(self.synchronised))
    }
}

fn octets(secrets: &TrafficSecrets) -> [u8; 96] {
    let mut out = [0; 96];
    out[..32].copy_from_slice(&secrets.client_to_server.aes);
    out[32..48].copy_from_slice(&secrets.client_to_server.ghash);
    out[48..80].copy_from_slice(&secrets.server_to_client.aes);
    out[80..].copy_from_slice(&secrets.server_to_client.ghash);
    assert_ne!(out[..48], out[48..], "one key both ways");
    out
}
