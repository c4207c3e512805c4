//! Forwarding over veth: iperf3 from client to server through the real chain, beside the direct path
//! and beside bare AF_XDP forwarders, in one lab and one run.
//!
//! One TCP stream with full segments, and one with segments of 88 octets, counted as packets by the
//! router in the middle. Transmitting over veth costs more than ciphering, so the time that the
//! gateway's worker is on a core for a packet stands beside it.

use std::time::Duration;

use sekisho_tests::lab::LabError;
use sekisho_tests::lab::config::IPERF;
use sekisho_tests::lab::process::{self, failed, run_any};
use sekisho_tests::lab::programs::iperf_server;
use sekisho_tests::lab::topology::{Host, TO_GATEWAY};
use serde_json::Value;

use crate::BenchResult;
use crate::path::{Path, Way};
use crate::report::Row;
use crate::timing::quantile;

/// Rounds over all ways; the median counts.
const ROUNDS: usize = 3;
/// Seconds of one iperf3 run.
const SECONDS: u32 = 2;
/// MSS of the small-packet stream: the kernel's least is 88; with timestamps 88 octets of payload remain.
const SMALL_MSS: u32 = 100;
/// Time for an iperf3 run and for a command.
const LIMIT: Duration = Duration::from_secs(30);
const WAYS: [Way; 3] = [Way::Direct, Way::Bare, Way::Chain];

/// What one way gave in one round.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    /// Full segments, Mbit/s received.
    stream: f64,
    /// Small segments, packets per second client → server.
    small: f64,
    /// Nanoseconds on a core at the gateway's box per packet, small segments and their ACKs.
    on_core: f64,
}

/// Rows `forward/stream/…`, `forward/small/…` against each peer, and `forward/gateway-on-core`.
///
/// # Errors
/// The lab cannot be built or iperf3 fails.
pub fn run() -> BenchResult<Vec<Row>> {
    let mut path = Path::build("forward")?;
    let lab = path.lab();
    let server = iperf_server(&lab.topology.site, lab.host(Host::Server1), IPERF)?;
    let mut all: [Vec<Figures>; 3] = Default::default();
    for round in 1..=ROUNDS {
        for (way, figures) in WAYS.into_iter().zip(&mut all) {
            if round > 1 || way != Way::Direct {
                path.switch(way)?;
            }
            let found = measure(&mut path)?;
            eprintln!(
                "  round {round} of {ROUNDS}, {}: {:.0} Mbit/s, {:.0} small packets/s, {:.0} ns on core each",
                way.label(),
                found.stream,
                found.small,
                found.on_core
            );
            figures.push(found);
        }
    }
    drop(server);
    Ok(rows(&all))
}

fn rows(all: &[Vec<Figures>; 3]) -> Vec<Row> {
    let median =
        |way: usize, of: fn(&Figures) -> f64| quantile(all[way].iter().map(of).collect(), 0.5);
    let rate = |name: &str, unit, of: fn(&Figures) -> f64| {
        [("direct", 0), ("afxdp", 1)].map(|(short, peer)| {
            let name = format!("forward/{name}/vs-{short}");
            let label = WAYS[peer].label();
            Row::more_is_better(name, median(2, of), unit, label, median(peer, of))
        })
    };
    let mut rows = rate("stream", "Mbit/s", |f| f.stream).to_vec();
    rows.extend(rate("small", "packet/s", |f| f.small));
    let (on_core, bare) = (median(2, |f| f.on_core), median(1, |f| f.on_core));
    let name = "forward/gateway-on-core".to_owned();
    rows.push(Row::less_is_better(name, on_core, "ns/packet", WAYS[1].label(), bare));
    rows
}

fn measure(path: &mut Path) -> BenchResult<Figures> {
    let stream = iperf(path, None)? / 1e6;
    let (work, packets) = (path.work_at_gateway()?, packets_to_gateway(path)?);
    iperf(path, Some(SMALL_MSS))?;
    let small = (packets_to_gateway(path)? - packets) as f64 / f64::from(SECONDS);
    let after = path.work_at_gateway()?;
    let moved = (after.packets - work.packets).max(1);
    let on_core = (after.on_core - work.on_core) as f64 / moved as f64;
    Ok(Figures { stream, small, on_core })
}

/// One TCP stream from client to server; bits per second received.
fn iperf(path: &Path, mss: Option<u32>) -> BenchResult<f64> {
    let client = path.lab().host(Host::Client1);
    let mut command = client.command("iperf3");
    command.args(["-J", "--connect-timeout", "10000", "-p", &IPERF.to_string()]);
    command.args(["-t", &SECONDS.to_string(), "-c", &path.server().to_string()]);
    if let Some(mss) = mss {
        command.args(["-M", &mss.to_string()]);
    }
    let finished = run_any(&mut command, "", LIMIT)?;
    let report: Value = serde_json::from_str(&finished.stdout).unwrap_or_default();
    match report.pointer("/end/sum_received/bits_per_second").and_then(Value::as_f64) {
        Some(bits) if finished.status.success() => Ok(bits),
        _ => Err(failed(&command, &finished).into()),
    }
}

/// Packets that the router has sent towards the gateway's box.
fn packets_to_gateway(path: &Path) -> BenchResult<u64> {
    let mut command = path.lab().topology.router.command("ip");
    let text = process::run(command.args(["-s", "-j", "link", "show", "dev", TO_GATEWAY]), LIMIT)?;
    let links: Value = serde_json::from_str(&text).unwrap_or_default();
    let packets = links.pointer("/0/stats64/tx/packets").and_then(Value::as_u64);
    packets.ok_or_else(|| LabError::Expectation(format!("ip -s -j link said {text}")).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_times_are_held_against_the_right_peer() {
        let figures = |stream, small, on_core| vec![Figures { stream, small, on_core }; ROUNDS];
        let rows = rows(&[
            figures(4000.0, 800.0, 0.0),
            figures(2000.0, 400.0, 500.0),
            figures(1000.0, 200.0, 1000.0),
        ]);
        let ratio = |name: &str| {
            rows.iter().find(|row| row.name == format!("forward/{name}")).and_then(|row| row.ratio)
        };
        assert_eq!(ratio("stream/vs-direct"), Some(0.25));
        assert_eq!(ratio("stream/vs-afxdp"), Some(0.5));
        assert_eq!(ratio("small/vs-direct"), Some(0.25));
        assert_eq!(ratio("small/vs-afxdp"), Some(0.5));
        assert_eq!(ratio("gateway-on-core"), Some(0.5));
    }
}
