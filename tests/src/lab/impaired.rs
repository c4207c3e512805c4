//! The impairment box in a cable of the lab: a node between a box and its neighbour, with a kernel
//! bridge in it until an [`Impairer`] takes its place. Owns that program while it runs.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

use super::namespace::Namespace;
use super::process::beside;
use super::topology::Topology;
use super::{LabError, LabResult};
use crate::impair::relay::READY;
use crate::impair::spec::Way;

/// The node's interface on the side where the clients are.
pub const TO_CLIENTS: &str = "toclients0";
/// The node's interface on the side where the servers are.
pub const TO_SERVERS: &str = "toservers0";
/// The box answers at once; later than this something is broken.
const PATIENCE: Duration = Duration::from_secs(10);

/// A cable of a box, in which an impairment node can sit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cable {
    /// Between the clients' switch and the agent.
    AgentPlain,
    /// Between agent and network.
    AgentCipher,
    /// Between network and gateway.
    GatewayCipher,
    /// Between gateway and servers.
    GatewayPlain,
}

impl Cable {
    /// All four, from the clients to the servers.
    pub const ALL: [Self; 4] =
        [Self::AgentPlain, Self::AgentCipher, Self::GatewayCipher, Self::GatewayPlain];

    /// Whether the port of the box is on the clients' side of the cable.
    pub fn port_is_client_side(self) -> bool {
        matches!(self, Self::AgentCipher | Self::GatewayPlain)
    }
}

/// A running impairment box; on drop it is killed and the bridge put back, so that a test that fails
/// leaves the path whole for the next.
pub struct Impairer<'a> {
    topology: &'a Topology,
    cable: Cable,
    child: Child,
    control: Option<ChildStdin>,
    said: Receiver<String>,
}

impl<'a> Impairer<'a> {
    /// Puts the box in place of the bridge in `cable`; `words` are those of its command line, without
    /// the interfaces.
    pub fn start(topology: &'a Topology, cable: Cable, words: &[&str]) -> LabResult<Self> {
        let node = topology.impairment_node(cable)?;
        topology.clear_box(node)?;
        let mut command = node.command(beside("sekisho-impair")?);
        command.args(words).args([TO_CLIENTS, TO_SERVERS]);
        let io = || LabError::io("start the impairment box");
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(io())?;
        let (sender, said) = channel();
        if let Some(stdout) = child.stdout.take() {
            std::thread::spawn(move || {
                let lines = BufReader::new(stdout).lines().map_while(Result::ok);
                lines.map(|line| sender.send(line)).take_while(Result::is_ok).for_each(drop);
            });
        }
        let control = child.stdin.take();
        let mut impairer = Self { topology, cable, child, control, said };
        impairer.expect(READY)?;
        Ok(impairer)
    }

    /// Gives it a line of control (`up SPEC`, `down SPEC`, `both SPEC`) and waits until it is followed.
    pub fn control(&mut self, line: &str) -> LabResult {
        if let Some(control) = &mut self.control {
            writeln!(control, "{line}").map_err(LabError::io("control the impairment box"))?;
        }
        self.expect("done")
    }

    /// Ends it, puts the bridge back, and tells what it did.
    pub fn finish(mut self) -> LabResult<Did> {
        drop(self.control.take());
        let report = self.hear()?;
        self.child.wait().map_err(LabError::io("wait for the impairment box"))?;
        let report = serde_json::from_str(&report)
            .map_err(|_| LabError::Expectation(format!("the impairment box said {report}")))?;
        Ok(Did(report))
    }

    fn expect(&mut self, word: &str) -> LabResult {
        let heard = self.hear()?;
        if heard == word {
            return Ok(());
        }
        Err(LabError::Expectation(format!("the impairment box said {heard} instead of {word}")))
    }

    fn hear(&mut self) -> LabResult<String> {
        self.said.recv_timeout(PATIENCE).map_err(|_| LabError::Timeout {
            what: "an answer of the impairment box".to_owned(),
            limit: PATIENCE,
        })
    }
}

impl Drop for Impairer<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // A path that stays cut shows in whatever comes next.
        let node = self.topology.impairment_node(self.cable);
        let _ = node.and_then(|node| self.topology.stand_in_cable(node));
    }
}

/// What an impairment box did.
#[derive(Clone, Debug)]
pub struct Did(Value);

impl Did {
    /// A count of one direction.
    pub fn count(&self, way: Way, what: &str) -> u64 {
        self.0[way.label()][what].as_u64().unwrap_or(0)
    }

    /// A count of both directions.
    pub fn both(&self, what: &str) -> u64 {
        Way::BOTH.iter().map(|&way| self.count(way, what)).sum()
    }
}

impl std::fmt::Display for Did {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for way in Way::BOTH {
            write!(f, "{}:", way.label())?;
            for (what, count) in self.0[way.label()].as_object().into_iter().flatten() {
                if *count != 0 {
                    write!(f, " {what} {count}")?;
                }
            }
            f.write_str("; ")?;
        }
        Ok(())
    }
}

/// Readies the node's interfaces for a program that reads whole frames.
pub(super) fn prepare(node: &Namespace) -> LabResult {
    for name in [TO_CLIENTS, TO_SERVERS] {
        // GRO must be on for redirected frames and must not merge: a merged frame is no frame.
        node.ip(&format!("link set {name} gro_max_size 64"))?;
    }
    Ok(())
}
