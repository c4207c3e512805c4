//! Seal and open of one segment, in place, against aws-lc-rs AES-256-GCM in one process.
//!
//! Both sides do what a gateway needs per segment with a warm key: ours moves the payload by the tag
//! option's 16 octets as it seals; opening copies the sealed octets into place first, on both sides.

mod peer;

use std::hint::black_box;

use sekisho_cipher::{Associated, KeyContext, Payload, SegmentFlags, TrafficKeys};

use crate::BenchResult;
use crate::report::Row;
use crate::timing::{Subject, interleaved, pinned};

/// Payload sizes in bytes.
pub const SIZES: [u16; 4] = [64, 256, 512, 1448];
/// Room in front of the payload, so that the pass can move it by the tag option's length.
const ROOM: u16 = 16;

/// Rows `cipher/seal/N` and `cipher/open/N` in nanoseconds per packet.
///
/// # Errors
/// None today; the form is that of all benchmarks.
pub fn run() -> BenchResult<Vec<Row>> {
    Ok(pinned(|| {
        let seals = SIZES.map(|size| row("seal", size, seal(size), peer::sealer(size)));
        let opens = SIZES.map(|size| row("open", size, open(size), peer::opener(size)));
        seals.into_iter().chain(opens).collect()
    }))
}

fn row(pass: &str, size: u16, ours: Subject<'_>, peer: Option<Subject<'_>>) -> Row {
    let name = format!("cipher/{pass}/{size}");
    eprintln!("  {name}");
    match peer {
        Some(peer) => {
            let times = interleaved(&mut [ours, peer]);
            Row::less_is_better(name, times[0], "ns/packet", peer::NAME, times[1])
        }
        None => Row::alone(name, interleaved(&mut [ours])[0], "ns/packet"),
    }
}

fn context() -> KeyContext {
    KeyContext::new(&TrafficKeys::from_bytes(&[7; 32], &[9; 16]))
}

fn associated(offset: u64) -> Associated {
    Associated { offset, flags: SegmentFlags::default(), phase: 0 }
}

fn seal(size: u16) -> Subject<'static> {
    let ctx = context();
    let mut frame = vec![0x5a; usize::from(size + ROOM)];
    let at = Payload { src: 0, dst: ROOM, len: size };
    let mut offset = 0;
    Box::new(move |n| {
        for _ in 0..n {
            offset += u64::from(size);
            let _ = black_box(sekisho_cipher::seal(&ctx, &associated(offset), &mut frame, at));
        }
    })
}

fn open(size: u16) -> Subject<'static> {
    let ctx = context();
    let a = associated(u64::from(size));
    let mut sealed = vec![0x5a; usize::from(size + ROOM)];
    let at = Payload { src: 0, dst: ROOM, len: size };
    let tag = sekisho_cipher::seal(&ctx, &a, &mut sealed, at).tag;
    let mut frame = sealed.clone();
    let at = Payload { src: ROOM, dst: 0, len: size };
    let payload = usize::from(ROOM)..;
    Box::new(move |n| {
        for _ in 0..n {
            frame[payload.clone()].copy_from_slice(&sealed[payload.clone()]);
            let opened = black_box(sekisho_cipher::open(&ctx, &a, &mut frame, at, &tag));
            assert!(opened.is_ok(), "a sealed segment opens");
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_subjects_run() {
        for size in SIZES {
            for mut subject in [seal(size), open(size)] {
                subject(3);
            }
            for mut subject in [peer::sealer(size), peer::opener(size)].into_iter().flatten() {
                subject(3);
            }
        }
    }
}
