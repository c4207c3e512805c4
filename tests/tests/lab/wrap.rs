//! Sequence numbers that wrap: the client's SYN just below 2^32 (TCP_REPAIR), the server's as well (the box
//! on the plain side), with losses around the wrap in both directions; and beyond 4 GiB with `--full`.

use sekisho_tests::expect_that;
use sekisho_tests::impair::spec::Way;
use sekisho_tests::lab::chain::{Node, on_chain};
use sekisho_tests::lab::config::{STREAM, Setup};
use sekisho_tests::lab::impaired::{Cable, Impairer};
use sekisho_tests::lab::seen;
use sekisho_tests::lab::streams::{carry_from, serve};
use sekisho_tests::lab::topology::{Family, Host, Plan};
use sekisho_tests::lab::{LabError, LabResult};

/// Octets of a stream; the wrap comes early in it.
const LENGTH: u64 = 1 << 20;
/// Distances from 2^32 at which an initial sequence number is put: the wrap falls on the first octet,
/// between the first two, within the first segments, in mid-stream.
const BELOW: [u32; 4] = [1, 2, 3000, 200_000];

fn setup() -> Setup {
    let impaired = &[Cable::GatewayCipher, Cable::GatewayPlain];
    Setup { plan: Plan { impaired, ..Plan::default() }, deadline_ms: 30_000, ..Setup::default() }
}

/// The sequence numbers of all SYNs and SYN-ACKs between network and gateway that were kept.
fn isns(frames: &[sekisho_tests::lab::capture::CapturedFrame]) -> Vec<u32> {
    let segments = seen::parse(frames);
    let tcp = segments.iter().filter_map(|segment| segment.view.tcp());
    tcp.filter(|tcp| tcp.flags.syn()).map(|tcp| tcp.seq.get()).collect()
}

#[test]
fn both_directions_wrap_under_loss() -> LabResult {
    on_chain("wrap", setup(), |chain| {
        let _server = serve(chain.host(Host::Server1), STREAM)?;
        for (seed, below) in BELOW.into_iter().enumerate() {
            let isn = 0u32.wrapping_sub(below);
            let (isn_text, seed) = (isn.to_string(), seed.to_string());
            let shifter = Impairer::start(
                &chain.topology,
                Cable::GatewayPlain,
                &["--server-isn", &isn_text],
            )?;
            let words = ["--seed", &seed, "--both", "loss=3,reorder=5,duplicate=1"];
            let lossy = Impairer::start(&chain.topology, Cable::GatewayCipher, &words)?;
            for (family, way) in [
                (Family::V4, Way::Up),
                (Family::V4, Way::Down),
                (Family::V6, Way::Up),
                (Family::V6, Way::Down),
            ] {
                let address = Host::Server1.address(family);
                let took = carry_from(&chain.topology, address, way, LENGTH, isn)?;
                println!("2^32 - {below}, {} {}: {took:.2?}", family.label(), way.label());
            }
            let did = lossy.finish()?;
            expect_that!(did.both("lost") > 40, "{did}");
            let did = shifter.finish()?;
            expect_that!(did.count(Way::Down, "shifted") > 1000, "{did}");
            let seen = isns(&chain.watch.recent_at_gateway()?);
            expect_that!(!seen.is_empty(), "no SYN was captured");
            if below == BELOW[0] {
                let others = seen.iter().filter(|&&number| number != isn).count();
                expect_that!(others == 0, "{others} of {} SYNs begin elsewhere", seen.len());
            }
        }
        for node in [Node::Gateway, Node::Agent] {
            for reason in ["bad_tag", "resegmented"] {
                expect_that!(chain.drops(node, reason)? == 0, "{node:?} {reason}");
            }
        }
        Ok(())
    })
}

#[test]
fn a_stream_of_more_than_four_gibibytes_arrives() -> LabResult {
    const TEST: &str = "four-gibibytes";
    if std::env::var_os("SEKISHO_LAB_FULL").is_none() {
        println!("{TEST}: only with --full");
        return Ok(());
    }
    on_chain(TEST, setup(), |chain| {
        let _server = serve(chain.host(Host::Server1), STREAM)?;
        let length = (4 << 30) + (64 << 20);
        for (family, way) in [(Family::V4, Way::Up), (Family::V6, Way::Down)] {
            let address = Host::Server1.address(family);
            let client = chain.host(Host::Client1);
            let took = sekisho_tests::lab::streams::carry(client, address, STREAM, way, length)?;
            println!("{length} octets {}: {took:.1?}", way.label());
        }
        let opened = chain.count(Node::Gateway, "events", "opened_bytes")?;
        match opened > length {
            true => Ok(()),
            false => Err(LabError::Expectation(format!("only {opened} octets were opened"))),
        }
    })
}
