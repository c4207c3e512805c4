//! Short segments, several at once.
//!
//! Owns: their interleaving. One short segment is a chain of a hash and two encryptions that leaves the
//! units idle most of the time; `N` of them, `L` registers each, fill the gaps.

use core::arch::x86_64::*;
use core::slice;

use super::aes::{self, Counter};
use super::ghash::{Products, hashes};
use super::lanes::{LANES, Lanes, load, load_part, outcome, received, store, store_part};
use super::sums;
use crate::low::Job;
use crate::low::block::block;
use crate::low::context::Context;
use crate::segment::{Payload, Sealed};

/// Longest payload that is short.
pub(super) const SHORT: usize = 4 * LANES;
/// Segments of a group.
pub(super) const GROUP: usize = 4;
/// Octets of a block.
const BLOCK: usize = 16;

/// The registers of a group.
type Data<const N: usize, const L: usize> = [[Lanes; L]; N];

/// The segments of a group. Where there are too few the last one stands for the missing: it is done again
/// with the same outcome.
#[derive(Clone, Copy)]
struct Short<'a> {
    job: usize,
    ctx: &'a Context,
    at: Payload,
    offset: u64,
}

/// An array of the values for `i` = 0, 1, … of `N`, at most 4; straight code, so that all of it stays in registers.
macro_rules! each {
    ($N:ident, $i:ident => $value:expr) => {{
        macro_rules! value {
            ($n:literal) => {{
                let $i: usize = $n;
                $value
            }};
        }
        let mut all = [value!(0); $N];
        if $N > 1 {
            all[1] = value!(1);
        }
        if $N > 2 {
            all[2] = value!(2);
            all[3] = value!(3);
        }
        all
    }};
}

/// Seals, or decrypts and finds the tags that there should have been, the 1 to [`GROUP`] segments of `order`, each
/// of more than `L / 2` registers and no more than `L`.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512vl")]
pub(super) fn run<'a, J: Job<'a>, const L: usize>(
    jobs: &mut [J],
    out: &mut [Sealed],
    order: &[u8],
) {
    let Some(last) = order.len().checked_sub(1) else { return };
    let group = each!(GROUP, i => usize::from(order[i.min(last)]));
    let blocks = outcomes::<J, GROUP, L>(jobs, group);
    for (index, block) in group.into_iter().zip(blocks) {
        out[index] = outcome(block);
    }
}

/// The same with one segment.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512vl")]
pub(super) fn run_one<'a, J: Job<'a>, const L: usize>(job: &mut J) -> Sealed {
    let [block] = outcomes::<J, 1, L>(slice::from_mut(job), [0]);
    outcome(block)
}

/// What comes of 1 or [`GROUP`] segments, for [`outcome`].
#[inline]
#[target_feature(enable = "aes,pclmulqdq,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512vl")]
fn outcomes<'a, J: Job<'a>, const N: usize, const L: usize>(
    jobs: &mut [J],
    group: [usize; N],
) -> [__m128i; N] {
    let group = each!(N, i => of(jobs, group[i]));
    let before = each!(N, i => load_segment::<J, L>(jobs, &group[i]));
    let (tags, after) = if J::SEALS {
        let tags = tags(jobs, &group, &before);
        (tags, crypt(jobs, &group, &before, tags))
    } else {
        let received = each!(N, i => received(jobs[group[i].job].tag()));
        let after = crypt(jobs, &group, &before, received);
        (tags(jobs, &group, &after), after)
    };
    let read = each!(N, i => sums::parts(before[i]));
    let written = each!(N, i => sums::parts(after[i]));
    if N == 1 {
        return [sums::beside(tags[0], read[0], written[0]); N];
    }
    let four = |all: [Lanes; N]| sums::of_four([all[0], all[1], all[2], all[3]]);
    let (read, written) = (four(read), four(written));
    let four = sums::beside_four([tags[0], tags[1], tags[2], tags[3]], read, written);
    each!(N, i => four[i])
}

/// What is to be known of a segment.
#[inline]
#[target_feature(enable = "sse2")]
fn of<'a, J: Job<'a>>(jobs: &[J], index: usize) -> Short<'a> {
    let job = &jobs[index];
    let (at, associated) = (job.at(), job.associated());
    Short { job: index, ctx: job.context(), at, offset: associated.offset }
}

/// A payload, with zeros behind.
#[inline]
#[target_feature(enable = "bmi2,avx512f,avx512bw")]
fn load_segment<'a, J: Job<'a>, const L: usize>(jobs: &[J], of: &Short<'_>) -> [Lanes; L] {
    let source = &jobs[of.job].bytes()[usize::from(of.at.src)..][..usize::from(of.at.len)];
    let mut data = [_mm512_setzero_si512(); L];
    for (j, data) in data.iter_mut().enumerate() {
        *data = if j < L / 2 { load(source, j * LANES) } else { load_part(source, j * LANES) };
    }
    data
}

/// Stores a payload; what comes back has zeros behind it.
#[inline]
#[target_feature(enable = "bmi2,avx512f,avx512bw")]
fn store_segment<'a, J: Job<'a>, const L: usize>(
    jobs: &mut [J],
    of: &Short<'_>,
    mut data: [Lanes; L],
) -> [Lanes; L] {
    let frame = jobs[of.job].frame();
    let target = &mut frame[usize::from(of.at.dst)..][..usize::from(of.at.len)];
    for (j, data) in data.iter_mut().enumerate() {
        if j < L / 2 {
            store(target, j * LANES, *data);
        } else {
            *data = store_part(target, j * LANES, *data);
        }
    }
    data
}

/// Crypts what was loaded to its new place; what comes back has zeros behind each payload.
#[inline]
#[target_feature(enable = "aes,bmi2,vaes,avx512f,avx512bw")]
fn crypt<'a, J: Job<'a>, const N: usize, const L: usize>(
    jobs: &mut [J],
    group: &[Short<'a>; N],
    data: &Data<N, L>,
    tags: [__m128i; N],
) -> Data<N, L> {
    let mut states = each!(N, i => {
        Counter::new(group[i].ctx, tags[i], group[i].offset).first::<L>()
    });
    aes::rounds_each(each!(N, i => group[i].ctx), &mut states);
    each!(N, i => {
        let mut ciphered = states[i];
        let key = aes::key(group[i].ctx, aes::LAST);
        for (ciphered, data) in ciphered.iter_mut().zip(data[i]) {
            *ciphered = aes::last(key, *ciphered, data);
        }
        store_segment::<J, L>(jobs, &group[i], ciphered)
    })
}

/// The tags of the plaintexts.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,vpclmulqdq,avx512f,avx512bw,avx512vl")]
fn tags<'a, J: Job<'a>, const N: usize, const L: usize>(
    jobs: &[J],
    group: &[Short<'a>; N],
    plaintext: &Data<N, L>,
) -> [__m128i; N] {
    let powers = each!(N, i => {
        group[i].ctx.powers_from::<L>(usize::from(group[i].at.len).div_ceil(BLOCK))
    });
    let products = each!(N, i => Products::of_data(plaintext[i], powers[i].1));
    let leads = each!(N, i => {
        block(jobs[group[i].job].associated().value(group[i].at.len))
    });
    let hashes = hashes(leads, each!(N, i => *powers[i].0), products);
    aes::tags(each!(N, i => group[i].ctx), hashes)
}
