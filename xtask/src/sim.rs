//! `sim`: the deterministic simulation, built for speed.

use std::process::Command;

use crate::Failure;
use crate::run::{cargo, succeed, target};

/// Runs seeds; all arguments are the program's. `--json` leaves one object on standard output.
pub(crate) fn sim(args: &[&str]) -> Result<(), Failure> {
    crate::packages::install_missing()?;
    let what = ["--package", "sekisho-tests", "--bin", "sekisho-sim"];
    succeed(cargo().args(["build", "--release", "--locked"]).args(what))?;
    succeed(Command::new(target().join("release/sekisho-sim")).args(args))
}
