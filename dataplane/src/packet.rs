//! One frame of a burst on its way: what it is and what has been decided of it. Owns the record;
//! the modules beside it fill it in.
//!
//! Packets live in one place for as long as their batch takes and are written piece by piece: a
//! record that goes from hand to hand is copied each time.

use sekisho_cipher::{Associated, Payload, SegmentFlags, Tag};
use sekisho_port::{Frame, PortSide};
use sekisho_session::{SessionId, Time};
use sekisho_wire::OptionBlock;

use crate::classify::Segment;
use crate::drop_reason::DropReason;
use crate::key_cache::Place;
use crate::verdict::Verdict;

/// A frame of the burst in hand.
pub(crate) struct Packet {
    /// Gone once it has been brought to its end.
    pub(crate) frame: Option<Frame>,
    /// What the frame is.
    pub(crate) kind: Kind,
    /// What was read of it; the TCP part is that of TCP only.
    pub(crate) segment: Segment,
    /// The flow's hash; of TCP only.
    pub(crate) hash: u64,
    /// What is to be done with it.
    pub(crate) work: Work,
    /// What its session does with it.
    pub(crate) job: Job,
}

impl Packet {
    /// A place for a packet.
    pub(crate) fn vacant() -> Self {
        Self {
            frame: None,
            kind: Kind::Bad(DropReason::Truncated),
            segment: Segment::vacant(PortSide::Cipher),
            hash: 0,
            work: Work::Later,
            job: Job::vacant(),
        }
    }
}

/// What a frame is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A TCP segment.
    Tcp,
    /// A key-delivery datagram from the cipher side.
    Datagram,
    /// An ICMP message that may be an error about protected TCP.
    Icmp,
    /// Nothing that may pass.
    Bad(DropReason),
}

/// What is left to be done with a packet once it has been decided.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// No more than this.
    End(Verdict),
    /// A bare ACK of a synchronised session is to go on.
    Ack,
    /// A keep-alive from the plain side is to lose its garbage octet.
    KeepAlive,
    /// The job: to be sealed or opened, by the side it came in on.
    Cipher,
    /// To be decided again: its key finds no place beside those of the packets before it.
    Later,
}

impl From<Verdict> for Work {
    fn from(verdict: Verdict) -> Self {
        Self::End(verdict)
    }
}

/// What a session does with a segment: what the cipher pass is told and what is to follow.
pub(crate) struct Job {
    /// The session.
    pub(crate) id: SessionId,
    /// Where its expanded key stands.
    pub(crate) key: Place,
    /// What the tag covers beside the payload.
    pub(crate) associated: Associated,
    /// Where the payload is and goes.
    pub(crate) at: Payload,
    /// The options it leaves with.
    pub(crate) options: Options,
    /// Of a segment to be opened: the tag it came with.
    pub(crate) tag: Tag,
    /// Sealing: options gave way to the tag.
    pub(crate) trimmed: bool,
    /// Opening: a RST that answers the SYN.
    pub(crate) answers_syn: bool,
    /// Opening: the session to be tried where the tag does not verify here; the frame as it came
    /// is in the worker's scratch then.
    pub(crate) other: Option<SessionId>,
    /// Opening: what the first session had against it, where this is the second.
    pub(crate) blame: Option<DropReason>,
}

/// The options of a segment that is ciphered.
#[derive(Clone, Copy)]
pub(crate) enum Options {
    /// So many octets stay; the tag follows them, or followed them.
    Spliced(u8),
    /// Written anew, with a blank tag where there is to be one.
    Rewritten(OptionBlock),
}

impl Options {
    /// Length of the list that the segment leaves with; `tag` is what a splice adds.
    pub(crate) fn len(&self, tag: usize) -> usize {
        match self {
            Self::Spliced(keep) => usize::from(*keep) + tag,
            Self::Rewritten(block) => block.len(),
        }
    }
}

impl Job {
    /// A place for a job, of no session.
    pub(crate) fn vacant() -> Self {
        let flags = SegmentFlags { fin: false, rst: false };
        Self {
            id: SessionId::NONE,
            key: Place::NONE,
            associated: Associated { offset: 0, flags, phase: 0 },
            at: Payload { src: 0, dst: 0, len: 0 },
            options: Options::Spliced(0),
            tag: Tag::default(),
            trimmed: false,
            answers_syn: false,
            other: None,
            blame: None,
        }
    }
}

/// A segment of a known session, in the hands of the step that deals with it.
pub(crate) struct Passage<'a> {
    pub(crate) frame: &'a mut Frame,
    pub(crate) segment: &'a Segment,
    pub(crate) id: SessionId,
    pub(crate) now: Time,
}
