//! Goodput of established streams while the gateway is flooded, beside the same streams while the same
//! flood goes past it to an address that nothing protects. Owns the phases; `lab::flood` makes the frames.
//!
//! The streams run on through all phases: control, flood twice as long, control again, so that a machine
//! that grows slower or faster meanwhile does not count for either.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use sekisho_tests::lab::chain::{Chain, Node};
use sekisho_tests::lab::config::IPERF;
use sekisho_tests::lab::flood::{Flood, forged_tag, scattered, syn};
use sekisho_tests::lab::forge::{Flow, Segment, flag};
use sekisho_tests::lab::inject::Injector;
use sekisho_tests::lab::process::{failed, resident_kib, run_any, wait_until};
use sekisho_tests::lab::programs::iperf_server;
use sekisho_tests::lab::topology::{Host, TO_GATEWAY};
use sekisho_tests::lab::{LabError, LabResult};
use serde_json::Value;

use crate::path::{Path, Way};
use crate::report::Row;
use crate::{BenchError, BenchResult};

/// Frames a second.
const RATE: u64 = 20_000;
/// Seconds of each phase; the flood lasts two of them.
const PHASE: usize = 25;
/// Seconds before the first phase and behind the last.
const MARGIN: usize = 3;
/// Seconds behind a change of phase that count for none.
const CHANGE: usize = 2;
/// Parallel TCP streams.
const STREAMS: u64 = 4;
/// Payload of a segment with a forged tag.
const PAYLOAD: usize = 600;
/// Time for the streams to be established, and for iperf3 to end behind its own time.
const LIMIT: Duration = Duration::from_secs(30);
const PEER: &str = "the same flood to an unprotected address";

/// What the flood is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// SYNs with a cipher request, each from another address.
    Syn,
    /// Segments of the streams themselves, sequence numbers anywhere: for half of them the tag is looked at.
    ForgedTag,
}

impl Kind {
    fn label(self) -> &'static str {
        match self {
            Self::Syn => "syn",
            Self::ForgedTag => "forged-tag",
        }
    }
}

/// What one flood came to.
#[derive(Clone, Copy, Debug)]
struct Figures {
    /// Mbit/s under the flood, and while it went past.
    goodput: [f64; 2],
    /// KiB resident before the flood, in its middle, at its end.
    resident: [u64; 3],
}

/// Rows `flood/KIND/goodput`, `flood/KIND/rss` and `flood/KIND/rss-growth`.
///
/// # Errors
/// The lab cannot be built, iperf3 fails, or a session is lost.
pub fn run() -> BenchResult<Vec<Row>> {
    let mut path = Path::build("flood")?;
    path.switch(Way::Chain)?;
    let lab = path.lab();
    let server = iperf_server(&lab.topology.site, lab.host(Host::Server1), IPERF)?;
    let mut rows = Vec::new();
    for kind in [Kind::Syn, Kind::ForgedTag] {
        let figures = measure(&path, kind)?;
        eprintln!("  {}: {figures:?}", kind.label());
        rows.extend(rows_of(kind, &figures));
    }
    drop(server);
    Ok(rows)
}

fn rows_of(kind: Kind, figures: &Figures) -> [Row; 3] {
    let name = |what: &str| format!("flood/{}/{what}", kind.label());
    let [under, beside] = figures.goodput;
    let [before, _, after] = figures.resident.map(|kib| kib as f64 / 1024.0);
    [
        Row::more_is_better(name("goodput"), under, "Mbit/s", PEER, beside),
        Row::alone(name("rss"), after, "MiB"),
        Row::alone(name("rss-growth"), after - before, "MiB"),
    ]
}

