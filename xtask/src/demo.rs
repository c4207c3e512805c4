//! `demo` and `lab`: build in release mode, then hand over to the program `sekisho-lab`.

use std::ffi::OsString;

use crate::Failure;
use crate::run::{as_root, cargo, succeed, target};

/// Builds the lab and shows a person what Sekisho does.
pub(crate) fn demo(args: &[&str]) -> Result<(), Failure> {
    if let Some(unknown) = args.iter().find(|arg| !["--keep", "--json"].contains(arg)) {
        return Err(format!("demo: unknown argument {unknown}; usage: demo [--keep] [--json]"));
    }
    sekisho_lab(&[&["demo"], args].concat())
}

/// `up`: a lab with running processes, kept; `down`: takes kept labs down.
pub(crate) fn lab(action: &str) -> Result<(), Failure> {
    sekisho_lab(&[action])
}

fn sekisho_lab(args: &[&str]) -> Result<(), Failure> {
    crate::packages::install_missing()?;
    let mut build = cargo();
    build.args(["build", "--release", "--locked", "--bins"]);
    succeed(build.args(["--package", "sekisho", "--package", "sekisho-tests"]))?;
    let built = target().join("release");
    let variables = [("SEKISHO_BIN", OsString::from(built.join("sekisho")))];
    let mut command = as_root(&built.join("sekisho-lab"), &variables)
        .ok_or("the lab makes network namespaces: run as root or install sudo")?;
    succeed(command.args(args))
}
