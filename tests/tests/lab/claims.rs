//! The claims of the cipher communication system on the real chain: a fresh key for each session on the
//! request alone, the key gone with the session, nothing before synchronisation.

use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use rustix::process::Signal;
use sekisho_tests::expect_that;
use sekisho_tests::lab::capture::CapturedFrame;
use sekisho_tests::lab::chain::{Chain, Node, on_chain};
use sekisho_tests::lab::config::{ECHO, Setup};
use sekisho_tests::lab::forge::{Flow, Segment, flag};
use sekisho_tests::lab::inject::Injector;
use sekisho_tests::lab::peers::{Server, dial, exchange};
use sekisho_tests::lab::process::wait_until;
use sekisho_tests::lab::programs::canary_text;
use sekisho_tests::lab::seen::{Seen, parse};
use sekisho_tests::lab::topology::{Family, Host, TO_GATEWAY};
use sekisho_tests::lab::{LabError, LabResult};
use sekisho_wire::SekishoOption;

const SOON: Duration = Duration::from_secs(10);

fn io(what: &str) -> impl FnOnce(std::io::Error) -> LabError {
    LabError::io(what.to_owned())
}

fn ends(stream: &TcpStream) -> LabResult<(SocketAddr, SocketAddr)> {
    Ok((
        stream.local_addr().map_err(io("local address"))?,
        stream.peer_addr().map_err(io("peer address"))?,
    ))
}

/// Ciphertext of the first segments with payload from `client` to `server`, in order.
fn ciphertext(seen: &[Seen<'_>], client: SocketAddr, server: SocketAddr) -> Vec<u8> {
    let towards = seen.iter().filter(|frame| frame.ends() == Some((client, server)));
    towards.flat_map(|frame| frame.payload().to_vec()).collect()
}

fn request_of(seen: &[Seen<'_>], client: SocketAddr, server: SocketAddr) -> Option<u64> {
    seen.iter().filter(|frame| frame.ends() == Some((client, server))).find_map(|frame| match frame
        .option()?
    {
        SekishoOption::Request(request) => Some(request.request_id),
        _ => None,
    })
}

#[test]
fn claim_1_each_session_has_a_fresh_key_and_the_request_alone_triggers_it() -> LabResult {
    // `prefer`, so that a connection without request passes and can be compared.
    let setup = Setup { policy: "prefer", ..Setup::default() };
    on_chain("claim-1", setup, |chain| {
        let _server = Server::echo(chain.host(Host::Server1), ECHO)?;
        let address = Host::Server1.address(Family::V4);
        let mut flows = Vec::new();
        for _ in 0..2 {
            let mut stream = dial(chain.host(Host::Client1), address, ECHO)?;
            exchange(&mut stream, canary_text(600).as_bytes())?;
            flows.push(ends(&stream)?);
        }
        let issued = chain.audit().len();
        expect_that!(issued >= 2, "two sessions, {issued} lines in the KDC's audit log");
        let report = chain.watch.at_gateway()?;
        let seen = parse(&report.kept);
        let texts: Vec<Vec<u8>> =
            flows.iter().map(|&(client, server)| ciphertext(&seen, client, server)).collect();
        expect_that!(texts[0].len() >= 600 && texts[1].len() >= 600, "no payload captured");
        expect_that!(texts[0][..600] != texts[1][..600], "equal ciphertext in two sessions");
        let requests: Vec<Option<u64>> =
            flows.iter().map(|&(client, server)| request_of(&seen, client, server)).collect();
        expect_that!(requests[0].is_some() && requests[0] != requests[1], "{requests:?}");
        // A SYN without the option asks the KDC for nothing: no line more, no session more.
        let mut clear = dial(chain.host(Host::Stranger), address, ECHO)?;
        exchange(&mut clear, b"no canary here")?;
        expect_that!(chain.audit().len() == issued, "a SYN without request reached the KDC");
        Ok(())
    })
}

/// Opens a session, exchanges, and gives it to `end`; then its key must go, and what is replayed of it
/// must be dropped.
fn key_goes(name: &str, setup: Setup, end: impl Fn(TcpStream) -> LabResult) -> LabResult {
    on_chain(name, setup, |chain| {
        let _server = Server::echo(chain.host(Host::Server1), ECHO)?;
        for family in Family::BOTH {
            let address = Host::Server1.address(family);
            let mut stream = dial(chain.host(Host::Client1), address, ECHO)?;
            exchange(&mut stream, canary_text(2000).as_bytes())?;
            let (client, server) = ends(&stream)?;
            expect_that!(chain.keys_held(Node::Gateway)? >= 1, "no key during the session");
            expect_that!(chain.keys_held(Node::Agent)? >= 1, "no key at the agent");
            end(stream)?;
            for node in [Node::Gateway, Node::Agent] {
                wait_until(&format!("{node:?} wipes the key"), SOON, || {
                    Ok(chain.keys_held(node)? == 0 && chain.sessions(node)?.is_empty())
                })?;
            }
            replay_is_dropped(chain, client, server)?;
        }
        Ok(())
    })
}

fn replay_is_dropped(chain: &Chain, client: SocketAddr, server: SocketAddr) -> LabResult {
    let report = chain.watch.at_gateway()?;
    let old: Vec<CapturedFrame> = parse(&report.kept)
        .iter()
        .filter(|frame| frame.ends() == Some((client, server)))
        .filter(|frame| matches!(frame.option(), Some(SekishoOption::Tag(_))))
        .map(|frame| frame.frame.clone())
        .collect();
    expect_that!(!old.is_empty(), "no tagged segment of the session was captured");
    let plain_before = chain.watch.plain()?.frames;
    let before = chain.drops(Node::Gateway, "no_session")?;
    let injector = Injector::open(&chain.topology.router, TO_GATEWAY)?;
    for frame in &old {
        injector.send(&frame.bytes)?;
    }
    wait_until("replayed segments are dropped and counted", SOON, || {
        Ok(chain.drops(Node::Gateway, "no_session")? >= before + old.len() as u64)
    })?;
    let report = chain.watch.plain()?;
    let passed = parse(&report.kept)
        .iter()
        .skip(usize::try_from(plain_before).unwrap_or(usize::MAX))
        .filter(|frame| frame.between(client, server) && !frame.payload().is_empty())
        .count();
    expect_that!(passed == 0, "{passed} replayed segments reached the plain side");
    Ok(())
}

#[test]
fn claim_2_the_key_is_gone_after_fin() -> LabResult {
    key_goes("claim-2-fin", Setup::default(), |stream| {
        stream.shutdown(Shutdown::Both).map_err(io("shut down"))
    })
}

#[test]
fn claim_2_the_key_is_gone_after_rst() -> LabResult {
    key_goes("claim-2-rst", Setup::default(), |stream| {
        // Zero linger: close sends RST.
        rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO))
            .map_err(|error| io("linger")(error.into()))
    })
}

