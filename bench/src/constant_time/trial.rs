//! The trials: what is timed, and what differs between the two classes of its input.
//!
//! Owns: inputs. Nothing here branches on a class: one of two inputs is taken by a mask. The clock is read between
//! fences: without them what overlaps with setting up and with reading the clock is timed as well.

use std::hint::black_box;

use sekisho_cipher::{
    Associated, KeyContext, Payload, SegmentFlags, TAG_LEN, Tag, TrafficKeys, measure, open, seal,
};

/// Payload of the trials: several steps of each kernel and a rest.
const LEN: usize = 300;
/// By how much the tag option moves a payload.
const MOVE: usize = 16;
/// Octets of the two traffic keys.
const KEYS: usize = 48;
/// What the fixed class has in all octets, and both have where nothing differs.
const FIXED: u8 = 0x5a;

/// One comparison of two classes.
pub(super) struct Trial {
    /// What is timed, and what differs.
    pub(super) name: String,
    /// Whether it is the control, which is to be found out.
    pub(super) leaks: bool,
    random: Random,
    timed: Box<dyn Timed>,
}

/// Something to be timed.
trait Timed {
    /// Sets up for the class whose mask is `class`: all ones or all zeros.
    fn prepare(&mut self, random: &mut Random, class: u8);
    /// What is timed.
    fn work(&mut self);
}

impl Trial {
    fn new(name: String, timed: impl Timed + 'static) -> Self {
        Self { name, leaks: false, random: Random(0x5e15_c0de), timed: Box::new(timed) }
    }

    /// One measurement: its class, at random, and its time, in the unit of [`measure::timed`].
    pub(super) fn once(&mut self) -> (usize, f64) {
        let class = (self.random.next() >> 33) as u8 & 1;
        self.timed.prepare(&mut self.random, 0_u8.wrapping_sub(class));
        let time = measure::timed(|| self.timed.work());
        (usize::from(class), time as f64)
    }
}

/// All trials, the control first.
pub(super) fn all() -> Vec<Trial> {
    let (right, first, last) = ([0; TAG_LEN], difference(0), difference(TAG_LEN - 1));
    let compare = |name: &str, equal, differences| {
        let timed = Comparing { equal, differences, one: [0; TAG_LEN], other: [0; TAG_LEN] };
        Trial::new(name.to_owned(), timed)
    };
    let control = compare("control/first-octet-or-last", leaves_early, [first, last]);
    let mut trials = vec![
        Trial { leaks: true, ..control },
        compare("tag/right-or-first-octet", measure::equal_tags, [right, first]),
        compare("tag/right-or-last-octet", measure::equal_tags, [right, last]),
        compare("tag/first-octet-or-last", measure::equal_tags, [first, last]),
    ];
    for kernel in measure::kernels() {
        for task in [Task::Expand, Task::Seal, Task::Open] {
            trials.push(ciphering(kernel, task, Secret::Keys));
        }
        for task in [Task::Seal, Task::Open] {
            trials.push(ciphering(kernel, task, Secret::Payload));
        }
        trials.push(ciphering(kernel, Task::Open, Secret::Forgery));
    }
    trials
}

/// The fault that the control has and no comparison of ours may have.
fn leaves_early(one: &Tag, other: &Tag) -> bool {
    for (one, other) in one.iter().zip(other) {
        if black_box(one != other) {
            return false;
        }
    }
    true
}

fn difference(octet: usize) -> Tag {
    std::array::from_fn(|i| u8::from(i == octet))
}

/// Two tags that differ as their class says.
struct Comparing {
    equal: fn(&Tag, &Tag) -> bool,
    differences: [Tag; 2],
    one: Tag,
    other: Tag,
}

impl Timed for Comparing {
    fn prepare(&mut self, random: &mut Random, class: u8) {
        random.fill(&mut self.one);
        let [zero, one] = self.differences;
        for (i, other) in self.other.iter_mut().enumerate() {
            *other = self.one[i] ^ select(class, one[i], zero[i]);
        }
    }

    fn work(&mut self) {
        black_box((self.equal)(black_box(&self.one), black_box(&self.other)));
    }
}

#[derive(Clone, Copy)]
enum Task {
    Expand,
    Seal,
    Open,
}

