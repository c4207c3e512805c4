//! One AF_XDP socket: one queue of one port, with its four rings. The traps of the crate afxdp
//! are met here and nowhere else.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use afxdp::PENDING_LEN;
use afxdp::buf::Buf;
use afxdp::buf_mmap::BufMmap;
use afxdp::mmap_area::MmapArea;
use afxdp::socket::{Socket, SocketNewError, SocketOptions, SocketRx, SocketTx};
use afxdp::umem::{Umem, UmemCompletionQueue, UmemFillQueue, UmemNewError};
use arraydeque::{ArrayDeque, Wrapping};
use libbpf_sys::xsk_umem__fd;
use rustix::io::Errno;
use rustix::net::sockopt::xdp_options;
use rustix::net::xdp::XdpOptionsFlags;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use tracing::debug;

use super::tx_ring::TxRing;
use super::{RingSizes, SocketError};
use crate::frame::{CHUNK_BYTES, Frame};
use crate::io::IoCounters;

/// A queue that was closed a moment ago can be busy for some milliseconds, on a loaded machine for seconds.
const BIND_RETRIES: u32 = 150;
const BIND_PAUSE: Duration = Duration::from_millis(20);

/// The kernel's default budget: frames sent for one wake-up in copy mode.
const TX_BUDGET: u32 = 32;

type Area = Arc<MmapArea<'static, ()>>;

pub(super) struct XskPort {
    // The order matters: on close libbpf reads `fill` and `completion` through pointers it kept,
    // so the socket, held by `rx` too, goes before them, and the UMEM last.
    tx: TxRing,
    rx: SocketRx<'static, ()>,
    _tx_unused: SocketTx<'static, ()>,
    _socket: Arc<Socket<'static, ()>>,
    completion: UmemCompletionQueue<'static, ()>,
    fill: UmemFillQueue<'static, ()>,
    umem: Arc<Umem<'static, ()>>,

    area: Area,
    received: Box<ArrayDeque<[BufMmap<'static, ()>; PENDING_LEN], Wrapping>>,
    batch: VecDeque<BufMmap<'static, ()>>,
    sizes: RingSizes,
    /// Frames that the kernel has to receive into.
    in_fill: usize,
    /// Frames put into the transmit ring and not seen in the completion ring since.
    in_tx: usize,
    counters: IoCounters,
}

impl XskPort {
    /// Opens a socket on `queue` of `interface`, where our XDP program must be attached already,
    /// or libbpf attaches its own.
    pub(super) fn open(
        area: &Area,
        interface: &str,
        queue: usize,
        sizes: RingSizes,
    ) -> Result<Self, SocketError> {
        let mut attempt = 0;
        let (parts, umem_parts) = loop {
            // A failed attempt uses the UMEM up: its rings are unmapped.
            let umem = new_umem(area, sizes.ring)?;
            match new_socket(&umem.0, interface, queue, sizes.ring) {
                Ok(parts) => break (parts, umem),
                Err(error) if is_busy(&error) && attempt < BIND_RETRIES => {
                    attempt += 1;
                    debug!(interface, queue, attempt, "queue busy, trying again");
                    sleep(BIND_PAUSE);
                }
                Err(error) => return Err(bind_error(error, interface, queue)),
            }
        };
        let (socket, rx, tx_unused) = parts;
        let (umem, completion, fill) = umem_parts;
        let fd = descriptor(&umem);
        let tx = TxRing::map(fd, sizes.ring).map_err(SocketError::Map)?;
        if let Err(error) = set_tx_budget(fd, sizes.ring) {
            debug!(%error, "the kernel keeps its transmit budget of {TX_BUDGET} frames");
        }
        Ok(Self {
            tx,
            rx,
            _tx_unused: tx_unused,
            _socket: socket,
            completion,
            fill,
            umem,
            area: Arc::clone(area),
            received: Box::default(),
            batch: VecDeque::with_capacity(sizes.tx_limit),
            sizes,
            in_fill: 0,
            in_tx: 0,
            counters: IoCounters::default(),
        })
    }

    fn fd(&self) -> BorrowedFd<'_> {
        descriptor(&self.umem)
    }

