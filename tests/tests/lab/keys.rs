//! Where keys come from and what happens when there are none: both transports, both kinds of long-term
//! keys, devices that get nothing, KDCs that are away. Each failure has its code, none hangs, none talks
//! in clear (the captures see to that).

use std::time::{Duration, Instant};

use sekisho_tests::expect_that;
use sekisho_tests::lab::chain::{Chain, Node, on_chain, on_silent_chain};
use sekisho_tests::lab::config::{AGENT_ID, ECHO, Setup, UNKNOWN_ID};
use sekisho_tests::lab::peers::{Server, connect, dial, exchange};
use sekisho_tests::lab::process::wait_until;
use sekisho_tests::lab::programs::canary_text;
use sekisho_tests::lab::seen::parse;
use sekisho_tests::lab::topology::{Family, Host};
use sekisho_tests::lab::{LabError, LabResult};

/// Above the hold deadline of the lab (4 s) by what a busy machine may need.
const NO_HANG: Duration = Duration::from_secs(8);

/// One exchange over each family.
fn works(chain: &Chain) -> LabResult {
    for family in Family::BOTH {
        let address = Host::Server1.address(family);
        let mut stream = dial(chain.host(Host::Client1), address, ECHO)?;
        exchange(&mut stream, canary_text(5000).as_bytes())?;
    }
    Ok(())
}

/// A connection that must fail within [`NO_HANG`], with `code` counted at the gateway.
fn fails(chain: &Chain, code: &str) -> LabResult {
    let before = chain.count(Node::Gateway, "key_deliveries", code)?;
    let started = Instant::now();
    let address = Host::Server1.address(Family::V4);
    let outcome = connect(chain.host(Host::Client1), address, ECHO, NO_HANG * 2)?;
    let took = started.elapsed();
    let error = match outcome {
        Ok(_) => return Err(LabError::Expectation(format!("{code}: it connected"))),
        Err(error) => error,
    };
    expect_that!(took < NO_HANG, "{code}: {error} only after {took:?}");
    println!("{code}: {error} after {took:?}");
    wait_until(&format!("the gateway counts {code}"), NO_HANG, || {
        Ok(chain.count(Node::Gateway, "key_deliveries", code)? > before)
    })
}

fn no_syn_reached_the_server(chain: &Chain) -> LabResult {
    let frames = chain.watch.recent_plain()?;
    let seen = parse(&frames);
    let syns = seen.iter().filter(|f| f.view.tcp().is_some_and(|tcp| tcp.flags.syn())).count();
    expect_that!(syns == 0, "{syns} SYNs reached the server of a client nobody vouched for");
    Ok(())
}

#[test]
fn keys_come_over_udp_from_a_registry() -> LabResult {
    on_chain("kdc-udp", Setup::default(), |chain| {
        let _server = Server::echo(chain.host(Host::Server1), ECHO)?;
        works(chain)
    })
}

#[test]
fn keys_come_over_tcp_from_derived_keys() -> LabResult {
    let setup = Setup { transport: "tcp", derived_keys: true, ..Setup::default() };
    on_chain("kdc-tcp-derived", setup, |chain| {
        let _server = Server::echo(chain.host(Host::Server1), ECHO)?;
        works(chain)
    })
}

#[test]
fn keys_come_over_udp_from_derived_keys() -> LabResult {
    let setup = Setup { derived_keys: true, ..Setup::default() };
    on_chain("kdc-udp-derived", setup, |chain| {
        let _server = Server::echo(chain.host(Host::Server1), ECHO)?;
        works(chain)
    })
}

#[test]
fn keys_come_over_tcp_from_a_registry() -> LabResult {
    let setup = Setup { transport: "tcp", ..Setup::default() };
    on_chain("kdc-tcp", setup, |chain| {
        let _server = Server::echo(chain.host(Host::Server1), ECHO)?;
        works(chain)
    })
}

#[test]
fn an_unknown_device_gets_no_key() -> LabResult {
    let setup = Setup { agent_id: UNKNOWN_ID, ..Setup::default() };
    on_silent_chain("unknown-device", setup, |chain| {
        let _server = Server::echo(chain.host(Host::Server1), ECHO)?;
        fails(chain, "unknown_device")?;
        no_syn_reached_the_server(chain)
    })
}

#[test]
fn a_revoked_device_gets_no_key() -> LabResult {
    on_chain("revoked-device", Setup::default(), |chain| {
        let _server = Server::echo(chain.host(Host::Server1), ECHO)?;
        works(chain)?;
        chain.kdc_command(&["device", "revoke", AGENT_ID])?;
        let address = Host::Server1.address(Family::V4);
        wait_until("the revocation takes effect", NO_HANG, || {
            Ok(connect(chain.host(Host::Client1), address, ECHO, NO_HANG)?.is_err())
        })?;
        fails(chain, "revoked_device")
    })
}

#[test]
fn a_device_with_a_wrong_key_gets_no_key() -> LabResult {
    let setup = Setup { agent_wrong_key: true, ..Setup::default() };
    on_silent_chain("wrong-key", setup, |chain| {
        let _server = Server::echo(chain.host(Host::Server1), ECHO)?;
        fails(chain, "wrong_key")?;
        no_syn_reached_the_server(chain)
    })
}

#[test]
fn without_a_kdc_nothing_connects_and_with_it_back_all_is_well() -> LabResult {
    on_chain("kdc-down", Setup::default(), |chain| {
        let _server = Server::echo(chain.host(Host::Server1), ECHO)?;
        let address = Host::Server1.address(Family::V4);
        let mut living = dial(chain.host(Host::Client1), address, ECHO)?;
        exchange(&mut living, canary_text(3000).as_bytes())?;
        chain.stop_kdc(0)?;
        fails(chain, "kdc_unavailable")?;
        // A session that has its key does not need the KDC.
        exchange(&mut living, canary_text(3000).as_bytes())?;
        chain.start_kdc(0)?;
        works(chain)
    })
}

fn second_kdc_takes_over(name: &str, transport: &'static str) -> LabResult {
    let setup = Setup { kdcs: 2, transport, ..Setup::default() };
    on_chain(name, setup, |chain| {
        let _server = Server::echo(chain.host(Host::Server1), ECHO)?;
        works(chain)?;
        chain.stop_kdc(0)?;
        let started = Instant::now();
        works(chain)?;
        println!("{transport}: two connections by the second KDC in {:?}", started.elapsed());
        chain.start_kdc(0)?;
        works(chain)?;
        chain.stop_kdc(1)?;
        works(chain)
    })
}

#[test]
fn a_second_kdc_takes_over_and_back_by_udp() -> LabResult {
    second_kdc_takes_over("kdc-failover-udp", "udp")
}

#[test]
fn a_second_kdc_takes_over_and_back_by_tcp() -> LabResult {
    second_kdc_takes_over("kdc-failover-tcp", "tcp")
}
