//! `bench`: the benchmarks with their peers built in.

use std::ffi::OsString;

use crate::Failure;
use crate::run::{as_root, cargo, succeed, target};

/// Runs one benchmark (or `all`); `--json` puts the results and nothing else on standard output.
pub(crate) fn bench(args: &[&str]) -> Result<(), Failure> {
    crate::packages::install_missing()?;
    let mut build = cargo();
    build.args(["build", "--release", "--locked", "--package", "sekisho-bench"]);
    succeed(build.args(["--features", "peers"]))?;
    let program = target().join("release").join("sekisho-bench");
    let variables: [(&str, OsString); 0] = [];
    // Some benchmarks make namespaces; those that do not run without privilege as well.
    let mut command =
        as_root(&program, &variables).unwrap_or_else(|| std::process::Command::new(&program));
    succeed(command.args(args))
}
