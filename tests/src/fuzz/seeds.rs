//! The named inputs that every fuzzing starts from and every `cargo test` replays: made here from real
//! messages, real handshakes and the shipped examples. Inputs that fuzzing found lie beside them in the
//! corpus under names that no seed has.

mod messages;
mod pipeline;

use std::path::PathBuf;

pub(super) use messages::{config, delivery, frame, kdc_reply, kdc_request};
pub(super) use pipeline::{burst, session};

/// Name and octets.
pub(super) type Seed = (&'static str, Vec<u8>);

/// The directory of a target's corpus.
pub(super) fn corpus(target: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "fuzz", "corpus", target].iter().collect()
}
