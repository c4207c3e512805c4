//! Benchmarks of Sekisho against its peers. One module per benchmark; all of them
//! return [`report::Row`]s, so that text, JSON and bench/RESULTS.md show the same figures.

pub mod cipher;
pub mod report;
pub mod timing;
