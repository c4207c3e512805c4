//! Which implementation seals and opens, and the way to it.
//!
//! Owns: the choice, made once per process. Not: any cipher.

use std::sync::OnceLock;

use crate::keys::{Expanded, KeyContext};
#[cfg(target_arch = "x86_64")]
use crate::low;
use crate::model;
use crate::segment::{Associated, BadTag, OpenJob, Payload, SealJob, Sealed, Sums, Tag};

/// Forces a kernel: `portable` or `vaes512`.
const VARIABLE: &str = "SEKISHO_CIPHER";

/// An implementation that this CPU can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kernel {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Vaes512(low::Available),
}

impl Kernel {
    /// The kernel of this process: the fastest that the CPU has, unless one is forced.
    pub(crate) fn chosen() -> Self {
        static CHOSEN: OnceLock<Kernel> = OnceLock::new();
        *CHOSEN.get_or_init(|| {
            let forced = std::env::var_os(VARIABLE);
            Self::choose(forced.as_ref().and_then(|forced| forced.to_str()))
        })
    }

    /// A name that is none, or names what the CPU lacks, forces nothing: a slip of the pen is not
    /// to cost most of the speed, and [`kernel_name`] says what is in use.
    fn choose(forced: Option<&str>) -> Self {
        if forced == Some(Self::Portable.name()) { Self::Portable } else { Self::fastest() }
    }

    #[cfg(target_arch = "x86_64")]
    pub(crate) fn fastest() -> Self {
        low::Available::detect().map_or(Self::Portable, Self::Vaes512)
    }

    #[cfg(not(target_arch = "x86_64"))]
    pub(crate) fn fastest() -> Self {
        Self::Portable
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Self::Vaes512(_) => "vaes512",
        }
    }
}

/// The name of the kernel in use: `portable` or `vaes512`.
#[must_use]
pub fn kernel_name() -> &'static str {
    Kernel::chosen().name()
}

/// Seals one segment: plaintext at `at.src` becomes ciphertext at `at.dst`; returns tag and
/// sums.
///
/// Equal input gives an equal segment; any difference in offset, length, flags, phase or
/// plaintext gives another keystream.
///
/// # Panics
/// If either place is not wholly inside `frame`.
pub fn seal(ctx: &KeyContext, a: &Associated, frame: &mut [u8], at: Payload) -> Sealed {
    match &ctx.0 {
        Expanded::Portable(ctx) => model::seal(ctx, a, frame, at),
        #[cfg(target_arch = "x86_64")]
        Expanded::Vaes512(ctx) => low::seal(ctx, a, frame, at),
    }
}

/// Opens one segment: ciphertext at `at.src` becomes plaintext at `at.dst` if `tag` verifies.
///
/// The tags are compared in constant time (M3.8).
///
/// # Errors
/// [`BadTag`]: the frame is to be freed and never emitted; its payload has been overwritten with
/// zeros, so that no octet decrypted from a forged segment survives in it.
///
/// # Panics
/// If either place is not wholly inside `frame`.
pub fn open(
    ctx: &KeyContext,
    a: &Associated,
    frame: &mut [u8],
    at: Payload,
    tag: &Tag,
) -> Result<Sums, BadTag> {
    match &ctx.0 {
        Expanded::Portable(ctx) => model::open(ctx, a, frame, at, tag),
        #[cfg(target_arch = "x86_64")]
        Expanded::Vaes512(ctx) => low::open(ctx, a, frame, at, tag),
    }
}

/// Seals a burst: `sealed[i]` is what [`seal`] gives for `jobs[i]`.
///
/// Jobs may differ in keys, sizes and distances.
///
/// # Panics
/// If the two slices differ in length, or a place of a job is not wholly inside its frame.
pub fn seal_batch(jobs: &mut [SealJob<'_>], sealed: &mut [Sealed]) {
    assert_eq!(jobs.len(), sealed.len(), "one outcome per job");
    for (job, sealed) in jobs.iter_mut().zip(sealed) {
        *sealed = seal(job.context, &job.associated, job.frame, job.at);
    }
}

/// Opens a burst: `opened[i]` is what [`open`] gives for `jobs[i]`. A job whose tag does not verify
/// changes no other.
///
/// # Panics
/// If the two slices differ in length, or a place of a job is not wholly inside its frame.
pub fn open_batch(jobs: &mut [OpenJob<'_>], opened: &mut [Result<Sums, BadTag>]) {
    assert_eq!(jobs.len(), opened.len(), "one outcome per job");
    for (job, opened) in jobs.iter_mut().zip(opened) {
        *opened = open(job.context, &job.associated, job.frame, job.at, &job.tag);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portable_can_be_forced_and_other_names_force_nothing() {
        assert_eq!(Kernel::choose(Some("portable")), Kernel::Portable);
        for name in [None, Some("vaes512"), Some("vaes-512"), Some("")] {
            assert_eq!(Kernel::choose(name), Kernel::fastest());
        }
    }
}
