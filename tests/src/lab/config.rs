//! Configuration files of the lab's gateway, agent and KDCs. Owns the texts and what a test may vary.

use std::fmt::Write as _;
use std::path::Path;

use super::topology::{CIPHER, Family, Host, PLAIN, Plan};

/// TCP ports of the servers that are protected services. Nothing listens on [`CLOSED`].
pub const PROTECTED: [u16; 7] = [ECHO, WEB, CLOSED, BANNER, IPERF, REDIS, STREAM];
/// Echo server.
pub const ECHO: u16 = 7;
/// nginx.
pub const WEB: u16 = 80;
/// Protected, with nobody behind it.
pub const CLOSED: u16 = 81;
/// A server that speaks first.
pub const BANNER: u16 = 2525;
/// iperf3.
pub const IPERF: u16 = 5201;
/// redis.
pub const REDIS: u16 = 6379;
/// Long streams with digests.
pub const STREAM: u16 = 9000;
/// A TCP port of the same servers that is no protected service.
pub const UNPROTECTED: u16 = 8088;
/// UDP port of key delivery.
pub const KEY_DELIVERY: u16 = 1088;

/// Identifier of the gateway.
pub const GATEWAY_ID: &str = "name:gw1";
/// Identifier of the agent.
pub const AGENT_ID: &str = "name:alice";
/// A device that no KDC of the lab knows.
pub const UNKNOWN_ID: &str = "name:mallory";
/// Addresses of the two KDCs.
pub const KDC_ADDRESSES: [&str; 2] = ["10.9.0.2:1089", "10.9.0.3:1089"];

/// What a test may vary; the default is the ordinary chain.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The network.
    pub plan: Plan,
    /// Whether the agent runs; a kernel bridge stands for it otherwise.
    pub agent: bool,
    /// Policy of all services at the gateway.
    pub policy: &'static str,
    /// Policy of all services at the agent.
    pub agent_policy: &'static str,
    /// How the gateway asks the KDC.
    pub transport: &'static str,
    /// When the server sees a SYN.
    pub hold: &'static str,
    /// Number of KDCs, 1 or 2.
    pub kdcs: usize,
    /// Device keys are derived from the KDC's master key; nothing is registered.
    pub derived_keys: bool,
    /// The agent's identifier.
    pub agent_id: &'static str,
    /// The agent holds another key than the KDC has for it.
    pub agent_wrong_key: bool,
    /// The gateway holds another key than the KDC has for it.
    pub gateway_wrong_key: bool,
    /// Hold deadline in milliseconds.
    pub deadline_ms: u32,
    /// How long ended sessions keep their keys, in milliseconds.
    pub linger_ms: u32,
    /// Idle limit in seconds.
    pub idle_s: u32,
    /// Other IP protocols of protected addresses.
    pub other: &'static str,
    /// Protected traffic while no process serves the ports.
    pub fail: &'static str,
    /// XDP attach mode.
    pub mode: &'static str,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            plan: Plan::default(),
            agent: true,
            policy: "require",
            agent_policy: "require",
            transport: "udp",
            hold: "vouched",
            kdcs: 1,
            derived_keys: false,
            agent_id: AGENT_ID,
            agent_wrong_key: false,
            gateway_wrong_key: false,
            deadline_ms: 4000,
            linger_ms: 1000,
            idle_s: 10_800,
            other: "pass",
            fail: "closed",
            mode: "auto",
        }
    }
}

/// The gateway's file.
pub fn gateway(setup: &Setup, directory: &Path) -> String {
    let mut text = node(setup, directory, "gateway", GATEWAY_ID, setup.policy);
    let servers: Vec<String> =
        KDC_ADDRESSES[..setup.kdcs].iter().map(|address| format!("\"{address}\"")).collect();
    let _ = write!(
        text,
        "\n[kdc]\nservers = [{}]\ntransport = \"{}\"\ntimeout_ms = 3000\n",
        servers.join(", "),
        setup.transport
    );
    text
}

/// The agent's file.
pub fn agent(setup: &Setup, directory: &Path) -> String {
    node(setup, directory, "client", setup.agent_id, setup.agent_policy)
}

fn node(setup: &Setup, directory: &Path, role: &str, id: &str, policy: &str) -> String {
    let place = directory.display();
    let hold =
        if role == "gateway" { format!("hold = \"{}\"\n", setup.hold) } else { String::new() };
    let mut text = format!(
        "role = \"{role}\"\n\n\
         [device]\nid = \"{id}\"\nkey_file = \"{place}/{role}.key\"\n\n\
         [ports]\ncipher = \"{CIPHER}\"\nplain = \"{PLAIN}\"\nmode = \"{mode}\"\n\n\
         [workers]\ncount = {workers}\npoll = \"adaptive\"\n\n\
         [delivery]\nport = {KEY_DELIVERY}\n{hold}deadline_ms = {deadline}\n\
         linger_ms = {linger}\nidle_s = {idle}\n\n\
         [other]\nip = \"{other}\"\nfail = \"{fail}\"\n\n\
         [metrics]\nlisten = \"127.0.0.1:9478\"\n\n\
         [admin]\nsocket = \"{place}/{role}.sock\"\n\n\
         [pin]\ndirectory = \"{place}/bpf/{role}\"\n\n\
         [log]\nlevel = \"debug\"\n",
        mode = setup.mode,
        workers = setup.plan.queues,
        deadline = setup.deadline_ms,
        linger = setup.linger_ms,
        idle = setup.idle_s,
        other = setup.other,
        fail = setup.fail,
    );
    let ports: Vec<String> = PROTECTED.iter().map(u16::to_string).collect();
    for host in [Host::Server1, Host::Server2] {
        for family in Family::BOTH {
            let _ = write!(
                text,
                "\n[[service]]\naddress = \"{}\"\nports = [{}]\npolicy = \"{policy}\"\n",
                host.address(family),
                ports.join(", ")
            );
        }
    }
    text
}

/// The file of KDC number `index`.
pub fn kdc(setup: &Setup, directory: &Path, index: usize) -> String {
    let place = directory.display();
    let address = KDC_ADDRESSES[index];
    format!(
        "role = \"kdc\"\n\n\
         [kdc]\nlisten_udp = \"{address}\"\nlisten_tcp = \"{address}\"\n\
         registry = \"{place}/kdc{index}.redb\"\nmaster_key_file = \"{place}/kdc{index}-master.key\"\n\
         audit_log = \"{place}/kdc{index}-audit.log\"\nderived_keys = {derived}\n\n\
         [[gateway]]\nid = \"{GATEWAY_ID}\"\nservices = [\"*\"]\n\n\
         [[permit]]\nclient = \"*\"\ngateway = \"{GATEWAY_ID}\"\n\n\
         [metrics]\nlisten = \"off\"\n\n\
         [admin]\nsocket = \"{place}/kdc{index}.sock\"\n\n\
         [log]\nlevel = \"debug\"\n",
        derived = setup.derived_keys,
    )
}
