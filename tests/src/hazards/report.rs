//! How results look: a table for people, one JSON object for programs.

use std::io::Write as _;

use serde_json::json;

use super::Row;
use super::run::Outcome;
use crate::lab::topology::Family;

/// The judgement of a row.
pub struct Judged {
    /// Number of the row.
    pub id: u8,
    hazard: &'static str,
    families: [bool; 2],
    /// Whether it holds: at least one case, none failed, each family shown or without meaning.
    pub holds: bool,
    evidence: Vec<String>,
}

/// Judges a row by the outcomes of its cases.
pub fn judge(row: &Row, outcomes: &[Outcome]) -> Judged {
    let mut families = [false; 2];
    let mut evidence = Vec::new();
    for (at, family) in Family::BOTH.into_iter().enumerate() {
        let own: Vec<&Outcome> =
            outcomes.iter().filter(|o| o.row == row.id && o.family == family).collect();
        families[at] = !own.is_empty() && own.iter().all(|outcome| outcome.result.is_ok());
        for outcome in own {
            let words = match &outcome.result {
                Ok(seen) => seen.clone(),
                Err(error) => format!("DOES NOT HOLD: {error}"),
            };
            evidence.push(format!("{} {}: {words}", family.label(), outcome.case));
        }
        if let Some((without, why)) = row.meaningless
            && without == family
        {
            families[at] = true;
            evidence.push(format!("no meaning in {}: {why}", family.label()));
        }
    }
    if row.cases.is_empty() {
        evidence.push("no case shows it".to_owned());
    }
    let holds = families.iter().all(|&holds| holds);
    Judged { id: row.id, hazard: row.hazard, families, holds, evidence }
}

/// Prints all rows.
pub fn print(rows: &[Judged], json: bool) {
    let mut out = std::io::stdout().lock();
    if json {
        let rows: Vec<_> = rows
            .iter()
            .map(|row| {
                json!({"id": row.id, "ipv4": row.families[0], "ipv6": row.families[1],
                       "holds": row.holds, "evidence": row.evidence.join("; ")})
            })
            .collect();
        // A reader that went away is no failure of a row.
        let _ = writeln!(out, "{}", json!({ "rows": rows }));
        return;
    }
    for row in rows {
        let verdict = if row.holds { "HOLDS" } else { "FAILS" };
        let _ = writeln!(out, "{:>3}  {verdict}  {}", row.id, row.hazard);
        for line in &row.evidence {
            let _ = writeln!(out, "            {line}");
        }
    }
    let held = rows.iter().filter(|row| row.holds).count();
    let _ = writeln!(out, "{held} of {} rows hold", rows.len());
}

/// A line for the person who waits, never for the JSON reader.
pub fn progress(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hazards::{Case, Lab};

    const CASES: &[Case] = &[Case::new("shown", Lab::Ordinary, |_, _| Ok(String::new()))];

    fn outcome(family: Family, result: Result<String, String>) -> Outcome {
        Outcome { row: 1, case: "shown", family, result }
    }

    fn row(meaningless: Option<(Family, &'static str)>, cases: &'static [Case]) -> Row {
        Row { id: 1, hazard: "none", meaningless, cases }
    }

    #[test]
    fn a_row_holds_only_when_both_families_were_shown() {
        let ok = |family| outcome(family, Ok("seen".to_owned()));
        let both = [ok(Family::V4), ok(Family::V6)];
        assert!(judge(&row(None, CASES), &both).holds);
        assert!(!judge(&row(None, CASES), &both[..1]).holds, "one family is missing");
        assert!(judge(&row(Some((Family::V6, "why")), CASES), &both[..1]).holds);
        assert!(!judge(&row(None, &[]), &[]).holds, "no case");
        let red = [ok(Family::V4), outcome(Family::V6, Err("no".to_owned()))];
        let judged = judge(&row(None, CASES), &red);
        assert!(!judged.holds && judged.families == [true, false]);
        assert_eq!(judged.evidence[1], "IPv6 shown: DOES NOT HOLD: no");
        assert!(!judge(&row(Some((Family::V6, "why")), CASES), &red[1..]).holds);
    }
}
