//! One frame of a burst on its way: what it is and what has been decided of it. Owns the record;
//! the modules beside it fill it in.

use sekisho_cipher::{Associated, BadTag, Payload, Sealed, Sums, Tag};
use sekisho_port::{Frame, PortSide};
use sekisho_session::{SessionId, Time};
use sekisho_wire::OptionBlock;

use crate::classify::{Class, Segment};
use crate::drop_reason::DropReason;
use crate::key_cache::Place;
use crate::verdict::Verdict;

/// A frame of the burst in hand.
pub(crate) struct Packet {
    /// Gone once it has been brought to its end.
    pub(crate) frame: Option<Frame>,
    /// Where it came in.
    pub(crate) side: PortSide,
    /// What it was read as.
    pub(crate) class: Result<Class, DropReason>,
    /// The flow's hash; of TCP only.
    pub(crate) hash: u64,
    /// What is to be done with it.
    pub(crate) work: Work,
}

/// What is left to be done with a frame once it has been decided.
pub(crate) enum Work {
    /// No more than this.
    End(Verdict),
    /// A bare ACK of a synchronised session.
    Ack(SessionId),
    /// A keep-alive from the plain side, to lose its garbage octet.
    KeepAlive(SessionId),
    /// To be sealed.
    Seal(Sealing),
    /// To be opened.
    Open(Opening),
    /// To be decided again: its key finds no place beside those of the packets before it.
    Later,
}

impl From<Verdict> for Work {
    fn from(verdict: Verdict) -> Self {
        Self::End(verdict)
    }
}

/// What the cipher pass is told of one segment.
#[derive(Clone, Copy)]
pub(crate) struct Job {
    /// Where its expanded key stands.
    pub(crate) key: Place,
    /// What the tag covers beside the payload.
    pub(crate) associated: Associated,
    /// Where the payload is and goes.
    pub(crate) at: Payload,
}

/// A segment to be sealed.
pub(crate) struct Sealing {
    pub(crate) id: SessionId,
    pub(crate) job: Job,
    /// Its options with a blank tag.
    pub(crate) options: OptionBlock,
    /// Options gave way to the tag.
    pub(crate) trimmed: bool,
    /// What the cipher pass gives.
    pub(crate) sealed: Sealed,
}

/// A segment to be opened.
pub(crate) struct Opening {
    pub(crate) id: SessionId,
    /// The session to be tried where the tag does not verify here; the frame as it came is in the
    /// worker's scratch then.
    pub(crate) other: Option<SessionId>,
    pub(crate) job: Job,
    pub(crate) tag: Tag,
    /// Its options without the tag.
    pub(crate) options: OptionBlock,
    /// A RST that answers the SYN.
    pub(crate) answers_syn: bool,
    /// What the cipher pass gives.
    pub(crate) opened: Result<Sums, BadTag>,
    /// What the first session had against it, where this is the second.
    pub(crate) blame: Option<DropReason>,
}

/// A segment of a known session, in the hands of the step that deals with it.
pub(crate) struct Passage<'a> {
    pub(crate) frame: &'a mut Frame,
    pub(crate) segment: &'a Segment,
    pub(crate) id: SessionId,
    pub(crate) now: Time,
}
