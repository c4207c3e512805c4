//! The reference of all metrics, generated from the table: `docs/metrics.md`.

use std::fmt::Write;

use super::table::{Kind, METRICS, Metric};
use crate::runtime::counted::label_sets;

const INTRODUCTION: &str = "\
# Metrics

Generated from `sekisho/src/metrics/table.rs`; `SEKISHO_BLESS=1 cargo test -p sekisho` writes it anew.

Served on `/metrics` at the address `listen` of `[metrics]`, `127.0.0.1:9478` unless configured. Counters count from
the start of the process. Label sets are closed: every value is there from the first scrape on, zero or not. Which
alerts to raise: [operations.md](operations.md).
The outcomes of a KDC's `sekisho_kdc_answers_total` are `issued`, `repeated` and the refusals of
`sekisho_key_deliveries_total`.

| metric | kind | labels | meaning |
|---|---|---|---|
";

/// The complete text of `docs/metrics.md`.
pub fn reference_markdown() -> String {
    let mut text = String::from(INTRODUCTION);
    for metric in METRICS {
        row_into(metric, &mut text);
    }
    for (label, values) in label_sets() {
        // Writing to a String cannot fail, here and below.
        let _ = write!(text, "\n## `{label}`\n\n| value | meaning |\n|---|---|\n");
        for value in values {
            let _ = writeln!(text, "| `{}` | {} |", value.label, value.help);
        }
    }
    text
}

fn row_into(metric: &Metric, text: &mut String) {
    let kind = match metric.kind {
        Kind::Counter(_) => "counter",
        Kind::Gauge(_) => "gauge",
        Kind::Histogram(_) => "histogram",
    };
    let labels =
        metric.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
    let _ = writeln!(text, "| `{}` | {kind} | {labels} | {} |", metric.name, metric.help);
}
