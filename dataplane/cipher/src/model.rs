//! The portable model of seal and open, on the crates `aes`, `ctr` and `ghash`.
//!
//! Owns: the order of the two passes, the bit that keeps the two uses of `K` apart, the rule that
//! nothing unverified is left in a frame. It is the definition that every kernel is held to, so
//! it stays as plain as the text of spec section 3.

use aes::Aes256;
use aes::cipher::{BlockCipherEncrypt, InnerIvInit, KeyInit, StreamCipher};
use ctr::cipher::StreamCipherCoreWrapper;
use ctr::{CtrCore, flavors};
use ghash::GHash;
use ghash::universal_hash::UniversalHash;
use subtle::ConstantTimeEq;

use crate::segment::{Associated, BadTag, Payload, Sealed, Sums, TAG_LEN, Tag};
use crate::sum::sum;

/// Set in a counter block, clear in a tag's input: `K` never encrypts one block for both uses
/// (M3.7).
const USE_BIT: u8 = 0x80;

/// `Ctr32BE` that borrows its key schedule.
type Keystream<'a> = StreamCipherCoreWrapper<CtrCore<&'a Aes256, flavors::Ctr32BE>>;

/// Keys expanded by the crates, which wipe them on drop.
pub(crate) struct Context {
    aes: Aes256,
    ghash: GHash,
}

impl Context {
    /// Expands AES key and GHASH key.
    pub(crate) fn new(aes: &[u8; 32], hash: &[u8; 16]) -> Self {
        Self { aes: Aes256::new(&(*aes).into()), ghash: GHash::new(&(*hash).into()) }
    }
}

/// As [`crate::seal`].
pub(crate) fn seal(ctx: &Context, a: &Associated, frame: &mut [u8], at: Payload) -> Sealed {
    let (src, dst, len) = (usize::from(at.src), usize::from(at.dst), usize::from(at.len));
    let before = sum(&frame[src..src + len]);
    let tag = tag_of(ctx, a, at.len, &frame[src..src + len]);
    frame.copy_within(src..src + len, dst);
    keystream(ctx, a.offset, &tag).apply_keystream(&mut frame[dst..dst + len]);
    Sealed { tag, sums: Sums { before, after: sum(&frame[dst..dst + len]) } }
}

/// As [`crate::open`].
pub(crate) fn open(
    ctx: &Context,
    a: &Associated,
    frame: &mut [u8],
    at: Payload,
    tag: &Tag,
) -> Result<Sums, BadTag> {
    let (src, dst, len) = (usize::from(at.src), usize::from(at.dst), usize::from(at.len));
    let before = sum(&frame[src..src + len]);
    frame.copy_within(src..src + len, dst);
    let payload = &mut frame[dst..dst + len];
    keystream(ctx, a.offset, tag).apply_keystream(payload);
    let expected = tag_of(ctx, a, at.len, payload);
    if bool::from(expected.ct_eq(tag)) {
        Ok(Sums { before, after: sum(payload) })
    } else {
        payload.fill(0);
        Err(BadTag { before })
    }
}

/// `T` = first 12 octets of `AES_K(h)`, `h = GHASH_H(A ‖ P)` with the use bit cleared (M3.5).
fn tag_of(ctx: &Context, a: &Associated, len: u16, plaintext: &[u8]) -> Tag {
    let mut ghash = ctx.ghash.clone();
    ghash.update(&[a.block(len).into()]);
    ghash.update_padded(plaintext);
    let mut h = ghash.finalize();
    h[0] &= !USE_BIT;
    ctx.aes.encrypt_block(&mut h);
    let mut tag = [0; TAG_LEN];
    tag.copy_from_slice(&h[..TAG_LEN]);
    tag
}

/// Keystream whose block `i` is `AES_K(T′ ‖ u32((offset + i) mod 2^32))` (M3.6).
fn keystream<'a>(ctx: &'a Context, offset: u64, tag: &Tag) -> Keystream<'a> {
    let mut counter = [0; 16];
    counter[..TAG_LEN].copy_from_slice(tag);
    counter[0] |= USE_BIT;
    // The low half is meant: the counter wraps at 2^32 and `A` carries the whole offset.
    counter[TAG_LEN..].copy_from_slice(&offset.to_be_bytes()[4..]);
    Keystream::from_core(CtrCore::inner_iv_init(&ctx.aes, &counter.into()))
}

#[cfg(test)]
mod tests;
