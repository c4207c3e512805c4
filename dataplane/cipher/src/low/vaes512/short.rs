//! Segments of at most 64 octets, up to eight at once.
//!
//! Owns: their interleaving. One such segment is a chain of a hash and two encryptions that leaves
//! the units idle most of the time; eight of them, one register each, fill the gaps.

use core::arch::x86_64::*;

use super::aes::{self, Counter};
use super::ghash::Products;
use super::group::{Group, write};
use super::lanes::{Lanes, load_part, store_part};
use super::sums::{self, Running};
use crate::low::Job;
use crate::segment::{Sealed, Sums};

/// Longest payload that is short.
pub(super) const SHORT: usize = 64;
/// Octets of a block.
const BLOCK: usize = 16;

/// Seals, or decrypts and finds the tag that there should have been.
#[inline]
#[target_feature(
    enable = "aes,pclmulqdq,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512vl,avx512vnni"
)]
pub(super) fn run<'a, J: Job<'a>, const N: usize>(
    jobs: &mut [J],
    out: &mut [Sealed],
    order: &[u8],
) {
    let group = Group::<'a, N>::of(jobs, order);
    let before = load(jobs, &group);
    let (tags, after) = if J::SEALS {
        let tags = tags(&group, &before);
        let after = crypt(jobs, &group, &before, tags);
        (tags, after)
    } else {
        let after = crypt(jobs, &group, &before, group.received(jobs));
        (tags(&group, &after), after)
    };
    write(out, order, tags, sums_of(&before, &after));
}

#[inline]
#[target_feature(enable = "bmi2,avx512f,avx512bw")]
fn load<'a, J: Job<'a>, const N: usize>(jobs: &mut [J], group: &Group<'a, N>) -> [Lanes; N] {
    let mut data = [_mm512_setzero_si512(); N];
    for (data, slot) in data.iter_mut().zip(group.slots) {
        *data = load_part(jobs[slot.job].frame(), slot.src, slot.len);
    }
    data
}

/// Crypts what was loaded to its new place; what comes back has zeros behind the payload.
#[inline]
#[target_feature(enable = "aes,bmi2,vaes,avx512f,avx512bw")]
fn crypt<'a, J: Job<'a>, const N: usize>(
    jobs: &mut [J],
    group: &Group<'a, N>,
    data: &[Lanes; N],
    tags: [__m128i; N],
) -> [Lanes; N] {
    let mut states = *data;
    for i in 0..N {
        let counter = Counter::new(group.ctx[i], tags[i], group.slots[i].offset);
        [states[i]] = counter.states::<1>(0);
    }
    aes::rounds_each(group.ctx, &mut states);
    for i in 0..N {
        let slot = group.slots[i];
        let crypted = aes::last(group.ctx[i], states[i], data[i]);
        states[i] = store_part(jobs[slot.job].frame(), slot.dst, slot.len, crypted);
    }
    states
}

#[inline]
#[target_feature(enable = "aes,vpclmulqdq,avx512f,avx512bw,avx512vl")]
fn tags<const N: usize>(group: &Group<'_, N>, plaintext: &[Lanes; N]) -> [__m128i; N] {
    let mut products = [Products::zero(); N];
    let mut blocks = [0; N];
    for i in 0..N {
        blocks[i] = group.slots[i].len.div_ceil(BLOCK);
        products[i].add_data(group.ctx[i], [plaintext[i]], blocks[i]);
    }
    group.tags(products, blocks)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn sums_of<const N: usize>(before: &[Lanes; N], after: &[Lanes; N]) -> [Sums; N] {
    let mut running = [Running::new(1); N];
    for i in 0..N {
        running[i].add(before[i], after[i]);
    }
    sums::finish_each(running)
}
