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

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::LabResult;
use super::namespace::Namespace;
use super::site::Site;
use super::tagger::{BARE, TAGGED, Tagger};
use super::veth::{End, bridge, connect};

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

/// Internet protocol version of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// The word for reports.
    pub fn label(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

/// A host of the lab with addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// The first client behind the agent.
    Client1,
    /// The second client behind the agent.
    Client2,
    /// A client that no agent serves.
    Stranger,
    /// The first server behind the gateway.
    Server1,
    /// The second server behind the gateway.
    Server2,
}

impl Host {
    /// Its address.
    pub fn address(self, family: Family) -> IpAddr {
        let (net, host) = self.numbers();
        address(family, net, host)
    }

    /// Third and last number of its IPv4 address.
    fn numbers(self) -> (u8, u8) {
        match self {
            Self::Client1 => (1, 10),
            Self::Client2 => (1, 11),
            Self::Stranger => (3, 10),
            Self::Server1 => (2, 10),
            Self::Server2 => (2, 11),
        }
    }
}

/// `10.0.net.host` or `fd00:net::host` (digits as written).
fn address(family: Family, net: u8, host: u8) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(10, 0, net, host).into(),
        Family::V6 => {
            // The decimal digits are shown again as hexadecimal ones: fd00:2::10 goes with 10.0.2.10.
            let digits = u16::from(host / 10) * 16 + u16::from(host % 10);
            Ipv6Addr::new(0xfd00, u16::from(net), 0, 0, 0, 0, 0, digits).into()
        }
    }
}

/// What may differ between labs.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Receive and transmit queues of the boxes' cables.
    pub queues: u32,
    /// 802.1Q id of all frames at the boxes' ports: a tagger sits in each of their cables.
    pub vlan: Option<u16>,
}

impl Default for Plan {
    fn default() -> Self {
        Self { queues: 1, vlan: None }
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
    /// Configurations, logs and the bpffs.
    pub site: Site,
}

/// The hosts of the lab, each with its name.
const HOSTS: [(Host, &str); 5] = [
    (Host::Client1, "client1"),
    (Host::Client2, "client2"),
    (Host::Stranger, "stranger"),
    (Host::Server1, "server1"),
    (Host::Server2, "server2"),
];

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
        let taggers = [
            self.box_cable((&self.agent, PLAIN), (&self.office, TO_BOX))?,
            self.box_cable((&self.agent, CIPHER), (&self.router, TO_AGENT))?,
            self.box_cable((&self.gateway, CIPHER), (&self.router, TO_GATEWAY))?,
            self.box_cable((&self.gateway, PLAIN), (&self.lan, TO_BOX))?,
        ];
        self.taggers.extend(taggers.into_iter().flatten());
        cable((&self.lan, "server1"), (self.host(Host::Server1), "eth0"), 1)?;
        cable((&self.lan, "server2"), (self.host(Host::Server2), "eth0"), 1)?;
        cable((&self.router, "stranger0"), (self.host(Host::Stranger), "eth0"), 1)?;
        cable((&self.gateway, "mgmt0"), (&self.kdc, "mgmt0"), 1)?;
        bridge(&self.office, "br0", &["client1", "client2", TO_BOX])?;
        bridge(&self.lan, "br0", &["server1", "server2", TO_BOX])
    }

    /// A cable from a box's port, with a tagger in it where the plan wants tags.
    fn box_cable(
        &self,
        port: (&Namespace, &str),
        far: (&Namespace, &str),
    ) -> LabResult<Option<(Tagger, Namespace)>> {
        let (port, far) = (End::new(port.0, port.1), End::new(far.0, far.1));
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
