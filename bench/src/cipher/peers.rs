//! The peers of the cipher rows, given the same work: in place, 16 octets of associated data, a fresh
//! nonce per sealing, frames and number of keys as ours. Only with feature `peers`.

/// The peer that ratios are against.
pub(super) const MAIN: &str = "aws-lc-rs AES-256-GCM";

#[cfg(feature = "peers")]
pub(super) use with::{main, main_context, others};
#[cfg(not(feature = "peers"))]
pub(super) use without::{main, main_context, others};

#[cfg(feature = "peers")]
mod with {
    use std::hint::black_box;

    use super::super::shape::{Frames, Pass, START, Shape, Side};
    use super::super::suite::{AesGcm, AesGcmSiv, AwsGcm, AwsGcmSiv, Ring, Suite, TAG};
    use crate::timing::{Probe, Subject, prepared, whole};

    /// The main peer.
    pub(in crate::cipher) fn main(shape: Shape) -> Option<Box<dyn Side>> {
        Some(Box::new(Peer::<AwsGcm>::new(shape)))
    }

    /// Expanding a key in the main peer.
    pub(in crate::cipher) fn main_context() -> Option<Subject<'static>> {
        let mut key = [7_u8; 32];
        Some(Box::new(move |n| {
            for _ in 0..n {
                key[0] = key[0].wrapping_add(1);
                let _ = black_box(AwsGcm::new(&key));
            }
        }))
    }

    /// All other peers by the part of the row's name that stands for them.
    pub(in crate::cipher) fn others(shape: Shape) -> Vec<(&'static str, Box<dyn Side>)> {
        vec![
            ("aws-lc-rs-siv", Box::new(Peer::<AwsGcmSiv>::new(shape))),
            ("ring", Box::new(Peer::<Ring>::new(shape))),
            ("aes-gcm", Box::new(Peer::<AesGcm>::new(shape))),
            ("aes-gcm-siv", Box::new(Peer::<AesGcmSiv>::new(shape))),
        ]
    }

    /// A suite at work.
    struct Peer<S> {
        shape: Shape,
        suites: Vec<S>,
        frames: Frames,
    }

    impl<S: Suite> Peer<S> {
        fn new(shape: Shape) -> Self {
            let suites = (0..shape.form.keys()).map(|index| S::new(&[index as u8 ^ 0xa5; 32]));
            Self { shape, suites: suites.collect(), frames: Frames::new(shape) }
        }

        fn seal(&mut self) -> Subject<'_> {
            let Self { shape, suites, frames } = self;
            let payload = usize::from(START)..usize::from(START) + shape.len();
            let mut frames: Vec<&mut [u8]> = frames.iter_mut().take(shape.frames()).collect();
            let (mut count, mut next) = (0, 0);
            Box::new(move |n| {
                for _ in 0..n {
                    count += 1;
                    let suite = &suites[next % suites.len()];
                    black_box(suite.seal(count, &mut frames[next][payload.clone()]));
                    next = (next + 1) % frames.len();
                }
            })
        }

        fn open(&mut self) -> Probe<'_> {
            let Self { shape, suites, frames } = self;
            let start = usize::from(START);
            let end = start + shape.len();
            let frames: Vec<&mut [u8]> = frames.iter_mut().take(shape.frames()).collect();
            let each = shape.frames() as u64;
            let mut frames = frames;
            let sealed: Vec<Vec<u8>> = frames
                .iter_mut()
                .enumerate()
                .map(|(index, frame)| {
                    let tag = suites[index % suites.len()].seal(1, &mut frame[start..end]);
                    [&frame[start..end], &tag].concat()
                })
                .collect();
            let restore = move |frames: &mut Vec<&mut [u8]>| {
                for (frame, sealed) in frames.iter_mut().zip(&sealed) {
                    frame[start..start + sealed.len()].copy_from_slice(sealed);
                }
            };
            prepared(frames, each, restore, move |frames| {
                for (index, frame) in frames.iter_mut().enumerate() {
                    let opened = suites[index % suites.len()].open(1, &mut frame[start..end + TAG]);
                    assert!(black_box(opened), "the peer opens");
                }
            })
        }
    }

    impl<S: Suite> Side for Peer<S> {
        fn probe(&mut self) -> Probe<'_> {
            match self.shape.pass {
                Pass::Seal => whole(self.seal()),
                Pass::Open => self.open(),
            }
        }
    }
}

#[cfg(not(feature = "peers"))]
mod without {
    use super::super::shape::{Shape, Side};
    use crate::timing::Subject;

    pub(in crate::cipher) fn main(_: Shape) -> Option<Box<dyn Side>> {
        None
    }

    pub(in crate::cipher) fn main_context() -> Option<Subject<'static>> {
        None
    }

    pub(in crate::cipher) fn others(_: Shape) -> Vec<(&'static str, Box<dyn Side>)> {
        Vec::new()
    }
}
