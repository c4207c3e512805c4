//! Every kernel that this CPU has against the model: one segment and batches.

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

use crate::kernel::{Kernel, kernels};
use crate::keys::{KeyContext, TrafficKeys};
use crate::segment::{Associated, BadTag, OpenJob, Payload, SealJob, Sealed, SegmentFlags, Sums};
use crate::{open, open_batch, seal, seal_batch};

/// Octets of frame around the payload's places, to see that nothing else is written.
const MARGIN: usize = 32;

/// Small, seeded, good enough to fill payloads.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: u64) -> u16 {
        u16::try_from(self.next() % end).unwrap()
    }

    fn fill(&mut self, octets: &mut [u8]) {
        for chunk in octets.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }

    fn associated(&mut self) -> Associated {
        let bits = self.next();
        let flags = SegmentFlags { fin: bits & 1 != 0, rst: bits & 2 != 0 };
        Associated { offset: self.next(), flags, phase: (bits >> 2 & 1) as u8 }
    }

    fn keys(&mut self) -> TrafficKeys {
        let (mut aes, mut hash) = ([0; 32], [0; 16]);
        self.fill(&mut aes);
        self.fill(&mut hash);
        TrafficKeys::from_bytes(&aes, &hash)
    }
}

/// A place that ends where the next page may not be touched, as deep as `len` octets and a move.
struct Brink {
    pages: *mut core::ffi::c_void,
}

impl Brink {
    const PAGE: usize = 4096;
    /// Pages that may be touched, before the one that may not.
    const PAGES: usize = 2;

    fn new() -> Self {
        let all = (Self::PAGES + 1) * Self::PAGE;
        // SAFETY: a fresh private mapping at a place that the system chooses.
        let pages = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                all,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )
        };
        let pages = pages.unwrap();
        let last = pages.wrapping_byte_add(Self::PAGES * Self::PAGE);
        // SAFETY: the last page of the mapping just made, to which nothing refers.
        unsafe { mprotect(last, Self::PAGE, MprotectFlags::empty()) }.unwrap();
        Self { pages }
    }

    /// The last `len` octets before the brink.
    fn last(&mut self, len: usize) -> &mut [u8] {
        let start = self.pages.wrapping_byte_add(Self::PAGES * Self::PAGE - len);
        // SAFETY: `len` octets of the mapping, readable and writable, borrowed with it.
        unsafe { std::slice::from_raw_parts_mut(start.cast(), len) }
    }
}

impl Drop for Brink {
    fn drop(&mut self) {
        // SAFETY: the whole mapping, which nothing refers to any more.
        let _ = unsafe { munmap(self.pages, (Self::PAGES + 1) * Self::PAGE) };
    }
}

/// One key, expanded for the kernel under test and for the model.
struct Pair {
    fast: KeyContext,
    model: KeyContext,
}

impl Pair {
    fn new(kernel: Kernel, keys: &TrafficKeys) -> Self {
        let fast = KeyContext::for_kernel(kernel, keys);
        Self { fast, model: KeyContext::for_kernel(Kernel::Portable, keys) }
    }
}

/// Runs `test` with each kernel of this CPU.
fn each_kernel(test: impl Fn(Kernel)) {
    for name in kernels() {
        eprintln!("kernel {name}");
        test(Kernel::named(name).unwrap());
    }
}

/// A segment before it is sealed, and what the model makes of it.
struct Case {
    associated: Associated,
    at: Payload,
    plain: Vec<u8>,
    cipher: Vec<u8>,
    sealed: Sealed,
    back: Payload,
    opened: Vec<u8>,
}

impl Case {
    fn new(pair: &Pair, random: &mut Random, at: Payload) -> Self {
        let end = usize::from(at.src.max(at.dst)) + usize::from(at.len) + MARGIN;
        let mut plain = vec![0; end];
        random.fill(&mut plain);
        Self::of(pair, random.associated(), plain, at)
    }

    fn of(pair: &Pair, associated: Associated, plain: Vec<u8>, at: Payload) -> Self {
        let mut cipher = plain.clone();
        let sealed = seal(&pair.model, &associated, &mut cipher, at);
        let back = Payload { src: at.dst, dst: at.src, len: at.len };
        let mut opened = cipher.clone();
        let sums = open(&pair.model, &associated, &mut opened, back, &sealed.tag);
        assert_eq!(sums, Ok(Sums { before: sealed.sums.after, after: sealed.sums.before }));
        Self { associated, at, plain, cipher, sealed, back, opened }
    }

