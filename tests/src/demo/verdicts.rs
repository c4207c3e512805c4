//! The verdict on each claim and each required variant, from checks on running chains.

use super::report::{Claim, Output};
use super::unmet;
use crate::expect_that;
use crate::lab::LabResult;
use crate::lab::chain::{Chain, Node};
use crate::lab::claims::{
    End, each_session_has_a_fresh_key, nothing_before_synchronisation,
    the_key_goes_with_its_session,
};
use crate::lab::config::{ECHO, Setup};
use crate::lab::harness::{Side, totals};
use crate::lab::peers::{Server, connect, dial, exchange};
use crate::lab::programs::canary_text;
use crate::lab::topology::{Family, Host};

fn claim(id: &'static str, text: &'static str, outcome: LabResult<String>) -> Claim {
    match outcome {
        Ok(evidence) => Claim { id, text, holds: true, evidence },
        Err(error) => Claim { id, text, holds: false, evidence: unmet(&error) },
    }
}

/// Claims that the demo's own chain can show.
pub(super) fn judge(chain: &Chain, output: &Output, programs: &str) -> LabResult<Vec<Claim>> {
    let both = |check: &dyn Fn(Family) -> LabResult<String>| {
        check(Family::V4).and_then(|v4| Ok(format!("IPv4: {v4}. IPv6: {}", check(Family::V6)?)))
    };
    output.progress("claim 1: a fresh key for each session");
    let mut claims = vec![claim(
        "claim-1",
        "Client and gateway share a fresh key for each session, on the cipher request alone",
        both(&|family| each_session_has_a_fresh_key(chain, family)),
    )];
    output.progress("claim 2: the key goes with the session");
    let ends = [End::Fin, End::Rst].into_iter().try_fold(String::new(), |told, end| {
        let evidence = both(&|family| the_key_goes_with_its_session(chain, family, end))?;
        Ok(if told.is_empty() { evidence } else { format!("{told}. {evidence}") })
    });
    claims.push(claim("claim-2", "When the session ends the gateway invalidates its key", ends));
    output.progress("claim 3: nothing before synchronisation");
    claims.push(claim(
        "claim-3",
        "Packets of a session that is not synchronised are dropped",
        both(&|family| nothing_before_synchronisation(chain, family)),
    ));
    claims.push(claim(
        "unchanged-programs",
        "Applications and servers are unchanged",
        Ok(programs.trim().replace('\n', "; ")),
    ));
    claims.push(claim(
        "many-servers",
        "One gateway in front of many servers; the gateway on the client side of two clients",
        two_by_two(chain),
    ));
    claims.push(claim(
        "kdc-udp-registry",
        "Gateway and KDC over UDP, long-term keys from a registry",
        requests(chain),
    ));
    Ok(claims)
}

/// Two clients behind the agent, two servers behind the gateway, all pairs at once.
fn two_by_two(chain: &Chain) -> LabResult<String> {
    let mut open = Vec::new();
    for client in [Host::Client1, Host::Client2] {
        for server in [Host::Server1, Host::Server2] {
            open.push(dial(chain.host(client), server.address(Family::V4), ECHO)?);
        }
    }
    for stream in &mut open {
        exchange(stream, canary_text(20_000).as_bytes())?;
    }
    let synced = chain.count(Node::Gateway, "sessions", "synced")?;
    expect_that!(synced >= 4, "{synced} synchronised sessions");
    Ok("four sessions between two clients and two servers at once, 20 kB each way in each"
        .to_owned())
}

fn requests(chain: &Chain) -> LabResult<String> {
    let requests = chain.counted(Node::Gateway, "kdc_requests")?;
    let told: Vec<String> =
        requests.iter().map(|(label, count)| format!("{count} {label}")).collect();
    expect_that!(!told.is_empty(), "the gateway counts no KDC request");
    Ok(format!("requests by outcome: {}", told.join(", ")))
}

/// Claims that need a chain of another set-up; adds what its captures saw to the totals.
pub(super) fn other_labs(leaks: &mut u64, bytes: &mut u64) -> LabResult<Vec<Claim>> {
    let mut with = |setup: Setup, check: &dyn Fn(&Chain) -> LabResult<String>| {
        let mut chain = Chain::start(setup)?;
        let _echo = Server::echo(chain.host(Host::Server1), ECHO)?;
        let outcome = check(&chain);
        let seen = chain.watch.stop()?;
        let (_, searched, canaries, _) = totals(&seen, Side::Cipher);
        *leaks += canaries;
        *bytes += searched;
        outcome
    };
    let tcp = Setup { transport: "tcp", derived_keys: true, ..Setup::default() };
    let impostor = Setup { agent_wrong_key: true, ..Setup::default() };
    let gateway = Setup { gateway_wrong_key: true, ..Setup::default() };
    Ok(vec![
        claim(
            "kdc-tcp-derived",
            "Gateway and KDC over TCP, long-term keys derived from the identifier",
            with(tcp, &|chain| {
                let mut stream =
                    dial(chain.host(Host::Client1), Host::Server1.address(Family::V4), ECHO)?;
                exchange(&mut stream, canary_text(20_000).as_bytes())?;
                requests(chain)
            }),
        ),
        claim(
            "mutual-authentication",
            "A client or a gateway that does not hold its long-term key gets no session",
            with(impostor, &|chain| refused(chain, "a client with a wrong key")).and_then(
                |first| {
                    let second =
                        with(gateway, &|chain| refused(chain, "a gateway with a wrong key"))?;
                    Ok(format!("{first}; {second}"))
                },
            ),
        ),
    ])
}

fn refused(chain: &Chain, who: &str) -> LabResult<String> {
    let address = Host::Server1.address(Family::V4);
    let limit = std::time::Duration::from_secs(10);
    let outcome = connect(chain.host(Host::Client1), address, ECHO, limit)?;
    let Err(error) = outcome else {
        return Err(crate::lab::LabError::Expectation(format!("{who} was accepted")));
    };
    let outcomes = chain.counted(Node::Gateway, "key_deliveries")?;
    let codes: Vec<String> = outcomes.into_iter().map(|(label, _)| label).collect();
    Ok(format!("{who}: {} ({error})", codes.join(", ")))
}
