//! The transmit ring of one AF_XDP socket, mapped a second time beside the crate afxdp's own.
//!
//! `SocketTx::try_send` of that crate panics when the device goes away, does not wake the kernel
//! when there is nothing new to send, and hides how much the kernel has left in the ring. So its
//! half of the ring is never used, and this one is the only producer.

use std::ffi::c_void;
use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::net::sockopt::xdp_mmap_offsets;
use rustix::net::xdp::{XDP_PGOFF_TX_RING, XdpDesc, XdpDescOptions, XdpRingOffset};

/// `XDP_RING_NEED_WAKEUP`.
const NEED_WAKEUP: u32 = 1;

pub(super) struct TxRing {
    map: NonNull<c_void>,
    map_len: usize,
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    flags: Option<NonNull<AtomicU32>>,
    descriptors: NonNull<XdpDesc>,
    size: u32,
    /// Where the next descriptor goes; ahead of `producer` by what was not submitted.
    next: u32,
    /// The kernel's consumer as last read.
    consumed: u32,
}

// SAFETY: the mapping belongs to this value alone, and the kernel does not care which thread
// writes to it.
unsafe impl Send for TxRing {}

impl TxRing {
    /// Maps the ring of `size` descriptors that `socket` has been given already.
    pub(super) fn map(socket: BorrowedFd<'_>, size: u32) -> io::Result<Self> {
        let offsets = xdp_mmap_offsets(socket)?.tx;
        let map_len = offsets.desc as usize + size as usize * size_of::<XdpDesc>();
        let flags = MapFlags::SHARED | MapFlags::POPULATE;
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice; it aliases only memory that
        // libbpf mapped for the same ring, which nobody touches (see the head of this file).
        let map = unsafe {
            mmap(ptr::null_mut(), map_len, protection, flags, socket, XDP_PGOFF_TX_RING)
        }?;
        let map = NonNull::new(map).ok_or(io::ErrorKind::OutOfMemory)?;
        // SAFETY: `map` is a mapping of `map_len` bytes, which hold the header and `size`
        // descriptors at the offsets that the kernel named.
        Ok(unsafe { Self::over(map, map_len, offsets, size) })
    }

    /// A ring in mapped memory, which this value unmaps when dropped.
    ///
    /// # Safety
    /// `map` is a page-aligned, writable mapping of `map_len` bytes that nothing else unmaps;
    /// `offsets` are those of aligned u32 fields and of `size` descriptors within it; `size` is a
    /// power of two; no other producer writes to the ring.
    unsafe fn over(
        map: NonNull<c_void>,
        map_len: usize,
        offsets: XdpRingOffset,
        size: u32,
    ) -> Self {
        let field = |offset: u64| {
            // SAFETY: the caller warrants that `offset` is within the mapping.
            unsafe { map.byte_add(offset as usize) }
        };
        let mut ring = Self {
            map,
            map_len,
            producer: field(offsets.producer).cast(),
            consumer: field(offsets.consumer).cast(),
            flags: offsets.flags.map(|offset| field(offset).cast()),
            descriptors: field(offsets.desc).cast(),
            size,
            next: 0,
            consumed: 0,
        };
        ring.next = ring.producer().load(Ordering::Relaxed);
        ring.consumed = ring.consumer().load(Ordering::Acquire);
        ring
    }

    #[inline]
    fn producer(&self) -> &AtomicU32 {
        // SAFETY: an aligned u32 within the mapping, which lives as long as `self`; the kernel
        // accesses it atomically.
        unsafe { self.producer.as_ref() }
    }

    #[inline]
    fn consumer(&self) -> &AtomicU32 {
        // SAFETY: as for the producer.
        unsafe { self.consumer.as_ref() }
    }

    /// Puts a frame into the ring, unseen by the kernel until [`submit`](Self::submit). False if
    /// the ring is full.
    #[inline]
    pub(super) fn push(&mut self, addr: u64, len: u32) -> bool {
        if self.next.wrapping_sub(self.consumed) >= self.size {
            self.consumed = self.consumer().load(Ordering::Acquire);
            if self.next.wrapping_sub(self.consumed) >= self.size {
                return false;
            }
        }
        let index = (self.next & (self.size - 1)) as usize;
        // SAFETY: `index` < `size`, and the mapping holds `size` descriptors.
        let slot = unsafe { self.descriptors.add(index) };
        let descriptor = XdpDesc { addr, len, options: XdpDescOptions::empty() };
        // SAFETY: `slot` is aligned and within the mapping; the kernel does not read it before the
        // producer index passes it.
        unsafe { slot.write(descriptor) };
        self.next = self.next.wrapping_add(1);
        true
    }

