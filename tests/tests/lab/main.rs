//! The lab tests: the real chain in network namespaces, with real programs. They need root; see
//! `cargo xtask test`. One binary, so that it is linked once; run with one test thread.
//! The network is drawn in `sekisho_tests::lab::topology`.

mod baseline;
mod claims;
mod failures;
mod floods;
mod forged;
mod hazards;
mod hostile;
mod hosts;
mod impaired;
mod interop;
mod keys;
mod matrix;
mod operations;
mod paths;
mod pmtu;
mod policies;
mod short;
mod transfers;
mod wrap;
