//! Vectors of the spec, and properties that every implementation of seal and open must have.

use proptest::prelude::*;
use serde::Deserialize;

use crate::sum::sum;
use crate::{
    Associated, BadTag, KeyContext, Payload, Sealed, SegmentFlags, Sums, Tag, TrafficKeys, open,
    seal,
};

#[derive(Deserialize)]
struct Vectors {
    schema: u32,
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    key: String,
    hash_key: String,
    offset: String,
    fin: bool,
    rst: bool,
    phase: u8,
    plaintext: String,
    ciphertext: String,
    tag: String,
}

fn context(aes: &[u8; 32], ghash: &[u8; 16]) -> KeyContext {
    KeyContext::new(&TrafficKeys::from_bytes(aes, ghash))
}

fn some_context() -> KeyContext {
    context(&[0x42; 32], &[0x17; 16])
}

fn at(offset: u64) -> Associated {
    Associated { offset, flags: SegmentFlags::default(), phase: 0 }
}

/// Seals a payload in place, in a frame of its own.
fn sealed(ctx: &KeyContext, a: &Associated, plaintext: &[u8]) -> (Vec<u8>, Tag) {
    let mut frame = plaintext.to_vec();
    let len = u16::try_from(plaintext.len()).unwrap();
    let sealed = seal(ctx, a, &mut frame, Payload { src: 0, dst: 0, len });
    assert_eq!(sealed.sums, Sums { before: sum(plaintext), after: sum(&frame) });
    (frame, sealed.tag)
}

/// The tag did not verify; the sum has been looked at.
#[derive(Debug, PartialEq, Eq)]
struct Refused;

/// Opens a ciphertext in place; what is left in the frame comes back either way.
fn opened(
    ctx: &KeyContext,
    a: &Associated,
    ciphertext: &[u8],
    tag: &Tag,
) -> (Vec<u8>, Result<(), Refused>) {
    let mut frame = ciphertext.to_vec();
    let len = u16::try_from(ciphertext.len()).unwrap();
    let before = sum(ciphertext);
    let result = match open(ctx, a, &mut frame, Payload { src: 0, dst: 0, len }, tag) {
        Ok(sums) => {
            assert_eq!(sums, Sums { before, after: sum(&frame) });
            Ok(())
        }
        Err(bad) => {
            assert_eq!(bad, BadTag { before });
            Err(Refused)
        }
    };
    (frame, result)
}

/// M3.5, M3.6.
#[test]
fn vectors() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/vectors/protection.json");
    let text = std::fs::read_to_string(path).unwrap();
    let file: Vectors = serde_json::from_str(&text).unwrap();
    assert_eq!(file.schema, 1);
    assert!(file.vectors.len() >= 13, "vectors are missing");
    for v in &file.vectors {
        let ctx = context(
            &hex::decode(&v.key).unwrap().try_into().unwrap(),
            &hex::decode(&v.hash_key).unwrap().try_into().unwrap(),
        );
        let offset = u64::from_str_radix(v.offset.strip_prefix("0x").unwrap(), 16).unwrap();
        let flags = SegmentFlags { fin: v.fin, rst: v.rst };
        let a = Associated { offset, flags, phase: v.phase };
        let plaintext = hex::decode(&v.plaintext).unwrap();

        let (ciphertext, tag) = sealed(&ctx, &a, &plaintext);
        assert_eq!(hex::encode(&ciphertext), v.ciphertext, "{}", v.name);
        assert_eq!(hex::encode(tag), v.tag, "{}", v.name);
        let (back, result) = opened(&ctx, &a, &ciphertext, &tag);
        assert_eq!((back, result), (plaintext, Ok(())), "{}", v.name);
    }
}

/// The vector of the design, spelt out: the one that must hold if the file is ever regenerated.
#[test]
fn the_payment() {
    let ctx = context(
        &std::array::from_fn(|i| u8::try_from(i).unwrap()),
        &std::array::from_fn(|i| 0x80 + u8::try_from(i).unwrap()),
    );
    let a = Associated {
        offset: 0x1_0000_0005,
        flags: SegmentFlags { fin: true, rst: false },
        phase: 1,
    };
    let (ciphertext, tag) = sealed(&ctx, &a, b"pay 100 eur");
    assert_eq!(hex::encode(ciphertext), "c65fea19a72b8926ce494f");
    assert_eq!(hex::encode(tag), "364d7cff0ce1c3742573ab0b");
}

