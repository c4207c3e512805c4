//! The hazard suite as tests, one for each chain: a failure names row, case and family.

use sekisho_tests::hazards::{Lab, check};
use sekisho_tests::lab::LabResult;

#[test]
fn on_the_ordinary_chain() -> LabResult {
    check(Lab::Ordinary)
}

#[test]
fn under_prefer() -> LabResult {
    check(Lab::Prefer)
}

#[test]
fn on_two_queues() -> LabResult {
    check(Lab::TwoQueues)
}

#[test]
fn with_partial_checksums() -> LabResult {
    check(Lab::Offloaded)
}

#[test]
fn with_a_busy_gateway() -> LabResult {
    check(Lab::Busy)
}

#[test]
fn with_a_killed_gateway() -> LabResult {
    check(Lab::Crash)
}

#[test]
fn with_a_killed_gateway_that_fails_open() -> LabResult {
    check(Lab::FailOpen)
}

#[test]
fn on_impaired_paths() -> LabResult {
    check(Lab::Impaired)
}
