//! The cipher rows as bench/RESULTS.md shows them: one table per pass and form with sizes across, the plot
//! above.
//!
//! Owns: the reading of row names. The plot's drawing is `plot`'s.

use std::fmt::Write as _;

use super::plot;
use super::shape::{Form, Pass, SIZES};
use crate::markdown::{Rendered, table};
use crate::report::Row;

/// The plot's file beside bench/RESULTS.md.
const PLOT: &str = "cipher.svg";

/// The section of the cipher rows.
#[must_use]
pub fn render(rows: &[Row]) -> Rendered {
    let mut body = format!(
        "![Nanoseconds per packet and share of the bound by size]({PLOT})\n\n\
         Nanoseconds per packet; in brackets how many times faster than {}. Rows of the kernel in use bear \
         no name in `--json`, the others theirs: `cipher/ring/seal/64`.\n",
        super::peers::MAIN
    );
    for pass in Pass::BOTH {
        for form in Form::BOTH {
            body.push_str(&matrix(rows, pass, form));
        }
    }
    let rest: Vec<&Row> = rows.iter().filter(|row| Place::of(&row.name).is_none()).collect();
    let _ = write!(body, "\n{}", table(&rest));
    Rendered { body, files: vec![(PLOT, plot::draw(rows))] }
}

/// What a name of the form `cipher/[WHO/]PASS/SIZE[/batch]` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place<'a> {
    pub(super) who: &'a str,
    pub(super) pass: Pass,
    pub(super) form: Form,
    pub(super) size: u16,
}

impl<'a> Place<'a> {
    pub(super) fn of(name: &'a str) -> Option<Self> {
        let rest = name.strip_prefix("cipher/")?;
        let (rest, form) = match rest.strip_suffix("/batch") {
            Some(rest) => (rest, Form::Batch),
            None => (rest, Form::Single),
        };
        let (rest, size) = rest.rsplit_once('/')?;
        let (who, pass) = rest.rsplit_once('/').unwrap_or(("", rest));
        let pass = Pass::BOTH.into_iter().find(|known| known.name() == pass)?;
        Some(Self { who, pass, form, size: size.parse().ok()? })
    }
}

/// The row of a place.
pub(super) fn at<'a>(rows: &'a [Row], place: Place<'_>) -> Option<&'a Row> {
    rows.iter().find(|row| Place::of(&row.name) == Some(place))
}

fn matrix(rows: &[Row], pass: Pass, form: Form) -> String {
    let mut whos: Vec<&str> = Vec::new();
    for place in rows.iter().filter_map(|row| Place::of(&row.name)) {
        if (place.pass, place.form) == (pass, form) && !whos.contains(&place.who) {
            whos.push(place.who);
        }
    }
    let manner = match form {
        Form::Single => "one at a time",
        Form::Batch => "32 at once, 32 keys",
    };
    let mut out = format!("\n### {}, {manner}\n\n| |", pass.name());
    SIZES.iter().for_each(|size| out.push_str(&format!(" {size} |")));
    out.push_str("\n|---|");
    SIZES.iter().for_each(|_| out.push_str("---:|"));
    for who in whos {
        let name = if who.is_empty() { "**kernel in use**" } else { who };
        let _ = write!(out, "\n| {name} |");
        for size in SIZES {
            let row = at(rows, Place { who, pass, form, size });
            let _ = write!(out, " {} |", row.map_or_else(String::new, |row| cell(who, row)));
        }
    }
    out.push('\n');
    out
}

fn cell(who: &str, row: &Row) -> String {
    match row.ratio {
        Some(ratio) if who == "of-bound" => format!("{:.0} %", 100.0 * ratio),
        Some(ratio) => format!("{} ({ratio:.2})", row.shown_value()),
        None => row.shown_value(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read() {
        let place = |who, pass, form, size| Some(Place { who, pass, form, size });
        let single = place("", Pass::Seal, Form::Single, 64);
        assert_eq!(Place::of("cipher/seal/64"), single);
        let batch = place("ring", Pass::Open, Form::Batch, 1448);
        assert_eq!(Place::of("cipher/ring/open/1448/batch"), batch);
        for other in ["cipher/context", "cipher/bound/64", "burst/seal/64", "cipher/seal/x"] {
            assert_eq!(Place::of(other), None, "{other}");
        }
    }

    #[test]
    fn every_row_is_shown_once() {
        let rows = [
            Row::less_is_better("cipher/seal/64/batch".to_owned(), 20.0, "ns/packet", "p", 100.0),
            Row::less_is_better(
                "cipher/of-bound/seal/64/batch".to_owned(),
                20.0,
                "ns/packet",
                "b",
                9.0,
            ),
            Row::alone("cipher/context".to_owned(), 88.5, "ns"),
        ];
        let Rendered { body, files } = render(&rows);
        assert!(body.contains("| **kernel in use** | 20.0 (5.00) |"), "{body}");
        assert!(body.contains("| of-bound | 45 % |"), "{body}");
        assert_eq!(body.matches("cipher/context").count(), 1, "{body}");
        assert!(body.contains(&format!("]({})", files[0].0)));
    }
}
