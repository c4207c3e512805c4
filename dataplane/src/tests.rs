//! The pipeline as a whole, over in-memory ports: an agent's worker and a gateway's, back to back,
//! with scripted hosts and a scripted control.

mod abuse;
mod batches;
mod data;
mod equivalence;
mod exchange;
mod forgeries;
mod handshake;
mod harness;
mod layouts;
mod mangled;
mod network_errors;
mod paths;
mod policy;
mod quotation;
mod refusals;
mod segments;
mod streams;
mod teardown;
