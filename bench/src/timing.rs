//! Interleaved timing: the subjects of one comparison take turns in short rounds, so a machine whose
//! speed drifts slows all of them alike. The median round is the figure. Time is that of this
//! thread on a core, so what else runs on the machine counts only by what it does to caches.
//!
//! A [`Subject`] is timed whole. A [`Probe`] times itself, for work that has to be set up again each
//! time, as a sealed frame before it is opened: [`prepared`] leaves the setting up out.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

/// How long one round of one subject runs, at least, and how often it comes; odd, so the median is a
/// measured value.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// One round.
    pub round: Duration,
    /// Rounds per subject.
    pub rounds: usize,
}

impl Plan {
    /// For comparisons of a few subjects.
    pub const FEW: Self = Self { round: Duration::from_millis(4), rounds: 41 };
    /// For comparisons of many.
    pub const MANY: Self = Self { round: Duration::from_micros(1500), rounds: 31 };
}

/// The core that microbenchmarks run on; interrupts of small machines land on core 0.
const CORE: usize = 1;

/// A subject: does its work `n` times.
pub type Subject<'a> = Box<dyn FnMut(u64) + 'a>;

/// A subject that does its work `n` times and tells how long the part took that counts.
pub type Probe<'a> = Box<dyn FnMut(u64) -> Duration + 'a>;

/// A probe that counts all that `subject` does.
#[must_use]
pub fn whole(mut subject: Subject<'_>) -> Probe<'_> {
    Box::new(move |n| {
        let start = thread_time();
        subject(n);
        thread_time().saturating_sub(start)
    })
}

/// A probe of `work`, which does `each` repetitions, with `prepare` before it left out.
///
/// The median pass counts for all: a pass is too short for the clock of [`whole`], and one that was
/// interrupted must not count. What reading the clock takes is taken off.
#[must_use]
pub fn prepared<'a, S: 'a>(
    mut state: S,
    each: u64,
    prepare: impl Fn(&mut S) + 'a,
    work: impl Fn(&mut S) + 'a,
) -> Probe<'a> {
    Box::new(move |n| {
        let passes = (0..n.div_ceil(each)).map(|_| {
            prepare(&mut state);
            let start = Instant::now();
            work(&mut state);
            start.elapsed().as_nanos() as f64
        });
        let pass = quantile(passes.collect(), 0.5) - clock_cost();
        Duration::from_nanos((pass.max(0.0) * n as f64 / each as f64) as u64)
    })
}

/// Nanoseconds between two readings of the clock with nothing between them.
fn clock_cost() -> f64 {
    static COST: OnceLock<f64> = OnceLock::new();
    *COST.get_or_init(|| {
        let readings = (0..2001).map(|_| Instant::now().elapsed().as_nanos() as f64);
        quantile(readings.collect(), 0.5)
    })
}

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
    let mut probes: Vec<Probe<'_>> =
        subjects.iter_mut().map(|subject| whole(Box::new(subject))).collect();
    interleaved_probes(&mut probes, Plan::FEW)
}

/// As [`interleaved`], of probes, by `plan`.
#[must_use]
pub fn interleaved_probes(probes: &mut [Probe<'_>], plan: Plan) -> Vec<f64> {
    let repeats: Vec<u64> = probes.iter_mut().map(|probe| calibrate(probe, plan.round)).collect();
    let mut samples = vec![Vec::with_capacity(plan.rounds); probes.len()];
    for _ in 0..plan.rounds {
        for ((probe, &n), sample) in probes.iter_mut().zip(&repeats).zip(&mut samples) {
            sample.push(probe(n).as_nanos() as f64 / n as f64);
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
fn calibrate(probe: &mut Probe<'_>, round: Duration) -> u64 {
    let mut n = 1;
    loop {
        let elapsed = probe(n);
        if elapsed >= round {
            return n;
        }
        let scale = round.as_nanos() / elapsed.as_nanos().max(1) + 1;
        n = n.saturating_mul(u64::try_from(scale.clamp(2, 100)).unwrap_or(2));
    }
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
    fn preparing_is_not_counted() {
        let wait = |time: Duration| {
            let start = Instant::now();
            while start.elapsed() < time {}
        };
        let long = Duration::from_micros(300);
        let short = Duration::from_micros(100);
        let mut probe = prepared((), 4, move |()| wait(long), move |()| wait(short));
        let elapsed = probe(44);
        assert!((11 * short..11 * long).contains(&elapsed), "{elapsed:?}");
    }

    #[test]
    fn sleeping_is_not_counted() {
        let start = thread_time();
        std::thread::sleep(Duration::from_millis(30));
        assert!(thread_time().saturating_sub(start) < Duration::from_millis(15));
    }
}
