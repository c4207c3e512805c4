//! What must hold after every step. Each watcher owns one promise, sees what passes and says what
//! broke; none of them touches what it watches.

pub(super) mod cipher_side;
pub(super) mod keystream;
pub(super) mod sessions;
pub(super) mod streams;

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The promise.
    pub invariant: &'static str,
    /// Nanoseconds since the start of the run.
    pub at: u64,
    /// What was seen.
    pub what: String,
}

/// What a watcher found: the promise, and what was seen instead.
pub(super) type Finding = (&'static str, String);
