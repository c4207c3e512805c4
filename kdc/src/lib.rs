//! The key distribution centre: registry of devices, issuing of session keys, server.
//!
//! Owns the long-term keys at rest, the policy and the decision over each KEY-REQUEST. Messages and
//! key wrapping are `sekisho-kdc-client`'s, the configuration file is `sekisho-config`'s.

pub mod audit;
pub mod issuer;
pub mod keyfile;
pub mod policy;
pub mod registry;
pub mod server;
