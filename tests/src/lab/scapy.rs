//! The independent peer's process (tests/interop) in a namespace: packets crafted and read by scapy,
//! agents and gateways that are none of ours. Owns the process and its pipes; commands are JSON.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use serde_json::{Value, json};

use super::inject::Injector;
use super::namespace::Namespace;
use super::{LabError, LabResult};

/// Debian's own, which has Debian's scapy: another may stand before it in PATH.
const PYTHON: &str = "/usr/bin/python3";

/// A running helper process.
pub struct Scapy {
    child: Child,
    pipes: RefCell<(ChildStdin, BufReader<ChildStdout>)>,
}

impl Scapy {
    /// Starts one in `namespace`; what it complains of goes to `log`.
    pub fn start(namespace: &Namespace, log: &Path) -> LabResult<Self> {
        let errors = std::fs::File::options().create(true).append(true).open(log);
        let mut command = namespace.command(PYTHON);
        command.args(["-B", "-m", "sekisho_peer.helper"]);
        command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("interop"));
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors.map_err(LabError::file("open", log))?)
            .spawn()
            .map_err(LabError::io(format!("start {PYTHON}")))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(LabError::Expectation("a child without pipes".to_owned()));
        };
        Ok(Self { child, pipes: RefCell::new((input, BufReader::new(output))) })
    }

    /// Opens an interface of its namespace; frames go to `next` unless they say otherwise.
    pub fn open(&self, interface: &str, next: &Injector) -> LabResult {
        let mac = next.mac().map(|octet| format!("{octet:02x}")).join(":");
        self.ask(json!({"op": "open", "interface": interface, "mac": mac})).map(drop)
    }

    /// One command and its answer; each ends within the time limit that it names itself.
    pub fn ask(&self, command: Value) -> LabResult<Value> {
        let mut pipes = self.pipes.borrow_mut();
        let io = || LabError::io("talk to the independent peer");
        writeln!(pipes.0, "{command}").map_err(io())?;
        let mut line = String::new();
        pipes.1.read_line(&mut line).map_err(io())?;
        let answer: Value = serde_json::from_str(&line)
            .map_err(|_| LabError::Expectation(format!("the peer said {line:?} to {command}")))?;
        match answer["error"].as_str() {
            None => Ok(answer),
            Some(error) => Err(LabError::Expectation(format!("{error}, asked for {command}"))),
        }
    }

    /// Sends described frames out of an interface.
    pub fn send(&self, interface: &str, frames: &[Value]) -> LabResult<Value> {
        self.ask(json!({"op": "send", "interface": interface, "frames": frames}))
    }

    /// The first frame received with all the values of `wanted`, if it comes within `ms`.
    pub fn expect(&self, interface: &str, wanted: &Value, ms: u64) -> LabResult<Option<Value>> {
        let command = json!({"op": "expect", "interface": interface, "match": wanted, "ms": ms});
        let mut answer = self.ask(command)?;
        Ok(Some(answer["packet"].take()).filter(|packet| !packet.is_null()))
    }

    /// All frames received with all the values of `wanted`.
    pub fn drain(&self, interface: &str, wanted: &Value) -> LabResult<Vec<Value>> {
        let command = json!({"op": "drain", "interface": interface, "match": wanted});
        let mut answer = self.ask(command)?;
        match answer["packets"].take() {
            Value::Array(packets) => Ok(packets),
            _ => Ok(Vec::new()),
        }
    }
}

impl Drop for Scapy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
