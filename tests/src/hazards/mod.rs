//! The hazard suite: for each row of docs/hazards.md one named case or more, run on the real chain in
//! IPv4 and IPv6, and a table that says row by row whether the rule holds and by what it was seen.
//!
//! | file | noun |
//! |---|---|
//! | `rows` | the forty rows and the cases of each |
//! | `lab` | the chains that cases run on |
//! | `context` | what a case is given |
//! | `raw` | raw TCP ends on both sides of the boxes |
//! | `run` | chains started, cases run, results by row |
//! | `report` | the table, the JSON object |
//! | `cases/` | the cases, by subject |
//!
//! A new case is a constant of type [`Case`] in `cases/`, named in its row in `rows`. It says which
//! chain it wants ([`Lab`]) and returns what it saw; the runner adds the counters that moved meanwhile
//! at gateway and agent, so evidence is never a fixed text. Cases share their chain: each takes ports of
//! its own ([`Context::port`]) and leaves the chain able to serve.

pub mod cases;
pub mod context;
pub mod lab;
pub mod raw;
pub mod report;
pub mod rows;
pub mod run;

pub use context::Context;
pub use lab::Lab;
pub use rows::ROWS;
pub use run::{Options, Outcome, check, run, run_lab};

use crate::lab::LabResult;
use crate::lab::topology::Family;

/// What a case saw, in a few words with figures; the runner appends the counters that moved.
pub type Evidence = String;

/// One named way to show that a rule holds.
#[derive(Clone, Copy)]
pub struct Case {
    /// What is shown, in snake_case; unique.
    pub name: &'static str,
    /// The chain it runs on.
    pub lab: Lab,
    /// The one family in which it has a meaning, where it is not both.
    pub only: Option<Family>,
    /// The case itself: an error says what did not hold.
    pub run: fn(&mut Context, Family) -> LabResult<Evidence>,
}

impl Case {
    /// A case for both families.
    pub const fn new(
        name: &'static str,
        lab: Lab,
        run: fn(&mut Context, Family) -> LabResult<Evidence>,
    ) -> Self {
        Self { name, lab, only: None, run }
    }

    /// The same for one family only.
    pub const fn only(mut self, family: Family) -> Self {
        self.only = Some(family);
        self
    }
}

/// A row of docs/hazards.md.
pub struct Row {
    /// Its number there.
    pub id: u8,
    /// The hazard in a few words.
    pub hazard: &'static str,
    /// Why it has no meaning in one IP version, where it has none.
    pub meaningless: Option<(Family, &'static str)>,
    /// Its cases.
    pub cases: &'static [Case],
}
