//! What is wrong with a file, where, and what to do about it.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use serde::Serialize;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file was read and is wrong.
    #[error("{0}")]
    Invalid(Report),
}

/// All that is wrong with one file, in the order of its lines; never empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The file's name as it is shown.
    pub file: String,
    /// What is wrong.
    pub diagnostics: Vec<Diagnostic>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1, in characters.
    pub column: usize,
    /// Characters that the caret line marks; at least 1.
    pub width: usize,
    /// The text of that line.
    pub source_line: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// Locates `span` (octets of `text`).
    pub(crate) fn at(
        text: &str,
        span: Range<usize>,
        message: impl Into<String>,
        hint: Option<String>,
    ) -> Self {
        let start = floor_char(text, span.start);
        let end = floor_char(text, span.end).max(start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[line_start..].find('\n').map_or(text.len(), |at| line_start + at);
        let source_line = text[line_start..line_end].trim_end_matches('\r');
        Self {
            line: text[..line_start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            width: text[start..end.min(line_end).max(start)].chars().count().max(1),
            source_line: source_line.to_owned(),
            message: message.into(),
            hint,
        }
    }
}

/// The nearest character border at or below `at`.
fn floor_char(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for diagnostic in &self.diagnostics {
            diagnostic.render(&self.file, f)?;
        }
        match self.diagnostics.len() {
            1 => write!(f, "{}: 1 error", self.file),
            count => write!(f, "{}: {count} errors", self.file),
        }
    }
}

impl Diagnostic {
    fn render(&self, file: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        // Tabs are kept in front of the caret, so it stands below what it marks at any tab width.
        let before = self.source_line.chars().take(self.column - 1);
        let lead: String = before.map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        writeln!(f, "{file}:{}:{}: error: {}", self.line, self.column, self.message)?;
        writeln!(f, "{gutter} |")?;
        writeln!(f, "{number} | {}", self.source_line)?;
        writeln!(f, "{gutter} | {lead}{}", "^".repeat(self.width))?;
        match &self.hint {
            Some(hint) => writeln!(f, "{gutter} = hint: {hint}\n"),
            None => writeln!(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_in_characters_from_one() {
        let text = "a = 1\r\n\tß = \"é\"\nlast";
        let quoted = text.find('"').unwrap();
        let place = Diagnostic::at(text, quoted..quoted + 4, "m", None);
        assert_eq!((place.line, place.column, place.width), (2, 6, 3));
        assert_eq!(place.source_line, "\tß = \"é\"");
        let end = Diagnostic::at(text, text.len()..text.len() + 9, "m", None);
        assert_eq!((end.line, end.column, end.width), (3, 5, 1));
        let empty = Diagnostic::at("", 0..0, "m", None);
        assert_eq!(
            (empty.line, empty.column, empty.width, empty.source_line.as_str()),
            (1, 1, 1, "")
        );
        let first = Diagnostic::at(text, 0..text.len(), "m", None);
        assert_eq!((first.line, first.column), (1, 1));
    }

    #[test]
    fn the_report_shows_line_caret_and_hint() {
        let text = "[ports]\n\tcypher = 1\n";
        let diagnostic = Diagnostic::at(
            text,
            9..15,
            "unknown key `cypher`",
            Some("did you mean `cipher`?".into()),
        );
        let report = Report { file: "gw.toml".into(), diagnostics: vec![diagnostic] };
        let expected = "gw.toml:2:2: error: unknown key `cypher`\n  |\n2 | \tcypher = 1\n  | \t^^^^^^\n  \
                        = hint: did you mean `cipher`?\n\ngw.toml: 1 error";
        assert_eq!(report.to_string(), expected);
    }
}
