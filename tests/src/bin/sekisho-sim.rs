//! The simulation as a program: many seeds, or one.

use std::process::ExitCode;

use sekisho_tests::sim::report::Runner;

const USAGE: &str = "\
usage: sekisho-sim [--seeds N [--from S] | --seed S] [--json]
  --seeds N  run N seeds (200) from S (0) on
  --seed S   run one seed and show what happened last";

struct Options {
    seeds: u64,
    from: u64,
    seed: Option<u64>,
    json: bool,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some(options) = parse(&args) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let held = match options.seed {
        Some(seed) => one(seed, options.json),
        None => many(&options),
    };
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn parse(args: &[String]) -> Option<Options> {
    let mut options = Options { seeds: 200, from: 0, seed: None, json: false };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--json" => options.json = true,
            "--seeds" => options.seeds = args.next()?.parse().ok()?,
            "--from" => options.from = args.next()?.parse().ok()?,
            "--seed" => options.seed = Some(args.next()?.parse().ok()?),
            _ => return None,
        }
    }
    Some(options)
}

fn one(seed: u64, json: bool) -> bool {
    let mut runner = Runner::default();
    let outcome = runner.seed(seed);
    let held = outcome.violation.is_none();
    if json {
        println!("{}", outcome.to_json());
    } else {
        let [events, octets, sealed, bad_tags] = outcome.tallies;
        println!("{}", outcome.lines.join("\n"));
        println!(
            "seed {seed}: {}; {events} events, {octets} octets delivered, {sealed} segments \
             sealed, {bad_tags} bad tags; trace {}",
            outcome.features.join(" "),
            outcome.trace_hash
        );
    }
    if !held {
        eprintln!("{}", runner.explain(&outcome));
    }
    held
}

fn many(options: &Options) -> bool {
    let mut runner = Runner::default();
    let seeds = options.from..options.from.saturating_add(options.seeds);
    let summary = runner.seeds(seeds, |outcome| {
        if let Some(violation) = &outcome.violation {
            eprintln!("seed {}: {}: {}", outcome.seed, violation.invariant, violation.what);
        }
    });
    if let Some(first) = summary.failed.first() {
        eprintln!("{}", runner.explain(first));
    }
    if options.json {
        println!("{}", summary.to_json());
    } else {
        let [events, octets, sealed, bad_tags] = summary.tallies;
        println!(
            "{} seeds, {} failed, {:.1} a second; {events} events, {octets} octets delivered, \
             {sealed} segments sealed, {bad_tags} bad tags",
            summary.seeds,
            summary.failed.len(),
            summary.seeds_per_second
        );
    }
    summary.failed.is_empty()
}
