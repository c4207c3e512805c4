//! Segments of more than 64 octets: two streams of steps side by side.
//!
//! Owns: the order of the steps. A step is 256 octets of one segment, or what is left. The
//! keystream of one step and the hash of another run between each other's rounds, across the
//! borders of segments. Sealing, the hash goes ahead, because a segment's keystream begins with its
//! tag; opening, it follows.
//!
//! Sealing goes from the back and opening from the front, as the tag option comes and goes: no step
//! overwrites what a later one has yet to read. A payload that moves the other way is moved first.

use core::arch::x86_64::*;

use super::aes::{self, Counter, Tagger};
use super::ghash::{Hash, Step};
use super::group;
use super::lanes::{LANES, Lanes, load, load_part, part, store, store_part};
use super::sums::{self, Running};
use crate::low::Job;
use crate::low::block::{block, read_tag};
use crate::low::context::Context;
use crate::segment::Sealed;

/// Octets of a full step.
const STEP: usize = 4 * LANES;
/// Octets of a block.
const BLOCK: usize = 16;
/// Steps that the hash goes ahead of the keystream, beyond the tag: the time that a tag takes.
const AHEAD: usize = 1;

/// A part of a payload: octets from its start, and how many.
#[derive(Clone, Copy)]
struct Span {
    start: usize,
    len: usize,
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
    sums: Running,
    src: usize,
    dst: usize,
    /// The part that is to be done.
    left: Span,
}

/// The stream of hashes.
struct Hashes<'a> {
    begun: usize,
    steps: usize,
    job: usize,
    hash: Hash<'a>,
    src: usize,
    left: Span,
    /// Segments hashed.
    done: usize,
}

/// What comes out of the streams, in the order of the segments.
struct Results<const N: usize> {
    /// Hashes; sealing, each becomes a tag as soon as can be.
    tags: [__m128i; N],
    sums: [Running; N],
}

/// Sealing, the tags; opening, hashes only.
struct Tags<'a, const N: usize> {
    /// The tag on its way, if one is pending.
    tagger: Tagger<'a>,
    pending: bool,
    found: [__m128i; N],
    done: usize,
    /// The steps that the hash had done when each was found.
    since: [usize; N],
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

impl<'a, const N: usize> Tags<'a, N> {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    fn none(ctx: &'a Context) -> Self {
        let zero = _mm_setzero_si128();
        let tagger = Tagger::new(ctx, zero);
        Self { tagger, pending: false, found: [zero; N], done: 0, since: [0; N] }
    }

    /// The tag of segment `index` of `all`, if it was found and had the time it takes.
    #[inline]
    fn of(&self, index: usize, all: usize, steps: usize) -> Option<__m128i> {
        let ready = self.done == all || self.done > index && steps >= self.since[index] + AHEAD;
        ready.then(|| self.found[index])
    }

    /// All rounds of the pending tag.
    #[inline]
    #[target_feature(enable = "aes,avx512f")]
    fn rounds(&mut self) {
        for round in aes::INNER {
            self.tagger.round(round);
        }
    }

    /// Ends the pending tag.
    #[inline]
    #[target_feature(enable = "aes,avx512f")]
    fn take(&mut self, steps: usize) {
        self.found[self.done] = self.tagger.finish();
        self.since[self.done] = steps;
        self.done += 1;
        self.pending = false;
    }
}

impl<'a> Crypt<'a> {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn idle(ctx: &'a Context) -> Self {
        Self {
            begun: 0,
            steps: 0,
            job: 0,
            ctx,
            counter: Counter::new(ctx, _mm_setzero_si128(), 0),
            sums: Running::new(0),
            src: 0,
            dst: 0,
            left: Span::NONE,
        }
    }

