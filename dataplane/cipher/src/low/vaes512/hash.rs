//! The hash of a segment, step by step.
//!
//! Owns: where its plaintext is, what is done of it, its sum.

use core::arch::x86_64::*;
use core::marker::PhantomData;

use super::ghash::Part;
use super::lanes::{LANES, Lanes, load, load_part, swap};
use super::step::{ANY, FULL, Fill, LAST, STEP, WIDE, by_registers, is_full, whole};
use super::sums::{self, Words};
use crate::low::Job;
use crate::low::block::block;
use crate::low::context::Context;

/// Octets of a block.
const BLOCK: usize = 16;

/// A segment and how far it is hashed.
pub(super) struct Hash<'a, J> {
    pub(super) ctx: &'a Context,
    src: usize,
    len: usize,
    /// Octets done.
    at: usize,
    /// The block `A`, octet-reversed.
    lead: __m128i,
    /// The hash so far, octet-reversed; its lowest lane.
    pub(super) value: Lanes,
    /// Of the plaintext: of its full registers, and parts of the rest.
    words: Words,
    parts: Lanes,
    jobs: PhantomData<fn() -> J>,
}

impl<'a, J: Job<'a>> Hash<'a, J> {
    /// No segment.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn idle(ctx: &'a Context) -> Self {
        let (lead, value) = (_mm_setzero_si128(), _mm512_setzero_si512());
        Self {
            ctx,
            src: 0,
            len: 0,
            at: 0,
            lead,
            value,
            words: Words::ZERO,
            parts: value,
            jobs: PhantomData,
        }
    }

    /// Begins a segment, in place.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn begin(&mut self, job: &J) {
        let at = job.at();
        self.ctx = job.context();
        self.src = usize::from(if J::SEALS { at.src } else { at.dst });
        self.len = usize::from(at.len);
        self.at = 0;
        self.lead = block(job.associated().value(at.len));
        self.value = _mm512_setzero_si512();
        self.words = Words::ZERO;
        self.parts = self.value;
    }

    /// Octets to be done.
    #[inline]
    pub(super) fn left(&self) -> usize {
        self.len - self.at
    }

    /// All that is left, without anything beside it.
    #[target_feature(enable = "bmi2,pclmulqdq,vpclmulqdq,avx512f,avx512bw")]
    pub(super) fn rest(&mut self, plaintext: &[u8]) {
        while self.left() > STEP {
            self.all::<WIDE, FULL>(plaintext);
        }
        if self.left() > 0 {
            by_registers!(self.left(), L => self.all::<L, LAST>(plaintext));
        }
    }

    #[inline]
    #[target_feature(enable = "bmi2,pclmulqdq,vpclmulqdq,avx512f,avx512bw")]
    fn all<const L: usize, const F: Fill>(&mut self, plaintext: &[u8]) {
        let mut step = self.step::<L, F>(plaintext);
        self.pieces(&mut step, |_| {});
        self.end(&step);
    }

    /// Begins a step: its pieces are to follow.
    #[inline]
    #[target_feature(enable = "pclmulqdq,avx512f")]
    pub(super) fn step<'p, const L: usize, const F: Fill>(
        &mut self,
        plaintext: &'p [u8],
    ) -> Step<'a, 'p, L, F> {
        let source = &plaintext[self.src + self.at..self.src + self.len];
        let len = if F == FULL { STEP } else { source.len().min(L * LANES) };
        let blocks = if F == FULL { STEP / BLOCK } else { len.div_ceil(BLOCK) };
        let ctx = self.ctx;
        let mut part = if F == ANY { Part::any(ctx, blocks) } else { Part::new(ctx, blocks) };
        if self.at == 0 {
            part.lead(self.lead);
        }
        self.at += len;
        Step { part, source: whole::<L, F>(&source[..len]) }
    }

    /// Does a step but for its end, with `round` called for rounds 2 to 13 of a keystream between the pieces.
    #[inline]
    #[target_feature(enable = "bmi2,vpclmulqdq,avx512f,avx512bw")]
    pub(super) fn pieces<const L: usize, const F: Fill>(
        &mut self,
        step: &mut Step<'a, '_, L, F>,
        mut round: impl FnMut(usize),
    ) {
        round(2);
        self.register(step, 1);
        round(3);
        self.register(step, 2);
        round(4);
        self.register(step, 3);
        round(5);
        self.register(step, 4);
        round(6);
        self.register(step, 5);
        round(7);
        self.register(step, 6);
        round(8);
        self.register(step, 7);
        round(9);
        self.register(step, 0);
        round(10);
        round(11);
        step.part.reduce_low();
        round(12);
        step.part.reduce_middle();
        round(13);
    }

    /// Ends a step.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn end<const L: usize, const F: Fill>(&mut self, step: &Step<'a, '_, L, F>) {
        self.value = step.part.value();
    }

    /// Takes in register `i` of a step, if it has so many.
    #[inline]
    #[target_feature(enable = "bmi2,vpclmulqdq,avx512f,avx512bw")]
    fn register<const L: usize, const F: Fill>(&mut self, step: &mut Step<'a, '_, L, F>, i: usize) {
        if i >= L {
            return;
        }
        let place = i * LANES;
        let mut data;
        if is_full::<L, F>(i) {
            data = load(step.source, place);
            if J::SUMS {
                self.words.add(step.source[place..].first_chunk().expect("a full register"));
            }
        } else {
            data = load_part(step.source, place);
            if J::SUMS {
                self.parts = _mm512_add_epi64(self.parts, sums::parts([data]));
            }
        }
        data = swap(data);
        if i == 0 {
            data = _mm512_xor_si512(data, self.value);
        }
        step.part.register(i, data);
    }

    /// Eight parts of the sum.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn sum(&self) -> Lanes {
        _mm512_add_epi64(self.parts, self.words.parts())
    }
}

/// A step of a hash.
pub(super) struct Step<'a, 'p, const L: usize, const F: Fill> {
    part: Part<'a, L>,
    source: &'p [u8],
}
