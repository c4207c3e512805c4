//! `sekisho doctor`: is everything there that a process needs, and is it well; each finding with the command that
//! mends it.
//!
//! Looks and asks, changes nothing. Each check is split into taking a fact (thin, from the system) and judging it
//! (pure, tested): `system` judges the machine, `device` the ports, `keys` the files, `kdc` the way to the KDCs,
//! `process` what a running process says about itself.

mod device;
mod kdc;
mod keys;
mod process;
mod system;

use std::fmt::Write;
use std::path::Path;

use sekisho_config::Config;
use serde::Serialize;
use serde_json::{Value, json};

use crate::admin::AdminError;
use crate::status::StatusSnapshot;

/// How a check came out; the greatest of all decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Pass,
    /// Works, but not well, or may stop working.
    Warn,
    /// Does not work.
    Fail,
}

/// One check and how it came out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, as `area.thing`.
    pub check: String,
    /// How it came out.
    pub verdict: Verdict,
    /// What was found.
    pub what: String,
    /// The command or the change that mends it; none if nothing needs mending.
    pub mend: Option<String>,
}

impl Finding {
    fn pass(check: impl Into<String>, what: impl Into<String>) -> Self {
        Self { check: check.into(), verdict: Verdict::Pass, what: what.into(), mend: None }
    }

    fn warn(check: impl Into<String>, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            check: check.into(),
            verdict: Verdict::Warn,
            what: what.into(),
            mend: Some(mend.into()),
        }
    }

    fn fail(check: impl Into<String>, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            check: check.into(),
            verdict: Verdict::Fail,
            what: what.into(),
            mend: Some(mend.into()),
        }
    }
}

/// What a running process answered, if it was asked.
pub type Asked = Result<StatusSnapshot, AdminError>;

/// Looks at everything. Without a configuration only the machine and the running process are looked at.
pub fn examine(config: Option<(&Path, &Config)>, asked: Option<&Asked>) -> Vec<Finding> {
    let mut findings = Vec::new();
    match config {
        Some((_, Config::Gateway(gateway))) => {
            findings.extend(system::node(Some(&gateway.node)));
            findings.push(keys::device(&gateway.node.device, "gateway"));
            findings
                .extend(device::ports(&gateway.node, asked.and_then(|asked| asked.as_ref().ok())));
            findings.extend(kdc::reach(gateway));
        }
        Some((_, Config::Client(client))) => {
            findings.extend(system::node(Some(&client.node)));
            findings.push(keys::device(&client.node.device, "client"));
            findings
                .extend(device::ports(&client.node, asked.and_then(|asked| asked.as_ref().ok())));
        }
        Some((file, Config::Kdc(kdc))) => findings.extend(keys::kdc(file, kdc)),
        None => findings.extend(system::node(None)),
    }
    findings.extend(asked.into_iter().flat_map(process::running));
    findings
}

/// The verdict of all findings together.
pub fn worst(findings: &[Finding]) -> Verdict {
    findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Pass)
}

/// The findings as text for people.
pub fn text(findings: &[Finding]) -> String {
    let width = findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
    let mut text = String::new();
    for finding in findings {
        let verdict = match finding.verdict {
            Verdict::Pass => "PASS",
            Verdict::Warn => "WARN",
            Verdict::Fail => "FAIL",
        };
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(text, "{verdict}  {:width$}  {}", finding.check, finding.what);
        if let Some(mend) = &finding.mend {
            let _ = writeln!(text, "      {:width$}  → {mend}", "");
        }
    }
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let [pass, warn, fail] = [Verdict::Pass, Verdict::Warn, Verdict::Fail].map(count);
    let _ = writeln!(text, "{pass} passed, {warn} warnings, {fail} failed");
    text
}

/// The findings as JSON for programs.
pub fn json(findings: &[Finding]) -> Value {
    json!({ "schema": 1, "verdict": worst(findings), "findings": findings })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings() -> Vec<Finding> {
        vec![
            Finding::pass("kernel.version", "6.18"),
            Finding::warn("ports.cipher.checksum", "partial", "ethtool -K eth0 tx off"),
        ]
    }

    #[test]
    fn the_worst_finding_decides() {
        assert_eq!(worst(&[]), Verdict::Pass);
        assert_eq!(worst(&findings()), Verdict::Warn);
        let mut all = findings();
        all.insert(0, Finding::fail("a", "b", "c"));
        assert_eq!(worst(&all), Verdict::Fail);
    }

    #[test]
    fn people_see_the_mending_command_below() {
        let expected = "\
PASS  kernel.version         6.18
WARN  ports.cipher.checksum  partial
                             → ethtool -K eth0 tx off
1 passed, 1 warnings, 0 failed
";
        assert_eq!(text(&findings()), expected);
    }

    #[test]
    fn programs_see_the_same() {
        let json = json(&findings());
        assert_eq!(json["verdict"], "warn");
        assert_eq!(json["findings"][0]["mend"], Value::Null);
        assert_eq!(json["findings"][1]["mend"], "ethtool -K eth0 tx off");
    }

    /// Whatever is wrong with the machine that the tests run on: there is an answer for each area.
    #[test]
    fn this_machine_can_be_examined() {
        let findings = examine(None, None);
        for area in ["kernel.", "capabilities", "memory.", "cpu.", "clock"] {
            assert!(
                findings.iter().any(|finding| finding.check.starts_with(area)),
                "{area}: {findings:#?}"
            );
        }
        for finding in findings {
            assert_eq!(finding.mend.is_some(), finding.verdict != Verdict::Pass, "{finding:?}");
        }
    }
}
