//! What becomes of one frame. Every path of the pipeline ends in one of these, so none is lost.

use crate::drop_reason::DropReason;
use crate::hold::HoldKind;

/// The fate of the frame in hand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// Leaves by the other side, as it now stands.
    Forward,
    /// Taken up by control; the frame is free again.
    Consume,
    /// Ends here.
    Drop(DropReason),
    /// Ends here for a reason, and its buffer now carries the answer to who sent it.
    Answer(DropReason),
    /// Waits for the session in this slot, as it now stands.
    Hold(u32, HoldKind),
    /// Belongs to another worker.
    HandOff(u32),
}

// What a step returns fits a register: what goes over memory is written in pieces and read whole,
// and such a read waits.
const _: () = assert!(size_of::<Result<crate::packet::Work, DropReason>>() <= 8);

/// Pipeline steps fail with the reason for the drop.
impl From<DropReason> for Verdict {
    fn from(reason: DropReason) -> Self {
        Self::Drop(reason)
    }
}
