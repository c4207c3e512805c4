//! Network namespaces for this crate's tests that need root. Names and directories are unique to
//! the process; everything goes when it is dropped.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "a helper of tests")]

use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::mount::{UnmountFlags, unmount};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

/// True if the test can run. Otherwise it says so, and fails where CI counts on it.
pub fn privileged(test: &str) -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    println!("SKIPPED (needs root): {test}");
    assert!(std::env::var_os("CI").is_none(), "{test} needs root, which CI must give");
    false
}

/// A network namespace, alive as long as this.
pub struct NetNs {
    file: File,
}

impl NetNs {
    pub fn new() -> Self {
        let file = thread::spawn(|| {
            // SAFETY: this thread ends right away; nothing else runs in it.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("unshare: CAP_SYS_ADMIN");
            File::open("/proc/thread-self/ns/net").unwrap()
        });
        let ns = Self { file: file.join().unwrap() };
        ns.sh("ip link set lo up");
        ns
    }

    /// Runs `work` in a thread of this namespace and waits for it.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.enter();
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Starts `work` in a thread of this namespace.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> thread::JoinHandle<T> {
        let file = self.file.try_clone().unwrap();
        thread::spawn(move || {
            let ns = Self { file };
            ns.enter();
            work()
        })
    }

    fn enter(&self) {
        move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
    }

    /// Runs lines of commands; each must succeed.
    pub fn sh(&self, script: &str) {
        for line in script.lines().map(str::trim).filter(|l| !l.is_empty()) {
            let (ok, output) = self.try_sh(line);
            assert!(ok, "`{line}`: {output}");
        }
    }

    /// Runs one command; its success and everything it printed.
    pub fn try_sh(&self, line: &str) -> (bool, String) {
        self.run(|| {
            let words: Vec<_> = line.split_whitespace().collect();
            let output = Command::new(words[0]).args(&words[1..]).output();
            let output = output.expect(line);
            let text = [output.stdout, output.stderr].concat();
            (output.status.success(), String::from_utf8_lossy(&text).into_owned())
        })
    }

    /// Sets a variable below /proc/sys, of which the namespace has its own.
    pub fn sysctl(&self, name: &str, value: &str) {
        self.run(|| std::fs::write(Path::new("/proc/sys").join(name), value).unwrap());
    }

    /// A path by which commands outside reach the namespace.
    pub fn path(&self) -> String {
        use std::os::fd::AsRawFd;
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }
}

/// ```text
///  client 10.9.0.1, fd09::1          gateway              server 10.9.0.2, fd09::2
///  [client ns] h0 ────────── cipher [gateway ns] plain ────────── h0 [server ns]
/// ```
pub struct Lab {
    pub client: NetNs,
    pub gateway: NetNs,
    pub server: NetNs,
    pub pins: PinDirectory,
}

impl Lab {
    pub fn new(queues: u32) -> Self {
        let lab = Self {
            client: NetNs::new(),
            gateway: NetNs::new(),
            server: NetNs::new(),
            pins: PinDirectory::new(),
        };
        // Lets tests send ICMP echo requests from datagram sockets.
        lab.client.sysctl("net/ipv4/ping_group_range", "0 2147483647");
        let many = format!("numrxqueues {queues} numtxqueues {queues}");
        for (host, port, n) in [(&lab.client, "cipher", 1), (&lab.server, "plain", 2)] {
            let far = host.path();
            lab.gateway.sh(&format!(
                "ip link add {port} {many} type veth peer name h0 {many} netns {far}"
            ));
            // The far end needs NAPI to take frames from the device map, and true checksums.
            host.sh(&format!(
                "ethtool -K h0 tx off tso off gso off gro on txvlan off
                 ip addr add 10.9.0.{n}/24 dev h0
                 ip addr add fd09::{n}/64 dev h0 nodad
                 ip link set h0 up"
            ));
            lab.gateway.sh(&format!("ip link set {port} up"));
        }
        lab
    }
}

/// A directory of its own for pins, on a bpffs that the code under test mounts.
pub struct PinDirectory {
    path: PathBuf,
}

impl PinDirectory {
    fn new() -> Self {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("sekisho-port-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self { path }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names of the pins.
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.path).unwrap();
        let mut names: Vec<_> =
            entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        // What the kernel itself shows on every bpffs.
        names.retain(|name| !name.ends_with(".debug"));
        names.sort();
        names
    }
}

impl Drop for PinDirectory {
    fn drop(&mut self) {
        // Unmounting the last reference to a bpffs removes its pins.
        let _ = unmount(&self.path, UnmountFlags::DETACH);
        let _ = std::fs::remove_dir(&self.path);
    }
}

/// Polls until `done` or fails after `limit`.
pub fn until(what: &str, limit: Duration, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !done() {
        assert!(Instant::now() < deadline, "{what}: not within {limit:?}");
        thread::sleep(Duration::from_millis(5));
    }
}
