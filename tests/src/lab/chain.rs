//! The whole chain: a topology whose boxes run the real `sekisho` processes, with captures throughout.
//! Owns starting, ending and asking them; what a test wants of them is the test's business.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::config::{self, Setup};
use super::harness::{Side, Watch, guarded, keep_logs, no_leak, privileged, show_logs, totals};
use super::namespace::Namespace;
use super::process::{Process, beside, failed, run, run_any, wait_until};
use super::topology::{Host, Topology};
use super::{LabError, LabResult};

/// Limit of a `sekisho` command that ends by itself.
const COMMAND_LIMIT: Duration = Duration::from_secs(20);
/// Configuration under which derived keys are written out.
const ISSUER: &str = "issuer.toml";
/// A process is ready within this time even while the two cores are busy.
const READY_LIMIT: Duration = Duration::from_secs(20);

/// A box with a process of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    /// The cipher gateway.
    Gateway,
    /// The client agent.
    Agent,
}

impl Node {
    /// The command of the program, and the stem of its files.
    pub fn command(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Agent => "client",
        }
    }
}

/// The `sekisho` binary under test: `SEKISHO_BIN`, or the one beside this program.
pub fn binary() -> LabResult<PathBuf> {
    if let Some(path) = std::env::var_os("SEKISHO_BIN") {
        return Ok(path.into());
    }
    beside("sekisho")
}

/// A topology with running processes.
pub struct Chain {
    /// How it was set up.
    pub setup: Setup,
    /// Captures on both sides.
    pub watch: Watch,
    kdcs: Vec<Option<Process>>,
    gateway: Option<Process>,
    agent: Option<Process>,
    // Last, so that the processes end before their namespaces go.
    /// The network.
    pub topology: Topology,
}

impl Chain {
    /// Builds the network, initialises the KDCs, starts everything and waits until it is ready.
    pub fn start(setup: Setup) -> LabResult<Self> {
        let mut chain = Self::prepare(setup)?;
        chain.start_processes()?;
        Ok(chain)
    }

    /// The same without the processes: both boxes are kernel bridges, the KDCs are initialised.
    pub fn prepare(setup: Setup) -> LabResult<Self> {
        let topology = Topology::build(setup.plan)?;
        let watch = Watch::start(&topology)?;
        let mut chain =
            Self { setup, watch, kdcs: Vec::new(), gateway: None, agent: None, topology };
        chain.write_files()?;
        Ok(chain)
    }

    /// Starts KDCs, gateway and agent in the boxes.
    pub fn start_processes(&mut self) -> LabResult {
        for index in 0..self.setup.kdcs {
            self.kdcs.push(None);
            self.start_kdc(index)?;
        }
        self.topology.clear_box(&self.topology.gateway)?;
        self.start_node(Node::Gateway)?;
        if self.setup.agent {
            self.topology.clear_box(&self.topology.agent)?;
            self.start_node(Node::Agent)?;
        }
        Ok(())
    }

    fn directory(&self) -> &Path {
        self.topology.site.path()
    }

    fn write_files(&mut self) -> LabResult {
        let site = &self.topology.site;
        site.write("gateway.toml", &config::gateway(&self.setup, site.path()))?;
        site.write("client.toml", &config::agent(&self.setup, site.path()))?;
        for index in 0..self.setup.kdcs {
            site.write(&format!("kdc{index}.toml"), &config::kdc(&self.setup, site.path(), index))?;
        }
        self.kdc_command(&["init"])?;
        if self.setup.derived_keys {
            let issuer =
                config::kdc(&self.setup, site.path(), 0).replace("kdc0.redb", "issuer.redb");
            site.write(ISSUER, &issuer)?;
            self.kdc_by(ISSUER, &["init"])?;
        }
        self.add_device("gateway", config::GATEWAY_ID)?;
        if self.setup.agent_id == config::UNKNOWN_ID {
            site.write("client.key", &format!("{}\n", "5e".repeat(32)))?;
        } else {
            self.add_device("client", self.setup.agent_id)?;
        }
        for (wrong, file) in [
            (self.setup.agent_wrong_key, "client.key"),
            (self.setup.gateway_wrong_key, "gateway.key"),
        ] {
            if wrong {
                site.write(file, &format!("{}\n", "5e".repeat(32)))?;
            }
        }
        // The second KDC serves a copy of the first one's registry.
        for index in 1..self.setup.kdcs {
            for end in [".redb", "-master.key"] {
                let (from, to) = (format!("kdc0{end}"), format!("kdc{index}{end}"));
                let (from, to) = (site.file(&from), site.file(&to));
                std::fs::copy(&from, &to).map_err(LabError::file("copy", &from))?;
            }
        }
        Ok(())
    }

