//! What benchmarks ask of this crate and the program does not: kernels by name, the least time that
//! the CPU's units allow, a clock between fences.
//!
//! Owns: names and dispatch. Only with feature `measure`.

use std::marker::PhantomData;

use crate::kernel::{self, Kernel};
use crate::keys::{KeyContext, TrafficKeys};
#[cfg(target_arch = "x86_64")]
use crate::low;
use crate::segment::{SealJob, Sealed, Tag};

/// The kernels that this CPU runs, the fastest first.
#[must_use]
pub fn kernels() -> Vec<&'static str> {
    kernel::kernels()
}

/// Keys expanded for the kernel of that name; `None` where there is none on this CPU.
///
/// Seal and open follow the context, whichever kernel the process has chosen.
#[must_use]
pub fn context(kernel: &str, keys: &TrafficKeys) -> Option<KeyContext> {
    Some(KeyContext::for_kernel(Kernel::named(kernel).ok()?, keys))
}

/// A batch of one kernel's jobs that are sealed without sums, to see what the sums cost. Only the kernel on 512
/// bits can leave them out.
pub struct Unsummed<'a>(#[cfg(target_arch = "x86_64")] Vec<low::Unsummed<'a>>, PhantomData<&'a ()>);

impl<'a> Unsummed<'a> {
    /// Takes the jobs; `None` if a context is the model's, or two are of different kernels.
    #[must_use]
    pub fn new(jobs: Vec<SealJob<'a>>) -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        let batch = jobs
            .iter()
            .map(|job| job.context.kernel())
            .all(|kernel| kernel != Kernel::Portable && kernel == jobs[0].context.kernel())
            .then(|| Self(jobs.into_iter().map(low::Unsummed).collect(), PhantomData));
        #[cfg(not(target_arch = "x86_64"))]
        let batch = None;
        batch
    }

    /// Seals them all; only the tags count.
    pub fn seal(&mut self, sealed: &mut [Sealed]) {
        #[cfg(target_arch = "x86_64")]
        low::seal_batch_unsummed(&mut self.0, sealed);
    }
}

/// Does the arithmetic of `segments` payloads of `len` octets on independent registers and nothing
/// else: per 64 octets 14 AES rounds and 4 carry-less products of 512 bits, per segment one AES block.
/// No load, no store, no dependence of one segment's steps on another's.
///
/// False, and nothing done, where the CPU has no such instructions.
pub fn bound(segments: u64, len: u16) -> bool {
    #[cfg(target_arch = "x86_64")]
    let done = low::bound(segments, len);
    #[cfg(not(target_arch = "x86_64"))]
    let done = segments == 0 && len == 0;
    done
}

/// How long `work` takes, by itself: in ticks of the CPU's counter between fences, so that nothing from
/// before or behind it overlaps. In nanoseconds where there is no such counter.
#[inline]
pub fn timed(work: impl FnOnce()) -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        let start = low::ticks();
        work();
        low::ticks() - start
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let start = std::time::Instant::now();
        work();
        start.elapsed().as_nanos() as u64
    }
}

/// Whether two tags are equal, found as the kernels find it; to time.
#[must_use]
pub fn equal_tags(one: &Tag, other: &Tag) -> bool {
    #[cfg(target_arch = "x86_64")]
    let equal = low::equal_tags(one, other);
    #[cfg(not(target_arch = "x86_64"))]
    let equal = subtle::ConstantTimeEq::ct_eq(one, other);
    equal.into()
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use crate::segment::{Associated, Payload, SegmentFlags};

    /// Whether a batch without sums takes a job of each of these kernels.
    fn taken(kernels: &[&str]) -> bool {
        let keys = TrafficKeys::from_bytes(&[1; 32], &[2; 16]);
        let contexts = kernels.iter().map(|kernel| context(kernel, &keys).expect("this CPU's"));
        let contexts: Vec<_> = contexts.collect();
        let mut frames = vec![[0; 64]; kernels.len()];
        let associated = Associated { offset: 0, flags: SegmentFlags::default(), phase: 0 };
        let at = Payload { src: 0, dst: 16, len: 40 };
        let parts = contexts.iter().zip(&mut frames);
        let jobs = parts.map(|(context, frame)| SealJob { context, associated, frame, at });
        Unsummed::new(jobs.collect()).is_some()
    }

    #[test]
    fn without_sums_goes_one_kernel_that_is_not_the_model() {
        for one in kernels() {
            for other in kernels() {
                let wanted = one == other && one != "portable";
                assert_eq!(taken(&[one, other]), wanted, "{one}, {other}");
                assert_eq!(taken(&[one, one, other]), wanted, "{one} twice, {other}");
            }
        }
    }
}
