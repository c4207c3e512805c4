//! The peers' ciphers behind one trait: seal in place with a tag apart, open in place with the tag
//! behind the ciphertext. Only with feature `peers`.

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit};
use aes_gcm_siv::Aes256GcmSiv;
use aws_lc_rs::aead as aws;
use ring::aead as ring_aead;

/// Octets of a tag.
pub(crate) const TAG: usize = 16;
/// Octets of a nonce.
const NONCE: usize = 12;
/// Associated data, as much as ours.
const AAD: [u8; 16] = [0; 16];

/// A cipher with an expanded key.
pub(crate) trait Suite {
    fn new(key: &[u8; 32]) -> Self;

    /// Seals in place; the tag is returned.
    fn seal(&self, nonce: u64, payload: &mut [u8]) -> [u8; TAG];

    /// Opens in place; true if the tag, the last octets, verifies.
    fn open(&self, nonce: u64, sealed: &mut [u8]) -> bool;
}

fn nonce(n: u64) -> [u8; NONCE] {
    let mut bytes = [0; NONCE];
    bytes[4..].copy_from_slice(&n.to_be_bytes());
    bytes
}

fn tag(bytes: &[u8]) -> [u8; TAG] {
    let mut tag = [0; TAG];
    tag.copy_from_slice(bytes);
    tag
}

/// aws-lc-rs and ring have the same interface under two names.
macro_rules! of_ring_family {
    ($name:ident, $aead:ident, $algorithm:ident) => {
        pub(crate) struct $name($aead::LessSafeKey);

        impl Suite for $name {
            fn new(key: &[u8; 32]) -> Self {
                let key = $aead::UnboundKey::new(&$aead::$algorithm, key);
                let key = key.expect("invariant: 32 bytes are an AES-256 key");
                Self($aead::LessSafeKey::new(key))
            }

            fn seal(&self, n: u64, payload: &mut [u8]) -> [u8; TAG] {
                let nonce = $aead::Nonce::assume_unique_for_key(nonce(n));
                let aad = $aead::Aad::from(AAD);
                let sealed = self.0.seal_in_place_separate_tag(nonce, aad, payload);
                tag(sealed.expect("invariant: the payload is far below GCM's limit").as_ref())
            }

            fn open(&self, n: u64, sealed: &mut [u8]) -> bool {
                let nonce = $aead::Nonce::assume_unique_for_key(nonce(n));
                self.0.open_in_place(nonce, $aead::Aad::from(AAD), sealed).is_ok()
            }
        }
    };
}

of_ring_family!(AwsGcm, aws, AES_256_GCM);
of_ring_family!(AwsGcmSiv, aws, AES_256_GCM_SIV);
of_ring_family!(Ring, ring_aead, AES_256_GCM);

/// The two crates of RustCrypto.
macro_rules! of_rust_crypto {
    ($name:ident, $cipher:ty) => {
        pub(crate) struct $name($cipher);

        impl Suite for $name {
            fn new(key: &[u8; 32]) -> Self {
                Self(<$cipher>::new(&(*key).into()))
            }

            fn seal(&self, n: u64, payload: &mut [u8]) -> [u8; TAG] {
                let sealed = self.0.encrypt_inout_detached(&nonce(n).into(), &AAD, payload.into());
                sealed.expect("invariant: the payload is far below GCM's limit").into()
            }

            fn open(&self, n: u64, sealed: &mut [u8]) -> bool {
                let (payload, tag) = sealed.split_at_mut(sealed.len() - TAG);
                let tag = self::tag(tag).into();
                let nonce = nonce(n).into();
                self.0.decrypt_inout_detached(&nonce, &AAD, payload.into(), &tag).is_ok()
            }
        }
    };
}

of_rust_crypto!(AesGcm, Aes256Gcm);
of_rust_crypto!(AesGcmSiv, Aes256GcmSiv);

#[cfg(test)]
mod tests {
    use super::*;

    fn makes_the_round<S: Suite>() {
        let suite = S::new(&[7; 32]);
        let mut sealed = vec![0x5a; 100];
        let tag = suite.seal(3, &mut sealed);
        assert_ne!(sealed, [0x5a; 100]);
        sealed.extend(tag);
        let mut forged = sealed.clone();
        forged[115] ^= 1;
        assert!(!suite.open(3, &mut forged));
        assert!(suite.open(3, &mut sealed));
        assert_eq!(sealed[..100], [0x5a; 100]);
    }

    #[test]
    fn every_peer_opens_what_it_sealed() {
        makes_the_round::<AwsGcm>();
        makes_the_round::<AwsGcmSiv>();
        makes_the_round::<Ring>();
        makes_the_round::<AesGcm>();
        makes_the_round::<AesGcmSiv>();
    }
}
