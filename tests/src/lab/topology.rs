//! The lab's network: namespaces, cables, bridges, addresses, routes. Owns no process.
//!
//! ```text
//!  client1 ─┐                              stranger                                  ┌─ server1
//!   .1.10   ├─ office ─── agent ───────────── router ───────────── gateway ─── lan ──┤   .2.10
//!  client2 ─┘  (bridge)   plain │ cipher   (captures)    cipher │ plain   (bridge)    └─ server2
//!   .1.11                                                       │ mgmt                   .2.11
//!                                                              kdc  10.9.0.2, 10.9.0.3
//!
//!  IPv4 10.0.1.0/24 clients, 10.0.2.0/24 servers, 10.0.3.0/24 the stranger; .1 is the router.
//!  IPv6 fd00:1::/64, fd00:2::/64, fd00:3::/64, with the same last numbers.
//! ```
//!
//! The agent and the gateway are boxes without an address, transparent at layer 2: until a program of
//! ours takes a box over, a kernel bridge joins its two ports (the lab without cipher). The stranger is
//! a client that no agent serves.

use std::net::IpAddr;

use super::hosts::{HOSTS, address};
use super::impaired::{self, Cable, TO_CLIENTS, TO_SERVERS};
use super::namespace::Namespace;
use super::site::Site;
use super::tagger::{BARE, TAGGED, Tagger};
use super::veth::{End, bridge, connect};
use super::{LabError, LabResult};

pub use super::hosts::{Family, Host};

/// Port of both boxes that faces the network.
pub const CIPHER: &str = "cipher0";
/// Port of both boxes that faces the unchanged hosts.
pub const PLAIN: &str = "plain0";
/// The router's interface towards the agent.
pub const TO_AGENT: &str = "toagent0";
/// The router's interface towards the gateway.
pub const TO_GATEWAY: &str = "togw0";
/// The interface of a plain-side switch towards its box.
pub const TO_BOX: &str = "tobox0";
/// The kernel bridge that stands for a box.
const STAND_IN: &str = "standin0";

/// What may differ between labs.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Receive and transmit queues of the boxes' cables.
    pub queues: u32,
    /// 802.1Q id of all frames at the boxes' ports: a tagger sits in each of their cables.
    pub vlan: Option<u16>,
    /// Cables with an impairment node in them, for labs without VLAN tags.
    pub impaired: &'static [Cable],
}

impl Default for Plan {
    fn default() -> Self {
        Self { queues: 1, vlan: None, impaired: &[] }
    }
}

/// The built network.
pub struct Topology {
    /// What it was built to.
    pub plan: Plan,
    /// Where the agent runs.
    pub agent: Namespace,
    /// The network node in the middle, where the cipher side is captured.
    pub router: Namespace,
    /// Where the gateway runs.
    pub gateway: Namespace,
    /// The switch behind the gateway, where the plain side is captured.
    pub lan: Namespace,
    /// Where the KDCs run.
    pub kdc: Namespace,
    /// The switch before the agent.
    pub office: Namespace,
    hosts: Vec<(Host, Namespace)>,
    taggers: Vec<(Tagger, Namespace)>,
    impairment_nodes: Vec<(Cable, Namespace)>,
    /// Configurations, logs and the bpffs.
    pub site: Site,
}

impl Topology {
    /// Builds the network of the drawing with kernel bridges in place of both boxes.
    pub fn build(plan: Plan) -> LabResult<Self> {
        let site = Site::create()?;
        let hosts = HOSTS
            .iter()
            .map(|&(host, name)| Ok((host, Namespace::create(name)?)))
            .collect::<LabResult<Vec<_>>>()?;
        let mut topology = Self {
            plan,
            agent: Namespace::create("agent")?,
            router: Namespace::create("router")?,
            gateway: Namespace::create("gateway")?,
            lan: Namespace::create("lan")?,
            kdc: Namespace::create("kdc")?,
            office: Namespace::create("office")?,
            hosts,
            taggers: Vec::new(),
            impairment_nodes: Vec::new(),
            site,
        };
        topology.lay_cables()?;
        topology.address_hosts()?;
        topology.address_router()?;
        topology.address_management()?;
        topology.stand_in(&topology.agent)?;
        topology.stand_in(&topology.gateway)?;
        Ok(topology)
    }

