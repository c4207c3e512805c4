//! The kernels of this project as sides of the benchmark.
//!
//! Owns: their jobs. Seal works on what the last round left; open gets its ciphertext back first, which
//! is not counted.

use std::hint::black_box;

use sekisho_cipher::{
    Associated, BadTag, KeyContext, OpenJob, Payload, SealJob, Sealed, SegmentFlags, TrafficKeys,
    measure,
};

use super::shape::{BATCH, Form, Frames, MOVE, Pass, START, Shape, Side};
use crate::timing::{Probe, Subject, prepared, whole};

/// How far a payload moves as it is ciphered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Distance {
    /// As on the wire: the tag option comes when sealing (+16) and goes when opening (−16).
    Wire,
    /// Not at all.
    Zero,
    /// The other way round.
    Against,
}

impl Distance {
    /// Part of the row's name, after the pass is known.
    pub(super) fn name(self, pass: Pass) -> &'static str {
        match (self, pass) {
            (Self::Zero, _) => "distance-0",
            (Self::Wire, Pass::Seal) | (Self::Against, Pass::Open) => "distance-plus-16",
            (Self::Wire, Pass::Open) | (Self::Against, Pass::Seal) => "distance-minus-16",
        }
    }

    fn payload(self, pass: Pass, len: u16) -> Payload {
        let (src, dst) = match (self, pass) {
            (Self::Zero, _) => (START, START),
            (Self::Wire, Pass::Seal) | (Self::Against, Pass::Open) => (START, START + MOVE),
            (Self::Wire, Pass::Open) | (Self::Against, Pass::Seal) => (START + MOVE, START),
        };
        Payload { src, dst, len }
    }
}

/// Keys of number `index`, different in all octets.
pub(super) fn keys(index: usize) -> TrafficKeys {
    let octet = index as u8;
    TrafficKeys::from_bytes(&[octet ^ 0xa5; 32], &[octet ^ 0x3c; 16])
}

/// One kernel.
pub(super) struct Ours {
    shape: Shape,
    at: Payload,
    contexts: Vec<KeyContext>,
    frames: Frames,
}

impl Ours {
    /// The kernel of that name; `None` where this CPU has none such.
    pub(super) fn new(kernel: &str, shape: Shape, distance: Distance) -> Option<Self> {
        let contexts = (0..shape.form.keys()).map(|index| measure::context(kernel, &keys(index)));
        Some(Self {
            shape,
            at: distance.payload(shape.pass, shape.size),
            contexts: contexts.collect::<Option<_>>()?,
            frames: Frames::new(shape),
        })
    }

    /// Seals over and over.
    pub(super) fn seal(&mut self) -> Subject<'_> {
        let Self { shape, at, contexts, frames } = self;
        let mut jobs = Vec::with_capacity(shape.frames());
        for (index, frame) in frames.iter_mut().take(shape.frames()).enumerate() {
            let context = &contexts[index % contexts.len()];
            jobs.push(SealJob { context, associated: associated(index), frame, at: *at });
        }
        let mut sealed = vec![Sealed::default(); BATCH];
        let mut next = 0;
        match shape.form {
            Form::Single => Box::new(move |n| {
                for _ in 0..n {
                    let job = &mut jobs[next];
                    let done =
                        sekisho_cipher::seal(job.context, &job.associated, job.frame, job.at);
                    let _ = black_box(done);
                    next = (next + 1) % jobs.len();
                }
            }),
            Form::Batch => Box::new(move |n| {
                for _ in 0..n.div_ceil(BATCH as u64) {
                    sekisho_cipher::seal_batch(&mut jobs[next..next + BATCH], &mut sealed);
                    black_box(&mut sealed);
                    next = (next + BATCH) % jobs.len();
                }
            }),
        }
    }

    /// A batch sealed without sums, over and over; `None` where there is no such kernel.
    pub(super) fn unsummed(&mut self) -> Option<Subject<'_>> {
        let Self { shape, at, contexts, frames } = self;
        let jobs = frames.iter_mut().take(shape.frames()).enumerate().map(|(index, frame)| {
            let context = &contexts[index % contexts.len()];
            SealJob { context, associated: associated(index), frame, at: *at }
        });
        let mut jobs = jobs.collect::<Vec<_>>();
        let mut batches = Vec::new();
        while jobs.len() >= BATCH {
            batches.push(measure::Unsummed::new(jobs.drain(..BATCH).collect())?);
        }
        let mut sealed = vec![Sealed::default(); BATCH];
        let mut next = 0;
        Some(Box::new(move |n| {
            for _ in 0..n.div_ceil(BATCH as u64) {
                batches[next].seal(&mut sealed);
                black_box(&mut sealed);
                next = (next + 1) % batches.len();
            }
        }))
    }

    fn open(&mut self) -> Probe<'_> {
        let Self { shape, at, contexts, frames } = self;
        let mut jobs = Vec::with_capacity(shape.frames());
        let mut sealed = Vec::with_capacity(shape.frames());
        for (index, frame) in frames.iter_mut().take(shape.frames()).enumerate() {
            let context = &contexts[index % contexts.len()];
            let there = Payload { src: at.src, dst: at.src, len: at.len };
            let tag = sekisho_cipher::seal(context, &associated(index), frame, there).tag;
            let start = usize::from(at.src);
            sealed.push(frame[start..start + usize::from(at.len)].to_vec());
            jobs.push(OpenJob { context, associated: associated(index), frame, at: *at, tag });
        }
        let opened = vec![Err(BadTag { before: 0 }); shape.frames()];
        let each = shape.frames() as u64;
        let restore = move |(jobs, _): &mut (Vec<OpenJob<'_>>, Vec<_>)| {
            for (job, sealed) in jobs.iter_mut().zip(&sealed) {
                let start = usize::from(job.at.src);
                job.frame[start..start + sealed.len()].copy_from_slice(sealed);
            }
        };
        let form = shape.form;
        prepared((jobs, opened), each, restore, move |(jobs, opened)| {
            match form {
                Form::Single => {
                    for (job, opened) in jobs.iter_mut().zip(opened.iter_mut()) {
                        let OpenJob { context, associated, frame, at, tag } = job;
                        *opened = sekisho_cipher::open(context, associated, frame, *at, tag);
                    }
                }
                Form::Batch => {
                    let batches = jobs.chunks_mut(BATCH).zip(opened.chunks_mut(BATCH));
                    batches.for_each(|(jobs, opened)| sekisho_cipher::open_batch(jobs, opened));
                }
            }
            assert!(opened.iter().all(Result::is_ok), "a sealed segment opens");
        })
    }
}

impl Side for Ours {
    fn probe(&mut self) -> Probe<'_> {
        match self.shape.pass {
            // A batch is counted as its packets, so only whole ones are.
            Pass::Seal if self.shape.form == Form::Batch => in_batches(self.seal()),
            Pass::Seal => whole(self.seal()),
            Pass::Open => self.open(),
        }
    }
}

/// Rounds the number of repetitions up to whole batches and the time down to what was asked for.
fn in_batches(subject: Subject<'_>) -> Probe<'_> {
    let mut probe = whole(subject);
    Box::new(move |n| {
        let done = n.next_multiple_of(BATCH as u64);
        probe(done).mul_f64(n as f64 / done as f64)
    })
}

fn associated(index: usize) -> Associated {
    Associated { offset: index as u64 * 0x1_0001, flags: SegmentFlags::default(), phase: 0 }
}
