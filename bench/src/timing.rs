//! Interleaved timing: the subjects of one comparison take turns in short rounds, so a machine whose
//! speed drifts slows all of them alike. The median round is the figure. Time is that of this
//! thread on a core, so what else runs on the machine counts only by what it does to caches.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// How long one round of one subject runs, at least.
const ROUND: Duration = Duration::from_millis(4);
/// Rounds per subject; odd, so the median is a measured value.
const ROUNDS: usize = 41;
/// The core that microbenchmarks run on; interrupts of small machines land on core 0.
const CORE: usize = 1;

/// A subject: does its work `n` times.
pub type Subject<'a> = Box<dyn FnMut(u64) + 'a>;

/// Runs `work` on a thread pinned to core 1, where there is one. A thread of its own: what is
/// started later must not inherit the pin.
pub fn pinned<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let joined = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            core_affinity::set_for_current(core_affinity::CoreId { id: CORE });
            work()
        });
        thread.join()
    });
    joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Nanoseconds per repetition of each subject, medians over interleaved rounds.
#[must_use]
pub fn interleaved(subjects: &mut [Subject<'_>]) -> Vec<f64> {
    let repeats: Vec<u64> = subjects.iter_mut().map(calibrate).collect();
    let mut samples = vec![Vec::with_capacity(ROUNDS); subjects.len()];
    for _ in 0..ROUNDS {
        for ((subject, &n), sample) in subjects.iter_mut().zip(&repeats).zip(&mut samples) {
            sample.push(timed(subject, n).as_nanos() as f64 / n as f64);
        }
    }
    samples.into_iter().map(|values| quantile(values, 0.5)).collect()
}

/// The value below which a fraction `q` of `values` lies (nearest rank); 0 of none.
#[must_use]
pub fn quantile(mut values: Vec<f64>, q: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    let at = (q * last as f64).round() as usize;
    values.get(at.min(last)).copied().unwrap_or_default()
}

/// Repetitions that fill one round; the runs it takes to find out are the warm-up.
fn calibrate(subject: &mut Subject<'_>) -> u64 {
    let mut n = 1;
    loop {
        let elapsed = timed(subject, n);
        if elapsed >= ROUND {
            return n;
        }
        let scale = ROUND.as_nanos() / elapsed.as_nanos().max(1) + 1;
        n = n.saturating_mul(u64::try_from(scale.clamp(2, 100)).unwrap_or(2));
    }
}

fn timed(subject: &mut Subject<'_>, n: u64) -> Duration {
    let start = thread_time();
    subject(n);
    thread_time().saturating_sub(start)
}

/// Time that this thread has spent on a core.
fn thread_time() -> Duration {
    // Linux has this clock wherever it has threads.
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_nearest_ranks() {
        let values: Vec<f64> = (0..=100).rev().map(f64::from).collect();
        assert_eq!(quantile(values.clone(), 0.5), 50.0);
        assert_eq!(quantile(values.clone(), 0.99), 99.0);
        assert_eq!(quantile(values, 1.0), 100.0);
        assert_eq!(quantile(vec![7.0], 0.99), 7.0);
        assert_eq!(quantile(Vec::new(), 0.5), 0.0);
    }

    #[test]
    fn a_subject_twice_as_long_takes_about_twice_the_time() {
        let work = |steps: u64| {
            move |n: u64| {
                let mut x = 1_u64;
                for _ in 0..n * steps {
                    x = std::hint::black_box(x.wrapping_mul(6_364_136_223_846_793_005));
                }
            }
        };
        let times = interleaved(&mut [Box::new(work(100)), Box::new(work(200))]);
        let ratio = times[1] / times[0];
        assert!((1.2..3.5).contains(&ratio), "{times:?}");
    }

    #[test]
    fn sleeping_is_not_counted() {
        let start = thread_time();
        std::thread::sleep(Duration::from_millis(30));
        assert!(thread_time().saturating_sub(start) < Duration::from_millis(15));
    }
}
