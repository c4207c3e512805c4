//! What a worker is told at its start. Owns the values and their defaults; the file they come from
//! is the program's.

use std::sync::Arc;

use sekisho_port::PortSide;
use sekisho_session::{FlowHasher, Timeouts};
use sekisho_wire::OptionCodes;

use crate::role::Role;
use crate::service::ServiceTable;

/// What is believed about checksums of frames that a port hands over (hazard 5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RxChecksum {
    /// Verified here; a wrong one is dropped, so a corrupt segment never becomes authentic.
    Verify,
    /// The device has verified them or left them partial: recomputed in full, never looked at.
    Offloaded,
}

/// What a SYN that may not pass is answered with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// A RST, so that the application fails at once.
    Reset,
    /// Nothing.
    Silence,
}

/// Everything that a worker needs to know. All workers of a process get the same values but
/// `index`; `hasher` above all, which decides whose session a frame is.
#[derive(Clone)]
pub struct WorkerConfig {
    /// Number of this worker, from 0.
    pub index: u16,
    /// Gateway or client agent.
    pub role: Role,
    /// Kind and ExID of our TCP options.
    pub options: OptionCodes,
    /// Services under protection.
    pub services: Arc<ServiceTable>,
    /// UDP port of key delivery.
    pub kdp_port: u16,
    /// MTU of both ports: octets of IP packet.
    pub mtu: u16,
    /// By [`PortSide::index`].
    pub rx_checksum: [RxChecksum; 2],
    /// Answer to a SYN that may not pass.
    pub refusal: Refusal,
    /// Cipher sessions of this worker at most, candidates included.
    pub sessions: u32,
    /// Sessions in clear (`prefer`) of this worker at most.
    pub clear_sessions: u32,
    /// Held frames of this worker at most.
    pub held_frames: usize,
    /// Waits of a session. `setup` is the worker's own limit, in case control fails.
    pub timeouts: Timeouts,
    /// Keyed hash that shards sessions over workers.
    pub hasher: FlowHasher,
    /// Client: seed of the request ids, random per process.
    pub request_seed: [u8; 16],
}

impl WorkerConfig {
    /// Defaults for worker 0 with the given essentials; the fields are public.
    #[must_use]
    pub fn new(role: Role, services: Arc<ServiceTable>, hasher: FlowHasher) -> Self {
        Self {
            index: 0,
            role,
            options: OptionCodes::default(),
            services,
            kdp_port: 1088,
            mtu: 1500,
            rx_checksum: [RxChecksum::Verify; 2],
            refusal: Refusal::Reset,
            sessions: 65_536,
            clear_sessions: 4096,
            held_frames: 512,
            timeouts: Timeouts::default(),
            hasher,
            request_seed: [0; 16],
        }
    }

    pub(crate) fn verifies(&self, side: PortSide) -> bool {
        self.rx_checksum[side.index()] == RxChecksum::Verify
    }
}
