//! The independent peer in the places of a lab where it stands in for hosts: raw TCP ends behind the
//! agent and behind the gateway, a client agent and a gateway of its own at the stranger's place, and a
//! tap in the network.
//!
//! ```text
//!  client1: raw clients, ports 20000-29999     router: frames seen and sent at both cables
//!  server2: raw servers, all protected ports   stranger: agents (10.0.3.10), gateways (10.0.3.20:80)
//! ```
//!
//! Their hosts' kernels are kept from answering by nftables; ARP and neighbour discovery stay theirs.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use serde_json::{Value, json};

use super::LabError;
use super::LabResult;
use super::chain::Chain;
use super::config::{PROTECTED, WEB};
use super::inject::Injector;
use super::namespace::IP_LIMIT;
use super::process::run;
use super::scapy::Scapy;
use super::topology::{Family, Host, TO_AGENT, TO_GATEWAY};
use super::veth::{End, connect};

/// Client ports that the independent peer uses.
pub const PORTS: std::ops::RangeInclusive<u16> = 20_000..=29_999;
/// Identifier of the independent client agent.
pub const PEER_AGENT: &str = "name:python-agent";
/// Identifier of the independent gateway.
pub const PEER_GATEWAY: &str = "name:python-gateway";
/// Interface of hosts.
const ETH: &str = "eth0";
/// Port of the independent gateway's service.
pub const PEER_PORT: u16 = WEB;

/// The processes and where they are.
pub struct Guests {
    /// At client1, behind the agent.
    pub client: Rc<Scapy>,
    /// At server2, behind the gateway.
    pub server: Rc<Scapy>,
    /// At the stranger's.
    pub stranger: Rc<Scapy>,
    /// In the router.
    pub router: Rc<Scapy>,
    macs: [[u8; 6]; 2],
}

/// Address of the independent gateway's service.
pub fn peer_service(family: Family) -> IpAddr {
    let text = if family == Family::V4 { "10.0.3.20" } else { "fd00:3::20" };
    text.parse().expect("invariant: a literal address")
}

/// Before the processes start: registers the independent agent and gateway at the KDC, makes the gateway's
/// services known to the agent, and connects the stranger with the KDC.
pub fn invite(chain: &Chain) -> LabResult {
    let site = &chain.topology.site;
    let edit = |name: &str, more: &str| -> LabResult {
        let path = site.file(name);
        let text = std::fs::read_to_string(&path).map_err(LabError::file("read", &path))?;
        site.write(name, &format!("{text}{more}")).map(drop)
    };
    edit(
        "kdc0.toml",
        &format!(
            "\n[[gateway]]\nid = \"{PEER_GATEWAY}\"\nservices = [\"*\"]\n\n\
             [[permit]]\nclient = \"*\"\ngateway = \"{PEER_GATEWAY}\"\n"
        ),
    )?;
    let mut services = String::new();
    for family in Family::BOTH {
        let _ = write!(
            services,
            "\n[[service]]\naddress = \"{}\"\nports = [{PEER_PORT}]\npolicy = \"require\"\n",
            peer_service(family)
        );
    }
    edit("client.toml", &services)?;
    for (role, id) in [("client", PEER_AGENT), ("gateway", PEER_GATEWAY)] {
        let key = site.file(&key_file(role)).display().to_string();
        chain.kdc_command(&["device", "add", "--role", role, "--key-out", &key, id])?;
    }
    let (stranger, kdc) = (chain.host(Host::Stranger), &chain.topology.kdc);
    connect(End::new(stranger, "mgmt0"), End::new(kdc, "mgmt1"), 1)?;
    stranger.ip("addr add 10.9.1.1/24 dev mgmt0")?;
    kdc.ip("addr add 10.9.1.2/24 dev mgmt1")?;
    stranger.ip("route add 10.9.0.0/24 via 10.9.1.2")?;
    for family in Family::BOTH {
        let length = if family == Family::V4 { "32" } else { "128 nodad" };
        let address = peer_service(family).to_string();
        stranger.ip(&format!("addr add {address}/{length} dev {ETH}"))?;
    }
    Ok(())
}

fn key_file(role: &str) -> String {
    format!("peer-{role}.key")
}

