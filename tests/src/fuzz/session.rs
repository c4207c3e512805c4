//! Session table and half-connections beside a plain model of both: a list of sessions, and offsets as
//! numbers that do not wrap.

mod half;
mod table;

use self::table::Pair;
use super::script::Script;

/// Most steps of one script.
const STEPS: usize = 600;

/// Drives table and model by one script.
///
/// # Panics
/// Where the two differ.
pub fn session(data: &[u8]) {
    let _ = run(data);
}

/// What a run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reached {
    /// Candidates that took the place of a session.
    pub(super) displaced: u64,
    /// Sessions that ended by a wait of theirs.
    pub(super) expired: u64,
    /// The highest offset.
    pub(super) high: u64,
}

pub(super) fn run(data: &[u8]) -> Reached {
    let mut script = Script::new(data);
    let mut pair = Pair::new();
    for _ in 0..STEPS {
        if script.is_over() {
            break;
        }
        pair.step(&mut script);
        pair.compare();
    }
    pair.reached
}
