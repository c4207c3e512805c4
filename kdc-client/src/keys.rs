//! Long-term keys of devices and what they are used for: HKDF labels, HMAC, AEAD.
//!
//! Owns `DeviceKey`, `MasterKey` and the role keys expanded from them (spec §6.1).
//! Does not own session keys (`schedule`) or the layout of what is wrapped (`wrap`).

use aes_gcm_siv::aead::{Aead, Payload};
use aes_gcm_siv::{Aes256GcmSiv, KeyInit, Nonce};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use rand_core::CryptoRng;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::identity::DeviceId;
use crate::message::codec::put_field;

/// Salt of every extraction from a long-term key.
pub(crate) const SALT: &[u8] = b"sekisho/1";

/// Octets of a nonce in front of an AEAD box, and of the tag at its end.
pub(crate) const NONCE: usize = 12;
const TAG: usize = 16;

/// What a device key is used as; the labels of the two never meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The client's end.
    Client,
    /// The gateway's end.
    Gateway,
}

impl Role {
    /// The name in files, registry and labels.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Role::Client => "client",
            Role::Gateway => "gateway",
        }
    }

    fn labels(self) -> (&'static [u8], &'static [u8]) {
        match self {
            Role::Client => (b"client auth", b"client wrap"),
            Role::Gateway => (b"gateway auth", b"gateway wrap"),
        }
    }
}

/// Why a key could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not 64 hexadecimal digits.
    #[error("a key file holds 64 hexadecimal digits and a newline")]
    NotHex,
}

/// A box did not open: wrong key, wrong associated data, or not the bytes that were sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the wrapped key does not open")]
pub struct WrapError;

/// A long-term key of a device (`Kcl`, `Kgw`). Used only through [`DeviceKey::role_keys`].
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct DeviceKey([u8; 32]);

impl DeviceKey {
    /// Wraps 32 key octets; the caller wipes its own copy.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> DeviceKey {
        DeviceKey(bytes)
    }

    /// A fresh random key.
    #[must_use]
    pub fn generate(rng: &mut dyn CryptoRng) -> DeviceKey {
        let mut key = DeviceKey([0; 32]);
        rng.fill_bytes(&mut key.0);
        key
    }

    /// Reads the content of a key file: 64 hexadecimal digits, white space around them allowed.
    ///
    /// # Errors
    /// [`KeyError::NotHex`] for anything else.
    pub fn from_hex(text: &str) -> Result<DeviceKey, KeyError> {
        let mut key = DeviceKey([0; 32]);
        hex::decode_to_slice(text.trim(), &mut key.0).map_err(|_| KeyError::NotHex)?;
        Ok(key)
    }

    /// The content of a key file, newline included; wiped when dropped.
    #[must_use]
    pub fn to_hex(&self) -> Zeroizing<String> {
        let mut text = hex::encode(self.0);
        text.push('\n');
        Zeroizing::new(text)
    }

    /// The key octets, for storing under a master key.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Expands the keys of one role (M6.1).
    #[must_use]
    pub fn role_keys(&self, role: Role) -> RoleKeys {
        let hkdf = Hkdf::<Sha256>::new(Some(SALT), &self.0);
        let (auth, wrap) = role.labels();
        RoleKeys { auth: AuthKey(expand(&hkdf, auth)), wrap: WrapKey(expand(&hkdf, wrap)) }
    }
}

/// The KDC's master key, for derived-key mode and for sealing the registry.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct MasterKey([u8; 32]);

