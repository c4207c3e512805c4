//! What can go wrong in the lab, and the macro by which a test states what it expects.
//! Owns no recovery: a lab that cannot be built ends the test.

use std::path::Path;
use std::time::Duration;

/// Result of every lab operation.
pub type LabResult<T = ()> = Result<T, LabError>;

/// Why a lab operation failed; the text is for the person who reads the test's output.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The operating system refused something.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, with the file or the program.
        what: String,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// A program ended with an error.
    #[error("{command} failed ({status}): {output}")]
    Command {
        /// The command line.
        command: String,
        /// Its exit status, or `signal`.
        status: String,
        /// Standard output and error, trimmed.
        output: String,
    },
    /// Something awaited did not happen.
    #[error("not within {limit:?}: {what}")]
    Timeout {
        /// What was awaited.
        what: String,
        /// How long.
        limit: Duration,
    },
    /// An expectation of a test was not met.
    #[error("{0}")]
    Expectation(String),
}

impl LabError {
    /// An [`LabError::Io`] with its context, for `map_err`.
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// The same for a file.
    pub fn file(verb: &str, path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        Self::io(format!("{verb} {}", path.display()))
    }
}

/// Returns [`LabError::Expectation`] with the formatted text unless the condition holds.
#[macro_export]
macro_rules! expect_that {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err($crate::lab::LabError::Expectation(format!($($text)+)));
        }
    };
}
