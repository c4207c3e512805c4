//! Known answers of NIST and Wycheproof, led through seal and open of every kernel.
//!
//! Owns: the way from a vector of AES, CTR or GCM to a segment whose tag or ciphertext follows from it
//! (docs/vectors/external/README.md). Not: vectors of our own, which are in `model::tests`.
//!
//! The helpers here use the crate `aes` and a bitwise product, never a kernel; whatever they got wrong
//! would not meet the published octets.

mod field;

use aes::Aes256;
use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::kernel::{Kernel, kernels};
use crate::{
    Associated, BATCH, BadTag, KeyContext, OpenJob, Payload, SealJob, Sealed, SegmentFlags,
    TAG_LEN, Tag, TrafficKeys, open, open_batch, seal, seal_batch,
};
use field::{UNIT, hash, multiply};

/// The bit that counter blocks have set and tag inputs clear (M3.7), in a big-endian value.
const USE_BIT: u128 = 1 << 127;

#[derive(Deserialize)]
struct File<T> {
    schema: u32,
    vectors: Vec<T>,
}

#[derive(Deserialize)]
struct Ecb {
    name: String,
    key: String,
    plaintext: String,
    ciphertext: String,
}

#[derive(Deserialize)]
struct Ctr {
    name: String,
    key: String,
    counter: String,
    plaintext: String,
    ciphertext: String,
}

#[derive(Deserialize)]
struct Gcm {
    name: String,
    key: String,
    iv: String,
    aad: String,
    plaintext: String,
    ciphertext: String,
    tag: String,
    valid: bool,
}

/// A segment that must seal to a known tag and a known beginning of ciphertext.
struct Case {
    name: String,
    keys: [u8; 32],
    hash_key: u128,
    a: Associated,
    plaintext: Vec<u8>,
    tag: Tag,
    sealed: Vec<u8>,
    /// What an attacker would make of the tag; it must not open.
    forged: Option<Tag>,
}

impl Case {
    fn context(&self, kernel: Kernel) -> KeyContext {
        let keys = TrafficKeys::from_bytes(&self.keys, &self.hash_key.to_be_bytes());
        KeyContext::for_kernel(kernel, &keys)
    }

    fn len(&self) -> u16 {
        u16::try_from(self.plaintext.len()).unwrap()
    }

    /// A frame with the payload in its place before sealing, room for the move behind.
    fn frame(&self) -> Vec<u8> {
        [&self.plaintext[..], &[0; 16]].concat()
    }
}

fn read<T: DeserializeOwned>(name: &str) -> Vec<T> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/vectors/external");
    let text = std::fs::read_to_string(format!("{folder}/{name}")).unwrap();
    let file: File<T> = serde_json::from_str(&text).unwrap();
    assert_eq!(file.schema, 1);
    file.vectors
}

fn bytes(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

fn key(text: &str) -> [u8; 32] {
    bytes(text).try_into().unwrap()
}

fn block(bytes: &[u8]) -> u128 {
    u128::from_be_bytes(bytes.try_into().unwrap())
}

fn encrypt(key: &[u8; 32], input: u128) -> u128 {
    let mut block = input.to_be_bytes().into();
    Aes256::new(&(*key).into()).encrypt_block(&mut block);
    u128::from_be_bytes(block.into())
}

fn decrypt(key: &[u8; 32], input: u128) -> u128 {
    let mut block = input.to_be_bytes().into();
    Aes256::new(&(*key).into()).decrypt_block(&mut block);
    u128::from_be_bytes(block.into())
}

fn tag(block: u128) -> Tag {
    let mut tag = [0; TAG_LEN];
    tag.copy_from_slice(&block.to_be_bytes()[..TAG_LEN]);
    tag
}

fn associated(offset: u64) -> Associated {
    Associated { offset, flags: SegmentFlags { fin: true, rst: false }, phase: 1 }
}

fn xor(one: &[u8], other: &[u8]) -> Vec<u8> {
    assert_eq!(one.len(), other.len());
    one.iter().zip(other).map(|(one, other)| one ^ other).collect()
}

/// `AES_K(input)` seen through the tag: one block of payload hashes to `input` under the unit.
fn through_tag(name: &str, keys: [u8; 32], input: u128, output: u128) -> Case {
    assert_eq!(input & USE_BIT, 0);
    let a = associated(7);
    let plaintext = input ^ block(&a.block(16));
    Case {
        name: format!("{name}, through the tag"),
        keys,
        hash_key: UNIT,
        a,
        plaintext: plaintext.to_be_bytes().to_vec(),
        tag: tag(output),
        sealed: Vec::new(),
        forged: None,
    }
}

/// A keystream that begins with the block `counter`: the payload is zeros and one block more, chosen
/// so that the tag becomes the first 12 octets of `counter`, in some cases without the use bit, which
/// the kernel has to set.
fn through_keystream(name: &str, keys: [u8; 32], counter: u128, keystream: Vec<u8>) -> Case {
    assert_ne!(counter & USE_BIT, 0);
    let a = associated(counter as u64 & 0xffff_ffff);
    let clear = if counter.count_ones().is_multiple_of(2) { USE_BIT } else { 0 };
    let output = counter >> 32 << 32 & !clear;
    let input = (0_u32..)
        .map(|rest| decrypt(&keys, output | u128::from(rest)))
        .find(|input| input & USE_BIT == 0)
        .unwrap();
    let zeros = keystream.len().next_multiple_of(16);
    let last = input ^ block(&a.block(u16::try_from(zeros + 16).unwrap()));
    let mut plaintext = vec![0; zeros];
    plaintext.extend(last.to_be_bytes());
    Case {
        name: format!("{name}, through the keystream"),
        keys,
        hash_key: UNIT,
        a,
        plaintext,
        tag: tag(output),
        sealed: keystream,
        forged: None,
    }
}

fn ecb_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for v in read::<Ecb>("nist-aes-256-ecb.json") {
        let (input, output) = (bytes(&v.plaintext), bytes(&v.ciphertext));
        for (input, output) in input.chunks(16).zip(output.chunks(16)) {
            let counter = block(input);
            cases.push(if counter & USE_BIT == 0 {
                through_tag(&v.name, key(&v.key), counter, block(output))
            } else {
                through_keystream(&v.name, key(&v.key), counter, output.to_vec())
            });
        }
    }
    cases
}

