//! What a benchmark returns and how it is shown. Owns no measuring.

use serde::Serialize;

/// One figure, with the peer it is held against where there is one.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Path-like name, e.g. `cipher/seal/1448`; unique over all benchmarks.
    pub name: String,
    /// The figure of this project, in `unit`.
    pub value: f64,
    /// Unit of `value`, e.g. `ns/packet`.
    pub unit: &'static str,
    /// The peer measured in the same run.
    pub peer: Option<String>,
    /// How many times better than the peer: above 1 is better.
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
        Self { name, value, unit, peer: Some(peer.to_owned()), ratio: Some(of_peer / value) }
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
        Self { name, value, unit, peer: Some(peer.to_owned()), ratio: Some(value / of_peer) }
    }

    /// A figure without a peer.
    #[must_use]
    pub fn alone(name: String, value: f64, unit: &'static str) -> Self {
        Self { name, value, unit, peer: None, ratio: None }
    }

    /// The value with as many digits as mean something.
    #[must_use]
    pub fn shown_value(&self) -> String {
        match self.value {
            value if value >= 1000.0 => format!("{value:.0}"),
            value if value >= 10.0 => format!("{value:.1}"),
            value => format!("{value:.3}"),
        }
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
            format!("{:<34} {:>12} {:<10} {:>8}  {}\n", "name", "value", "unit", "ratio", "peer");
        for row in &self.results {
            let ratio = row.ratio.map_or_else(String::new, |ratio| format!("{ratio:.3}"));
            let peer = row.peer.as_deref().unwrap_or_default();
            let value = row.shown_value();
            out.push_str(&format!(
                "{:<34} {value:>12} {:<10} {ratio:>8}  {peer}\n",
                row.name, row.unit
            ));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_above_one_are_better_and_json_has_the_agreed_fields() {
        let time = Row::less_is_better("t".to_owned(), 50.0, "ns", "p", 100.0);
        let rate = Row::more_is_better("r".to_owned(), 50.0, "/s", "p", 100.0);
        assert_eq!((time.ratio, rate.ratio), (Some(2.0), Some(0.5)));
        let alone = Row::alone("a".to_owned(), 1.5, "ms");
        let report = Report::new(vec![time, alone]);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(
            json,
            serde_json::json!({ "schema": 1, "results": [
                { "name": "t", "value": 50.0, "unit": "ns", "peer": "p", "ratio": 2.0 },
                { "name": "a", "value": 1.5, "unit": "ms", "peer": null, "ratio": null },
            ] })
        );
        assert_eq!(report.to_table().lines().count(), 3);
    }
}
