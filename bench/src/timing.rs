//! Interleaved timing: the subjects of one comparison take turns in short rounds, so a
//! machine whose speed drifts slows all of them alike. The median round is the figure.

use std::time::{Duration, Instant};

/// How long one round of one subject runs, at least.
const ROUND: Duration = Duration::from_millis(4);
/// Rounds per subject; odd, so the median is a measured value.
const ROUNDS: usize = 41;

/// A subject: does its work `n` times.
pub type Subject<'a> = Box<dyn FnMut(u64) + 'a>;

/// Nanoseconds per repetition of each subject, medians over interleaved rounds.
#[must_use]
pub fn interleaved(subjects: &mut [Subject<'_>]) -> Vec<f64> {
    let repeats: Vec<u64> = subjects.iter_mut().map(calibrate).collect();
    let mut samples = vec![Vec::with_capacity(ROUNDS); subjects.len()];
    for _ in 0..ROUNDS {
        for ((subject, &n), sample) in subjects.iter_mut().zip(&repeats).zip(&mut samples) {
            let start = Instant::now();
            subject(n);
            sample.push(start.elapsed().as_nanos() as f64 / n as f64);
        }
    }
    samples.into_iter().map(median).collect()
}

/// Repetitions that fill one round; the runs it takes to find out are the warm-up.
fn calibrate(subject: &mut Subject<'_>) -> u64 {
    let mut n = 1;
    loop {
        let start = Instant::now();
        subject(n);
        let elapsed = start.elapsed();
        if elapsed >= ROUND {
            return n;
        }
        let scale = ROUND.as_nanos() / elapsed.as_nanos().max(1);
        n = n.saturating_mul(u64::try_from(scale.clamp(2, 100)).unwrap_or(2));
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
