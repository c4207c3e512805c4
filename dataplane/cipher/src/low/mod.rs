//! The CPU kernels: the one place of this crate where unsafe code is allowed.
//!
//! Owns: the proof that the CPU has the instructions, the way into a kernel, the verdict on a tag.
//! Not: the meaning of the protection (spec section 3, stated plainly in `model`) nor the choice
//! of kernel.
//!
//! The safety argument. Three things are unsafe here. (1) Entering a function compiled for
//! instructions that the CPU may lack: an [`Available`] is made only where all that its kernel
//! uses were detected, a [`Context`] only from an [`Available`], and a batch goes to the kernel
//! that all its contexts name. (2) Loads and stores through pointers: all are in the `lanes` or the
//! `blocks` of a kernel, and each takes a slice that is cut to the accessed length by a check that
//! release builds keep, or masks what lies behind the slice's end. Masked octets are not accessed (Intel SDM
//! 15.6.1): a payload may end at a page's end. (3) The octets of an outcome taken from a register as a whole: both are
//! 16 octets without a gap, of which all values are valid, and the compiler checks the places. Besides these there are
//! instructions of SSE2, which every CPU of this architecture has, and assembly that holds an order or clears
//! registers and touches no memory. Everything else, arithmetic on registers included, is safe code.
//!
//! Secrets. Contexts are expanded where they stay, and wiped on drop. At the end of an expansion or a batch all vector
//! registers are cleared. What the compiler spilt to the stack stays there until it is overwritten: Rust gives no way to
//! wipe it. That is states, and no key but at most one register of powers (`wipe::tests`).

mod aesni;
mod block;
#[cfg(feature = "measure")]
mod bound;
mod classes;
#[cfg(feature = "measure")]
mod clock;
mod context;
mod vaes256;
mod vaes512;
mod wipe;

#[cfg(feature = "measure")]
pub(crate) use bound::bound;
#[cfg(feature = "measure")]
pub(crate) use clock::ticks;
pub(crate) use context::Context;

use subtle::{Choice, ConstantTimeEq};

use crate::segment::{Associated, BATCH, BadTag, OpenJob, Payload, SealJob, Sealed, Sums, Tag};

/// The kernels of the family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Vaes512,
    Vaes256,
    AesNi,
}

/// Proof that the CPU and the operating system run a kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Available(Kind);

impl Available {
    /// Names of the kernels, the fastest first.
    pub(crate) const NAMES: [&str; 3] = ["vaes512", "vaes256", "aesni"];

    /// Asks the CPU for the kernel of this name.
    pub(crate) fn detect(name: &str) -> Option<Self> {
        let base = is_x86_feature_detected!("aes")
            && is_x86_feature_detected!("pclmulqdq")
            && is_x86_feature_detected!("ssse3")
            && is_x86_feature_detected!("sse4.1");
        let vaes256 = base
            && is_x86_feature_detected!("vaes")
            && is_x86_feature_detected!("vpclmulqdq")
            && is_x86_feature_detected!("avx2");
        let vaes512 = vaes256
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl");
        let aesni = base && is_x86_feature_detected!("avx");
        match name {
            "vaes512" => vaes512.then_some(Self(Kind::Vaes512)),
            "vaes256" => vaes256.then_some(Self(Kind::Vaes256)),
            "aesni" => aesni.then_some(Self(Kind::AesNi)),
            _ => None,
        }
    }

    /// Whether it is the kernel on 512 bits.
    fn is_vaes512(self) -> bool {
        self.0 == Kind::Vaes512
    }

    /// As in [`Available::NAMES`].
    pub(crate) fn name(self) -> &'static str {
        match self.0 {
            Kind::Vaes512 => "vaes512",
            Kind::Vaes256 => "vaes256",
            Kind::AesNi => "aesni",
        }
    }
}

/// What a kernel has to know of a job; it treats both kinds alike but for the order of its steps.
trait Job<'a> {
    /// True where the payload is plaintext, and the tag to be found before the keystream.
    const SEALS: bool;
    /// False where the sums of long payloads may be left out: to see what they cost.
    const SUMS: bool = true;
    fn context(&self) -> &'a Context;
    fn associated(&self) -> &Associated;
    fn at(&self) -> Payload;
    fn frame(&mut self) -> &mut [u8];
    fn bytes(&self) -> &[u8];
    /// As received; only where the payload is ciphertext.
    fn tag(&self) -> &Tag;
}

/// The part of [`Job`] in which all kinds are alike: `$job` is the job as its caller made it.
macro_rules! accessors {
    ($this:ident => $job:expr) => {
        #[inline]
        fn context(&$this) -> &'a Context {
            $job.context.low()
        }

        #[inline]
        fn associated(&$this) -> &Associated {
            &$job.associated
        }

        #[inline]
        fn at(&$this) -> Payload {
            $job.at
        }

        #[inline]
        fn frame(&mut $this) -> &mut [u8] {
            $job.frame
        }

        #[inline]
        fn bytes(&$this) -> &[u8] {
            $job.frame
        }
    };
}

