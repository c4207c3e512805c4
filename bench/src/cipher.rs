//! Seal and open of one segment, in place, against aws-lc-rs AES-256-GCM in one process.

use std::hint::black_box;

use sekisho_cipher::{Associated, KeyContext, SegmentFlags, TrafficKeys};

use crate::report::Row;
use crate::timing::{Subject, interleaved};

/// Payload sizes in bytes.
pub const SIZES: [usize; 4] = [64, 256, 512, 1448];
/// Room in front of the payload, so that the pass can move it by the tag option's length.
const ROOM: usize = 16;

/// Rows `cipher/seal/N` and `cipher/open/N` in nanoseconds per packet.
#[must_use]
pub fn run() -> Vec<Row> {
    SIZES.iter().flat_map(|&size| [seal(size), open(size)]).collect()
}

fn context() -> KeyContext {
    KeyContext::new(&TrafficKeys::new([7; 32], [9; 16]))
}

fn associated(offset: u64) -> Associated {
    Associated { offset, flags: SegmentFlags::default(), phase: 0 }
}

fn seal(size: usize) -> Row {
    let ctx = context();
    let mut frame = vec![0x5a; size + ROOM];
    let mut offset = 0u64;
    let ours: Subject<'_> = Box::new(move |n| {
        for _ in 0..n {
            offset += size as u64;
            black_box(sekisho_cipher::seal(&ctx, &associated(offset), &mut frame, 0, ROOM, size));
        }
    });
    row(format!("cipher/seal/{size}"), ours, peer::sealer(size))
}

fn open(size: usize) -> Row {
    let ctx = context();
    let a = associated(size as u64);
    let mut sealed = vec![0x5a; size + ROOM];
    let tag = sekisho_cipher::seal(&ctx, &a, &mut sealed, 0, ROOM, size);
    let mut frame = sealed.clone();
    let ours: Subject<'_> = Box::new(move |n| {
        for _ in 0..n {
            frame[ROOM..].copy_from_slice(&sealed[ROOM..]);
            let _ = black_box(sekisho_cipher::open(&ctx, &a, &mut frame, ROOM, 0, size, &tag));
        }
    });
    row(format!("cipher/open/{size}"), ours, peer::opener(size))
}

fn row(name: String, ours: Subject<'_>, peer: Option<Subject<'_>>) -> Row {
    match peer {
        Some(peer) => {
            let times = interleaved(&mut [ours, peer]);
            Row::less_is_better(name, times[0], "ns/packet", peer::NAME, times[1])
        }
        None => Row::alone(name, interleaved(&mut [ours])[0], "ns/packet"),
    }
}

#[cfg(feature = "peers")]
mod peer {
    //! aws-lc-rs, given the same work: in place, nonce from the counter, one copy on open.
    use super::{Subject, black_box};
    use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

    pub(super) const NAME: &str = "aws-lc-rs AES-256-GCM";

    fn key() -> LessSafeKey {
        LessSafeKey::new(
            UnboundKey::new(&AES_256_GCM, &[7; 32])
                .expect("invariant: 32 bytes are an AES-256 key"),
        )
    }

    fn nonce(n: u64) -> Nonce {
        let mut bytes = [0; 12];
        bytes[4..].copy_from_slice(&n.to_be_bytes());
        Nonce::assume_unique_for_key(bytes)
    }

    pub(super) fn sealer(size: usize) -> Option<Subject<'static>> {
        let key = key();
        let mut payload = vec![0x5a; size];
        let mut count = 0;
        Some(Box::new(move |n| {
            for _ in 0..n {
                count += 1;
                let _ = black_box(key.seal_in_place_separate_tag(
                    nonce(count),
                    Aad::from([0; 16]),
                    &mut payload,
                ));
            }
        }))
    }

    pub(super) fn opener(size: usize) -> Option<Subject<'static>> {
        let key = key();
        let mut sealed = vec![0x5a; size];
        let tag = key.seal_in_place_separate_tag(nonce(1), Aad::from([0; 16]), &mut sealed).ok()?;
        sealed.extend_from_slice(tag.as_ref());
        let mut buffer = sealed.clone();
        Some(Box::new(move |n| {
            for _ in 0..n {
                buffer.copy_from_slice(&sealed);
                let _ = black_box(
                    key.open_in_place(nonce(1), Aad::from([0; 16]), &mut buffer).map(|p| p.len()),
                );
            }
        }))
    }
}

#[cfg(not(feature = "peers"))]
mod peer {
    //! Built without peers: the figures stand alone.
    use super::Subject;

    pub(super) const NAME: &str = "";

    pub(super) fn sealer(_size: usize) -> Option<Subject<'static>> {
        None
    }

    pub(super) fn opener(_size: usize) -> Option<Subject<'static>> {
        None
    }
}