fn measure(path: &Path, kind: Kind) -> BenchResult<Figures> {
    let lab = path.lab();
    let held = lab.keys_held(Node::Gateway)?;
    std::thread::scope(|scope| {
        let streams = scope.spawn(|| iperf(path));
        let phases = established(lab, held).and_then(|begun| through_phases(path, kind, begun));
        let intervals = streams.join();
        let (resident, begun_late) = phases?;
        let intervals = intervals
            .map_err(|_| BenchError::Invalid("the thread of iperf3 panicked".to_owned()))??;
        let goodput = goodput(&intervals, begun_late).ok_or_else(|| {
            BenchError::Invalid(format!("iperf3 gave {} intervals", intervals.len()))
        })?;
        Ok(Figures { goodput, resident })
    })
}

/// Waits until all streams hold keys: from then on they send.
fn established(lab: &Chain, held: u64) -> BenchResult<Instant> {
    // The control connection of iperf3 is one more.
    let wanted = held + STREAMS + 1;
    wait_until("iperf3 has its streams", LIMIT, || Ok(lab.keys_held(Node::Gateway)? >= wanted))?;
    Ok(Instant::now())
}

/// Control, flood, control. Memory before, in the middle of and behind the flood.
fn through_phases(path: &Path, kind: Kind, begun: Instant) -> BenchResult<([u64; 3], Duration)> {
    let lab = path.lab();
    let gateway = gateway_process(lab)?;
    let until = |second: usize| {
        let at = begun + Duration::from_secs(second as u64);
        std::thread::sleep(at.saturating_duration_since(Instant::now()));
    };
    let targets = Targets::find(path)?;
    until(MARGIN);
    let held = lab.keys_held(Node::Gateway)?;
    let late = begun.elapsed().saturating_sub(Duration::from_secs(MARGIN as u64));
    let beside = targets.flood(lab, kind, false)?;
    until(MARGIN + PHASE);
    beside.stop()?;
    let mut resident = [resident_kib(gateway)?; 3];
    let flood = targets.flood(lab, kind, true)?;
    until(MARGIN + 2 * PHASE);
    resident[1] = resident_kib(gateway)?;
    until(MARGIN + 3 * PHASE);
    let sent = flood.stop()?;
    resident[2] = resident_kib(gateway)?;
    let beside = targets.flood(lab, kind, false)?;
    until(MARGIN + 4 * PHASE);
    beside.stop()?;
    let now = lab.keys_held(Node::Gateway)?;
    if now != held {
        return Err(BenchError::Invalid(format!("{now} sessions are left of {held}")));
    }
    if sent < RATE * 2 * PHASE as u64 * 9 / 10 {
        return Err(BenchError::Invalid(format!("the flood sent {sent} frames only")));
    }
    Ok((resident, late))
}

fn gateway_process(lab: &Chain) -> LabResult<u32> {
    let process = lab.status(Node::Gateway)?["pid"].as_u64();
    let process = process.and_then(|process| u32::try_from(process).ok());
    process.ok_or_else(|| LabError::Expectation("a status without pid".to_owned()))
}

/// Whom floods go to.
struct Targets {
    /// The protected service.
    service: SocketAddr,
    /// An address beside it that nothing protects.
    beside: SocketAddr,
    /// MAC address of a host there: the switch behind the gateway knows where it goes.
    mac: [u8; 6],
    /// Client ends of the streams.
    clients: Vec<SocketAddr>,
}

impl Targets {
    fn find(path: &Path) -> BenchResult<Self> {
        let lab = path.lab();
        let service = SocketAddr::new(path.server(), IPERF);
        let mut beside = service;
        if let IpAddr::V4(address) = service.ip() {
            let [a, b, c, _] = address.octets();
            beside.set_ip(IpAddr::from([a, b, c, 77]));
        }
        let sessions = lab.sessions(Node::Gateway)?;
        let clients = sessions
            .iter()
            .filter(|session| session["server"] == service.to_string())
            .filter_map(|session| session["client"].as_str()?.parse().ok())
            .collect();
        let mac = Injector::open(lab.host(Host::Server2), "eth0")?.mac();
        Ok(Self { service, beside, mac, clients })
    }

