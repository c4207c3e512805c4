//! The claims of the cipher communication system on the real chain: a fresh key for each session on the
//! request alone, the key gone with the session, nothing before synchronisation.

use sekisho_tests::lab::LabResult;
use sekisho_tests::lab::chain::on_chain;
use sekisho_tests::lab::claims::{
    End, each_session_has_a_fresh_key, no_request_no_key, nothing_before_synchronisation,
    the_key_goes_with_its_session,
};
use sekisho_tests::lab::config::{ECHO, Setup};
use sekisho_tests::lab::peers::Server;
use sekisho_tests::lab::topology::{Family, Host};

#[test]
fn claim_1_each_session_has_a_fresh_key_and_the_request_alone_triggers_it() -> LabResult {
    // `prefer`, so that a connection without request passes and can be compared.
    let setup = Setup { policy: "prefer", ..Setup::default() };
    on_chain("claim-1", setup, |chain| {
        let _server = Server::echo(chain.host(Host::Server1), ECHO)?;
        for family in Family::BOTH {
            println!("{}", each_session_has_a_fresh_key(chain, family)?);
            println!("{}", no_request_no_key(chain, family)?);
        }
        Ok(())
    })
}

fn claim_2(name: &str, setup: Setup, end: End) -> LabResult {
    on_chain(name, setup, |chain| {
        let _server = Server::echo(chain.host(Host::Server1), ECHO)?;
        for family in Family::BOTH {
            println!("{}", the_key_goes_with_its_session(chain, family, end)?);
        }
        Ok(())
    })
}

#[test]
fn claim_2_the_key_is_gone_after_fin() -> LabResult {
    claim_2("claim-2-fin", Setup::default(), End::Fin)
}

#[test]
fn claim_2_the_key_is_gone_after_rst() -> LabResult {
    claim_2("claim-2-rst", Setup::default(), End::Rst)
}

#[test]
fn claim_2_the_key_is_gone_after_idling() -> LabResult {
    claim_2("claim-2-idle", Setup { idle_s: 2, ..Setup::default() }, End::Idle)
}

#[test]
fn claim_2_the_key_is_gone_at_the_operators_word() -> LabResult {
    claim_2("claim-2-operator", Setup::default(), End::Operator)
}

#[test]
fn claim_3_segments_before_synchronisation_are_dropped() -> LabResult {
    on_chain("claim-3", Setup::default(), |chain| {
        let _server = Server::echo(chain.host(Host::Server1), ECHO)?;
        for family in Family::BOTH {
            println!("{}", nothing_before_synchronisation(chain, family)?);
        }
        Ok(())
    })
}