fn ctr_cases() -> Vec<Case> {
    read::<Ctr>("nist-aes-256-ctr.json")
        .iter()
        .map(|v| {
            let keystream = xor(&bytes(&v.plaintext), &bytes(&v.ciphertext));
            through_keystream(&v.name, key(&v.key), block(&bytes(&v.counter)), keystream)
        })
        .collect()
}

/// What GCM hashes: associated data and ciphertext, each padded, and their lengths in bits.
fn hashed(aad: &[u8], ciphertext: &[u8]) -> Vec<u8> {
    let mut out = aad.to_vec();
    out.resize(out.len().next_multiple_of(16), 0);
    out.extend(ciphertext);
    out.resize(out.len().next_multiple_of(16), 0);
    out.extend((8 * aad.len() as u64).to_be_bytes());
    out.extend((8 * ciphertext.len() as u64).to_be_bytes());
    out
}

/// The counter block before the first of the keystream (SP 800-38D, 7.1).
fn first_counter(hash_key: u128, iv: &[u8]) -> u128 {
    if iv.len() == 12 {
        return block(&[iv, &[0, 0, 0, 1]].concat());
    }
    let mut padded = iv.to_vec();
    padded.resize(iv.len().next_multiple_of(16), 0);
    padded.extend((8 * iv.len() as u128).to_be_bytes());
    hash(hash_key, &padded)
}

/// The payload is what GCM hashed; its GHASH is the published tag without its mask.
fn through_hash(v: &Gcm, hash_key: u128, mask: u128) -> Case {
    let keys = key(&v.key);
    let payload = hashed(&bytes(&v.aad), &bytes(&v.ciphertext));
    let a = associated(payload.len() as u64 * 0x0101_0101);
    let published = block(&bytes(&v.tag));
    let right = if v.valid { published } else { hash(hash_key, &payload) ^ mask };
    // The hash of a segment has the block `A` in front, which adds A · H^(blocks + 1).
    let lead = (0..=payload.len() / 16)
        .fold(block(&a.block(u16::try_from(payload.len()).unwrap())), |product, _| {
            multiply(product, hash_key)
        });
    let expected = tag(encrypt(&keys, (right ^ mask ^ lead) & !USE_BIT));
    let difference = tag(published ^ right);
    let forged: Tag = std::array::from_fn(|i| expected[i] ^ difference[i]);
    Case {
        name: format!("{}, through the hash", v.name),
        keys,
        hash_key,
        a,
        plaintext: payload,
        tag: expected,
        sealed: Vec::new(),
        // A bit flipped behind the twelfth octet is in no tag of ours.
        forged: (forged != expected).then_some(forged),
    }
}

fn gcm_cases(file: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    for v in read::<Gcm>(file) {
        let keys = key(&v.key);
        let hash_key = encrypt(&keys, 0);
        let before = first_counter(hash_key, &bytes(&v.iv));
        cases.push(through_hash(&v, hash_key, encrypt(&keys, before)));
        let first = before >> 32 << 32 | u128::from((before as u32).wrapping_add(1));
        if v.valid && first & USE_BIT != 0 {
            let keystream = xor(&bytes(&v.plaintext), &bytes(&v.ciphertext));
            cases.push(through_keystream(&v.name, keys, first, keystream));
        }
    }
    cases
}