    /// What opening gives with the right tag, or the wrong one.
    fn outcome(&self, forged: bool) -> Result<Sums, BadTag> {
        let Sums { before, after } = self.sealed.sums;
        if forged {
            Err(BadTag { before: after })
        } else {
            Ok(Sums { before: after, after: before })
        }
    }

    /// The frame that opening leaves.
    fn left(&self, forged: bool) -> Vec<u8> {
        let mut left = self.cipher.clone();
        let place = usize::from(self.back.dst)..usize::from(self.back.dst + self.back.len);
        if forged {
            left[place].fill(0);
        } else {
            left.copy_from_slice(&self.opened);
        }
        left
    }
}

/// Seals and opens one by one.
fn check_single(pair: &Pair, random: &mut Random, case: &Case) {
    let about = format!("{:?} {:?}", case.associated, case.at);
    let mut frame = case.plain.clone();
    let sealed = seal(&pair.fast, &case.associated, &mut frame, case.at);
    assert_eq!(sealed, case.sealed, "{about}");
    assert!(frame == case.cipher, "sealed frame, {about}");
    for forged in [false, true] {
        let mut frame = case.cipher.clone();
        let mut tag = case.sealed.tag;
        if forged {
            tag[usize::from(random.below(12))] ^= 1 << random.below(8);
        }
        let opened = open(&pair.fast, &case.associated, &mut frame, case.back, &tag);
        assert_eq!(opened, case.outcome(forged), "{about}");
        assert!(frame == case.left(forged), "opened frame, forged {forged}, {about}");
    }
}

/// Seals and opens all as one batch; about one of `forge` tags is made wrong.
fn check_batch(cases: &[(&Pair, Case)], random: &mut Random, forge: u64) {
    let mut frames: Vec<_> = cases.iter().map(|(_, case)| case.plain.clone()).collect();
    let mut jobs: Vec<_> = cases
        .iter()
        .zip(&mut frames)
        .map(|((pair, case), frame)| SealJob {
            context: &pair.fast,
            associated: case.associated,
            frame,
            at: case.at,
        })
        .collect();
    let mut sealed = vec![Sealed::default(); jobs.len()];
    seal_batch(&mut jobs, &mut sealed);
    for (i, (_, case)) in cases.iter().enumerate() {
        assert_eq!(sealed[i], case.sealed, "{i} {:?}", case.at);
        assert!(frames[i] == case.cipher, "sealed frame {i} {:?}", case.at);
    }

    let forged: Vec<_> = cases.iter().map(|_| random.next().is_multiple_of(forge)).collect();
    let mut jobs = Vec::new();
    for (((pair, case), frame), forged) in cases.iter().zip(&mut frames).zip(&forged) {
        let mut tag = case.sealed.tag;
        if *forged {
            tag[usize::from(random.below(12))] ^= 1 << random.below(8);
        }
        let (context, associated) = (&pair.fast, case.associated);
        jobs.push(OpenJob { context, associated, frame, at: case.back, tag });
    }
    let mut opened = vec![Err(BadTag { before: 0 }); jobs.len()];
    open_batch(&mut jobs, &mut opened);
    for (i, (_, case)) in cases.iter().enumerate() {
        assert_eq!(opened[i], case.outcome(forged[i]), "{i} {:?}", case.at);
        assert!(frames[i] == case.left(forged[i]), "opened frame {i} {:?}", case.at);
    }
}

