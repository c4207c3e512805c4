//! The hash of a segment, step by step.
//!
//! Owns: where its plaintext is, what is done of it, its sum.

use core::arch::x86_64::*;
use core::marker::PhantomData;

use super::ghash::Part;
use super::lanes::{LANES, Lanes};
use super::step::{FULL, Fill, LAST, STEP, WIDE, by_registers, load_step, parts};
use super::sums::Running;
use crate::low::Job;
use crate::low::block::block;
use crate::low::context::Context;

/// Octets of a block.
const BLOCK: usize = 16;
/// Blocks of a full part.
const PART: usize = 16;

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
    /// Of the plaintext.
    pub(super) sum: Running,
    jobs: PhantomData<fn() -> J>,
}

impl<'a, J: Job<'a>> Hash<'a, J> {
    /// No segment.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn idle(ctx: &'a Context) -> Self {
        let (lead, value) = (_mm_setzero_si128(), _mm512_setzero_si512());
        Self { ctx, src: 0, len: 0, at: 0, lead, value, sum: Running::zero(), jobs: PhantomData }
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
        self.sum = Running::zero();
    }

    /// Octets to be done.
    #[inline]
    pub(super) fn left(&self) -> usize {
        self.len - self.at
    }

    /// All that is left, without anything beside it.
    #[target_feature(enable = "bmi2,pclmulqdq,vpclmulqdq,avx512f,avx512bw")]
    pub(super) fn rest(&mut self, plaintext: &[u8]) {
        while self.left() >= STEP {
            self.step::<WIDE, FULL>(plaintext);
        }
        if self.left() > 0 {
            by_registers!(self.left(), L => self.step::<L, LAST>(plaintext));
        }
    }

    #[inline]
    #[target_feature(enable = "bmi2,pclmulqdq,vpclmulqdq,avx512f,avx512bw")]
    fn step<const L: usize, const F: Fill>(&mut self, plaintext: &[u8]) {
        let [mut one, mut two] = self.load::<L, F, 2>(plaintext);
        one.all(L.min(WIDE / 2), self.value);
        self.value = one.value();
        if L > WIDE / 2 {
            two.all(L - WIDE / 2, self.value);
            self.value = two.value();
        }
    }

    /// Loads the parts of a step, the second empty up to four registers, and adds them to the sum. Each
    /// `SITE` has a body of its own.
    #[inline]
    #[target_feature(enable = "bmi2,pclmulqdq,avx512f,avx512bw")]
    pub(super) fn load<const L: usize, const F: Fill, const SITE: u8>(
        &mut self,
        plaintext: &[u8],
    ) -> [Part<'a>; 2] {
        let source = &plaintext[self.src + self.at..self.src + self.len];
        let len = if F == FULL { STEP } else { source.len().min(L * LANES) };
        let [one, two] = parts(load_step::<L, F>(&source[..len]));
        let blocks = if F == FULL { 2 * PART } else { len.div_ceil(BLOCK) };
        let mut first = Part::new(self.ctx, one, blocks.min(PART));
        let second = Part::new(self.ctx, two, blocks.saturating_sub(PART));
        if J::SUMS {
            self.sum.add(one);
            if L > WIDE / 2 {
                self.sum.add(two);
            }
        }
        if self.at == 0 {
            first.lead(self.lead);
        }
        self.at += len;
        [first, second]
    }
}
