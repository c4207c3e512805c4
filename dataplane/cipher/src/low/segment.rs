//! Seal and open of one segment.
//!
//! Owns: the steps over a payload and the move to its new place. A step is 256 octets, the last
//! one what is left. Steps go from the front when the payload moves to the front or stays, and
//! from the back when it moves back: no step overwrites what a later one has yet to read.

use core::arch::x86_64::*;

use super::aes;
use super::context::Context;
use super::ghash::Hash;
use super::lanes::{LANES, Lanes, block, first, load, load_part, store, store_part, value};
use crate::segment::{Payload, TAG_LEN, Tag};

/// Octets of a full step.
const STEP: usize = 4 * LANES;
/// Octets of a block.
const BLOCK: usize = 16;
/// Set in a counter block, clear in a tag's input (M3.7), in a value read big-endian.
const USE_BIT: u128 = 1 << 127;

/// Where a step reads and writes, and the first block of keystream that it takes.
#[derive(Clone, Copy)]
struct Place {
    src: usize,
    dst: usize,
    block: u32,
}

impl Place {
    fn of(at: Payload, octets: usize) -> Self {
        let block = (octets / BLOCK) as u32;
        Self { src: usize::from(at.src) + octets, dst: usize::from(at.dst) + octets, block }
    }
}

/// Hash, tag, then keystream: the tag comes before the first block of keystream.
#[target_feature(enable = "aes,pclmulqdq,vaes,vpclmulqdq,avx512f,avx512bw,avx512vl")]
pub(super) fn seal(
    ctx: &Context,
    offset: u64,
    associated: &[u8; 16],
    frame: &mut [u8],
    at: Payload,
) -> Tag {
    let (src, len) = (usize::from(at.src), usize::from(at.len));
    let tag = tag_of(ctx, hash(ctx, associated, &frame[src..src + len]));
    let counter = counter(&tag, offset);
    let (full, rest) = (len / STEP, len % STEP);
    if at.dst > at.src {
        crypt_rest(ctx, counter, frame, Place::of(at, full * STEP), rest);
        for step in (0..full).rev() {
            crypt_step(ctx, counter, frame, Place::of(at, step * STEP));
        }
    } else {
        for step in 0..full {
            crypt_step(ctx, counter, frame, Place::of(at, step * STEP));
        }
        crypt_rest(ctx, counter, frame, Place::of(at, full * STEP), rest);
    }
    tag
}

/// Decrypts and hashes in one pass; returns the tag that the plaintext should have had.
#[target_feature(enable = "aes,pclmulqdq,vaes,vpclmulqdq,avx512f,avx512bw,avx512vl")]
pub(super) fn open(
    ctx: &Context,
    offset: u64,
    associated: &[u8; 16],
    frame: &mut [u8],
    (mut at, tag): (Payload, &Tag),
) -> Tag {
    let len = usize::from(at.len);
    if at.dst > at.src {
        // Hashing goes from the front only. Never so on the wire: opening takes an option away.
        let src = usize::from(at.src);
        frame.copy_within(src..src + len, usize::from(at.dst));
        at.src = at.dst;
    }
    let counter = counter(tag, offset);
    let mut hash = begin(ctx, associated, len);
    let (full, rest) = (len / STEP, len % STEP);
    for step in 0..full {
        let plaintext = crypt_step(ctx, counter, frame, Place::of(at, step * STEP));
        hash.absorb(plaintext, STEP / BLOCK);
    }
    let (place, blocks) = (Place::of(at, full * STEP), rest.div_ceil(BLOCK));
    match rest.div_ceil(LANES) {
        0 if full > 0 => {}
        0 => hash.absorb([], 0),
        1 => hash.absorb(crypt_part::<1>(ctx, counter, frame, place, rest), blocks),
        2 => hash.absorb(crypt_part::<2>(ctx, counter, frame, place, rest), blocks),
        3 => hash.absorb(crypt_part::<3>(ctx, counter, frame, place, rest), blocks),
        _ => hash.absorb(crypt_part::<4>(ctx, counter, frame, place, rest), blocks),
    }
    tag_of(ctx, hash.finish())
}

/// `GHASH_H(A ‖ P)`, octet-reversed.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,vaes,vpclmulqdq,avx512f,avx512bw,avx512vl")]
fn hash(ctx: &Context, associated: &[u8; 16], plaintext: &[u8]) -> __m128i {
    let mut hash = begin(ctx, associated, plaintext.len());
    let (steps, rest) = plaintext.as_chunks::<STEP>();
    for step in steps {
        let lanes = [load(step, 0), load(step, 64), load(step, 128), load(step, 192)];
        hash.absorb(lanes, STEP / BLOCK);
    }
    let blocks = rest.len().div_ceil(BLOCK);
    match rest.len().div_ceil(LANES) {
        0 if !steps.is_empty() => {}
        0 => hash.absorb([], 0),
        1 => hash.absorb(load_parts::<1>(rest, 0, rest.len()), blocks),
        2 => hash.absorb(load_parts::<2>(rest, 0, rest.len()), blocks),
        3 => hash.absorb(load_parts::<3>(rest, 0, rest.len()), blocks),
        _ => hash.absorb(load_parts::<4>(rest, 0, rest.len()), blocks),
    }
    hash.finish()
}

