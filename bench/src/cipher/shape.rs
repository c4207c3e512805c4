//! What all sides of the cipher benchmark are given: passes, sizes, the frames they work in.
//!
//! Owns: where a payload lies in memory. A side is one implementation doing one pass in one way.

use crate::timing::Probe;

/// Payload sizes in bytes.
pub(super) const SIZES: [u16; 10] = [64, 128, 256, 512, 1024, 1432, 1448, 4096, 8192, 16384];
/// Segments of a batch, and its keys.
pub(super) const BATCH: usize = sekisho_cipher::BATCH;
/// Where a payload begins in its frame: Ethernet, IPv4, TCP with timestamps.
pub(super) const START: u16 = 14 + 20 + 32;
/// Octets of the tag option, by which a payload moves.
pub(super) const MOVE: u16 = 16;
/// Room behind the payload: for the move, and for a peer's tag.
const ROOM: usize = MOVE as usize + 16;
/// Octets of a cache line, to which frames are aligned.
const LINE: usize = 64;
/// Payloads up to this size fill several batches between two readings of the clock.
pub(super) const SMALL: u16 = 256;

/// The direction of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    Seal,
    Open,
}

impl Pass {
    pub(super) const BOTH: [Self; 2] = [Self::Seal, Self::Open];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Seal => "seal",
            Self::Open => "open",
        }
    }
}

/// How segments come: one at a time under one key, or 32 at once under 32 keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Single,
    Batch,
}

impl Form {
    pub(super) const BOTH: [Self; 2] = [Self::Single, Self::Batch];

    /// End of a row's name.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::Single => "",
            Self::Batch => "/batch",
        }
    }

    /// Different keys in use.
    pub(super) fn keys(self) -> usize {
        match self {
            Self::Single => 1,
            Self::Batch => BATCH,
        }
    }
}

/// The work that a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) pass: Pass,
    pub(super) form: Form,
    pub(super) size: u16,
}

impl Shape {
    /// Frames of a round: all sides go over equally much memory.
    pub(super) fn frames(self) -> usize {
        if self.size <= SMALL { 4 * BATCH } else { BATCH }
    }

    pub(super) fn len(self) -> usize {
        usize::from(self.size)
    }
}

/// One implementation with all it needs; what it borrows lives as long as it does.
pub(super) trait Side {
    /// Its probe; one repetition is one packet.
    fn probe(&mut self) -> Probe<'_>;
}

/// Frames one behind the other, each on a cache line of its own.
pub(super) struct Frames {
    bytes: Vec<u8>,
    skip: usize,
    stride: usize,
}

impl Frames {
    /// As many as `shape` works on, filled with something.
    pub(super) fn new(shape: Shape) -> Self {
        let stride = (usize::from(START) + shape.len() + ROOM).next_multiple_of(LINE);
        let bytes: Vec<u8> = (0..stride * shape.frames() + LINE).map(|i| (i * 31) as u8).collect();
        let skip = bytes.as_ptr().align_offset(LINE);
        Self { bytes, skip, stride }
    }

    /// Each frame.
    pub(super) fn iter_mut(&mut self) -> std::slice::ChunksExactMut<'_, u8> {
        self.bytes[self.skip..].chunks_exact_mut(self.stride)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_as_many_as_said_and_on_lines() {
        for (size, frames) in [(64, 128), (1448, 32)] {
            let shape = Shape { pass: Pass::Seal, form: Form::Batch, size };
            let mut made = Frames::new(shape);
            assert!(made.iter_mut().count() >= frames);
            assert!(made.iter_mut().all(|frame| frame.as_ptr().align_offset(LINE) == 0));
        }
    }
}