impl Guests {
    /// Starts the processes and silences the kernels beside them.
    pub fn start(chain: &Chain) -> LabResult<Self> {
        let services = PROTECTED.map(|port| port.to_string()).join(", ");
        let ports = format!("{}-{}", PORTS.start(), PORTS.end());
        silence(chain, Host::Client1, &format!("tcp dport {ports} drop"))?;
        silence(chain, Host::Server2, &format!("tcp dport {{ {services} }} drop"))?;
        silence(
            chain,
            Host::Stranger,
            &format!("tcp dport {{ {ports}, {PEER_PORT} }} drop; udp dport 1088 drop"),
        )?;
        let log = chain.topology.site.file("python.log");
        let start = |host: Host| -> LabResult<Rc<Scapy>> {
            Ok(Rc::new(Scapy::start(chain.host(host), &log)?))
        };
        let (client, server) = (start(Host::Client1)?, start(Host::Server2)?);
        let stranger = start(Host::Stranger)?;
        let router = Rc::new(Scapy::start(&chain.topology.router, &log)?);
        let at = |interface| Injector::open(&chain.topology.router, interface);
        let of = |host| Injector::open(chain.host(host), ETH);
        client.open(ETH, &at(TO_AGENT)?)?;
        server.open(ETH, &at(TO_GATEWAY)?)?;
        stranger.open(ETH, &at("stranger0")?)?;
        let macs = [of(Host::Client1)?.mac(), of(Host::Server2)?.mac()];
        router.open(TO_AGENT, &of(Host::Client1)?)?;
        router.open(TO_GATEWAY, &of(Host::Server2)?)?;
        Ok(Self { client, server, stranger, router, macs })
    }

    /// MAC addresses of client1 and server2.
    pub fn macs(&self) -> [[u8; 6]; 2] {
        self.macs
    }
}

fn silence(chain: &Chain, host: Host, rules: &str) -> LabResult {
    let table = format!(
        "table inet guests {{ chain in {{ type filter hook input priority 0; {rules}; }}; }}"
    );
    run(chain.host(host).command("nft").arg(table), IP_LIMIT).map(drop)
}

/// The independent client agent: connects from the stranger's to a service behind the gateway.
pub struct PeerAgent {
    scapy: Rc<Scapy>,
    number: u64,
    /// Its end and the server's.
    pub ends: (SocketAddr, SocketAddr),
    /// What it saw of its connect.
    pub state: Value,
}

impl PeerAgent {
    /// Connects and waits at most `ms` for the session to be established or refused.
    pub fn connect(
        chain: &Chain,
        scapy: &Rc<Scapy>,
        ends: (SocketAddr, SocketAddr),
        (settings, ms): (Value, u64),
    ) -> LabResult<Self> {
        let key = chain.topology.site.file(&key_file("client")).display().to_string();
        let interface = settings["interface"].as_str().unwrap_or(ETH).to_owned();
        let end = |end: SocketAddr| json!([end.ip().to_string(), end.port()]);
        let state = scapy.ask(json!({
            "op": "agent", "interface": interface, "ends": [end(ends.0), end(ends.1)],
            "identity": [PEER_AGENT, key], "settings": settings, "ms": ms,
        }))?;
        let number = state["peer"].as_u64().unwrap_or(0);
        Ok(Self { scapy: Rc::clone(scapy), number, ends, state })
    }

    /// A command about this peer; its fields beside `op` and `number`.
    pub fn ask(&self, op: &str, mut fields: Value) -> LabResult<Value> {
        fields["op"] = op.into();
        fields["number"] = self.number.into();
        self.scapy.ask(fields)
    }

    /// What it has seen by now.
    pub fn look(&self) -> LabResult<Value> {
        self.ask("peer", json!({}))
    }
}

/// The independent gateway with its server at the stranger's.
pub struct PeerGateway {
    scapy: Rc<Scapy>,
    number: u64,
}

impl PeerGateway {
    /// Serves `response` to whoever sends a request with an empty line.
    pub fn listen(
        chain: &Chain,
        scapy: &Rc<Scapy>,
        family: Family,
        (transport, response): (&str, &[u8]),
    ) -> LabResult<Self> {
        let key = chain.topology.site.file(&key_file("gateway")).display().to_string();
        let settings = json!({
            "kdc": super::config::KDC_ADDRESSES[0], "transport": transport,
            "response": hex(response),
        });
        let state = scapy.ask(json!({
            "op": "gateway", "interface": ETH,
            "service": [peer_service(family).to_string(), PEER_PORT],
            "identity": [PEER_GATEWAY, key], "settings": settings,
        }))?;
        Ok(Self { scapy: Rc::clone(scapy), number: state["peer"].as_u64().unwrap_or(0) })
    }

    /// What it has seen by now.
    pub fn look(&self) -> LabResult<Value> {
        self.scapy.ask(json!({"op": "peer", "number": self.number}))
    }
}

/// Octets as JSON takes them.
pub fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Octets from a JSON string of hexadecimal digits; what is no digit is left out.
pub fn unhex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap_or_default().as_bytes();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    text.chunks(2).filter_map(pair).collect()
}
