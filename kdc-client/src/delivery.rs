//! Key delivery: the gateway's end and the client's end, as machines without I/O.
//!
//! Owns what both ends share: the name of a session, times, back-off. Time is
//! nanoseconds of a monotonic clock of the caller; randomness is handed in at
//! construction. Does not own sessions, frames or sockets.

mod budget;
mod client;
mod gateway;

pub use crate::schedule::TrafficSecrets;
pub use client::{ClientDelivery, ClientDeliveryConfig, ClientLimits, ClientOutput};
pub use gateway::{GatewayDelivery, GatewayDeliveryConfig, GatewayLimits, GatewayOutput};

use std::net::SocketAddr;

/// Nanoseconds of one millisecond.
pub const MILLISECOND: u64 = 1_000_000;
/// Nanoseconds of one second.
pub const SECOND: u64 = 1_000 * MILLISECOND;

/// First pause before a resend (design: 200 ms, doubling to 3 s).
const RESEND_FIRST: u64 = 200 * MILLISECOND;
const RESEND_MOST: u64 = 3 * SECOND;

/// The name of a session at this end: 4-tuple as seen here, and the client's initial sequence number.
///
/// It never enters a key or a message: behind NAT the two ends see different ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionRef {
    /// The client's address and port.
    pub client: SocketAddr,
    /// The server's address and port.
    pub server: SocketAddr,
    /// Sequence number of the SYN.
    pub client_isn: u32,
}

/// What a delivery machine refused to act on, by reason; for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ignored {
    /// Not a message, or one that the other end sends.
    pub malformed: u64,
    /// For no session that is known here.
    pub unknown: u64,
    /// Cookie stale, foreign or forged.
    pub bad_cookie: u64,
    /// A proof, box or field did not verify.
    pub unverified: u64,
    /// A repetition, or a message that the present stage does not wait for.
    pub out_of_stage: u64,
    /// Over a budget or beyond a table.
    pub over_budget: u64,
}

#[cfg(test)]
mod tests;
