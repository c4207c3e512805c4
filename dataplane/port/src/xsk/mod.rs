//! AF_XDP: one worker's queue on both ports over one pool of frames. It knows rings and wake-ups;
//! programs and devices are set up elsewhere.

mod port;
mod tx_ring;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use afxdp::buf_mmap::BufMmap;
use afxdp::mmap_area::{MmapArea, MmapAreaOptions};
use thiserror::Error;

use crate::frame::{CHUNK_BYTES, Frame, FrameAccounting};
use crate::io::{IoCounters, PacketIo, PortSide};
use crate::wait::Waiter;
use port::XskPort;

/// Why a worker's sockets could not be opened.
#[derive(Debug, Error)]
pub enum SocketError {
    /// No memory for the frames.
    #[error("cannot map {bytes} bytes for frames; lower [workers] frames")]
    Memory {
        /// What was asked for.
        bytes: usize,
    },
    /// The kernel refused the frames' memory.
    #[error("the kernel refused the frame memory (CAP_IPC_LOCK or RLIMIT_MEMLOCK): {0}")]
    Umem(#[source] io::Error),
    /// Ring sizes must be powers of two.
    #[error("ring size {size} is not a power of two")]
    RingSize {
        /// The size asked for.
        size: u32,
    },
    /// The queue could not be bound.
    #[error("cannot bind queue {queue} of {interface}: {error}{hint}", hint = bind_hint(error))]
    Bind {
        /// The port.
        interface: String,
        /// The queue.
        queue: usize,
        /// Why not.
        error: io::Error,
    },
    /// The transmit ring could not be mapped.
    #[error("cannot map the transmit ring: {0}")]
    Map(#[source] io::Error),
    /// The socket's descriptor could not be duplicated.
    #[error("no file descriptor left: {0}")]
    Descriptor(#[source] io::Error),
}

fn bind_hint(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EBUSY) => " (another process has an AF_XDP socket there)",
        Some(libc::EINVAL) => " (the port has no such queue: see `ethtool -l`)",
        Some(libc::EPERM | libc::EACCES) => " (CAP_NET_RAW and CAP_SYS_ADMIN are needed)",
        Some(libc::ENETDOWN) => " (the port is down)",
        _ => "",
    }
}

/// How many frames are where, at most. Derived from the two configured numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RingSizes {
    /// Slots of each of the four rings.
    ring: u32,
    /// Frames given to the kernel to receive into.
    fill_target: usize,
    /// Frames queued, in the transmit ring or not completed; beyond it frames are dropped.
    tx_limit: usize,
    /// Frames that refilling leaves in the pool, for what the worker makes itself.
    reserve: usize,
}

impl RingSizes {
    /// A quarter of the frames for each direction of each side: a port that takes nothing can
    /// keep no more than its quarter, and the other side still receives and sends.
    fn derive(frames: usize, ring: u32) -> Self {
        let quarter = (frames / 4).max(1).min(ring as usize);
        Self { ring, fill_target: quarter, tx_limit: quarter, reserve: frames / 16 }
    }
}

/// [`PacketIo`] of one worker over AF_XDP: the same queue of both ports, one pool of frames.
pub struct AfXdpIo {
    // Sockets before the pool: their rings hold its frames' addresses.
    sides: [XskPort; 2],
    pool: Vec<BufMmap<'static, ()>>,
    total: usize,
}

impl AfXdpIo {
    fn open(
        area: &Arc<MmapArea<'static, ()>>,
        pool: Vec<BufMmap<'static, ()>>,
        interfaces: [&str; 2],
        queue: usize,
        ring: u32,
    ) -> Result<Self, SocketError> {
        let sizes = RingSizes::derive(pool.len(), ring);
        let mut io = Self {
            sides: [
                XskPort::open(area, interfaces[0], queue, sizes)?,
                XskPort::open(area, interfaces[1], queue, sizes)?,
            ],
            total: pool.len(),
            pool,
        };
        io.flush();
        Ok(io)
    }

