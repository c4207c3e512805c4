//! `test`: builds everything once, runs every test program in turn with its output shown, sums up.
//! The programs that need root run as root; lab tests run one at a time.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Instant;

use serde_json::Value;

use crate::Failure;
use crate::run::{as_root, cargo, output, succeed, target};

/// Packages whose tests make namespaces, load XDP programs or open AF_XDP sockets.
const PRIVILEGED: [&str; 3] = ["sekisho-tests", "sekisho-port", "sekisho"];

/// One compiled test program.
struct Program {
    package: String,
    target: String,
    directory: PathBuf,
    path: PathBuf,
}

/// What the test programs said.
#[derive(Default)]
struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
    skipped: u64,
    failures: Vec<String>,
}

/// Runs all tests, or those whose name contains NAME; `--full` adds the long matrices.
pub(crate) fn test(args: &[&str]) -> Result<(), Failure> {
    let mut full = false;
    let mut filter = None;
    for &arg in args {
        match arg {
            "--full" => full = true,
            name if !name.starts_with('-') && filter.is_none() => filter = Some(name),
            other => return Err(format!("test: unknown argument {other}")),
        }
    }
    crate::packages::install_missing()?;
    let started = Instant::now();
    // One build for programs and tests alike, so that nothing is compiled twice.
    succeed(cargo().args(["build", "--workspace", "--all-targets", "--locked"]))?;
    let programs = programs()?;
    eprintln!(
        "xtask: {} test programs, built in {} s",
        programs.len(),
        started.elapsed().as_secs()
    );
    let tally = Mutex::new(Tally::default());
    for program in &programs {
        run(program, full, filter, &tally)?;
    }
    if filter.is_none() && !quiet_doc_tests(&tally)? {
        lock(&tally).failures.push("documentation tests".to_owned());
    }
    let tally = tally.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    summary(&tally, started)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The test programs in the order of the layers: small ones first, the lab last.
fn programs() -> Result<Vec<Program>, Failure> {
    let mut command = cargo();
    command.args(["test", "--workspace", "--all-targets", "--no-run", "--locked", "--quiet"]);
    command.arg("--message-format=json");
    let messages = output(&mut command)?;
    let mut programs: Vec<Program> = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|message| {
            let path = PathBuf::from(message["executable"].as_str()?);
            let manifest = Path::new(message["manifest_path"].as_str()?);
            let package = message["package_id"].as_str()?;
            message["profile"]["test"].as_bool()?.then_some(())?;
            Some(Program {
                package: package_name(package),
                target: message["target"]["name"].as_str()?.to_owned(),
                directory: manifest.parent()?.to_owned(),
                path,
            })
        })
        .collect();
    programs.sort_by_key(|program| (program.package == "sekisho-tests", program.target == "lab"));
    Ok(programs)
}

/// The name in a package id: `path+file:///…/wire#sekisho-wire@0.1.0` or `…/xtask#0.1.0`.
fn package_name(id: &str) -> String {
    let (place, rest) = id.rsplit_once('#').unwrap_or(("", id));
    match rest.split_once('@') {
        Some((name, _)) => name.to_owned(),
        None => place.rsplit('/').next().unwrap_or_default().to_owned(),
    }
}

fn run(
    program: &Program,
    full: bool,
    filter: Option<&str>,
    tally: &Mutex<Tally>,
) -> Result<(), Failure> {
    let mut variables = vec![
        ("SEKISHO_BIN", OsString::from(target().join("debug/sekisho"))),
        ("CARGO_MANIFEST_DIR", OsString::from(&program.directory)),
    ];
    if full {
        variables.push(("SEKISHO_LAB_FULL", OsString::from("1")));
    }
    let privileged = PRIVILEGED.contains(&program.package.as_str());
    let mut command = privileged
        .then(|| as_root(&program.path, &variables))
        .flatten()
        .unwrap_or_else(|| Command::new(&program.path));
    command.envs(variables).current_dir(&program.directory).args(filter);
    if program.package == "sekisho-tests" {
        command.arg("--test-threads=1");
    }
    println!("\n== {} / {}", program.package, program.target);
    let ended = follow(&mut command, tally)?;
    let mut tally = lock(tally);
    let named = tally.failures.iter().any(|failure| failure.starts_with("test "));
    if !ended && !named {
        // A test program that died without naming a test (an abort, a stack overflow) failed too.
        tally.failures.push(format!("{} / {}", program.package, program.target));
    }
    Ok(())
}

