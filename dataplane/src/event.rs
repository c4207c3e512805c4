//! What a worker tells the control thread. Owns the vocabulary; `worker.rs` says when.

use std::net::SocketAddr;
use std::time::Duration;

use sekisho_port::PortSide;
use sekisho_session::{FlowKey, State};
use sekisho_wire::L2Header;

use crate::buffer::DatagramBuf;
use crate::service::ServiceId;

/// One message from a worker, in the order in which the worker saw things.
///
/// A session is named by (flow, client ISN, generation); control gives the three back in every
/// command, and a stale name changes nothing.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // Datagrams ride in the ring slot: no allocation per packet.
pub enum Event {
    /// Gateway: a SYN with the cipher request was seen and is held. Client: the request was put on
    /// a SYN, which has left. Sent once per session, not for SYN retransmissions.
    Request {
        /// Worker that owns the session; commands go there.
        worker: u16,
        /// Client and server, oriented client → server.
        flow: FlowKey,
        /// ISN of the SYN as this end saw it.
        client_isn: u32,
        /// Generation of the session's slot.
        generation: u32,
        /// `R` of the request option.
        request_id: u64,
        /// The request option as sent: the 13 octets without padding.
        option: [u8; 13],
        /// Service dialled.
        service: ServiceId,
        /// Layer-2 header of the SYN, as it came in.
        l2: L2Header,
    },
    /// A key-delivery datagram came in on the cipher side.
    Datagram {
        /// Worker that took it in; any worker may.
        worker: u16,
        /// Side it came from.
        side: PortSide,
        /// UDP source.
        src: SocketAddr,
        /// UDP destination.
        dst: SocketAddr,
        /// Its layer-2 header, as it came in.
        l2: L2Header,
        /// UDP payload.
        bytes: DatagramBuf,
    },
    /// Gateway: the first verified tag came before SYNC; the session is synchronised.
    Synchronised {
        /// Worker that owns the session.
        worker: u16,
        /// Client and server.
        flow: FlowKey,
        /// ISN of the SYN.
        client_isn: u32,
        /// Generation of the session's slot.
        generation: u32,
    },
    /// The session is gone and its keys are wiped.
    Closed {
        /// Worker that owned the session.
        worker: u16,
        /// Client and server.
        flow: FlowKey,
        /// ISN of the SYN.
        client_isn: u32,
        /// Generation of the session's slot.
        generation: u32,
        /// Why it ended.
        cause: CloseCause,
    },
}

/// Why a session ended: one table for the event, the label of metrics and its help text.
macro_rules! close_causes {
    ($($(#[doc = $help:literal])+ $variant:ident = $label:literal,)+) => {
        /// Why a session ended.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        #[repr(u8)]
        pub enum CloseCause { $($(#[doc = $help])+ $variant,)+ }

        impl CloseCause {
            /// Every cause, in the order of the enum.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Label of metrics and JSON.
            #[must_use]
            pub fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }

            /// One sentence for people.
            #[must_use]
            pub fn help(self) -> &'static str {
                match self { $(Self::$variant => concat!($($help),+),)+ }
            }
        }
    };
}

close_causes! {
    /// Both FINs verified and acknowledged, linger over.
    Finished = "finished",
    /// A verified RST at the receiver's last acknowledgement, linger over.
    Reset = "reset",
    /// The server refused the connection: a RST answered the SYN.
    Refused = "refused",
    /// No authenticated or plain-side traffic for the idle limit.
    Idle = "idle",
    /// A newer session of the same addresses and ports has synchronised.
    Replaced = "replaced",
    /// A newer SYN took the place of a session without key.
    Superseded = "superseded",
    /// The other end has no gateway and the policy is `prefer`: goes on in clear.
    Clear = "clear",
    /// Key delivery failed (control's `Abort`).
    KeyDelivery = "key_delivery",
    /// No key within the hold deadline.
    HoldExpired = "hold_expired",
    /// Closed by the operator.
    Operator = "operator",
    /// The worker stops.
    Stopped = "stopped",
}

/// What the segments of a session say about the path between the boxes or behind them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PathTrouble {
    /// Tags fail from the first octet on: something cuts or joins segments (hazard 14).
    Resegmented,
    /// The client's data come, and no SYN-ACK went by: the other direction runs elsewhere
    /// (hazard 27).
    Asymmetric,
}

/// A session as `sekisho sessions` shows it. No key and no payload.
#[derive(Clone, Debug)]
pub struct SessionRow {
    /// Client and server.
    pub flow: FlowKey,
    /// ISN of the SYN.
    pub client_isn: u32,
    /// Generation of the slot.
    pub generation: u32,
    /// Place in the life cycle.
    pub state: State,
    /// Whether another session of the same tuple is live and this one is its candidate.
    pub candidate: bool,
    /// `R` of its request.
    pub request_id: u64,
    /// Service dialled, as configured now.
    pub service: Option<ServiceId>,
    /// Worker that owns it.
    pub worker: u16,
    /// Whether a key is present: goes false the moment it is wiped.
    pub keyed: bool,
    /// Payload octets sealed here under the present key, retransmissions included.
    pub sealed_bytes: u64,
    /// Segments sealed here under the present key.
    pub sealed_segments: u64,
    /// End of the stream so far by direction (client → server first), FIN counted as one.
    pub offsets: [u64; 2],
    /// Tags that did not verify.
    pub bad_tags: u16,
    /// What is likely to be wrong with its path.
    pub trouble: Option<PathTrouble>,
    /// How long it has been opening, idle or draining.
    pub waited: Duration,
}

/// A bounded part of the answer to a list request.
#[derive(Debug)]
pub struct SessionPage {
    /// Worker that answers.
    pub worker: u16,
    /// Rows, at most as many as the request's vector had capacity for.
    pub rows: Vec<SessionRow>,
    /// Where to go on; `None`: that was all.
    pub next: Option<u32>,
}
