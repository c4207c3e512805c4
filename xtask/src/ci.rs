//! `ci`: everything that must hold before a change lands, in the order in which it fails fastest.

use std::time::Instant;

use crate::Failure;
use crate::run::{cargo, succeed};

/// Format, tidy, citations, dependency rules, clippy, then the README's test command.
pub(crate) fn ci() -> Result<(), Failure> {
    let started = Instant::now();
    step("format", || succeed(cargo().args(["fmt", "--all", "--check"])))?;
    step("tidy", crate::tidy::check)?;
    step("citations", crate::citations::check)?;
    step("dependency rules", crate::dependencies::check)?;
    step("packages", crate::packages::install_missing)?;
    step("clippy", || {
        let mut clippy = cargo();
        clippy.args(["clippy", "--workspace", "--all-targets", "--locked", "--"]);
        succeed(clippy.args(["-D", "warnings"]))
    })?;
    step("test", || crate::test::test(&[]))?;
    eprintln!("ci: all good in {} s", started.elapsed().as_secs());
    Ok(())
}

fn step(name: &str, work: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    eprintln!("ci: {name} …");
    let started = Instant::now();
    work().map_err(|failure| format!("ci: {name}: {failure}"))?;
    eprintln!("ci: {name} done in {} s", started.elapsed().as_secs());
    Ok(())
}
