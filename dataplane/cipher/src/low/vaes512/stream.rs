//! Segments of more than 256 octets: the keystream of one beside the hash of another.
//!
//! Owns: the order of the work. The rounds of AES of one segment's step have the products of another's hash
//! between them, so that neither waits for itself. Sealing, the hashes go ahead, because a segment's
//! keystream begins with its tag; opening, they follow.

use core::arch::x86_64::*;

use super::aes::{self, Tagger};
use super::crypt::Crypt;
use super::hash::Hash;
use super::lanes::LANES;
use super::step::{ANY, FULL, Fill, LAST, STEP, WIDE, by_registers};
use super::sums::{self, Running};
use crate::low::Job;
use crate::low::block::{read_tag, write_tag};
use crate::segment::{Sealed, Sums};

/// Segments that the hash goes ahead of the keystream when sealing: one is being hashed while the next
/// one's tag is found.
const AHEAD: usize = 2;
/// Segments that the hash goes behind when opening.
const BEHIND: usize = 1;

/// What came of a segment.
#[derive(Clone, Copy)]
struct Found {
    tag: __m128i,
    plain: Running,
    cipher: Running,
}

/// What is to be told of four segments.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn outcomes<'a, J: Job<'a>>(found: [&Found; 4]) -> [Sealed; 4] {
    let [a, b, c, d] = found;
    let plain = [a.plain, b.plain, c.plain, d.plain];
    let cipher = [a.cipher, b.cipher, c.cipher, d.cipher];
    let (before, after) = if J::SEALS { (plain, cipher) } else { (cipher, plain) };
    let [e, f, g, h] = before;
    let [i, j, k, l] = after;
    let sums = sums::finish([
        e.parts(),
        f.parts(),
        g.parts(),
        h.parts(),
        i.parts(),
        j.parts(),
        k.parts(),
        l.parts(),
    ]);
    let mut sealed = [Sealed::default(); 4];
    for (i, sealed) in sealed.iter_mut().enumerate() {
        sealed.tag = write_tag(found[i].tag);
        sealed.sums = Sums { before: sums[i], after: sums[i + 4] };
    }
    sealed
}

/// Seals one segment, or decrypts it and finds the tag that there should have been.
#[target_feature(enable = "aes,pclmulqdq,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512vl")]
pub(super) fn run_one<'a, J: Job<'a>>(job: &mut J) -> Sealed {
    let mut hash = Hash::<J>::idle(job.context());
    hash.begin(job);
    let mut crypt = Crypt::<J>::idle(job.context());
    let tag;
    if J::SEALS {
        hash.rest(job.bytes());
        tag = Tagger::new(hash.ctx, hash.value).all();
        crypt.begin(job, tag);
        crypt.rest(job.frame());
    } else {
        crypt.begin(job, read_tag(job.tag()));
        crypt.rest(job.frame());
        hash.rest(job.bytes());
        tag = Tagger::new(hash.ctx, hash.value).all();
    }
    let (before, after) = if J::SEALS { (hash.sum, crypt.sum) } else { (crypt.sum, hash.sum) };
    let [before, after] = sums::finish_two(before.parts(), after.parts());
    Sealed { tag: write_tag(tag), sums: Sums { before, after } }
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
    let none = Running::zero();
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
            let tag = if J::SEALS { found[i].tag } else { read_tag(job.tag()) };
            crypt.begin(job, tag);
        }
        let mut tag = None;
        if let (Some(i), Some(j)) = (hashed, ciphered)
            && let Ok([source, job]) =
                jobs.get_disjoint_mut([usize::from(order[i]), usize::from(order[j])])
        {
            tag = pair::<J>(&mut crypt, job.frame(), &mut hash, source.bytes(), &mut tagger);
        }
        if let Some(i) = tagged {
            found[i].tag = tag.unwrap_or_else(|| tagger.all());
        }
        if let Some(i) = hashed {
            if hash.left() > 0 {
                hash.rest(jobs[usize::from(order[i])].bytes());
            }
            tagger = Tagger::new(hash.ctx, hash.value);
            found[i].plain = hash.sum;
        }
        if let Some(i) = ciphered {
            if crypt.left() > 0 {
                crypt.rest(jobs[usize::from(order[i])].frame());
            }
            found[i].cipher = crypt.sum;
        }
    }
    for (order, found) in order.chunks(4).zip(found.as_chunks().0) {
        let [a, b, c, d] = found;
        for (index, sealed) in order.iter().zip(outcomes::<J>([a, b, c, d])) {
            out[usize::from(*index)] = sealed;
        }
    }
}

/// Steps of both segments side by side, as far as both go; and the tag, if there were any steps.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512vl")]
fn pair<'a, J: Job<'a>>(
    crypt: &mut Crypt<'a, J>,
    frame: &mut [u8],
    hash: &mut Hash<'a, J>,
    plaintext: &[u8],
    tagger: &mut Tagger<'_>,
) -> Option<__m128i> {
    let mut tag = None;
    if crypt.left() >= STEP && hash.left() >= STEP {
        both::<J, WIDE, FULL, 1>(crypt, frame, hash, plaintext, tagger);
        tag = Some(tagger.last());
    }
    while crypt.left() >= STEP && hash.left() >= STEP {
        both::<J, WIDE, FULL, 0>(crypt, frame, hash, plaintext, tagger);
    }
    let registers = crypt.left().div_ceil(LANES);
    if registers == 0 || hash.left() == 0 {
        return tag;
    }
    if registers == hash.left().div_ceil(LANES) && registers <= WIDE {
        by_registers!(crypt.left(), L => both::<J, L, LAST, 1>(crypt, frame, hash, plaintext, tagger));
    } else {
        both::<J, WIDE, ANY, 1>(crypt, frame, hash, plaintext, tagger);
    }
    tag.or_else(|| Some(tagger.last()))
}

/// A step of both: the rounds with the products between them and, if `TAG` is 1, those of a tag.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,bmi2,vaes,vpclmulqdq,avx512f,avx512bw,avx512vl")]
fn both<'a, J: Job<'a>, const L: usize, const F: Fill, const TAG: u8>(
    crypt: &mut Crypt<'a, J>,
    frame: &mut [u8],
    hash: &mut Hash<'a, J>,
    plaintext: &[u8],
    tagger: &mut Tagger<'_>,
) {
    let mut states = crypt.states::<L>();
    let [mut one, mut two] = hash.load::<L, F, TAG>(plaintext);
    let ctx = crypt.ctx;
    let mut round = |round| {
        aes::round::<L>(ctx, &mut states, round);
        if TAG == 1 {
            tagger.round(round);
        }
    };
    let (first, second) = (L.min(WIDE / 2), L.saturating_sub(WIDE / 2));
    round(1);
    one.lane(1, first);
    round(2);
    one.lane(2, first);
    round(3);
    one.lane(3, first);
    round(4);
    one.follow(hash.value);
    one.lane(0, first);
    round(5);
    two.lane(1, second);
    one.reduce_low();
    round(6);
    round(7);
    two.lane(2, second);
    one.reduce_middle();
    round(8);
    two.lane(3, second);
    hash.value = one.value();
    round(9);
    two.follow(hash.value);
    round(10);
    two.lane(0, second);
    round(11);
    two.reduce_low();
    round(12);
    two.reduce_middle();
    round(13);
    if second > 0 && (F != ANY || two.blocks() > 0) {
        hash.value = two.value();
    }
    crypt.finish::<L, F, TAG>(frame, states);
}
