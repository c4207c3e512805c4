//! The one interface between the pipeline and rings of any kind. It does not know what a frame
//! carries; implementations live in `memory` and `xsk`.

use crate::frame::{Frame, FrameAccounting};

/// One of the two ports of a box.
///
/// At a gateway plain faces the servers, at a client agent it faces the applications.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum PortSide {
    /// The port towards the network, where payload is ciphered.
    Cipher = 0,
    /// The port towards unmodified hosts, where payload is clear.
    Plain = 1,
}

impl PortSide {
    /// Both sides, in the order of [`PortSide::index`].
    pub const BOTH: [Self; 2] = [Self::Cipher, Self::Plain];

    /// 0 for the cipher side, 1 for the plain side: the index into per-side arrays.
    #[inline]
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The side a forwarded frame leaves by.
    #[inline]
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Cipher => Self::Plain,
            Self::Plain => Self::Cipher,
        }
    }

    /// Label for metrics and logs: `cipher` or `plain`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Cipher => "cipher",
            Self::Plain => "plain",
        }
    }
}

impl std::fmt::Display for PortSide {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.label())
    }
}

/// What one worker's rings did on one side since they were opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoCounters {
    /// Frames received.
    pub rx_frames: u64,
    /// Frames that the driver put elsewhere in their chunk than expected; their memory is lost.
    pub rx_misplaced: u64,
    /// Frames put into the transmit ring.
    pub tx_frames: u64,
    /// Frames freed unsent, because the port did not take its backlog away.
    pub tx_dropped: u64,
    /// System calls that asked the kernel to transmit.
    pub tx_kicks: u64,
    /// Such calls that failed for another reason than "busy, ask again" (device down or gone).
    pub tx_kick_errors: u64,
}

/// Burst I/O of one worker over both ports.
///
/// Frames are conserved: each one handed out by [`receive`](Self::receive) or
/// [`alloc`](Self::alloc) comes back by [`transmit`](Self::transmit) or [`free`](Self::free).
/// Frames of one worker may come back to another only in exchange for as many.
pub trait PacketIo {
    /// Appends at most `max` received frames to `out` and returns how many.
    fn receive(&mut self, side: PortSide, out: &mut Vec<Frame>, max: usize) -> usize;

    /// Queues a frame to leave by `side`. It goes into the transmit ring at the next
    /// [`flush`](Self::flush); when that ring is full it is kept and tried again, up to a bound
    /// beyond which it is freed and counted in [`IoCounters::tx_dropped`].
    fn transmit(&mut self, side: PortSide, frame: Frame);

    /// Pushes queued frames into the rings, asks the kernel to send them until the rings are
    /// empty or the device is busy, takes sent frames back and refills the receive side.
    ///
    /// To be called once for each turn of the worker's loop, also when nothing was queued:
    /// frames left in a transmit ring move only by this.
    fn flush(&mut self);

    /// A free frame of length 0, or none when the pool is empty.
    fn alloc(&mut self) -> Option<Frame>;

    /// Gives a frame back to the pool.
    fn free(&mut self, frame: Frame);

    /// Frames in the pool now; what the exchange between workers looks at before it hands over.
    fn free_frames(&self) -> usize;

    /// Frames queued or in a transmit ring that the port has not taken yet. While it is above
    /// zero a worker must not sleep long: it calls [`flush`](Self::flush) again within a
    /// millisecond.
    fn backlog(&self) -> usize;

    /// Where this worker's frames are.
    fn accounting(&self) -> FrameAccounting;

    /// Counters of one side.
    fn counters(&self, side: PortSide) -> IoCounters;
}
