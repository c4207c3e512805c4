//! Segments of at most one step, 128 octets, up to eight at once.
//!
//! Owns: their order. One such segment is a chain of a hash and two encryptions that leaves the units
//! idle most of the time; the tags of a group are found together, and the rest of each segment waits
//! for no other.

use core::arch::x86_64::*;

use super::aes::{self, Counter};
use super::blocks::{BLOCK, BLOCKS, Block, Running, load_part, store_part};
use super::ghash::Hash;
use crate::low::Job;
use crate::low::block::block;
use crate::low::context::Context;
use crate::segment::{Sealed, Sums};

/// Seals, or decrypts and finds the tags that there should have been.
#[inline]
#[target_feature(enable = "aes,avx,pclmulqdq")]
pub(super) fn run<'a, J: Job<'a>, const N: usize>(
    jobs: &mut [J],
    out: &mut [Sealed],
    order: &[u8],
) {
    let mut sums = [Sums::default(); N];
    let mut hashes = [_mm_setzero_si128(); N];
    let first = jobs[usize::from(order[0])].context();
    let mut contexts = [first; N];
    for (i, index) in order.iter().enumerate() {
        let job = &mut jobs[usize::from(*index)];
        contexts[i] = job.context();
        if !J::SEALS {
            let tag = aes::from_tag(job.tag());
            sums[i] = crypt(job, tag);
        }
        hashes[i] = hash(job);
    }
    // Vacant places find the tag of nothing under the first key; nobody asks for it.
    let tags = aes::tags(contexts, hashes);
    for (i, index) in order.iter().enumerate() {
        let job = &mut jobs[usize::from(*index)];
        if J::SEALS {
            sums[i] = crypt(job, tags[i]);
        }
        out[usize::from(*index)] = Sealed { tag: aes::to_tag(tags[i]), sums: sums[i] };
    }
}

/// `GHASH_H(A ‖ P)` of what is plaintext by now.
#[inline]
#[target_feature(enable = "avx,pclmulqdq")]
fn hash<'a, J: Job<'a>>(job: &mut J) -> Block {
    let (ctx, at) = (job.context(), job.at());
    let associated = block(job.associated().value(at.len));
    let (start, len) = (usize::from(if J::SEALS { at.src } else { at.dst }), usize::from(at.len));
    let mut hash = Hash::new(ctx, associated, len);
    hash.absorb(&job.frame()[start..start + len]);
    hash.value()
}

/// Crypts to the new place: all is read before anything is written.
#[inline]
#[target_feature(enable = "aes,avx")]
fn crypt<'a, J: Job<'a>>(job: &mut J, tag: Block) -> Sums {
    let (ctx, at) = (job.context(), job.at());
    let counter = Counter::new(ctx, tag, job.associated().offset);
    let (src, dst, len) = (usize::from(at.src), usize::from(at.dst), usize::from(at.len));
    let frame = job.frame();
    if len <= 4 * BLOCK {
        blocks::<4>(ctx, &counter, frame, (src, dst, len))
    } else {
        blocks::<BLOCKS>(ctx, &counter, frame, (src, dst, len))
    }
}

#[inline]
#[target_feature(enable = "aes,avx")]
fn blocks<const N: usize>(
    ctx: &Context,
    counter: &Counter,
    frame: &mut [u8],
    (src, dst, len): (usize, usize, usize),
) -> Sums {
    let mut states = counter.states::<N>(0);
    for round in aes::INNER {
        aes::round(ctx, &mut states, round);
    }
    let source = &frame[src..src + len];
    let mut data = [_mm_setzero_si128(); N];
    for (i, data) in data.iter_mut().enumerate() {
        *data = load_part(source, i);
    }
    let (mut before, mut after) = (Running::new(N), Running::new(N));
    let target = &mut frame[dst..dst + len];
    for (i, data) in data.into_iter().enumerate() {
        let crypted = store_part(target, i, aes::last(ctx, states[i], data));
        before.add(data);
        after.add(crypted);
    }
    Sums { before: before.finish(), after: after.finish() }
}
