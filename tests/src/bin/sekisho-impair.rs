//! The impairment box as a program: forwards frames between two interfaces and does to them what its
//! command line and its standard input say. Ends with standard input and prints what it did as JSON.

use std::process::ExitCode;

use sekisho_tests::impair::engine::Engine;
use sekisho_tests::impair::relay;
use sekisho_tests::impair::spec::{Plan, SpecError};

const USAGE: &str = "usage: sekisho-impair [--seed N] [--up SPEC] [--down SPEC] [--both SPEC] \
[--client-isn N|random] [--server-isn N|random] [--nat] CLIENT_INTERFACE SERVER_INTERFACE
SPEC: loss, reorder, duplicate, corrupt, forge, mark, split, strip in percent, kinds=5+253, delay, jitter in ms, \
mtu; joined by commas: loss=0.1,reorder=10
Lines on standard input: up SPEC, down SPEC or both SPEC replace what was said before.";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (plan, client, server) = match parse(&args) {
        Ok(parsed) => parsed,
        Err(error) => {
            eprintln!("sekisho-impair: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match relay::run(Engine::new(plan), &client, &server) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sekisho-impair: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(args: &[String]) -> Result<(Plan, String, String), SpecError> {
    let mut plan = Plan::default();
    let mut interfaces = Vec::new();
    let mut words = args.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| SpecError(format!("{word} wants a value")));
        match word.as_str() {
            "--seed" => {
                let text = value()?;
                plan.seed = text.parse().map_err(|_| SpecError(format!("{text}: no seed")))?;
            }
            "--up" | "--down" | "--both" => {
                let spec = value()?;
                plan.control(&format!("{} {spec}", word.trim_start_matches('-')))?;
            }
            "--client-isn" => plan.client_isn = Some(value()?.parse()?),
            "--server-isn" => plan.server_isn = Some(value()?.parse()?),
            "--nat" => plan.nat = true,
            _ if word.starts_with('-') => {
                return Err(SpecError(format!("{word}: no such option")));
            }
            _ => interfaces.push(word.clone()),
        }
    }
    match <[String; 2]>::try_from(interfaces) {
        Ok([client, server]) => Ok((plan, client, server)),
        Err(_) => Err(SpecError("two interfaces are wanted".to_owned())),
    }
}
