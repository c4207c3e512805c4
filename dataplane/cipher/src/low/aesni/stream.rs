//! Segments of more than one step: two streams of steps side by side.
//!
//! Owns: the order of the steps. A step is 128 octets of one segment, or what is left. The keystream of
//! one step and the hash of another run between each other's rounds, across the borders of segments.
//! Sealing, the hash goes ahead, because a segment's keystream begins with its tag; opening, it follows.
//!
//! Sealing goes from the back and opening from the front, as the tag option comes and goes: no step
//! overwrites what a later one has yet to read. A payload that moves the other way is moved first.

use core::arch::x86_64::*;

use super::aes::{self, Counter};
use super::blocks::{BLOCK, BLOCKS, Block, Running, STEP, load, load_part, store, store_part};
use super::ghash::{Hash, Step};
use crate::low::Job;
use crate::low::block::block;
use crate::low::context::Context;
use crate::segment::{BATCH, Sealed, Sums};

/// Steps that the hash goes ahead of the keystream, beyond the tag: the time that a tag takes.
const AHEAD: usize = 2;

/// A part of a payload: octets from its start, and how many.
#[derive(Clone, Copy)]
struct Span {
    start: usize,
    len: usize,
}

impl Span {
    const NONE: Self = Self { start: 0, len: 0 };

    /// Takes a step from the front.
    #[inline]
    fn take(&mut self) -> Self {
        let step = Self { start: self.start, len: self.len.min(STEP) };
        self.start += step.len;
        self.len -= step.len;
        step
    }

    /// Takes a step from the back; steps lie as those from the front do.
    #[inline]
    fn take_back(&mut self) -> Self {
        let start = (self.len - 1) / STEP * STEP;
        let step = Self { start, len: self.len - start };
        self.len = start;
        step
    }
}

/// The stream of keystream.
struct Crypt<'a> {
    /// Segments begun.
    begun: usize,
    /// Steps done, of all segments.
    steps: usize,
    job: usize,
    ctx: &'a Context,
    counter: Counter,
    before: Running,
    after: Running,
    src: usize,
    dst: usize,
    /// The part that is to be done.
    left: Span,
}

