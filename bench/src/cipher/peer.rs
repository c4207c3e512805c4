//! The peer of the cipher rows: aws-lc-rs AES-256-GCM, given the same work: in place, 16 octets of
//! associated data, a fresh nonce per sealing, one copy per opening. Only with feature `peers`.

#[cfg(feature = "peers")]
pub(super) use with::*;
#[cfg(not(feature = "peers"))]
pub(super) use without::*;

#[cfg(feature = "peers")]
mod with {
    use std::hint::black_box;

    use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

    use crate::timing::Subject;

    pub(in crate::cipher) const NAME: &str = "aws-lc-rs AES-256-GCM";

    fn key() -> LessSafeKey {
        let key = UnboundKey::new(&AES_256_GCM, &[7; 32]);
        LessSafeKey::new(key.expect("invariant: 32 bytes are an AES-256 key"))
    }

    fn nonce(n: u64) -> Nonce {
        let mut bytes = [0; 12];
        bytes[4..].copy_from_slice(&n.to_be_bytes());
        Nonce::assume_unique_for_key(bytes)
    }

    pub(in crate::cipher) fn sealer(size: u16) -> Option<Subject<'static>> {
        let key = key();
        let mut payload = vec![0x5a; usize::from(size)];
        let mut count = 0;
        Some(Box::new(move |n| {
            for _ in 0..n {
                count += 1;
                let aad = Aad::from([0; 16]);
                let tag = key.seal_in_place_separate_tag(nonce(count), aad, &mut payload);
                assert!(black_box(tag).is_ok(), "the peer seals");
            }
        }))
    }

    pub(in crate::cipher) fn opener(size: u16) -> Option<Subject<'static>> {
        let key = key();
        let mut sealed = vec![0x5a; usize::from(size)];
        let aad = || Aad::from([0; 16]);
        let tag = key.seal_in_place_separate_tag(nonce(1), aad(), &mut sealed).ok()?;
        sealed.extend_from_slice(tag.as_ref());
        let mut buffer = sealed.clone();
        Some(Box::new(move |n| {
            for _ in 0..n {
                buffer.copy_from_slice(&sealed);
                let opened = key.open_in_place(nonce(1), aad(), &mut buffer);
                assert!(black_box(opened).is_ok(), "the peer opens");
            }
        }))
    }
}

#[cfg(not(feature = "peers"))]
mod without {
    use crate::timing::Subject;

    pub(in crate::cipher) const NAME: &str = "";

    pub(in crate::cipher) fn sealer(_size: u16) -> Option<Subject<'static>> {
        None
    }

    pub(in crate::cipher) fn opener(_size: u16) -> Option<Subject<'static>> {
        None
    }
}