/// M3.7: whatever the hash and the tag have in their top bits.
#[test]
fn one_use_of_the_key_never_meets_the_other() {
    use aes::cipher::{BlockCipherEncrypt, KeyInit};
    use ghash::universal_hash::UniversalHash;

    let aes = aes::Aes256::new(&[0x42; 32].into());
    let mut bits = [0; 4];
    for n in 0..64u8 {
        let (a, plaintext) = (at(n.into()), [n; 16]);
        let mut hash = ghash::GHash::new(&[0x17; 16].into());
        hash.update(&[a.block(16).into(), plaintext.into()]);
        let mut block = hash.finalize();
        let hash_bit = block[0] >> 7;
        block[0] &= 0x7f;
        aes.encrypt_block(&mut block);
        let expected = block;
        bits[usize::from(hash_bit << 1 | expected[0] >> 7)] += 1;
        block[0] |= 0x80;
        block[12..].copy_from_slice(&u32::from(n).to_be_bytes());
        aes.encrypt_block(&mut block);
        let (ciphertext, tag) = sealed(&some_context(), &a, &plaintext);
        assert_eq!(tag[..], expected[..12]);
        assert!(ciphertext.iter().zip(&block).all(|(c, k)| *c == k ^ n));
    }
    assert!(bits.iter().all(|&count| count > 4), "every combination: {bits:?}");
}

/// M3.4.
#[test]
fn associated_block() {
    let a = Associated {
        offset: 0x0102_0304_0506_0708,
        flags: SegmentFlags { fin: true, rst: true },
        phase: 1,
    };
    assert_eq!(a.block(0x0a0b), [1, 2, 3, 4, 5, 6, 7, 8, 0x0a, 0x0b, 3, 1, 0, 0, 0, 0]);
}

#[test]
fn the_longest_payload_makes_the_round() {
    let ctx = some_context();
    let plaintext = vec![0xa5; usize::from(u16::MAX)];
    let (ciphertext, tag) = sealed(&ctx, &at(u64::MAX - 7), &plaintext);
    assert_eq!(opened(&ctx, &at(u64::MAX - 7), &ciphertext, &tag), (plaintext, Ok(())));
}

#[test]
fn the_two_directions_do_not_open_each_other() {
    let (up, down) = (context(&[1; 32], &[2; 16]), context(&[3; 32], &[4; 16]));
    let (ciphertext, tag) = sealed(&up, &at(0), b"reflected");
    assert_eq!(opened(&down, &at(0), &ciphertext, &tag).1, Err(Refused));
    // Each half of the key matters by itself.
    for other in [context(&[1; 32], &[4; 16]), context(&[3; 32], &[2; 16])] {
        assert_eq!(opened(&other, &at(0), &ciphertext, &tag).1, Err(Refused));
    }
}