    /// Begins a segment with its tag.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn begin<J: Job<'a>>(&mut self, jobs: &mut [J], index: u8, tag: __m128i) {
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
        self.sums = Running::new(self.left.len.div_ceil(STEP) * 4);
    }

    /// The next step and its states.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn states<J: Job<'a>>(&mut self) -> (Span, [Lanes; 4]) {
        self.steps += 1;
        let step = if J::SEALS { self.left.take_back() } else { self.left.take() };
        (step, self.counter.states::<4>(step.start))
    }

    /// The last round, the sums and the stores of a step.
    #[inline]
    #[target_feature(enable = "aes,bmi2,vaes,avx512f,avx512bw,avx512vnni")]
    fn finish<J: Job<'a>, const N: usize>(
        &mut self,
        frame: &mut [u8],
        step: Span,
        states: [Lanes; 4],
    ) {
        let data = load_step(&frame[self.src + step.start..][..step.len]);
        let mut lanes = states;
        for (lanes, data) in lanes.iter_mut().zip(data) {
            *lanes = aes::last(self.ctx, *lanes, data);
        }
        let target = &mut frame[self.dst + step.start..][..step.len];
        if target.len() == STEP {
            for (i, lanes) in lanes.iter().enumerate() {
                store(target, i * LANES, *lanes);
            }
        } else {
            for (i, lanes) in lanes.iter_mut().enumerate() {
                let (at, len) = part(step.len, i);
                *lanes = store_part(target, at, len, *lanes);
            }
        }
        for (lanes, data) in lanes.iter().zip(data) {
            self.sums.add(data, *lanes);
        }
    }
}

impl<'a> Hashes<'a> {
    #[inline]
    #[target_feature(enable = "avx512f,vpclmulqdq")]
    fn idle(ctx: &'a Context) -> Self {
        let hash = Hash::new(ctx, _mm_setzero_si128(), 0);
        Self { begun: 0, steps: 0, job: 0, hash, src: 0, left: Span::NONE, done: 0 }
    }

    /// Begins a segment.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,vpclmulqdq")]
    fn begin<J: Job<'a>>(&mut self, jobs: &mut [J], index: u8) {
        self.begun += 1;
        self.job = usize::from(index);
        let job = &jobs[self.job];
        let at = job.at();
        self.src = usize::from(if J::SEALS { at.src } else { at.dst });
        self.left = Span { start: 0, len: usize::from(at.len) };
        let first = self.left.len.min(STEP).div_ceil(BLOCK);
        self.hash = Hash::new(job.context(), block(job.associated().value(at.len)), first);
    }

    /// The next step.
    #[inline]
    #[target_feature(enable = "bmi2,avx512f,avx512bw,vpclmulqdq")]
    fn step(&mut self, frame: &[u8]) -> Step<'a> {
        self.steps += 1;
        let step = self.left.take();
        let data = load_step(&frame[self.src + step.start..][..step.len]);
        self.hash.begin_step(data, step.len.div_ceil(BLOCK))
    }
}

/// Loads a step, zeros behind it.
#[inline]
#[target_feature(enable = "bmi2,avx512f,avx512bw")]
fn load_step(place: &[u8]) -> [Lanes; 4] {
    if place.len() == STEP {
        [load(place, 0), load(place, 64), load(place, 128), load(place, 192)]
    } else {
        let mut data = [_mm512_setzero_si512(); 4];
        for (i, data) in data.iter_mut().enumerate() {
            let (at, len) = part(place.len(), i);
            *data = load_part(place, at, len);
        }
        data
    }
}

