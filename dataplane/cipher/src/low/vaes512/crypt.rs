//! The keystream of a segment, step by step.
//!
//! Owns: where its payload is and goes, what is done of it, the sum of the ciphertext.

use core::arch::x86_64::*;
use core::marker::PhantomData;

use super::aes::{self, Counter};
use super::lanes::{LANES, Lanes, hold, load, load_part, store};
use super::step::{Data, Fill, LAST, STEP, WIDE, by_registers, load_step, store_step};
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
        let mut begun = self.first();
        while self.left() > STEP {
            self.step::<2>(frame, &mut begun);
        }
        if self.left() > 0 {
            by_registers!(self.left(), L => {
                for round in aes::INNER.skip(1) {
                    aes::round::<L>(self.ctx, &mut begun.states, round);
                }
                self.finish::<L, LAST, 2>(frame, begun.states);
            });
        }
    }

    /// A full step that is not the last, without anything beside it.
    #[inline]
    #[target_feature(enable = "aes,bmi2,vaes,avx512f,avx512bw")]
    pub(super) fn step<const SITE: u8>(&mut self, frame: &mut [u8], begun: &mut Begun) -> Data {
        for round in aes::INNER.skip(1) {
            aes::round::<WIDE>(self.ctx, &mut begun.states, round);
        }
        self.turn::<SITE>(frame, begun)
    }

    /// The next step after its first round.
    #[inline]
    #[target_feature(enable = "aes,vaes,avx512f,avx512bw")]
    pub(super) fn first(&self) -> Begun {
        let mut count = self.counter.count(self.at);
        let key = aes::key(self.ctx, 1);
        let mut states = [count; WIDE];
        for state in &mut states {
            *state = aes::round_one(key, self.counter.state(&mut count));
        }
        Begun { states, count }
    }

    /// Ends a full step that is not the last and does the first round of the next, register by register: done one
    /// after the other, what is not a round of AES would come in a heap and the units for those stand idle. Gives
    /// what became of the step. Each `SITE` has a body of its own.
    #[inline]
    #[target_feature(enable = "aes,bmi2,vaes,avx512f,avx512bw")]
    pub(super) fn turn<const SITE: u8>(&mut self, frame: &mut [u8], begun: &mut Begun) -> Data {
        let keys = [aes::key(self.ctx, 1), aes::key(self.ctx, aes::LAST)];
        let [a, i] = self.turn_one::<0, SITE>(frame, begun, keys);
        let [b, j] = self.turn_one::<1, SITE>(frame, begun, keys);
        let [c, k] = self.turn_one::<2, SITE>(frame, begun, keys);
        let [d, l] = self.turn_one::<3, SITE>(frame, begun, keys);
        if J::SUMS {
            self.sum.add(if J::SEALS { [i, j, k, l] } else { [a, b, c, d] });
        }
        let [a, m] = self.turn_one::<4, SITE>(frame, begun, keys);
        let [b, n] = self.turn_one::<5, SITE>(frame, begun, keys);
        let [c, o] = self.turn_one::<6, SITE>(frame, begun, keys);
        let [d, p] = self.turn_one::<7, SITE>(frame, begun, keys);
        if J::SUMS {
            self.sum.add(if J::SEALS { [m, n, o, p] } else { [a, b, c, d] });
        }
        self.at += STEP;
        [i, j, k, l, m, n, o, p]
    }

    /// Register `I` of [`Crypt::turn`]: what it was and what it became.
    #[inline]
    #[target_feature(enable = "aes,bmi2,vaes,avx512f,avx512bw")]
    fn turn_one<const I: usize, const SITE: u8>(
        &mut self,
        frame: &mut [u8],
        begun: &mut Begun,
        [first, last]: [Lanes; 2],
    ) -> [Lanes; 2] {
        let (src, dst, end) = (self.src + self.at, self.dst + self.at, self.src + self.len);
        let data = self.next;
        self.next = if I < WIDE - 1 {
            load(&frame[src..src + STEP], (I + 1) * LANES)
        } else {
            load_part(&frame[src..end], STEP)
        };
        let ciphered = hold(aes::last(last, begun.states[I], data));
        store(&mut frame[dst..dst + STEP], I * LANES, ciphered);
        begun.states[I] = aes::round_one(first, self.counter.state(&mut begun.count));
        [data, ciphered]
    }

    /// Ends a step: the last round, the move and the sum. Gives what became of it, with zeros behind. Each `SITE` has
    /// a body of its own.
    #[inline]
    #[target_feature(enable = "aes,bmi2,vaes,avx512f,avx512bw")]
    pub(super) fn finish<const L: usize, const F: Fill, const SITE: u8>(
        &mut self,
        frame: &mut [u8],
        mut states: Data,
    ) -> Data {
        let source = &frame[self.src + self.at..self.src + self.len];
        let len = source.len().min(L * LANES);
        let mut data = load_step::<L, F>(&source[..len]);
        data[0] = self.next;
        let key = aes::key(self.ctx, aes::LAST);
        for i in 0..L {
            states[i] = aes::last(key, states[i], data[i]);
        }
        if F != LAST {
            self.next = load_part(source, STEP);
        }
        let stored = store_step::<L, F>(&mut frame[self.dst + self.at..][..len], states);
        if J::SUMS {
            self.sum.add_step::<L>(if J::SEALS { stored } else { data });
        }
        self.at += len;
        stored
    }
}

/// A step after its first round.
pub(super) struct Begun {
    pub(super) states: Data,
    /// The counters behind it.
    count: Lanes,
}
