//! Running seeds and saying what came of them: in words, or as one JSON object.

use std::ops::Range;
use std::time::Instant;

use serde_json::json;

use super::invariant::Violation;
use super::party::lane::Depot;
use super::plan::{Feature, Plan};
use super::world::{Report, World};

/// Runs simulations one after another, with memory that they share.
#[derive(Default)]
pub struct Runner {
    depot: Depot,
}

/// What one seed came to.
#[derive(Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// A hash over all that happened.
    pub trace_hash: String,
    /// The first promise broken, if any.
    pub violation: Option<Violation>,
    /// The classes of trouble in it.
    pub features: Vec<String>,
    /// The last events, in words.
    pub lines: Vec<String>,
    /// Events, octets delivered, segments sealed, bad tags seen to change nothing.
    pub tallies: [u64; 4],
}

/// What many seeds came to.
#[derive(Debug)]
pub struct Summary {
    /// Seeds run.
    pub seeds: u64,
    /// Those that broke a promise, as [`Runner::explain`] shows them.
    pub failed: Vec<Outcome>,
    /// Wall-clock rate.
    pub seeds_per_second: f64,
    /// Sums of [`Outcome::tallies`].
    pub tallies: [u64; 4],
}

impl Runner {
    /// Runs one seed.
    pub fn seed(&mut self, seed: u64) -> Outcome {
        self.run(&Plan::of(seed))
    }

    /// Runs seeds; `each` hears of every outcome.
    pub fn seeds(&mut self, seeds: Range<u64>, mut each: impl FnMut(&Outcome)) -> Summary {
        let started = Instant::now();
        let count = seeds.end.saturating_sub(seeds.start);
        let (mut failed, mut tallies) = (Vec::new(), [0; 4]);
        for seed in seeds {
            let outcome = self.seed(seed);
            each(&outcome);
            tallies.iter_mut().zip(outcome.tallies).for_each(|(sum, one)| *sum += one);
            if outcome.violation.is_some() {
                failed.push(outcome);
            }
        }
        let seeds_per_second = count as f64 / started.elapsed().as_secs_f64().max(1e-9);
        Summary { seeds: count, failed, seeds_per_second, tallies }
    }

    /// A failing seed with as little trouble in it as still breaks the same promise, in words.
    pub fn explain(&mut self, outcome: &Outcome) -> String {
        let Some(violation) = &outcome.violation else {
            return format!("seed {}: everything held", outcome.seed);
        };
        let mut least = Plan::of(outcome.seed);
        let mut shown = self.run(&least);
        for feature in Feature::ALL {
            let fewer = Plan::with(outcome.seed, least.features.without(feature));
            let candidate = self.run(&fewer);
            let same = candidate.violation.as_ref().map(|v| v.invariant);
            if same == Some(violation.invariant) && least.features.has(feature) {
                (least, shown) = (fewer, candidate);
            }
        }
        let Violation { invariant, at, what } = shown.violation.as_ref().unwrap_or(violation);
        format!(
            "seed {}: BROKEN: {invariant}\n  {what}\n  after {:.6} s; in all: {}\n  \
             it takes: {}\n  last events of the least run:\n    {}",
            outcome.seed,
            *at as f64 / 1e9,
            outcome.features.join(" "),
            shown.features.join(" "),
            shown.lines.join("\n    ")
        )
    }

    fn run(&mut self, plan: &Plan) -> Outcome {
        let report = World::new(plan, &mut self.depot).run();
        let Report { violation, trace_hash, lines, events, octets, sealed, bad_tags, .. } = report;
        Outcome {
            seed: plan.seed,
            trace_hash,
            violation,
            features: plan.features.names(),
            lines,
            tallies: [events, octets, sealed, bad_tags],
        }
    }
}

impl Outcome {
    /// `{"seed":…,"trace_hash":…}`, and what broke where something did.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut object = json!({"seed": self.seed, "trace_hash": self.trace_hash});
        if let Some(violation) = &self.violation {
            object["broken"] = json!(violation.invariant);
            object["what"] = json!(violation.what);
            object["at_ns"] = json!(violation.at);
        }
        object.to_string()
    }
}

impl Summary {
    /// `{"seeds":…,"failed":[…],"seeds_per_second":…}`.
    #[must_use]
    pub fn to_json(&self) -> String {
        let failed: Vec<_> = self.failed.iter().map(|outcome| outcome.seed).collect();
        let rate = (self.seeds_per_second * 10.0).round() / 10.0;
        json!({"seeds": self.seeds, "failed": failed, "seeds_per_second": rate}).to_string()
    }
}
