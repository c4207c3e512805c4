//! The Debian packages that building and testing need: found missing by what they bring, installed once.
//! Leaves no service running that was not running before.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::Failure;
use crate::run::{find, is_root, quietly, succeed};

/// What shows that a package is there.
enum Probe {
    Program(&'static str),
    File(&'static str),
}

use Probe::{File, Program};

/// Probe, package, reason.
const NEEDED: [(Probe, &str); 21] = [
    // Building: C for libbpf, C++ for the fuzzing engine, clang for the XDP program, headers.
    (Program("cc"), "gcc"),
    (Program("c++"), "g++"),
    (Program("make"), "make"),
    (Program("pkg-config"), "pkg-config"),
    (Program("clang"), "clang"),
    (File("/usr/include/libelf.h"), "libelf-dev"),
    (File("/usr/include/zlib.h"), "zlib1g-dev"),
    (File("/usr/include/linux/bpf.h"), "linux-libc-dev"),
    // The lab's network.
    (Program("ip"), "iproute2"),
    (Program("ethtool"), "ethtool"),
    (Program("tcpdump"), "tcpdump"),
    (Program("nft"), "nftables"),
    // The unchanged programs that talk through it.
    (Program("nginx"), "nginx"),
    (Program("curl"), "curl"),
    (Program("iperf3"), "iperf3"),
    (Program("redis-server"), "redis-server"),
    (Program("redis-benchmark"), "redis-tools"),
    // promtool, which checks the metrics page.
    (Program("promtool"), "prometheus"),
    (Program("nsenter"), "util-linux"),
    // The independent peer.
    (File("/usr/lib/python3/dist-packages/scapy/__init__.py"), "python3-scapy"),
    (File("/usr/lib/python3/dist-packages/cryptography/__init__.py"), "python3-cryptography"),
];

/// Services that these packages start when installed.
const SERVICES: [&str; 3] = ["nginx", "redis-server", "prometheus"];

/// Installs what is missing; quick and silent when nothing is.
pub(crate) fn install_missing() -> Result<(), Failure> {
    let missing: BTreeSet<&str> = NEEDED
        .iter()
        .filter(|(probe, _)| match probe {
            Program(name) => find(name).is_none(),
            File(path) => !Path::new(path).exists(),
        })
        .map(|&(_, package)| package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list: Vec<&str> = missing.iter().copied().collect();
    let by_hand = format!("apt-get install --no-install-recommends {}", list.join(" "));
    if find("apt-get").is_none() {
        return Err(format!("this is no Debian: install what `{by_hand}` would bring"));
    }
    if !is_root() && find("sudo").is_none() {
        return Err(format!("not root and no sudo; run as root: {by_hand}"));
    }
    eprintln!("xtask: installing {}", list.join(", "));
    apt(&["update"])?;
    let mut args = vec!["install", "--yes", "--no-install-recommends"];
    args.extend(&list);
    apt(&args)?;
    for service in SERVICES.iter().filter(|service| missing.contains(*service)) {
        stop(service);
    }
    Ok(())
}

/// apt-get as root, without questions; its chatter goes to standard error.
fn apt(args: &[&str]) -> Result<(), Failure> {
    let mut command = if is_root() { Command::new("env") } else { Command::new("sudo") };
    if !is_root() {
        command.arg("env");
    }
    // RUNLEVEL=1 (single user) keeps invoke-rc.d from starting services.
    command.args(["DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1", "apt-get", "-q"]).args(args);
    command.stdout(std::io::stderr());
    succeed(&mut command)
}

/// systemd starts a new package's service whatever the run level: stop what this installation started.
fn stop(service: &str) {
    if !Path::new("/run/systemd/system").exists() {
        return;
    }
    let mut command = if is_root() { Command::new("systemctl") } else { Command::new("sudo") };
    if !is_root() {
        command.arg("systemctl");
    }
    if quietly(command.args(["disable", "--now", service])) {
        eprintln!("xtask: stopped the service {service} that its package had started");
    }
}
