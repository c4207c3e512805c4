//! Every combination of attach mode, hold, KDC transport, key kind and queues, with bulk both ways in both
//! families. Long: `cargo xtask test --full` runs all of it, otherwise one combination stands for the rest.

use sekisho_tests::lab::LabResult;
use sekisho_tests::lab::chain::on_chain;
use sekisho_tests::lab::config::{ECHO, Setup};
use sekisho_tests::lab::peers::{Server, dial, exchange};
use sekisho_tests::lab::programs::canary_text;
use sekisho_tests::lab::topology::{Family, Host, Plan};

fn combinations() -> Vec<Setup> {
    let mut setups = Vec::new();
    for mode in ["skb", "native"] {
        for hold in ["confirmed", "vouched"] {
            for (transport, derived_keys) in [("tcp", true), ("udp", false), ("udp", true)] {
                for queues in [2, 1] {
                    let plan = Plan { queues, ..Plan::default() };
                    setups.push(Setup {
                        plan,
                        mode,
                        hold,
                        transport,
                        derived_keys,
                        ..Setup::default()
                    });
                }
            }
        }
    }
    setups
}

#[test]
fn every_combination_carries_bulk_both_ways() -> LabResult {
    let all = combinations();
    let wanted = if std::env::var_os("SEKISHO_LAB_FULL").is_some() { all.len() } else { 1 };
    for setup in all.into_iter().take(wanted) {
        println!(
            "{} {} {} derived={} queues={}",
            setup.mode, setup.hold, setup.transport, setup.derived_keys, setup.plan.queues
        );
        on_chain("matrix", setup, |chain| {
            let _server = Server::echo(chain.host(Host::Server1), ECHO)?;
            let text = canary_text(4 << 20);
            for family in Family::BOTH {
                let address = Host::Server1.address(family);
                let mut stream = dial(chain.host(Host::Client1), address, ECHO)?;
                exchange(&mut stream, text.as_bytes())?;
            }
            Ok(())
        })?;
    }
    Ok(())
}
