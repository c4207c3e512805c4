//! The hash of a segment, step by step.
//!
//! Owns: where its plaintext is, what is done of it, its sum.

use core::arch::x86_64::*;
use core::marker::PhantomData;

use super::ghash::Part;
use super::lanes::{LANES, Lanes, load, load_part, swap};
use super::step::{ANY, Data, FULL, Fill, LAST, STEP, WIDE, by_registers, is_full, whole};
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
    /// Of the plaintext that was read from memory: of full registers, and parts of the rest.
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
            self.step::<WIDE, FULL>(plaintext, |_| {});
        }
        if self.left() > 0 {
            by_registers!(self.left(), L => self.step::<L, LAST>(plaintext, |_| {}));
        }
    }

    /// A step, with `round` called for rounds 2 to 13 of a keystream between its pieces.
    #[inline]
    #[target_feature(enable = "bmi2,pclmulqdq,vpclmulqdq,avx512f,avx512bw")]
    pub(super) fn step<const L: usize, const F: Fill>(
        &mut self,
        plaintext: &[u8],
        round: impl FnMut(usize),
    ) {
        let len = if F == FULL { STEP } else { self.left().min(L * LANES) };
        let source = whole::<L, F>(&plaintext[self.src + self.at..][..len]);
        self.pieces::<L, F>(len, |hash, i| hash.load::<L, F>(source, i), round);
    }

    /// A step of what is still in registers, with zeros behind its end; not added to the sum.
    #[inline]
    #[target_feature(enable = "bmi2,pclmulqdq,vpclmulqdq,avx512f,avx512bw")]
    pub(super) fn step_of<const L: usize, const F: Fill>(
        &mut self,
        plaintext: Data,
        round: impl FnMut(usize),
    ) {
        let len = if F == FULL { STEP } else { self.left() };
        self.pieces::<L, F>(len, |_, i| plaintext[i], round);
    }

    /// A step of `len` octets: `load` gives its registers.
    #[inline]
    #[target_feature(enable = "pclmulqdq,vpclmulqdq,avx512f,avx512bw")]
    fn pieces<const L: usize, const F: Fill>(
        &mut self,
        len: usize,
        load: impl Fn(&mut Self, usize) -> Lanes,
        mut round: impl FnMut(usize),
    ) {
        let (ctx, blocks) = (self.ctx, len.div_ceil(BLOCK));
        let mut part = if F == ANY { Part::any(ctx, blocks) } else { Part::new(ctx, blocks) };
        if self.at == 0 {
            part.lead(self.lead);
        }
        self.at += len;
        let mut register = |part: &mut Part<'a, L>, i: usize| {
            if i < L {
                let data = swap(load(self, i));
                // The first comes last: the step before goes into it.
                part.register(i, if i == 0 { _mm512_xor_si512(data, self.value) } else { data });
            }
        };
        round(2);
        register(&mut part, 1);
        round(3);
        register(&mut part, 2);
        round(4);
        register(&mut part, 3);
        round(5);
        register(&mut part, 4);
        round(6);
        register(&mut part, 5);
        round(7);
        register(&mut part, 6);
        round(8);
        register(&mut part, 7);
        round(9);
        register(&mut part, 0);
        round(10);
        round(11);
        part.reduce_low();
        round(12);
        part.reduce_middle();
        round(13);
        self.value = part.value();
    }

    /// Loads register `i` of a step and adds it to the sum.
    #[inline]
    #[target_feature(enable = "bmi2,avx512f,avx512bw")]
    fn load<const L: usize, const F: Fill>(&mut self, source: &[u8], i: usize) -> Lanes {
        let place = i * LANES;
        if is_full::<L, F>(i) {
            if J::SUMS {
                self.words.add(source[place..].first_chunk().expect("a full register"));
            }
            return load(source, place);
        }
        let data = load_part(source, place);
        if J::SUMS {
            self.parts = _mm512_add_epi64(self.parts, sums::parts([data]));
        }
        data
    }

    /// Eight parts of the sum of what was read from memory.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn sum(&self) -> Lanes {
        _mm512_add_epi64(self.parts, self.words.parts())
    }
}
