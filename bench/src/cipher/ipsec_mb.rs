//! Intel's ipsec-mb beside the other peers, where it is installed.
//!
//! Owns: building and running bench/peers/ipsec_mb.c, and the reading of what it prints. A program of its
//! own, because calling a library in C takes unsafe code; so it takes no turns with us, and its rows bear
//! no ratio.

use std::io;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::UNIT;
use super::shape::{BATCH, Form, Pass, SIZES, SMALL, START};
use crate::report::Row;
use crate::timing::{Plan, pinned};
use crate::{BenchError, BenchResult};

const SOURCE: &str = include_str!("../../peers/ipsec_mb.c");
/// Where a compiler's words about it point to.
const SOURCE_NAME: &str = "ipsec_mb.c";
const HEADER: &str = "intel-ipsec-mb.h";
const LIBRARY: &str = "-lIPSec_MB";

/// The ways in which the program takes segments: its word for it, who that is in a row's name, and the form.
const WAYS: [(&str, &str, Form); 3] = [
    ("single", "ipsec-mb", Form::Single),
    ("batch", "ipsec-mb", Form::Batch),
    ("calls", "ipsec-mb-calls", Form::Batch),
];

/// Rows `cipher/ipsec-mb/seal/1448/batch` and so on; none, and a line that says so, where the library is
/// not installed.
pub(super) fn rows() -> BenchResult<Vec<Row>> {
    if !is_installed() {
        eprintln!("  cipher/ipsec-mb is left out: `apt install libipsec-mb-dev` brings it");
        return Ok(Vec::new());
    }
    eprintln!("  cipher/ipsec-mb");
    let directory = tempfile::tempdir().map_err(failed("make a directory for ipsec_mb"))?;
    let program = directory.path().join("ipsec_mb");
    build(directory.path(), &program)?;
    // What a pinned thread starts is pinned as well.
    let output =
        pinned(|| Command::new(&program).args(SIZES.map(|size| size.to_string())).output());
    read(&printed("run ipsec_mb", output)?)
}

/// Whether there is a compiler that finds the library's header.
fn is_installed() -> bool {
    let mut look = Command::new("cc");
    look.args(["-fsyntax-only", "-include", HEADER, "-x", "c", "/dev/null"]);
    look.stdout(Stdio::null()).stderr(Stdio::null());
    look.status().is_ok_and(|status| status.success())
}

fn build(directory: &Path, program: &Path) -> BenchResult<()> {
    std::fs::write(directory.join(SOURCE_NAME), SOURCE).map_err(failed("write ipsec_mb.c"))?;
    let Plan { round, rounds } = Plan::MANY;
    let output = Command::new("cc")
        .current_dir(directory)
        .arg("-O2")
        .arg(format!("-DBATCH={BATCH}"))
        .arg(format!("-DSTART={START}"))
        .arg(format!("-DSMALL={SMALL}"))
        .arg(format!("-DROUNDS={rounds}"))
        .arg(format!("-DROUND_NS={}", round.as_nanos()))
        .args([SOURCE_NAME, LIBRARY, "-o"])
        .arg(program)
        .output();
    printed("compile ipsec_mb.c", output).map(drop)
}

/// Standard output of a process that succeeded, or what it said on standard error.
fn printed(what: &str, output: io::Result<Output>) -> BenchResult<String> {
    let Output { status, stdout, stderr } = output.map_err(failed(what))?;
    if !status.success() {
        let words = String::from_utf8_lossy(&stderr);
        return Err(BenchError::Invalid(format!("{what}: {status}\n{}", words.trim_end())));
    }
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}

fn failed(what: &str) -> impl FnOnce(io::Error) -> BenchError {
    let what = what.to_owned();
    |source| BenchError::Io { what, source }
}

/// Rows of what the program printed: a line for each way, pass and size, in its order, and nothing else.
fn read(text: &str) -> BenchResult<Vec<Row>> {
    let mut lines = text.lines();
    let mut rows = Vec::new();
    for pass in Pass::BOTH {
        for (way, who, form) in WAYS {
            for size in SIZES {
                let wanted = format!("{} {size} {way} ", pass.name());
                let line = lines.next().unwrap_or_default();
                let value =
                    line.strip_prefix(&wanted).and_then(time).ok_or_else(|| strange(line))?;
                let name = format!("cipher/{who}/{}/{size}{}", pass.name(), form.suffix());
                rows.push(Row::alone(name, value, UNIT));
            }
        }
    }
    lines.next().map_or(Ok(rows), |line| Err(strange(line)))
}

/// A time that can be one.
fn time(text: &str) -> Option<f64> {
    text.parse().ok().filter(|value: &f64| value.is_finite() && *value > 0.0)
}

fn strange(line: &str) -> BenchError {
    BenchError::Invalid(format!("ipsec_mb printed what is no row of it: {line:?}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::super::tables::Place;
    use super::*;

    /// What the program prints where every segment takes as many nanoseconds as it has octets.
    fn lines() -> Vec<String> {
        let mut lines = Vec::new();
        for pass in ["seal", "open"] {
            for way in ["single", "batch", "calls"] {
                lines.extend(SIZES.map(|size| format!("{pass} {size} {way} {size}.125")));
            }
        }
        lines
    }

    #[test]
    fn lines_become_rows_that_the_tables_show() {
        let rows = read(&lines().join("\n")).unwrap();
        assert_eq!(rows.len(), lines().len());
        assert_eq!((rows[0].name.as_str(), rows[0].value), ("cipher/ipsec-mb/seal/64", 64.125));
        for (name, who) in [
            ("cipher/ipsec-mb/open/1448", "ipsec-mb"),
            ("cipher/ipsec-mb/open/1448/batch", "ipsec-mb"),
            ("cipher/ipsec-mb-calls/open/1448/batch", "ipsec-mb-calls"),
        ] {
            let row = rows.iter().find(|row| row.name == name).unwrap();
            assert_eq!((row.value, row.ratio), (1448.125, None));
            assert_eq!(Place::of(name).unwrap().who, who);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let with = |at: usize, line: &str| {
            let mut lines = lines();
            line.clone_into(&mut lines[at]);
            read(&lines.join("\n"))
        };
        assert!(with(0, "seal 64 single 1.5").is_ok());
        for line in [
            "",
            "seal 64 single",
            "seal 64 single ",
            "seal 64 single x",
            "seal 64 single 0",
            "seal 64 single -1",
            "seal 64 single nan",
            "seal 64 single inf",
            "seal 64 single 1.5 2",
            "seal 65 single 1.5",
            "seal 64 batch 1.5",
            "open 64 single 1.5",
        ] {
            assert!(with(0, line).is_err(), "{line:?}");
        }
        assert!(read(&lines()[1..].join("\n")).is_err(), "the first is missing");
        assert!(read(&lines()[..59].join("\n")).is_err(), "the last is missing");
        assert!(read(&[lines(), lines()].concat().join("\n")).is_err(), "twice");
    }

    #[test]
    fn a_failure_is_told_in_the_words_of_what_failed() {
        let output = Output {
            status: ExitStatus::from_raw(0x100),
            stdout: Vec::new(),
            stderr: b"ipsec_mb.c:1: no\n".to_vec(),
        };
        let error = printed("compile ipsec_mb.c", Ok(output)).unwrap_err().to_string();
        assert!(error.ends_with("compile ipsec_mb.c: exit status: 1\nipsec_mb.c:1: no"), "{error}");
    }
}
