//! Which implementation seals and opens, and the way to it.
//!
//! Owns: the choice, made once per process. Not: any cipher.

use std::sync::OnceLock;

use thiserror::Error;

use crate::keys::{Expanded, KeyContext};
#[cfg(target_arch = "x86_64")]
use crate::low;
use crate::model;
use crate::segment::{Associated, BadTag, OpenJob, Payload, SealJob, Sealed, Sums, Tag};

/// The environment variable that forces a kernel, whatever the configuration says.
pub const VARIABLE: &str = "SEKISHO_CIPHER";
/// Leaves the choice to the CPU's features.
pub const AUTO: &str = "auto";
/// The model, which every CPU runs.
const PORTABLE: &str = "portable";
#[cfg(target_arch = "x86_64")]
const LOW: &[&str] = &low::Available::NAMES;
#[cfg(not(target_arch = "x86_64"))]
const LOW: &[&str] = &[];

/// A kernel that was asked for cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadKernel {
    /// No kernel has this name.
    #[error("no cipher kernel is called `{0}`: use auto, {names} or portable", names = LOW.join(", "))]
    Unknown(String),
    /// The kernel needs instructions that this CPU lacks.
    #[error("this CPU cannot run the cipher kernel `{0}`: use auto")]
    Unavailable(&'static str),
    /// [`choose_kernel`] came too late.
    #[error("cipher kernel `{asked}` was asked for after `{running}` had been taken into use")]
    Late {
        /// The kernel that was asked for.
        asked: &'static str,
        /// The kernel in use.
        running: &'static str,
    },
}

/// An implementation that this CPU can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kernel {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Low(low::Available),
}

/// The kernel of this process.
static CHOSEN: OnceLock<Kernel> = OnceLock::new();

impl Kernel {
    /// The kernel of this process; without [`choose_kernel`] before, the environment's or the
    /// fastest.
    #[inline]
    pub(crate) fn chosen() -> Self {
        *CHOSEN.get_or_init(|| {
            Self::resolve(forced().as_deref(), AUTO)
                .expect("SEKISHO_CIPHER is to name a kernel of this CPU")
        })
    }

    /// The variable's kernel if there is one, else the configured one.
    fn resolve(forced: Option<&str>, configured: &str) -> Result<Self, BadKernel> {
        match forced.unwrap_or(configured) {
            AUTO => Ok(Self::fastest()),
            name => Self::named(name),
        }
    }

    /// The kernel of this name, if this CPU runs it.
    pub(crate) fn named(name: &str) -> Result<Self, BadKernel> {
        if name == PORTABLE {
            return Ok(Self::Portable);
        }
        let known = LOW.iter().find(|known| **known == name);
        let known = known.ok_or_else(|| BadKernel::Unknown(name.into()))?;
        Self::low(known).ok_or(BadKernel::Unavailable(known))
    }

    fn fastest() -> Self {
        LOW.iter().find_map(|name| Self::low(name)).unwrap_or(Self::Portable)
    }

    #[cfg(target_arch = "x86_64")]
    fn low(name: &str) -> Option<Self> {
        low::Available::detect(name).map(Self::Low)
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn low(_: &str) -> Option<Self> {
        None
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Portable => PORTABLE,
            #[cfg(target_arch = "x86_64")]
            Self::Low(available) => available.name(),
        }
    }
}

/// What the variable says; text that is not UTF-8 names no kernel.
fn forced() -> Option<String> {
    std::env::var_os(VARIABLE).map(|forced| forced.to_string_lossy().into_owned())
}

/// Chooses the kernel of this process, before the first key is expanded: the one that
/// [`VARIABLE`] names, else `configured`, where [`AUTO`] is the fastest that the CPU runs.
///
/// Returns its name. Asking for the same again changes nothing.
///
/// # Errors
/// [`BadKernel`]: the name is none, the CPU cannot run it, or another has been in use before. A
/// program is not to go on then with a kernel that nobody asked for.
pub fn choose_kernel(configured: &str) -> Result<&'static str, BadKernel> {
    let asked = Kernel::resolve(forced().as_deref(), configured)?;
    let running = *CHOSEN.get_or_init(|| asked);
    if running == asked {
        Ok(running.name())
    } else {
        Err(BadKernel::Late { asked: asked.name(), running: running.name() })
    }
}

