//! The hazard suite as a program: see `sekisho_tests::hazards`.

use std::process::ExitCode;

use sekisho_tests::hazards::{Options, run};

const USAGE: &str = "usage: sekisho-hazards [--json] [ROW]";

fn main() -> ExitCode {
    let mut options = Options::default();
    for arg in std::env::args().skip(1) {
        match (arg.as_str(), arg.parse()) {
            ("--json", _) => options.json = true,
            (_, Ok(row)) if options.row.is_none() && (1..=40).contains(&row) => {
                options.row = Some(row);
            }
            _ => {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    match run(options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("sekisho-hazards: {error}");
            ExitCode::FAILURE
        }
    }
}
