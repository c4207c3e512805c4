//! The chains that cases run on. Few: building one costs seconds, and most cases share the first.

use super::raw::ETH;
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
}

impl Lab {
    /// All, in the order in which they are run.
    pub const ALL: [Self; 7] = [
        Self::Ordinary,
        Self::Prefer,
        Self::TwoQueues,
        Self::Impaired,
        Self::Offloaded,
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
        }
    }

    fn setup(self) -> Setup {
        let mut setup = Setup::default();
        match self {
            Self::Ordinary | Self::Crash | Self::Offloaded => {}
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
        if self == Self::Offloaded {
            leave_checksums(&chain)?;
        }
        chain.start_processes()?;
        Ok(chain)
    }
}

/// The hosts next to the boxes' plain ports hand over partial checksums; the boxes complete them.
fn leave_checksums(chain: &Chain) -> LabResult {
    for node in [Node::Gateway, Node::Agent] {
        let path = chain.config_file(node);
        let text = std::fs::read_to_string(&path).map_err(LabError::file("read", &path))?;
        let ports = "[ports]\nrx_checksum = { plain = \"offloaded\" }\n";
        let text = text.replace("[ports]\n", ports);
        std::fs::write(&path, text).map_err(LabError::file("write", &path))?;
    }
    // The switches between would complete what the hosts leave undone.
    let network = &chain.topology;
    let ends = [(chain.host(Host::Client1), ETH), (chain.host(Host::Server1), ETH)];
    let switches = [(&network.office, TO_BOX), (&network.lan, TO_BOX)];
    let mut all = ends.into_iter().chain(switches);
    all.try_for_each(|(namespace, name)| End::new(namespace, name).features("tx on"))
}
