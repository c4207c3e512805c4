//! What a benchmark returns and how it is shown. Owns no measuring.

use serde::Serialize;

/// One figure, with the peer it is held against where there is one.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Path-like name, e.g. `cipher/seal/1448`.
    pub name: String,
    /// The figure of this project, in `unit`.
    pub value: f64,
    /// Unit of `value`, e.g. `ns/packet`.
    pub unit: &'static str,
    /// The peer measured in the same run; empty where there is none.
    pub peer: String,
    /// How many times better than the peer: above 1 is better. `None` without a peer.
    pub ratio: Option<f64>,
}

impl Row {
    /// A figure where less is better (a time), held against a peer's.
    #[must_use]
    pub fn less_is_better(
        name: String,
        value: f64,
        unit: &'static str,
        peer: &str,
        of_peer: f64,
    ) -> Self {
        Self { name, value, unit, peer: peer.to_owned(), ratio: Some(of_peer / value) }
    }

    /// A figure where more is better (a rate), held against a peer's.
    #[must_use]
    pub fn more_is_better(
        name: String,
        value: f64,
        unit: &'static str,
        peer: &str,
        of_peer: f64,
    ) -> Self {
        Self { name, value, unit, peer: peer.to_owned(), ratio: Some(value / of_peer) }
    }

    /// A figure without a peer.
    #[must_use]
    pub fn alone(name: String, value: f64, unit: &'static str) -> Self {
        Self { name, value, unit, peer: String::new(), ratio: None }
    }
}

/// The object that `--json` prints on standard output.
#[derive(Debug, Serialize)]
pub struct Report {
    schema: u32,
    results: Vec<Row>,
}

impl Report {
    /// Wraps the rows in the current schema.
    #[must_use]
    pub fn new(results: Vec<Row>) -> Self {
        Self { schema: 1, results }
    }

    /// A table for a person.
    #[must_use]
    pub fn to_table(&self) -> String {
        let mut out =
            format!("{:<34} {:>12} {:<12} {:>8}  peer\n", "name", "value", "unit", "ratio");
        for row in &self.results {
            let ratio = row.ratio.map_or_else(String::new, |r| format!("{r:.2}"));
            out.push_str(&format!(
                "{:<34} {:>12.2} {:<12} {:>8}  {}\n",
                row.name, row.value, row.unit, ratio, row.peer
            ));
        }
        out
    }
}
