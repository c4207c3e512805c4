//! The machine: kernel, capabilities, memory limits, bpffs, processors, clock.

use std::fs;
use std::path::Path;

use rustix::process::{Resource, getrlimit};
use sekisho_cipher::BadKernel;
use sekisho_config::{CipherKernel, NodeConfig, PollMode};

use super::Finding;

/// First kernel with XDP links (`BPF_LINK_TYPE_XDP`), which pin the program across our restarts.
const OLDEST_KERNEL: (u32, u32) = (5, 9);
/// First kernel that charges BPF maps to the cgroup instead of `RLIMIT_MEMLOCK`.
const MEMCG_KERNEL: (u32, u32) = (5, 11);
/// `f_type` of a bpffs.
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;
/// Bytes of one frame.
const FRAME_BYTES: u64 = 4096;
/// Capabilities needed at start, with their bit numbers (`linux/capability.h`) and what for.
const CAPABILITIES: [(&str, u32, &str); 4] = [
    ("CAP_NET_ADMIN", 12, "attaching XDP and setting up the ports"),
    ("CAP_NET_RAW", 13, "AF_XDP sockets"),
    ("CAP_SYS_ADMIN", 21, "finding the attached program, mounting the bpffs"),
    ("CAP_BPF", 39, "loading BPF programs and maps"),
];
const CAP_IPC_LOCK: u32 = 14;

/// Checks of the machine for a gateway or a client agent.
pub(super) fn node(node: Option<&NodeConfig>) -> Vec<Finding> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let effective = capability_set(&status);
    let limit = getrlimit(Resource::Memlock).current;
    let mut findings = vec![kernel(release.trim()), capabilities(effective)];
    findings.push(memlock(limit, effective, version(&release), node.map(frame_memory)));
    let jit = fs::read_to_string("/proc/sys/net/core/bpf_jit_enable").ok();
    findings.extend(jit.as_deref().map(bpf_jit));
    findings.extend(node.map(|node| bpffs(&node.pin.directory)));
    findings.push(cpu(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default()));
    let configured = node.map_or(CipherKernel::Auto, |node| node.workers.cipher);
    findings.push(cipher(sekisho_cipher::choose_kernel(configured.word())));
    let allowed = allowed_cores(&status);
    findings.extend(node.map(|node| cores(node, &allowed)));
    let source = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    findings.push(clock(fs::read_to_string(source).ok().as_deref().map(str::trim)));
    findings
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Some((major, minor)),
        _ => None,
    }
}

fn kernel(release: &str) -> Finding {
    let (major, minor) = OLDEST_KERNEL;
    let mend = format!("run a kernel of {major}.{minor} or later");
    match version(release) {
        Some(version) if version >= OLDEST_KERNEL => Finding::pass("kernel.version", release),
        Some(_) => Finding::fail("kernel.version", format!("{release} has no XDP links"), mend),
        None => Finding::warn("kernel.version", format!("`{release}` is no version"), mend),
    }
}

/// `CapEff` of `/proc/self/status`.
fn capability_set(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0)
}

fn capabilities(effective: u64) -> Finding {
    let missing: Vec<_> =
        CAPABILITIES.iter().filter(|(_, bit, _)| effective >> bit & 1 == 0).collect();
    if missing.is_empty() {
        let names: Vec<_> = CAPABILITIES.iter().map(|(name, ..)| *name).collect();
        return Finding::pass("capabilities", names.join(" "));
    }
    let what: Vec<_> = missing.iter().map(|(name, _, what)| format!("{name} ({what})")).collect();
    let names: Vec<_> = missing.iter().map(|(name, ..)| *name).collect();
    let mend =
        format!("run as root, or in the systemd unit: AmbientCapabilities={}", names.join(" "));
    Finding::fail("capabilities", format!("missing: {}", what.join(", ")), mend)
}

fn frame_memory(node: &NodeConfig) -> u64 {
    u64::from(node.workers.count) * u64::from(node.workers.frames) * FRAME_BYTES
}

/// The frames of AF_XDP sockets are charged to `RLIMIT_MEMLOCK` unless CAP_IPC_LOCK is there.
fn memlock(
    limit: Option<u64>,
    effective: u64,
    kernel: Option<(u32, u32)>,
    frames: Option<u64>,
) -> Finding {
    const CHECK: &str = "memory.memlock";
    let mend = "in the systemd unit: LimitMEMLOCK=infinity, or AmbientCapabilities=CAP_IPC_LOCK";
    let limit = match limit {
        None => return Finding::pass(CHECK, "unlimited"),
        Some(_) if effective >> CAP_IPC_LOCK & 1 == 1 => {
            return Finding::pass(CHECK, "not limited: CAP_IPC_LOCK");
        }
        Some(limit) => limit,
    };
    let mebibytes = |bytes: u64| format!("{} MiB", bytes.div_ceil(1 << 20));
    match frames {
        Some(frames) if limit < frames => {
            let what = format!(
                "{} may be locked, the frames need {}",
                mebibytes(limit),
                mebibytes(frames)
            );
            Finding::fail(CHECK, what, mend)
        }
        _ if kernel < Some(MEMCG_KERNEL) => {
            let what =
                format!("{} may be locked, and BPF maps count on this kernel", mebibytes(limit));
            Finding::warn(CHECK, what, mend)
        }
        _ => Finding::pass(CHECK, format!("{} may be locked", mebibytes(limit))),
    }
}