    /// The sleep of this worker, over its sockets of both sides.
    ///
    /// # Errors
    /// No file descriptor is left.
    pub fn waiter(&self) -> Result<Waiter, SocketError> {
        Waiter::over(self.descriptors()?).map_err(SocketError::Descriptor)
    }

    /// True if the driver of `side` reads and writes frames without a copy.
    #[must_use]
    pub fn is_zero_copy(&self, side: PortSide) -> bool {
        self.sides[side.index()].is_zero_copy()
    }

    /// Duplicates of the sockets of both sides.
    pub(crate) fn descriptors(&self) -> Result<Vec<OwnedFd>, SocketError> {
        let duplicates = self.sides.iter().map(XskPort::duplicate_fd);
        duplicates.collect::<io::Result<_>>().map_err(SocketError::Descriptor)
    }
}

impl std::fmt::Debug for AfXdpIo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AfXdpIo").field("frames", &self.accounting()).finish_non_exhaustive()
    }
}

/// Opens one [`AfXdpIo`] for each queue, over one area of memory, so that frames can be exchanged
/// between workers.
///
/// The area is mapped until the process ends: frames are `'static` and may outlive everything.
pub(crate) fn open_workers(
    interfaces: [&str; 2],
    queues: usize,
    frames: usize,
    ring: u32,
) -> Result<Vec<AfXdpIo>, SocketError> {
    if !ring.is_power_of_two() {
        return Err(SocketError::RingSize { size: ring });
    }
    let memory = SocketError::Memory { bytes: queues * frames * CHUNK_BYTES };
    let options = MmapAreaOptions { huge_tlb: false };
    let (area, mut bufs) =
        MmapArea::new(queues * frames, CHUNK_BYTES, options).map_err(|_| memory)?;
    // `'static` frames: the area must never be unmapped.
    std::mem::forget(Arc::clone(&area));
    (0..queues)
        .map(|queue| {
            let pool = bufs.split_off(bufs.len() - frames);
            AfXdpIo::open(&area, pool, interfaces, queue, ring)
        })
        .collect()
}

impl PacketIo for AfXdpIo {
    #[inline]
    fn receive(&mut self, side: PortSide, out: &mut Vec<Frame>, max: usize) -> usize {
        self.sides[side.index()].receive(out, max)
    }

    #[inline]
    fn transmit(&mut self, side: PortSide, frame: Frame) {
        if let Err(frame) = self.sides[side.index()].transmit(frame) {
            self.free(frame);
        }
    }

    fn flush(&mut self) {
        for side in &mut self.sides {
            side.flush(&mut self.pool);
        }
    }

    #[inline]
    fn alloc(&mut self) -> Option<Frame> {
        let mut frame = Frame::from_buf(self.pool.pop()?);
        frame.set_len(0);
        Some(frame)
    }

    #[inline]
    fn free(&mut self, frame: Frame) {
        self.pool.push(frame.into_buf());
    }

    #[inline]
    fn free_frames(&self) -> usize {
        self.pool.len()
    }

    fn backlog(&self) -> usize {
        self.sides.iter().map(XskPort::backlog).sum()
    }

    fn accounting(&self) -> FrameAccounting {
        FrameAccounting {
            total: self.total,
            pool: self.pool.len(),
            rx_fill: self.sides.iter().map(XskPort::in_fill).sum(),
            tx_outstanding: self.sides.iter().map(XskPort::in_tx).sum(),
            batched: self.sides.iter().map(XskPort::batched).sum(),
        }
    }

    fn counters(&self, side: PortSide) -> IoCounters {
        self.sides[side.index()].counters()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_share_of_the_frames_can_starve_another() {
        for (frames, ring) in [(4096, 2048), (512, 2048), (64, 64), (65536, 4096)] {
            let sizes = RingSizes::derive(frames, ring);
            assert!(2 * sizes.fill_target + 2 * sizes.tx_limit <= frames);
            assert!(sizes.fill_target <= ring as usize && sizes.tx_limit <= ring as usize);
        }
    }
}