fn associated() -> impl Strategy<Value = Associated> {
    (any::<u64>(), any::<bool>(), any::<bool>(), 0..=1u8).prop_map(|(offset, fin, rst, phase)| {
        Associated { offset, flags: SegmentFlags { fin, rst }, phase }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Hazard 13: any borders, overlaps and order; every segment opens and the stream is whole.
    #[test]
    fn round_trip_over_any_segmentation(
        stream in prop::collection::vec(any::<u8>(), 1..4000),
        base in any::<u32>(),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 1..1449usize), 1..24),
    ) {
        let ctx = some_context();
        let base = u64::from(base) << 8;
        let mut received = vec![None; stream.len()];
        for (start, len) in &cuts {
            let start = start.index(stream.len());
            let end = (start + len).min(stream.len());
            let a = at(base + start as u64);
            let (ciphertext, tag) = sealed(&ctx, &a, &stream[start..end]);
            let (plaintext, result) = opened(&ctx, &a, &ciphertext, &tag);
            prop_assert_eq!(result, Ok(()));
            for (place, octet) in received[start..end].iter_mut().zip(plaintext) {
                *place = Some(octet);
            }
        }
        for (octet, received) in stream.iter().zip(received) {
            prop_assert!(received.is_none_or(|r| r == *octet));
        }
    }

    /// Moving by any distance touches nothing but the two places, and gives the same bytes.
    #[test]
    fn moving_is_only_moving(
        plaintext in prop::collection::vec(any::<u8>(), 0..300),
        src in 0..64u16,
        dst in 0..64u16,
        a in associated(),
    ) {
        let ctx = some_context();
        let len = u16::try_from(plaintext.len()).unwrap();
        let (expected, expected_tag) = sealed(&ctx, &a, &plaintext);

        let place = |start: u16| usize::from(start)..usize::from(start + len);
        let mut frame = vec![0xee; 64 + plaintext.len()];
        frame[place(src)].copy_from_slice(&plaintext);
        let Sealed { tag, sums } = seal(&ctx, &a, &mut frame, Payload { src, dst, len });
        prop_assert_eq!(tag, expected_tag);
        prop_assert_eq!(&frame[place(dst)], &expected[..]);
        for (i, octet) in frame.iter().enumerate() {
            if !place(src).contains(&i) && !place(dst).contains(&i) {
                prop_assert_eq!(*octet, 0xee);
            }
        }

        let back = Sums { before: sums.after, after: sums.before };
        prop_assert_eq!(open(&ctx, &a, &mut frame, Payload { src: dst, dst: src, len }, &tag), Ok(back));
        prop_assert_eq!(&frame[place(src)], &plaintext[..]);
    }

    /// Any forged bit is found, and nothing that was decrypted is left behind.
    #[test]
    fn forged_bits_are_rejected(
        plaintext in prop::collection::vec(any::<u8>(), 1..200),
        a in associated(),
        bit in any::<prop::sample::Index>(),
    ) {
        let ctx = some_context();
        let (ciphertext, tag) = sealed(&ctx, &a, &plaintext);

        let mut forged = ciphertext.clone();
        let flip = bit.index(8 * forged.len());
        forged[flip / 8] ^= 1 << (flip % 8);
        let (left, result) = opened(&ctx, &a, &forged, &tag);
        prop_assert_eq!(result, Err(Refused));
        prop_assert!(left.iter().all(|octet| *octet == 0));

        let mut forged = tag;
        let flip = bit.index(8 * forged.len());
        forged[flip / 8] ^= 1 << (flip % 8);
        prop_assert_eq!(opened(&ctx, &a, &ciphertext, &forged).1, Err(Refused));
    }

    /// Everything in `A` is covered: offset, FIN, RST, phase and length.
    #[test]
    fn forged_association_is_rejected(
        plaintext in prop::collection::vec(any::<u8>(), 0..200),
        a in associated(),
        bit in 0..64u32,
    ) {
        let ctx = some_context();
        let (ciphertext, tag) = sealed(&ctx, &a, &plaintext);
        let fin = SegmentFlags { fin: !a.flags.fin, ..a.flags };
        let rst = SegmentFlags { rst: !a.flags.rst, ..a.flags };
        for other in [
            Associated { offset: a.offset ^ 1 << bit, ..a },
            Associated { flags: fin, ..a },
            Associated { flags: rst, ..a },
            Associated { phase: a.phase ^ 1, ..a },
        ] {
            prop_assert_eq!(opened(&ctx, &other, &ciphertext, &tag).1, Err(Refused));
        }
        let longer = [&ciphertext[..], &[0]].concat();
        prop_assert_eq!(opened(&ctx, &a, &longer, &tag).1, Err(Refused));
        if let Some((_, shorter)) = ciphertext.split_last() {
            prop_assert_eq!(opened(&ctx, &a, shorter, &tag).1, Err(Refused));
        }
    }

    /// Hazard 36: the same offset with other bytes never meets the same keystream.
    #[test]
    fn other_bytes_at_one_offset_get_another_keystream(
        plaintext in prop::collection::vec(any::<u8>(), 16..200),
        a in associated(),
        bit in any::<prop::sample::Index>(),
    ) {
        let ctx = some_context();
        let mut changed = plaintext.clone();
        let flip = bit.index(8 * changed.len());
        changed[flip / 8] ^= 1 << (flip % 8);

        let (one, one_tag) = sealed(&ctx, &a, &plaintext);
        let (two, two_tag) = sealed(&ctx, &a, &changed);
        prop_assert_ne!(one_tag, two_tag);
        let keystream = |c: &[u8], p: &[u8]| -> Vec<u8> {
            c.iter().zip(p).map(|(c, p)| c ^ p).collect()
        };
        let (one, two) = (keystream(&one, &plaintext), keystream(&two, &changed));
        for (one, two) in one.chunks_exact(16).zip(two.chunks_exact(16)) {
            prop_assert_ne!(one, two);
        }
    }

    /// A segment sent again as it was is the same on the wire: it tells an observer nothing new.
    #[test]
    fn equal_input_gives_an_equal_segment(
        plaintext in prop::collection::vec(any::<u8>(), 0..200),
        a in associated(),
    ) {
        let ctx = some_context();
        prop_assert_eq!(sealed(&ctx, &a, &plaintext), sealed(&ctx, &a, &plaintext));
    }
}
