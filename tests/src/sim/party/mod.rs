//! Who takes part between the hosts: the two stations in the wire and the KDCs. What a host is,
//! `host` says.

pub(super) mod kdc;
pub(super) mod lane;
pub(super) mod setup;
pub(super) mod station;
