//! The lab tests: the real chain in network namespaces, with real programs. They need root; see
//! `cargo xtask test`. One binary, so that it is linked once; run with one test thread.

mod baseline;
