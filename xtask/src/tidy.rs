//! Style as a test: no left-over marks, no oversized file, unsafe code only where the design allows it,
//! a head comment in every Rust file. What rustfmt and clippy check is theirs.

use std::path::Path;
use std::process::Command;

use crate::Failure;
use crate::run::{output, root};

/// Lines of a Rust file, tests included.
const LONGEST_FILE: usize = 600;
/// Where unsafe code may live.
const UNSAFE_PLACES: [&str; 2] = ["dataplane/cipher/src/low/", "dataplane/port/"];
/// Written in halves, or this file would find itself.
const MARKS: [&str; 5] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("db", "g!("),
    concat!("to", "do!("),
    concat!("unimple", "mented!("),
];

/// Fails with one line for each finding in the files that git knows.
pub(crate) fn check() -> Result<(), Failure> {
    let mut findings = Vec::new();
    for name in tracked()? {
        let path = root().join(&name);
        let wanted = [".rs", ".c", ".h", ".sh", ".toml"].iter().any(|end| name.ends_with(end));
        if wanted {
            findings.extend(look(&name, &read(&path)?));
        }
    }
    if findings.is_empty() { Ok(()) } else { Err(findings.join("\n  ")) }
}

/// The files that git knows or would take, by their paths from the root.
pub(crate) fn tracked() -> Result<Vec<String>, Failure> {
    let mut list = Command::new("git");
    list.args(["ls-files", "--cached", "--others", "--exclude-standard"]).current_dir(root());
    let names = output(&mut list)?;
    let there = |name: &&str| root().join(name).is_file();
    Ok(names.lines().filter(there).map(str::to_owned).collect())
}

pub(crate) fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn look(name: &str, text: &str) -> Vec<String> {
    let rust = name.ends_with(".rs");
    let may_be_unsafe = UNSAFE_PLACES.iter().any(|place| name.starts_with(place));
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let place = format!("{name}:{}", index + 1);
        findings.extend(
            MARKS
                .iter()
                .filter(|mark| line.contains(*mark))
                .map(|mark| format!("{place}: {mark} has no place on main")),
        );
        if rust && !may_be_unsafe && has_unsafe(line) {
            findings.push(format!("{place}: unsafe outside {}", UNSAFE_PLACES.join(", ")));
        }
    }
    let lines = text.lines().count();
    if rust && lines > LONGEST_FILE {
        findings.push(format!("{name}: {lines} lines, more than {LONGEST_FILE}"));
    }
    if rust && !text.trim_start().starts_with("//!") {
        findings.push(format!("{name}: no //! head that says what the file owns"));
    }
    findings
}

/// Whether a line of Rust holds the keyword outside comments and strings.
fn has_unsafe(line: &str) -> bool {
    let keyword = concat!("uns", "afe");
    let code = line.split("//").next().unwrap_or_default();
    code.match_indices(keyword).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + keyword.len()..].chars().next();
        let word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        let in_string = code[..at].matches('"').count() % 2 == 1;
        !word(before) && !word(after) && !in_string
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_length_heads_and_unsafe_are_found() {
        let head = "//! A file.\n";
        assert!(look("a.rs", &format!("{head}fn main() {{}}\n")).is_empty());
        assert_eq!(look("a.rs", "fn main() {}\n").len(), 1, "no head");
        for mark in MARKS {
            assert_eq!(look("a.rs", &format!("{head}// {mark}\n")).len(), 1, "{mark}");
        }
        assert_eq!(look("a.rs", &head.repeat(LONGEST_FILE + 1)).len(), 1, "too long");
        let block = concat!("//! A file.\nuns", "afe { call() }\n");
        assert_eq!(look("sekisho/src/a.rs", block).len(), 1);
        assert!(look("dataplane/port/src/a.rs", block).is_empty());
        assert!(look("a.rs", concat!("//! uns", "afe is explained here\n")).is_empty());
        assert!(look("a.rs", concat!("//! A.\n#![deny(uns", "afe_code)]\n")).is_empty());
    }
}
