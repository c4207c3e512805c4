//! Streams over a path that loses, reorders and doubles frames: every octet arrives, and none in clear.
//! The box is drawn in `sekisho_tests::lab::impaired`; six points of the matrix stand for all of it, which
//! `cargo xtask test --full impaired` runs.

use std::time::{Duration, Instant};

use sekisho_tests::expect_that;
use sekisho_tests::impair::spec::Way;
use sekisho_tests::lab::LabResult;
use sekisho_tests::lab::chain::{Chain, on_chain};
use sekisho_tests::lab::config::{STREAM, Setup};
use sekisho_tests::lab::harness::{guarded, privileged, show_logs};
use sekisho_tests::lab::impaired::{Cable, Impairer};
use sekisho_tests::lab::programs::{IperfRun, iperf, iperf_server};
use sekisho_tests::lab::streams::{carry, serve};
use sekisho_tests::lab::topology::{Family, Host, Plan, Topology};

const MEBIBYTE: u64 = 1 << 20;
const GIBIBYTE: u64 = 1 << 30;

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
fn point(topology: &Topology, point: Point, seed: usize, length: u64) -> LabResult<Duration> {
    let (seed_text, spec) = (seed.to_string(), point.spec());
    let family = Family::BOTH[seed % 2];
    let words = ["--seed", &seed_text, "--both", &spec];
    let impairer = Impairer::start(topology, Cable::GatewayCipher, &words)?;
    let took = streams(topology, family, length)?;
    let did = impairer.finish()?;
    println!("{spec}, {}: {took:.2?}; {did}", family.label());
    let (frames, lost) = (did.both("frames") as f64, did.both("lost") as f64);
    for (what, percent, of) in [
        ("lost", point.loss, frames),
        ("reordered", point.reorder.into(), frames - lost),
        ("duplicated", point.duplicate.into(), frames - lost),
    ] {
        let (seen, wanted) = (did.both(what) as f64, of * percent / 100.0);
        // Five deviations below what is asked for: chance goes no further.
        let least = wanted - 5.0 * wanted.sqrt();
        expect_that!(seen >= least, "{spec}: only {seen} {what} of {of}");
    }
    Ok(took)
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
fn a_gibibyte_arrives_over_an_impaired_path() -> LabResult {
    const TEST: &str = "impaired-gibibyte";
    if !full() {
        println!("{TEST}: only with --full");
        return Ok(());
    }
    on_chain(TEST, lossy(), |chain| {
        let _server = serve(chain.host(Host::Server1), STREAM)?;
        let some = [(0.0, 0, 0), (0.1, 1, 1), (1.0, 10, 1), (0.1, 30, 10)];
        for (seed, (loss, reorder, duplicate)) in some.into_iter().enumerate() {
            point(&chain.topology, Point { loss, reorder, duplicate }, seed, GIBIBYTE)?;
        }
        Ok(())
    })
}

/// The hardest point on the direct path and through the boxes, several seeds each: what stands still in
/// both is TCP's own doing.
#[test]
fn a_fifth_of_loss_costs_no_more_than_on_the_direct_path() -> LabResult {
    const TEST: &str = "impaired-direct";
    const SEEDS: std::ops::Range<usize> = 0..6;
    if !full() {
        println!("{TEST}: only with --full");
        return Ok(());
    }
    if !privileged(TEST)? {
        return Ok(());
    }
    let hardest = Point { loss: 20.0, reorder: 10, duplicate: 1 };
    let runs = |topology: &Topology| -> LabResult<Vec<Duration>> {
        let _server = serve(topology.host(Host::Server1), STREAM)?;
        let mut took = SEEDS
            .map(|seed| point(topology, hardest, seed, MEBIBYTE))
            .collect::<LabResult<Vec<_>>>()?;
        took.sort();
        Ok(took)
    };
    let direct = runs(&Chain::prepare(lossy())?.topology)?;
    on_chain(TEST, lossy(), |chain| {
        let ciphered = runs(&chain.topology)?;
        println!("direct {direct:.1?}, ciphered {ciphered:.1?}");
        // Chance moves single runs by a factor; key delivery over such a path takes its resends.
        let (median, limit) = (ciphered[ciphered.len() / 2], direct[direct.len() / 2] * 3);
        expect_that!(
            median < limit + Duration::from_secs(10),
            "median {median:?}, limit {limit:?}"
        );
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
        let did = impairer.finish()?;
        println!("{did}");
        expect_that!(did.both("unsent") == 0, "the box could not send: {did}");
        Ok(())
    };
    guarded(&mut topology, body, |topology, error| {
        println!("{TEST}: {error}");
        show_logs(topology, TEST);
    })
}
