//! `fuzz`: the targets of tests/fuzz under libFuzzer, set up on the first call. New inputs are collected
//! in target/fuzz-corpus; the named ones in tests/fuzz/corpus are read and never written.

use std::path::PathBuf;
use std::process::Command;

use crate::Failure;
use crate::run::{cargo, find, root, succeed, target};

/// The version that the set-up installs.
const CARGO_FUZZ: &str = "0.13.2";
/// How long each target runs if nothing is said, in seconds.
const SECONDS: &str = "60";
/// Octets of an input at most: a frame, two configuration files.
const LONGEST: u32 = 4096;

const TARGETS: [&str; 7] =
    ["frame", "burst", "session", "kdc_request", "kdc_reply", "delivery", "config"];

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Asked<'a> {
    targets: Vec<&'a str>,
    seconds: &'a str,
    sanitizer: &'a str,
}

/// Runs one target or, without a name, all in turn; the first finding ends it.
pub(crate) fn fuzz(args: &[&str]) -> Result<(), Failure> {
    let asked = asked(args)?;
    crate::packages::install_missing()?;
    let program = cargo_fuzz()?;
    for name in asked.targets {
        let found = target().join("fuzz-corpus").join(name);
        std::fs::create_dir_all(&found).map_err(|error| format!("{}: {error}", found.display()))?;
        let mut command = Command::new(&program);
        command.args(["run", "--fuzz-dir"]).arg(root().join("tests/fuzz"));
        // Optimised, and with the assertions of a debug build: they balance the frames.
        command.args(["--sanitizer", asked.sanitizer, "-O", "-a", name]);
        command.arg(&found).arg(root().join("tests/fuzz/corpus").join(name)).arg("--");
        command.arg(format!("-max_total_time={}", asked.seconds));
        command.arg(format!("-max_len={LONGEST}")).arg("-timeout=20").arg("-print_final_stats=1");
        // The stable compiler has what a fuzzer needs, under flags that it keeps to itself.
        command.env("RUSTC_BOOTSTRAP", "1").env("CARGO_TARGET_DIR", target().join("fuzz"));
        command.current_dir(root());
        succeed(&mut command)?;
    }
    Ok(())
}

fn asked<'a>(args: &[&'a str]) -> Result<Asked<'a>, Failure> {
    let mut asked = Asked { targets: Vec::new(), seconds: SECONDS, sanitizer: "none" };
    let mut args = args.iter().copied();
    while let Some(arg) = args.next() {
        match arg {
            "--seconds" | "--sanitizer" => {
                let value = args.next().ok_or_else(|| format!("fuzz: {arg} wants a value"))?;
                let place =
                    if arg == "--seconds" { &mut asked.seconds } else { &mut asked.sanitizer };
                *place = value;
            }
            name if TARGETS.contains(&name) => asked.targets.push(name),
            other => {
                return Err(format!("fuzz: {other} is none of {}", TARGETS.join(", ")));
            }
        }
    }
    if asked.seconds.parse::<u32>().is_err() {
        return Err(format!("fuzz: {} is no number of seconds", asked.seconds));
    }
    if asked.targets.is_empty() {
        asked.targets = TARGETS.to_vec();
    }
    Ok(asked)
}

/// The fuzzer's front end: the one in PATH, else our own, installed now if it is not there.
fn cargo_fuzz() -> Result<PathBuf, Failure> {
    if let Some(program) = find("cargo-fuzz") {
        return Ok(program);
    }
    let tools = target().join("tools");
    let program = tools.join("bin/cargo-fuzz");
    if !program.is_file() {
        eprintln!("xtask: installing cargo-fuzz {CARGO_FUZZ} into {}", tools.display());
        let mut install = cargo();
        install.args(["install", "cargo-fuzz", "--locked", "--version", CARGO_FUZZ, "--root"]);
        succeed(install.arg(&tools))?;
    }
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_or_refused() {
        let all = asked(&[]).unwrap();
        assert_eq!((all.targets.len(), all.seconds), (TARGETS.len(), SECONDS));
        let one = asked(&["burst", "--seconds", "5", "--sanitizer", "address"]).unwrap();
        let expected = Asked { targets: vec!["burst"], seconds: "5", sanitizer: "address" };
        assert_eq!(one, expected);
        for wrong in [&["bursts"][..], &["--seconds"], &["--seconds", "x"], &["--second", "1"]] {
            assert!(asked(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn each_target_has_its_program_and_its_corpus() {
        let manifest = std::fs::read_to_string(root().join("tests/fuzz/Cargo.toml")).unwrap();
        for name in TARGETS {
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
            assert!(root().join(format!("tests/fuzz/fuzz_targets/{name}.rs")).is_file(), "{name}");
            assert!(root().join("tests/fuzz/corpus").join(name).is_dir(), "{name}");
        }
        assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len());
    }
}
