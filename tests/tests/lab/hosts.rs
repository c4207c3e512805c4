//! Hosts unlike the lab's own: option sets as Windows, BSD and Linux send them, keep-alives with a garbage
//! octet, segments short of room for options.

use std::net::SocketAddr;
use std::time::Duration;

use sekisho_tests::expect_that;
use sekisho_tests::impair::spec::Way;
use sekisho_tests::lab::chain::{Chain, Node, on_chain};
use sekisho_tests::lab::config::{ECHO, STREAM, Setup};
use sekisho_tests::lab::forge::{Flow, Segment, flag};
use sekisho_tests::lab::impaired::{Cable, Impairer};
use sekisho_tests::lab::inject::Injector;
use sekisho_tests::lab::peers::{Server, dial, exchange};
use sekisho_tests::lab::process::wait_until;
use sekisho_tests::lab::programs::canary_text;
use sekisho_tests::lab::seen;
use sekisho_tests::lab::streams::{carry, serve};
use sekisho_tests::lab::topology::{Family, Host, Plan, TO_AGENT, TO_GATEWAY};
use sekisho_tests::lab::{LabError, LabResult};

const SOON: Duration = Duration::from_secs(10);

/// A kind of host, as the sysctls that make Linux send its options.
struct Kind {
    name: &'static str,
    timestamps: u8,
    sack: u8,
    scaling: u8,
    ecn: u8,
}

const KINDS: [Kind; 4] = [
    Kind { name: "Windows-like", timestamps: 0, sack: 1, scaling: 1, ecn: 0 },
    Kind { name: "BSD-like", timestamps: 1, sack: 1, scaling: 1, ecn: 0 },
    Kind { name: "Linux-like, ECN", timestamps: 1, sack: 1, scaling: 1, ecn: 1 },
    Kind { name: "bare", timestamps: 0, sack: 0, scaling: 0, ecn: 0 },
];

impl Kind {
    fn dress(&self, chain: &Chain, host: Host) -> LabResult {
        for (key, value) in [
            ("timestamps", self.timestamps),
            ("sack", self.sack),
            ("window_scaling", self.scaling),
            ("ecn", self.ecn),
        ] {
            chain.host(host).sysctl(&format!("net.ipv4.tcp_{key}"), &value.to_string())?;
        }
        Ok(())
    }
}

#[test]
fn every_option_set_survives_loss() -> LabResult {
    let plan = Plan { impaired: &[Cable::GatewayCipher], ..Plan::default() };
    on_chain("option-sets", Setup { plan, deadline_ms: 30_000, ..Setup::default() }, |chain| {
        let _server = serve(chain.host(Host::Server1), STREAM)?;
        let words = ["--both", "loss=2,reorder=3"];
        for (number, kind) in KINDS.iter().enumerate() {
            // The server is of the next kind: what both have in common is what they use.
            kind.dress(chain, Host::Client1)?;
            KINDS[(number + 1) % KINDS.len()].dress(chain, Host::Server1)?;
            let impairer = Impairer::start(&chain.topology, Cable::GatewayCipher, &words)?;
            for family in Family::BOTH {
                for way in Way::BOTH {
                    let address = Host::Server1.address(family);
                    carry(chain.host(Host::Client1), address, STREAM, way, 512 << 10)?;
                }
            }
            println!("{}: {}", kind.name, impairer.finish()?);
        }
        Ok(())
    })
}

/// Both directions full of data and of losses: segments need room for timestamps, SACK blocks and tag.
#[test]
fn sack_blocks_give_way_to_the_tag() -> LabResult {
    let plan = Plan { impaired: &[Cable::GatewayCipher], ..Plan::default() };
    on_chain("sack-heavy", Setup { plan, ..Setup::default() }, |chain| {
        let _server = Server::echo(chain.host(Host::Server1), ECHO)?;
        let words = ["--both", "loss=4,delay=3"];
        let impairer = Impairer::start(&chain.topology, Cable::GatewayCipher, &words)?;
        for family in Family::BOTH {
            let address = Host::Server1.address(family);
            let mut stream = dial(chain.host(Host::Client1), address, ECHO)?;
            exchange(&mut stream, canary_text(2 << 20).as_bytes())?;
        }
        println!("{}", impairer.finish()?);
        for node in [Node::Gateway, Node::Agent] {
            let trimmed = chain.count(node, "events", "options_trimmed")?;
            println!("{node:?}: {trimmed} segments lost SACK blocks");
            expect_that!(trimmed > 0, "{node:?}: no segment was short of room: nothing was shown");
            expect_that!(chain.drops(node, "option_room")? == 0, "{node:?}: dropped for room");
        }
        Ok(())
    })
}

/// The frame of a keep-alive as BSD and Windows send it: the octet before the next, again.
fn keep_alive(chain: &Chain, local: SocketAddr, peer: SocketAddr) -> LabResult<Vec<u8>> {
    let frames = chain.watch.recent_plain()?;
    let segments = seen::parse(&frames);
    let last = segments
        .iter()
        .rev()
        .filter(|segment| segment.ends() == Some((local, peer)))
        .find_map(|segment| segment.view.tcp())
        .ok_or_else(|| LabError::Expectation(format!("no segment from {local}")))?;
    let (host, interface) = match local.port() == ECHO {
        true => (Host::Server1, TO_GATEWAY),
        false => (Host::Client1, TO_AGENT),
    };
    let source = Injector::open(chain.host(host), "eth0")?.mac();
    let next_hop = Injector::open(&chain.topology.router, interface)?.mac();
    let flow = Flow { macs: (source, next_hop), src: local, dst: peer };
    let seq = last.seq.get().wrapping_add(last.sequence_len()).wrapping_sub(1);
    let (ack, flags) = (last.ack.get(), flag::ACK);
    let segment = Segment { seq, ack, flags, payload: b"G", ..Segment::default() };
    Ok(flow.segment(&segment))
}

#[test]
fn a_keep_alive_with_a_garbage_octet_harms_nothing() -> LabResult {
    on_chain("keep-alive", Setup::default(), |chain| {
        let _server = Server::echo(chain.host(Host::Server1), ECHO)?;
        for family in Family::BOTH {
            let server = SocketAddr::new(Host::Server1.address(family), ECHO);
            let mut stream = dial(chain.host(Host::Client1), server.ip(), ECHO)?;
            let client = stream.local_addr().map_err(LabError::io("local address"))?;
            exchange(&mut stream, canary_text(5000).as_bytes())?;
            for (host, node, local, peer) in [
                (Host::Client1, Node::Agent, client, server),
                (Host::Server1, Node::Gateway, server, client),
            ] {
                let before = chain.count(node, "events", "keepalives_cut")?;
                let frame = keep_alive(chain, local, peer)?;
                Injector::open(chain.host(host), "eth0")?.send(&frame)?;
                let what = format!("{node:?} cuts the octet of a keep-alive");
                wait_until(&what, SOON, || {
                    Ok(chain.count(node, "events", "keepalives_cut")? == before + 1)
                })?;
                exchange(&mut stream, canary_text(5000).as_bytes())?;
            }
        }
        for node in [Node::Gateway, Node::Agent] {
            expect_that!(
                chain.all_drops(node)? == 0,
                "{node:?}: {:?}",
                chain.counted(node, "drops")?
            );
        }
        Ok(())
    })
}
