//! bench/RESULTS.md: one section per benchmark, each with where and how it was measured. A run
//! replaces the sections of the benchmarks that it ran and leaves the others.

use std::fmt::Write as _;
use std::path::Path;

use crate::machine::Machine;
use crate::report::Row;
use crate::{BenchError, BenchResult};

const HEAD: &str = "\
# Results

Written by `cargo xtask bench all --record`; not edited by hand. `ratio` is how many times better
than the peer the figure is: above 1 is better. Peers are measured in the same run on the same
machine, in turns where they can be. Figures of different machines, or of a machine under load, are
not comparable; ratios nearly are.
";

/// One benchmark's figures.
pub struct Section<'a> {
    /// Name of the benchmark.
    pub name: &'a str,
    /// What it measures, in a sentence or two.
    pub about: &'a str,
    /// Its rows as they are shown.
    pub shown: Rendered,
}

/// Rows as a benchmark shows them.
pub struct Rendered {
    /// Markdown.
    pub body: String,
    /// Files beside the Markdown that it refers to, by name.
    pub files: Vec<(&'static str, String)>,
}

/// One table with a line for each row; what a benchmark shows that has no form of its own.
#[must_use]
pub fn plain(rows: &[Row]) -> Rendered {
    Rendered { body: table(&rows.iter().collect::<Vec<_>>()), files: Vec::new() }
}

/// A table with a line for each row.
#[must_use]
pub fn table(rows: &[&Row]) -> String {
    let mut out = "| name | value | unit | peer | ratio |\n|---|---:|---|---|---:|\n".to_owned();
    for row in rows {
        let ratio = row.ratio.map_or_else(String::new, |ratio| format!("{ratio:.3}"));
        let peer = cell(row.peer.as_deref().unwrap_or_default());
        let (name, value, unit) = (cell(&row.name), row.shown_value(), cell(row.unit));
        let _ = writeln!(out, "| {name} | {value} | {unit} | {peer} | {ratio} |");
    }
    out
}

/// Text that does not end its cell.
fn cell(text: &str) -> String {
    text.replace('|', r"\|")
}

/// Writes `sections` into the file at `path`, in place of those of the same names, and the files that
/// they refer to beside it.
///
/// # Errors
/// The file can be neither read nor made.
pub fn record(path: &Path, sections: &[Section<'_>], machine: &Machine) -> BenchResult<()> {
    let old = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(source) => return Err(failure("read", path)(source)),
    };
    for (name, text) in sections.iter().flat_map(|section| &section.shown.files) {
        let beside = path.with_file_name(name);
        std::fs::write(&beside, text).map_err(failure("write", &beside))?;
    }
    std::fs::write(path, merge(&old, sections, machine)).map_err(failure("write", path))
}

fn failure(verb: &str, path: &Path) -> impl FnOnce(std::io::Error) -> BenchError {
    let what = format!("{verb} {}", path.display());
    move |source| BenchError::Io { what, source }
}

fn merge(old: &str, sections: &[Section<'_>], machine: &Machine) -> String {
    let mut parts: Vec<(String, String)> = old
        .split("\n## ")
        .skip(1)
        .map(|part| (part.lines().next().unwrap_or_default().to_owned(), format!("## {part}")))
        .collect();
    for section in sections {
        let text = render(section, machine);
        match parts.iter_mut().find(|(name, _)| name == section.name) {
            Some(part) => part.1 = text,
            None => parts.push((section.name.to_owned(), text)),
        }
    }
    let mut out = HEAD.to_owned();
    for (_, text) in parts {
        let _ = write!(out, "\n{}\n", text.trim_end());
    }
    out
}

fn render(section: &Section<'_>, machine: &Machine) -> String {
    let Section { name, about, shown } = section;
    let Machine { cpu, kernel, commit, date, load } = machine;
    format!(
        "## {name}\n\n{about}\n\n`cargo xtask bench {name} --json` · {cpu} · Linux {kernel} · \
         commit {commit} · {date} · load {load}\n\n{}",
        shown.body
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        let text = |text: &str| text.to_owned();
        Machine {
            cpu: text("CPU, 2 cores"),
            kernel: text("6.1"),
            commit: text("abc"),
            date: text("2026-01-01"),
            load: text("0.1"),
        }
    }

    fn rows(value: f64) -> Vec<Row> {
        vec![Row::less_is_better("a/1".to_owned(), value, "ns/packet", "peer", 2.0 * value)]
    }

    #[test]
    fn a_bar_does_not_end_its_cell() {
        let row = Row::less_is_better("a".to_owned(), 1.0, "|t|", "|t| = 5", 5.0);
        assert!(table(&[&row]).contains(r"| a | 1.000 | \|t\| | \|t\| = 5 | 5.000 |"));
    }

    #[test]
    fn sections_are_replaced_by_name_and_others_stay() {
        let (one, two) = (rows(10.0), rows(20.0));
        let section = |name, rows: &[Row]| Section { name, about: "About it.", shown: plain(rows) };
        let first = merge("", &[section("a", &one), section("b", &one)], &machine());
        let second = merge(&first, &[section("b", &two)], &machine());
        assert_eq!(second.matches("## a\n").count(), 1);
        assert_eq!(second.matches("## b\n").count(), 1);
        assert!(second.contains("| a/1 | 10.0 | ns/packet | peer | 2.000 |"), "{second}");
        assert!(second.contains("| a/1 | 20.0 | ns/packet | peer | 2.000 |"), "{second}");
        assert_eq!(merge(&second, &[section("b", &two)], &machine()), second, "stable");
    }
}
