//! The two ports of a box: what is needed to open them, what can go wrong, what came of it.
//! Opening is `open`'s, what the control thread does afterwards is `control`'s.

mod control;
mod open;

use std::path::PathBuf;

use thiserror::Error;

pub use control::PortControl;
pub use open::PortPair;

use crate::device::DeviceError;
use crate::io::PortSide;
use crate::service::ServiceEntry;
use crate::xdp::{FilterError, FilterPolicy, MAX_QUEUES, ModeChoice, XdpMode};
use crate::xsk::SocketError;

/// What is needed to open both ports.
#[derive(Clone, Debug)]
pub struct PortPairConfig {
    /// Device names, by [`PortSide::index`].
    pub interfaces: [String; 2],
    /// The side that protected servers are behind: plain at a gateway, cipher at a client agent.
    pub servers_behind: PortSide,
    /// Workers, which is queues of each port.
    pub queues: usize,
    /// Frames of each worker, 4 KiB each.
    pub frames_per_queue: usize,
    /// Slots of each ring; a power of two.
    pub ring: u32,
    /// XDP mode.
    pub mode: ModeChoice,
    /// Where links are pinned; on a bpffs, or one is mounted there.
    pub pin_directory: PathBuf,
    /// What the XDP program is told.
    pub policy: FilterPolicy,
    /// What is protected.
    pub services: Vec<ServiceEntry>,
}

/// Why the ports could not be opened, changed or closed.
#[derive(Debug, Error)]
pub enum PortError {
    /// A device.
    #[error("{side} port {interface}: {error}")]
    Device {
        /// Which port.
        side: PortSide,
        /// Its device.
        interface: String,
        /// What is wrong.
        error: DeviceError,
    },
    /// The XDP program of one port.
    #[error("{side} port {interface}: {error}")]
    Filter {
        /// Which port.
        side: PortSide,
        /// Its device.
        interface: String,
        /// What is wrong.
        error: FilterError,
    },
    /// The XDP programs or tables of both ports.
    #[error(transparent)]
    Filters(#[from] FilterError),
    /// The sockets.
    #[error(transparent)]
    Sockets(#[from] SocketError),
    /// Both ports have one device.
    #[error("both ports are {interface}: two devices are needed")]
    SameDevice {
        /// The device.
        interface: String,
    },
    /// The MTUs differ.
    #[error("MTU {cipher} on the cipher port and {plain} on the plain port: they must be equal")]
    UnequalMtu {
        /// Bytes on the cipher port.
        cipher: u32,
        /// Bytes on the plain port.
        plain: u32,
    },
    /// Worker numbers outside of what the program's map holds.
    #[error("{queues} queues: 1 to {MAX_QUEUES} are possible")]
    QueueCount {
        /// Configured.
        queues: usize,
    },
    /// Too few frames to receive and send on both sides.
    #[error("{frames} frames for each worker: at least {MIN_FRAMES} are needed")]
    TooFewFrames {
        /// Configured.
        frames: usize,
    },
}

/// Fewer frames than this cannot hold a burst on each side in each direction.
pub const MIN_FRAMES: usize = 256;

/// One port as it was opened.
#[derive(Clone, Debug)]
pub struct PortReport {
    /// Device name.
    pub interface: String,
    /// The kernel's number of the device.
    pub index: u32,
    /// The XDP mode in use, which with `auto` may be the slower one.
    pub mode: XdpMode,
    /// True if the driver reads and writes frames without a copy.
    pub zero_copy: bool,
    /// True if a predecessor's pinned link was taken over.
    pub taken_over: bool,
    /// Bytes, Ethernet header not counted.
    pub mtu: u32,
    /// Offloads that were on and are off while the gateway runs.
    pub switched_off: Vec<String>,
    /// What is not as it should be.
    pub warnings: Vec<String>,
}

/// The kernel's statistics of the sockets of one port, all queues together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketStatistics {
    /// Received frames dropped for other reasons than the next two.
    pub rx_dropped: u64,
    /// Frames dropped because the receive ring was full: the worker is too slow.
    pub rx_ring_full: u64,
    /// Times that no free frame was there to receive into.
    pub rx_fill_empty: u64,
    /// Descriptors that the kernel refused, either direction: a bug.
    pub invalid_descriptors: u64,
}
