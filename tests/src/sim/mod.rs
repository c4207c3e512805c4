//! Deterministic simulation: the whole system in one thread under virtual time, with everything
//! failing that can fail, and everything checked that must hold. One seed decides all of it.
//!
//! | module | owns |
//! |---|---|
//! | `plan`, `dice` | what a seed decides; generators by purpose |
//! | `schedule`, `trace` | virtual time and the order of events; what happened |
//! | `world` | who hears what from whom; how a run ends |
//! | `party` | agent, gateway and KDC: the product's own code, with rings in memory |
//! | `host`, `pattern` | TCP stacks and programs; what their streams consist of |
//! | `attacker` | who sees all of the cipher side, and what he sends |
//! | `network`, `nat`, `isn`, `alter`, `frame` | the path between the stations, and what it does to frames |
//! | `invariant` | what must hold after every step |
//! | [`report`] | running many seeds, or one; what is printed |

mod alter;
mod attacker;
mod dice;
mod frame;
mod host;
mod invariant;
mod isn;
mod nat;
mod network;
mod party;
mod pattern;
mod plan;
pub mod report;
mod schedule;
mod trace;
mod world;

pub use invariant::Violation;
