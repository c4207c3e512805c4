//! How the demo looks: progress, tables, verdicts for a person, or one JSON object. Judges nothing.

use serde_json::{Value, json};

use super::Duration;
use crate::lab::capture::CaptureReport;
use crate::lab::chain::Chain;
use crate::lab::harness::{Side, show_logs, totals};

/// A claim with its verdict.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    /// Short and stable.
    pub(super) id: &'static str,
    /// What is claimed.
    pub(super) text: &'static str,
    /// The verdict.
    pub(super) holds: bool,
    /// What was seen.
    pub(super) evidence: String,
}

/// Received bits per second of one TCP stream.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Throughput {
    pub(super) ipv4_up: f64,
    pub(super) ipv4_down: f64,
    pub(super) ipv6_up: f64,
    pub(super) ipv6_down: f64,
}

/// The same path without and with Sekisho.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Comparison {
    pub(super) without: Throughput,
    pub(super) with: Throughput,
}

/// Everything that the demo found.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    pub(super) claims: Vec<Claim>,
    /// Frames on the cipher side that show a canary.
    pub(super) leaks: u64,
    /// Bytes on the cipher side that were searched.
    pub(super) bytes_checked: u64,
    pub(super) throughput: Comparison,
    plain_canaries: u64,
    dropped: u64,
}

impl Report {
    /// Whether every claim holds and nothing leaked.
    pub(super) fn holds(&self) -> bool {
        self.leaks == 0 && self.bytes_checked > 0 && self.claims.iter().all(|claim| claim.holds)
    }

    /// Takes over what the captures saw.
    pub(super) fn watched(&mut self, seen: &[(Side, CaptureReport)]) {
        let (_, bytes, canaries, dropped) = totals(seen, Side::Cipher);
        self.bytes_checked += bytes;
        self.leaks += canaries;
        self.dropped += dropped;
        self.plain_canaries += totals(seen, Side::Plain).2;
    }

    fn json(&self) -> Value {
        let claims: Vec<Value> = self
            .claims
            .iter()
            .map(|claim| {
                json!({ "id": claim.id, "text": claim.text, "holds": claim.holds, "evidence": claim.evidence })
            })
            .collect();
        json!({
            "claims": claims,
            "leaks": self.leaks,
            "bytes_checked": self.bytes_checked,
            "throughput": {
                "unit": "bits_per_second",
                "without_gateway": self.throughput.without.json(),
                "with_gateway": self.throughput.with.json(),
            },
        })
    }
}

impl Throughput {
    fn json(self) -> Value {
        json!({
            "ipv4_up": self.ipv4_up.round(),
            "ipv4_down": self.ipv4_down.round(),
            "ipv6_up": self.ipv6_up.round(),
            "ipv6_down": self.ipv6_down.round(),
        })
    }

    fn rows(self) -> [(&'static str, f64); 4] {
        [
            ("IPv4, client to server", self.ipv4_up),
            ("IPv4, server to client", self.ipv4_down),
            ("IPv6, client to server", self.ipv6_up),
            ("IPv6, server to client", self.ipv6_down),
        ]
    }
}

/// Where the words go.
pub(super) struct Output {
    json: bool,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Self { json }
    }

    /// What is being done now: standard error, always.
    pub(super) fn progress(&self, text: &str) {
        eprintln!("· {text}");
    }

    /// For a person, whatever stands on standard output.
    pub(super) fn tell(&self, text: &str) {
        if self.json { eprintln!("{text}") } else { println!("{text}") }
    }

    /// Part of the report for a person.
    pub(super) fn say(&self, text: &str) {
        if !self.json {
            println!("{text}");
        }
    }

    /// The end of the report.
    pub(super) fn finish(&self, report: &Report) {
        if self.json {
            println!("{}", report.json());
            return;
        }
        println!("Throughput (iperf3, one stream, captures running, all on this machine)");
        println!("  {:<26}{:>14}{:>14}", "", "without", "with Sekisho");
        let rows = report.throughput.without.rows().into_iter().zip(report.throughput.with.rows());
        for ((name, without), (_, with)) in rows {
            println!("  {name:<26}{:>9.0} Mb/s{:>9.0} Mb/s", without / 1e6, with / 1e6);
        }
        println!("\nClaims");
        for claim in &report.claims {
            let verdict = if claim.holds { "HOLDS" } else { "FAILS" };
            println!("  {verdict}  {:<22} {}", claim.id, claim.text);
            println!("         {:<22} {}", "", claim.evidence);
        }
        println!(
            "\nCipher side: {} bytes searched, {} frames with the canary ({} frames not captured). Plain side: {} frames show it.",
            report.bytes_checked, report.leaks, report.dropped, report.plain_canaries
        );
        println!("{}", if report.holds() { "All claims hold." } else { "NOT ALL CLAIMS HOLD." });
    }

    /// A demo that could not go on.
    pub(super) fn failure(&self, chain: &Chain, error: &str) {
        eprintln!("demo: {error}");
        if !self.json {
            show_logs(&chain.topology, "demo");
        }
    }
}

/// The lines of the metrics page that tell most, zeros left out.
pub(super) fn metrics_excerpt(page: &str) -> String {
    let mut text =
        String::from("Metrics of the gateway (an excerpt of http://127.0.0.1:9478/metrics)\n");
    let interesting = ["packets", "sessions", "drop", "deliver", "kdc_requests", "build_info"];
    let lines = page.lines().filter(|line| {
        !line.starts_with('#')
            && !line.contains("_bucket")
            && !line.ends_with(" 0")
            && interesting.iter().any(|word| line.contains(word))
    });
    for line in lines.take(24) {
        text.push_str(&format!("  {line}\n"));
    }
    text
}

/// Milliseconds with three digits, for time lines.
pub(super) fn since(first: u64, micros: u64) -> String {
    let gap = Duration::from_micros(micros.saturating_sub(first));
    format!("{:9.3} ms", gap.as_secs_f64() * 1e3)
}
