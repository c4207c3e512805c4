//! Seal and open with VAES and VPCLMULQDQ on 256 bits, for CPUs without AVX-512.
//!
//! Owns: the steps over a payload and the move to its new place. Segments are taken in groups of
//! up to eight: their hashes, then all tags at once, then their keystreams (opening, keystream
//! and hash, then the tags), so that the chain of a short segment is hidden behind its neighbours.
//!
//! Sealing goes from the back and opening from the front, as the tag option comes and goes: no step
//! overwrites what a later one has yet to read. A payload that moves the other way is moved first.

mod aes;
mod ghash;
mod lanes;
mod sums;

use core::arch::x86_64::*;

use self::aes::Counter;
use self::ghash::Hash;
use self::lanes::{LANES, load_all, store_all};
use self::sums::Running;
use super::Job;
use super::block::{block, read_tag, write_tag};
use crate::segment::Sealed;

/// Segments of a group.
const GROUP: usize = 8;
/// Registers of a full step: as many independent states as cover the latency of a round.
const WIDE: usize = 8;
/// Octets of a full step.
const STEP: usize = WIDE * LANES;
/// Octets of a block.
const BLOCK: usize = 16;

/// Seals, or decrypts and finds the tags that there should have been.
#[target_feature(enable = "aes,pclmulqdq,vaes,vpclmulqdq,avx2")]
pub(super) fn run<'a, J: Job<'a>>(jobs: &mut [J], out: &mut [Sealed]) {
    for (jobs, out) in jobs.chunks_mut(GROUP).zip(out.chunks_mut(GROUP)) {
        let mut hashes = [_mm_setzero_si128(); GROUP];
        for ((job, hash), out) in jobs.iter_mut().zip(&mut hashes).zip(&mut *out) {
            *hash = if J::SEALS { hash_of(job) } else { open(job, out) };
        }
        let mut ctx = [jobs[0].context(); GROUP];
        for (ctx, job) in ctx.iter_mut().zip(&*jobs) {
            *ctx = job.context();
        }
        let tags = if jobs.len() == 1 {
            let [tag] = aes::tags([ctx[0]], [hashes[0]]);
            [tag; GROUP]
        } else {
            aes::tags(ctx, hashes)
        };
        for ((job, tag), out) in jobs.iter_mut().zip(tags).zip(out) {
            if J::SEALS {
                seal(job, tag, out);
            }
            out.tag = write_tag(tag);
        }
    }
}

/// Evaluates an expression with `N` = a number of registers that `len` octets, 1 to 256, fit in.
macro_rules! by_lanes {
    ($len:expr, $body:expr) => {
        match $len {
            0..=64 => {
                const N: usize = 2;
                $body
            }
            65..=128 => {
                const N: usize = 4;
                $body
            }
            _ => {
                const N: usize = 8;
                $body
            }
        }
    };
}

/// The hash of a plaintext, before it is sealed.
#[inline]
#[target_feature(enable = "aes,vaes,vpclmulqdq,avx2")]
fn hash_of<'a, J: Job<'a>>(job: &mut J) -> __m128i {
    let at = job.at();
    let (src, len) = (usize::from(at.src), usize::from(at.len));
    let mut hash = begin(job);
    let (steps, rest) = job.frame()[src..src + len].as_chunks::<STEP>();
    for step in steps {
        hash.absorb(load_all::<WIDE>(step), STEP / BLOCK);
    }
    if !rest.is_empty() {
        by_lanes!(rest.len(), hash.absorb(load_all::<N>(rest), rest.len().div_ceil(BLOCK)));
    }
    hash.finish()
}

/// Begins the hash of a job's payload.
#[inline]
#[target_feature(enable = "avx2,vpclmulqdq")]
fn begin<'a, J: Job<'a>>(job: &J) -> Hash<'a> {
    let len = job.at().len;
    let first = usize::from(len).min(STEP).div_ceil(BLOCK);
    Hash::new(job.context(), block(job.associated().value(len)), first)
}

/// Encrypts with the tag found, from the back.
#[inline]
#[target_feature(enable = "aes,vaes,avx2")]
fn seal<'a, J: Job<'a>>(job: &mut J, tag: __m128i, out: &mut Sealed) {
    let at = job.at();
    let (mut src, dst, len) = (usize::from(at.src), usize::from(at.dst), usize::from(at.len));
    let counter = Counter::new(job.context(), tag, job.associated().offset);
    let frame = job.frame();
    if dst < src {
        frame.copy_within(src..src + len, dst);
        src = dst;
    }
    let mut sums = Running::new(registers(len));
    let full = len / STEP * STEP;
    if full < len {
        by_lanes!(len - full, {
            let data = load_all::<N>(&frame[src + full..src + len]);
            let sealed = counter.crypt(full, data);
            sums.add(data, store_all(&mut frame[dst + full..dst + len], sealed));
        });
    }
    for start in (0..full).step_by(STEP).rev() {
        let data = load_all::<WIDE>(&frame[src + start..][..STEP]);
        let sealed = counter.crypt(start, data);
        sums.add(data, store_all(&mut frame[dst + start..][..STEP], sealed));
    }
    out.sums = sums.finish();
}

/// Decrypts with the tag received, from the front; returns the hash of the plaintext.
#[inline]
#[target_feature(enable = "aes,vaes,vpclmulqdq,avx2")]
fn open<'a, J: Job<'a>>(job: &mut J, out: &mut Sealed) -> __m128i {
    let at = job.at();
    let (mut src, dst, len) = (usize::from(at.src), usize::from(at.dst), usize::from(at.len));
    let counter = Counter::new(job.context(), read_tag(job.tag()), job.associated().offset);
    let mut hash = begin(job);
    let frame = job.frame();
    if dst > src {
        frame.copy_within(src..src + len, dst);
        src = dst;
    }
    let mut sums = Running::new(registers(len));
    let full = len / STEP * STEP;
    for start in (0..full).step_by(STEP) {
        let data = load_all::<WIDE>(&frame[src + start..][..STEP]);
        let opened = counter.crypt(start, data);
        let opened = store_all(&mut frame[dst + start..][..STEP], opened);
        sums.add(data, opened);
        hash.absorb(opened, STEP / BLOCK);
    }
    if full < len {
        by_lanes!(len - full, {
            let data = load_all::<N>(&frame[src + full..src + len]);
            let opened = counter.crypt(full, data);
            let opened = store_all(&mut frame[dst + full..dst + len], opened);
            sums.add(data, opened);
            hash.absorb(opened, (len - full).div_ceil(BLOCK));
        });
    }
    out.sums = sums.finish();
    hash.finish()
}

/// Registers that the steps over a payload add to its sums.
#[inline]
fn registers(len: usize) -> usize {
    let rest = len % STEP;
    let last = if rest == 0 { 0 } else { by_lanes!(rest, N) };
    len / STEP * WIDE + last
}
