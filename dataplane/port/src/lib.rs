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

mod frame;
mod io;
mod memory;
mod wait;

pub use frame::{CHUNK_BYTES, FRAME_CAPACITY, Frame, FrameAccounting, FramePool};
pub use io::{IoCounters, PacketIo, PortSide};
pub use memory::{MemoryConfig, MemoryIo, MemoryWire};
pub use wait::{Doorbell, Waiter, Wake};