/// Begins the hash of a payload of `len` octets with its block `A`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,vpclmulqdq")]
fn begin<'a>(ctx: &'a Context, associated: &[u8; 16], len: usize) -> Hash<'a> {
    let blocks = len.min(STEP).div_ceil(BLOCK);
    Hash::begin(&ctx.powers, block(u128::from_be_bytes(*associated)), blocks)
}

/// First 12 octets of `AES_K(h)` with the use bit cleared (M3.5); `h` comes octet-reversed.
#[inline]
#[target_feature(enable = "aes,avx512f")]
fn tag_of(ctx: &Context, h: __m128i) -> Tag {
    let input = (value(h) & !USE_BIT).swap_bytes();
    let whole = value(aes::encrypt(&ctx.round_keys, block(input))).to_le_bytes();
    let mut tag = [0; TAG_LEN];
    tag.copy_from_slice(&whole[..TAG_LEN]);
    tag
}

/// The counter blocks `T′ ‖ u32(offset)` + 0 to 3, octet-reversed (M3.6).
#[inline]
#[target_feature(enable = "avx512f")]
fn counter(tag: &Tag, offset: u64) -> Lanes {
    let mut first = [0; 16];
    first[..TAG_LEN].copy_from_slice(tag);
    // The low half is meant: the counter wraps at 2^32 and `A` carries the whole offset.
    first[TAG_LEN..].copy_from_slice(&offset.to_be_bytes()[4..]);
    let first = _mm512_broadcast_i32x4(block(u128::from_be_bytes(first) | USE_BIT));
    let lanes = _mm512_set_epi32(0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0);
    _mm512_add_epi32(first, lanes)
}

/// Crypts 256 octets to their new place and returns what was written.
#[inline]
#[target_feature(enable = "aes,vaes,avx512f,avx512bw")]
fn crypt_step(ctx: &Context, counter: Lanes, frame: &mut [u8], place: Place) -> [Lanes; 4] {
    let mut lanes = aes::rounds::<4>(&ctx.round_keys, counter, place.block);
    let source = &frame[place.src..place.src + STEP];
    let data = [load(source, 0), load(source, 64), load(source, 128), load(source, 192)];
    let target = &mut frame[place.dst..place.dst + STEP];
    for (i, lanes) in lanes.iter_mut().enumerate() {
        *lanes = aes::last(&ctx.round_keys, *lanes, data[i]);
        store(target, i * LANES, *lanes);
    }
    lanes
}

/// Crypts what is left, 0 to 255 octets.
#[inline]
#[target_feature(enable = "aes,vaes,avx512f,avx512bw")]
fn crypt_rest(ctx: &Context, counter: Lanes, frame: &mut [u8], place: Place, len: usize) {
    match len.div_ceil(LANES) {
        0 => {}
        1 => _ = crypt_part::<1>(ctx, counter, frame, place, len),
        2 => _ = crypt_part::<2>(ctx, counter, frame, place, len),
        3 => _ = crypt_part::<3>(ctx, counter, frame, place, len),
        _ => _ = crypt_part::<4>(ctx, counter, frame, place, len),
    }
}

/// Crypts `len` octets that end in the last of `N` lanes; returns them with zeros behind.
#[inline]
#[target_feature(enable = "aes,vaes,avx512f,avx512bw")]
fn crypt_part<const N: usize>(
    ctx: &Context,
    counter: Lanes,
    frame: &mut [u8],
    place: Place,
    len: usize,
) -> [Lanes; N] {
    let mut lanes = aes::rounds::<N>(&ctx.round_keys, counter, place.block);
    let data = load_parts::<N>(frame, place.src, len);
    for (i, lanes) in lanes.iter_mut().enumerate() {
        let octets = (len - i * LANES).min(LANES);
        let crypted = aes::last(&ctx.round_keys, *lanes, data[i]);
        store_part(frame, place.dst + i * LANES, octets, crypted);
        *lanes = _mm512_maskz_mov_epi8(first(octets), crypted);
    }
    lanes
}

/// Loads `len` octets that end in the last of `N` lanes, zeros behind.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load_parts<const N: usize>(bytes: &[u8], at: usize, len: usize) -> [Lanes; N] {
    let mut data = [_mm512_setzero_si512(); N];
    for (i, data) in data.iter_mut().enumerate() {
        *data = load_part(bytes, at + i * LANES, (len - i * LANES).min(LANES));
    }
    data
}
