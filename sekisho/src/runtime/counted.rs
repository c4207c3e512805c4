//! Counts under their names and help: the closed label sets of a gateway and a client agent. Pure, so that the
//! reference of metrics is made from the same lists as the metrics.

use std::collections::BTreeMap;

use sekisho_dataplane::{CloseCause, DropReason, WorkerSnapshot};
use sekisho_kdc_client::RefuseCode;
use sekisho_kdc_client::delivery::Ignored;
use sekisho_port::XdpCounter;
use sekisho_session::State;

use crate::control::{KdcOutcomes, Outcomes};
use crate::status::Counted;

/// Tallies of workers that are gauges, durations, or metrics of their own.
const NOT_EVENTS: [&str; 6] =
    ["held", "turns", "busy_ns", "idle_ns", "exchange_out", "exchange_in"];

/// Every closed label set, as `metric{label}` and its values.
pub(crate) fn label_sets() -> Vec<(&'static str, Vec<Counted>)> {
    let (workers, outcomes) = (WorkerSnapshot::default(), Outcomes::default());
    vec![
        ("sekisho_sessions{state}", sessions(&workers)),
        ("sekisho_sessions_closed_total{cause}", closed(&outcomes)),
        ("sekisho_drops_total{reason}", drops(&workers)),
        ("sekisho_xdp_drops_total{reason}", xdp(XdpCounter::is_drop, |_| 0)),
        ("sekisho_xdp_passed_total{to}", xdp(|counter| !counter.is_drop(), |_| 0)),
        ("sekisho_events_total{event}", events(&workers, &Ignored::default())),
        ("sekisho_key_deliveries_total{outcome}", deliveries(&outcomes)),
        ("sekisho_kdc_requests_total{outcome}", kdc_requests(&KdcOutcomes::default())),
    ]
}

pub(super) fn sessions(workers: &WorkerSnapshot) -> Vec<Counted> {
    let states = State::ALL.iter().zip(workers.sessions);
    let states = states.map(|(state, count)| Counted::new(state.label(), state.help(), count));
    let clear = "Runs in clear by the policy of its service.";
    states.chain([Counted::new("clear", clear, workers.clear_sessions)]).collect()
}

pub(super) fn closed(outcomes: &Outcomes) -> Vec<Counted> {
    CloseCause::ALL
        .iter()
        .map(|cause| counted(cause.label(), cause.help(), &outcomes.closed))
        .collect()
}

pub(super) fn drops(workers: &WorkerSnapshot) -> Vec<Counted> {
    let reasons = DropReason::ALL.iter();
    reasons
        .map(|reason| Counted::new(reason.label(), reason.help(), workers.dropped(*reason)))
        .collect()
}

pub(super) fn xdp(
    wanted: impl Fn(XdpCounter) -> bool,
    count: impl Fn(XdpCounter) -> u64,
) -> Vec<Counted> {
    let counters = XdpCounter::ALL.iter().filter(|counter| wanted(**counter));
    counters.map(|counter| Counted::new(counter.label(), counter.help(), count(*counter))).collect()
}

pub(super) fn events(workers: &WorkerSnapshot, ignored: &Ignored) -> Vec<Counted> {
    let tallies =
        workers.tallies.rows().into_iter().filter(|(label, ..)| !NOT_EVENTS.contains(label));
    let delivery = [
        ("delivery_malformed", "Key-delivery messages that do not parse.", ignored.malformed),
        ("delivery_unknown", "Key-delivery messages for no session known here.", ignored.unknown),
        ("delivery_bad_cookie", "Cookies that were stale, foreign or forged.", ignored.bad_cookie),
        ("delivery_unverified", "Key-delivery messages that did not verify.", ignored.unverified),
        ("delivery_out_of_stage", "Repeated key-delivery messages.", ignored.out_of_stage),
        ("delivery_over_budget", "Key-delivery messages beyond a budget.", ignored.over_budget),
    ];
    tallies.chain(delivery).map(|(label, help, count)| Counted::new(label, help, count)).collect()
}

pub(super) fn deliveries(outcomes: &Outcomes) -> Vec<Counted> {
    let completed = Counted::new("completed", "Ended in synchronisation.", outcomes.completed);
    let codes = RefuseCode::ALL.iter();
    let failures = codes.map(|code| counted(code.label(), code.help(), &outcomes.failed));
    std::iter::once(completed).chain(failures).collect()
}

pub(super) fn kdc_requests(outcomes: &KdcOutcomes) -> Vec<Counted> {
    let answered = [
        Counted::new("replied", "Answered with keys.", outcomes.replied),
        Counted::new("unavailable", "No KDC gave a valid answer in time.", outcomes.unavailable),
    ];
    let refusals = RefuseCode::ALL.iter().filter(|code| **code != RefuseCode::KdcUnavailable);
    let refusals = refusals.map(|code| counted(code.label(), code.help(), &outcomes.refused));
    answered.into_iter().chain(refusals).collect()
}

fn counted(
    label: &'static str,
    help: &'static str,
    counts: &BTreeMap<&'static str, u64>,
) -> Counted {
    Counted::new(label, help, counts.get(label).copied().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn labels_are_unique_explained_and_fit_a_metric() {
        for (set, values) in label_sets() {
            let labels: BTreeSet<_> = values.iter().map(|value| value.label.as_ref()).collect();
            assert_eq!(labels.len(), values.len(), "{set}");
            for value in values {
                let shape = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
                assert!(value.label.chars().all(shape), "{set}: {}", value.label);
                assert!(
                    !value.help.trim().is_empty() && !value.help.contains(['\n', '|']),
                    "{set}: {}",
                    value.label
                );
            }
        }
    }
}
