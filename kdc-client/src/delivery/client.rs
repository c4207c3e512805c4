//! The client's end of key delivery.
//!
//! Owns the pending deliveries and their resends. Does not own the session
//! table: it names sessions, the caller installs keys.

use std::net::SocketAddr;

use rand_core::CryptoRng;

use super::{Ignored, SessionRef};
use crate::identity::{DeviceId, Service};
use crate::keys::DeviceKey;
use crate::refuse::RefuseCode;
use crate::schedule::TrafficSecrets;
use crate::wrap::Policy;

/// What a client's key delivery is made with.
pub struct ClientDeliveryConfig {
    /// `IDcl`.
    pub id: DeviceId,
    /// The client's long-term key.
    pub key: DeviceKey,
    /// Its version.
    pub key_version: u32,
    /// UDP port of key delivery, at both ends.
    pub port: u16,
    /// From SYN to DELIVER, in nanoseconds; at least 4 s.
    pub deadline: u64,
    /// From DELIVER to SYNCED (or [`ClientDelivery::on_synchronised`]), in nanoseconds.
    pub confirm_deadline: u64,
    /// Bounds.
    pub limits: ClientLimits,
}

/// Bounds of the table.
#[derive(Clone, Copy, Debug)]
pub struct ClientLimits {
    /// Deliveries under way.
    pub sessions: usize,
    /// INVITEs answered per epoch.
    pub invites: usize,
}

/// What the client's key delivery wants done, in the order of [`ClientDelivery::poll`].
pub enum ClientOutput {
    /// Send a datagram.
    Send {
        /// The session it belongs to.
        session: SessionRef,
        /// UDP source: the client's address.
        src: SocketAddr,
        /// UDP destination: the server's address.
        dst: SocketAddr,
        /// Payload.
        datagram: Vec<u8>,
    },
    /// The gateway proved that it holds the keys: install them. Comes before the SYNC.
    Install {
        /// The session.
        session: SessionRef,
        /// Its keys.
        secrets: TrafficSecrets,
        /// The service's policy.
        policy: Policy,
        /// How long the keys may be used, in seconds.
        lifetime_seconds: u32,
    },
    /// SYNCED arrived: the key-delivery session is over.
    Completed {
        /// The session.
        session: SessionRef,
    },
    /// The delivery failed: abort the session.
    Failed {
        /// The session.
        session: SessionRef,
        /// Why.
        code: RefuseCode,
    },
    /// One per delivery, at its end; for metrics.
    Outcome {
        /// The session.
        session: SessionRef,
        /// Success, or why not.
        result: Result<(), RefuseCode>,
        /// Nanoseconds from SYN to SYNC, or to the failure.
        latency: u64,
    },
}

/// The client's end of key delivery.
pub struct ClientDelivery {
    ignored: Ignored,
}

impl Default for ClientLimits {
    fn default() -> ClientLimits {
        ClientLimits { sessions: 65_536, invites: 4 }
    }
}

impl ClientDelivery {
    /// A machine without sessions. `rng` must be a cryptographic one that is seeded freshly per start.
    #[must_use]
    pub fn new(_config: ClientDeliveryConfig, _rng: Box<dyn CryptoRng + Send>) -> ClientDelivery {
        ClientDelivery { ignored: Ignored::default() }
    }

    /// A SYN went out with a request option. `service` is what the application dialled.
    pub fn on_syn_sent(
        &mut self,
        _session: SessionRef,
        _request_id: u64,
        _option: [u8; 13],
        _service: Service,
        _now: u64,
    ) {
    }

    /// A key-delivery datagram arrived from the cipher side.
    pub fn on_datagram(&mut self, _src: SocketAddr, _dst: SocketAddr, _bytes: &[u8], _now: u64) {}

    /// The dataplane verified a tag of the gateway: it holds the keys, SYNCED is no longer needed.
    pub fn on_synchronised(&mut self, _session: &SessionRef, _now: u64) {}

    /// The dataplane's session is gone.
    pub fn on_closed(&mut self, _session: &SessionRef, _now: u64) {}

    /// Time passed; call at [`ClientDelivery::next_deadline`] or later.
    pub fn on_timer(&mut self, _now: u64) {}

    /// When [`ClientDelivery::on_timer`] wants to be called next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        None
    }

    /// The next thing to do, oldest first; call until `None` after every input.
    pub fn poll(&mut self) -> Option<ClientOutput> {
        None
    }

    /// What was refused without effect.
    #[must_use]
    pub fn ignored(&self) -> Ignored {
        self.ignored
    }

    /// Deliveries under way.
    #[must_use]
    pub fn pending(&self) -> usize {
        0
    }
}