    /// Starts a flood at the gateway, or past it.
    fn flood(&self, lab: &Chain, kind: Kind, at_gateway: bool) -> LabResult<Flood> {
        let injector = Injector::open(&lab.topology.router, TO_GATEWAY)?;
        let macs = (injector.mac(), self.mac);
        let dst = if at_gateway { self.service } else { self.beside };
        let clients = self.clients.clone();
        Ok(Flood::start(injector, RATE, move |number| match kind {
            Kind::Syn => syn(macs, dst, number),
            Kind::ForgedTag => {
                let src = clients[number as usize % clients.len().max(1)];
                let (chance, options) = (scattered(number), forged_tag(number));
                let segment = Segment {
                    seq: chance as u32,
                    ack: (chance >> 32) as u32,
                    flags: flag::ACK | flag::PSH,
                    options: &options,
                    payload: &[0x5e; PAYLOAD],
                };
                Flow { macs, src, dst }.segment(&segment)
            }
        }))
    }
}

/// The streams, to the end; Mbit/s of each second.
fn iperf(path: &Path) -> BenchResult<Vec<f64>> {
    let client = path.lab().host(Host::Client1);
    let seconds = 4 * PHASE + 2 * MARGIN;
    let mut command = client.command("iperf3");
    command.args(["-J", "--connect-timeout", "10000", "-i", "1", "-p", &IPERF.to_string()]);
    command.args(["-P", &STREAMS.to_string(), "-t", &seconds.to_string()]);
    command.args(["-c", &path.server().to_string()]);
    let limit = LIMIT + Duration::from_secs(seconds as u64);
    let finished = run_any(&mut command, "", limit)?;
    let report: Value = serde_json::from_str(&finished.stdout).unwrap_or_default();
    let intervals = report["intervals"].as_array().cloned().unwrap_or_default();
    if !finished.status.success() || intervals.is_empty() {
        return Err(failed(&command, &finished).into());
    }
    let rate = |interval: &Value| interval.pointer("/sum/bits_per_second").and_then(Value::as_f64);
    Ok(intervals.iter().filter_map(rate).map(|bits| bits / 1e6).collect())
}

/// Means of the seconds under the flood and of those while it went past; `late`: by how much the first
/// phase began after its time.
fn goodput(intervals: &[f64], late: Duration) -> Option<[f64; 2]> {
    let first = MARGIN + usize::from(late > Duration::from_millis(500));
    let phase = |from: usize, phases: usize| {
        let start = first + from * PHASE + CHANGE;
        intervals.get(start..first + (from + phases) * PHASE)
    };
    let (under, before, after) = (phase(1, 2)?, phase(0, 1)?, phase(3, 1)?);
    let mean = |seconds: &[f64]| seconds.iter().sum::<f64>() / seconds.len() as f64;
    Some([mean(under), mean(&[before, after].concat())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_counted_for_their_phase_and_changes_for_none() {
        let mut intervals = vec![1.0; MARGIN];
        for (phases, rate) in [(1, 1000.0), (2, 900.0), (1, 800.0)] {
            intervals.extend(std::iter::repeat_n(0.0, CHANGE));
            intervals.extend(std::iter::repeat_n(rate, phases * PHASE - CHANGE));
        }
        intervals.extend([1.0; MARGIN]);
        assert_eq!(goodput(&intervals, Duration::ZERO), Some([900.0, 900.0]));
        assert_eq!(goodput(&intervals[..50], Duration::ZERO), None);
    }

    #[test]
    fn rows_hold_the_flood_against_the_control() {
        let figures = Figures { goodput: [950.0, 1000.0], resident: [10_240, 20_480, 30_720] };
        let rows = rows_of(Kind::Syn, &figures);
        assert_eq!((rows[0].name.as_str(), rows[0].ratio), ("flood/syn/goodput", Some(0.95)));
        assert_eq!((rows[1].value, rows[2].value), (30.0, 20.0));
    }
}