/// Runs a command, shows both outputs line by line and counts; whether it succeeded.
fn follow(command: &mut Command, tally: &Mutex<Tally>) -> Result<bool, Failure> {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    std::thread::scope(|scope| {
        scope.spawn(|| copy_lines(out, tally));
        scope.spawn(|| copy_lines(err, tally));
    });
    Ok(child.wait().map_err(|error| error.to_string())?.success())
}

fn copy_lines(pipe: Option<impl Read>, tally: &Mutex<Tally>) {
    let Some(pipe) = pipe else { return };
    for line in BufReader::new(pipe).lines().map_while(Result::ok) {
        lock(tally).count(&line);
        let _ = writeln!(std::io::stdout(), "{line}");
    }
}

/// Documentation examples, where there are any.
fn quiet_doc_tests(tally: &Mutex<Tally>) -> Result<bool, Failure> {
    println!("\n== documentation tests");
    let mut command = cargo();
    command.args(["test", "--workspace", "--doc", "--locked", "--quiet"]);
    follow(&mut command, tally)
}

impl Tally {
    /// Takes one line of libtest's output (or of a visible skip) into account.
    fn count(&mut self, line: &str) {
        if line.starts_with("SKIPPED ") {
            self.skipped += 1;
        } else if line.starts_with("test ") && line.ends_with("... FAILED") {
            self.failures.push(line.trim_end_matches(" ... FAILED").to_owned());
        } else if let Some(result) = line.strip_prefix("test result: ") {
            self.passed += number_before(result, " passed");
            self.failed += number_before(result, " failed");
            self.ignored += number_before(result, " ignored");
        }
    }
}

/// The number that stands before `word`, as in `3 passed`.
fn number_before(text: &str, word: &str) -> u64 {
    text.split(word)
        .next()
        .and_then(|head| head.rsplit(' ').next())
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

fn summary(tally: &Tally, started: Instant) -> Result<(), Failure> {
    let rest = format!(
        "{} passed, {} failed, {} ignored, {} skipped in {} s",
        tally.passed,
        tally.failed,
        tally.ignored,
        tally.skipped,
        started.elapsed().as_secs()
    );
    println!("\nSummary: {rest}");
    for failure in &tally.failures {
        println!("  FAILED {failure}");
    }
    if tally.failed > 0 || !tally.failures.is_empty() {
        return Err(format!("tests failed: {rest}"));
    }
    if tally.passed == 0 {
        return Err("no test ran".to_owned());
    }
    if tally.skipped > 0 && std::env::var_os("CI").is_some() {
        return Err("CI may not skip a test".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libtest_lines_are_counted() {
        let mut tally = Tally::default();
        tally.count("test lab::a ... FAILED");
        tally.count("test lab::b ... ok");
        tally.count("test result: FAILED. 12 passed; 1 failed; 2 ignored; 0 measured; 0 filtered");
        tally.count("SKIPPED c: it needs root");
        assert_eq!((tally.passed, tally.failed, tally.ignored, tally.skipped), (12, 1, 2, 1));
        assert_eq!(tally.failures, ["test lab::a"]);
    }

    #[test]
    fn package_ids_have_a_name() {
        assert_eq!(package_name("path+file:///p/wire#sekisho-wire@0.1.0"), "sekisho-wire");
        assert_eq!(package_name("path+file:///p/xtask#0.1.0"), "xtask");
    }
}
