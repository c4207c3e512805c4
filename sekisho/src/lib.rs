//! The Sekisho program: gateway, client agent, KDC, and the tools to look at them.

pub mod admin;
pub mod cli;
pub mod control;
pub mod doctor;
pub mod harden;
pub mod kdc;
pub mod logging;
pub mod metrics;
pub mod runtime;
pub mod status;
