//! Frames on a TCP connection to a KDC: `u16` big-endian length, then the message.
//!
//! Owns the reassembly; opens no connection and reads no socket.

use crate::MAX_MESSAGE;

/// A frame that cannot be one of ours; the connection is to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {0} octets on the KDC connection: expected 1 to {MAX_MESSAGE}")]
pub struct BadFrame(pub usize);

/// Puts messages together from the octets of one connection. Holds at most one partial frame.
#[derive(Debug, Default)]
pub struct FrameReader {
    buffer: Vec<u8>,
}

impl FrameReader {
    /// Takes `bytes` and calls `each` with every message completed by them.
    ///
    /// # Errors
    /// [`BadFrame`] on a length of 0 or above 1200; the reader is unusable after it.
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), BadFrame> {
        self.buffer.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(head) = self.buffer.get(at..at + 2) {
            let len = usize::from(u16::from_be_bytes([head[0], head[1]]));
            if len == 0 || len > MAX_MESSAGE {
                return Err(BadFrame(len));
            }
            let Some(message) = self.buffer.get(at + 2..at + 2 + len) else { break };
            each(message);
            at += 2 + len;
        }
        self.buffer.drain(..at);
        Ok(())
    }

    /// True between two messages: nothing of a frame has come yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Forgets a partial frame, for a new connection.
    pub fn clear(&mut self) {
        self.buffer.clear();
    }
}
