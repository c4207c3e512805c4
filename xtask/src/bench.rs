//! `bench`: the benchmarks with their peers built in, beside the program as it is shipped.

use std::ffi::OsString;
use std::process::Command;

use crate::Failure;
use crate::run::{as_root, cargo, root, succeed, target};

/// Runs benchmarks by name (or `all`); `--json` puts the results and nothing else on standard output,
/// `--record` writes them into bench/RESULTS.md.
pub(crate) fn bench(args: &[&str]) -> Result<(), Failure> {
    crate::packages::install_missing()?;
    // Two builds: peers must not change what the program is built with.
    build(&["--package", "sekisho"])?;
    build(&["--package", "sekisho-bench", "--features", "peers"])?;
    let release = target().join("release");
    let program = release.join("sekisho-bench");
    let variables = [("SEKISHO_BIN", OsString::from(release.join("sekisho")))];
    // Some benchmarks make namespaces; those that do not run without privilege as well.
    let mut command = as_root(&program, &variables).unwrap_or_else(|| Command::new(&program));
    for &arg in args {
        match arg {
            "--record" => command.arg("--markdown").arg(root().join("bench/RESULTS.md")),
            other => command.arg(other),
        };
    }
    succeed(&mut command)
}

fn build(what: &[&str]) -> Result<(), Failure> {
    succeed(cargo().args(["build", "--release", "--locked"]).args(what))
}