    /// The namespace of a host.
    pub fn host(&self, host: Host) -> &Namespace {
        let found = self.hosts.iter().find(|(candidate, _)| *candidate == host);
        &found.expect("invariant: build() makes a namespace for each Host").1
    }

    /// Takes the kernel bridge of a box away, so that a program can own the two ports.
    pub fn clear_box(&self, namespace: &Namespace) -> LabResult {
        namespace.ip(&format!("link del {STAND_IN}")).map(drop)
    }

    /// Puts a kernel bridge in place of a box.
    pub fn stand_in(&self, namespace: &Namespace) -> LabResult {
        bridge(namespace, STAND_IN, &[CIPHER, PLAIN])
    }

    /// The node that the plan put into a cable.
    pub fn impairment_node(&self, cable: Cable) -> LabResult<&Namespace> {
        let found = self.impairment_nodes.iter().find(|(candidate, _)| *candidate == cable);
        found
            .map(|(_, node)| node)
            .ok_or_else(|| LabError::Expectation(format!("no impairment node in {cable:?}")))
    }

    /// Puts a kernel bridge in place of an impairment box.
    pub fn stand_in_cable(&self, node: &Namespace) -> LabResult {
        bridge(node, STAND_IN, &[TO_CLIENTS, TO_SERVERS])
    }

