//! One command for each thing that a person or CI does with the project. Uses the standard library and
//! serde_json only: it must build on a fresh machine before any system package is installed.

mod bench;
mod ci;
mod citations;
mod demo;
mod dependencies;
mod fuzz;
mod hazards;
mod packages;
mod run;
mod sim;
mod test;
mod tidy;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  demo [--keep] [--json]   build the lab, run real programs through Sekisho, show what happened
  test [--full] [NAME]     all tests: unit, property, lab (needs root; asks sudo)
  ci                       format, tidy, dependency rules, clippy, then test
  bench NAME [--json] [--record]  benchmarks beside their peers in one run (all; --list)
  hazards [--json] [ROW]   the hazard suite on the real chain: every row of docs/hazards.md, or one
  fuzz [TARGET] [--seconds N]     the fuzz targets, each for a minute if nothing is said
  sim [--seeds N | --seed S] [--json]  deterministic simulation: many seeds, or one (docs/simulation.md)
  lab up | down            build a lab with running gateway, agent and KDC to look around; take it down
  setup                    install the Debian packages that are missing (all others do it first)
  tidy                     only the checks of style, citations and dependency rules";

/// Error of any command: the text that is shown.
pub(crate) type Failure = String;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match words.split_first() {
        Some((&"demo", rest)) => demo::demo(rest),
        Some((&"test", rest)) => test::test(rest),
        Some((&"ci", [])) => ci::ci(),
        Some((&"bench", rest)) => bench::bench(rest),
        Some((&"hazards", rest)) => hazards::hazards(rest),
        Some((&"fuzz", rest)) => fuzz::fuzz(rest),
        Some((&"sim", rest)) => sim::sim(rest),
        Some((&"lab", [action @ ("up" | "down")])) => demo::lab(action),
        Some((&"setup", [])) => packages::install_missing(),
        Some((&"tidy", [])) => {
            tidy::check().and_then(|()| citations::check()).and_then(|()| dependencies::check())
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}
