//! The bodies of the fuzz targets, as plain functions over bytes: `cargo xtask fuzz` runs them under a
//! fuzzer, the tests here replay the named inputs of `tests/fuzz/corpus`. A body panics where a
//! guarantee is broken and says nothing else.
//!
//! | target | what it drives |
//! |---|---|
//! | [`frame`] | reading and rewriting of frames |
//! | [`burst`] | the pipeline of both roles back to back |
//! | [`session`] | session table and half-connections, beside a model |
//! | [`kdc_request`] | the KDC's decision over a request |
//! | [`kdc_reply`] | the gateway's requester and the answers it hears |
//! | [`delivery`] | key delivery, both ends and a KDC |
//! | [`config`] | configuration files and reloads |

mod burst;
mod config;
mod delivery;
mod frame;
mod kdc_reply;
mod kdc_request;
mod parties;
mod script;
#[cfg(test)]
mod seeds;
mod session;
#[cfg(test)]
mod tests;

pub use burst::burst;
pub use config::config;
pub use delivery::delivery;
pub use frame::frame;
pub use kdc_reply::kdc_reply;
pub use kdc_request::kdc_request;
pub use session::session;