    /// A second descriptor of the socket, for statistics and for the waiter. It keeps the queue
    /// bound: it must go when the worker goes.
    pub(super) fn duplicate_fd(&self) -> io::Result<OwnedFd> {
        self.fd().try_clone_to_owned()
    }

    /// True if the driver reads and writes our frames itself.
    pub(super) fn is_zero_copy(&self) -> bool {
        xdp_options(self.fd()).is_ok_and(|o| o.contains(XdpOptionsFlags::XDP_OPTIONS_ZEROCOPY))
    }

    #[inline]
    pub(super) fn receive(&mut self, out: &mut Vec<Frame>, max: usize) -> usize {
        let max = max.min(PENDING_LEN);
        // The crate's error has no cause: it never returns one here.
        let received = self.rx.try_recv(&mut self.received, max, ()).unwrap_or(0);
        self.in_fill -= received.min(self.in_fill);
        let mut taken = 0;
        for buf in self.received.drain(..) {
            // The crate made the buffer's slice as long as a chunk's data from wherever the
            // kernel said that the packet begins. Elsewhere than at the chunk's data it would
            // reach into the next chunk: such a buffer must not be touched.
            if chunk_offset(&self.area, &buf) % CHUNK_BYTES == CHUNK_BYTES - crate::FRAME_CAPACITY {
                out.push(Frame::from_buf(buf));
                taken += 1;
            } else {
                self.counters.rx_misplaced += 1;
            }
        }
        self.counters.rx_frames += taken as u64;
        taken
    }

    /// Queues a frame; gives it back when too many wait already.
    #[inline]
    pub(super) fn transmit(&mut self, frame: Frame) -> Result<(), Frame> {
        if self.batch.len() + self.in_tx >= self.sizes.tx_limit {
            self.counters.tx_dropped += 1;
            return Err(frame);
        }
        self.batch.push_back(frame.into_buf());
        Ok(())
    }

    pub(super) fn flush(&mut self, pool: &mut Vec<BufMmap<'static, ()>>) {
        self.complete(pool);
        self.push_batch();
        self.kick();
        self.complete(pool);
        self.refill(pool);
    }

    fn push_batch(&mut self) {
        let mut pushed = 0;
        while let Some(buf) = self.batch.front() {
            let addr = chunk_offset(&self.area, buf) as u64;
            if !self.tx.push(addr, u32::from(buf.get_len())) {
                break;
            }
            // The token ends here; the completion ring makes a new one.
            let _ = self.batch.pop_front();
            pushed += 1;
        }
        if pushed > 0 {
            self.tx.submit();
            self.in_tx += pushed;
            self.counters.tx_frames += pushed as u64;
        }
    }

    /// Asks the kernel to send until the ring is empty or it makes no progress: in copy mode one
    /// call sends a budget of frames and leaves the rest in the ring.
    fn kick(&mut self) {
        let mut pending = self.tx.pending();
        while pending > 0 && self.tx.needs_wakeup() {
            self.counters.tx_kicks += 1;
            match send(self.fd(), &[], SendFlags::DONTWAIT) {
                Ok(_) | Err(Errno::AGAIN | Errno::BUSY | Errno::NOBUFS | Errno::INTR) => {}
                // Down (ENETDOWN) or gone (ENXIO): frames wait for the link, up to the limit.
                Err(_) => {
                    self.counters.tx_kick_errors += 1;
                    return;
                }
            }
            let left = self.tx.pending();
            if left >= pending {
                return;
            }
            pending = left;
        }
    }

    fn complete(&mut self, pool: &mut Vec<BufMmap<'static, ()>>) {
        if self.in_tx == 0 {
            return;
        }
        // The crate takes its limit from the spare capacity and completes 0 for ever without any.
        pool.reserve(self.in_tx);
        let done = self.completion.service(pool, self.in_tx).unwrap_or(0);
        self.in_tx -= done.min(self.in_tx);
    }

    fn refill(&mut self, pool: &mut Vec<BufMmap<'static, ()>>) {
        // Never more than are in the pool, where the crate panics as unfinished, and never more than
        // the ring has room for, or it takes none.
        let missing = self.sizes.fill_target - self.in_fill.min(self.sizes.fill_target);
        let count = missing.min(pool.len().saturating_sub(self.sizes.reserve));
        if count > 0 {
            self.in_fill += self.fill.fill(pool, count).unwrap_or(0);
        }
        if self.in_fill > 0 && self.fill.needs_wakeup() {
            // Zero copy only: the driver ran out of frames and stopped. Failure means that it is
            // down or gone, and that the next turn tries again.
            let _ = recv(self.fd(), &mut [0_u8; 0], RecvFlags::DONTWAIT);
        }
    }