impl<'a> Job<'a> for SealJob<'a> {
    const SEALS: bool = true;

    accessors!(self => self);

    #[inline]
    fn tag(&self) -> &Tag {
        &[0; 12]
    }
}

impl<'a> Job<'a> for OpenJob<'a> {
    const SEALS: bool = false;

    accessors!(self => self);

    #[inline]
    fn tag(&self) -> &Tag {
        &self.tag
    }
}

/// A job whose sums nobody wants.
#[cfg(feature = "measure")]
pub(crate) struct Unsummed<'a>(pub(crate) SealJob<'a>);

#[cfg(feature = "measure")]
impl<'a> Job<'a> for Unsummed<'a> {
    const SEALS: bool = true;
    const SUMS: bool = false;

    accessors!(self => self.0);

    #[inline]
    fn tag(&self) -> &Tag {
        &[0; 12]
    }
}

/// As [`seal_batch`], without sums.
#[cfg(feature = "measure")]
pub(crate) fn seal_batch_unsummed(jobs: &mut [Unsummed<'_>], sealed: &mut [Sealed]) {
    for (jobs, sealed) in jobs.chunks_mut(BATCH).zip(sealed.chunks_mut(BATCH)) {
        run(jobs, sealed);
    }
}

/// As [`crate::seal_batch`], for contexts of one kernel.
pub(crate) fn seal_batch(jobs: &mut [SealJob<'_>], sealed: &mut [Sealed]) {
    for (jobs, sealed) in jobs.chunks_mut(BATCH).zip(sealed.chunks_mut(BATCH)) {
        run(jobs, sealed);
    }
}

/// As [`crate::open_batch`], for contexts of one kernel.
pub(crate) fn open_batch(jobs: &mut [OpenJob<'_>], opened: &mut [Result<Sums, BadTag>]) {
    let mut expected = [Sealed::default(); BATCH];
    for (jobs, opened) in jobs.chunks_mut(BATCH).zip(opened.chunks_mut(BATCH)) {
        let expected = &mut expected[..jobs.len()];
        run(jobs, expected);
        for ((job, expected), opened) in jobs.iter_mut().zip(expected).zip(opened) {
            *opened = verdict(job, expected);
        }
    }
}

/// As [`crate::seal`].
pub(crate) fn seal(mut job: SealJob<'_>) -> Sealed {
    let mut sealed = Sealed::default();
    run(std::slice::from_mut(&mut job), std::slice::from_mut(&mut sealed));
    sealed
}

/// As [`crate::open`].
pub(crate) fn open(mut job: OpenJob<'_>) -> Result<Sums, BadTag> {
    let mut expected = [Sealed::default()];
    run(std::slice::from_mut(&mut job), &mut expected);
    verdict(&mut job, &expected[0])
}

/// Compares tags in constant time; nothing that was decrypted is left behind a wrong one (M3.8).
#[inline]
fn verdict(job: &mut OpenJob<'_>, expected: &Sealed) -> Result<Sums, BadTag> {
    if bool::from(equal_tags(&job.tag, &expected.tag)) {
        Ok(expected.sums)
    } else {
        let dst = usize::from(job.at.dst);
        job.frame[dst..dst + usize::from(job.at.len)].fill(0);
        Err(BadTag { before: expected.sums.before })
    }
}

/// Whether two tags are equal, in constant time.
#[inline]
pub(crate) fn equal_tags(one: &Tag, other: &Tag) -> Choice {
    let difference = |at: usize| word(one, at) ^ word(other, at);
    (difference(0) | difference(4) | difference(8)).ct_eq(&0)
}

/// Four octets of a tag.
#[inline]
fn word(tag: &Tag, at: usize) -> u32 {
    u32::from_ne_bytes([tag[at], tag[at + 1], tag[at + 2], tag[at + 3]])
}

/// Goes to the kernel of the jobs' contexts.
#[inline]
fn run<'a, J: Job<'a>>(jobs: &mut [J], out: &mut [Sealed]) {
    let Some(first) = jobs.first() else { return };
    let kernel = first.context().kernel();
    match kernel.0 {
        // SAFETY: a `Context` exists only where every instruction of its kernel was detected.
        Kind::Vaes512 => unsafe { vaes512::run(jobs, out) },
        // SAFETY: as above.
        Kind::Vaes256 => unsafe { vaes256::run(jobs, out) },
        // SAFETY: as above.
        Kind::AesNi => unsafe { aesni::run(jobs, out) },
    }
    wipe::registers(kernel);
}

#[cfg(test)]
mod tests;
