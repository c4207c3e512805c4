//! Both control cores back to back with the KDC's real decisions: no socket, no clock, no worker.

use std::net::SocketAddr;
use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::StdRng;
use sekisho_config::Config;
use sekisho_dataplane::DatagramBuf;
use sekisho_kdc::audit::Transport;
use sekisho_kdc::issuer::Issuer;
use sekisho_kdc::policy::AccessPolicy;
use sekisho_kdc::registry::RegistryView;
use sekisho_kdc_client::delivery::{ClientLimits, GatewayLimits, MILLISECOND, SECOND};
use sekisho_kdc_client::requester::{KdcTransport, Requester, RequesterConfig};
use sekisho_kdc_client::{
    ClientDelivery, ClientDeliveryConfig, DeviceId, GatewayDelivery, GatewayDeliveryConfig,
    MasterKey, Role,
};
use sekisho_wire::{Transport as Layer4, parse_frame};

use super::*;

const CLIENT: &str = "10.0.1.1:40000";
const SERVER: &str = "10.0.2.10:80";
const ISN: u32 = 7;
const GENERATION: u32 = 3;
const OPTION: [u8; 13] = [253, 13, 0x5e, 0x50, 0x10, 0, 0, 0, 0, 0, 0, 0, 9];
const REQUEST_ID: u64 = 9;
const KDC: &str = r#"
role = "kdc"
[kdc]
listen_udp = "127.0.0.1:1089"
registry = "/nonexistent/registry.redb"
master_key_file = "/nonexistent/master.key"
derived_keys = true
[[gateway]]
id = "name:gw"
services = ["10.0.2.10:80"]
[[permit]]
client = "name:cl"
gateway = "name:gw"
policy = "require"
"#;

fn flow() -> FlowKey {
    FlowKey::new(CLIENT.parse().unwrap(), SERVER.parse().unwrap()).unwrap()
}

fn l2() -> L2Header {
    L2Header::new([2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1])
}

fn request() -> Event {
    Event::Request {
        worker: 1,
        flow: flow(),
        client_isn: ISN,
        generation: GENERATION,
        request_id: REQUEST_ID,
        option: OPTION,
        service: ServiceId(0),
        l2: l2(),
    }
}

/// The three parties, and the time.
struct Parties {
    client: Control,
    gateway: Control,
    kdc: Issuer,
    rng: StdRng,
    now: u64,
}

/// What a control core wanted of its workers, in words, in order.
type Trace = Vec<String>;

impl Parties {
    fn new(client: &str) -> Self {
        let master = Arc::new(MasterKey::from_bytes([5; 32]));
        let id = |text: &str| text.parse::<DeviceId>().unwrap();
        let Config::Kdc(config) = Config::parse(KDC).unwrap() else { panic!("a KDC's file") };
        let view = Arc::new(RegistryView::derived_only(master.clone()));
        let rng = |seed| Box::new(StdRng::seed_from_u64(seed));
        let client = ClientDeliveryConfig {
            id: id(client),
            key: master.device_key(Role::Client, &id(client), 1),
            key_version: 1,
            port: 1088,
            deadline: 5 * SECOND,
            confirm_deadline: 5 * SECOND,
            limits: ClientLimits::default(),
        };
        let gateway_key = || master.device_key(Role::Gateway, &id("name:gw"), 1);
        let gateway = GatewayDeliveryConfig {
            id: id("name:gw"),
            key: gateway_key(),
            key_version: 1,
            names: Vec::new(),
            deadline: 5 * SECOND,
            limits: GatewayLimits::default(),
        };
        let requester = Requester::new(
            RequesterConfig::new(1, KdcTransport::Udp),
            gateway_key().role_keys(Role::Gateway),
        );
        let gateway = GatewayEnd::new(GatewayDelivery::new(gateway, rng(1)), requester, true, 1);
        Self {
            client: Control::new(End::Client(ClientEnd::new(ClientDelivery::new(client, rng(2))))),
            gateway: Control::new(End::Gateway(gateway)),
            kdc: Issuer::new(AccessPolicy::new(&config).unwrap(), 3600, view),
            rng: StdRng::seed_from_u64(3),
            now: SECOND,
        }
    }

    /// Carries datagrams until nobody has more to say; `kdc_up`: whether the KDC answers.
    fn settle(&mut self, kdc_up: bool) -> [Trace; 2] {
        let mut traces = [Trace::new(), Trace::new()];
        loop {
            let mut idle = true;
            while let Some(effect) = self.client.poll() {
                idle = false;
                if let Some(datagram) = note(effect, &mut traces[0]) {
                    self.gateway.on_event(datagram, self.now);
                }
            }
            while let Some(effect) = self.gateway.poll() {
                idle = false;
                if let Effect::Kdc(KdcMessage::Udp { kdc, bytes }) = &effect {
                    let source = (SERVER.parse().unwrap(), Transport::Udp);
                    let reply = self.kdc.decide(bytes, source, self.now, &mut self.rng).reply;
                    if let Some(reply) = reply.filter(|_| kdc_up) {
                        self.gateway.on_kdc_datagram(*kdc, &reply, self.now);
                    }
                }
                if let Some(datagram) = note(effect, &mut traces[1]) {
                    self.client.on_event(datagram, self.now);
                }
            }
            if idle {
                return traces;
            }
        }
    }

