//! The gateway's end of key delivery.
//!
//! Owns the pending deliveries, cookies and budgets. Does not own the session
//! table: it names sessions, the caller installs keys.

use std::net::SocketAddr;

use rand_core::CryptoRng;

use super::{Ignored, SessionRef};
use crate::identity::{DeviceId, Service};
use crate::keys::DeviceKey;
use crate::refuse::{KdcFailure, RefuseCode};
use crate::schedule::TrafficSecrets;

/// What a gateway's key delivery is made with.
pub struct GatewayDeliveryConfig {
    /// `IDgw`.
    pub id: DeviceId,
    /// The gateway's long-term key.
    pub key: DeviceKey,
    /// Its version.
    pub key_version: u32,
    /// Services known by name (destination NAT): the name that clients give, and the address and
    /// port of the SYN as seen here.
    pub names: Vec<(Service, SocketAddr)>,
    /// From SYN to KEY-REPLY, and again from KEY-REPLY to SYNC, in nanoseconds; at least 4 s.
    pub deadline: u64,
    /// Bounds.
    pub limits: GatewayLimits,
}

/// Bounds of tables and budgets.
#[derive(Clone, Copy, Debug)]
pub struct GatewayLimits {
    /// Deliveries under way, and for 20 s after their end.
    pub sessions: usize,
    /// EARLY that arrived before their SYN.
    pub parked: usize,
    /// Exchanges with the KDC under way.
    pub exchanges: usize,
    /// Exchanges for one session.
    pub exchanges_per_session: u8,
    /// KDC requests per source address (IPv6: per /64): burst and rate per second.
    pub source: (u32, u32),
    /// KDC requests in all: burst and rate per second.
    pub total: (u32, u32),
    /// Source addresses whose budget is kept.
    pub sources: usize,
}

/// What the gateway's key delivery wants done, in the order of [`GatewayDelivery::poll`].
pub enum GatewayOutput {
    /// Send a datagram.
    Send {
        /// The session it belongs to; `None` for a refusal without one.
        session: Option<SessionRef>,
        /// UDP source: the server's address.
        src: SocketAddr,
        /// UDP destination: the client.
        dst: SocketAddr,
        /// Payload.
        datagram: Vec<u8>,
    },
    /// Ask a KDC; the answer comes back by [`GatewayDelivery::on_kdc`].
    KeyRequest {
        /// Names the exchange.
        exchange: u64,
        /// The KEY-REQUEST.
        message: Vec<u8>,
    },
    /// The KDC vouches for the client: install the keys. Comes before the DELIVER.
    Install {
        /// The session.
        session: SessionRef,
        /// Its keys.
        secrets: TrafficSecrets,
        /// How long they may be used, in seconds.
        lifetime_seconds: u32,
    },
    /// The client proved that it holds the keys. Comes before the SYNCED.
    Synchronised {
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
        /// Nanoseconds from the first of SYN and EARLY to SYNC, or to the failure.
        latency: u64,
    },
}

/// The gateway's end of key delivery.
pub struct GatewayDelivery {
    ignored: Ignored,
}

impl Default for GatewayLimits {
    fn default() -> GatewayLimits {
        GatewayLimits {
            sessions: 65_536,
            parked: 4_096,
            exchanges: 8_192,
            exchanges_per_session: 4,
            source: (4_096, 2_000),
            total: (16_384, 20_000),
            sources: 8_192,
        }
    }
}

impl GatewayDelivery {
    /// A machine without sessions. `rng` must be a cryptographic one that is seeded freshly per start.
    #[must_use]
    pub fn new(_config: GatewayDeliveryConfig, _rng: Box<dyn CryptoRng + Send>) -> GatewayDelivery {
        GatewayDelivery { ignored: Ignored::default() }
    }

    /// A SYN with a request option arrived and is held.
    pub fn on_syn(&mut self, _session: SessionRef, _request_id: u64, _option: [u8; 13], _now: u64) {
    }

    /// A key-delivery datagram arrived from the cipher side.
    pub fn on_datagram(&mut self, _src: SocketAddr, _dst: SocketAddr, _bytes: &[u8], _now: u64) {}

    /// A KDC answered (KEY-REPLY or KEY-REFUSAL as received), or none did.
    pub fn on_kdc(&mut self, _exchange: u64, _outcome: Result<&[u8], KdcFailure>, _now: u64) {}

    /// The dataplane verified a first tag before SYNC came: as good as SYNC.
    pub fn on_synchronised(&mut self, _session: &SessionRef, _now: u64) {}

    /// The dataplane's session is gone.
    pub fn on_closed(&mut self, _session: &SessionRef, _now: u64) {}

    /// Time passed; call at [`GatewayDelivery::next_deadline`] or later.
    pub fn on_timer(&mut self, _now: u64) {}

    /// When [`GatewayDelivery::on_timer`] wants to be called next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        None
    }

    /// The next thing to do, oldest first; call until `None` after every input.
    pub fn poll(&mut self) -> Option<GatewayOutput> {
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
