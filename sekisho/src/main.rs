//! The Sekisho program: everything is in the library, so that tests and benchmarks can use it.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    sekisho::cli::run(sekisho::cli::Cli::parse()).into()
}
