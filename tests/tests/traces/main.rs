//! The path through the kernels and every address they touch depend neither on keys nor on payload: found by single
//! steps, so without noise, where `cargo xtask bench constant-time` takes times.
//!
//! Owns: the tests, and what is judged of traces. Not: the traced work (`traced`), stepping (`tracer`). Instructions
//! whose time depends on operands in registers, such as divisions, are not looked for.
#![cfg(target_arch = "x86_64")]

mod traced;
mod tracer;

use sekisho_cipher::measure;

use traced::{CASES, CONTROLS, Case, PLANTED, SECRETS, Work};
use tracer::{Trace, Tracee};

/// One traced run of each case for each set of secrets; the first difference of each case from its first set.
fn differences(kernel: &str, cases: &[Case]) -> Result<Vec<Option<String>>, String> {
    let mut tracee = Tracee::start(kernel)?;
    let found = cases.iter().map(|case| case_differs(&mut tracee, case));
    let found = found.collect::<Result<_, _>>()?;
    tracee.finish()?;
    Ok(found)
}

/// What differs in one case; an error if what was to be traced was not.
fn case_differs(tracee: &mut Tracee, case: &Case) -> Result<Option<String>, String> {
    let first = tracee.window()?;
    let with_aes = case.work.ciphers() && is_x86_feature_detected!("aes");
    if with_aes && first.rounds == 0 {
        return Err(format!("{}: no AES instruction in {} steps", case.name, first.steps()));
    }
    println!("{}: {} steps, {} AES instructions", case.name, first.steps(), first.rounds);
    let mut found = None;
    for secrets in 1..SECRETS {
        let trace = tracee.window()?;
        let difference = first.difference(&trace);
        found = found.or(difference.map(|what| describe(case, secrets, &what, tracee)));
    }
    Ok(found)
}

fn describe(case: &Case, secrets: usize, what: &tracer::Difference, tracee: &Tracee) -> String {
    format!("{}: secrets 0 and {secrets}: {what}; {}", case.name, tracee.place(what.at))
}

/// Fails with one line for each case of a kernel whose trace depends on a secret.
fn nothing_depends_on_secrets(kernel: &str) {
    if !measure::kernels().contains(&kernel) {
        eprintln!("SKIPPED: this CPU has no {kernel}");
        return;
    }
    let found = differences(kernel, CASES).unwrap_or_else(|error| vec![Some(error)]);
    let found: Vec<_> = found.into_iter().flatten().collect();
    assert!(
        found.is_empty(),
        "{kernel} depends on secrets or was not traced:\n{}",
        found.join("\n")
    );
}

#[test]
fn path_and_addresses_of_vaes512_depend_on_no_secret() {
    nothing_depends_on_secrets("vaes512");
}

#[test]
fn path_and_addresses_of_vaes256_depend_on_no_secret() {
    nothing_depends_on_secrets("vaes256");
}

#[test]
fn path_and_addresses_of_aesni_depend_on_no_secret() {
    nothing_depends_on_secrets("aesni");
}

#[test]
fn path_and_addresses_of_portable_depend_on_no_secret() {
    nothing_depends_on_secrets("portable");
}

/// Were these not found, the others would find nothing.
#[test]
fn planted_branches_and_loads_are_found() {
    let found = differences(PLANTED, CONTROLS).expect("the controls are traced");
    for (case, found) in CONTROLS.iter().zip(found) {
        let found = found.unwrap_or_default();
        let wanted = if case.work == Work::Branches { "path" } else { "address" };
        assert!(found.contains(wanted), "{}: {found}", case.name);
    }
}

#[test]
fn a_difference_is_named_by_its_step() {
    let trace = |events: &[(u64, u64)]| {
        let mut trace = Trace::default();
        events.iter().for_each(|&(at, touched)| trace.push(at, [touched]));
        trace
    };
    let one = trace(&[(1, 10), (2, 20)]);
    assert!(one.difference(&trace(&[(1, 10), (2, 20)])).is_none());
    for (other, at, kind) in [
        (trace(&[(1, 10), (2, 21)]), 2, "address"),
        (trace(&[(1, 10), (3, 20)]), 1, "path"),
        (trace(&[(1, 10)]), 1, "path"),
    ] {
        for difference in [one.difference(&other), other.difference(&one)] {
            let difference = difference.expect("they differ");
            assert_eq!(difference.at, at, "{difference}");
            assert!(difference.to_string().contains(kind), "{difference}");
        }
    }
}

/// Runs in the child that the other tests start and step through.
#[test]
#[ignore = "is what the other tests trace"]
fn traced_child() {
    traced::run();
}
