//! Up to eight segments that are worked on together.
//!
//! Owns: what is taken from their jobs, and their common steps from products to tags. A group has
//! fixed size; vacant places repeat the first segment without its payload and are not written.

use core::arch::x86_64::*;

use super::aes;
use super::ghash::{Products, finish_four, finish_one};
use crate::low::Job;
use crate::low::block::{block, read_tag, write_tag};
use crate::low::context::Context;
use crate::segment::{Sealed, Sums};

/// Place and length of one payload.
#[derive(Clone, Copy, Default)]
pub(super) struct Slot {
    /// Index of the job.
    pub(super) job: usize,
    pub(super) src: usize,
    pub(super) dst: usize,
    pub(super) len: usize,
    pub(super) offset: u64,
}

/// The segments of a group: contexts, places, blocks `A` (octet-reversed).
pub(super) struct Group<'a, const N: usize> {
    pub(super) ctx: [&'a Context; N],
    pub(super) slots: [Slot; N],
    associated: [__m128i; N],
}

impl<'a, const N: usize> Group<'a, N> {
    /// Of the jobs that `order` names, at least one and at most `N`.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn of<J: Job<'a>>(jobs: &[J], order: &[u8]) -> Self {
        let first = usize::from(order[0]);
        let mut group = Self {
            ctx: [jobs[first].context(); N],
            slots: [Slot::default(); N],
            associated: [_mm_setzero_si128(); N],
        };
        for i in 0..N {
            let job = order.get(i).map_or(first, |index| usize::from(*index));
            let (at, associated) = (jobs[job].at(), jobs[job].associated());
            let len = if i < order.len() { usize::from(at.len) } else { 0 };
            group.ctx[i] = jobs[job].context();
            group.associated[i] = block(associated.value(at.len));
            group.slots[i] = Slot {
                job,
                src: usize::from(at.src),
                dst: usize::from(at.dst),
                len,
                offset: associated.offset,
            };
        }
        group
    }

    /// The tags that came with the segments.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn received<J: Job<'a>>(&self, jobs: &[J]) -> [__m128i; N] {
        let mut tags = [_mm_setzero_si128(); N];
        for (tag, slot) in tags.iter_mut().zip(self.slots) {
            *tag = read_tag(jobs[slot.job].tag());
        }
        tags
    }

    /// The tags of the plaintexts whose products these are.
    #[inline]
    #[target_feature(enable = "aes,vpclmulqdq,avx512f,avx512bw,avx512vl")]
    pub(super) fn tags(&self, products: [Products; N], blocks: [usize; N]) -> [__m128i; N] {
        let mut hashes = [_mm_setzero_si128(); N];
        let whole = N / 4 * 4;
        for i in (0..whole).step_by(4) {
            let ctx = [self.ctx[i], self.ctx[i + 1], self.ctx[i + 2], self.ctx[i + 3]];
            let a = &self.associated;
            let four = finish_four(
                ctx,
                [a[i], a[i + 1], a[i + 2], a[i + 3]],
                [products[i], products[i + 1], products[i + 2], products[i + 3]],
                [blocks[i], blocks[i + 1], blocks[i + 2], blocks[i + 3]],
            );
            hashes[i] = four[0];
            hashes[i + 1] = four[1];
            hashes[i + 2] = four[2];
            hashes[i + 3] = four[3];
        }
        for i in whole..N {
            hashes[i] = finish_one(self.ctx[i], self.associated[i], products[i], blocks[i]);
        }
        aes::tags(self.ctx, hashes)
    }
}

/// Writes the outcomes of the jobs that `order` names.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn write<const N: usize>(
    out: &mut [Sealed],
    order: &[u8],
    tags: [__m128i; N],
    sums: [Sums; N],
) {
    for ((job, tag), sums) in order.iter().zip(tags).zip(sums) {
        out[usize::from(*job)] = Sealed { tag: write_tag(tag), sums };
    }
}