    fn pass_time(&mut self, by: u64, kdc_up: bool) -> [Trace; 2] {
        let (end, mut all) = (self.now + by, [Trace::new(), Trace::new()]);
        while self.now < end {
            self.now += 10 * MILLISECOND;
            self.client.on_timer(self.now);
            self.gateway.on_timer(self.now);
            for (all, trace) in all.iter_mut().zip(self.settle(kdc_up)) {
                all.extend(trace);
            }
        }
        all
    }
}

/// Writes an effect down; a datagram comes back as the event that it is for the other end.
fn note(effect: Effect, trace: &mut Trace) -> Option<Event> {
    match effect {
        Effect::Kdc(_) => None,
        Effect::Pin(service) => {
            trace.push(format!("Pin {}", service.0));
            None
        }
        Effect::Command { worker, command: Command::Transmit { side, frame } } => {
            let view = parse_frame(&frame).unwrap();
            let Layer4::Udp(udp) = view.transport else { panic!("a datagram") };
            let payload = &frame[udp.payload.range()];
            trace.push(format!("Transmit {} to worker {worker}", payload[1]));
            Some(Event::Datagram {
                worker: 0,
                side,
                src: SocketAddr::new(view.src, udp.src_port),
                dst: SocketAddr::new(view.dst, udp.dst_port),
                l2: L2Header::from_frame(&frame, &view).unwrap(),
                bytes: DatagramBuf::from_slice(payload).unwrap(),
            })
        }
        Effect::Command { worker, command } => {
            trace.push(format!("{command:?} to worker {worker}"));
            None
        }
    }
}

const DELIVER: &str = "Transmit 3 to worker 1";
const SYNCED: &str = "Transmit 5 to worker 1";

#[test]
fn a_key_is_delivered_and_every_order_of_the_ring_is_kept() {
    let mut parties = Parties::new("name:cl");
    parties.client.on_event(request(), parties.now);
    parties.gateway.on_event(request(), parties.now);
    let [client, gateway] = parties.settle(true);
    let place = |what: &str| {
        gateway.iter().position(|line| line == what).unwrap_or_else(|| panic!("{what}"))
    };
    assert!(
        place("Install to worker 1") < place(DELIVER),
        "the key is there before the client is told: {gateway:?}"
    );
    assert!(place("Synchronise to worker 1") < place(SYNCED), "{gateway:?}");
    assert!(client.contains(&"Install to worker 1".to_owned()), "{client:?}");
    assert!(
        client.contains(&"Pin 0".to_owned()),
        "`require` learnt from the KDC is pinned: {client:?}"
    );
    for end in [&parties.client, &parties.gateway] {
        assert_eq!((end.outcomes().completed, end.outcomes().latency.count()), (1, 1));
    }
    assert_eq!(parties.gateway.kdc_outcomes().replied, 1);
}

#[test]
fn a_refusal_aborts_both_ends_with_its_code() {
    let mut parties = Parties::new("name:stranger");
    parties.client.on_event(request(), parties.now);
    parties.gateway.on_event(request(), parties.now);
    let mut traces = parties.settle(true);
    for (trace, more) in traces.iter_mut().zip(parties.pass_time(6 * SECOND, true)) {
        trace.extend(more);
    }
    for (trace, end) in traces.iter().zip([&parties.client, &parties.gateway]) {
        assert!(trace.contains(&"Abort to worker 1".to_owned()), "{trace:?}");
        assert!(!trace.iter().any(|line| line.starts_with("Install")), "{trace:?}");
        assert_eq!(end.outcomes().failed.get("not_permitted"), Some(&1), "{:?}", end.outcomes());
    }
    assert!(parties.gateway.kdc_outcomes().refused.contains_key("not_permitted"));
}

#[test]
fn a_silent_kdc_ends_in_its_own_code_and_nothing_hangs() {
    let mut parties = Parties::new("name:cl");
    parties.client.on_event(request(), parties.now);
    parties.gateway.on_event(request(), parties.now);
    parties.settle(false);
    let traces = parties.pass_time(7 * SECOND, false);
    for (trace, end) in traces.iter().zip([&parties.client, &parties.gateway]) {
        assert!(trace.contains(&"Abort to worker 1".to_owned()), "{trace:?}");
        assert_eq!(end.outcomes().failed.get("kdc_unavailable"), Some(&1), "{:?}", end.outcomes());
    }
}

#[test]
fn a_late_end_of_an_older_session_of_the_same_name_changes_nothing() {
    let mut parties = Parties::new("name:cl");
    parties.gateway.on_event(request(), parties.now);
    let closed = |generation| Event::Closed {
        worker: 1,
        flow: flow(),
        client_isn: ISN,
        generation,
        cause: CloseCause::Finished,
    };
    parties.gateway.on_event(closed(GENERATION - 1), parties.now);
    assert!(parties.gateway.outcomes().closed.is_empty());
    parties.gateway.on_event(closed(GENERATION), parties.now);
    assert_eq!(parties.gateway.outcomes().closed.get("finished"), Some(&1));
}

#[test]
fn datagrams_of_the_plain_side_are_not_even_read() {
    let mut parties = Parties::new("name:cl");
    parties.client.on_event(request(), parties.now);
    let mut trace = Trace::new();
    let early = std::iter::from_fn(|| parties.client.poll())
        .find_map(|effect| note(effect, &mut trace))
        .unwrap();
    parties.gateway.on_event(request(), parties.now);
    let Event::Datagram { worker, src, dst, l2, bytes, .. } = early else { panic!("a datagram") };
    let plain = Event::Datagram { worker, side: PortSide::Plain, src, dst, l2, bytes };
    parties.gateway.on_event(plain, parties.now);
    assert!(parties.gateway.poll().is_none(), "no INVITE");
}
