//! Seal and open with AES-NI and PCLMULQDQ on 128 bits.
//!
//! Owns: which segments of a batch go together. Not: the choice of the kernel, the verdict on a tag.
//! AVX is demanded for its three-operand forms only.

mod aes;
mod blocks;
mod ghash;
mod short;
mod stream;

use self::blocks::STEP;
use super::Job;
use super::classes::Classes;
use crate::segment::Sealed;

/// Segments of a group.
const GROUP: usize = 8;

/// Seals, or decrypts and finds the tags that there should have been, at most [`BATCH`] jobs.
///
/// [`BATCH`]: crate::BATCH
#[target_feature(enable = "aes,avx,pclmulqdq")]
pub(super) fn run<'a, J: Job<'a>>(jobs: &mut [J], out: &mut [Sealed]) {
    let classes = Classes::of(jobs, [STEP]);
    let [shorts, longs] = classes.orders();
    for order in shorts.chunks(GROUP) {
        match order.len() {
            1 => short::run::<J, 1>(jobs, out, order),
            2..=4 => short::run::<J, 4>(jobs, out, order),
            _ => short::run::<J, GROUP>(jobs, out, order),
        }
    }
    stream::run(jobs, out, longs);
}
