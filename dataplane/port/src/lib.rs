//! Burst packet I/O on two ports: the [`PacketIo`] trait, frames and their pools, AF_XDP rings,
//! in-memory rings, the XDP program and its loader.
//!
//! This crate knows rings, devices and the kernel. It knows nothing of what a packet means beyond
//! the address, protocol and port that decide between user space, the peer port and a drop.
//!
//! | module | owns |
//! |---|---|
//! | `frame` | the move-only [`Frame`], [`FramePool`], [`FrameAccounting`] |
//! | `io` | [`PortSide`], [`PacketIo`], [`IoCounters`] |
//! | `memory` | [`MemoryIo`] and its [`MemoryWire`]: rings for tests, simulation and benchmarks |
//! | `wait` | [`Doorbell`] and [`Waiter`]: one sleep over all sockets of a worker |
//! | `service` | [`ServiceEntry`], [`PortSet`]: what is protected, as plain data |
//! | `xdp` | the XDP program, its maps and where it is attached |
//! | `device` | checks and set-up of network devices, link state |
//! | `pair` | [`PortPair::open`]: both ports in the right order, and [`PortControl`] |
//! | `xsk` | [`AfXdpIo`]: one worker's AF_XDP sockets and rings |

mod device;
mod frame;
mod io;
mod memory;
mod pair;
mod service;
mod wait;
mod xdp;
mod xsk;

pub use device::{DeviceError, DeviceFacts, LinkState, MAX_MTU, inspect};
pub use frame::{CHUNK_BYTES, FRAME_CAPACITY, Frame, FrameAccounting, FramePool};
pub use io::{IoCounters, PacketIo, PortSide};
pub use memory::{MemoryConfig, MemoryIo, MemoryWire};
pub use pair::{
    MIN_FRAMES, PortControl, PortError, PortPair, PortPairConfig, PortReport, SocketStatistics,
};
pub use service::{MAX_PORT_SETS, MAX_PREFIXES, PortSet, ServiceEntry, ServiceError};
pub use wait::{Doorbell, Waiter, Wake};
pub use xdp::{
    AttachError, FailMode, FilterError, FilterPolicy, ModeChoice, OtherTraffic, ServiceDiff,
    XdpCounter, XdpCounters, XdpMode,
};
pub use xsk::{AfXdpIo, SocketError};
