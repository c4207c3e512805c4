//! Seal and open with VAES and VPCLMULQDQ on 512 bits.
//!
//! Owns: which segments of a batch go together. Not: the choice of the kernel, the verdict on a tag.

mod aes;
mod ghash;
mod group;
mod lanes;
mod short;
mod stream;
mod sums;

use self::short::SHORT;
use super::Job;
use super::classes::Classes;
use crate::segment::{BATCH, Sealed};

/// Seals, or decrypts and finds the tags that there should have been, at most [`BATCH`] jobs.
#[target_feature(
    enable = "aes,pclmulqdq,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512vl,avx512vnni"
)]
pub(super) fn run<'a, J: Job<'a>>(jobs: &mut [J], out: &mut [Sealed]) {
    let classes = Classes::of(jobs, SHORT);
    let [shorts, longs] = classes.orders();
    for order in shorts.chunks(8) {
        match order.len() {
            1 => short::run::<J, 1>(jobs, out, order),
            2 => short::run::<J, 2>(jobs, out, order),
            3 | 4 => short::run::<J, 4>(jobs, out, order),
            _ => short::run::<J, 8>(jobs, out, order),
        }
    }
    if longs.len() == 1 {
        stream::run::<J, 1>(jobs, out, longs);
    } else {
        stream::run::<J, BATCH>(jobs, out, longs);
    }
}