    /// All namespaces with their roles, for a person who looks around.
    pub fn namespaces(&self) -> Vec<(&'static str, &Namespace)> {
        let mut all: Vec<(&'static str, &Namespace)> = HOSTS
            .iter()
            .zip(&self.hosts)
            .map(|(&(_, name), (_, namespace))| (name, namespace))
            .collect();
        all.extend([
            ("office", &self.office),
            ("agent", &self.agent),
            ("router", &self.router),
            ("gateway", &self.gateway),
            ("lan", &self.lan),
            ("kdc", &self.kdc),
        ]);
        all
    }

    /// Leaves everything in place after this value is gone.
    pub fn detach(&mut self) -> LabResult {
        self.site.detach()?;
        for (_, namespace) in &mut self.hosts {
            namespace.detach();
        }
        for namespace in [
            &mut self.agent,
            &mut self.router,
            &mut self.gateway,
            &mut self.lan,
            &mut self.kdc,
            &mut self.office,
        ] {
            namespace.detach();
        }
        Ok(())
    }

    fn lay_cables(&mut self) -> LabResult {
        // Boxes and switches have no address: their own IPv6 chatter would show on the wire.
        for namespace in [&self.agent, &self.gateway, &self.lan, &self.office] {
            namespace.sysctl("net.ipv6.conf.default.disable_ipv6", "1")?;
            namespace.sysctl("net.ipv6.conf.all.disable_ipv6", "1")?;
        }
        let cable = |a: (&Namespace, &str), b: (&Namespace, &str), queues| {
            connect(End::new(a.0, a.1), End::new(b.0, b.1), queues)
        };
        cable((self.host(Host::Client1), "eth0"), (&self.office, "client1"), 1)?;
        cable((self.host(Host::Client2), "eth0"), (&self.office, "client2"), 1)?;
        for cable in Cable::ALL {
            if self.plan.impaired.contains(&cable) {
                let node = self.impaired_cable(cable)?;
                self.impairment_nodes.push((cable, node));
            } else {
                let tagger = self.box_cable(cable)?;
                self.taggers.extend(tagger);
            }
        }
        cable((&self.lan, "server1"), (self.host(Host::Server1), "eth0"), 1)?;
        cable((&self.lan, "server2"), (self.host(Host::Server2), "eth0"), 1)?;
        cable((&self.router, "stranger0"), (self.host(Host::Stranger), "eth0"), 1)?;
        cable((&self.gateway, "mgmt0"), (&self.kdc, "mgmt0"), 1)?;
        bridge(&self.office, "br0", &["client1", "client2", TO_BOX])?;
        bridge(&self.lan, "br0", &["server1", "server2", TO_BOX])
    }

    /// The port of a box and the other end of its cable.
    fn ends(&self, cable: Cable) -> (End<'_>, End<'_>) {
        match cable {
            Cable::AgentPlain => (End::new(&self.agent, PLAIN), End::new(&self.office, TO_BOX)),
            Cable::AgentCipher => (End::new(&self.agent, CIPHER), End::new(&self.router, TO_AGENT)),
            Cable::GatewayCipher => {
                (End::new(&self.gateway, CIPHER), End::new(&self.router, TO_GATEWAY))
            }
            Cable::GatewayPlain => (End::new(&self.gateway, PLAIN), End::new(&self.lan, TO_BOX)),
        }
    }

    /// A cable from a box's port with an impairment node in it.
    fn impaired_cable(&self, cable: Cable) -> LabResult<Namespace> {
        let (port, far) = self.ends(cable);
        let node = Namespace::create("impair")?;
        node.sysctl("net.ipv6.conf.default.disable_ipv6", "1")?;
        let (near_port, near_far) = match cable.port_is_client_side() {
            true => (TO_CLIENTS, TO_SERVERS),
            false => (TO_SERVERS, TO_CLIENTS),
        };
        connect(port, End::new(&node, near_port), self.plan.queues)?;
        connect(End::new(&node, near_far), far, 1)?;
        impaired::prepare(&node)?;
        self.stand_in_cable(&node)?;
        Ok(node)
    }

    /// A cable from a box's port, with a tagger in it where the plan wants tags.
    fn box_cable(&self, cable: Cable) -> LabResult<Option<(Tagger, Namespace)>> {
        let (port, far) = self.ends(cable);
        let Some(vlan) = self.plan.vlan else {
            connect(port, far, self.plan.queues)?;
            return Ok(None);
        };
        let between = Namespace::create("tagger")?;
        between.sysctl("net.ipv6.conf.default.disable_ipv6", "1")?;
        connect(port, End::new(&between, TAGGED), self.plan.queues)?;
        connect(End::new(&between, BARE), far, 1)?;
        for name in [BARE, TAGGED] {
            // GRO must be on for redirected frames and must not merge: a merged frame is no frame.
            between.ip(&format!("link set {name} gro_max_size 1500"))?;
        }
        Ok(Some((Tagger::start(&between, vlan)?, between)))
    }

    fn address_hosts(&self) -> LabResult {
        for (host, namespace) in &self.hosts {
            for family in Family::BOTH {
                assign(namespace, "eth0", host.address(family))?;
                let router = address(family, host.numbers().0, 1);
                namespace.ip(&format!("route add default via {router}"))?;
            }
        }
        Ok(())
    }

    fn address_router(&self) -> LabResult {
        self.router.sysctl("net.ipv4.ip_forward", "1")?;
        self.router.sysctl("net.ipv6.conf.all.forwarding", "1")?;
        for (interface, net) in [(TO_AGENT, 1), (TO_GATEWAY, 2), ("stranger0", 3)] {
            for family in Family::BOTH {
                assign(&self.router, interface, address(family, net, 1))?;
            }
        }
        Ok(())
    }

    fn address_management(&self) -> LabResult {
        self.gateway.ip("addr add 10.9.0.1/24 dev mgmt0")?;
        self.kdc.ip("addr add 10.9.0.2/24 dev mgmt0")?;
        self.kdc.ip("addr add 10.9.0.3/24 dev mgmt0").map(drop)
    }
}

fn assign(namespace: &Namespace, device: &str, address: IpAddr) -> LabResult {
    let command = match address {
        IpAddr::V4(address) => format!("addr add {address}/24 dev {device}"),
        IpAddr::V6(address) => format!("addr add {address}/64 dev {device} nodad"),
    };
    namespace.ip(&command).map(drop)
}
