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
use super::classes::Classes;
use super::context::{Context, first_power, with_keys};
use super::{Available, Job};
use crate::segment::{BATCH, Sealed};

/// Expands AES key and GHASH key, and wraps them.
#[target_feature(enable = "aes,pclmulqdq,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512vl")]
pub(super) fn expand<T>(
    kernel: Available,
    key: &[u8; 32],
    hash: &[u8; 16],
    wrap: impl FnOnce(Context) -> T,
) -> T {
    let mut ctx = with_keys::<4>(kernel, key);
    ghash::fill_powers(first_power(hash), &mut ctx.powers);
    wrap(ctx)
}

/// Seals, or decrypts and finds the tags that there should have been, at most [`BATCH`] jobs.
#[target_feature(enable = "aes,pclmulqdq,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512vl")]
pub(super) fn run<'a, J: Job<'a>>(jobs: &mut [J], out: &mut [Sealed]) {
    let classes = Classes::of(jobs, [LANES, 2 * LANES, short::SHORT]);
    let [one, two, four, longs] = classes.orders();
    for order in one.chunks(4) {
        match order.len() {
            1 => short::run::<J, 1, 1>(jobs, out, order),
            _ => short::run::<J, 4, 1>(jobs, out, order),
        }
    }
    for order in two.chunks(4) {
        match order.len() {
            1 => short::run::<J, 1, 2>(jobs, out, order),
            _ => short::run::<J, 4, 2>(jobs, out, order),
        }
    }
    for order in four.chunks(4) {
        match order.len() {
            1 => short::run::<J, 1, 4>(jobs, out, order),
            _ => short::run::<J, 4, 4>(jobs, out, order),
        }
    }
    match longs {
        [] => {}
        [index] => {
            let index = usize::from(*index);
            out[index] = stream::run_one(&mut jobs[index]);
        }
        _ => stream::run::<J, BATCH>(jobs, out, longs),
    }
}