impl<'a> Crypt<'a> {
    /// Begins a segment with its tag.
    #[inline]
    #[target_feature(enable = "avx")]
    fn begin<J: Job<'a>>(&mut self, jobs: &mut [J], index: u8, tag: Block) {
        self.begun += 1;
        self.job = usize::from(index);
        let job = &mut jobs[self.job];
        let at = job.at();
        (self.src, self.dst) = (usize::from(at.src), usize::from(at.dst));
        self.left = Span { start: 0, len: usize::from(at.len) };
        if if J::SEALS { self.dst < self.src } else { self.dst > self.src } {
            job.frame().copy_within(self.src..self.src + self.left.len, self.dst);
            self.src = self.dst;
        }
        self.ctx = job.context();
        self.counter = Counter::new(self.ctx, tag, job.associated().offset);
        let blocks = self.left.len.div_ceil(BLOCK);
        (self.before, self.after) = (Running::new(blocks), Running::new(blocks));
    }

    /// The next step.
    #[inline]
    fn take<const SEALS: bool>(&mut self) -> Span {
        self.steps += 1;
        if SEALS { self.left.take_back() } else { self.left.take() }
    }

    /// A full step with a full step of a hash between its rounds; gives the hash's value. `SEALS` makes
    /// one function for each place that it is inlined in.
    #[inline]
    #[target_feature(enable = "aes,avx,pclmulqdq")]
    fn stitch<const SEALS: bool>(
        &self,
        span: Span,
        mut step: Step<'_, '_>,
    ) -> ([Block; BLOCKS], Block) {
        let mut states = self.counter.states::<BLOCKS>(span.start);
        aes::round(self.ctx, &mut states, 1);
        step.block(1);
        aes::round(self.ctx, &mut states, 2);
        step.block(2);
        aes::round(self.ctx, &mut states, 3);
        step.block(3);
        aes::round(self.ctx, &mut states, 4);
        step.block(4);
        aes::round(self.ctx, &mut states, 5);
        step.block(5);
        aes::round(self.ctx, &mut states, 6);
        step.block(6);
        aes::round(self.ctx, &mut states, 7);
        step.block(7);
        aes::round(self.ctx, &mut states, 8);
        step.block(0);
        aes::round(self.ctx, &mut states, 9);
        aes::round(self.ctx, &mut states, 10);
        let value = step.end();
        aes::round(self.ctx, &mut states, 11);
        aes::round(self.ctx, &mut states, 12);
        aes::round(self.ctx, &mut states, 13);
        (states, value)
    }

    /// The last round, the sums and the stores of a full step.
    #[inline]
    #[target_feature(enable = "aes,avx")]
    fn finish(&mut self, frame: &mut [u8], span: Span, mut states: [Block; BLOCKS]) {
        let source = &frame[self.src + span.start..][..STEP];
        let (mut before, mut after) = (self.before, self.after);
        for (i, state) in states.iter_mut().enumerate() {
            let data = load(source, i);
            *state = aes::last(self.ctx, *state, data);
            before.add(data);
            after.add(*state);
        }
        (self.before, self.after) = (before, after);
        let target = &mut frame[self.dst + span.start..][..STEP];
        for (i, state) in states.into_iter().enumerate() {
            store(target, i, state);
        }
    }

    /// A step by itself, full or not.
    #[inline]
    #[target_feature(enable = "aes,avx")]
    fn alone(&mut self, frame: &mut [u8], span: Span) {
        if span.len == STEP {
            let mut states = self.counter.states::<BLOCKS>(span.start);
            for round in aes::INNER {
                aes::round(self.ctx, &mut states, round);
            }
            self.finish(frame, span, states);
        } else if span.len > 4 * BLOCK {
            self.part::<BLOCKS>(frame, span);
        } else {
            self.part::<4>(frame, span);
        }
    }

    /// What is left of a segment, in at most `N` blocks.
    #[inline]
    #[target_feature(enable = "aes,avx")]
    fn part<const N: usize>(&mut self, frame: &mut [u8], span: Span) {
        let mut states = self.counter.states::<N>(span.start);
        for round in aes::INNER {
            aes::round(self.ctx, &mut states, round);
        }
        let mut data = [_mm_setzero_si128(); N];
        let source = &frame[self.src + span.start..][..span.len];
        for (i, data) in data.iter_mut().enumerate() {
            *data = load_part(source, i);
        }
        let target = &mut frame[self.dst + span.start..][..span.len];
        for i in 0..span.len.div_ceil(BLOCK) {
            let crypted = store_part(target, i, aes::last(self.ctx, states[i], data[i]));
            self.before.add(data[i]);
            self.after.add(crypted);
        }
    }
}

/// The stream of hashes, and the tags that come out of it.
struct Hashes<'a> {
    begun: usize,
    steps: usize,
    job: usize,
    hash: Hash<'a>,
    src: usize,
    left: Span,
    /// Tags found, in the order of the segments.
    tags: [Block; BATCH],
    /// The value of `steps` when each was found.
    found: [usize; BATCH],
    /// Segments whose tag was found.
    done: usize,
}

impl<'a> Hashes<'a> {
    /// Begins a segment.
    #[inline]
    #[target_feature(enable = "avx,pclmulqdq")]
    fn begin<J: Job<'a>>(&mut self, jobs: &[J], index: u8) {
        self.begun += 1;
        self.job = usize::from(index);
        let job = &jobs[self.job];
        let at = job.at();
        self.src = usize::from(if J::SEALS { at.src } else { at.dst });
        self.left = Span { start: 0, len: usize::from(at.len) };
        let associated = block(job.associated().value(at.len));
        self.hash = Hash::new(job.context(), associated, self.left.len);
    }

    /// The octets of the next step.
    #[inline]
    fn take<'p>(&mut self, frame: &'p [u8]) -> &'p [u8] {
        self.steps += 1;
        let span = self.left.take();
        &frame[self.src + span.start..][..span.len]
    }

    /// Finds the tag behind the last step of a segment.
    #[inline]
    #[target_feature(enable = "aes,avx")]
    fn finish(&mut self) {
        if self.left.len == 0 {
            let [tag] = aes::tags([self.hash.ctx], [self.hash.value()]);
            self.tags[self.done] = tag;
            self.found[self.done] = self.steps;
            self.done += 1;
        }
    }
}

