//! Streams over a path that loses, reorders and doubles frames: every octet arrives, and none in clear.
//! The box is drawn in `sekisho_tests::lab::impaired`; six points of the matrix stand for all of it, which
//! `cargo xtask test --full impaired` runs.

use std::time::{Duration, Instant};

use sekisho_tests::expect_that;
use sekisho_tests::impair::spec::Way;
use sekisho_tests::lab::LabResult;
use sekisho_tests::lab::chain::on_chain;
use sekisho_tests::lab::config::{STREAM, Setup};
use sekisho_tests::lab::harness::{guarded, privileged, show_logs};
use sekisho_tests::lab::impaired::{Cable, Impairer};
use sekisho_tests::lab::programs::{IperfRun, iperf, iperf_server};
use sekisho_tests::lab::streams::{carry, serve};
use sekisho_tests::lab::topology::{Family, Host, Plan, Topology};

const MEBIBYTE: u64 = 1 << 20;

/// The path of the matrix: the box between network and gateway. Losses also hit key delivery, which
/// must not give up before TCP would.
fn lossy() -> Setup {
    Setup {
        plan: Plan { impaired: &[Cable::GatewayCipher], ..Plan::default() },
        deadline_ms: 30_000,
        ..Setup::default()
    }
}

/// One point: percent of loss, reordering and duplication, in both directions.
#[derive(Clone, Copy, Debug)]
struct Point {
    loss: f64,
    reorder: u32,
    duplicate: u32,
}

impl Point {
    fn spec(self) -> String {
        let Self { loss, reorder, duplicate } = self;
        format!("loss={loss},reorder={reorder},duplicate={duplicate}")
    }
}

fn full() -> bool {
    std::env::var_os("SEKISHO_LAB_FULL").is_some()
}

/// The whole matrix, or six points of it.
fn points() -> Vec<Point> {
    if !full() {
        let some =
            [(0.0, 0, 0), (0.1, 30, 1), (1.0, 1, 10), (1.0, 10, 0), (5.0, 10, 1), (20.0, 0, 0)];
        return some.map(|(loss, reorder, duplicate)| Point { loss, reorder, duplicate }).into();
    }
    let mut all = Vec::new();
    for loss in [0.0, 0.1, 1.0, 5.0, 20.0] {
        for reorder in [0, 1, 10, 30] {
            for duplicate in [0, 1, 10] {
                all.push(Point { loss, reorder, duplicate });
            }
        }
    }
    all
}

/// Carries streams of one octet and of `length` octets each way; the time of all.
fn streams(topology: &Topology, family: Family, length: u64) -> LabResult<Duration> {
    let started = Instant::now();
    let address = Host::Server1.address(family);
    for way in Way::BOTH {
        for length in [1, length] {
            carry(topology.host(Host::Client1), address, STREAM, way, length)?;
        }
    }
    Ok(started.elapsed())
}

/// One point of the matrix; shows that the path really was impaired.
fn point(topology: &Topology, point: Point, seed: usize, length: u64) -> LabResult {
    let (seed_text, spec) = (seed.to_string(), point.spec());
    let family = Family::BOTH[seed % 2];
    let words = ["--seed", &seed_text, "--both", &spec];
    let impairer = Impairer::start(topology, Cable::GatewayCipher, &words)?;
    let took = streams(topology, family, length)?;
    let did = impairer.finish(topology)?;
    println!("{spec}, {}: {took:.2?}; {did}", family.label());
    let frames = did.both("frames") as f64;
    for (what, percent) in [
        ("lost", point.loss),
        ("reordered", point.reorder.into()),
        ("duplicated", point.duplicate.into()),
    ] {
        let (seen, wanted) = (did.both(what) as f64, frames * percent / 100.0);
        // Half of what is asked for: chance may spare a few frames, not most of them.
        expect_that!(seen >= (wanted / 2.0).floor(), "{spec}: only {seen} {what} of {frames}");
    }
    Ok(())
}

#[test]
fn every_octet_arrives_over_an_impaired_path() -> LabResult {
    on_chain("impaired", lossy(), |chain| {
        let _server = serve(chain.host(Host::Server1), STREAM)?;
        for (seed, at) in points().into_iter().enumerate() {
            point(&chain.topology, at, seed, MEBIBYTE)?;
        }
        Ok(())
    })
}

#[test]
fn the_box_itself_carries_more_than_half_a_gigabit() -> LabResult {
    const TEST: &str = "impairment-box";
    /// Bits per second.
    const WANTED: f64 = 500e6;
    if !privileged(TEST)? {
        return Ok(());
    }
    let plan = Plan { impaired: &[Cable::GatewayCipher], ..Plan::default() };
    let mut topology = Topology::build(plan)?;
    let body = |topology: &mut Topology| {
        let server = topology.host(Host::Server1);
        let _iperf = iperf_server(&topology.site, server, 5201)?;
        let impairer = Impairer::start(topology, Cable::GatewayCipher, &[])?;
        for family in Family::BOTH {
            let address = Host::Server1.address(family);
            let run = IperfRun { port: 5201, seconds: 1, streams: 1, reverse: false };
            // The best of a few: what the machine does beside is not the box.
            let mut best = 0.0f64;
            for _ in 0..6 {
                if best <= WANTED {
                    best = best.max(iperf(topology.host(Host::Client1), address, run)?);
                }
            }
            println!("{}: {:.0} Mbit/s through the box", family.label(), best / 1e6);
            expect_that!(best > WANTED, "{}: only {best} bit/s", family.label());
        }
        let did = impairer.finish(topology)?;
        println!("{did}");
        expect_that!(did.both("unsent") == 0, "the box could not send: {did}");
        Ok(())
    };
    guarded(&mut topology, body, |topology, error| {
        println!("{TEST}: {error}");
        show_logs(topology, TEST);
    })
}
