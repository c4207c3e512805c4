//! `hazards`: builds the chain and the hazard suite, then hands over to the program `sekisho-hazards`.

use std::ffi::OsString;

use crate::Failure;
use crate::run::{as_root, cargo, succeed, target};

/// Runs the suite: every row of docs/hazards.md, or one.
pub(crate) fn hazards(args: &[&str]) -> Result<(), Failure> {
    let row = |arg: &str| arg.parse().is_ok_and(|row: u8| (1..=40).contains(&row));
    if let Some(unknown) = args.iter().find(|arg| **arg != "--json" && !row(arg)) {
        return Err(format!("hazards: unknown argument {unknown}; usage: hazards [--json] [ROW]"));
    }
    crate::packages::install_missing()?;
    let mut build = cargo();
    build.args(["build", "--locked", "--bins"]);
    succeed(build.args(["--package", "sekisho", "--package", "sekisho-tests"]))?;
    let built = target().join("debug");
    let variables = [("SEKISHO_BIN", OsString::from(built.join("sekisho")))];
    let mut command = as_root(&built.join("sekisho-hazards"), &variables)
        .ok_or("the suite makes network namespaces: run as root or install sudo")?;
    succeed(command.args(args))
}
