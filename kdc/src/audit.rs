//! What the audit log says about a request.
//!
//! Owns the record and its fields; who writes it, and when, is the server's.

use std::net::SocketAddr;

use sekisho_kdc_client::{DeviceId, RefuseCode, Service};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// How a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// As a datagram.
    Udp,
    /// On a connection.
    Tcp,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A session key was made.
    Issued,
    /// The same request came again; the same octets were sent.
    Repeated,
    /// It was refused, with the finer reason that only the operator learns.
    Refused(RefuseCode, &'static str),
}

impl Outcome {
    /// The word in the audit log and in counters: `issued`, `repeated`, or the refusal's label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Repeated => "repeated",
            Self::Refused(code, _) => code.label(),
        }
    }
}

/// One request and what became of it. Holds no key and no part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// Who sent it, as far as the network knows.
    pub source: SocketAddr,
    /// How it came.
    pub transport: Transport,
    /// First 8 octets of SHA-256(KEY-REQUEST): the same for all repetitions.
    pub request: [u8; 8],
    /// What became of it.
    pub outcome: Outcome,
    /// Whether the gateway's HMAC verified; without it the identifiers below are mere claims.
    pub verified: bool,
    /// The gateway.
    pub gateway: Option<DeviceId>,
    /// The client.
    pub client: Option<DeviceId>,
    /// The service.
    pub service: Option<Service>,
}

impl Serialize for AuditRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.entries(&mut map)?;
        map.end()
    }
}

impl AuditRecord {
    /// The fields as entries of a map, for a line that has others beside them.
    ///
    /// # Errors
    /// What the serialiser says.
    pub fn entries<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        map.serialize_entry("source", &self.source)?;
        let transport = if self.transport == Transport::Udp { "udp" } else { "tcp" };
        map.serialize_entry("transport", transport)?;
        map.serialize_entry("request", &hex::encode(self.request))?;
        match self.outcome {
            Outcome::Issued | Outcome::Repeated => {
                map.serialize_entry("outcome", self.outcome.label())?;
            }
            Outcome::Refused(code, detail) => {
                map.serialize_entry("outcome", "refused")?;
                map.serialize_entry("code", code.label())?;
                map.serialize_entry("detail", detail)?;
            }
        }
        map.serialize_entry("verified", &self.verified)?;
        map.serialize_entry("gateway", &self.gateway.as_ref().map(ToString::to_string))?;
        map.serialize_entry("client", &self.client.as_ref().map(ToString::to_string))?;
        map.serialize_entry("service", &self.service.as_ref().map(ToString::to_string))
    }
}
