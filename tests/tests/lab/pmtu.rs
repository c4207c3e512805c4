//! A path whose MTU falls in mid-stream, on either side of either box: the router's error reaches the host
//! that sends too much, the host obeys, and the stream goes on (hazard 6).

use std::time::Duration;

use sekisho_tests::expect_that;
use sekisho_tests::impair::spec::Way;
use sekisho_tests::lab::chain::{Chain, Node, on_chain};
use sekisho_tests::lab::config::{STREAM, Setup};
use sekisho_tests::lab::impaired::{Cable, Impairer};
use sekisho_tests::lab::peers::dial;
use sekisho_tests::lab::process::wait_until;
use sekisho_tests::lab::streams::{run, serve};
use sekisho_tests::lab::topology::{Family, Host, Plan, TO_AGENT, TO_GATEWAY};
use sekisho_tests::lab::{LabError, LabResult};

const LENGTH: u64 = 24 << 20;
/// So many octets have passed when the path changes.
const BEFORE: u64 = 2 << 20;
/// Above IPv6's least MTU even after the tag's share.
const MTU: u16 = 1350;
/// A black hole shows as a stream that stands still; one resend after the error must be enough.
const STALL: Duration = Duration::from_secs(8);

/// Octets that the gateway has sealed or opened.
fn passed(chain: &Chain) -> LabResult<u64> {
    let opened = chain.count(Node::Gateway, "events", "opened_bytes")?;
    Ok(opened + chain.count(Node::Gateway, "events", "sealed_bytes")?)
}

/// Carries a stream and changes the path by `narrow` in the middle of it.
fn narrowed(
    chain: &Chain,
    family: Family,
    way: Way,
    narrow: impl FnOnce() -> LabResult,
) -> LabResult<Duration> {
    let address = Host::Server1.address(family);
    let stream = dial(chain.host(Host::Client1), address, STREAM)?;
    let before = passed(chain)?;
    let started = std::time::Instant::now();
    let carrying = std::thread::spawn(move || run(stream, way, LENGTH, STALL));
    wait_until("the stream is under way", STALL, || Ok(passed(chain)? > before + BEFORE))?;
    let at = passed(chain)? - before;
    expect_that!(at < LENGTH, "the stream was over before the path changed");
    narrow()?;
    let what = format!("{} {} after {at} octets", family.label(), way.label());
    let carried = carrying.join().unwrap_or(Ok(()));
    carried.map_err(LabError::io(what))?;
    Ok(started.elapsed())
}

/// Hosts forget what they have learnt of the path.
fn forget(chain: &Chain) -> LabResult {
    for host in [Host::Client1, Host::Server1] {
        for family in ["-4", "-6"] {
            chain.host(host).ip(&format!("{family} route flush cache"))?;
        }
    }
    Ok(())
}

#[test]
fn a_router_between_the_boxes_narrows_the_path() -> LabResult {
    on_chain("pmtu-network", Setup::default(), |chain| {
        let _server = serve(chain.host(Host::Server1), STREAM)?;
        for family in Family::BOTH {
            for (way, host, interface) in
                [(Way::Up, Host::Server1, TO_GATEWAY), (Way::Down, Host::Client1, TO_AGENT)]
            {
                let address = host.address(family);
                let router = &chain.topology.router;
                let route = format!("route replace {address} dev {interface} mtu lock {MTU}");
                let took = narrowed(chain, family, way, || router.ip(&route).map(drop))?;
                println!("{} {}: {took:.2?}", family.label(), way.label());
                router.ip(&format!("route del {address} dev {interface}"))?;
                forget(chain)?;
            }
        }
        for node in [Node::Gateway, Node::Agent] {
            let lowered = chain.count(node, "events", "mtu_lowered")?;
            expect_that!(lowered > 0, "{node:?} lowered no MTU: nothing was shown");
        }
        Ok(())
    })
}

#[test]
fn a_link_on_either_plain_side_narrows_the_path() -> LabResult {
    const CABLES: &[Cable] = &[Cable::AgentPlain, Cable::GatewayPlain];
    let plan = Plan { impaired: CABLES, ..Plan::default() };
    on_chain("pmtu-plain", Setup { plan, ..Setup::default() }, |chain| {
        let _server = serve(chain.host(Host::Server1), STREAM)?;
        for family in Family::BOTH {
            for &cable in CABLES {
                for way in Way::BOTH {
                    let mut impairer = Impairer::start(&chain.topology, cable, &[])?;
                    let narrow = || impairer.control(&format!("both mtu={MTU}"));
                    let took = narrowed(chain, family, way, narrow)?;
                    let did = impairer.finish()?;
                    println!("{cable:?} {} {}: {took:.2?}; {did}", family.label(), way.label());
                    expect_that!(did.count(way, "too_big") > 0, "{did}");
                    forget(chain)?;
                }
            }
        }
        Ok(())
    })
}