    /// Makes a device's key file. Derived keys come from a registry that no KDC serves, under the same
    /// master key: the serving KDC finds the key by the identifier alone.
    fn add_device(&self, role: &str, id: &str) -> LabResult {
        let out = self.directory().join(format!("{role}.key")).display().to_string();
        let config = if self.setup.derived_keys { ISSUER } else { "kdc0.toml" };
        self.kdc_by(config, &["device", "add", "--role", role, "--key-out", &out, id]).map(drop)
    }

    /// `sekisho kdc WORDS --config` of the first KDC; its standard output.
    pub fn kdc_command(&self, words: &[&str]) -> LabResult<String> {
        self.kdc_by("kdc0.toml", words)
    }

    fn kdc_by(&self, config: &str, words: &[&str]) -> LabResult<String> {
        let mut command = self.topology.kdc.command(binary()?);
        command.arg("kdc").args(words).arg("--config").arg(self.directory().join(config));
        run(&mut command, COMMAND_LIMIT)
    }

    /// Starts KDC number `index`.
    pub fn start_kdc(&mut self, index: usize) -> LabResult {
        let name = format!("kdc{index}");
        let mut command = self.topology.kdc.command(binary()?);
        command
            .args(["kdc", "serve", "--config"])
            .arg(self.directory().join(format!("{name}.toml")));
        let mut process = Process::spawn(&name, &mut command, self.directory())?;
        let address = config::KDC_ADDRESSES[index];
        wait_until(&format!("{name} listens on {address}"), READY_LIMIT, || {
            if !process.is_running() {
                return Err(LabError::Expectation(format!("{name} ended: {}", process.log())));
            }
            let listing = run(self.topology.kdc.command("ss").args(["-Hlun"]), COMMAND_LIMIT)?;
            Ok(listing.contains(address))
        })?;
        self.kdcs[index] = Some(process);
        Ok(())
    }

    /// Kills KDC number `index`.
    pub fn stop_kdc(&mut self, index: usize) -> LabResult {
        self.kdcs[index].take();
        Ok(())
    }

    /// Sends a signal to KDC number `index`: STOP and CONT make it stand still for a while.
    pub fn signal_kdc(&self, index: usize, signal: Signal) -> LabResult {
        match self.kdcs.get(index) {
            Some(Some(process)) => process.signal(signal),
            _ => Err(LabError::Expectation(format!("KDC {index} does not run"))),
        }
    }

    /// Starts the gateway or the agent without waiting for it.
    pub fn spawn_node(&mut self, node: Node) -> LabResult {
        let mut command = self.namespace(node).command(binary()?);
        command.arg(node.command()).arg("--config").arg(self.config_file(node));
        let process = Process::spawn(node.command(), &mut command, self.directory())?;
        *self.slot(node) = Some(process);
        Ok(())
    }

    /// Starts the gateway or the agent and waits until it forwards.
    pub fn start_node(&mut self, node: Node) -> LabResult {
        self.spawn_node(node)?;
        self.wait_ready(node)
    }

    /// Waits until a started gateway or agent says that it forwards.
    pub fn wait_ready(&mut self, node: Node) -> LabResult {
        wait_until(&format!("{node:?} is ready"), READY_LIMIT, || {
            if !self.process(node)?.is_running() {
                let log = self.process(node)?.log();
                return Err(LabError::Expectation(format!("{node:?} ended at once:\n{log}")));
            }
            Ok(self.status(node).is_ok_and(|status| status["ready"] == true))
        })
    }

    /// The running process of a box.
    pub fn process(&mut self, node: Node) -> LabResult<&mut Process> {
        self.slot(node)
            .as_mut()
            .ok_or_else(|| LabError::Expectation(format!("{node:?} does not run")))
    }

    /// Its configuration file.
    pub fn config_file(&self, node: Node) -> PathBuf {
        self.directory().join(format!("{}.toml", node.command()))
    }

