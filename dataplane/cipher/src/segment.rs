//! What a tag covers, and where a payload lies in its frame.
//!
//! Owns: the associated block `A`, the tag type, the payload's move, jobs and their outcomes. Not: how
//! any of it is computed.

use thiserror::Error;

use crate::keys::KeyContext;

/// Octets of a tag.
pub const TAG_LEN: usize = 12;

/// Synthetic IV and authenticator of one segment (spec section 3). Public: it is on the wire.
pub type Tag = [u8; TAG_LEN];

/// The TCP flags that a tag covers; all others change on the path or are masked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SegmentFlags {
    /// The segment ends its direction of the stream.
    pub fin: bool,
    /// The segment resets the connection.
    pub rst: bool,
}

impl SegmentFlags {
    /// Wire form in `A`: FIN = 1, RST = 2.
    #[must_use]
    #[inline]
    pub fn bits(self) -> u8 {
        u8::from(self.fin) | u8::from(self.rst) << 1
    }
}

/// What is authenticated beside the payload. The length comes from the payload itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Associated {
    /// Octets from the origin of the stream, ISN + 1, to the first octet of the payload.
    pub offset: u64,
    /// FIN and RST of the segment.
    pub flags: SegmentFlags,
    /// Key phase, 0 or 1, as the tag option's ExID shows it.
    pub phase: u8,
}

impl Associated {
    /// The block `A` (M3.4) for a payload of `len` octets.
    #[must_use]
    pub fn block(&self, len: u16) -> [u8; 16] {
        let mut block = [0; 16];
        block[..8].copy_from_slice(&self.offset.to_be_bytes());
        block[8..10].copy_from_slice(&len.to_be_bytes());
        block[10] = self.flags.bits();
        block[11] = self.phase;
        block
    }

    /// The same block as the integer that its octets write in network order.
    #[inline]
    pub(crate) fn value(&self, len: u16) -> u128 {
        let rest =
            u64::from(len) << 48 | u64::from(self.flags.bits()) << 40 | u64::from(self.phase) << 32;
        u128::from(self.offset) << 64 | u128::from(rest)
    }
}

/// A payload and the place it is to move to, in octets from the start of the frame.
///
/// Sealing moves by +16 and opening by −16 (the tag option comes and goes); 0 and any other
/// distance are allowed. `u16` because the length enters `A` as 16 bits: a jumbogram cannot be
/// named, let alone protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payload {
    /// Where the payload begins now.
    pub src: u16,
    /// Where it is to begin.
    pub dst: u16,
    /// Its octets; 0 for a bare FIN or RST.
    pub len: u16,
}

/// Sums of a payload as TCP's checksum takes them (RFC 1071): 16-bit big-endian words from the
/// first octet on, an odd last octet padded with zero, folded to 16 bits, not inverted.
///
/// A payload of zeros, or of no octets, has 0; any other a value from 1 to 65535, and 65535 where
/// the sum is a multiple of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Sums {
    /// Of the octets found at `at.src`.
    pub before: u16,
    /// Of the octets written to `at.dst`.
    pub after: u16,
}

/// What sealing a segment gives beside its ciphertext.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
#[must_use = "a sealed payload without its tag is lost"]
pub struct Sealed {
    /// Goes into the tag option.
    pub tag: Tag,
    /// Of plaintext and ciphertext.
    pub sums: Sums,
}

/// The tag does not fit the segment: forged, damaged, re-segmented, or sealed with another key.
///
/// The frame is to be freed; nothing of the session may change (M3.8, hazard 35).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("tag does not verify")]
pub struct BadTag {
    /// Sum of the octets found, as [`Sums::before`]: tells damage from forgery.
    pub before: u16,
}

/// Jobs that a caller best gives to one batch; any number is allowed.
pub const BATCH: usize = 32;

/// One segment to seal; fields as the parameters of [`crate::seal`].
pub struct SealJob<'a> {
    /// Keys of the segment's direction and epoch.
    pub context: &'a KeyContext,
    /// What the tag covers beside the payload.
    pub associated: Associated,
    /// Holds the payload and the place it moves to.
    pub frame: &'a mut [u8],
    /// Where the payload is and where it goes.
    pub at: Payload,
}

/// One segment to open; fields as the parameters of [`crate::open`].
pub struct OpenJob<'a> {
    /// Keys of the segment's direction and epoch.
    pub context: &'a KeyContext,
    /// What the tag covers beside the payload.
    pub associated: Associated,
    /// Holds the payload and the place it moves to.
    pub frame: &'a mut [u8],
    /// Where the payload is and where it goes.
    pub at: Payload,
    /// As received.
    pub tag: Tag,
}
