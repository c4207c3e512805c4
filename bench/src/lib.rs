//! Benchmarks of Sekisho against its peers, measured in one run.
