//! Network namespaces: made with a name of our own, entered by programs and by threads, removed on drop.
//! Only the *network* namespace is entered (`nsenter --net`): `ip netns exec` also gives a private mount
//! namespace, in which a bpffs would end with the process and pinned links with it.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::fd::AsFd;
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::process::run;
use super::{LabError, LabResult};

/// Every namespace of any lab begins with this; the process id follows.
pub const PREFIX: &str = "skl";
/// Time limit of one `ip` command.
pub(crate) const IP_LIMIT: Duration = Duration::from_secs(10);

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A network namespace of the lab.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    detached: bool,
}

impl Namespace {
    /// Makes a namespace named after this process, a counter and its role in the topology.
    pub fn create(role: &str) -> LabResult<Self> {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}-{role}", std::process::id());
        run(Command::new("ip").args(["netns", "add", &name]), IP_LIMIT)?;
        let namespace = Self { name, detached: false };
        run(namespace.command("ip").args(["link", "set", "lo", "up"]), IP_LIMIT)?;
        // While a fresh link-local address is being probed for duplicates no neighbour is asked
        // for, and segments wait for a second that is none of ours.
        namespace.sysctl("net.ipv6.conf.default.accept_dad", "0")?;
        Ok(namespace)
    }

    /// Its name, as `ip netns` shows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that stands for it.
    pub fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }

    /// A command that will run inside; the process started is the program itself, not a wrapper.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg("--").arg(program);
        command
    }

    /// Runs `ip ARGS` inside; `args` are separated by blanks.
    pub fn ip(&self, args: &str) -> LabResult<String> {
        run(self.command("ip").args(args.split_whitespace()), IP_LIMIT)
    }

    /// Sets a `net.*` sysctl of this namespace.
    pub fn sysctl(&self, key: &str, value: &str) -> LabResult {
        let path = PathBuf::from("/proc/sys").join(key.replace('.', "/"));
        self.enter(|| std::fs::write(&path, value).map_err(LabError::file("write", &path)))?
    }

    /// Runs `work` on a thread of its own inside; sockets made there stay in the namespace.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> LabResult<T> {
        let join = std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    self.join_current_thread()?;
                    Ok(work())
                })
                .join()
        });
        join.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Moves the calling thread inside for good; for threads that serve a namespace only.
    pub fn join_current_thread(&self) -> LabResult {
        let path = self.path();
        let file = File::open(&path).map_err(LabError::file("open", &path))?;
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|error| LabError::io(format!("enter {}", self.name))(error.into()))
    }

    /// Leaves it in place after this value is gone (a lab that is kept).
    pub fn detach(&mut self) {
        self.detached = true;
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if !self.detached {
            let _ = run(Command::new("ip").args(["netns", "del", &self.name]), IP_LIMIT);
        }
    }
}

/// Removes the lab namespaces of those process ids that `wanted` names, and ends what runs inside them.
pub fn sweep(wanted: impl Fn(u32) -> bool) -> LabResult<usize> {
    let listed = run(Command::new("ip").args(["netns", "list"]), IP_LIMIT)?;
    let mut removed = 0;
    for name in listed.lines().filter_map(|line| line.split_whitespace().next()) {
        if !owner(name).is_some_and(&wanted) {
            continue;
        }
        let inside = run(Command::new("ip").args(["netns", "pids", name]), IP_LIMIT)?;
        for process in inside.lines().filter_map(|line| line.trim().parse().ok()) {
            if let Some(process) = Pid::from_raw(process) {
                // It may have ended since: then there is nothing to end.
                let _ = kill_process(process, Signal::KILL);
            }
        }
        run(Command::new("ip").args(["netns", "del", name]), IP_LIMIT)?;
        removed += 1;
    }
    Ok(removed)
}

/// The process id in a lab namespace's name.
fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::owner;

    #[test]
    fn only_names_of_the_lab_have_an_owner() {
        assert_eq!(owner("skl421-3-router"), Some(421));
        assert_eq!(owner("skl-3-router"), None);
        assert_eq!(owner("other421-3"), None);
    }
}
