//! The doctor in a network namespace of its own: what is broken is found, and the command that it names mends it.
//!
//! ```text
//!   namespace skdoc<pid>:   e0 ══ eth0 (cipher)   eth1 (plain) ══ e1
//! ```

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

/// A namespace with two veth pairs; gone when dropped.
struct Namespace {
    name: String,
    directory: tempfile::TempDir,
}

impl Namespace {
    /// None, visibly, where namespaces may not be made; in CI that is a failure.
    fn new() -> Option<Self> {
        let name = format!("skdoc{}", std::process::id());
        let made = Command::new("ip").args(["netns", "add", &name]).output();
        if !made.as_ref().is_ok_and(|output| output.status.success()) {
            assert!(std::env::var_os("CI").is_none(), "CI needs root and iproute2: {made:?}");
            eprintln!("SKIPPED the doctor in a namespace: no privilege to make one");
            return None;
        }
        let namespace = Self { name, directory: tempfile::tempdir().expect("a directory") };
        for (port, peer) in [("eth0", "e0"), ("eth1", "e1")] {
            let queues = ["numrxqueues", "2", "numtxqueues", "2"];
            let add = [
                &["ip", "link", "add", port],
                &queues[..],
                &["type", "veth", "peer", "name", peer],
            ];
            namespace.run(&add.concat());
            namespace.run(&["ip", "link", "set", port, "up"]);
            namespace.run(&["ip", "link", "set", peer, "up"]);
        }
        Some(namespace)
    }

    fn run(&self, command: &[&str]) -> Output {
        let output = Command::new("ip").args(["netns", "exec", &self.name]).args(command).output();
        let output = output.expect("ip netns exec runs");
        assert!(
            output.status.success(),
            "{command:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The findings by check, and the exit code.
    fn doctor(&self) -> (Value, Option<i32>) {
        let output = Command::new("ip")
            .args([
                "netns",
                "exec",
                &self.name,
                env!("CARGO_BIN_EXE_sekisho"),
                "doctor",
                "--json",
                "--config",
            ])
            .arg(self.path("gw.toml"))
            .output()
            .expect("the program runs");
        let findings: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
        (findings, output.status.code())
    }

    fn finding(&self, check: &str) -> Value {
        let (report, _) = self.doctor();
        let findings = report["findings"].as_array().expect("a list");
        let found = findings.iter().find(|finding| finding["check"] == check);
        assert!(found.is_some(), "{check} is not in {report:#}");
        found.cloned().unwrap_or_default()
    }

    /// Breaks something, expects the check to fail, runs what the finding says, expects it to pass.
    fn breaks_and_mends(&self, check: &str, break_it: &[&str], verdict: &str) {
        self.run(break_it);
        let finding = self.finding(check);
        assert_eq!(finding["verdict"], verdict, "{finding:#}");
        let mend = finding["mend"].as_str().expect("what mends it");
        let command = mend.split(", or").next().expect("split gives one at least");
        self.run(&["sh", "-c", command]);
        assert_eq!(self.finding(check)["verdict"], "pass", "after {command}");
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

#[test]
fn what_is_broken_is_found_and_the_named_command_mends_it() {
    let Some(namespace) = Namespace::new() else { return };
    let key = namespace.path("gw1.key");
    std::fs::write(&key, format!("{}\n", "ab".repeat(32))).expect("written");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("its mode");
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/examples/gateway.toml");
    let text = std::fs::read_to_string(example).expect("the example");
    let text = text.replace("/etc/sekisho/gw1.key", &key.display().to_string());
    std::fs::write(namespace.path("gw.toml"), text).expect("written");

    namespace.run(&["ethtool", "-L", "eth0", "rx", "2", "tx", "2"]);
    namespace.run(&["ethtool", "-L", "eth1", "rx", "2", "tx", "2"]);
    for check in
        ["ports.cipher.device", "ports.plain.link", "ports.cipher.queues", "ports.mtu", "key.file"]
    {
        assert_eq!(namespace.finding(check)["verdict"], "pass", "{check}");
    }
    // veth hands over partial checksums, and no KDC is there.
    assert_eq!(namespace.finding("ports.plain.checksum")["verdict"], "warn");
    assert_eq!(namespace.finding("kdc.10.9.0.2:1089")["verdict"], "fail");
    assert_eq!(namespace.doctor().1, Some(1));

    let key = key.display().to_string();
    namespace.breaks_and_mends("ports.mtu", &["ip", "link", "set", "eth1", "mtu", "1400"], "fail");
    namespace.breaks_and_mends(
        "ports.plain.mtu",
        &["ip", "link", "set", "eth1", "mtu", "4000"],
        "fail",
    );
    namespace.breaks_and_mends("ports.cipher.link", &["ip", "link", "set", "eth0", "down"], "warn");
    namespace.breaks_and_mends(
        "ports.cipher.queues",
        &["ethtool", "-L", "eth0", "rx", "1", "tx", "1"],
        "fail",
    );
    namespace.breaks_and_mends(
        "ports.cipher.device",
        &["ip", "address", "add", "10.0.0.1/24", "dev", "eth0"],
        "warn",
    );
    namespace.breaks_and_mends("key.file", &["chmod", "644", &key], "fail");
    namespace.run(&["ip", "link", "del", "eth0"]);
    assert_eq!(namespace.finding("ports.cipher.device")["what"], "there is no interface eth0");
}