    /// The namespace of a box.
    pub fn namespace(&self, node: Node) -> &Namespace {
        match node {
            Node::Gateway => &self.topology.gateway,
            Node::Agent => &self.topology.agent,
        }
    }

    /// The namespace of a host.
    pub fn host(&self, host: Host) -> &Namespace {
        self.topology.host(host)
    }

    fn slot(&mut self, node: Node) -> &mut Option<Process> {
        match node {
            Node::Gateway => &mut self.gateway,
            Node::Agent => &mut self.agent,
        }
    }

    /// A `sekisho` command that asks a running process, in its namespace.
    pub fn ask(&self, node: Node, words: &[&str]) -> LabResult<Command> {
        let mut command = self.namespace(node).command(binary()?);
        command.args(words).arg("--socket");
        command.arg(self.directory().join(format!("{}.sock", node.command())));
        Ok(command)
    }

    /// `sekisho status --json`. Exit code 3 (degraded) answers too.
    pub fn status(&self, node: Node) -> LabResult<Value> {
        self.ask_json(node, &["status", "--json"])
    }

    /// `sekisho sessions --json`: the list.
    pub fn sessions(&self, node: Node) -> LabResult<Vec<Value>> {
        let answer = self.ask_json(node, &["sessions", "--json"])?;
        match answer["sessions"].as_array() {
            Some(list) => Ok(list.clone()),
            None => Err(LabError::Expectation(format!("sessions --json said {answer}"))),
        }
    }

    /// `sekisho close --client`: how many sessions it closed.
    pub fn close(&self, node: Node, client: SocketAddr) -> LabResult<u64> {
        let client = client.to_string();
        let answer = self.ask_json(node, &["close", "--json", "--client", &client])?;
        answer["closed"]
            .as_u64()
            .ok_or_else(|| LabError::Expectation(format!("close --json said {answer}")))
    }

    fn ask_json(&self, node: Node, words: &[&str]) -> LabResult<Value> {
        let mut command = self.ask(node, words)?;
        let finished = run_any(&mut command, "", COMMAND_LIMIT)?;
        serde_json::from_str(&finished.stdout).map_err(|_| failed(&command, &finished))
    }

    /// A count of `status`: `table` is `drops`, `sessions`, `key_deliveries`, `kdc_requests`, `events` …
    pub fn count(&self, node: Node, table: &str, label: &str) -> LabResult<u64> {
        Ok(self.status(node)?[table][label].as_u64().unwrap_or(0))
    }

    /// The labels of a table that counted anything.
    pub fn counted(&self, node: Node, table: &str) -> LabResult<Vec<(String, u64)>> {
        let status = self.status(node)?;
        let rows = status[table].as_object().into_iter().flatten();
        let rows = rows.filter_map(|(label, count)| Some((label.clone(), count.as_u64()?)));
        Ok(rows.filter(|row| row.1 > 0).collect())
    }

    /// Frames dropped with a reason, by workers and by the XDP program.
    pub fn drops(&self, node: Node, reason: &str) -> LabResult<u64> {
        self.count(node, "drops", reason)
    }

    /// Frames dropped for any reason.
    pub fn all_drops(&self, node: Node) -> LabResult<u64> {
        Ok(self.counted(node, "drops")?.iter().map(|row| row.1).sum())
    }

    /// Sessions that hold a key, by `status`.
    pub fn keys_held(&self, node: Node) -> LabResult<u64> {
        let sessions = self.counted(node, "sessions")?;
        let keyed =
            |row: &&(String, u64)| ["keyed", "synced", "draining"].contains(&row.0.as_str());
        Ok(sessions.iter().filter(keyed).map(|row| row.1).sum())
    }

    /// Frames of all workers that are free or lie in a ring: what a quiet process must not lose.
    pub fn frames_at_rest(&self, node: Node) -> LabResult<u64> {
        let status = self.status(node)?;
        let workers = status["workers"].as_array().into_iter().flatten();
        Ok(workers
            .map(|worker| {
                let rings = worker["rings"].as_array().into_iter().flatten();
                let frames = rings.filter(|ring| ring["side"] != "control");
                let used: u64 = frames.filter_map(|ring| ring["used"].as_u64()).sum();
                used + worker["frames_free"].as_u64().unwrap_or(0)
            })
            .sum())
    }