#[test]
fn every_length_alignment_and_move_equals_the_model() {
    each_kernel(|kernel| {
        let mut random = Random(0x5e15_0001);
        let pair = Pair::new(kernel, &random.keys());
        // Frames are carved from one place, so that a payload's start is aligned as its number says.
        let mut place = vec![0u8; 64 * 4096 + 64];
        let aligned = place.as_ptr().align_offset(64);
        for len in 0..=2048u16 {
            let at = Payload { src: 64, dst: 64, len };
            let case = Case::new(&pair, &mut random, at);
            let plain = &case.plain[64..64 + usize::from(len)];
            let cipher = &case.cipher[64..64 + usize::from(len)];
            let moves = |start: usize| {
                let src = 64 + start as u16;
                Payload { src, dst: src + 16 - 16 * ((start + usize::from(len)) % 3) as u16, len }
            };
            let mut frames: Vec<_> = place[aligned..].chunks_exact_mut(4096).take(64).collect();
            let mut jobs = Vec::new();
            for (start, frame) in frames.iter_mut().enumerate() {
                let at = moves(start);
                frame[48..176 + usize::from(len)].fill(0xee);
                frame[usize::from(at.src)..][..plain.len()].copy_from_slice(plain);
                let (context, associated) = (&pair.fast, case.associated);
                jobs.push(SealJob { context, associated, frame, at });
            }
            let mut sealed = [Sealed::default(); 64];
            seal_batch(&mut jobs, &mut sealed);
            assert_eq!(sealed, [case.sealed; 64], "{len}");
            let mut jobs = Vec::new();
            for (start, frame) in frames.iter_mut().enumerate() {
                let Payload { src, dst, len } = moves(start);
                assert!(frame[usize::from(dst)..][..cipher.len()] == *cipher, "{len} {start}");
                let (context, associated) = (&pair.fast, case.associated);
                let at = Payload { src: dst, dst: src, len };
                jobs.push(OpenJob { context, associated, frame, at, tag: case.sealed.tag });
            }
            let mut opened = [case.outcome(true); 64];
            open_batch(&mut jobs, &mut opened);
            assert_eq!(opened, [case.outcome(false); 64], "{len}");
            for (start, frame) in frames.iter().enumerate() {
                let Payload { src, dst, .. } = moves(start);
                assert!(frame[usize::from(src)..][..plain.len()] == *plain, "{len} {start}");
                let first = usize::from(src.min(dst));
                let end = usize::from(src.max(dst)) + plain.len();
                let around = [&frame[48..first], &frame[end..176 + plain.len()]].concat();
                assert!(around.iter().all(|octet| *octet == 0xee), "around, {len} {start}");
            }
        }
    });
}

#[test]
fn one_by_one_equals_the_model() {
    each_kernel(|kernel| {
        let mut random = Random(0x5e15_0002);
        let pair = Pair::new(kernel, &random.keys());
        for len in 0..=1200 {
            for dst in [0, 16, 32] {
                let case = Case::new(&pair, &mut random, Payload { src: 16, dst, len });
                check_single(&pair, &mut random, &case);
            }
        }
    });
}

#[test]
fn any_distance_and_longer_payloads_equal_the_model() {
    each_kernel(|kernel| {
        let mut random = Random(0x5e15_0003);
        let pair = Pair::new(kernel, &random.keys());
        for _ in 0..1000 {
            let (src, dst, len) = (random.below(700), random.below(700), random.below(3401));
            let case = Case::new(&pair, &mut random, Payload { src, dst, len });
            check_single(&pair, &mut random, &case);
        }
        for _ in 0..50 {
            let len = 16384 - random.below(9000);
            let case = Case::new(&pair, &mut random, Payload { src: 16, dst: 32, len });
            check_single(&pair, &mut random, &case);
        }
        let longest = Payload { src: 16, dst: 0, len: u16::MAX - 64 };
        let case = Case::new(&pair, &mut random, longest);
        check_single(&pair, &mut random, &case);
    });
}

#[test]
fn sums_of_zeros_and_of_ones_equal_the_model() {
    each_kernel(|kernel| {
        let mut random = Random(0x5e15_0004);
        let pair = Pair::new(kernel, &random.keys());
        for octet in [0, 0xff] {
            for len in [0, 1, 2, 16, 63, 64, 65, 100, 256, 257, 1448, 16384, u16::MAX - 16] {
                let plain = vec![octet; usize::from(len) + 16];
                let at = Payload { src: 0, dst: 16, len };
                let case = Case::of(&pair, random.associated(), plain, at);
                check_single(&pair, &mut random, &case);
            }
        }
    });
}

#[test]
fn counters_wrap_at_32_bits_as_the_model_says() {
    each_kernel(|kernel| {
        let mut random = Random(0x5e15_0005);
        let pair = Pair::new(kernel, &random.keys());
        for before in 0..70 {
            for epoch in [1, 2, 1 << 32] {
                let offset = u64::wrapping_sub(epoch << 32, before);
                let a = Associated { offset, flags: SegmentFlags::default(), phase: 0 };
                for len in [1000 + random.below(300), 64, 1 + random.below(256)] {
                    let mut plain = vec![0; usize::from(len) + 16];
                    random.fill(&mut plain);
                    let case = Case::of(&pair, a, plain, Payload { src: 16, dst: 0, len });
                    check_single(&pair, &mut random, &case);
                    check_batch(&[(&pair, case)], &mut random, 2);
                }
            }
        }
    });
}

