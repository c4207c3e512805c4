//! The keystream of a segment, step by step.
//!
//! Owns: where its payload is and goes, what is done of it, the sum of the ciphertext.

use core::arch::x86_64::*;
use core::marker::PhantomData;

use super::aes::{self, Counter};
use super::lanes::{LANES, Lanes, load_part};
use super::step::{Data, FULL, Fill, LAST, STEP, WIDE, by_registers, load_step, parts, store_step};
use super::sums::Running;
use crate::low::Job;
use crate::low::context::Context;

/// Largest move to higher addresses that is done step by step: what a step moves onto was loaded before.
const REACH: usize = LANES;

/// A segment and how far it is ciphered.
pub(super) struct Crypt<'a, J> {
    pub(super) ctx: &'a Context,
    counter: Counter,
    src: usize,
    dst: usize,
    len: usize,
    /// Octets done.
    at: usize,
    /// The first 64 octets of the next step: loaded before the step before is stored, because that may
    /// move onto them.
    next: Lanes,
    /// Of the ciphertext.
    pub(super) sum: Running,
    jobs: PhantomData<fn() -> J>,
}

impl<'a, J: Job<'a>> Crypt<'a, J> {
    /// No segment.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn idle(ctx: &'a Context) -> Self {
        let counter = Counter::new(ctx, _mm_setzero_si128(), 0);
        let (next, sum) = (_mm512_setzero_si512(), Running::zero());
        Self { ctx, counter, src: 0, dst: 0, len: 0, at: 0, next, sum, jobs: PhantomData }
    }

    /// Begins a segment with its tag. In place, field by field: a value that is copied in wider words than
    /// it was written in is waited for until all earlier work has ended.
    #[inline]
    #[target_feature(enable = "bmi2,avx512f,avx512bw")]
    pub(super) fn begin(&mut self, job: &mut J, tag: __m128i) {
        let at = job.at();
        (self.src, self.dst) = (usize::from(at.src), usize::from(at.dst));
        self.len = usize::from(at.len);
        if self.dst > self.src + REACH {
            job.frame().copy_within(self.src..self.src + self.len, self.dst);
            self.src = self.dst;
        }
        self.ctx = job.context();
        self.counter = Counter::new(self.ctx, tag, job.associated().offset);
        self.at = 0;
        self.next = load_part(&job.bytes()[self.src..][..self.len], 0);
        self.sum = Running::zero();
    }

    /// Octets to be done.
    #[inline]
    pub(super) fn left(&self) -> usize {
        self.len - self.at
    }

    /// All that is left, without anything beside it.
    #[target_feature(enable = "aes,bmi2,vaes,avx512f,avx512bw")]
    pub(super) fn rest(&mut self, frame: &mut [u8]) {
        while self.left() >= STEP {
            self.step::<WIDE, FULL>(frame);
        }
        if self.left() > 0 {
            by_registers!(self.left(), L => self.step::<L, LAST>(frame));
        }
    }

    #[inline]
    #[target_feature(enable = "aes,bmi2,vaes,avx512f,avx512bw")]
    fn step<const L: usize, const F: Fill>(&mut self, frame: &mut [u8]) {
        let mut states = self.states::<L>();
        for round in aes::INNER {
            aes::round::<L>(self.ctx, &mut states, round);
        }
        self.finish::<L, F, 2>(frame, states);
    }

    /// The states of the next step after the first key addition.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn states<const L: usize>(&self) -> Data {
        self.counter.states::<L>(self.at)
    }

    /// Ends a step: the last round, the move and the sum. Each `SITE` has a body of its own.
    #[inline]
    #[target_feature(enable = "aes,bmi2,vaes,avx512f,avx512bw")]
    pub(super) fn finish<const L: usize, const F: Fill, const SITE: u8>(
        &mut self,
        frame: &mut [u8],
        mut states: Data,
    ) {
        let source = &frame[self.src + self.at..self.src + self.len];
        let len = if F == FULL { STEP } else { source.len().min(L * LANES) };
        let mut data = load_step::<L, F>(&source[..len]);
        data[0] = self.next;
        for i in 0..L {
            states[i] = aes::last(self.ctx, states[i], data[i]);
        }
        if F != LAST {
            self.next = load_part(source, STEP);
        }
        let stored = store_step::<L, F>(&mut frame[self.dst + self.at..][..len], states);
        if J::SUMS {
            let [one, two] = parts(if J::SEALS { stored } else { data });
            self.sum.add(one);
            if L > WIDE / 2 {
                self.sum.add(two);
            }
        }
        self.at += len;
    }
}
