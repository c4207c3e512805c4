//! The CPU kernels: the one place of this crate where unsafe code is allowed.
//!
//! Owns: the proof that the CPU has the instructions, seal and open with VAES-512. Not: the
//! meaning of the protection (spec section 3, stated plainly in `model`) nor the choice of kernel.
//!
//! The safety argument. Two things are unsafe here. (1) Entering a function compiled for
//! instructions that the CPU may lack: an [`Available`] is made only where all of them were
//! detected, and a [`Context`] only from an [`Available`], so whoever holds one may enter.
//! (2) Loads and stores through pointers: all are in `lanes`, each takes a slice of checked length.

mod aes;
#[cfg(feature = "measure")]
mod bound;
mod context;
mod ghash;
mod lanes;
mod segment;

#[cfg(feature = "measure")]
pub(crate) use bound::bound;
pub(crate) use context::Context;

use subtle::ConstantTimeEq;

use crate::segment::{Associated, BadTag, Payload, Sealed, Sums, Tag};
use crate::sum::sum;

/// Proof that the CPU and the operating system run VAES and VPCLMULQDQ on 512 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Available(());

impl Available {
    /// Asks the CPU.
    pub(crate) fn detect() -> Option<Self> {
        let all = is_x86_feature_detected!("aes")
            && is_x86_feature_detected!("pclmulqdq")
            && is_x86_feature_detected!("vaes")
            && is_x86_feature_detected!("vpclmulqdq")
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl");
        all.then_some(Self(()))
    }
}

/// As `model::seal`.
pub(crate) fn seal(ctx: &Context, a: &Associated, frame: &mut [u8], at: Payload) -> Sealed {
    let block = a.block(at.len);
    let before = sum_at(frame, at.src, at.len);
    // SAFETY: a `Context` exists only where every instruction of the kernel was detected.
    let tag = unsafe { segment::seal(ctx, a.offset, &block, frame, at) };
    Sealed { tag, sums: Sums { before, after: sum_at(frame, at.dst, at.len) } }
}

/// As `model::open`.
pub(crate) fn open(
    ctx: &Context,
    a: &Associated,
    frame: &mut [u8],
    at: Payload,
    tag: &Tag,
) -> Result<Sums, BadTag> {
    let block = a.block(at.len);
    let before = sum_at(frame, at.src, at.len);
    // SAFETY: a `Context` exists only where every instruction of the kernel was detected.
    let expected = unsafe { segment::open(ctx, a.offset, &block, frame, (at, tag)) };
    if bool::from(expected.ct_eq(tag)) {
        Ok(Sums { before, after: sum_at(frame, at.dst, at.len) })
    } else {
        let dst = usize::from(at.dst);
        frame[dst..dst + usize::from(at.len)].fill(0);
        Err(BadTag { before })
    }
}

fn sum_at(frame: &[u8], start: u16, len: u16) -> u16 {
    sum(&frame[usize::from(start)..][..usize::from(len)])
}

#[cfg(test)]
mod tests;