/// Mixed sizes, keys and distances, forged tags among them; any number of jobs.
#[test]
fn batches_equal_the_model() {
    each_kernel(|kernel| {
        let mut random = Random(0x5e15_0006);
        let pairs: Vec<_> = (0..8).map(|_| Pair::new(kernel, &random.keys())).collect();
        for round in 0..400 {
            let cases: Vec<_> = (0..random.below(70))
                .map(|_| {
                    let pair = &pairs[usize::from(random.below(8))];
                    let longest = [65, 257, 1500, 4000][usize::from(random.below(4))];
                    let (src, len) = (16 + random.below(64), random.below(longest));
                    let dst = if round % 8 == 0 {
                        random.below(200)
                    } else {
                        src + 16 * random.below(3) - 16
                    };
                    (pair, Case::new(pair, &mut random, Payload { src, dst, len }))
                })
                .collect();
            check_batch(&cases, &mut random, 1 + round % 5);
        }
    });
}

/// A payload may end where a page does: nothing behind it is touched, not even to be masked away.
#[test]
fn nothing_behind_a_payload_is_touched() {
    each_kernel(|kernel| {
        let mut random = Random(0x5e15_0008);
        let pair = Pair::new(kernel, &random.keys());
        let mut brink = Brink::new();
        for len in (0..=600).chain([1448, 2000]) {
            for (src, dst) in [(0, 16), (16, 0), (16, 16)] {
                let mut case = Case::new(&pair, &mut random, Payload { src, dst, len });
                let end = usize::from(src.max(dst) + len);
                for frame in [&mut case.plain, &mut case.cipher, &mut case.opened] {
                    frame.truncate(end);
                }
                let frame = brink.last(end);
                frame.copy_from_slice(&case.plain);
                let sealed = seal(&pair.fast, &case.associated, frame, case.at);
                assert!(sealed == case.sealed && *frame == case.cipher[..], "{:?}", case.at);
                let tag = &case.sealed.tag;
                let opened = open(&pair.fast, &case.associated, frame, case.back, tag);
                assert_eq!(opened, case.outcome(false), "{:?}", case.back);
                assert!(*frame == case.opened[..], "{:?}", case.back);
            }
        }
    });
}

/// The same of a batch, where a kernel takes short payloads together and long ones in several steps.
#[test]
fn nothing_behind_the_payloads_of_a_batch_is_touched() {
    each_kernel(|kernel| {
        let mut random = Random(0x5e15_0009);
        let pair = Pair::new(kernel, &random.keys());
        let mut brinks: Vec<_> = (0..16).map(|_| Brink::new()).collect();
        for round in 0..200 {
            let cases = brinks.iter().map(|_| {
                let longest = [65, 257, 601, 2001][usize::from(random.below(4))];
                let (src, dst) = [(0, 16), (16, 0), (16, 16)][usize::from(random.below(3))];
                let len = random.below(longest);
                Case::new(&pair, &mut random, Payload { src, dst, len })
            });
            let cases: Vec<_> = cases.collect();
            let end = |case: &Case| usize::from(case.at.src.max(case.at.dst) + case.at.len);
            let (context, mut jobs) = (&pair.fast, Vec::new());
            for (case, brink) in cases.iter().zip(&mut brinks) {
                let frame = brink.last(end(case));
                frame.copy_from_slice(&case.plain[..end(case)]);
                jobs.push(SealJob { context, associated: case.associated, frame, at: case.at });
            }
            let mut sealed = [Sealed::default(); 16];
            seal_batch(&mut jobs, &mut sealed);
            let mut jobs = Vec::new();
            for ((case, brink), sealed) in cases.iter().zip(&mut brinks).zip(sealed) {
                let frame = brink.last(end(case));
                assert!(sealed == case.sealed && *frame == case.cipher[..end(case)], "{round}");
                let (associated, at, tag) = (case.associated, case.back, sealed.tag);
                jobs.push(OpenJob { context, associated, frame, at, tag });
            }
            let mut opened = [Err(BadTag { before: 0 }); 16];
            open_batch(&mut jobs, &mut opened);
            for ((case, brink), opened) in cases.iter().zip(&mut brinks).zip(opened) {
                assert_eq!(opened, case.outcome(false), "{round} {:?}", case.back);
                assert!(*brink.last(end(case)) == case.opened[..end(case)], "{round}");
            }
        }
    });
}

#[test]
fn other_keys_equal_the_model() {
    each_kernel(|kernel| {
        let mut random = Random(0x5e15_0007);
        for _ in 0..500 {
            let pair = Pair::new(kernel, &random.keys());
            let len = random.below(600);
            let case = Case::new(&pair, &mut random, Payload { src: 0, dst: 16, len });
            check_single(&pair, &mut random, &case);
        }
    });
}
