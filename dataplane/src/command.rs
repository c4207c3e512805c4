//! What control tells a worker. Owns the vocabulary; `control.rs` carries it out.

use std::sync::Arc;

use crossbeam::channel::Sender;
use sekisho_cipher::EpochKeys;
use sekisho_port::PortSide;
use sekisho_session::FlowKey;

use crate::buffer::FrameBuf;
use crate::event::{CloseCause, SessionPage, SessionRow};
use crate::service::ServiceTable;

/// One message from control. Commands of a session go to the worker that announced it, through
/// its one ring, so INSTALL, the released SYN and the datagrams that follow keep their order.
#[allow(clippy::large_enum_variant)] // Frames ride in the ring slot: no allocation per datagram.
pub enum Command {
    /// Keys are here. Gateway: the session is keyed and, with `release_syn`, its SYN goes to the
    /// server (`hold = vouched`). Client: with `synced`, the held SYN-ACK or RST is released.
    Install {
        /// Session.
        flow: FlowKey,
        /// Its SYN's ISN.
        client_isn: u32,
        /// Its generation.
        generation: u32,
        /// Keys of epoch 0; wiped if the name is stale.
        keys: Box<EpochKeys>,
        /// Whether both ends are known to hold the key (client: `confirm_g` was valid).
        synced: bool,
        /// Gateway: whether the SYN may go to the server now; false under `hold = confirmed`.
        release_syn: bool,
    },
    /// SYNC verified: the session is synchronised, the held pure ACK (and under
    /// `hold = confirmed` the SYN) goes out.
    Synchronise {
        /// Session.
        flow: FlowKey,
        /// Its SYN's ISN.
        client_isn: u32,
        /// Its generation.
        generation: u32,
    },
    /// End the session now: RST to the side that waits, keys wiped, `Event::Closed`.
    Abort {
        /// Session.
        flow: FlowKey,
        /// Its SYN's ISN.
        client_isn: u32,
        /// Its generation.
        generation: u32,
        /// Told back in `Event::Closed`.
        cause: CloseCause,
    },
    /// The operator ends the session: RST to both hosts, and it goes after the linger, keys wiped.
    Close {
        /// Session.
        flow: FlowKey,
        /// Its SYN's ISN.
        client_isn: u32,
        /// Its generation.
        generation: u32,
    },
    /// Send a frame built by control.
    Transmit {
        /// Side to send it out on.
        side: PortSide,
        /// The whole frame.
        frame: FrameBuf,
    },
    /// From now on these are the services. Live sessions go on (M7.20).
    Services(Arc<ServiceTable>),
    /// One page of sessions, from slot `cursor` (first: 0).
    ListSessions {
        /// Slot to start at: 0, then [`SessionPage::next`].
        cursor: u32,
        /// Empty, with the capacity that bounds the page: the worker allocates nothing.
        rows: Vec<SessionRow>,
        /// Where the page goes; a bounded channel with room for it.
        reply: Sender<SessionPage>,
    },
    /// Take no new sessions; those there are go on.
    Drain,
}

/// Names and kinds only.
impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Install { .. } => "Install",
            Self::Synchronise { .. } => "Synchronise",
            Self::Abort { .. } => "Abort",
            Self::Close { .. } => "Close",
            Self::Transmit { .. } => "Transmit",
            Self::Services(_) => "Services",
            Self::ListSessions { .. } => "ListSessions",
            Self::Drain => "Drain",
        })
    }
}
