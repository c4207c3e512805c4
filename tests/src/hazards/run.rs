//! Runs cases: a chain at a time, every case in both families, results gathered by row.

use super::context::Context;
use super::{Case, Lab, ROWS, Row, report};
use crate::lab::harness::{Side, privileged};
use crate::lab::topology::Family;
use crate::lab::{LabError, LabResult};

/// What the person asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// One JSON object on standard output instead of the table.
    pub json: bool,
    /// This row only.
    pub row: Option<u8>,
}

/// What a case came to in one family.
pub struct Outcome {
    /// Number of the row that the case stands in.
    pub row: u8,
    /// The case.
    pub case: &'static str,
    /// The family.
    pub family: Family,
    /// What was seen, or what did not hold.
    pub result: Result<String, String>,
}

/// Runs the suite and prints it; whether every row asked for holds.
pub fn run(options: Options) -> LabResult<bool> {
    let wanted = |row: &Row| options.row.is_none_or(|id| id == row.id);
    let mut outcomes = Vec::new();
    for lab in Lab::ALL {
        outcomes.extend(run_lab(lab, &wanted)?);
    }
    let rows: Vec<&Row> = ROWS.iter().filter(|row| wanted(row)).collect();
    let judged: Vec<report::Judged> =
        rows.iter().map(|row| report::judge(row, &outcomes)).collect();
    report::print(&judged, options.json);
    Ok(judged.iter().all(|row| row.holds))
}

/// The cases of one chain as a test: fails with the name of each case that does not hold.
pub fn check(lab: Lab) -> LabResult {
    let test = format!("hazards-{}", lab.label());
    if !privileged(&test)? {
        return Ok(());
    }
    let mut failed = Vec::new();
    for outcome in run_lab(lab, &|_| true)? {
        let place = format!("row {} {} {}", outcome.row, outcome.case, outcome.family.label());
        match outcome.result {
            Ok(seen) => println!("{place}: {seen}"),
            Err(error) => failed.push(format!("{place}: {error}")),
        }
    }
    match failed.is_empty() {
        true => Ok(()),
        false => Err(LabError::Expectation(failed.join("\n"))),
    }
}

/// Runs the cases of one chain that belong to rows that are `wanted`. Without any no chain is built.
pub fn run_lab(lab: Lab, wanted: &dyn Fn(&Row) -> bool) -> LabResult<Vec<Outcome>> {
    let cases: Vec<(u8, &Case)> = ROWS
        .iter()
        .filter(|row| wanted(row))
        .flat_map(|row| row.cases.iter().map(|case| (row.id, case)))
        .filter(|(_, case)| case.lab == lab)
        .collect();
    if cases.is_empty() {
        return Ok(Vec::new());
    }
    let mut context = Context::new(lab.start()?);
    let mut outcomes = Vec::new();
    for (row, case) in cases {
        for family in Family::BOTH {
            if case.only.is_some_and(|only| only != family) {
                continue;
            }
            let result = observe(&mut context, case, family);
            let result = result.map_err(|error| error.to_string());
            if let Err(error) = &result {
                let test = format!("hazards-{}-{}-{}", lab.label(), case.name, family.label());
                report::progress(&format!("row {row} {test}: {error}"));
                context.chain.keep_logs(&test);
            }
            outcomes.push(Outcome { row, case: case.name, family, result });
        }
    }
    Ok(outcomes)
}

/// Runs one case: its evidence with the counters that moved. A canary on the cipher side fails any case.
fn observe(context: &mut Context, case: &Case, family: Family) -> LabResult<String> {
    let before = context.counters();
    let leaks = leaks(context)?;
    let seen = (case.run)(context, family);
    let rises = before.rises(&context.counters());
    let seen = seen.map_err(|error| LabError::Expectation(format!("{error} [{rises}]")))?;
    let leaked = self::leaks(context)? - leaks;
    if leaked > 0 {
        return Err(LabError::Expectation(format!("LEAK: {leaked} frames show the canary")));
    }
    let counted = if rises.is_empty() { String::new() } else { format!(" [{rises}]") };
    Ok(format!("{seen}{counted}"))
}

/// Frames on the cipher side that show the canary, up to now.
fn leaks(context: &Context) -> LabResult<u64> {
    let reports = context.chain.watch.reports()?;
    let cipher = reports.iter().filter(|(side, _)| *side == Side::Cipher);
    Ok(cipher.map(|(_, report)| report.canaries).sum())
}
