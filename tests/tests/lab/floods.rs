//! Floods at 20,000 a second while connections go on: SYNs with a cipher request from nobody, and segments
//! of live connections with forged tags. No session is lost, memory stays where it was, and who comes
//! afterwards is served. What a flood costs is measured by `cargo xtask bench flood`.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use sekisho_tests::expect_that;
use sekisho_tests::lab::chain::{Chain, Node, on_chain};
use sekisho_tests::lab::config::{ECHO, Setup};
use sekisho_tests::lab::flood::{Flood, forged_tag, scattered, syn};
use sekisho_tests::lab::forge::{Flow, Segment, flag};
use sekisho_tests::lab::harness::no_leak;
use sekisho_tests::lab::inject::Injector;
use sekisho_tests::lab::peers::{Server, dial, exchange};
use sekisho_tests::lab::process::{resident_kib, wait_until};
use sekisho_tests::lab::programs::canary_text;
use sekisho_tests::lab::topology::{Family, Host, TO_GATEWAY};
use sekisho_tests::lab::{LabError, LabResult};

const RATE: u64 = 20_000;
/// Long enough for the flood to pass through every table and pool of the gateway.
const FLOOD: Duration = Duration::from_secs(8);
const SOON: Duration = Duration::from_secs(20);
/// What the gateway may grow by: key delivery remembers 131,072 SYNs at most, a few hundred octets each.
const MOST_KIB: u64 = 96 << 10;

/// Established connections of both families.
fn connections(chain: &Chain) -> LabResult<Vec<TcpStream>> {
    let mut streams = Vec::new();
    for number in 0..6 {
        let family = Family::BOTH[number % 2];
        streams.push(dial(chain.host(Host::Client1), Host::Server1.address(family), ECHO)?);
    }
    Ok(streams)
}

fn service(number: u64) -> SocketAddr {
    SocketAddr::new(Host::Server1.address(Family::BOTH[number as usize % 2]), ECHO)
}

/// Runs `flood` beside exchanges over all connections; then everything stands as before.
fn withstands(chain: &mut Chain, streams: &mut [TcpStream], flood: Flood) -> LabResult {
    let gateway = chain.process(Node::Gateway)?.id();
    let (before, held) = (resident_kib(gateway)?, chain.keys_held(Node::Gateway)?);
    let text = canary_text(4000);
    let (started, mut exchanges) = (Instant::now(), 0);
    while started.elapsed() < FLOOD {
        for stream in &mut *streams {
            exchange(stream, text.as_bytes())?;
            exchanges += 1;
        }
    }
    let sent = flood.stop()?;
    let after = resident_kib(gateway)?;
    println!("{sent} frames in {FLOOD:?}, {exchanges} exchanges, {before} KiB became {after} KiB");
    expect_that!(sent > RATE * FLOOD.as_secs() / 2, "only {sent} frames were sent");
    expect_that!(after < before + MOST_KIB, "{before} KiB became {after} KiB");
    let now = chain.keys_held(Node::Gateway)?;
    expect_that!(now == held, "the gateway holds {now} keys of {held}");
    // Who comes afterwards is served.
    for family in Family::BOTH {
        let mut stream = dial(chain.host(Host::Client1), Host::Server1.address(family), ECHO)?;
        exchange(&mut stream, text.as_bytes())?;
    }
    Ok(())
}

#[test]
fn a_flood_of_syns_ends_no_session_and_fills_no_memory() -> LabResult {
    on_chain("syn-flood", Setup::default(), |chain| {
        let _server = Server::echo(chain.host(Host::Server1), ECHO)?;
        let mut streams = connections(chain)?;
        let injector = Injector::open(&chain.topology.router, TO_GATEWAY)?;
        // The captures would hold little but the flood.
        no_leak(&chain.watch.stop()?)?;
        let macs = (injector.mac(), [2, 0, 0, 0, 0, 9]);
        let flood = Flood::start(injector, RATE, move |n| syn(macs, service(n), n));
        withstands(chain, &mut streams, flood)?;
        chain.watch.restart(&chain.topology)?;
        for stream in &mut streams {
            exchange(stream, canary_text(4000).as_bytes())?;
        }
        // Nobody vouched for any of them: what the flood left goes by itself.
        let opening = |chain: &Chain| -> LabResult<u64> {
            let sessions = chain.counted(Node::Gateway, "sessions")?;
            let opening = sessions.iter().filter(|(state, _)| state == "requested");
            Ok(opening.map(|(_, count)| count).sum())
        };
        wait_until("the flood's sessions are gone", SOON, || Ok(opening(chain)? == 0))
    })
}

#[test]
fn a_flood_of_forged_tags_ends_no_session() -> LabResult {
    on_chain("forged-tag-flood", Setup::default(), |chain| {
        let _server = Server::echo(chain.host(Host::Server1), ECHO)?;
        let mut streams = connections(chain)?;
        let clients = streams
            .iter()
            .map(|stream| stream.local_addr().map_err(LabError::io("local address")))
            .collect::<LabResult<Vec<_>>>()?;
        let injector = Injector::open(&chain.topology.router, TO_GATEWAY)?;
        no_leak(&chain.watch.stop()?)?;
        let macs = (injector.mac(), [2, 0, 0, 0, 0, 9]);
        let reasons = ["bad_tag", "resegmented", "offset_range", "below_origin"];
        let dropped = |chain: &Chain| -> LabResult<u64> {
            let drops = &chain.status(Node::Gateway)?["drops"];
            Ok(reasons.iter().filter_map(|reason| drops[reason].as_u64()).sum())
        };
        let before = dropped(chain)?;
        // Sequence numbers anywhere: a quarter of them are near enough for their tags to be looked at.
        let flood = Flood::start(injector, RATE, move |n| {
            let client = clients[n as usize % clients.len()];
            let server = SocketAddr::new(service(n).ip(), ECHO);
            let chance = scattered(n);
            let option = forged_tag(n);
            let segment = Segment {
                seq: chance as u32,
                ack: (chance >> 32) as u32,
                flags: flag::ACK | flag::PSH,
                options: &option,
                payload: &[0x5e; 600],
            };
            Flow { macs, src: client, dst: server }.segment(&segment)
        });
        withstands(chain, &mut streams, flood)?;
        let counted = dropped(chain)? - before;
        expect_that!(counted > RATE, "only {counted} forgeries were counted");
        chain.watch.restart(&chain.topology)?;
        for stream in &mut streams {
            exchange(stream, canary_text(4000).as_bytes())?;
        }
        Ok(())
    })
}