#[test]
fn claim_2_the_key_is_gone_after_idling() -> LabResult {
    let setup = Setup { idle_s: 2, ..Setup::default() };
    key_goes("claim-2-idle", setup, |stream| {
        // The connection stays open at both hosts: only silence ends the session.
        std::mem::forget(stream);
        Ok(())
    })
}

#[test]
fn claim_3_segments_before_synchronisation_are_dropped() -> LabResult {
    on_chain("claim-3", Setup::default(), |chain| {
        let _server = Server::echo(chain.host(Host::Server1), ECHO)?;
        let address = Host::Server1.address(Family::V4);
        let injector = Injector::open(&chain.topology.router, TO_GATEWAY)?;
        let before = chain.drops(Node::Gateway, "unsynchronised")?;
        // A KDC that stands still keeps the session from its key; TCP and key delivery wait.
        chain.signal_kdc(0, Signal::STOP)?;
        let client = chain.host(Host::Client1);
        let exchanged = std::thread::scope(|scope| {
            let program = scope.spawn(|| {
                let mut stream = dial(client, address, ECHO)?;
                exchange(&mut stream, canary_text(3000).as_bytes())
            });
            let forged = forge_early_data(chain, &injector, before);
            let resumed = chain.signal_kdc(0, Signal::CONT);
            let exchanged = program.join().unwrap_or(Ok(()));
            forged.and(resumed).and(exchanged)
        });
        exchanged?;
        let shown = chain.watch.plain()?;
        let early = shown.kept.iter().filter(|frame| contains(&frame.bytes, EARLY)).count();
        expect_that!(early == 0, "{early} early segments reached the plain side");
        Ok(())
    })
}

const EARLY: &[u8] = b"data before synchronisation";

fn contains(hay: &[u8], needle: &[u8]) -> bool {
    hay.windows(needle.len()).any(|window| window == needle)
}

/// Waits for the client's SYN on the wire, sends data of that connection, waits until it was dropped.
fn forge_early_data(chain: &Chain, injector: &Injector, before: u64) -> LabResult {
    let mut syn = None;
    wait_until("the SYN with its request is on the wire", SOON, || {
        let report = chain.watch.at_gateway()?;
        syn = parse(&report.kept).iter().find_map(|frame| {
            let request = matches!(frame.option(), Some(SekishoOption::Request(_)));
            let (src, dst) = frame.ends()?;
            let bytes = &frame.frame.bytes;
            let mac = |at: usize| <[u8; 6]>::try_from(&bytes[at..at + 6]).unwrap_or_default();
            let flow = Flow { macs: (mac(6), mac(0)), src, dst };
            request.then_some((flow, frame.view.tcp()?.seq.get()))
        });
        Ok(syn.is_some())
    })?;
    let Some((flow, isn)) = syn else { return Ok(()) };
    let segment = Segment {
        seq: isn.wrapping_add(1),
        ack: 1,
        flags: flag::ACK | flag::PSH,
        payload: EARLY,
        ..Segment::default()
    };
    injector.send(&flow.segment(&segment))?;
    wait_until("the early segment is dropped as unsynchronised", SOON, || {
        Ok(chain.drops(Node::Gateway, "unsynchronised")? > before)
    })
}
