//! Child processes: run to the end within a time limit, or keep running with their output in a log file.
//! Owns exactly the processes it started, ends them by their own id, and knows nothing of namespaces.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{LabError, LabResult};

/// Pause between two looks at something awaited: short at first, since most commands end at once.
const FIRST_STEP: Duration = Duration::from_micros(500);
const LAST_STEP: Duration = Duration::from_millis(10);

/// Looks at `done` until it says yes; an error of `done` ends the wait at once.
pub fn wait_until(
    what: &str,
    limit: Duration,
    mut done: impl FnMut() -> LabResult<bool>,
) -> LabResult {
    let deadline = Instant::now() + limit;
    let mut step = FIRST_STEP;
    loop {
        if done()? {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(LabError::Timeout { what: what.to_owned(), limit });
        }
        std::thread::sleep(step);
        step = (step * 2).min(LAST_STEP);
    }
}

/// A program of ours that was built beside this one.
pub fn beside(name: &str) -> LabResult<PathBuf> {
    let here = std::env::current_exe().map_err(LabError::io("find this program"))?;
    let places = here.ancestors().skip(1).take(2).map(|directory| directory.join(name));
    places.into_iter().find(|path| path.is_file()).ok_or_else(|| {
        let how = "build everything first (cargo build --workspace)";
        LabError::Expectation(format!("no program {name} beside {}: {how}", here.display()))
    })
}

/// KiB of memory that a process has resident.
pub fn resident_kib(process: u32) -> LabResult<u64> {
    let path = PathBuf::from(format!("/proc/{process}/status"));
    let text = std::fs::read_to_string(&path).map_err(LabError::file("read", &path))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .ok_or_else(|| LabError::Expectation(format!("{} without VmRSS", path.display())))
}

/// What a finished command left.
#[derive(Debug)]
pub struct Finished {
    /// Exit status.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// From start to end.
    pub took: Duration,
}

/// Runs a command to its end whatever its exit status; kills it at the limit.
pub fn run_any(command: &mut Command, input: &str, limit: Duration) -> LabResult<Finished> {
    let shown = show(command);
    let started = Instant::now();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(LabError::io(format!("start {shown}")))?;
    // Pipes are drained by threads of their own, so that a talkative child never blocks on us.
    let out = drain(child.stdout.take());
    let err = drain(child.stderr.take());
    if let Some(mut stdin) = child.stdin.take() {
        // A child that does not read its input closes the pipe: its exit status tells more than EPIPE.
        let _ = stdin.write_all(input.as_bytes());
    }
    let waited = wait_until(&format!("{shown} ends"), limit, || exited(&mut child, &shown));
    if let Err(error) = waited {
        let _ = child.kill();
        let _ = child.wait();
        return Err(error);
    }
    let status = child.wait().map_err(LabError::io(format!("wait for {shown}")))?;
    let took = started.elapsed();
    Ok(Finished { status, stdout: join(out), stderr: join(err), took })
}

/// Runs a command to its end and wants exit code 0; returns its standard output.
pub fn run(command: &mut Command, limit: Duration) -> LabResult<String> {
    let finished = run_any(command, "", limit)?;
    if finished.status.success() {
        return Ok(finished.stdout);
    }
    Err(failed(command, &finished))
}

/// The error of a finished command, with all that it printed.
pub fn failed(command: &Command, finished: &Finished) -> LabError {
    LabError::Command {
        command: show(command),
        status: describe(finished.status),
        output: format!("{}{}", finished.stdout, finished.stderr).trim().to_owned(),
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown".to_owned(),
    }
}

fn exited(child: &mut Child, shown: &str) -> LabResult<bool> {
    Ok(child.try_wait().map_err(LabError::io(format!("wait for {shown}")))?.is_some())
}

fn drain<R: Read + Send + 'static>(pipe: Option<R>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn join(thread: std::thread::JoinHandle<String>) -> String {
    thread.join().unwrap_or_default()
}

fn show(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for arg in command.get_args() {
        text.push(' ');
        text.push_str(&arg.to_string_lossy());
    }
    text
}

/// A process that runs beside the test; ended (SIGKILL) when dropped.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    detached: bool,
}

impl Process {
    /// Starts `command` with both outputs appended to `directory/NAME.log`.
    pub fn spawn(name: &str, command: &mut Command, directory: &Path) -> LabResult<Self> {
        let log = directory.join(format!("{name}.log"));
        let open = || {
            File::options()
                .create(true)
                .append(true)
                .open(&log)
                .map_err(LabError::file("open", &log))
        };
        let child = command
            .stdin(Stdio::null())
            .stdout(open()?)
            .stderr(open()?)
            .spawn()
            .map_err(LabError::io(format!("start {}", show(command))))?;
        Ok(Self { name: name.to_owned(), child, log, detached: false })
    }

    /// The name given at the start.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// All that it has printed so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a signal to this process and no other.
    pub fn signal(&self, signal: Signal) -> LabResult {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal)
            .map_err(|error| LabError::io(format!("signal {}", self.name))(error.into()))
    }

    /// SIGKILL, as a crash would end it.
    pub fn crash(&mut self) -> LabResult {
        let what = format!("kill {}", self.name);
        self.child.kill().map_err(LabError::io(what.clone()))?;
        self.child.wait().map_err(LabError::io(what))?;
        Ok(())
    }

    /// SIGTERM, then the wait for its own end; the exit code.
    pub fn terminate(&mut self, limit: Duration) -> LabResult<i32> {
        self.signal(Signal::TERM)?;
        self.wait_exit(limit)
    }

    /// Waits for it to end by itself; the exit code (128 + signal where a signal ended it).
    pub fn wait_exit(&mut self, limit: Duration) -> LabResult<i32> {
        let name = self.name.clone();
        let child = &mut self.child;
        wait_until(&format!("{name} exits"), limit, || exited(child, &name))?;
        let status = child.wait().map_err(LabError::io(format!("wait for {name}")))?;
        Ok(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)))
    }

    /// Lets it run on after this value is gone (a lab that is kept).
    pub fn detach(&mut self) {
        self.detached = true;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.detached {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_outlives_its_limit_is_killed_and_reported() {
        let error = run_any(Command::new("sleep").arg("30"), "", Duration::from_millis(50))
            .expect_err("sleep 30 cannot end in 50 ms");
        assert!(matches!(error, LabError::Timeout { .. }), "{error}");
    }

    #[test]
    fn a_failing_command_shows_its_output() {
        let error =
            run(Command::new("sh").args(["-c", "echo why; exit 3"]), Duration::from_secs(5))
                .expect_err("exit code 3");
        assert_eq!(error.to_string(), "sh -c echo why; exit 3 failed (exit code 3): why");
    }

    #[test]
    fn input_reaches_the_command() {
        let finished = run_any(&mut Command::new("cat"), "hello", Duration::from_secs(5)).unwrap();
        assert_eq!(finished.stdout, "hello");
    }
}