/// Seals, opens and refuses each case by itself.
fn check(kernel: Kernel, case: &Case) {
    let (ctx, name) = (case.context(kernel), &case.name);
    let at = Payload { src: 0, dst: 16, len: case.len() };
    let back = Payload { src: 16, dst: 0, len: case.len() };
    let mut frame = case.frame();
    assert_eq!(seal(&ctx, &case.a, &mut frame, at).tag, case.tag, "{kernel:?}: {name}");
    assert_eq!(frame[16..16 + case.sealed.len()], case.sealed, "{kernel:?}: {name}");
    if let Some(forged) = &case.forged {
        let mut frame = frame.clone();
        assert!(open(&ctx, &case.a, &mut frame, back, forged).is_err(), "{kernel:?}: {name}");
    }
    assert!(open(&ctx, &case.a, &mut frame, back, &case.tag).is_ok(), "{kernel:?}: {name}");
    assert_eq!(frame[..case.plaintext.len()], case.plaintext, "{kernel:?}: {name}");
}

/// The same in batches, neighbours with other keys and lengths; every other job is forged.
fn check_batch(kernel: Kernel, cases: &[Case]) {
    let contexts: Vec<KeyContext> = cases.iter().map(|case| case.context(kernel)).collect();
    let mut frames: Vec<Vec<u8>> = cases.iter().map(Case::frame).collect();
    let pairs = || contexts.iter().zip(cases);
    let at = |case: &Case| Payload { src: 0, dst: 16, len: case.len() };
    let back = |case: &Case| Payload { src: 16, dst: 0, len: case.len() };

    let mut jobs: Vec<SealJob<'_>> = pairs()
        .zip(&mut frames)
        .map(|((context, case), frame)| SealJob {
            context,
            associated: case.a,
            frame,
            at: at(case),
        })
        .collect();
    let mut sealed = vec![Sealed::default(); cases.len()];
    seal_batch(&mut jobs, &mut sealed);
    for ((case, sealed), frame) in cases.iter().zip(&sealed).zip(&frames) {
        assert_eq!(sealed.tag, case.tag, "{kernel:?} batch: {}", case.name);
        let start = &frame[16..16 + case.sealed.len()];
        assert_eq!(start, case.sealed, "{kernel:?} batch: {}", case.name);
    }

    let tag = |index: usize, case: &Case| match case.forged {
        Some(forged) if index.is_multiple_of(2) => forged,
        _ => case.tag,
    };
    let mut jobs: Vec<OpenJob<'_>> = pairs()
        .zip(&mut frames)
        .enumerate()
        .map(|(index, ((context, case), frame))| {
            let tag = tag(index, case);
            OpenJob { context, associated: case.a, frame, at: back(case), tag }
        })
        .collect();
    let mut opened = vec![Err(BadTag { before: 0 }); cases.len()];
    open_batch(&mut jobs, &mut opened);
    for (index, ((case, opened), frame)) in cases.iter().zip(&opened).zip(&frames).enumerate() {
        let right = tag(index, case) == case.tag;
        assert_eq!(opened.is_ok(), right, "{kernel:?} batch: {}", case.name);
        let plaintext = &frame[..case.plaintext.len()];
        assert_eq!(plaintext == case.plaintext, right, "{kernel:?} batch: {}", case.name);
    }
}

fn check_all(cases: &[Case]) {
    for kernel in kernels() {
        let kernel = Kernel::named(kernel).unwrap();
        cases.iter().for_each(|case| check(kernel, case));
        cases.chunks(BATCH).for_each(|cases| check_batch(kernel, cases));
    }
}

fn count(cases: &[Case], what: &str) -> usize {
    cases.iter().filter(|case| case.name.ends_with(what)).count()
}

#[test]
fn the_block_cipher_gives_the_answers_of_nist() {
    let cases = ecb_cases();
    assert_eq!((count(&cases, "tag"), count(&cases, "keystream")), (302, 158));
    check_all(&cases);
}

#[test]
fn the_keystream_gives_the_answer_of_nist() {
    let cases = ctr_cases();
    assert_eq!(cases.len(), 1);
    check_all(&cases);
}

#[test]
fn hash_and_keystream_give_the_answers_of_nist_for_gcm() {
    let cases = gcm_cases("nist-aes-256-gcm.json");
    assert_eq!((count(&cases, "hash"), count(&cases, "keystream")), (150, 68));
    check_all(&cases);
}

#[test]
fn hash_and_keystream_give_the_answers_of_wycheproof() {
    let cases = gcm_cases("wycheproof-aes-256-gcm.json");
    assert_eq!((count(&cases, "hash"), count(&cases, "keystream")), (103, 31));
    assert_eq!(cases.iter().filter(|case| case.forged.is_some()).count(), 20);
    let wraps = cases.iter().filter(|case| case.name.contains("CounterWrap"));
    assert_eq!(wraps.filter(|case| case.name.ends_with("keystream")).count(), 3);
    check_all(&cases);
}
