//! No block of keystream ever covers two plaintexts, and no tag stands for two segments, not even
//! when a host sends an offset again with other octets. Owns the blocks seen. The keystream is
//! what lies between plaintext and ciphertext, whatever the product takes it from.

use std::collections::HashMap;

use super::Finding;

/// Octets of a block.
const BLOCK: usize = 16;

/// What a tag was put on.
#[derive(PartialEq, Eq, Debug)]
struct Content {
    offset: u64,
    flags: u8,
    plaintext: Vec<u8>,
}

/// All of one run.
#[derive(Default)]
pub(in crate::sim) struct Keystream {
    blocks: HashMap<[u8; BLOCK], [u8; BLOCK]>,
    tags: HashMap<(usize, u8, [u8; 12]), Content>,
}

/// One sealed segment.
pub(in crate::sim) struct Sealed<'a> {
    /// Number of the key, and direction.
    pub(in crate::sim) key: (usize, u8),
    pub(in crate::sim) tag: [u8; 12],
    pub(in crate::sim) offset: u64,
    pub(in crate::sim) flags: u8,
    pub(in crate::sim) plaintext: &'a [u8],
    pub(in crate::sim) ciphertext: &'a [u8],
}

impl Keystream {
    /// Takes a sealed segment.
    pub(in crate::sim) fn take(&mut self, sealed: &Sealed<'_>) -> Result<(), Finding> {
        let key = (sealed.key.0, sealed.key.1, sealed.tag);
        let (offset, flags) = (sealed.offset, sealed.flags);
        let content = Content { offset, flags, plaintext: sealed.plaintext.to_vec() };
        if let Some(former) = self.tags.get(&key) {
            return match *former == content {
                // The same segment again: the same blocks, by the next check.
                true => self.cover(sealed),
                false => Err(("one tag for one segment", format!("{former:?} and {content:?}"))),
            };
        }
        self.tags.insert(key, content);
        self.cover(sealed)
    }

    fn cover(&mut self, sealed: &Sealed<'_>) -> Result<(), Finding> {
        let pairs = sealed.plaintext.chunks_exact(BLOCK).zip(sealed.ciphertext.chunks_exact(BLOCK));
        for (at, (plain, cipher)) in pairs.enumerate() {
            let mut block = [0; BLOCK];
            block.copy_from_slice(plain);
            let stream: [u8; BLOCK] = std::array::from_fn(|i| plain[i] ^ cipher[i]);
            let former = self.blocks.insert(stream, block);
            if former.is_some_and(|former| former != block) {
                let offset = sealed.offset + (at * BLOCK) as u64;
                let what = format!("two plaintexts under one block, the second at offset {offset}");
                return Err(("keystream is used once", what));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed<'a>(tag: u8, plaintext: &'a [u8], ciphertext: &'a [u8]) -> Sealed<'a> {
        Sealed { key: (0, 0), tag: [tag; 12], offset: 0, flags: 0, plaintext, ciphertext }
    }

    #[test]
    fn a_second_plaintext_under_a_block_or_a_tag_is_found() {
        let mut keystream = Keystream::default();
        let cipher = |plain: &[u8; 32]| plain.map(|octet| octet ^ 0x55);
        let (one, other) = ([1; 32], [2; 32]);
        assert!(keystream.take(&sealed(1, &one, &cipher(&one))).is_ok());
        assert!(keystream.take(&sealed(1, &one, &cipher(&one))).is_ok(), "sent again");
        let twice = keystream.take(&sealed(2, &other, &cipher(&other)));
        assert_eq!(twice.unwrap_err().0, "keystream is used once");
        let same_tag = keystream.take(&sealed(1, &other, &[7; 32]));
        assert_eq!(same_tag.unwrap_err().0, "one tag for one segment");
    }
}
