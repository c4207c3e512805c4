//! Benchmarks of Sekisho, each beside its peers in one run, so that a ratio means something on any
//! machine. All of them return [`report::Row`]s: text, JSON and bench/RESULTS.md show the same figures.
//!
//! | module | measures |
//! |---|---|
//! | [`cipher`] | seal and open, every kernel beside its peers |
//! | [`constant_time`] | whether times depend on secrets |
//! | [`burst`] | `process_burst` over in-memory ports |
//! | [`forward`] | TCP through the real chain over veth |
//! | [`flood`] | goodput of established streams while the gateway is flooded |
//! | [`latency`] | connects and first bytes through the real chain |
//!
//! [`catalogue`] lists and runs them, [`timing`] times, [`path`] builds what packets cross,
//! [`machine`] says where, [`report`] and [`markdown`] show.

pub mod burst;
pub mod catalogue;
pub mod cipher;
pub mod constant_time;
pub mod flood;
pub mod forward;
pub mod latency;
pub mod machine;
pub mod markdown;
pub mod path;
pub mod report;
pub mod timing;

/// Why a benchmark gave no figures; the text is for the person who ran it.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The lab could not be built or a program in it failed.
    #[error(transparent)]
    Lab(#[from] sekisho_tests::lab::LabError),
    /// The ports of a bare forwarder could not be opened or closed.
    #[error(transparent)]
    Port(#[from] sekisho_port::PortError),
    /// Namespaces and AF_XDP need root.
    #[error("{0} needs root: run it by `sudo`, or as root")]
    NeedsRoot(&'static str),
    /// What was measured did not do its work, so its time means nothing.
    #[error("not measured: {0}")]
    Invalid(String),
    /// A file or the system refused something.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// The system's answer.
        source: std::io::Error,
    },
}

/// Result of a benchmark.
pub type BenchResult<T> = Result<T, BenchError>;
