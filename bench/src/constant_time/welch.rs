//! Welch's t of two classes of times, over all and over the quicker ones.
//!
//! Owns: the statistics. A time that was interrupted is long whatever was computed, so each figure is
//! also taken below several limits, found from the first measurements; the largest |t| counts.

use crate::timing::quantile;

/// Fractions of the times below each limit; 1 takes all.
const KEPT: [f64; 8] = [1.0, 0.99, 0.95, 0.9, 0.8, 0.7, 0.5, 0.3];
/// Measurements from which the limits come; they are not counted.
const FIRST: usize = 10_000;
/// A class with fewer times below a limit says nothing.
const LEAST: f64 = 1000.0;

/// Times of two classes as they come.
pub(super) struct Comparison {
    first: Vec<f64>,
    limits: [f64; KEPT.len()],
    tests: [[Moments; 2]; KEPT.len()],
}

impl Comparison {
    pub(super) fn new() -> Self {
        Self {
            first: Vec::with_capacity(FIRST),
            limits: [f64::INFINITY; KEPT.len()],
            tests: Default::default(),
        }
    }

    /// Takes in a time of class 0 or 1.
    pub(super) fn push(&mut self, class: usize, time: f64) {
        if self.first.len() < FIRST {
            self.first.push(time);
            if self.first.len() == FIRST {
                self.find_limits();
            }
            return;
        }
        for (limit, test) in self.limits.iter().zip(&mut self.tests) {
            if time <= *limit {
                test[class].push(time);
            }
        }
    }

    fn find_limits(&mut self) {
        for (limit, kept) in self.limits.iter_mut().zip(KEPT) {
            if kept < 1.0 {
                *limit = quantile(self.first.clone(), kept);
            }
        }
    }

    /// The largest |t|.
    pub(super) fn largest(&self) -> f64 {
        self.tests.iter().filter_map(welch).map(f64::abs).fold(0.0, f64::max)
    }
}

/// Count, mean and sum of squared distances from it (Welford).
#[derive(Default)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn push(&mut self, value: f64) {
        self.count += 1.0;
        let distance = value - self.mean;
        self.mean += distance / self.count;
        self.squares += distance * (value - self.mean);
    }

    /// Variance of the mean.
    fn error(&self) -> f64 {
        self.squares / (self.count - 1.0) / self.count
    }
}

/// t of the difference of means; none with too few values.
fn welch([one, other]: &[Moments; 2]) -> Option<f64> {
    if one.count < LEAST || other.count < LEAST {
        return None;
    }
    let error = (one.error() + other.error()).sqrt();
    let difference = one.mean - other.mean;
    Some(if difference == 0.0 { 0.0 } else { difference / error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_values() {
        let mut moments = Moments::default();
        [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0].iter().for_each(|value| moments.push(*value));
        assert_eq!((moments.mean, moments.squares), (5.0, 32.0));
        assert!((moments.error() - 32.0 / 7.0 / 8.0).abs() < 1e-12);
    }

    /// Times between 100 and 163, one in a hundred interrupted.
    fn times(shift: f64, count: usize) -> f64 {
        let mut comparison = Comparison::new();
        let mut state = 0x5e15_u64;
        for _ in 0..count {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (class, noise) = ((state >> 40) as usize & 1, (state >> 50) as f64 % 64.0);
            let interrupted = if state >> 57 == 5 { 1e6 } else { 0.0 };
            comparison.push(class, 100.0 + noise + shift * class as f64 + interrupted);
        }
        comparison.largest()
    }

    #[test]
    fn equal_classes_stay_below_and_others_do_not() {
        assert!(times(0.0, 300_000) < 5.0, "{}", times(0.0, 300_000));
        assert!(times(1.0, 300_000) > 5.0, "one in a hundred is found: {}", times(1.0, 300_000));
        assert_eq!(times(1.0, FIRST), 0.0, "nothing is known yet");
    }
}