    /// Lines of the first KDC's audit log.
    pub fn audit(&self) -> Vec<String> {
        let path = self.directory().join("kdc0-audit.log");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// The metrics page.
    pub fn metrics(&self, node: Node) -> LabResult<String> {
        let mut command = self.namespace(node).command("curl");
        command.args(["-sf", "--max-time", "5", "http://127.0.0.1:9478/metrics"]);
        run(&mut command, COMMAND_LIMIT)
    }

    /// Everything a person needs to see when a test on this chain fails.
    pub fn diagnose(&mut self, test: &str, error: &str) {
        println!("{test}: {error}");
        for node in [Node::Gateway, Node::Agent] {
            let status = self.status(node).map(|status| told(&status));
            println!("---- {node:?} status: {}", status.unwrap_or_else(|error| error.to_string()));
            let sessions = self.sessions(node).map(|list| {
                list.iter().take(20).map(|session| format!("\n  {session}")).collect::<String>()
            });
            println!("---- {node:?} sessions: {}", sessions.unwrap_or_else(|e| e.to_string()));
        }
        show_logs(&self.topology, test);
    }

    /// Stores every log of the lab under `target/lab/TEST`, without a word.
    pub fn keep_logs(&self, test: &str) {
        keep_logs(&self.topology, test);
    }

    /// Leaves everything running after this value is gone.
    pub fn detach(&mut self) -> LabResult {
        for process in self.kdcs.iter_mut().flatten() {
            process.detach();
        }
        for process in self.gateway.iter_mut().chain(&mut self.agent) {
            process.detach();
        }
        self.topology.detach()
    }
}

/// A status without its zeros and without what never changes, on few lines.
fn told(status: &Value) -> String {
    let mut text = String::new();
    for (name, value) in status.as_object().into_iter().flatten() {
        let silent = ["services", "schema", "version", "started_unix_seconds", "worker_drops"];
        let shown = match value.as_object() {
            Some(members) => {
                let members = members.iter().filter(|(_, count)| **count != 0);
                members.map(|(label, count)| format!("{label}={count} ")).collect::<String>()
            }
            None => value.to_string(),
        };
        if !silent.contains(&name.as_str()) && !shown.is_empty() {
            text.push_str(&format!("\n  {name}: {shown}"));
        }
    }
    text
}

/// Runs a lab test on a chain: visible skip without privilege, diagnostics on failure, and in the end
/// no canary on the cipher side, whatever the test itself looked at.
pub fn on_chain(test: &str, setup: Setup, body: impl FnOnce(&mut Chain) -> LabResult) -> LabResult {
    watched(test, setup, |chain| {
        body(chain)?;
        Ok(true)
    })
}

/// The same for tests whose payloads may not even reach the plain side.
pub fn on_silent_chain(
    test: &str,
    setup: Setup,
    body: impl FnOnce(&mut Chain) -> LabResult,
) -> LabResult {
    watched(test, setup, |chain| {
        body(chain)?;
        Ok(false)
    })
}

/// `body` says whether canaries must have been seen on the plain side.
fn watched(
    test: &str,
    setup: Setup,
    body: impl FnOnce(&mut Chain) -> LabResult<bool>,
) -> LabResult {
    if !privileged(test)? {
        return Ok(());
    }
    let mut chain = Chain::prepare(setup)?;
    guarded(
        &mut chain,
        |chain| {
            chain.start_processes()?;
            let shown = body(chain)?;
            let reports = chain.watch.stop()?;
            no_leak(&reports)?;
            let (frames, bytes, _, dropped) = totals(&reports, Side::Cipher);
            let canaries = totals(&reports, Side::Plain).2;
            println!(
                "{test}: {bytes} bytes in {frames} frames checked on the cipher side, {dropped} not seen; plain side shows {canaries} canaries"
            );
            if dropped > 0 {
                let what = format!("{dropped} frames of the cipher side escaped the capture");
                return Err(LabError::Expectation(what));
            }
            if shown && canaries == 0 {
                return Err(LabError::Expectation("no canary reached the plain side".to_owned()));
            }
            Ok(())
        },
        |chain, error| chain.diagnose(test, error),
    )
}
