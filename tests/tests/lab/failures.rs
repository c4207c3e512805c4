//! The gateway dies, is told to stop, loses a link, or finds no port: fail closed, end clean, recover, or
//! say clearly why not.

use std::time::Duration;

use sekisho_tests::expect_that;
use sekisho_tests::lab::chain::{Chain, Node, on_chain, on_silent_chain};
use sekisho_tests::lab::config::{ECHO, Setup, UNPROTECTED};
use sekisho_tests::lab::peers::{Server, connect, dial, exchange};
use sekisho_tests::lab::programs::canary_text;
use sekisho_tests::lab::topology::{CIPHER, Family, Host, PLAIN, TO_GATEWAY};
use sekisho_tests::lab::{LabError, LabResult};

const SOON: Duration = Duration::from_secs(10);

fn works(chain: &Chain) -> LabResult {
    for family in Family::BOTH {
        let address = Host::Server1.address(family);
        let mut stream = dial(chain.host(Host::Client1), address, ECHO)?;
        exchange(&mut stream, canary_text(5000).as_bytes())?;
    }
    Ok(())
}

fn other_traffic_flows(chain: &Chain) -> LabResult {
    for family in Family::BOTH {
        let address = Host::Server1.address(family);
        let mut stream = dial(chain.host(Host::Client1), address, UNPROTECTED)?;
        exchange(&mut stream, &[b'.'; 50_000])?;
    }
    Ok(())
}

/// Whether XDP programs hang on the gateway's ports.
fn attached(chain: &Chain) -> LabResult<[bool; 2]> {
    let at = |port: &str| -> LabResult<bool> {
        Ok(chain.topology.gateway.ip(&format!("-details link show dev {port}"))?.contains("xdp"))
    };
    Ok([at(CIPHER)?, at(PLAIN)?])
}

#[test]
fn a_crashed_gateway_fails_closed_and_a_restart_takes_over() -> LabResult {
    on_chain("crash", Setup::default(), |chain| {
        let _echo = Server::echo(chain.host(Host::Server1), ECHO)?;
        let _other = Server::echo(chain.host(Host::Server1), UNPROTECTED)?;
        works(chain)?;
        other_traffic_flows(chain)?;
        chain.process(Node::Gateway)?.crash()?;
        expect_that!(attached(chain)? == [true, true], "the pinned links are gone");
        for host in [Host::Client1, Host::Stranger] {
            let address = Host::Server1.address(Family::V4);
            let limit = Duration::from_secs(2);
            let outcome = connect(chain.host(host), address, ECHO, limit)?;
            expect_that!(outcome.is_err(), "{host:?} reached a service without the gateway");
        }
        other_traffic_flows(chain)?;
        chain.start_node(Node::Gateway)?;
        works(chain)?;
        other_traffic_flows(chain)
    })
}

#[test]
fn sigterm_detaches_cleanly() -> LabResult {
    on_chain("sigterm", Setup::default(), |chain| {
        let _echo = Server::echo(chain.host(Host::Server1), ECHO)?;
        works(chain)?;
        expect_that!(attached(chain)? == [true, true], "no XDP program while it runs");
        let code = chain.process(Node::Gateway)?.terminate(Duration::from_secs(20))?;
        expect_that!(code == 0, "exit code {code}");
        expect_that!(attached(chain)? == [false, false], "XDP programs are left behind");
        chain.start_node(Node::Gateway)?;
        works(chain)
    })
}

#[test]
fn a_link_flap_is_survived() -> LabResult {
    on_chain("flap", Setup::default(), |chain| {
        let _echo = Server::echo(chain.host(Host::Server1), ECHO)?;
        let address = Host::Server1.address(Family::V4);
        let mut living = dial(chain.host(Host::Client1), address, ECHO)?;
        exchange(&mut living, canary_text(5000).as_bytes())?;
        // The gateway's own port: the router would lose its routes with its interface.
        for state in ["down", "up"] {
            chain.topology.gateway.ip(&format!("link set {CIPHER} {state}"))?;
        }
        exchange(&mut living, canary_text(5000).as_bytes())?;
        works(chain)
    })
}

#[test]
fn a_missing_port_is_a_clear_error_at_once() -> LabResult {
    on_silent_chain("missing-port", Setup::default(), |chain| {
        let code = chain.process(Node::Gateway)?.terminate(Duration::from_secs(20))?;
        expect_that!(code == 0, "exit code {code}");
        let path = chain.config_file(Node::Gateway);
        let text = std::fs::read_to_string(&path).map_err(LabError::file("read", &path))?;
        let text = text.replace(&format!("\"{PLAIN}\""), "\"absent0\"");
        std::fs::write(&path, text).map_err(LabError::file("write", &path))?;
        chain.spawn_node(Node::Gateway)?;
        let process = chain.process(Node::Gateway)?;
        let code = process.wait_exit(SOON)?;
        let log = process.log();
        expect_that!(code == 1, "exit code {code}");
        expect_that!(log.contains("absent0"), "the error does not name the port:\n{log}");
        Ok(())
    })
}

#[test]
fn the_network_goes_and_comes_back() -> LabResult {
    on_chain("peer-flap", Setup::default(), |chain| {
        let _echo = Server::echo(chain.host(Host::Server1), ECHO)?;
        works(chain)?;
        let router = &chain.topology.router;
        router.ip(&format!("link set {TO_GATEWAY} down"))?;
        router.ip(&format!("link set {TO_GATEWAY} up"))?;
        let gateway = "fd00:2::1/64";
        // The kernel removes IPv6 addresses with the link.
        router.ip(&format!("addr replace {gateway} dev {TO_GATEWAY} nodad"))?;
        works(chain)
    })
}
