//! The specification and the code hold each other: each MUST of docs/spec.md is cited by the code
//! that keeps it and by a test that checks it, and nobody, documents included, cites one that does not exist. Owns what
//! counts as a citation; whether the code does what it cites is for its tests.

use std::collections::BTreeMap;

use crate::Failure;
use crate::run::root;
use crate::tidy::{read, tracked};

/// Chapter and number of a MUST.
type Must = (u32, u32);

/// Who cites a MUST.
#[derive(Default)]
struct Cited {
    by_production: bool,
    by_test: bool,
}

/// Fails with one line for each MUST that is not cited twice, and each citation of none.
pub(crate) fn check() -> Result<(), Failure> {
    let spec = read(&root().join("docs/spec.md"))?;
    let mut book = Book::of(&spec);
    for name in tracked()? {
        let wanted = [".rs", ".c", ".h", ".py", ".md"].iter().any(|end| name.ends_with(end));
        // This crate's tests make citations up.
        if wanted && !name.starts_with("xtask/") {
            book.look(&name, &read(&root().join(&name))?);
        }
    }
    let findings = book.findings();
    if findings.is_empty() { Ok(()) } else { Err(findings.join("\n  ")) }
}

struct Book {
    musts: BTreeMap<Must, Cited>,
    findings: Vec<String>,
}

impl Book {
    /// The MUSTs that a text of the specification numbers.
    fn of(spec: &str) -> Self {
        let mut musts = BTreeMap::new();
        let mut findings = Vec::new();
        for line in spec.lines().filter(|line| line.starts_with("* **M")) {
            for must in citations(line).into_iter().take(1) {
                if musts.insert(must, Cited::default()).is_some() {
                    findings.push(format!("docs/spec.md: {} is there twice", label(must)));
                }
            }
        }
        if musts.is_empty() {
            findings.push("docs/spec.md: no MUST is numbered".to_owned());
        }
        Self { musts, findings }
    }

    fn look(&mut self, name: &str, text: &str) {
        let mut in_test = is_test_file(name);
        // Documents speak of MUSTs; they neither keep nor check one.
        let keeps = !name.ends_with(".md");
        let mut before = "";
        for (index, line) in text.lines().enumerate() {
            // A module of tests is the last thing in its file.
            in_test |= before == "#[cfg(test)]" && line.starts_with("mod ") && line.ends_with('{');
            before = line;
            for must in citations(line) {
                match self.musts.get_mut(&must) {
                    Some(cited) => {
                        cited.by_test |= keeps && in_test;
                        cited.by_production |= keeps && !in_test;
                    }
                    None => self.findings.push(format!(
                        "{name}:{}: {} is no MUST of docs/spec.md",
                        index + 1,
                        label(must)
                    )),
                }
            }
        }
    }

    fn findings(mut self) -> Vec<String> {
        for (must, cited) in &self.musts {
            let mut missing = |by| {
                self.findings.push(format!("docs/spec.md: {} is cited by no {by}", label(*must)));
            };
            if !cited.by_production {
                missing("production code");
            }
            if !cited.by_test {
                missing("test");
            }
        }
        self.findings
    }
}

fn label((chapter, number): Must) -> String {
    format!("M{chapter}.{number}")
}

/// Tests, and what only tests use.
fn is_test_file(name: &str) -> bool {
    let parts: Vec<_> = name.split('/').collect();
    parts.iter().any(|part| ["tests", "tests.rs", "fuzz"].contains(part))
}

/// Every `M`, number, dot, number of a line that is no part of a longer word.
fn citations(line: &str) -> Vec<Must> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices('M') {
        let before = line[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let Some((chapter, rest)) = number(&line[at + 1..]) else { continue };
        let Some((number, rest)) = rest.strip_prefix('.').and_then(number) else { continue };
        if !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_') {
            found.push((chapter, number));
        }
    }
    found
}

/// A decimal number at the start of a text, and what follows it.
fn number(text: &str) -> Option<(u32, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    Some((digits.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: &str = "text M1.1\n* **M1.1** One MUST.\n* **M1.12** See M1.1 and M9.9.\n";

    fn judged(files: &[(&str, &str)]) -> Vec<String> {
        let mut book = Book::of(SPEC);
        files.iter().for_each(|(name, text)| book.look(name, text));
        book.findings()
    }

    #[test]
    fn citations_are_whole_words() {
        assert_eq!(citations("(M1.1, M2.10; /M3.4)"), [(1, 1), (2, 10), (3, 4)]);
        assert_eq!(citations("M1.1."), [(1, 1)]);
        for other in ["RM1.1", "M1", "M1.", "M.1", "M1.x", "M1.1a", "MM1.1", "M1 .1"] {
            assert!(citations(other).is_empty(), "{other}");
        }
    }

    #[test]
    fn a_must_wants_code_and_test_and_a_citation_its_must() {
        let code = ("a/src/a.rs", "/// M1.1, M1.12\n");
        let tests = ("a/src/a/tests.rs", "/// M1.1\n/// M1.12\n");
        assert!(judged(&[code, tests]).is_empty());
        assert_eq!(judged(&[code]).len(), 2, "no test");
        assert_eq!(judged(&[tests]).len(), 2, "no code");
        assert_eq!(
            judged(&[code, tests, ("b.c", "/* M1.2 */")]),
            ["b.c:1: M1.2 is no MUST of docs/spec.md"]
        );
        assert_eq!(judged(&[code, tests, ("docs/a.md", "M1.1 and M1.3")]).len(), 1);
        assert_eq!(judged(&[("docs/a.md", "M1.1, M1.12")]).len(), 4, "a document keeps nothing");
        let both = ("a/src/a.rs", "/// M1.1 M1.12\n#[cfg(test)]\nmod tests {\n// M1.1 M1.12\n");
        assert!(judged(&[both]).is_empty());
        let apart = ("a/src/a.rs", "#[cfg(test)]\nmod tests;\n/// M1.1 M1.12\n");
        assert!(judged(&[apart, tests]).is_empty(), "a module elsewhere");
    }

    #[test]
    fn a_must_is_numbered_once() {
        assert_eq!(Book::of("* **M1.1** a\n* **M1.1** b\n").findings.len(), 1);
        assert_eq!(Book::of("").findings.len(), 1);
    }

    #[test]
    fn tests_are_known_by_their_place() {
        for test in ["tests/src/lab/mod.rs", "a/src/b/tests.rs", "a/tests/b.rs", "tests/fuzz/x.rs"]
        {
            assert!(is_test_file(test), "{test}");
        }
        for code in ["a/src/b.rs", "dataplane/port/bpf/icmp.h", "a/src/contests.rs"] {
            assert!(!is_test_file(code), "{code}");
        }
    }
}
