//! Frames made here: the RST that answers a SYN, and those that end a session. Owns their
//! content; layer 2 is borrowed from a frame seen before.

use sekisho_port::Frame;
use sekisho_wire::build::{TcpSegment, tcp_segment};
use sekisho_wire::{FrameView, L2Header};

/// Turns the frame in hand into the RST that a closed port would answer with. False, and no
/// change that matters, where nothing may be answered (a RST, not TCP).
pub(crate) fn turn_into_reset(frame: &mut Frame, view: &FrameView) -> bool {
    let Some(l2) = L2Header::from_frame(frame.data(), view) else {
        return false;
    };
    TcpSegment::reset_answering(view).is_some_and(|reset| write(frame, &l2.swapped(), &reset))
}

/// Writes a segment without payload into a free frame.
pub(crate) fn write(frame: &mut Frame, l2: &L2Header, segment: &TcpSegment<'_>) -> bool {
    match tcp_segment(l2, segment, frame.buffer_mut()) {
        Ok(len) => {
            frame.set_len(len);
            true
        }
        Err(_) => false,
    }
}
