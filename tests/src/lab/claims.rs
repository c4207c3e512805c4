//! The claims of the cipher communication system, each as a check on a running chain that returns its
//! evidence in one sentence. Used by the lab tests and by the demo. The chain must serve an echo server
//! on [`ECHO`] at the first server.

use std::io::{ErrorKind, Read};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use rustix::process::Signal;
use sekisho_wire::SekishoOption;

use super::capture::CapturedFrame;
use super::chain::{Chain, Node};
use super::config::ECHO;
use super::forge::{Flow, Segment, flag};
use super::inject::Injector;
use super::peers::{dial, exchange};
use super::process::{run, wait_until};
use super::programs::canary_text;
use super::seen::{Seen, parse};
use super::topology::{Family, Host, TO_GATEWAY};
use super::{LabError, LabResult};
use crate::expect_that;

const SOON: Duration = Duration::from_secs(10);
/// Payload that is sent before synchronisation.
const EARLY: &[u8] = b"data before synchronisation";

/// How a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Both hosts close.
    Fin,
    /// The client resets.
    Rst,
    /// Silence beyond the idle limit, which the chain must have set to a few seconds.
    Idle,
    /// The gateway's operator closes it.
    Operator,
}

fn io(what: &str) -> impl FnOnce(std::io::Error) -> LabError {
    LabError::io(what.to_owned())
}

fn ends(stream: &TcpStream) -> LabResult<(SocketAddr, SocketAddr)> {
    let client = stream.local_addr().map_err(io("local address"))?;
    Ok((client, stream.peer_addr().map_err(io("peer address"))?))
}

