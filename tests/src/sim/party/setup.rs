//! How stations and KDCs are made: services, device keys, permits, configurations. All secrets
//! come from the seed.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand_core::Rng;
use sekisho::control::{ClientEnd, Control, End, GatewayEnd};
use sekisho_config::Config;
use sekisho_dataplane::{Policy, PortSet, Role, Service, ServiceId, ServiceTable, WorkerConfig};
use sekisho_kdc::issuer::Issuer;
use sekisho_kdc::policy::AccessPolicy;
use sekisho_kdc::registry::RegistryView;
use sekisho_kdc_client::delivery::{ClientLimits, GatewayLimits};
use sekisho_kdc_client::requester::{KdcTransport, Requester, RequesterConfig};
use sekisho_kdc_client::{
    ClientDelivery, ClientDeliveryConfig, DeviceId, GatewayDelivery, GatewayDeliveryConfig,
    MasterKey, Role as KeyRole,
};
use sekisho_session::{FlowHasher, Timeouts};

use crate::sim::dice::{Dice, generator};
use crate::sim::plan::{Feature, Plan};
use crate::sim::schedule::SECOND;

/// From SYN to key, as by default.
const DEADLINE: u64 = 5 * SECOND;
/// Port on which the server waits for the client to close first.
pub(in crate::sim) const CLIENT_FIRST_PORT: u16 = 80;
/// Port on which the server closes first.
pub(in crate::sim) const SERVER_FIRST_PORT: u16 = 443;

/// What everybody agrees on: the long-term keys' master, and who talks to whom.
pub(in crate::sim) struct Realm {
    master: Arc<MasterKey>,
    pub(in crate::sim) client: IpAddr,
    pub(in crate::sim) raw_client: IpAddr,
    pub(in crate::sim) server: IpAddr,
    permits: AccessTexts,
}

/// The KDC's file, and one in which the client may nothing.
struct AccessTexts {
    open: String,
    shut: String,
}

impl Realm {
    /// The realm of a plan.
    pub(in crate::sim) fn new(plan: &Plan) -> Self {
        let v6 = plan.features.has(Feature::IPv6);
        let [client, raw_client, server] = match v6 {
            true => ["fd00:1::1", "fd00:1::2", "fd00:2::10"],
            false => ["10.0.1.1", "10.0.1.2", "10.0.2.10"],
        }
        .map(|text| text.parse().expect("invariant: an address"));
        let mut master = [0; 32];
        generator(plan.seed, "master key").fill_bytes(&mut master);
        let policy = if plan.features.has(Feature::Prefer) { "prefer" } else { "require" };
        let permits = AccessTexts {
            open: access("name:cl", policy, server),
            shut: access("name:another", policy, server),
        };
        let master = Arc::new(MasterKey::from_bytes(master));
        Self { master, client, raw_client, server, permits }
    }

    /// What a KDC decides with; `permits` is false for one that refuses the client.
    pub(in crate::sim) fn policy(&self, permits: bool) -> AccessPolicy {
        let text = if permits { &self.permits.open } else { &self.permits.shut };
        let Ok(Config::Kdc(config)) = Config::parse(text) else {
            unreachable!("invariant: a KDC's file")
        };
        AccessPolicy::new(&config).expect("invariant: names that parse")
    }

    /// A KDC that has just started.
    pub(in crate::sim) fn issuer(&self) -> Issuer {
        let view = Arc::new(RegistryView::derived_only(self.master.clone()));
        Issuer::new(self.policy(true), 3600, view)
    }

    /// The control core of a station that has just started.
    pub(in crate::sim) fn control(&self, plan: &Plan, role: Role, rng: StdRng) -> Control {
        let id = |text: &str| text.parse::<DeviceId>().expect("invariant: an identifier");
        match role {
            Role::Client => {
                let config = ClientDeliveryConfig {
                    id: id("name:cl"),
                    key: self.master.device_key(KeyRole::Client, &id("name:cl"), 1),
                    key_version: 1,
                    port: 1088,
                    deadline: DEADLINE,
                    confirm_deadline: DEADLINE,
                    limits: ClientLimits::default(),
                };
                let delivery = ClientDelivery::new(config, Box::new(rng));
                Control::new(End::Client(ClientEnd::new(delivery)))
            }
            Role::Gateway => {
                let key = || self.master.device_key(KeyRole::Gateway, &id("name:gw"), 1);
                let config = GatewayDeliveryConfig {
                    id: id("name:gw"),
                    key: key(),
                    key_version: 1,
                    names: Vec::new(),
                    deadline: DEADLINE,
                    limits: GatewayLimits::default(),
                };
                let transport = match plan.features.has(Feature::KdcOverTcp) {
                    true => KdcTransport::Tcp,
                    false => KdcTransport::Udp,
                };
                let requester = Requester::new(
                    RequesterConfig::new(plan.kdcs, transport),
                    key().role_keys(KeyRole::Gateway),
                );
                let delivery = GatewayDelivery::new(config, Box::new(rng));
                let vouched = !plan.features.has(Feature::HoldConfirmed);
                let end = GatewayEnd::new(delivery, requester, vouched, plan.kdcs);
                Control::new(End::Gateway(end))
            }
        }
    }

    /// The services, as a station that has just started takes them.
    pub(in crate::sim) fn services(&self, plan: &Plan) -> Vec<Service> {
        let policy = match plan.features.has(Feature::Prefer) {
            true => Policy::Prefer,
            false => Policy::Require,
        };
        let ports = [CLIENT_FIRST_PORT, SERVER_FIRST_PORT];
        (0..)
            .zip(ports)
            .map(|(id, port)| Service {
                id: ServiceId(id),
                address: self.server,
                prefix_len: if self.server.is_ipv4() { 32 } else { 128 },
                ports: PortSet::Ranges(vec![(port, port)]),
                policy,
            })
            .collect()
    }

    /// Configuration of the workers of a station that has just started.
    pub(in crate::sim) fn workers(
        &self,
        plan: &Plan,
        role: Role,
        dice: &mut Dice,
        services: &[Service],
    ) -> WorkerConfig {
        let mut config = WorkerConfig::new(role, table(services), FlowHasher::new(&dice.key()));
        config.sessions = 64;
        config.clear_sessions = 16;
        config.held_frames = 32;
        config.request_seed = dice.key();
        config.timeouts = timeouts(plan);
        config
    }
}

/// The waits of a plan's sessions.
pub(in crate::sim) fn timeouts(plan: &Plan) -> Timeouts {
    Timeouts {
        setup: Duration::from_nanos(2 * DEADLINE) + Duration::from_secs(10),
        idle: Duration::from_nanos(plan.idle),
        linger: Duration::from_nanos(plan.linger),
    }
}

/// Services as workers look them up.
pub(in crate::sim) fn table(services: &[Service]) -> Arc<ServiceTable> {
    Arc::new(ServiceTable::new(services).expect("invariant: prefix lengths of their families"))
}

fn access(client: &str, policy: &str, server: IpAddr) -> String {
    let service = |port| SocketAddr::new(server, port).to_string();
    format!(
        r#"
role = "kdc"
[kdc]
listen_udp = "127.0.0.1:1089"
registry = "/nonexistent/registry.redb"
master_key_file = "/nonexistent/master.key"
derived_keys = true
[[gateway]]
id = "name:gw"
services = ["{}", "{}"]
[[permit]]
client = "{client}"
gateway = "name:gw"
policy = "{policy}"
"#,
        service(CLIENT_FIRST_PORT),
        service(SERVER_FIRST_PORT)
    )
}
