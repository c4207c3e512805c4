//! From a checked configuration to parts ready to run: ports, workers, key delivery, KDC requests.
//! Owns the order of the start; nothing of it is undone here, dropping the parts does that.

use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::StdRng;
use sekisho_config::{
    DeviceConfig, DeviceName, FailMode, GatewayConfig, Hold, KdcAccess, NodeConfig, OtherTraffic,
};
use sekisho_dataplane::{PollMode, Role, RxChecksum, WorkerConfig, WorkerSpec};
use sekisho_kdc_client::delivery::{ClientLimits, GatewayLimits};
use sekisho_kdc_client::requester::{KdcTransport, Requester, RequesterConfig};
use sekisho_kdc_client::{
    ClientDelivery, ClientDeliveryConfig, DeviceId, DeviceKey, GatewayDelivery,
    GatewayDeliveryConfig, Role as KeyRole,
};
use sekisho_port::{AfXdpIo, FilterPolicy, ModeChoice, PortPairConfig, PortSide};
use sekisho_session::limits::SETUP_MARGIN;
use sekisho_session::{FlowHasher, Timeouts};

use super::StartError;
use super::services::Services;
use crate::control::{ClientEnd, GatewayEnd};

/// Messages that the ring to and the ring from each worker hold.
const CONTROL_RING: usize = 1024;

/// What the two ports are opened with.
pub(super) fn ports(node: &NodeConfig, role: Role) -> PortPairConfig {
    PortPairConfig {
        interfaces: [node.ports.cipher.clone(), node.ports.plain.clone()],
        servers_behind: match role {
            Role::Gateway => PortSide::Plain,
            Role::Client => PortSide::Cipher,
        },
        queues: usize::from(node.workers.count),
        frames_per_queue: node.workers.frames as usize,
        ring: node.workers.ring,
        mode: match node.ports.mode {
            sekisho_config::XdpMode::Auto => ModeChoice::Auto,
            sekisho_config::XdpMode::Native => ModeChoice::Native,
            sekisho_config::XdpMode::Skb => ModeChoice::Skb,
        },
        pin_directory: node.pin.directory.clone(),
        policy: FilterPolicy {
            key_delivery_port: node.delivery.port,
            other: match node.other.ip {
                OtherTraffic::Pass => sekisho_port::OtherTraffic::Pass,
                OtherTraffic::Drop => sekisho_port::OtherTraffic::Drop,
            },
            fail: match node.other.fail {
                FailMode::Closed => sekisho_port::FailMode::Closed,
                FailMode::Open => sekisho_port::FailMode::Open,
            },
            option_kind: node.options.kind,
            option_exid: node.options.exid,
        },
        services: Services::new(&node.services).for_ports(),
    }
}

/// What each worker is told.
///
/// # Errors
/// When the operating system has no randomness.
pub(super) fn worker_config(
    node: &NodeConfig,
    role: Role,
    mtu: u32,
) -> Result<WorkerConfig, StartError> {
    let table = Arc::new(Services::new(&node.services).table());
    let mut config = WorkerConfig::new(role, table, FlowHasher::new(&random()?));
    config.options = sekisho_wire::OptionCodes { kind: node.options.kind, exid: node.options.exid };
    config.kdp_port = node.delivery.port;
    config.mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
    config.rx_checksum[PortSide::Cipher.index()] = rx_checksum(node.ports.rx_checksum_cipher);
    config.rx_checksum[PortSide::Plain.index()] = rx_checksum(node.ports.rx_checksum_plain);
    config.sessions = node.workers.sessions;
    config.timeouts = Timeouts {
        // Key delivery may take one deadline until the KDC has answered and one until SYNC.
        setup: node.delivery.deadline * 2 + SETUP_MARGIN,
        idle: node.delivery.idle,
        linger: node.delivery.linger,
    };
    config.request_seed = random()?;
    Ok(config)
}

fn rx_checksum(configured: sekisho_config::RxChecksum) -> RxChecksum {
    match configured {
        sekisho_config::RxChecksum::Verify => RxChecksum::Verify,
        sekisho_config::RxChecksum::Offloaded => RxChecksum::Offloaded,
    }
}

/// One worker per pair of queues.
pub(super) fn worker_specs(
    node: &NodeConfig,
    config: &WorkerConfig,
    workers: Vec<AfXdpIo>,
) -> Result<Vec<WorkerSpec<AfXdpIo>>, StartError> {
    let poll = match node.workers.poll {
        sekisho_config::PollMode::Busy => PollMode::Busy,
        sekisho_config::PollMode::Adaptive => PollMode::Adaptive,
    };
    let spec = |(index, io): (usize, AfXdpIo)| {
        Ok(WorkerSpec {
            config: config.clone(),
            waiter: io.waiter().map_err(sekisho_port::PortError::from)?,
            io,
            core: node.workers.cores.get(index).map(|core| usize::from(*core)),
            poll,
            ring: CONTROL_RING,
        })
    };
    workers.into_iter().enumerate().map(spec).collect()
}

/// Key delivery and KDC requests of a gateway.
pub(super) fn gateway_end(config: &GatewayConfig) -> Result<GatewayEnd, StartError> {
    let node = &config.node;
    // Read once: key delivery and KDC requests must not use two keys.
    let key = device_key(&node.device)?;
    let requester = Requester::new(requester(&config.kdc), key.role_keys(KeyRole::Gateway));
    let delivery = GatewayDeliveryConfig {
        id: device_id(&node.device.id)?,
        key,
        key_version: node.device.key_version,
        names: Vec::new(),
        deadline: nanoseconds(node.delivery.deadline),
        limits: GatewayLimits::default(),
    };
    let release_syn = node.delivery.hold == Hold::Vouched;
    let delivery = GatewayDelivery::new(delivery, Box::new(seeded_rng()?));
    Ok(GatewayEnd::new(delivery, requester, release_syn, config.kdc.servers.len()))
}

/// How the KDCs of `access` are asked.
pub(super) fn requester(access: &KdcAccess) -> RequesterConfig {
    let transport = match access.transport {
        sekisho_config::KdcTransport::Udp => KdcTransport::Udp,
        sekisho_config::KdcTransport::Tcp => KdcTransport::Tcp,
    };
    let mut config = RequesterConfig::new(access.servers.len(), transport);
    config.deadline = nanoseconds(access.timeout);
    config
}

/// Key delivery of a client agent.
pub(super) fn client_end(node: &NodeConfig) -> Result<ClientEnd, StartError> {
    let config = ClientDeliveryConfig {
        id: device_id(&node.device.id)?,
        key: device_key(&node.device)?,
        key_version: node.device.key_version,
        port: node.delivery.port,
        deadline: nanoseconds(node.delivery.deadline),
        confirm_deadline: nanoseconds(node.delivery.deadline),
        limits: ClientLimits::default(),
    };
    Ok(ClientEnd::new(ClientDelivery::new(config, Box::new(seeded_rng()?))))
}

fn device_id(name: &DeviceName) -> Result<DeviceId, StartError> {
    sekisho_kdc::policy::device_id(name).map_err(|_| StartError::DeviceName(name.to_string()))
}

fn device_key(device: &DeviceConfig) -> Result<DeviceKey, StartError> {
    Ok(DeviceKey::from_bytes(*sekisho_kdc::keyfile::read(&device.key_file)?))
}

fn nanoseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn random<const N: usize>() -> Result<[u8; N], StartError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| StartError::Randomness)?;
    Ok(bytes)
}

fn seeded_rng() -> Result<StdRng, StartError> {
    Ok(StdRng::from_seed(random()?))
}
