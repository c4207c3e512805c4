//! Virtual cables between two namespaces, with the offloads that the lab needs.
//! Owns no addresses. A cable ends with either of its namespaces.

use std::path::Path;
use std::process::Command;

use super::LabResult;
use super::namespace::{IP_LIMIT, Namespace};
use super::process::run;

/// One end of a cable.
#[derive(Clone, Copy)]
pub struct End<'a> {
    /// Where it is.
    pub namespace: &'a Namespace,
    /// The interface's name there.
    pub name: &'a str,
}

impl<'a> End<'a> {
    /// The interface `name` in `namespace`.
    pub fn new(namespace: &'a Namespace, name: &'a str) -> Self {
        Self { namespace, name }
    }

    /// `ethtool -K` on this end; `features` are separated by blanks.
    pub fn features(&self, features: &str) -> LabResult {
        let mut command = self.namespace.command("ethtool");
        command.args(["-K", self.name]).args(features.split_whitespace());
        run(&mut command, IP_LIMIT).map(drop)
    }
}

/// Lays a cable with `queues` receive and transmit queues at both ends and sets both ends up.
///
/// Checksum and segmentation offload are off at both ends: a veth otherwise hands over frames beyond
/// the MTU with partial checksums (hazards 3 and 5). GRO is on, so that the end polls and takes frames
/// that a native XDP program redirects to it.
pub fn connect(a: End<'_>, b: End<'_>, queues: u32) -> LabResult {
    let queues = queues.to_string();
    let mut command = Command::new("ip");
    command.args(["link", "add", a.name, "netns", a.namespace.name()]);
    command.args(["numrxqueues", &queues, "numtxqueues", &queues, "type", "veth"]);
    command.args(["peer", "name", b.name, "netns", b.namespace.name()]);
    command.args(["numrxqueues", &queues, "numtxqueues", &queues]);
    run(&mut command, IP_LIMIT)?;
    for end in [a, b] {
        end.namespace.ip(&format!("link set {} up", end.name))?;
    }
    // After both are up: only then does GRO make an end a target for redirected frames at once.
    [a, b]
        .iter()
        .try_for_each(|end| end.features("tx off tso off gso off rxvlan off txvlan off gro on"))
}

/// Makes a bridge in `namespace` out of the interfaces `ports`.
pub fn bridge(namespace: &Namespace, name: &str, ports: &[&str]) -> LabResult {
    for table in ["arp", "ip", "ip6"] {
        // Where the kernel shows bridged frames to netfilter, that costs a fifth of their way.
        let key = format!("net.bridge.bridge-nf-call-{table}tables");
        if Path::new("/proc/sys").join(key.replace('.', "/")).exists() {
            namespace.sysctl(&key, "0")?;
        }
    }
    namespace.ip(&format!("link add {name} type bridge stp_state 0 mcast_snooping 0"))?;
    for port in ports {
        namespace.ip(&format!("link set {port} master {name}"))?;
    }
    namespace.ip(&format!("link set {name} up")).map(drop)
}