/// Seals, or decrypts and finds the tags that there should have been.
#[target_feature(
    enable = "aes,pclmulqdq,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512vl,avx512vnni"
)]
pub(super) fn run<'a, J: Job<'a>, const N: usize>(
    jobs: &mut [J],
    out: &mut [Sealed],
    order: &[u8],
) {
    let Some(first) = order.first() else { return };
    let ctx = jobs[usize::from(*first)].context();
    let mut crypt = Crypt::idle(ctx);
    let mut hashes = Hashes::idle(ctx);
    let mut tags = Tags::<N>::none(ctx);
    let mut sums = [Running::new(0); N];
    loop {
        if crypt.left.len == 0 && crypt.begun < order.len() {
            let index = order[crypt.begun];
            if !J::SEALS {
                let tag = read_tag(jobs[usize::from(index)].tag());
                crypt.begin(jobs, index, tag);
            } else if let Some(tag) = tags.of(crypt.begun, order.len(), hashes.steps) {
                crypt.begin(jobs, index, tag);
            }
        }
        let hash = if J::SEALS { hashes.done < order.len() } else { hashes.steps < crypt.steps };
        if hash && hashes.left.len == 0 {
            hashes.begin(jobs, order[hashes.begun]);
        }
        if crypt.left.len > 0 {
            let (span, mut states) = crypt.states::<J>();
            if hash {
                let mut step = hashes.step(jobs[hashes.job].frame());
                if tags.pending {
                    stitch::<J, N, true>(crypt.ctx, &mut states, &mut step, &mut tags.tagger);
                } else {
                    stitch::<J, N, false>(crypt.ctx, &mut states, &mut step, &mut tags.tagger);
                }
                hashes.hash.end_step(step);
            } else {
                for round in aes::INNER {
                    aes::round(crypt.ctx, &mut states, round);
                    tags.tagger.round(round);
                }
            }
            crypt.finish::<J, N>(jobs[crypt.job].frame(), span, states);
            if crypt.left.len == 0 {
                sums[crypt.begun - 1] = crypt.sums;
            }
        } else if hash {
            let mut step = hashes.step(jobs[hashes.job].frame());
            step.all();
            hashes.hash.end_step(step);
            tags.rounds();
        } else if tags.pending {
            tags.rounds();
        } else {
            break;
        }
        if tags.pending {
            tags.take(hashes.steps);
        }
        if hash && hashes.left.len == 0 {
            let (ctx, value) = (hashes.hash.context(), hashes.hash.value());
            if J::SEALS {
                (tags.tagger, tags.pending) = (Tagger::new(ctx, value), true);
            } else {
                tags.found[hashes.done] = value;
            }
            hashes.done += 1;
        }
    }
    write(jobs, out, order, &Results { tags: tags.found, sums });
}

/// Writes what came out; opening, the hashes become tags first.
#[inline]
#[target_feature(enable = "aes,avx512f,avx512bw,avx512vl")]
fn write<'a, J: Job<'a>, const N: usize>(
    jobs: &[J],
    out: &mut [Sealed],
    order: &[u8],
    results: &Results<N>,
) {
    if N == 1 {
        write_group::<J, 1>(jobs, out, order, &results.tags, &results.sums);
        return;
    }
    let parts = order.chunks(8).zip(results.tags.chunks(8)).zip(results.sums.chunks(8));
    for ((order, tags), sums) in parts {
        write_group::<J, 8>(jobs, out, order, tags, sums);
    }
}

#[inline]
#[target_feature(enable = "aes,avx512f,avx512bw,avx512vl")]
fn write_group<'a, J: Job<'a>, const G: usize>(
    jobs: &[J],
    out: &mut [Sealed],
    order: &[u8],
    tags: &[__m128i],
    sums: &[Running],
) {
    let mut group_tags = [_mm_setzero_si128(); G];
    group_tags.copy_from_slice(tags);
    let mut group_sums = [Running::new(0); G];
    group_sums.copy_from_slice(sums);
    if !J::SEALS {
        let mut ctx = [jobs[usize::from(order[0])].context(); G];
        for (ctx, index) in ctx.iter_mut().zip(order) {
            *ctx = jobs[usize::from(*index)].context();
        }
        group_tags = aes::tags(ctx, group_tags);
    }
    group::write(out, order, group_tags, sums::finish_each(group_sums));
}

/// The rounds of four states with a step of a hash between them, and with those of a tag.
#[inline]
#[target_feature(enable = "aes,vaes,vpclmulqdq,avx512f,avx512bw,avx512vl")]
fn stitch<'a, J: Job<'a>, const N: usize, const TAG: bool>(
    ctx: &Context,
    states: &mut [Lanes; 4],
    step: &mut Step<'_>,
    tagger: &mut Tagger<'_>,
) {
    let mut round = |round| {
        aes::round(ctx, states, round);
        if TAG {
            tagger.round(round);
        }
    };
    round(1);
    step.outer(1);
    round(2);
    step.inner(1);
    round(3);
    step.outer(2);
    round(4);
    step.inner(2);
    round(5);
    step.outer(3);
    round(6);
    step.inner(3);
    round(7);
    step.outer(0);
    round(8);
    step.inner(0);
    round(9);
    round(10);
    step.reduce_low();
    round(11);
    round(12);
    step.reduce_middle();
    round(13);
}