    pub(super) fn in_fill(&self) -> usize {
        self.in_fill
    }

    pub(super) fn in_tx(&self) -> usize {
        self.in_tx
    }

    pub(super) fn batched(&self) -> usize {
        self.batch.len()
    }

    /// Queued, or in the ring and not taken by the kernel. While the kernel is short of frames to
    /// receive into, those it has sent and not been asked for count too: they are what it lacks.
    pub(super) fn backlog(&self) -> usize {
        let starved = self.in_fill * 2 < self.sizes.fill_target;
        let unsent = self.batch.len() + self.tx.pending() as usize;
        unsent.max(if starved { self.in_tx } else { 0 })
    }

    pub(super) fn counters(&self) -> IoCounters {
        self.counters
    }
}

/// Where the packet data of `buf` begins, in bytes from the start of the area.
#[inline]
fn chunk_offset(area: &Area, buf: &BufMmap<'static, ()>) -> usize {
    (buf.get_data().as_ptr().addr()).wrapping_sub(area.get_ptr().addr())
}

/// The socket's descriptor, which the crate keeps private: the first socket of a UMEM shares it.
fn descriptor<'a>(umem: &'a Arc<Umem<'static, ()>>) -> BorrowedFd<'a> {
    // SAFETY: `get_ptr` points to the structure that libbpf made for this UMEM, alive as long as
    // `umem`; the call only reads a field.
    let fd = unsafe { xsk_umem__fd(umem.get_ptr()) };
    // SAFETY: libbpf closes the descriptor when the UMEM is dropped, which `'a` forbids.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

type UmemParts =
    (Arc<Umem<'static, ()>>, UmemCompletionQueue<'static, ()>, UmemFillQueue<'static, ()>);

fn new_umem(area: &Area, ring: u32) -> Result<UmemParts, SocketError> {
    Umem::new(Arc::clone(area), ring, ring).map_err(|error| match error {
        UmemNewError::Create(error) => SocketError::Umem(true_error(&error)),
        UmemNewError::RingNotPowerOfTwo => SocketError::RingSize { size: ring },
    })
}

type SocketParts = (Arc<Socket<'static, ()>>, SocketRx<'static, ()>, SocketTx<'static, ()>);

fn new_socket(
    umem: &Arc<Umem<'static, ()>>,
    interface: &str,
    queue: usize,
    ring: u32,
) -> Result<SocketParts, SocketNewError> {
    // Neither copy nor zero copy forced: the kernel takes zero copy where the driver can.
    let options = SocketOptions::default();
    Socket::new(Arc::clone(umem), interface, queue, ring, ring, options)
}

/// The crate hands libbpf's negative numbers to `from_raw_os_error`.
fn true_error(error: &io::Error) -> io::Error {
    io::Error::from_raw_os_error(error.raw_os_error().unwrap_or(libc::EIO).abs())
}

fn is_busy(error: &SocketNewError) -> bool {
    matches!(error, SocketNewError::Create(e)
        if true_error(e).raw_os_error() == Some(libc::EBUSY))
}

fn bind_error(error: SocketNewError, interface: &str, queue: usize) -> SocketError {
    match error {
        SocketNewError::Create(error) => {
            SocketError::Bind { interface: interface.to_owned(), queue, error: true_error(&error) }
        }
        SocketNewError::RingNotPowerOfTwo => SocketError::RingSize { size: 0 },
    }
}

/// Lets one wake-up send the whole ring (Linux 6.16 or later).
fn set_tx_budget(socket: BorrowedFd<'_>, frames: u32) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    /// `XDP_MAX_TX_SKB_BUDGET` of linux/if_xdp.h.
    const MAX_TX_SKB_BUDGET: libc::c_int = 9;
    let value = frames.max(TX_BUDGET);
    // SAFETY: `value` is a u32 that lives through the call, and its size is the one given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_XDP,
            MAX_TX_SKB_BUDGET,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
