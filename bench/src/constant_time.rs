//! Whether times depend on secrets, after the manner of dudect (Reparaz, Balasch, Verbauwhede, 2017): two
//! classes of input in random order, Welch's t of their times, |t| < 5 at 10^7 measurements.
//!
//! A comparison that leaves early is measured as well: were it not found, the method would find nothing.

#[cfg(feature = "peers")]
mod peer;
mod trial;
mod welch;

use crate::BenchResult;
use crate::report::Row;
use crate::timing::pinned;
use trial::{ROUND, Trial};
use welch::Comparison;

/// Measurements of each trial.
const MEASUREMENTS: u64 = 10_000_000;
/// Beyond this |t| classes differ.
const THRESHOLD: f64 = 5.0;

/// Rows `constant-time/…`: the largest |t| of each trial, `ratio` how far below the threshold it is;
/// of the control, how far above.
///
/// # Errors
/// None today; the form is that of all benchmarks.
pub fn run() -> BenchResult<Vec<Row>> {
    Ok(pinned(|| trial::all().into_iter().map(|trial| row(trial, MEASUREMENTS)).collect()))
}

fn row(mut trial: Trial, measurements: u64) -> Row {
    let name = format!("constant-time/{}", trial.name);
    let t = measure(&mut trial, measurements);
    eprintln!("  {name}: |t| = {t:.2}");
    let threshold = format!("|t| = {THRESHOLD}");
    if trial.leaks {
        Row::more_is_better(name, t, "|t|", &threshold, THRESHOLD)
    } else {
        Row::less_is_better(name, t, "|t|", &threshold, THRESHOLD)
    }
}

fn measure(trial: &mut Trial, measurements: u64) -> f64 {
    let mut comparison = Comparison::new();
    for _ in 0..measurements.div_ceil(ROUND as u64) {
        for (class, time) in trial.round() {
            comparison.push(class, time as f64);
        }
    }
    comparison.largest()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trial_runs() {
        let trials = trial::all();
        assert_eq!(trials.iter().filter(|trial| trial.leaks).count(), 1, "one control");
        for mut trial in trials {
            let t = measure(&mut trial, 20_000);
            assert!(t.is_finite(), "{}", trial.name);
        }
    }
}
