//! The chains that cases run on. Few: building one costs seconds, and most cases share the first.

use crate::lab::LabResult;
use crate::lab::chain::Chain;
use crate::lab::config::Setup;
use crate::lab::guests::invite;
use crate::lab::impaired::Cable;

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
}

impl Lab {
    /// All, in the order in which they are run.
    pub const ALL: [Self; 6] = [
        Self::Ordinary,
        Self::Prefer,
        Self::TwoQueues,
        Self::Impaired,
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
        }
    }

    fn setup(self) -> Setup {
        let mut setup = Setup::default();
        match self {
            Self::Ordinary | Self::Crash => {}
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
        chain.start_processes()?;
        Ok(chain)
    }
}
