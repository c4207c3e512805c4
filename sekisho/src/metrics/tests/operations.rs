//! `docs/operations.md` names no metric, label value or drop reason that is not there, and its alerts are valid.

use std::collections::BTreeSet;

use super::*;
use crate::runtime::counted::label_sets;

fn operations() -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    std::fs::read_to_string(path).unwrap()
}

fn alerts(text: &str) -> String {
    let (_, rest) = text.split_once("```yaml\n").expect("the alerts are a block of YAML");
    rest.split("```").next().unwrap_or_default().to_owned()
}

/// The words in a text that `accept`s, with their characters.
fn words(text: &str, accept: impl Fn(char) -> bool) -> BTreeSet<&str> {
    text.split(|c| !accept(c)).filter(|word| !word.is_empty()).collect()
}

fn label_values(set: &str) -> BTreeSet<String> {
    let sets = label_sets();
    let (_, values) = sets.iter().find(|(name, _)| *name == set).expect("a label set of that name");
    values.iter().map(|value| value.label.to_string()).collect()
}

#[test]
fn every_metric_that_is_named_exists() {
    let text = operations();
    let known: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
    let named = words(&text, |c| c.is_ascii_alphanumeric() || c == '_');
    let named: Vec<_> = named.into_iter().filter(|word| word.starts_with("sekisho_")).collect();
    assert!(named.len() > 10, "{named:?}");
    for name in named {
        assert!(known.contains(name.trim_end_matches("_bucket")), "{name}");
    }
}

#[test]
fn every_drop_reason_that_is_named_exists() {
    let text = operations();
    let table =
        text.split_once("## Mend").and_then(|(_, rest)| rest.split_once("## Alerts")).unwrap().0;
    let mut seen = 0;
    for line in table.lines() {
        let first = line.trim_start_matches("| ").split(" | ").next().unwrap_or_default();
        let (set, rest) = if let Some(rest) = first.strip_prefix("drops ") {
            ("sekisho_drops_total{reason}", rest)
        } else if let Some(rest) = first.strip_prefix("XDP drops ") {
            ("sekisho_xdp_drops_total{reason}", rest)
        } else {
            continue;
        };
        for reason in
            rest.split('`').skip(1).step_by(2).filter(|word| !word.starts_with("sekisho_"))
        {
            assert!(label_values(set).contains(reason), "{reason} is not in {set}");
            seen += 1;
        }
    }
    assert!(seen >= 10, "{seen}");
}

#[test]
fn every_label_value_in_the_alerts_exists() {
    let text = alerts(&operations());
    assert!(text.contains(r#"outcome!="completed""#));
    assert!(label_values("sekisho_key_deliveries_total{outcome}").contains("completed"));
    let (_, rest) = text.split_once(r#"reason=~""#).expect("one alert is about reasons");
    for reason in rest.split('"').next().unwrap_or_default().split('|') {
        assert!(label_values("sekisho_drops_total{reason}").contains(reason), "{reason}");
    }
    assert!(label_values("sekisho_events_total{event}").contains("sessions_clear"));
}

#[test]
fn the_alerts_are_valid_rules() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("alerts.yml");
    std::fs::write(&path, alerts(&operations())).unwrap();
    let Some((success, said)) = promtool(&["check", "rules", &path.display().to_string()], "")
    else {
        return;
    };
    assert!(success && said.contains("10 rules found"), "{said}");
}
