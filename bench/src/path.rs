//! What packets cross on their way from client to server, in one and the same lab: kernel bridges,
//! bare AF_XDP forwarders, or the real chain. Owns switching between them; measures nothing.

mod bare;

use std::net::IpAddr;
use std::time::Duration;

use sekisho_port::{PortSet, ServiceEntry};
use sekisho_tests::lab::chain::{Chain, Node};
use sekisho_tests::lab::config::{ECHO, PROTECTED, Setup};
use sekisho_tests::lab::peers::{Server, connect, exchange};
use sekisho_tests::lab::process::wait_until;
use sekisho_tests::lab::topology::{Family, Host};

use crate::{BenchError, BenchResult};
use bare::{Forwarder, Place};

/// A process drains and detaches within this time.
const STOP_LIMIT: Duration = Duration::from_secs(15);
/// A path carries a connection within this time after a switch.
const CARRY_LIMIT: Duration = Duration::from_secs(10);

/// Name of the gateway's first worker thread.
const GATEWAY_THREAD: &str = "sekisho-w0";

/// What stands in the two boxes between client and server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A kernel bridge in each: the direct path over the same cables.
    Direct,
    /// In each a thread of this program that moves frames between two AF_XDP sockets, untouched.
    Bare,
    /// `sekisho client` and `sekisho gateway` with a KDC: all segments ciphered in between.
    Chain,
}

impl Way {
    /// Name for the peer column.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Direct => "direct veth path (kernel bridges in both boxes)",
            Self::Bare => "bare AF_XDP forwarders in both boxes",
            Self::Chain => "sekisho client and gateway",
        }
    }
}

/// What a box has done since its program was put in place.
#[derive(Clone, Copy, Debug, Default)]
pub struct Work {
    /// Frames moved, both directions.
    pub packets: u64,
    /// Nanoseconds that the thread which moves them was on a core: its system calls are in it, other
    /// threads that pushed it off the core are not.
    pub on_core: u64,
}

/// The lab, with one of the ways in place.
pub struct Path {
    way: Way,
    bare: Vec<Forwarder>,
    chain_was_up: bool,
    /// An echo server behind all of it shows when a way carries.
    _echo: Server,
    chain: Chain,
}

impl Path {
    /// Builds the lab with the direct way in place.
    ///
    /// # Errors
    /// Not root, or the lab cannot be built; `benchmark` names who wants it.
    pub fn build(benchmark: &'static str) -> BenchResult<Self> {
        if !is_root() {
            return Err(BenchError::NeedsRoot(benchmark));
        }
        let mut chain = Chain::prepare(Setup::default())?;
        // Captures cost time; leaks are what the tests look for.
        chain.watch.stop()?;
        let echo = Server::echo(chain.host(Host::Server1), ECHO)?;
        let path =
            Self { way: Way::Direct, bare: Vec::new(), chain_was_up: false, _echo: echo, chain };
        path.wait_carries()?;
        Ok(path)
    }

    /// The lab.
    #[must_use]
    pub fn lab(&self) -> &Chain {
        &self.chain
    }

    /// The server's address.
    #[must_use]
    pub fn server(&self) -> IpAddr {
        Host::Server1.address(Family::V4)
    }

    /// Puts `way` in place of what is there and waits until it carries TCP.
    ///
    /// # Errors
    /// Something could not be taken down or set up.
    pub fn switch(&mut self, way: Way) -> BenchResult<()> {
        self.clear()?;
        match way {
            Way::Direct => self.stand_in()?,
            Way::Bare => {
                let services = services();
                for which in [Place::Agent, Place::Gateway] {
                    self.bare.push(Forwarder::start(&self.chain, which, &services)?);
                }
            }
            Way::Chain => self.start_chain()?,
        }
        self.way = way;
        self.wait_carries()
    }

