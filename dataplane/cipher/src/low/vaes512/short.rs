//! Short segments, several at once.
//!
//! Owns: their interleaving. One short segment is a chain of a hash and two encryptions that leaves the
//! units idle most of the time; `N` of them, `L` registers each, fill the gaps.

use core::arch::x86_64::*;

use super::aes::{self, Counter};
use super::ghash::{Products, hashes};
use super::lanes::{LANES, Lanes, load, load_part, store, store_part};
use super::sums;
use crate::low::Job;
use crate::low::block::{block, read_tag, write_tag};
use crate::low::context::Context;
use crate::segment::{Payload, Sealed, Sums};

/// Longest payload that is short.
pub(super) const SHORT: usize = 4 * LANES;
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

/// Seals, or decrypts and finds the tags that there should have been, the 1 to `N` segments of `order`, each
/// of more than `L / 2` registers and no more than `L`.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512vl")]
pub(super) fn run<'a, J: Job<'a>, const N: usize, const L: usize>(
    jobs: &mut [J],
    out: &mut [Sealed],
    order: &[u8],
) {
    let Some(last) = order.len().checked_sub(1) else { return };
    let group = each!(N, i => of(jobs, order[i.min(last)]));
    let before = each!(N, i => load_segment::<J, L>(jobs, &group[i]));
    let (tags, after) = if J::SEALS {
        let tags = tags(jobs, &group, &before);
        (tags, crypt(jobs, &group, &before, tags))
    } else {
        let received = each!(N, i => read_tag(jobs[group[i].job].tag()));
        let after = crypt(jobs, &group, &before, received);
        (tags(jobs, &group, &after), after)
    };
    let read = each!(N, i => sums::parts(before[i]));
    let written = each!(N, i => sums::parts(after[i]));
    if N == 1 {
        let [before, after] = sums::finish_two(read[0], written[0]);
        out[group[0].job] = Sealed { tag: write_tag(tags[0]), sums: Sums { before, after } };
        return;
    }
    let mut parts = [_mm512_setzero_si512(); 8];
    parts[..N].copy_from_slice(&read);
    parts[4..4 + N].copy_from_slice(&written);
    let sums = sums::finish(parts);
    for i in 0..N {
        let sums = Sums { before: sums[i], after: sums[i + 4] };
        out[group[i].job] = Sealed { tag: write_tag(tags[i]), sums };
    }
}

/// What is to be known of a segment.
#[inline]
#[target_feature(enable = "sse2")]
fn of<'a, J: Job<'a>>(jobs: &[J], index: u8) -> Short<'a> {
    let job = &jobs[usize::from(index)];
    let (at, associated) = (job.at(), job.associated());
    Short { job: usize::from(index), ctx: job.context(), at, offset: associated.offset }
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
