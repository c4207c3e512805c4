//! What a running process says about itself.

use super::{Asked, Finding};
use crate::admin::AdminError;
use crate::status::{ProcessState, StatusSnapshot, WorkerStatus};

/// Share of frames below which a pool is nearly dry.
const FEW_FRAMES: f64 = 0.05;
/// Share of a table above which it is nearly full.
const FULL_TABLE: f64 = 0.9;

/// Checks of the process behind the admin socket.
pub(super) fn running(asked: &Asked) -> Vec<Finding> {
    match asked {
        Ok(status) => judge(status),
        Err(error @ AdminError::Unreachable { .. }) => {
            vec![Finding::warn(
                "process",
                error.to_string(),
                "start it: sekisho ROLE --config FILE",
            )]
        }
        Err(error) => vec![Finding::fail(
            "process",
            error.to_string(),
            "see its log; end it and start it again",
        )],
    }
}

fn judge(status: &StatusSnapshot) -> Vec<Finding> {
    let process = &status.process;
    let mut findings = vec![match process.state {
        ProcessState::Running => {
            Finding::pass("process", format!("{} runs, pid {}", process.role, process.pid))
        }
        ProcessState::Starting => Finding::warn("process", "is starting", "wait, and look again"),
        ProcessState::Draining => {
            Finding::warn("process", "is draining and takes no new sessions", "start a new one")
        }
    }];
    for problem in &process.problems {
        findings.push(Finding::fail(
            "process.problem",
            problem.clone(),
            "sekisho status shows the details",
        ));
    }
    if !process.cipher.is_empty() {
        findings.push(Finding::pass("process.cipher", process.cipher.to_string()));
    }
    for port in status.ports.iter().filter(|port| port.xdp_mode == "skb") {
        let what = format!("{} runs XDP in skb mode, the slow one", port.interface);
        let mend = "use a driver with native XDP, or an MTU that it takes";
        findings.push(Finding::warn(format!("process.ports.{}.xdp", port.side), what, mend));
    }
    findings.extend(status.workers.iter().flat_map(worker));
    findings
}

fn worker(worker: &WorkerStatus) -> Vec<Finding> {
    let mut findings = Vec::new();
    let share =
        |part: u64, whole: u64| if whole == 0 { None } else { Some(part as f64 / whole as f64) };
    if share(worker.frames_free, worker.frames).is_some_and(|free| free < FEW_FRAMES) {
        let what = format!("{} of {} frames are free", worker.frames_free, worker.frames);
        let mend = "raise [workers] frames";
        findings.push(Finding::warn(
            format!("process.workers.{}.frames", worker.index),
            what,
            mend,
        ));
    }
    if share(worker.sessions, worker.session_capacity).is_some_and(|full| full > FULL_TABLE) {
        let what =
            format!("{} of {} sessions are in use", worker.sessions, worker.session_capacity);
        let mend = "raise [workers] sessions";
        findings.push(Finding::warn(
            format!("process.workers.{}.sessions", worker.index),
            what,
            mend,
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::{Verdict, worst};
    use super::*;
    use crate::status::tests::{gateway, kdc};

    #[test]
    fn a_healthy_process_passes() {
        assert_eq!(worst(&running(&Ok(gateway()))), Verdict::Pass);
        assert_eq!(worst(&running(&Ok(kdc()))), Verdict::Pass);
    }

    #[test]
    fn each_trouble_is_found() {
        let mut status = gateway();
        status.process.problems.push("no KDC answers".into());
        status.ports[0].xdp_mode = "skb".into();
        status.workers[0].frames_free = 10;
        status.workers[1].sessions = 65_000;
        let found = running(&Ok(status));
        let wrong: Vec<_> =
            found.iter().filter(|f| f.verdict > Verdict::Pass).map(|f| f.check.as_str()).collect();
        let expected = [
            "process.problem",
            "process.ports.cipher.xdp",
            "process.workers.0.frames",
            "process.workers.1.sessions",
        ];
        assert_eq!(wrong, expected);
    }

    #[test]
    fn not_running_is_a_warning_and_hanging_a_failure() {
        let socket = PathBuf::from("/run/sekisho/gateway.sock");
        let gone =
            AdminError::Unreachable { path: socket, source: std::io::ErrorKind::NotFound.into() };
        assert_eq!(worst(&running(&Err(gone))), Verdict::Warn);
        assert_eq!(
            worst(&running(&Err(AdminError::Refused("does not answer".into())))),
            Verdict::Fail
        );
    }
}