    /// What the gateway's box has done; nothing is known of bridges.
    ///
    /// # Errors
    /// The gateway does not answer.
    pub fn work_at_gateway(&mut self) -> BenchResult<Work> {
        match self.way {
            Way::Direct => Ok(Work::default()),
            Way::Bare => {
                let packets = self.bare.last().map(Forwarder::packets).unwrap_or_default();
                let on_core = time_on_core(std::process::id(), Place::Gateway.thread())?;
                Ok(Work { packets, on_core })
            }
            Way::Chain => {
                let status = self.chain.status(Node::Gateway)?;
                let received = |side: &str| status["ports"][side]["rx_packets"].as_u64();
                let packets = [received("cipher"), received("plain")].into_iter().flatten().sum();
                let process = self.chain.process(Node::Gateway)?.id();
                Ok(Work { packets, on_core: time_on_core(process, GATEWAY_THREAD)? })
            }
        }
    }

    /// Empties both boxes.
    fn clear(&mut self) -> BenchResult<()> {
        match self.way {
            Way::Direct => {
                for node in [Node::Agent, Node::Gateway] {
                    self.chain.topology.clear_box(self.chain.namespace(node))?;
                }
            }
            Way::Bare => {
                for forwarder in self.bare.drain(..) {
                    forwarder.stop()?;
                }
            }
            Way::Chain => {
                for node in [Node::Agent, Node::Gateway] {
                    let code = self.chain.process(node)?.terminate(STOP_LIMIT)?;
                    if code != 0 {
                        return Err(BenchError::Invalid(format!("{node:?} ended with {code}")));
                    }
                }
            }
        }
        Ok(())
    }

    /// Puts kernel bridges into both boxes.
    fn stand_in(&self) -> BenchResult<()> {
        for node in [Node::Agent, Node::Gateway] {
            self.chain.topology.stand_in(self.chain.namespace(node))?;
        }
        Ok(())
    }

    fn start_chain(&mut self) -> BenchResult<()> {
        if self.chain_was_up {
            // The KDC has been running since the first time.
            for node in [Node::Gateway, Node::Agent] {
                self.chain.start_node(node)?;
            }
        } else {
            self.stand_in()?;
            self.chain.start_processes()?;
            self.chain_was_up = true;
        }
        Ok(())
    }

    fn wait_carries(&self) -> BenchResult<()> {
        let client = self.chain.host(Host::Client1);
        let limit = Duration::from_secs(2);
        wait_until(&format!("{:?} carries TCP", self.way), CARRY_LIMIT, || {
            match connect(client, self.server(), ECHO, limit)? {
                Ok(mut stream) => Ok(exchange(&mut stream, b"carried").is_ok()),
                Err(_) => Ok(false),
            }
        })?;
        Ok(())
    }
}

/// Nanoseconds that a thread, found by its name, has spent on a core.
fn time_on_core(process: u32, thread: &str) -> BenchResult<u64> {
    let tasks = format!("/proc/{process}/task");
    let unknown = |source| BenchError::Io { what: format!("read {tasks}"), source };
    for task in std::fs::read_dir(&tasks).map_err(unknown)?.flatten() {
        let read = |file: &str| std::fs::read_to_string(task.path().join(file));
        if read("comm").is_ok_and(|name| name.trim_end() == thread) {
            let text = read("schedstat").map_err(unknown)?;
            let first = text.split_whitespace().next().and_then(|word| word.parse().ok());
            return first.ok_or_else(|| BenchError::Invalid(format!("schedstat says {text}")));
        }
    }
    Err(BenchError::Invalid(format!("process {process} has no thread {thread}")))
}

/// The same services as in the chain's configuration files.
fn services() -> Vec<ServiceEntry> {
    let ports = PortSet::from_ranges(PROTECTED.map(|port| (port, port)));
    [Host::Server1, Host::Server2]
        .into_iter()
        .flat_map(|host| Family::BOTH.map(|family| host.address(family)))
        .map(|prefix| ServiceEntry {
            prefix,
            prefix_len: if prefix.is_ipv4() { 32 } else { 128 },
            ports: ports.clone(),
        })
        .collect()
}

/// Whether this process is root.
#[must_use]
pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    // /proc/self belongs to the effective user of this process.
    std::fs::metadata("/proc/self").is_ok_and(|data| data.uid() == 0)
}
