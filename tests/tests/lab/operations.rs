//! What an operator does with a running gateway: metrics, reload, check, doctor.

use std::time::Duration;

use rustix::process::Signal;
use sekisho_tests::expect_that;
use sekisho_tests::lab::chain::{Chain, Node, binary, on_chain};
use sekisho_tests::lab::config::{ECHO, Setup};
use sekisho_tests::lab::peers::{Server, dial, exchange};
use sekisho_tests::lab::process::{run_any, wait_until};
use sekisho_tests::lab::programs::canary_text;
use sekisho_tests::lab::topology::{Family, Host};
use sekisho_tests::lab::{LabError, LabResult};

const SOON: Duration = Duration::from_secs(10);

fn works(chain: &Chain) -> LabResult {
    let address = Host::Server1.address(Family::V4);
    let mut stream = dial(chain.host(Host::Client1), address, ECHO)?;
    exchange(&mut stream, canary_text(5000).as_bytes())
}

#[test]
fn promtool_is_silent_on_the_metrics() -> LabResult {
    on_chain("metrics", Setup::default(), |chain| {
        let _echo = Server::echo(chain.host(Host::Server1), ECHO)?;
        works(chain)?;
        for node in [Node::Gateway, Node::Agent] {
            let page = chain.metrics(node)?;
            let mut promtool = std::process::Command::new("promtool");
            let checked = run_any(promtool.args(["check", "metrics"]), &page, SOON)?;
            let said = format!("{}{}", checked.stdout, checked.stderr);
            expect_that!(checked.status.success() && said.is_empty(), "{node:?}: {said}");
            for part in ["packets", "bytes", "sessions", "drops", "build_info"] {
                expect_that!(page.contains(part), "{node:?}: no metric about {part}");
            }
        }
        Ok(())
    })
}

fn reloads(chain: &Chain, which: &str) -> LabResult<u64> {
    Ok(chain.status(Node::Gateway)?["reloads"][which].as_u64().unwrap_or(0))
}

#[test]
fn a_bad_file_changes_nothing_and_a_good_one_is_applied() -> LabResult {
    on_chain("reload", Setup::default(), |chain| {
        let _echo = Server::echo(chain.host(Host::Server1), ECHO)?;
        works(chain)?;
        let path = chain.config_file(Node::Gateway);
        let good = std::fs::read_to_string(&path).map_err(LabError::file("read", &path))?;
        let store =
            |text: &str| std::fs::write(&path, text).map_err(LabError::file("write", &path));

        store(&format!("{good}\n[nonsense]\nkey = 1\n"))?;
        chain.process(Node::Gateway)?.signal(Signal::HUP)?;
        wait_until("the bad file is refused", SOON, || Ok(reloads(chain, "refused")? == 1))?;
        works(chain)?;

        store(&good.replace("policy = \"require\"", "policy = \"prefer\""))?;
        chain.process(Node::Gateway)?.signal(Signal::HUP)?;
        wait_until("the good file applies", SOON, || Ok(reloads(chain, "applied")? == 1))?;
        let mut clear = dial(chain.host(Host::Stranger), Host::Server1.address(Family::V6), ECHO)?;
        exchange(&mut clear, &[b'.'; 1000])?;
        works(chain)
    })
}

#[test]
fn check_and_doctor_judge_a_healthy_gateway() -> LabResult {
    on_chain("doctor", Setup::default(), |chain| {
        let _echo = Server::echo(chain.host(Host::Server1), ECHO)?;
        works(chain)?;
        let config = chain.config_file(Node::Gateway);
        let mut check = chain.topology.gateway.command(binary()?);
        let finished = run_any(check.arg("check").arg(&config), "", SOON)?;
        expect_that!(finished.status.success(), "check: {}{}", finished.stdout, finished.stderr);
        let mut doctor = chain.topology.gateway.command(binary()?);
        let finished = run_any(doctor.args(["doctor", "--config"]).arg(&config), "", SOON)?;
        let said = format!("{}{}", finished.stdout, finished.stderr);
        println!("{said}");
        expect_that!(said.contains("PASS"), "doctor says nothing good:\n{said}");
        expect_that!(!said.contains("FAIL"), "doctor finds a fault:\n{said}");
        let status = chain.status(Node::Gateway)?;
        let kernel = status["cipher"].as_str().unwrap_or("none");
        let line = said.lines().find(|line| line.contains("cpu.cipher")).unwrap_or_default();
        expect_that!(line.contains(kernel), "status says {kernel}, doctor: {line}");
        Ok(())
    })
}
