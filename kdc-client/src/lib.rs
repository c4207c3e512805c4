//! KDC messages, requests with fail-over, and both ends of key delivery, sans-I/O.
//!
//! Owns: what travels between client, gateway and key distribution centre
//! (`docs/spec.md` §4–§6), the long-term and session keys behind it, and the
//! state machines that drive it. Does not own sockets, clocks, threads or
//! session tables of the dataplane: time and randomness are parameters, keys
//! leave as bytes.

mod cookie;
pub mod delivery;
mod identity;
mod keys;
pub mod message;
mod refuse;
pub mod requester;
pub mod schedule;
pub mod wrap;

pub use delivery::{
    ClientDelivery, ClientDeliveryConfig, ClientOutput, GatewayDelivery, GatewayDeliveryConfig,
    GatewayOutput, SessionRef, TrafficSecrets,
};
pub use identity::{DeviceId, IdError, MAX_NAME, Name, Service};
pub use keys::{AuthKey, DeviceKey, KeyError, MasterKey, Role, RoleKeys, WrapError, WrapKey};
pub use refuse::{KdcFailure, RefuseCode};
pub use requester::{KdcTransport, Requester, RequesterConfig, RequesterOutput};
pub use wrap::Policy;

/// Largest message of any kind, in octets (spec M4.2).
pub const MAX_MESSAGE: usize = 1200;

/// Default UDP port of key delivery.
pub const DELIVERY_PORT: u16 = 1088;

/// Default port of the KDC, UDP and TCP.
pub const KDC_PORT: u16 = 1089;
