//! The cipher pass by itself: the same segments in the same bursts, handed to `seal_batch` or
//! `open_batch` with everything known beforehand. What the pipeline is held against.

use sekisho_cipher::{
    Associated, BadTag, KeyContext, OpenJob, Payload, SealJob, Sealed, SegmentFlags, Sums, Tag,
    open_batch, seal_batch,
};
use sekisho_port::{Frame, MemoryIo, PacketIo};
use sekisho_session::Direction;
use sekisho_wire::{OptionCodes, SekishoOption, TcpOptionsSummary, parse_frame};

use super::{BURST, Pass, Source, pair};
use crate::timing::Subject;
use crate::{BenchError, BenchResult};

/// What a tag adds to a segment, and the payload's way when it comes or goes.
const SHIFT: u16 = 16;

/// One segment as the cipher sees it.
#[derive(Clone, Copy)]
struct Prepared {
    /// Which of the contexts.
    session: usize,
    associated: Associated,
    at: Payload,
    /// Of sealed ones.
    tag: Tag,
}

/// The segments of a benchmark with the keys of their sessions.
pub(super) struct Alone {
    pass: Pass,
    contexts: Vec<KeyContext>,
    prepared: Vec<Prepared>,
}

impl Alone {
    /// Reads `templates`, which belong to `sessions` sessions in turn.
    ///
    /// # Errors
    /// A template that is no segment.
    pub(super) fn new(pass: Pass, templates: &[Vec<u8>], sessions: u16) -> BenchResult<Self> {
        let direction = match pass {
            Pass::Seal => Direction::ServerToClient,
            Pass::Open => Direction::ClientToServer,
        };
        let contexts: BenchResult<Vec<KeyContext>> =
            (0..sessions).map(|number| pair::context(number, direction)).collect();
        let sessions = usize::from(sessions);
        let prepared: Option<Vec<Prepared>> = templates
            .iter()
            .enumerate()
            .map(|(at, bytes)| prepare(pass, bytes, (at % sessions, at / sessions)))
            .collect();
        let prepared = prepared.ok_or_else(|| BenchError::Invalid("no segment".to_owned()))?;
        Ok(Self { pass, contexts: contexts?, prepared })
    }

    /// The subject that runs it over frames of `io`.
    pub(super) fn subject<'a>(
        &'a self,
        io: &'a mut MemoryIo,
        templates: &'a [Vec<u8>],
    ) -> Subject<'a> {
        let mut source = Source::new(templates);
        let mut prepared = self.prepared.iter().copied().cycle();
        Box::new(move |bursts| {
            for _ in 0..bursts {
                let frames = source.next(io);
                let burst = prepared.by_ref().take(usize::from(BURST));
                self.run(burst.zip(frames.iter_mut()));
                frames.drain(..).for_each(|frame| io.free(frame));
            }
        })
    }

    fn run<'f>(&self, burst: impl Iterator<Item = (Prepared, &'f mut Frame)>) {
        match self.pass {
            Pass::Seal => {
                let mut jobs: Vec<SealJob<'_>> = burst
                    .map(|(Prepared { session, associated, at, .. }, frame)| {
                        let (context, frame) = (&self.contexts[session], frame.buffer_mut());
                        SealJob { context, associated, frame, at }
                    })
                    .collect();
                let mut sealed = [Sealed::default(); BURST as usize];
                seal_batch(&mut jobs, &mut sealed);
                std::hint::black_box(&sealed);
            }
            Pass::Open => {
                let mut jobs: Vec<OpenJob<'_>> = burst
                    .map(|(Prepared { session, associated, at, tag }, frame)| {
                        let (context, frame) = (&self.contexts[session], frame.buffer_mut());
                        OpenJob { context, associated, frame, at, tag }
                    })
                    .collect();
                let mut opened: [Result<Sums, BadTag>; BURST as usize] =
                    [Ok(Sums::default()); BURST as usize];
                open_batch(&mut jobs, &mut opened);
                assert!(opened.iter().all(Result::is_ok), "a segment of the agent's opens");
            }
        }
    }
}

/// `index`: the segment's number within its session.
fn prepare(pass: Pass, bytes: &[u8], (session, index): (usize, usize)) -> Option<Prepared> {
    let tcp = *parse_frame(bytes).ok()?.tcp()?;
    let ours = TcpOptionsSummary::walk(tcp.options(bytes), &OptionCodes::default()).ours;
    let (src, len) = (tcp.payload.start, tcp.payload.len);
    let (dst, tag) = match (pass, ours) {
        (Pass::Seal, None) => (src + SHIFT, Tag::default()),
        (Pass::Open, Some(SekishoOption::Tag(tag))) => (src - SHIFT, tag.tag),
        _ => return None,
    };
    let offset = index as u64 * u64::from(len);
    let associated = Associated { offset, flags: SegmentFlags::default(), phase: 0 };
    Some(Prepared { session, associated, at: Payload { src, dst, len }, tag })
}