fn bpf_jit(enabled: &str) -> Finding {
    if enabled.trim() == "0" {
        let what = "the XDP program is interpreted, which costs most of its speed";
        return Finding::warn("kernel.bpf_jit", what, "sysctl -w net.core.bpf_jit_enable=1");
    }
    Finding::pass("kernel.bpf_jit", "on")
}

fn bpffs(directory: &Path) -> Finding {
    const CHECK: &str = "bpffs";
    // The directory itself is made at start: what matters is the file system that it will be on.
    let present = directory.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"));
    let on_bpffs =
        rustix::fs::statfs(present).is_ok_and(|facts| facts.f_type as u64 == BPF_FS_MAGIC);
    let shown = directory.display();
    if on_bpffs {
        return Finding::pass(CHECK, format!("{shown} is on one"));
    }
    let usual = Path::new("/sys/fs/bpf");
    let mount = if directory.starts_with(usual) { usual } else { directory };
    let mount = mount.display();
    let what = format!(
        "none at {shown}; it is mounted at start, and is lost with a private mount namespace"
    );
    Finding::warn(CHECK, what, format!("mkdir -p {mount} && mount -t bpf bpf {mount}"))
}

fn cpu(cpuinfo: &str) -> Finding {
    const CHECK: &str = "cpu.aes";
    let flags = cpuinfo.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        ["flags", "Features"].contains(&key.trim()).then_some(value)
    });
    let has =
        |flag: &str| flags.is_some_and(|flags| flags.split_whitespace().any(|found| found == flag));
    let wide = has("vaes") && has("vpclmulqdq") && has("avx512f");
    if wide {
        Finding::pass(CHECK, "AES, carry-less multiply, both 512 bits wide")
    } else if has("aes") && (has("pclmulqdq") || has("pmull")) {
        Finding::pass(CHECK, "AES, carry-less multiply, 128 bits wide")
    } else {
        let mend =
            "switch AES on in the firmware, or give the virtual machine the host's CPU model";
        Finding::warn(CHECK, "no AES instructions: ciphering is slow", mend)
    }
}

/// What a process started now, with this environment, would seal and open with.
fn cipher(chosen: Result<&'static str, BadKernel>) -> Finding {
    const CHECK: &str = "cpu.cipher";
    match chosen {
        Ok("portable") => Finding::warn(
            CHECK,
            "portable: ciphering is slow",
            "let `[workers] cipher` be auto and SEKISHO_CIPHER unset; if it stays so, another CPU",
        ),
        Ok(kernel) => Finding::pass(CHECK, kernel),
        Err(error) => {
            let mend = "change `[workers] cipher`, or unset SEKISHO_CIPHER";
            Finding::fail(CHECK, error.to_string(), mend)
        }
    }
}

/// `Cpus_allowed_list` of `/proc/self/status`, as in `0-3,8`.
fn allowed_cores(status: &str) -> Vec<u16> {
    let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let range = |text: &str| -> Option<std::ops::RangeInclusive<u16>> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    line.unwrap_or_default().trim().split(',').filter_map(range).flatten().collect()
}

fn cores(node: &NodeConfig, allowed: &[u16]) -> Finding {
    const CHECK: &str = "cpu.cores";
    let workers = &node.workers;
    let foreign: Vec<_> =
        workers.cores.iter().filter(|core| !allowed.contains(core)).map(u16::to_string).collect();
    if !foreign.is_empty() {
        let what =
            format!("core {} of [workers] cores is not there for this process", foreign.join(", "));
        let mend =
            format!("choose from {}, or widen CPUAffinity in the systemd unit", ranges(allowed));
        return Finding::fail(CHECK, what, mend);
    }
    let (count, cores) = (usize::from(workers.count), allowed.len());
    if workers.poll == PollMode::Busy && count >= cores {
        let what =
            format!("{count} busy workers on {cores} cores leave none for the control thread");
        return Finding::warn(CHECK, what, "set [workers] poll = \"adaptive\", or fewer workers");
    }
    Finding::pass(CHECK, format!("{count} workers, {cores} cores"))
}

/// The allowed cores, shortened.
fn ranges(cores: &[u16]) -> String {
    match (cores.first(), cores.last()) {
        (Some(first), Some(last)) if usize::from(last - first) + 1 == cores.len() => {
            format!("{first} to {last}")
        }
        _ => cores.iter().map(u16::to_string).collect::<Vec<_>>().join(", "),
    }
}

fn clock(source: Option<&str>) -> Finding {
    match source {
        Some(slow @ ("hpet" | "acpi_pm" | "jiffies" | "refined-jiffies")) => Finding::warn(
            "clock",
            format!("{slow}: reading the time is a slow call, once for each burst"),
            "boot with clocksource=tsc if the machine's is stable",
        ),
        Some(source) => Finding::pass("clock", source),
        None => Finding::pass("clock", "unknown source"),
    }
}

#[cfg(test)]
mod tests;