/// Payload as captured of all segments from `client` to `server`, in order.
fn payload_seen(seen: &[Seen<'_>], client: SocketAddr, server: SocketAddr) -> Vec<u8> {
    let towards = seen.iter().filter(|frame| frame.ends() == Some((client, server)));
    towards.flat_map(|frame| frame.payload().to_vec()).collect()
}

/// The request id in the client's SYN.
fn request_id(seen: &[Seen<'_>], client: SocketAddr, server: SocketAddr) -> Option<u64> {
    let mut towards = seen.iter().filter(|frame| frame.ends() == Some((client, server)));
    towards.find_map(|frame| match frame.option()? {
        SekishoOption::Request(request) => Some(request.request_id),
        _ => None,
    })
}

/// Claim 1: two sessions with equal plaintext show different ciphertext and request ids, and the KDC
/// issued a key for each.
pub fn each_session_has_a_fresh_key(chain: &Chain, family: Family) -> LabResult<String> {
    const LENGTH: usize = 600;
    let before = chain.audit().len();
    let mut flows = Vec::new();
    for _ in 0..2 {
        let address = Host::Server1.address(family);
        let mut stream = dial(chain.host(Host::Client1), address, ECHO)?;
        exchange(&mut stream, canary_text(LENGTH).as_bytes())?;
        flows.push(ends(&stream)?);
    }
    let issued = chain.audit().len() - before;
    expect_that!(issued >= 2, "two sessions, but {issued} new lines in the KDC's audit log");
    let frames = chain.watch.recent_at_gateway()?;
    let seen = parse(&frames);
    let [first, second] = [0, 1].map(|index: usize| {
        let (client, server) = flows[index];
        (payload_seen(&seen, client, server), request_id(&seen, client, server))
    });
    expect_that!(first.0.len() == LENGTH && second.0.len() == LENGTH, "payload was not captured");
    expect_that!(first.0 != second.0, "two sessions show equal ciphertext");
    expect_that!(first.1.is_some() && first.1 != second.1, "request ids {:?}", (first.1, second.1));
    Ok(format!(
        "the same {LENGTH} bytes sent in two sessions: ciphertext begins {} and {}; {issued} requests in the KDC's audit log",
        hex(&first.0[..8]),
        hex(&second.0[..8])
    ))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Claim 1, the trigger: a SYN without the request option asks the KDC for nothing. The gateway's policy
/// must let it pass.
pub fn no_request_no_key(chain: &Chain, family: Family) -> LabResult<String> {
    let before = chain.audit().len();
    let mut clear = dial(chain.host(Host::Stranger), Host::Server1.address(family), ECHO)?;
    exchange(&mut clear, b"no canary here")?;
    let after = chain.audit().len();
    expect_that!(after == before, "a SYN without request reached the KDC");
    Ok("a connection without the option: no request to the KDC".to_owned())
}

/// Claim 2: when the session ends its key goes from both boxes, and a replay of it is dropped.
pub fn the_key_goes_with_its_session(chain: &Chain, family: Family, end: End) -> LabResult<String> {
    let address = Host::Server1.address(family);
    let mut stream = dial(chain.host(Host::Client1), address, ECHO)?;
    exchange(&mut stream, canary_text(2000).as_bytes())?;
    let (client, server) = ends(&stream)?;
    for node in [Node::Gateway, Node::Agent] {
        expect_that!(holds_key(chain, node, client)?, "{node:?} holds no key during the session");
    }
    match end {
        End::Fin => stream.shutdown(Shutdown::Both).map_err(io("shut down"))?,
        // Zero linger: the close below sends RST.
        End::Rst => rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO))
            .map_err(|error| io("set linger")(error.into()))?,
        End::Idle => {}
        End::Operator => {
            expect_that!(server_holds(chain, client)?, "the server has no connection to lose");
            let closed = chain.close(Node::Gateway, client)?;
            expect_that!(closed == 1, "{closed} sessions closed instead of one");
            let told = stream.read(&mut [0]).err().map(|error| error.kind());
            let is_reset = told == Some(ErrorKind::ConnectionReset);
            expect_that!(is_reset, "the application is not reset: {told:?}");
            wait_until("the server is reset", SOON, || Ok(!server_holds(chain, client)?))?;
        }
    }
    // An idle connection stays open at both hosts.
    let open = (end == End::Idle).then_some(stream);
    for node in [Node::Gateway, Node::Agent] {
        let gone = || Ok(!holds_key(chain, node, client)?);
        wait_until(&format!("{node:?} wipes the key"), SOON, gone)?;
    }
    let replayed = replay_is_dropped(chain, client, server)?;
    drop(open);
    Ok(format!(
        "after {} both boxes have dropped the session and its key, {replayed} replayed segments were dropped as no_session",
        match end {
            End::Fin => "FIN",
            End::Rst => "RST",
            End::Idle => "idling",
            End::Operator => "the operator's word",
        }
    ))
}

fn holds_key(chain: &Chain, node: Node, client: SocketAddr) -> LabResult<bool> {
    let client = client.to_string();
    Ok(chain.sessions(node)?.iter().any(|session| session["client"] == client.as_str()))
}

/// Whether the first server has a connection with this client.
fn server_holds(chain: &Chain, client: SocketAddr) -> LabResult<bool> {
    let mut list = chain.host(Host::Server1).command("ss");
    let sockets = run(list.args(["-Htn", "state", "established"]), SOON)?;
    // A socket of both families shows an IPv4 address in its own way.
    let port = format!(":{}", client.port());
    Ok(sockets.lines().any(|line| line.trim_end().ends_with(&port)))
}

/// Sends the tagged segments of an ended session again; how many the gateway dropped.
fn replay_is_dropped(chain: &Chain, client: SocketAddr, server: SocketAddr) -> LabResult<usize> {
    let frames = chain.watch.recent_at_gateway()?;
    let old: Vec<CapturedFrame> = parse(&frames)
        .iter()
        .filter(|frame| frame.ends() == Some((client, server)))
        .filter(|frame| matches!(frame.option(), Some(SekishoOption::Tag(_))))
        .map(|frame| frame.frame.clone())
        .collect();
    expect_that!(!old.is_empty(), "no tagged segment of the session was captured");
    let payloads = |chain: &Chain| -> LabResult<usize> {
        let frames = chain.watch.recent_plain()?;
        let seen = parse(&frames);
        let of_session = seen.iter().filter(|frame| frame.ends() == Some((client, server)));
        Ok(of_session.filter(|frame| !frame.payload().is_empty()).count())
    };
    let passed = payloads(chain)?;
    let before = chain.drops(Node::Gateway, "no_session")?;
    let injector = Injector::open(&chain.topology.router, TO_GATEWAY)?;
    for frame in &old {
        injector.send(&frame.bytes)?;
    }
    wait_until("replayed segments are dropped and counted", SOON, || {
        Ok(chain.drops(Node::Gateway, "no_session")? >= before + old.len() as u64)
    })?;
    expect_that!(payloads(chain)? == passed, "a replayed segment reached the plain side");
    Ok(old.len())
}

/// Claim 3: data that comes before synchronisation is dropped, the connection succeeds all the same.
pub fn nothing_before_synchronisation(chain: &Chain, family: Family) -> LabResult<String> {
    let injector = Injector::open(&chain.topology.router, TO_GATEWAY)?;
    let before = chain.drops(Node::Gateway, "unsynchronised")?;
    // A KDC that stands still keeps the session from its key while TCP and key delivery wait.
    chain.signal_kdc(0, Signal::STOP)?;
    let client = chain.host(Host::Client1);
    std::thread::scope(|scope| {
        let program = scope.spawn(|| {
            let mut stream = dial(client, Host::Server1.address(family), ECHO)?;
            exchange(&mut stream, canary_text(3000).as_bytes())
        });
        let forged = forge_early_data(chain, &injector, before);
        let resumed = chain.signal_kdc(0, Signal::CONT);
        let exchanged = program.join().unwrap_or(Ok(()));
        forged.and(resumed).and(exchanged)
    })?;
    let shown = chain.watch.recent_plain()?;
    let early = shown.iter().filter(|frame| contains(&frame.bytes, EARLY)).count();
    expect_that!(early == 0, "{early} early segments reached the plain side");
    let dropped = chain.drops(Node::Gateway, "unsynchronised")? - before;
    Ok(format!(
        "while the KDC was held still: {dropped} early segment dropped as unsynchronised; the connection then exchanged 3000 bytes"
    ))
}

fn contains(hay: &[u8], needle: &[u8]) -> bool {
    hay.windows(needle.len()).any(|window| window == needle)
}

/// Waits for a client's SYN whose session has no key yet, sends data of that connection, waits until it
/// was dropped.
fn forge_early_data(chain: &Chain, injector: &Injector, before: u64) -> LabResult {
    let mut found = None;
    wait_until("a session waits for its key", SOON, || {
        let waiting = chain.sessions(Node::Gateway)?;
        let clients: Vec<&str> = waiting
            .iter()
            .filter(|session| {
                !["synced", "draining"].contains(&session["state"].as_str().unwrap_or(""))
            })
            .filter_map(|session| session["client"].as_str())
            .collect();
        let frames = chain.watch.recent_at_gateway()?;
        found = parse(&frames).iter().rev().find_map(|frame| {
            let (src, dst) = frame.ends()?;
            let request = matches!(frame.option(), Some(SekishoOption::Request(_)));
            let bytes = &frame.frame.bytes;
            let mac = |at: usize| <[u8; 6]>::try_from(&bytes[at..at + 6]).unwrap_or_default();
            let flow = Flow { macs: (mac(6), mac(0)), src, dst };
            let waits = request && clients.contains(&src.to_string().as_str());
            waits.then_some((flow, frame.view.tcp()?.seq.get()))
        });
        Ok(found.is_some())
    })?;
    let Some((flow, isn)) = found else { return Ok(()) };
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
