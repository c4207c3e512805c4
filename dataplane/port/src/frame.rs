//! The frame token, the pool of free frames, and their count. It does not know rings.

use afxdp::buf::Buf;
use afxdp::buf_mmap::BufMmap;
use afxdp::mmap_area::{MmapArea, MmapAreaOptions};

/// Bytes of UMEM for each frame: the most the kernel takes.
pub const CHUNK_BYTES: usize = 4096;

/// Bytes of a frame that packet data may use: the chunk without the 256 bytes that the kernel
/// keeps at its front for the driver.
pub const FRAME_CAPACITY: usize = CHUNK_BYTES - 256;

/// One packet buffer, owned by whoever holds the token.
///
/// It cannot be copied, and dropping it loses its memory for good: every path ends in
/// [`PacketIo::transmit`](crate::PacketIo::transmit) or [`PacketIo::free`](crate::PacketIo::free).
/// A frame may move to another thread.
#[must_use = "a dropped frame is lost to its pool for good"]
#[repr(transparent)]
pub struct Frame(BufMmap<'static, ()>);

impl Frame {
    #[inline]
    pub(crate) const fn from_buf(buf: BufMmap<'static, ()>) -> Self {
        Self(buf)
    }

    #[inline]
    pub(crate) fn into_buf(self) -> BufMmap<'static, ()> {
        self.0
    }

    /// Length of the packet in bytes.
    #[inline(always)]
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.0.get_len())
    }

    /// True for a frame without a packet.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.get_len() == 0
    }

    /// The packet.
    #[inline(always)]
    #[must_use]
    pub fn data(&self) -> &[u8] {
        let len = self.len();
        &self.0.get_data()[..len]
    }

    /// The packet, to be changed in place.
    #[inline(always)]
    pub fn data_mut(&mut self) -> &mut [u8] {
        let len = self.len();
        &mut self.0.get_data_mut()[..len]
    }

    /// All [`FRAME_CAPACITY`] bytes, whatever the packet's length.
    #[inline(always)]
    pub fn buffer_mut(&mut self) -> &mut [u8] {
        self.0.get_data_mut()
    }

    /// Sets the packet's length in bytes. Nothing beyond [`FRAME_CAPACITY`] can be set: a larger
    /// value is cut to it (and is a bug, which debug builds stop at).
    #[inline]
    pub fn set_len(&mut self, len: usize) {
        debug_assert!(len <= FRAME_CAPACITY, "frame length {len} above capacity");
        self.0.set_len(len.min(FRAME_CAPACITY) as u16);
    }

    /// Replaces the packet by a copy of `bytes`. False, and no change, if they do not fit.
    #[must_use]
    pub fn fill_from(&mut self, bytes: &[u8]) -> bool {
        let Some(target) = self.0.get_data_mut().get_mut(..bytes.len()) else {
            return false;
        };
        target.copy_from_slice(bytes);
        self.set_len(bytes.len());
        true
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Payload may be clear text: only its length is shown.
        f.debug_struct("Frame").field("len", &self.len()).finish()
    }
}

/// The free frames of one worker, last in first out so that warm memory is used first.
#[derive(Debug, Default)]
pub struct FramePool {
    bufs: Vec<BufMmap<'static, ()>>,
}

impl FramePool {
    pub(crate) fn from_bufs(bufs: Vec<BufMmap<'static, ()>>) -> Self {
        Self { bufs }
    }

    /// A pool of `frames` frames in anonymous memory, for rings without a kernel. The memory is
    /// given back only when the process ends, as frames may outlive the pool.
    ///
    /// Returns none when the memory cannot be mapped.
    #[must_use]
    pub fn anonymous(frames: usize) -> Option<Self> {
        let options = MmapAreaOptions { huge_tlb: false };
        let (area, bufs) = MmapArea::new(frames.max(1), CHUNK_BYTES, options).ok()?;
        // Frames are `'static`: their memory must never be unmapped.
        std::mem::forget(area);
        Some(Self::from_bufs(bufs))
    }

    /// A free frame of length 0.
    #[inline]
    pub fn alloc(&mut self) -> Option<Frame> {
        let mut buf = self.bufs.pop()?;
        buf.set_len(0);
        Some(Frame(buf))
    }

    /// Takes a frame back.
    #[inline]
    pub fn free(&mut self, frame: Frame) {
        self.bufs.push(frame.into_buf());
    }

    /// Takes frames back.
    #[inline]
    pub(crate) fn free_all(&mut self, frames: impl Iterator<Item = Frame>) {
        self.bufs.extend(frames.map(Frame::into_buf));
    }

    /// Free frames.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.bufs.len()
    }

    /// True if no frame is free.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bufs.is_empty()
    }
}

/// Where one worker's frames are. All but `total` are counts of the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameAccounting {
    /// Frames this worker started with. Exchange keeps it true.
    pub total: usize,
    /// In the pool.
    pub pool: usize,
    /// Given to the kernel to receive into, both sides.
    pub rx_fill: usize,
    /// In transmit rings or sent and not yet given back, both sides.
    pub tx_outstanding: usize,
    /// Queued for the next flush, both sides.
    pub batched: usize,
}

impl FrameAccounting {
    /// Frames known to the rings and the pool.
    #[must_use]
    pub const fn known(&self) -> usize {
        self.pool + self.rx_fill + self.tx_outstanding + self.batched
    }

    /// Frames in the worker's own hands: the burst, held segments. Negative if frames came in
    /// from elsewhere without exchange, positive with empty hands if some were lost.
    #[must_use]
    pub const fn in_hand(&self) -> isize {
        self.total as isize - self.known() as isize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_the_kernels_capacity_and_may_cross_threads() {
        let mut pool = FramePool::anonymous(2).unwrap();
        let mut frame = pool.alloc().unwrap();
        assert_eq!(frame.buffer_mut().len(), FRAME_CAPACITY);
        assert!(frame.is_empty());
        assert!(frame.fill_from(b"hello"));
        let frame = std::thread::spawn(move || {
            assert_eq!(frame.data(), b"hello");
            frame
        })
        .join()
        .unwrap();
        pool.free(frame);
        assert_eq!(pool.len(), 2);
    }

    #[test]
    fn a_frame_comes_back_empty() {
        let mut pool = FramePool::anonymous(1).unwrap();
        let mut frame = pool.alloc().unwrap();
        assert!(pool.alloc().is_none());
        assert!(!frame.fill_from(&[0; FRAME_CAPACITY + 1]));
        assert!(frame.fill_from(&[7; FRAME_CAPACITY]));
        pool.free(frame);
        assert_eq!(pool.alloc().unwrap().len(), 0);
    }
}
