//! The independent peer (tests/interop, Python and scapy, written from docs/spec.md alone) against the real
//! programs: as a client agent against gateway and KDC, as a gateway against agent and KDC.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use sekisho_tests::expect_that;
use sekisho_tests::lab::chain::{Chain, Node};
use sekisho_tests::lab::config::{Setup, WEB};
use sekisho_tests::lab::guests::{
    Guests, PEER_PORT, PORTS, PeerAgent, PeerGateway, hex, invite, peer_service, unhex,
};
use sekisho_tests::lab::harness::{guarded, no_leak, privileged};
use sekisho_tests::lab::process::{run, wait_until};
use sekisho_tests::lab::programs::{Curl, Nginx, canary_text, sha256, url_host};
use sekisho_tests::lab::topology::{Family, Host};
use sekisho_tests::lab::{LabError, LabResult};

const SIZE: usize = 300_000;
const LIMIT_MS: u64 = 30_000;

/// A chain with the independent peer in it.
fn with_guests(test: &str, body: impl FnOnce(&mut Chain, &Guests) -> LabResult) -> LabResult {
    if !privileged(test)? {
        return Ok(());
    }
    let mut chain = Chain::prepare(Setup::default())?;
    guarded(
        &mut chain,
        |chain| {
            invite(chain)?;
            chain.start_processes()?;
            let guests = Guests::start(chain)?;
            body(chain, &guests)?;
            no_leak(&chain.watch.stop()?)
        },
        |chain, error| chain.diagnose(test, error),
    )
}

#[test]
fn the_vectors_replay_in_the_independent_peer() -> LabResult {
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-B", "-m", "unittest", "test_vectors"]);
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/interop"));
    run(&mut command, Duration::from_secs(60)).map(drop)
}

/// Fetches `/bulk` from the nginx behind the real gateway; the body.
fn fetch(chain: &Chain, guests: &Guests, family: Family, port: u16) -> LabResult<Vec<u8>> {
    let ends = (
        SocketAddr::new(Host::Stranger.address(family), port),
        SocketAddr::new(Host::Server1.address(family), WEB),
    );
    let agent = PeerAgent::connect(chain, &guests.stranger, ends, (json!({}), LIMIT_MS))?;
    expect_that!(agent.state["established"] == true, "not established: {}", agent.state);
    let request = format!("GET /bulk HTTP/1.0\r\nX-Canary: {}\r\n\r\n", canary_text(60).trim());
    agent.ask("transmit", json!({"data": hex(request.as_bytes())}))?;
    agent.ask("await_peer", json!({"ms": LIMIT_MS, "received": SIZE, "fin": true}))?;
    agent.ask("transmit", json!({"data": "", "fin": true}))?;
    let seen = agent.ask("await_peer", json!({"ms": 5000, "acknowledged": true}))?;
    let clean = seen["fin"] == true && seen["acknowledged"] == true && seen["delivered"] == true;
    expect_that!(clean, "no orderly end: {}", without_octets(&seen));
    expect_that!(seen["bad_tags"] == 0 && seen["untagged"] == 0, "{}", without_octets(&seen));
    println!("{}: {}", family.label(), without_octets(&seen));
    let received = unhex(&seen["received"]);
    let body = received.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
    match body {
        Some(at) => Ok(received[at..].to_vec()),
        None => Err(LabError::Expectation("no HTTP response".to_owned())),
    }
}

fn without_octets(seen: &Value) -> Value {
    let mut seen = seen.clone();
    for long in ["received", "opened"] {
        seen[long] = Value::Null;
    }
    seen
}

#[test]
fn an_independent_agent_talks_through_the_gateway() -> LabResult {
    with_guests("interop-agent", |chain, guests| {
        let nginx = Nginx::start(&chain.topology.site, chain.host(Host::Server1), "nginx", WEB)?;
        nginx.publish("bulk", SIZE)?;
        for (family, port) in Family::BOTH.into_iter().zip(PORTS) {
            let body = fetch(chain, guests, family, port)?;
            expect_that!(body == canary_text(SIZE).as_bytes(), "{}: body", family.label());
            wait_until("the session ends", Duration::from_secs(10), || {
                Ok(chain.keys_held(Node::Gateway)? == 0)
            })?;
        }
        let audit = chain.audit().join("\n");
        expect_that!(audit.contains("python-agent"), "the KDC never vouched:\n{audit}");
        Ok(())
    })
}

#[test]
fn an_independent_gateway_serves_the_agent_s_clients() -> LabResult {
    with_guests("interop-gateway", |chain, guests| {
        let body = canary_text(SIZE);
        let response = format!("HTTP/1.0 200 OK\r\nContent-Length: {SIZE}\r\n\r\n{body}");
        let got = chain.topology.site.file("got");
        let sent = chain.topology.site.write("sent", &body)?;
        for (family, transport) in [(Family::V4, "udp"), (Family::V6, "tcp")] {
            let content = (transport, response.as_bytes());
            let gateway = PeerGateway::listen(chain, &guests.stranger, family, content)?;
            let url = format!("http://{}:{PEER_PORT}/", url_host(peer_service(family)));
            let limit = Duration::from_secs(30);
            Curl::new(chain.host(Host::Client1), &url, limit).output(&got).fetch()?;
            expect_that!(sha256(&got)? == sha256(&sent)?, "{}: body", family.label());
            let session = &gateway.look()?["sessions"][0];
            let clean = session["bad_tags"] == 0 && session["untagged"] == 0;
            expect_that!(clean && session["synchronised"] == true, "{session}");
            let request = unhex(&session["received"]);
            expect_that!(request.starts_with(b"GET / HTTP/1.1\r\n"), "the request differs");
            println!("{} over {transport}: {} verified", family.label(), session["verified"]);
        }
        let audit = chain.audit().join("\n");
        expect_that!(audit.contains("python-gateway"), "the KDC was not asked:\n{audit}");
        Ok(())
    })
}
