//! Where a figure was taken: CPU, kernel, commit, date. Reads only what the system tells.

use std::process::Command;

/// What stands beside every recorded figure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// CPU model and number of logical cores.
    pub cpu: String,
    /// Kernel release.
    pub kernel: String,
    /// Commit of the sources, `-dirty` where they differ from it.
    pub commit: String,
    /// Day of the run, UTC.
    pub date: String,
    /// Load average of the last minute before the run and, once it is over, after it: figures of a
    /// machine that had more to do are worth less.
    pub load: String,
}

impl Machine {
    /// Asks the system; what it does not tell is `unknown`.
    #[must_use]
    pub fn look() -> Self {
        Self {
            cpu: cpu(),
            kernel: first_word("/proc/sys/kernel/osrelease"),
            commit: commit(),
            date: say("date", &["-u", "+%Y-%m-%d"]).unwrap_or_else(|| "unknown".to_owned()),
            load: format!("{} before", first_word(LOAD)),
        }
    }

    /// The same after the run.
    #[must_use]
    pub fn after_run(mut self) -> Self {
        self.load = format!("{}, {} after", self.load, first_word(LOAD));
        self
    }
}

const LOAD: &str = "/proc/loadavg";

fn first_word(path: &str) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().next().unwrap_or("unknown").to_owned()
}

fn cpu() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let model = field("model name").unwrap_or_else(|| "unknown".to_owned());
    let family = field("cpu family").map_or_else(String::new, |f| format!(" family {f}"));
    let number = field("model\t").map_or_else(String::new, |m| format!(" model {m}"));
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    format!("{model}{family}{number}, {cores} cores")
}

fn commit() -> String {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    // Root under sudo does not own the tree; reading a commit's name is harmless.
    let git = |words: &[&str]| {
        let mut args = vec!["-c", "safe.directory=*", "-C", root];
        args.extend(words);
        say("git", &args)
    };
    let Some(name) = git(&["rev-parse", "--short=12", "HEAD"]) else {
        return "unknown".to_owned();
    };
    // The file of results itself does not count: it is what a recording changes.
    let changed = git(&["status", "--porcelain", "--", ".", ":!bench/RESULTS.md"]);
    let dirty = changed.is_none_or(|list| !list.is_empty());
    if dirty { format!("{name}-dirty") } else { name }
}

/// Standard output of a command that succeeded.
fn say(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_known() {
        let machine = Machine::look();
        assert!(machine.cpu.ends_with("cores") && !machine.cpu.starts_with("0"), "{machine:?}");
        assert!(machine.kernel.contains('.'), "{machine:?}");
        assert_eq!(machine.date.len(), 10, "{machine:?}");
    }
}
