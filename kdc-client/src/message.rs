//! Every message of key delivery and of the KDC: typed encoding and decoding.
//!
//! Owns the layout (spec §4.3, §5.1) and refuses whatever is not exactly it.
//! Does not judge content: cookies, authenticators and MACs are checked by who holds the key.

pub(crate) mod codec;
mod delivery;
mod kdc;

pub use codec::MessageError;
pub use delivery::{
    Body, DELIVERY_HEADER, Deliver, EARLY_MIN, Identify, Invite, Message, Reason, Refuse, Sync,
    Synced, SyncedContent, TYPE_EARLY, TYPE_IDENTIFY,
};
pub use kdc::{Claim, KdcAnswer, KeyRefusal, KeyReply, KeyRequest, frame_tcp, verify_answer};

use sha2::{Digest, Sha256};

/// SHA-256 over the concatenation of `parts`.
#[must_use]
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests;