/// The name of the kernel in use.
///
/// # Panics
/// If [`choose_kernel`] was not called and [`VARIABLE`] names no kernel of this CPU.
#[must_use]
pub fn kernel_name() -> &'static str {
    Kernel::chosen().name()
}

/// The names of all kernels that this CPU runs, the fastest first.
#[cfg(any(test, feature = "measure"))]
pub(crate) fn kernels() -> Vec<&'static str> {
    let low = LOW.iter().filter(|name| Kernel::named(name).is_ok());
    low.copied().chain([PORTABLE]).collect()
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
        Expanded::Low(_) => low::seal(SealJob { context: ctx, associated: *a, frame, at }),
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
        Expanded::Low(_) => {
            low::open(OpenJob { context: ctx, associated: *a, frame, at, tag: *tag })
        }
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
    let mut rest = sealed;
    for jobs in jobs.chunk_by_mut(|one, next| same_family(one.context, next.context)) {
        let sealed = rest.split_off_mut(..jobs.len()).unwrap_or_default();
        match jobs[0].context.kernel() {
            Kernel::Portable => {
                for (job, sealed) in jobs.iter_mut().zip(sealed) {
                    *sealed = seal(job.context, &job.associated, job.frame, job.at);
                }
            }
            #[cfg(target_arch = "x86_64")]
            Kernel::Low(_) => low::seal_batch(jobs, sealed),
        }
    }
}

/// Opens a burst: `opened[i]` is what [`open`] gives for `jobs[i]`. A job whose tag does not verify
/// changes no other.
///
/// # Panics
/// If the two slices differ in length, or a place of a job is not wholly inside its frame. Then no outcome counts, and
/// any frame of the burst may hold what was decrypted and not verified: none may be emitted.
pub fn open_batch(jobs: &mut [OpenJob<'_>], opened: &mut [Result<Sums, BadTag>]) {
    assert_eq!(jobs.len(), opened.len(), "one outcome per job");
    let mut rest = opened;
    for jobs in jobs.chunk_by_mut(|one, next| same_family(one.context, next.context)) {
        let opened = rest.split_off_mut(..jobs.len()).unwrap_or_default();
        match jobs[0].context.kernel() {
            Kernel::Portable => {
                for (job, opened) in jobs.iter_mut().zip(opened) {
                    *opened = open(job.context, &job.associated, job.frame, job.at, &job.tag);
                }
            }
            #[cfg(target_arch = "x86_64")]
            Kernel::Low(_) => low::open_batch(jobs, opened),
        }
    }
}

/// True for two contexts that one call may take together; always so in a process that expands keys
/// for the chosen kernel only.
fn same_family(one: &KeyContext, next: &KeyContext) -> bool {
    one.kernel() == next.kernel()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_goes_before_the_configuration() {
        assert_eq!(Kernel::resolve(None, AUTO), Ok(Kernel::fastest()));
        assert_eq!(Kernel::resolve(None, PORTABLE), Ok(Kernel::Portable));
        assert_eq!(Kernel::resolve(Some(PORTABLE), AUTO), Ok(Kernel::Portable));
        assert_eq!(Kernel::resolve(Some(AUTO), PORTABLE), Ok(Kernel::fastest()));
    }

    #[test]
    fn what_cannot_be_had_is_refused() {
        for name in ["vaes-512", "", "Portable", "vaes512 "] {
            let refused = Err(BadKernel::Unknown(name.into()));
            assert_eq!(Kernel::resolve(Some(name), AUTO), refused);
            assert_eq!(Kernel::resolve(None, name), refused);
        }
        for name in LOW {
            let named = Kernel::named(name);
            assert!(named.is_ok() || named == Err(BadKernel::Unavailable(name)));
            assert_eq!(named.is_ok(), kernels().contains(name));
        }
    }

    #[test]
    fn the_choice_is_made_once() {
        let running = kernel_name();
        assert_eq!(choose_kernel(running), Ok(running));
        let other = if running == PORTABLE { AUTO } else { PORTABLE };
        let asked = Kernel::resolve(forced().as_deref(), other).unwrap();
        if asked.name() != running {
            let late = BadKernel::Late { asked: asked.name(), running };
            assert_eq!(choose_kernel(other), Err(late));
        }
    }
}
