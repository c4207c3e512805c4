//! Paths that rewrite what crosses them: ports, sequence numbers, options, borders, bits. What the protection
//! does not cover passes, what it covers is dropped with its own reason, and streams arrive all the same.

use std::time::Duration;

use sekisho_tests::expect_that;
use sekisho_tests::impair::spec::Way;
use sekisho_tests::lab::chain::{Chain, Node, on_chain};
use sekisho_tests::lab::config::{STREAM, Setup};
use sekisho_tests::lab::impaired::{Cable, Did, Impairer};
use sekisho_tests::lab::peers::dial;
use sekisho_tests::lab::streams::{STALL, carry, run, serve};
use sekisho_tests::lab::topology::{Family, Host, Plan};
use sekisho_tests::lab::{LabError, LabResult};

const LENGTH: u64 = 1 << 20;

fn impaired(cables: &'static [Cable]) -> Setup {
    Setup {
        plan: Plan { impaired: cables, ..Plan::default() },
        deadline_ms: 30_000,
        ..Setup::default()
    }
}

/// Streams both ways in both families while the box in `cable` does what `words` say.
fn streams(chain: &Chain, cable: Cable, words: &[&str]) -> LabResult<Did> {
    let impairer = Impairer::start(&chain.topology, cable, words)?;
    for family in Family::BOTH {
        let address = Host::Server1.address(family);
        for way in Way::BOTH {
            carry(chain.host(Host::Client1), address, STREAM, way, LENGTH)?;
        }
    }
    let did = impairer.finish()?;
    println!("{cable:?} {}: {did}", words.join(" "));
    Ok(did)
}

/// Drops of both boxes by reason, as one number.
fn drops(chain: &Chain, reason: &str) -> LabResult<u64> {
    Ok(chain.drops(Node::Gateway, reason)? + chain.drops(Node::Agent, reason)?)
}

#[test]
fn ports_and_sequence_numbers_may_be_rewritten_on_the_way() -> LabResult {
    const CABLES: &[Cable] = &[Cable::AgentCipher, Cable::GatewayPlain];
    on_chain("rewritten", impaired(CABLES), |chain| {
        let _server = serve(chain.host(Host::Server1), STREAM)?;
        let isns = ["--client-isn", "random", "--server-isn", "random"];
        for cable in CABLES {
            let did = streams(chain, *cable, &isns)?;
            expect_that!(did.count(Way::Up, "shifted") > 1000, "{did}");
            expect_that!(did.count(Way::Down, "shifted") > 1000, "{did}");
        }
        // With losses too: SACK blocks must be shifted like all else.
        let words = [&isns[..], &["--nat", "--both", "loss=2"]].concat();
        let did = streams(chain, Cable::AgentCipher, &words)?;
        expect_that!(did.both("translated") > 2000 && did.both("lost") > 20, "{did}");
        expect_that!(drops(chain, "bad_tag")? == 0, "a rewritten number reached a tag");
        Ok(())
    })
}

#[test]
fn what_corrupts_segments_is_counted_and_the_stream_goes_on() -> LabResult {
    on_chain("corrupted", impaired(&[Cable::GatewayCipher, Cable::GatewayPlain]), |chain| {
        let _server = serve(chain.host(Host::Server1), STREAM)?;
        let did = streams(chain, Cable::GatewayCipher, &["--both", "corrupt=2"])?;
        let seen = drops(chain, "bad_checksum")?;
        let corrupted = did.both("corrupted");
        expect_that!(seen > 0 && seen <= corrupted, "{seen} of {corrupted} corrupt frames seen");
        // A corrupt segment of the plain side must not be made an authentic one (M3.10).
        streams(chain, Cable::GatewayPlain, &["--both", "corrupt=2"])?;
        let did = streams(chain, Cable::GatewayCipher, &["--both", "forge=2"])?;
        let (seen, forged) = (drops(chain, "bad_tag")?, did.both("forged"));
        // Segments of a stream that has just ended belong to no session any more.
        expect_that!(seen > 0 && seen <= forged, "{seen} of {forged} forged segments seen");
        Ok(())
    })
}

#[test]
fn other_borders_are_transparent_on_the_plain_side_and_refused_on_the_cipher_side() -> LabResult {
    on_chain("resegmented", impaired(&[Cable::GatewayCipher, Cable::GatewayPlain]), |chain| {
        let _server = serve(chain.host(Host::Server1), STREAM)?;
        let did = streams(chain, Cable::GatewayPlain, &["--both", "split=50,reorder=5"])?;
        expect_that!(did.both("split") > 500, "{did}");
        expect_that!(drops(chain, "bad_tag")? == 0, "the plain side's borders reached a tag");
        // Now and then on the cipher side: like loss.
        let did = streams(chain, Cable::GatewayCipher, &["--both", "split=1"])?;
        let seen = drops(chain, "bad_tag")? + drops(chain, "resegmented")?;
        expect_that!(seen >= did.both("split"), "{seen} drops, {did}");
        // Always: the stream stands still, and the reason says why.
        let before = drops(chain, "resegmented")?;
        let impairer =
            Impairer::start(&chain.topology, Cable::GatewayCipher, &["--both", "split=100"])?;
        let address = Host::Server1.address(Family::V4);
        let stream = dial(chain.host(Host::Client1), address, STREAM)?;
        let outcome = run(stream, Way::Up, LENGTH, Duration::from_secs(3));
        let did = impairer.finish()?;
        expect_that!(outcome.is_err() && did.both("split") > 0, "it arrived: {did}");
        expect_that!(drops(chain, "resegmented")? > before, "no drop says that segments were cut");
        Ok(())
    })
}

#[test]
fn options_stripped_in_mid_flow_are_losses_and_delay_is_no_harm() -> LabResult {
    on_chain("stripped", impaired(&[Cable::GatewayCipher]), |chain| {
        let _server = serve(chain.host(Host::Server1), STREAM)?;
        for family in Family::BOTH {
            for way in Way::BOTH {
                let mut impairer = Impairer::start(&chain.topology, Cable::GatewayCipher, &[])?;
                let address = Host::Server1.address(family);
                let stream = dial(chain.host(Host::Client1), address, STREAM)?;
                impairer.control("both strip=5,kinds=253")?;
                run(stream, way, LENGTH, STALL).map_err(LabError::io("tags stripped"))?;
                let did = impairer.finish()?;
                expect_that!(did.both("stripped") > 10, "{did}");
            }
        }
        expect_that!(drops(chain, "tag_missing")? > 40, "no drop says that tags were missing");
        // Timestamps and SACK-permitted taken from the SYN: the hosts do without.
        let spec = "strip=100,kinds=8+4,loss=2";
        let did = streams(chain, Cable::GatewayCipher, &["--both", spec])?;
        expect_that!(did.both("stripped") >= 4, "{did}");
        let did = streams(chain, Cable::GatewayCipher, &["--both", "delay=10,jitter=10,loss=1"])?;
        expect_that!(did.both("delayed") > 1000, "{did}");
        Ok(())
    })
}
