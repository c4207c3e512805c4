//! The kernel against the model.

use super::{Available, Context};
use crate::model;
use crate::segment::{Associated, BadTag, Payload, SegmentFlags, Sums};
use crate::sum::sum;

const AES: [u8; 32] = *b"an AES key of 32 octets, no less";
const HASH: [u8; 16] = *b"a key for GHASH.";
/// Octets of frame behind the payload, to see that nothing else is written.
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
}

struct Pair {
    fast: Context,
    model: model::Context,
}

/// Both contexts, or a visible skip where the CPU has no such instructions.
fn pair() -> Option<Pair> {
    let Some(available) = Available::detect() else {
        eprintln!("SKIPPED: this CPU has no VAES-512");
        return None;
    };
    let fast = Context::new(available, &AES, &HASH);
    Some(Pair { fast, model: model::Context::new(&AES, &HASH) })
}

/// Seals and opens with both in one frame's place, and compares all of the frame.
fn compare(pair: &Pair, random: &mut Random, a: &Associated, at: Payload) {
    let end = usize::from(at.src.max(at.dst)) + usize::from(at.len) + MARGIN;
    let mut fast: Vec<u8> = (0..end).map(|_| random.next() as u8).collect();
    let mut slow = fast.clone();
    let back = Payload { src: at.dst, dst: at.src, len: at.len };

    let plain = sum(&fast[usize::from(at.src)..][..usize::from(at.len)]);
    let sealed = super::seal(&pair.fast, a, &mut fast, at);
    let tag = sealed.tag;
    assert_eq!(sealed, model::seal(&pair.model, a, &mut slow, at), "tag, {a:?} {at:?}");
    let sums = sealed.sums;
    assert_eq!(sums.before, plain);
    assert_eq!(sums.after, sum(&fast[usize::from(at.dst)..][..usize::from(at.len)]));
    assert_eq!(fast, slow, "sealed, {a:?} {at:?}");

    let (mut forged, mut forged_slow) = (fast.clone(), fast.clone());
    let mut wrong = tag;
    wrong[usize::from(random.below(12))] ^= 1 << random.below(8);
    let refused = Err(BadTag { before: sums.after });
    assert_eq!(super::open(&pair.fast, a, &mut forged, back, &wrong), refused);
    assert_eq!(model::open(&pair.model, a, &mut forged_slow, back, &wrong), refused);
    assert_eq!(forged, forged_slow, "refused, {a:?} {at:?}");

    let sums = Sums { before: sums.after, after: sums.before };
    assert_eq!(super::open(&pair.fast, a, &mut fast, back, &tag), Ok(sums), "{a:?} {at:?}");
    assert_eq!(model::open(&pair.model, a, &mut slow, back, &tag), Ok(sums));
    assert_eq!(fast, slow, "opened, {a:?} {at:?}");
}

fn some_associated(random: &mut Random) -> Associated {
    let bits = random.next();
    let flags = SegmentFlags { fin: bits & 1 != 0, rst: bits & 2 != 0 };
    Associated { offset: random.next(), flags, phase: (bits >> 2 & 1) as u8 }
}

#[test]
fn every_length_alignment_and_move_equals_the_model() {
    let Some(pair) = pair() else { return };
    let mut random = Random(0x5e15_0001);
    for len in 0..=2048 {
        for start in [0, 1, 7, 34 + len % 64, 63] {
            let a = some_associated(&mut random);
            let src = start + 16;
            for dst in [start, src, src + 16] {
                compare(&pair, &mut random, &a, Payload { src, dst, len });
            }
        }
    }
}

#[test]
fn any_distance_and_longer_payloads_equal_the_model() {
    let Some(pair) = pair() else { return };
    let mut random = Random(0x5e15_0002);
    for _ in 0..2000 {
        let a = some_associated(&mut random);
        let (src, dst, len) = (random.below(700), random.below(700), random.below(3401));
        compare(&pair, &mut random, &a, Payload { src, dst, len });
    }
    compare(
        &pair,
        &mut random,
        &Associated { offset: 3, flags: SegmentFlags::default(), phase: 1 },
        Payload { src: 0, dst: 0, len: u16::MAX - 64 },
    );
}

#[test]
fn counters_wrap_at_32_bits_as_the_model_says() {
    let Some(pair) = pair() else { return };
    let mut random = Random(0x5e15_0003);
    for before in 0..70 {
        for epoch in [1, 2, 1 << 32] {
            let offset = u64::wrapping_sub(epoch << 32, before);
            let a = Associated { offset, flags: SegmentFlags::default(), phase: 0 };
            let len = 1000 + random.below(300);
            compare(&pair, &mut random, &a, Payload { src: 16, dst: 0, len });
        }
    }
}

#[test]
fn other_keys_equal_the_model() {
    let Some(available) = Available::detect() else { return };
    let mut random = Random(0x5e15_0004);
    for _ in 0..500 {
        let aes: [u8; 32] = std::array::from_fn(|_| random.next() as u8);
        let hash: [u8; 16] = std::array::from_fn(|_| random.next() as u8);
        let fast = Context::new(available, &aes, &hash);
        let pair = Pair { fast, model: model::Context::new(&aes, &hash) };
        let a = some_associated(&mut random);
        let len = random.below(600);
        compare(&pair, &mut random, &a, Payload { src: 0, dst: 16, len });
    }
}
