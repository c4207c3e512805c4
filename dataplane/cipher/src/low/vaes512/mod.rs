//! Seal and open with VAES and VPCLMULQDQ on 512 bits.
//!
//! Owns: which segments of a batch go together. Not: the choice of the kernel, the verdict on a tag.

mod aes;
mod crypt;
mod ghash;
mod hash;
mod lanes;
mod short;
mod step;
mod stream;
mod sums;

use self::lanes::LANES;
use super::Job;
use super::classes::Classes;
use super::context::{Context, first_power, schedule};
use crate::segment::{BATCH, Sealed};

/// Expands AES key and GHASH key.
#[target_feature(enable = "aes,pclmulqdq,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512vl")]
pub(super) fn expand(ctx: &mut Context, key: &[u8; 32], hash: &[u8; 16]) {
    schedule::<4>(key, &mut ctx.round_keys);
    ghash::fill_powers(first_power(hash), &mut ctx.powers);
}

/// Seals, or decrypts and finds the tags that there should have been, at most [`BATCH`] jobs.
#[target_feature(enable = "aes,pclmulqdq,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512vl")]
pub(super) fn run<'a, J: Job<'a>>(jobs: &mut [J], out: &mut [Sealed]) {
    if let ([job], [out]) = (&mut *jobs, &mut *out) {
        *out = run_one(job);
        return;
    }
    let classes = Classes::of(jobs, [LANES, 2 * LANES, short::SHORT]);
    let [one, two, four, longs] = classes.orders();
    shorts::<J, 1>(jobs, out, one);
    shorts::<J, 2>(jobs, out, two);
    shorts::<J, 4>(jobs, out, four);
    match longs {
        [] => {}
        [index] => out[usize::from(*index)] = run_one(&mut jobs[usize::from(*index)]),
        _ => stream::run::<J, BATCH>(jobs, out, longs),
    }
}

/// Short segments of `L` registers.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512vl")]
fn shorts<'a, J: Job<'a>, const L: usize>(jobs: &mut [J], out: &mut [Sealed], order: &[u8]) {
    for order in order.chunks(short::GROUP) {
        // Two take less time one by one than with two others to stand for the missing.
        if order.len() > 2 {
            short::run::<J, L>(jobs, out, order);
        } else {
            for index in order {
                out[usize::from(*index)] = run_one(&mut jobs[usize::from(*index)]);
            }
        }
    }
}

/// One segment by itself.
#[target_feature(enable = "aes,pclmulqdq,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512vl")]
fn run_one<'a, J: Job<'a>>(job: &mut J) -> Sealed {
    match usize::from(job.at().len).div_ceil(LANES) {
        0 | 1 => short::run_one::<J, 1>(job),
        2 => short::run_one::<J, 2>(job),
        3 | 4 => short::run_one::<J, 4>(job),
        _ => stream::run_one(job),
    }
}