/// What is fixed in one class and random in the other; of forgeries, which octet is wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Secret {
    Keys,
    Payload,
    Forgery,
}

/// A kernel at work.
struct Ciphering {
    kernel: &'static str,
    task: Task,
    secret: Secret,
    keys: TrafficKeys,
    context: KeyContext,
    frame: [u8; LEN + MOVE],
    tag: Tag,
}

fn ciphering(kernel: &'static str, task: Task, secret: Secret) -> Trial {
    let does = match task {
        Task::Expand => "expand",
        Task::Seal => "seal",
        Task::Open => "open",
    };
    let differs = match secret {
        Secret::Keys => "fixed-or-random-key",
        Secret::Payload => "fixed-or-random-payload",
        Secret::Forgery => "forged-first-octet-or-last",
    };
    let keys = fixed_keys();
    let context = expand(kernel, &keys);
    let frame = [FIXED; LEN + MOVE];
    let tag = [0; TAG_LEN];
    let timed = Ciphering { kernel, task, secret, keys, context, frame, tag };
    Trial::new(format!("{kernel}/{does}/{differs}"), timed)
}

fn fixed_keys() -> TrafficKeys {
    TrafficKeys::from_bytes(&[FIXED; 32], &[FIXED ^ 0xff; 16])
}

fn expand(kernel: &str, keys: &TrafficKeys) -> KeyContext {
    measure::context(kernel, keys).expect("invariant: the kernel is one of this CPU's")
}

fn associated() -> Associated {
    Associated { offset: 1, flags: SegmentFlags::default(), phase: 0 }
}

impl Ciphering {
    fn at(&self, pass: Task) -> Payload {
        let (near, far, len) = (0, MOVE as u16, LEN as u16);
        match pass {
            Task::Open => Payload { src: far, dst: near, len },
            Task::Seal | Task::Expand => Payload { src: near, dst: far, len },
        }
    }
}

impl Timed for Ciphering {
    fn prepare(&mut self, random: &mut Random, class: u8) {
        let mut octets = [0; KEYS + LEN];
        random.fill(&mut octets);
        let (keys, payload) = octets.split_at_mut(KEYS);
        let varies = |secret| select(mask(self.secret == secret), class, 0);
        keys.iter_mut().for_each(|octet| *octet = select(varies(Secret::Keys), *octet, FIXED));
        for octet in payload.iter_mut() {
            *octet = select(varies(Secret::Payload), *octet, FIXED);
        }
        let (aes, hash) = keys.split_at(32);
        let (mut key, mut hash_key) = ([0; 32], [0; 16]);
        key.copy_from_slice(aes);
        hash_key.copy_from_slice(hash);
        self.keys = TrafficKeys::from_bytes(&key, &hash_key);
        self.context = expand(self.kernel, &self.keys);
        self.frame[..LEN].copy_from_slice(payload);
        if let Task::Open = self.task {
            let at = self.at(Task::Seal);
            self.tag = seal(&self.context, &associated(), &mut self.frame, at).tag;
            let forged = mask(self.secret == Secret::Forgery);
            self.tag[0] ^= forged & !class & 1;
            self.tag[TAG_LEN - 1] ^= forged & class & 1;
        }
    }

    fn work(&mut self) {
        let at = self.at(self.task);
        match self.task {
            Task::Expand => _ = black_box(&expand(self.kernel, &self.keys)),
            Task::Seal => {
                let _ = black_box(seal(&self.context, &associated(), &mut self.frame, at));
            }
            Task::Open => {
                let opened = open(&self.context, &associated(), &mut self.frame, at, &self.tag);
                _ = black_box(opened);
            }
        }
    }
}

/// `one` where `mask` is all ones, `other` where it is all zeros.
fn select(mask: u8, one: u8, other: u8) -> u8 {
    other ^ (black_box(mask) & (one ^ other))
}

fn mask(yes: bool) -> u8 {
    0_u8.wrapping_sub(u8::from(yes))
}

/// Seeded and quick; no secret comes from it.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn fill(&mut self, octets: &mut [u8]) {
        for part in octets.chunks_mut(8) {
            part.copy_from_slice(&self.next().to_le_bytes()[..part.len()]);
        }
    }
}
