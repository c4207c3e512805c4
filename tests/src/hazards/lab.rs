//! The chains that cases run on. Few: building one costs seconds, and most cases share the first.

use super::raw::ETH;
use crate::expect_that;
use crate::lab::chain::{Chain, Node};
use crate::lab::config::Setup;
use crate::lab::guests::invite;
use crate::lab::impaired::Cable;
use crate::lab::topology::{Host, TO_BOX};
use crate::lab::veth::End;
use crate::lab::{LabError, LabResult};

/// A kind of chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lab {
    /// The ordinary one: all services `require`.
    Ordinary,
    /// All services `prefer`, at gateway and agent.
    Prefer,
    /// The ordinary one, for cases that kill the gateway.
    Crash,
    /// `fail = open` at the gateway, for cases that kill it.
    FailOpen,
    /// Two receive queues and two workers in both boxes.
    TwoQueues,
    /// An impairment node in every cable of both boxes; key delivery is given time for losses.
    Impaired,
    /// Hosts leave checksums to devices, and both boxes are told so.
    Offloaded,
    /// The gateway's worker never sleeps: nothing drives its rings but itself.
    Busy,
}

impl Lab {
    /// All, in the order in which they are run.
    pub const ALL: [Self; 8] = [
        Self::Ordinary,
        Self::Prefer,
        Self::TwoQueues,
        Self::Impaired,
        Self::Offloaded,
        Self::Busy,
        Self::Crash,
        Self::FailOpen,
    ];

    /// The word for reports and test names.
    pub fn label(self) -> &'static str {
        match self {
            Self::Ordinary => "ordinary",
            Self::Prefer => "prefer",
            Self::Crash => "crash",
            Self::FailOpen => "fail-open",
            Self::TwoQueues => "two-queues",
            Self::Impaired => "impaired",
            Self::Offloaded => "offloaded",
            Self::Busy => "busy",
        }
    }

    fn setup(self) -> Setup {
        let mut setup = Setup::default();
        match self {
            Self::Ordinary | Self::Crash | Self::Offloaded | Self::Busy => {}
            Self::Prefer => {
                setup.policy = "prefer";
                setup.agent_policy = "prefer";
            }
            Self::FailOpen => setup.fail = "open",
            Self::TwoQueues => setup.plan.queues = 2,
            Self::Impaired => {
                setup.plan.impaired = &Cable::ALL;
                setup.deadline_ms = 30_000;
            }
        }
        setup
    }

    /// Builds it with all processes running.
    pub fn start(self) -> LabResult<Chain> {
        let mut chain = Chain::prepare(self.setup())?;
        invite(&chain)?;
        match self {
            Self::Offloaded => leave_checksums(&chain)?,
            Self::Busy => {
                reconfigure(&chain, Node::Gateway, ("poll = \"adaptive\"", "poll = \"busy\""))?;
            }
            _ => {}
        }
        chain.start_processes()?;
        Ok(chain)
    }
}

/// Puts `new` in place of `old` in a box's configuration file.
fn reconfigure(chain: &Chain, node: Node, (old, new): (&str, &str)) -> LabResult {
    let path = chain.config_file(node);
    let text = std::fs::read_to_string(&path).map_err(LabError::file("read", &path))?;
    let changed = text.replace(old, new);
    expect_that!(changed != text, "no {old} in {}", path.display());
    std::fs::write(&path, changed).map_err(LabError::file("write", &path))
}

/// The hosts next to the boxes' plain ports hand over partial checksums; the boxes complete them.
fn leave_checksums(chain: &Chain) -> LabResult {
    for node in [Node::Gateway, Node::Agent] {
        let ports = "[ports]\nrx_checksum = { plain = \"offloaded\" }\n";
        reconfigure(chain, node, ("[ports]\n", ports))?;
    }
    // The switches between would complete what the hosts leave undone.
    let network = &chain.topology;
    let ends = [(chain.host(Host::Client1), ETH), (chain.host(Host::Server1), ETH)];
    let switches = [(&network.office, TO_BOX), (&network.lan, TO_BOX)];
    let mut all = ends.into_iter().chain(switches);
    all.try_for_each(|(namespace, name)| End::new(namespace, name).features("tx on"))
}
