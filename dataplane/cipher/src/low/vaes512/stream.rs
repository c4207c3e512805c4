//! Segments of more than 256 octets: the keystream of one beside the hash of another.
//!
//! Owns: the order of the work. The rounds of AES of one segment's step have the products of another's hash
//! between them, so that neither waits for itself. Sealing, the hashes go ahead, because a segment's
//! keystream begins with its tag; opening, they follow.

use core::arch::x86_64::*;

use super::aes::{self, Tagger};
use super::crypt::{Begun, Crypt};
use super::hash::Hash;
use super::lanes::{LANES, Lanes, outcome, received};
use super::step::{ANY, Data, FULL, Fill, LAST, STEP, WIDE, by_registers};
use super::sums::{self, Running};
use crate::low::Job;
use crate::segment::Sealed;

/// Segments that the hash goes ahead of the keystream when sealing: one is being hashed while the next
/// one's tag is found.
const AHEAD: usize = 2;
/// Segments that the hash goes behind when opening.
const BEHIND: usize = 1;

/// What came of a segment.
#[derive(Clone, Copy)]
struct Found {
    tag: __m128i,
    /// Parts of the sums.
    plain: Lanes,
    cipher: Lanes,
}

/// What is to be told of four segments.
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl")]
fn outcomes<'a, J: Job<'a>>(found: &[Found; 4]) -> [__m128i; 4] {
    let [a, b, c, d] = found;
    let plain = sums::of_four([a.plain, b.plain, c.plain, d.plain]);
    let cipher = sums::of_four([a.cipher, b.cipher, c.cipher, d.cipher]);
    let (before, after) = if J::SEALS { (plain, cipher) } else { (cipher, plain) };
    sums::beside_four([a.tag, b.tag, c.tag, d.tag], before, after)
}

/// Seals one segment, or decrypts it and finds the tag that there should have been.
#[target_feature(enable = "aes,pclmulqdq,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512vl")]
pub(super) fn run_one<'a, J: Job<'a>>(job: &mut J) -> Sealed {
    let mut hash = Hash::<J>::idle(job.context());
    hash.begin(job);
    let mut crypt = Crypt::<J>::idle(job.context());
    let (tag, plain);
    if J::SEALS {
        hash.rest(job.bytes());
        plain = hash.sum();
        tag = Tagger::new(hash.ctx, hash.value).all();
        crypt.begin(job, tag);
        crypt.rest(job.frame());
    } else {
        crypt.begin(job, received(job.tag()));
        plain = open_one(&mut crypt, &mut hash, job).parts();
        tag = Tagger::new(hash.ctx, hash.value).all();
    }
    let cipher = crypt.sum.parts();
    let (before, after) = if J::SEALS { (plain, cipher) } else { (cipher, plain) };
    outcome(sums::beside(tag, before, after))
}

/// Decrypts a segment and hashes what comes of it, a step behind and from registers: what was stored a moment ago
/// cannot be loaded in pieces that lie otherwise. Gives the sum of the plaintext.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512vl")]
fn open_one<'a, J: Job<'a>>(
    crypt: &mut Crypt<'a, J>,
    hash: &mut Hash<'a, J>,
    job: &mut J,
) -> Running {
    let mut sum = Running::zero();
    let mut begun = crypt.first();
    let mut before = None;
    while crypt.left() > STEP {
        let round = |round| aes::round::<WIDE>(crypt.ctx, &mut begun.states, round);
        match before {
            None => aes::INNER.skip(1).for_each(round),
            Some(plaintext) => hash.step_of::<WIDE, FULL>(plaintext, round),
        }
        let plaintext = crypt.turn::<3>(job.frame(), &mut begun);
        sum.add_step::<WIDE>(plaintext);
        before = Some(plaintext);
    }
    by_registers!(crypt.left(), L => {
        let round = |round| aes::round::<L>(crypt.ctx, &mut begun.states, round);
        match before {
            None => aes::INNER.skip(1).for_each(round),
            Some(plaintext) => hash.step_of::<WIDE, FULL>(plaintext, round),
        }
        let plaintext = crypt.finish::<L, LAST, 3>(job.frame(), begun.states);
        sum.add_step::<L>(plaintext);
        hash.step_of::<L, LAST>(plaintext, |_| {});
    });
    sum
}

