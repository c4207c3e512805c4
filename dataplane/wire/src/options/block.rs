//! A block of option bytes under construction: at most 40, in the end a multiple of 4.

use super::{OptionCodes, SekishoOption, TAG_LEN, TAG_OPTION_LEN, kind};
use crate::tcp::MAX_OPTIONS_LEN;
use std::fmt;

/// Option bytes on their way into a header.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct OptionBlock {
    bytes: [u8; MAX_OPTIONS_LEN],
    len: u8,
    /// Offset of the tag bytes, where a Tag option was pushed; 0 = none (no tag can start there).
    tag_at: u8,
}

impl OptionBlock {
    /// An empty block.
    #[inline]
    pub const fn new() -> Self {
        Self { bytes: [kind::NOP; MAX_OPTIONS_LEN], len: 0, tag_at: 0 }
    }

    /// The bytes so far.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len()]
    }

    /// Length in bytes, at most 40.
    #[inline]
    pub fn len(&self) -> usize {
        usize::from(self.len).min(MAX_OPTIONS_LEN)
    }

    /// No bytes.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes left.
    #[inline]
    pub fn room(&self) -> usize {
        MAX_OPTIONS_LEN - self.len()
    }

    /// Appends bytes as they are; `None` and no change where they do not fit.
    #[inline]
    pub fn push(&mut self, bytes: &[u8]) -> Option<()> {
        // Timestamps with padding, the one usual length: a copy of known length is no call.
        if let Ok(twelve) = <&[u8; 12]>::try_from(bytes) {
            return self.push_array(twelve);
        }
        let start = self.len();
        self.bytes.get_mut(start..start + bytes.len())?.copy_from_slice(bytes);
        // At most 40: the range above was within the array.
        self.len = (start + bytes.len()) as u8;
        Some(())
    }

    #[inline]
    fn push_array<const N: usize>(&mut self, bytes: &[u8; N]) -> Option<()> {
        let start = self.len();
        *self.bytes.get_mut(start..)?.first_chunk_mut::<N>()? = *bytes;
        // At most 40: the chunk above was within the array.
        self.len = (start + N) as u8;
        Some(())
    }

    /// Appends an option of ours; `None` and no change where it does not fit.
    #[inline]
    pub fn push_sekisho(&mut self, option: &SekishoOption, codes: &OptionCodes) -> Option<()> {
        match option {
            SekishoOption::Tag(tag) => {
                self.push_array(&tag.encode(codes))?;
                self.tag_at = self.len - TAG_LEN as u8;
                Some(())
            }
            SekishoOption::Request(request) => self.push_array(&request.encode(codes)),
            SekishoOption::Accept(accept) => self.push_array(&accept.encode(codes)),
            SekishoOption::Resync(resync) => self.push_array(&resync.encode(codes)),
        }
    }

    /// Pads with NOP to a multiple of 4; always fits, 40 being one.
    #[inline]
    pub fn pad(&mut self) {
        while !self.len.is_multiple_of(4) && self.push(&[kind::NOP]).is_some() {}
    }

    /// Offset of the 12 tag bytes in this block, where it has a Tag option.
    #[inline]
    pub fn tag_offset(&self) -> Option<usize> {
        (self.tag_at != 0).then_some(usize::from(self.tag_at))
    }

    /// Fills in the tag, which is known only once the payload has been sealed.
    /// False where the block has no Tag option.
    #[inline]
    pub fn set_tag(&mut self, tag: &[u8; TAG_LEN]) -> bool {
        let Some(at) = self.tag_offset() else { return false };
        match self.bytes.get_mut(at..at + TAG_LEN) {
            Some(place) => {
                place.copy_from_slice(tag);
                true
            }
            None => false,
        }
    }
}

impl Default for OptionBlock {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for OptionBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OptionBlock({:02x?})", self.as_bytes())
    }
}

const _: () = assert!(TAG_OPTION_LEN > TAG_LEN, "a tag never starts at offset 0");
