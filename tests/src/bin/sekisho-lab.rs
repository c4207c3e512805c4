//! The lab as a program: the demo, and a lab to look around in.

use std::process::ExitCode;

use sekisho_tests::demo;

const USAGE: &str = "usage: sekisho-lab demo [--keep] [--json] | up | down";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["demo", flags @ ..] if flags.iter().all(|flag| ["--keep", "--json"].contains(flag)) => {
            let options =
                demo::Options { keep: flags.contains(&"--keep"), json: flags.contains(&"--json") };
            demo::run(options)
        }
        ["up"] => demo::up().map(|()| true),
        ["down"] => demo::down().map(|()| true),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("sekisho-lab: {error}");
            ExitCode::FAILURE
        }
    }
}
