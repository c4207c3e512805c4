//! What every lab test shares: the visible skip without privilege, captures throughout, the verdict on
//! canaries, and everything a person needs when it fails. Owns no network and no process.

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;

use super::capture::{Capture, CaptureReport, CapturedFrame};
use super::topology::{TO_AGENT, TO_BOX, TO_GATEWAY, Topology};
use super::{LabError, LabResult};

/// Captures of one lab: two on the cipher side, one on the plain side.
pub struct Watch {
    running: Vec<(Side, Capture)>,
    past: Vec<(Side, CaptureReport)>,
}

/// Which side of the gateway a capture watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Between the boxes: no canary may be seen.
    Cipher,
    /// Behind the gateway: canaries show that the capture sees payloads.
    Plain,
}

impl Watch {
    /// Starts all captures.
    pub fn start(topology: &Topology) -> LabResult<Self> {
        let mut watch = Self { running: Vec::new(), past: Vec::new() };
        watch.resume(topology)?;
        Ok(watch)
    }

    fn resume(&mut self, topology: &Topology) -> LabResult {
        let places = [
            (Side::Cipher, &topology.router, TO_AGENT, "cipher side, agent to network"),
            (Side::Cipher, &topology.router, TO_GATEWAY, "cipher side, network to gateway"),
            (Side::Plain, &topology.lan, TO_BOX, "plain side, gateway to servers"),
        ];
        for (side, namespace, interface, label) in places {
            self.running.push((side, Capture::start(namespace, interface, label)?));
        }
        Ok(())
    }

    /// What the captures have seen up to now.
    pub fn reports(&self) -> LabResult<Vec<(Side, CaptureReport)>> {
        let mut reports = self.past.clone();
        for (side, capture) in &self.running {
            merge(&mut reports, *side, capture.report()?);
        }
        Ok(reports)
    }

    /// The latest frames between network and gateway.
    pub fn recent_at_gateway(&self) -> LabResult<Vec<CapturedFrame>> {
        self.recent(1)
    }

    /// The latest frames behind the gateway.
    pub fn recent_plain(&self) -> LabResult<Vec<CapturedFrame>> {
        self.recent(2)
    }

    /// Of the capture at `place` in the list of `resume`.
    fn recent(&self, place: usize) -> LabResult<Vec<CapturedFrame>> {
        match self.running.get(place) {
            Some((_, capture)) => Ok(capture.report()?.kept.into()),
            None => Err(LabError::Expectation("the captures are stopped".to_owned())),
        }
    }

    /// Forgets what was seen and starts anew: for a phase without cipher before the one that counts.
    pub fn restart(&mut self, topology: &Topology) -> LabResult<Vec<(Side, CaptureReport)>> {
        let seen = self.stop()?;
        self.resume(topology)?;
        Ok(seen)
    }

    /// Ends the captures.
    pub fn stop(&mut self) -> LabResult<Vec<(Side, CaptureReport)>> {
        for (side, capture) in std::mem::take(&mut self.running) {
            merge(&mut self.past, side, capture.stop()?);
        }
        Ok(std::mem::take(&mut self.past))
    }
}

fn merge(reports: &mut Vec<(Side, CaptureReport)>, side: Side, report: CaptureReport) {
    match reports.iter_mut().find(|(_, earlier)| earlier.label == report.label) {
        Some((_, earlier)) => earlier.absorb(report),
        None => reports.push((side, report)),
    }
}

/// Sum over the captures of one side: (frames, bytes, canaries, dropped).
pub fn totals(reports: &[(Side, CaptureReport)], side: Side) -> (u64, u64, u64, u64) {
    reports.iter().filter(|(at, _)| *at == side).fold((0, 0, 0, 0), |sum, (_, report)| {
        (
            sum.0 + report.frames,
            sum.1 + report.bytes,
            sum.2 + report.canaries,
            sum.3 + report.dropped,
        )
    })
}

/// Fails if a canary was seen on the cipher side.
pub fn no_leak(reports: &[(Side, CaptureReport)]) -> LabResult {
    for (side, report) in reports {
        if *side == Side::Cipher && report.canaries > 0 {
            let frame = report.first_hit.as_ref().map(|hit| hex_dump(&hit.bytes, 160));
            return Err(LabError::Expectation(format!(
                "LEAK: {} of {} frames show the canary on the {}; the first:\n{}",
                report.canaries,
                report.frames,
                report.label,
                frame.unwrap_or_default()
            )));
        }
    }
    Ok(())
}

/// Rows of 16 bytes, hexadecimal and text.
pub fn hex_dump(bytes: &[u8], limit: usize) -> String {
    let mut text = String::new();
    for (row, chunk) in bytes[..bytes.len().min(limit)].chunks(16).enumerate() {
        let hex: Vec<String> = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
        let shown: String = chunk
            .iter()
            .map(|&byte| if (32..127).contains(&byte) { char::from(byte) } else { '.' })
            .collect();
        text.push_str(&format!("    {:04x}  {:<47}  {shown}\n", row * 16, hex.join(" ")));
    }
    text
}

/// Whether this process may build a lab; if not, says so where the test's output cannot hide it.
/// CI counts a skip as failure.
pub fn privileged(test: &str) -> LabResult<bool> {
    if rustix::process::geteuid().is_root() {
        return Ok(true);
    }
    if std::env::var_os("CI").is_some() {
        return Err(LabError::Expectation(format!("{test} needs root, and CI may not skip it")));
    }
    // Past libtest's capture of print macros, on purpose.
    let _ =
        writeln!(std::io::stderr(), "SKIPPED {test}: it needs root (cargo xtask test asks for it)");
    Ok(false)
}

/// Runs `body`; when it fails or panics prints what `diagnose` knows first.
pub fn guarded<L>(
    lab: &mut L,
    body: impl FnOnce(&mut L) -> LabResult,
    diagnose: impl FnOnce(&mut L, &str),
) -> LabResult {
    match catch_unwind(AssertUnwindSafe(|| body(lab))) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            diagnose(lab, &error.to_string());
            Err(error)
        }
        Err(panic) => {
            diagnose(lab, "the test panicked");
            resume_unwind(panic)
        }
    }
}

/// Prints every log of the lab and stores them under `target/lab/TEST`.
pub fn show_logs(topology: &Topology, test: &str) {
    const TAIL: usize = 60;
    let kept = keep_logs(topology, test);
    for (name, text) in topology.site.logs() {
        if text.is_empty() {
            continue;
        }
        let lines: Vec<&str> = text.lines().collect();
        println!("---- {name} (last {} of {} lines)", lines.len().min(TAIL), lines.len());
        for line in &lines[lines.len().saturating_sub(TAIL)..] {
            println!("  {line}");
        }
    }
    println!("---- whole logs: {}", kept.display());
}

/// Stores every log of the lab under `target/lab/TEST`; the directory.
pub fn keep_logs(topology: &Topology, test: &str) -> PathBuf {
    let kept = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/lab").join(test);
    let _ = std::fs::create_dir_all(&kept);
    for (name, text) in topology.site.logs() {
        let _ = std::fs::write(kept.join(&name), &text);
    }
    kept
}