    /// Shows all frames pushed so far to the kernel.
    #[inline]
    pub(super) fn submit(&mut self) {
        self.producer().store(self.next, Ordering::Release);
    }

    /// Frames in the ring that the kernel has not taken.
    #[inline]
    pub(super) fn pending(&self) -> u32 {
        self.next.wrapping_sub(self.consumer().load(Ordering::Acquire))
    }

    /// True if the kernel sends only when asked (always in copy mode).
    #[inline]
    pub(super) fn needs_wakeup(&self) -> bool {
        self.flags.is_none_or(|flags| {
            // SAFETY: as for the producer.
            let flags = unsafe { flags.as_ref() };
            flags.load(Ordering::Relaxed) & NEED_WAKEUP != 0
        })
    }
}

impl Drop for TxRing {
    fn drop(&mut self) {
        // SAFETY: `map` and `map_len` are those of a mapping that is this value's alone, and no
        // reference into it outlives the value.
        let result = unsafe { munmap(self.map.as_ptr(), self.map_len) };
        debug_assert!(result.is_ok(), "munmap: {result:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::mm::mmap_anonymous;

    const SIZE: u32 = 4;
    const OFFSETS: XdpRingOffset =
        XdpRingOffset { producer: 0, consumer: 64, flags: Some(128), desc: 192 };

    fn ring_in_plain_memory() -> TxRing {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new anonymous mapping.
        let map = unsafe {
            mmap_anonymous(ptr::null_mut(), 4096, protection, MapFlags::PRIVATE).unwrap()
        };
        // SAFETY: one page, which holds all offsets and four descriptors.
        unsafe { TxRing::over(NonNull::new(map).unwrap(), 4096, OFFSETS, SIZE) }
    }

    fn descriptor(ring: &TxRing, n: usize) -> XdpDesc {
        assert!(n < SIZE as usize);
        // SAFETY: within the ring.
        let slot = unsafe { ring.descriptors.add(n) };
        // SAFETY: written before, or zero, which is a valid descriptor.
        unsafe { slot.read() }
    }

    #[test]
    fn frames_are_shown_in_order_and_a_full_ring_says_so() {
        let mut ring = ring_in_plain_memory();
        // Start just before the index wraps around.
        ring.next = u32::MAX - 1;
        ring.consumed = u32::MAX - 1;
        ring.consumer().store(u32::MAX - 1, Ordering::Release);
        for n in 0..4 {
            assert!(ring.push(u64::from(n) * 4096 + 256, 60 + n));
        }
        assert!(!ring.push(0, 0), "a full ring took a frame");
        assert_ne!(ring.producer().load(Ordering::Acquire), ring.next, "shown before submit");
        ring.submit();
        assert_eq!(ring.producer().load(Ordering::Acquire), 2);
        assert_eq!(ring.pending(), 4);
        assert_eq!(descriptor(&ring, 2).addr, 256);
        assert_eq!(descriptor(&ring, 3).len, 61);
        assert_eq!(descriptor(&ring, 0).addr, 2 * 4096 + 256);

        ring.consumer().store(0, Ordering::Release);
        assert_eq!(ring.pending(), 2);
        assert!(ring.push(5 * 4096 + 256, 1));
        assert!(ring.push(6 * 4096 + 256, 1));
        assert!(!ring.push(7 * 4096 + 256, 1));
    }

    #[test]
    fn the_wake_up_flag_is_read() {
        let ring = ring_in_plain_memory();
        assert!(!ring.needs_wakeup());
        let flags = ring.flags.unwrap();
        // SAFETY: within the page.
        let flags = unsafe { flags.as_ref() };
        flags.store(NEED_WAKEUP, Ordering::Relaxed);
        assert!(ring.needs_wakeup());
    }
}