/// The same with at most `N` segments; `N` is a multiple of four.
#[target_feature(enable = "aes,pclmulqdq,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512vl")]
pub(super) fn run<'a, J: Job<'a>, const N: usize>(
    jobs: &mut [J],
    out: &mut [Sealed],
    order: &[u8],
) {
    let Some(first) = order.first() else { return };
    let ctx = jobs[usize::from(*first)].context();
    let (mut hash, mut crypt) = (Hash::<J>::idle(ctx), Crypt::<J>::idle(ctx));
    let mut tagger = Tagger::new(ctx, hash.value);
    let none = _mm512_setzero_si512();
    let mut found = [Found { tag: _mm_setzero_si128(), plain: none, cipher: none }; N];
    let (ahead, behind) = if J::SEALS { (AHEAD, 0) } else { (0, BEHIND) };
    for turn in 0..=order.len() + ahead.max(behind) {
        let segment = |back: usize| turn.checked_sub(back).filter(|i| *i < order.len());
        let (hashed, ciphered, tagged) = (segment(behind), segment(ahead), segment(behind + 1));
        if let Some(i) = hashed {
            hash.begin(&jobs[usize::from(order[i])]);
        }
        if let Some(i) = ciphered {
            let job = &mut jobs[usize::from(order[i])];
            let tag = if J::SEALS { found[i].tag } else { received(job.tag()) };
            crypt.begin(job, tag);
        }
        let mut tag = None;
        if let (Some(i), Some(j)) = (hashed, ciphered)
            && let Ok([source, job]) =
                jobs.get_disjoint_mut([usize::from(order[i]), usize::from(order[j])])
        {
            let (frame, plaintext) = (job.frame(), source.bytes());
            if crypt.left() > 0 && hash.left() > 0 {
                let mut begun = crypt.first();
                while crypt.left() > STEP && hash.left() > STEP {
                    full::<J>(&mut crypt, frame, &mut hash, plaintext, &mut begun);
                }
                let registers = crypt.left().div_ceil(LANES);
                let (crypt, hash, tagger) = (&mut crypt, &mut hash, &mut tagger);
                if registers == hash.left().div_ceil(LANES) && registers <= WIDE {
                    by_registers!(crypt.left(), L => {
                        last::<J, L, LAST>(crypt, frame, hash, plaintext, begun.states, tagger);
                    });
                } else {
                    last::<J, WIDE, ANY>(crypt, frame, hash, plaintext, begun.states, tagger);
                }
                tag = Some(tagger.last());
            }
        }
        if let Some(i) = tagged {
            found[i].tag = tag.unwrap_or_else(|| tagger.all());
        }
        if let Some(i) = hashed {
            if hash.left() > 0 {
                hash.rest(jobs[usize::from(order[i])].bytes());
            }
            tagger = Tagger::new(hash.ctx, hash.value);
            found[i].plain = hash.sum();
        }
        if let Some(i) = ciphered {
            if crypt.left() > 0 {
                crypt.rest(jobs[usize::from(order[i])].frame());
            }
            found[i].cipher = crypt.sum.parts();
        }
    }
    for (order, found) in order.chunks(4).zip(found.as_chunks().0) {
        for (index, block) in order.iter().zip(outcomes::<J>(found)) {
            out[usize::from(*index)] = outcome(block);
        }
    }
}

/// A full step of both, the rounds with the products between them.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512vl")]
fn full<'a, J: Job<'a>>(
    crypt: &mut Crypt<'a, J>,
    frame: &mut [u8],
    hash: &mut Hash<'a, J>,
    plaintext: &[u8],
    begun: &mut Begun,
) {
    hash.step::<WIDE, FULL>(plaintext, |round| {
        aes::round::<WIDE>(crypt.ctx, &mut begun.states, round);
    });
    crypt.turn::<1>(frame, begun);
}

/// The last step that both have, with the rounds of a tag.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512vl")]
fn last<'a, J: Job<'a>, const L: usize, const F: Fill>(
    crypt: &mut Crypt<'a, J>,
    frame: &mut [u8],
    hash: &mut Hash<'a, J>,
    plaintext: &[u8],
    mut states: Data,
    tagger: &mut Tagger<'_>,
) {
    tagger.round(1);
    hash.step::<L, F>(plaintext, |round| {
        aes::round::<L>(crypt.ctx, &mut states, round);
        tagger.round(round);
    });
    crypt.finish::<L, F, 1>(frame, states);
}
