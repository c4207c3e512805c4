//! What becomes of connections without cipher request, by the policy of the service.

use std::time::{Duration, Instant};

use sekisho_tests::expect_that;
use sekisho_tests::lab::chain::{Chain, Node, on_chain, on_silent_chain};
use sekisho_tests::lab::config::{ECHO, Setup, UNPROTECTED};
use sekisho_tests::lab::peers::{Server, connect, dial, exchange};
use sekisho_tests::lab::programs::canary_text;
use sekisho_tests::lab::topology::{Family, Host};
use sekisho_tests::lab::{LabError, LabResult};

#[test]
fn require_refuses_a_connection_without_request() -> LabResult {
    on_silent_chain("require", Setup::default(), |chain| {
        let _server = Server::echo(chain.host(Host::Server1), ECHO)?;
        for family in Family::BOTH {
            let before = chain.drops(Node::Gateway, "no_request")?;
            let started = Instant::now();
            let address = Host::Server1.address(family);
            let limit = Duration::from_secs(3);
            if connect(chain.host(Host::Stranger), address, ECHO, limit)?.is_ok() {
                return Err(LabError::Expectation("connected without a request".to_owned()));
            }
            println!("{}: refused after {:?}", family.label(), started.elapsed());
            expect_that!(chain.drops(Node::Gateway, "no_request")? > before, "not counted");
        }
        Ok(())
    })
}

#[test]
fn prefer_lets_a_connection_without_request_pass_in_clear_and_counts_it() -> LabResult {
    let setup = Setup { policy: "prefer", ..Setup::default() };
    on_chain("prefer", setup, |chain| {
        let _server = Server::echo(chain.host(Host::Server1), ECHO)?;
        for family in Family::BOTH {
            let address = Host::Server1.address(family);
            let clear = |chain: &Chain| -> LabResult<u64> {
                let events = chain.counted(Node::Gateway, "events")?;
                Ok(events.iter().filter(|row| row.0.contains("clear")).map(|row| row.1).sum())
            };
            let before = clear(chain)?;
            let mut stranger = dial(chain.host(Host::Stranger), address, ECHO)?;
            // In clear by policy: so no canary in it.
            exchange(&mut stranger, &[b'.'; 10_000])?;
            expect_that!(clear(chain)? > before, "a session in clear is not counted");
            // Whoever asks is ciphered all the same.
            let mut client = dial(chain.host(Host::Client1), address, ECHO)?;
            exchange(&mut client, canary_text(10_000).as_bytes())?;
        }
        Ok(())
    })
}

#[test]
fn a_port_that_is_no_service_passes_untouched() -> LabResult {
    on_silent_chain("unprotected", Setup::default(), |chain| {
        let _server = Server::echo(chain.host(Host::Server1), UNPROTECTED)?;
        for host in [Host::Client1, Host::Stranger] {
            for family in Family::BOTH {
                let address = Host::Server1.address(family);
                let mut stream = dial(chain.host(host), address, UNPROTECTED)?;
                exchange(&mut stream, &[b'.'; 200_000])?;
            }
        }
        Ok(())
    })
}