impl MasterKey {
    /// Wraps 32 key octets; the caller wipes its own copy.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> MasterKey {
        MasterKey(bytes)
    }

    /// Reads the content of a key file, as [`DeviceKey::from_hex`].
    ///
    /// # Errors
    /// [`KeyError::NotHex`] for anything else.
    pub fn from_hex(text: &str) -> Result<MasterKey, KeyError> {
        let mut key = MasterKey([0; 32]);
        hex::decode_to_slice(text.trim(), &mut key.0).map_err(|_| KeyError::NotHex)?;
        Ok(key)
    }

    /// Derived-key mode: the long-term key of an identifier, role and key version (M6.2).
    #[must_use]
    pub fn device_key(&self, role: Role, id: &DeviceId, version: u32) -> DeviceKey {
        let mut info = b"device".to_vec();
        put_field(&mut info, role.label().as_bytes());
        put_field(&mut info, &id.to_wire());
        put_field(&mut info, &version.to_be_bytes());
        let hkdf = Hkdf::<Sha256>::new(Some(SALT), &self.0);
        DeviceKey(expand(&hkdf, &info))
    }

    /// The key that seals the registry on disk.
    #[must_use]
    pub fn registry_key(&self) -> WrapKey {
        let hkdf = Hkdf::<Sha256>::new(Some(SALT), &self.0);
        WrapKey(expand(&hkdf, b"registry"))
    }
}

/// The keys of a device in one role.
pub struct RoleKeys {
    /// Authenticates messages.
    pub auth: AuthKey,
    /// Opens and seals wrapped session keys.
    pub wrap: WrapKey,
}

/// An HMAC-SHA256 key.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct AuthKey(pub(crate) [u8; 32]);

impl AuthKey {
    /// HMAC-SHA256 over the concatenation of `parts`.
    #[must_use]
    pub fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(&self.0)
            .expect("invariant: HMAC takes keys of any length");
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// Compares in constant time.
    #[must_use]
    pub fn verify(&self, parts: &[&[u8]], mac: &[u8; 32]) -> bool {
        self.mac(parts).ct_eq(mac).into()
    }
}

/// An AES-256-GCM-SIV key.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct WrapKey(pub(crate) [u8; 32]);

impl WrapKey {
    /// Seals `plain` under a random nonce: nonce ‖ ciphertext ‖ tag.
    #[must_use]
    pub fn seal(&self, plain: &[u8], associated: &[u8], rng: &mut dyn CryptoRng) -> Vec<u8> {
        let mut nonce = [0; NONCE];
        rng.fill_bytes(&mut nonce);
        let mut out = nonce.to_vec();
        out.extend_from_slice(&self.seal_with_nonce(&nonce, plain, associated));
        out
    }

    /// Opens what [`WrapKey::seal`] made. The plaintext is wiped when dropped.
    ///
    /// # Errors
    /// [`WrapError`] if any octet of box or associated data differs.
    pub fn open(&self, sealed: &[u8], associated: &[u8]) -> Result<Zeroizing<Vec<u8>>, WrapError> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE>().ok_or(WrapError)?;
        self.open_with_nonce(nonce, sealed, associated)
    }

    pub(crate) fn seal_with_nonce(
        &self,
        nonce: &[u8; NONCE],
        plain: &[u8],
        associated: &[u8],
    ) -> Vec<u8> {
        Aes256GcmSiv::new((&self.0).into())
            .encrypt(&Nonce::from(*nonce), Payload { msg: plain, aad: associated })
            .expect("invariant: messages are far below the limit of 2^36 octets")
    }

    pub(crate) fn open_with_nonce(
        &self,
        nonce: &[u8; NONCE],
        sealed: &[u8],
        associated: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, WrapError> {
        if sealed.len() < TAG {
            return Err(WrapError);
        }
        Aes256GcmSiv::new((&self.0).into())
            .decrypt(&Nonce::from(*nonce), Payload { msg: sealed, aad: associated })
            .map(Zeroizing::new)
            .map_err(|_| WrapError)
    }
}

/// One output of HKDF-Expand.
pub(crate) fn expand<const N: usize>(hkdf: &Hkdf<Sha256>, info: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    hkdf.expand(info, &mut out).expect("invariant: N is at most 32, far below 255 × 32");
    out
}

#[cfg(test)]
mod tests;