/// Seals, or decrypts and finds the tags that there should have been.
#[target_feature(enable = "aes,avx,pclmulqdq")]
pub(super) fn run<'a, J: Job<'a>>(jobs: &mut [J], out: &mut [Sealed], order: &[u8]) {
    if J::SEALS {
        streams::<J, true>(jobs, out, order);
    } else {
        streams::<J, false>(jobs, out, order);
    }
}

/// As [`run`]; `SEALS` is the job's, which a constant cannot be taken from.
#[inline]
#[target_feature(enable = "aes,avx,pclmulqdq")]
fn streams<'a, J: Job<'a>, const SEALS: bool>(jobs: &mut [J], out: &mut [Sealed], order: &[u8]) {
    let Some(first) = order.first() else { return };
    let (mut crypt, mut hashes) = begin(jobs[usize::from(*first)].context());
    loop {
        if crypt.left.len == 0
            && let Some(&index) = order.get(crypt.begun)
            && let Some(tag) = tag_for(&jobs[usize::from(index)], &crypt, &hashes, order)
        {
            crypt.begin(jobs, index, tag);
        }
        let hashing = if SEALS { hashes.done < order.len() } else { hashes.steps < crypt.steps };
        if hashing && hashes.left.len == 0 {
            hashes.begin(jobs, order[hashes.begun]);
        }
        let crypting = crypt.left.len > 0;
        if !hashing && !crypting {
            break;
        }
        // Sealing, the part that is no full step is the first.
        let full = crypt.left.len.is_multiple_of(STEP) || !SEALS && crypt.left.len > STEP;
        if hashing && crypting && full && hashes.left.len >= STEP {
            let place = hashes.take(jobs[hashes.job].frame());
            let span = crypt.take::<SEALS>();
            let (states, value) = crypt.stitch::<SEALS>(span, hashes.hash.begin_step(place));
            hashes.hash.end_step(value);
            hashes.finish();
            crypt.finish(jobs[crypt.job].frame(), span, states);
        } else {
            if hashing {
                let place = hashes.take(jobs[hashes.job].frame());
                hashes.hash.absorb(place);
                hashes.finish();
            }
            if crypting {
                let span = crypt.take::<SEALS>();
                crypt.alone(jobs[crypt.job].frame(), span);
            }
        }
        if crypting && crypt.left.len == 0 {
            let (before, after) = (crypt.before.finish(), crypt.after.finish());
            out[crypt.job].sums = Sums { before, after };
        }
    }
    for (index, tag) in order.iter().zip(&hashes.tags) {
        out[usize::from(*index)].tag = aes::to_tag(*tag);
    }
}

/// The tag that a segment's keystream can begin with: received, or found long enough ago to be there.
#[inline]
#[target_feature(enable = "avx")]
fn tag_for<'a, J: Job<'a>>(
    job: &J,
    crypt: &Crypt<'a>,
    hashes: &Hashes<'a>,
    order: &[u8],
) -> Option<Block> {
    if !J::SEALS {
        return Some(aes::from_tag(job.tag()));
    }
    let found = hashes.done > crypt.begun
        && (hashes.done == order.len() || hashes.steps >= hashes.found[crypt.begun] + AHEAD);
    if found { Some(hashes.tags[crypt.begun]) } else { None }
}

/// Both streams before their first segment.
#[inline]
#[target_feature(enable = "avx,pclmulqdq")]
fn begin(ctx: &Context) -> (Crypt<'_>, Hashes<'_>) {
    let zero = _mm_setzero_si128();
    let crypt = Crypt {
        begun: 0,
        steps: 0,
        job: 0,
        ctx,
        counter: Counter::new(ctx, zero, 0),
        before: Running::new(0),
        after: Running::new(0),
        src: 0,
        dst: 0,
        left: Span::NONE,
    };
    let hashes = Hashes {
        begun: 0,
        steps: 0,
        job: 0,
        hash: Hash::new(ctx, zero, 0),
        src: 0,
        left: Span::NONE,
        tags: [zero; BATCH],
        found: [0; BATCH],
        done: 0,
    };
    (crypt, hashes)
}
