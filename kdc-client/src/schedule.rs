//! From a session key and a transcript to the keys of an epoch (spec §6.2).
//!
//! Owns `th`, `PRK`, the labels and the confirmations. Does not own long-term
//! keys (`keys`) or the use of traffic keys (the dataplane's cipher).

use hkdf::Hkdf;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::keys::{AuthKey, SALT, WrapKey, expand};
use crate::message::codec::put_field;
use crate::message::sha256;
use crate::wrap::SessionKey;

/// Keys of one direction: AES-256 key and GHASH key.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct TrafficKeyBytes {
    /// AES-256 key.
    pub aes: [u8; 32],
    /// GHASH key.
    pub ghash: [u8; 16],
}

/// Keys of both directions of one epoch: what a dataplane is given.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct TrafficSecrets {
    /// Sealed by the client, opened by the gateway.
    pub client_to_server: TrafficKeyBytes,
    /// Sealed by the gateway, opened by the client.
    pub server_to_client: TrafficKeyBytes,
}

/// The chain key, from one epoch to the next.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct ChainKey([u8; 32]);

/// All secrets of one epoch.
pub struct EpochSecrets {
    /// Traffic keys.
    pub traffic: TrafficSecrets,
    /// `confirm_c`: the client's proof.
    pub confirm_c: Zeroizing<[u8; 32]>,
    /// `confirm_g`: the gateway's proof.
    pub confirm_g: [u8; 32],
    /// Seals the one SYNCED.
    pub synced: WrapKey,
    /// Keys REFUSE and the INVITE of a rekey.
    pub control: AuthKey,
    /// Enters the next epoch.
    pub chain: ChainKey,
}

/// The schedule gave equal keys for both directions; such keys are never used (spec M6.4, M3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("both directions got equal keys")]
pub struct EqualKeys;

/// `th`: SHA-256 over three fields: the protocol's name, the message that was answered
/// (EARLY or IDENTIFY), and DELIVER without its `confirm_g`.
#[must_use]
pub fn transcript_hash(answered: &[u8], deliver_without_confirm: &[u8]) -> [u8; 32] {
    let mut all = Vec::with_capacity(answered.len() + deliver_without_confirm.len() + 16);
    put_field(&mut all, SALT);
    put_field(&mut all, answered);
    put_field(&mut all, deliver_without_confirm);
    sha256(&[&all])
}

/// Expands an epoch (M6.3). `last` is the chain key of the epoch before, on rekey.
///
/// # Errors
/// [`EqualKeys`] if an AES or GHASH key is the same in both directions.
pub fn epoch_secrets(
    key: &SessionKey,
    last: Option<&ChainKey>,
    th: &[u8; 32],
) -> Result<EpochSecrets, EqualKeys> {
    // Ks ‖ ss ‖ ck; ss stays 0⁶⁴ until shares are in use.
    let mut ikm = Zeroizing::new([0u8; 32 + 64 + 32]);
    ikm[..32].copy_from_slice(key.expose());
    if let Some(chain) = last {
        ikm[96..].copy_from_slice(&chain.0);
    }
    let hkdf = Hkdf::<Sha256>::new(Some(th), &*ikm);
    let traffic = TrafficSecrets {
        client_to_server: TrafficKeyBytes {
            aes: expand(&hkdf, b"c2s aes"),
            ghash: expand(&hkdf, b"c2s ghash"),
        },
        server_to_client: TrafficKeyBytes {
            aes: expand(&hkdf, b"s2c aes"),
            ghash: expand(&hkdf, b"s2c ghash"),
        },
    };
    let (c2s, s2c) = (&traffic.client_to_server, &traffic.server_to_client);
    if bool::from(c2s.aes.ct_eq(&s2c.aes) | c2s.ghash.ct_eq(&s2c.ghash)) {
        return Err(EqualKeys);
    }
    Ok(EpochSecrets {
        traffic,
        confirm_c: Zeroizing::new(AuthKey(expand(&hkdf, b"confirm_c")).mac(&[th])),
        confirm_g: AuthKey(expand(&hkdf, b"confirm_g")).mac(&[th]),
        synced: WrapKey(expand(&hkdf, b"synced")),
        control: AuthKey(expand(&hkdf, b"control")),
        chain: ChainKey(expand(&hkdf, b"chain")),
    })
}

#[cfg(test)]
mod tests;
