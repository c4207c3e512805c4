//! The benchmark program that `cargo xtask bench` builds with its peers and runs: figures on standard
//! output, progress and prose on standard error.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use sekisho_bench::catalogue::{ALL, BENCHMARKS, Benchmark};
use sekisho_bench::machine::Machine;
use sekisho_bench::markdown::{Section, record};
use sekisho_bench::report::{Report, Row};

/// Benchmarks of Sekisho beside their peers.
#[derive(Parser)]
#[command(name = "sekisho-bench", version)]
struct Options {
    /// Benchmarks to run, or `all`.
    #[arg(required_unless_present = "list", value_parser = known)]
    names: Vec<String>,
    /// One JSON object on standard output.
    #[arg(long)]
    json: bool,
    /// Only list the benchmarks.
    #[arg(long)]
    list: bool,
    /// Write the figures into this Markdown file as well.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

fn known(name: &str) -> Result<String, String> {
    if name == ALL || Benchmark::find(name).is_some() {
        return Ok(name.to_owned());
    }
    let names: Vec<&str> = BENCHMARKS.iter().map(|benchmark| benchmark.name).collect();
    Err(format!("there are {}, and {ALL}", names.join(", ")))
}

fn main() -> ExitCode {
    let options = Options::parse();
    if options.list {
        for Benchmark { name, about, .. } in BENCHMARKS {
            println!("{name:<10} {about}");
        }
        return ExitCode::SUCCESS;
    }
    let machine = Machine::look();
    let (measured, mut complete) = measure(&options);
    if let Some(path) = &options.markdown {
        let sections: Vec<Section<'_>> = measured
            .iter()
            .map(|(benchmark, rows)| Section {
                name: benchmark.name,
                about: benchmark.about,
                shown: benchmark.show(rows),
            })
            .collect();
        if let Err(error) = record(path, &sections, &machine.after_run()) {
            eprintln!("bench: {error}");
            complete = false;
        }
    }
    let report = Report::new(measured.into_iter().flat_map(|(_, rows)| rows).collect());
    if options.json {
        match serde_json::to_string(&report) {
            Ok(text) => println!("{text}"),
            Err(error) => {
                eprintln!("bench: {error}");
                complete = false;
            }
        }
    } else {
        print!("{}", report.to_table());
    }
    if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs what was asked for; false beside the rows if some of it gave none.
fn measure(options: &Options) -> (Vec<(Benchmark, Vec<Row>)>, bool) {
    let all = options.names.iter().any(|name| name == ALL);
    let mut complete = true;
    let mut measured = Vec::new();
    for benchmark in BENCHMARKS {
        let named = options.names.iter().any(|name| name == benchmark.name);
        if !named && !all {
            continue;
        }
        if !named && !benchmark.is_possible() {
            eprintln!("SKIPPED {}: it needs root", benchmark.name);
            continue;
        }
        eprintln!("{}: {}", benchmark.name, benchmark.about);
        match benchmark.run() {
            Ok(rows) => measured.push((benchmark, rows)),
            Err(error) => {
                eprintln!("bench: {}: {error}", benchmark.name);
                complete = false;
            }
        }
    }
    (measured, complete)
}
