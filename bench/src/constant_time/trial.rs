//! The trials: what is timed, and what differs between the two classes of its input.
//!
//! Owns: inputs. Where two classes differ, it must be what is timed that made the difference (docs/testing.md has what
//! was seen without some of these):
//!
//! * A round of measurements is set up before the first of them is timed. What setting up leaves in the CPU is then
//!   the work of both classes, and between two times neither a branch nor an address nor a register knows a class.
//! * Setting up takes the same steps for both classes, or their branches stand in the CPU's history later.
//! * Offsets are random in both classes, and so are tags and ciphertext: what everybody sees may not tell classes apart.
//! * The first time of a round does not count: its branches are predicted from those of setting up.
//! * Before each time stands a pause of random length. The counter moves on in steps (26 ticks, 10 ns, on one CPU), and
//!   where in a step a time begins must not follow from how long setting up took.
//! * The stack that setting up has used is overwritten. What is timed has its own elsewhere each time, and its keys and
//!   frames too: what a load that runs ahead takes for an address, by mistake, depends on what lies where.
//! * The clock is read between fences, or what overlaps with the pause and with reading the clock is timed as well.

use std::hint::black_box;

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use sekisho_cipher::{
    Associated, BadTag, KeyContext, OpenJob, Payload, SealJob, Sealed, SegmentFlags, Sums, TAG_LEN,
    Tag, TrafficKeys, measure, open_batch, seal_batch,
};
use subtle::{Choice, ConditionallySelectable};

/// Payload of a segment by itself: longer than short ones, not a whole number of blocks.
pub(super) const LEN: usize = 300;
/// Payloads of a batch: two that go one behind the other, and three short ones that go side by side.
const BATCH: [usize; 5] = [LEN, LEN, 64, 40, 17];
/// By how much the tag option moves a payload.
const MOVE: usize = 16;
/// Octets of the two traffic keys.
const KEYS: usize = 48;
/// Measurements that are set up together, with the one that does not count: about as many as stay in the first cache.
const SET_UP: usize = 1 + ROUND;
/// Those of them that count.
pub(super) const ROUND: usize = 8;
/// Places that they are taken from, each time others: no two lie in the cache as in every other round.
const POOL: usize = 32;
/// Octets of stack that setting up uses, and more.
const STACK: usize = 8192;
/// Places of the stack, some 100 octets apart: over all lines of the first cache.
const DEPTHS: u8 = 64;
/// Lengths of the pause before a time, some nanoseconds apart: several steps of the counter.
const PAUSES: u8 = 64;
/// What the fixed class has in all octets, and both have where nothing differs.
pub(super) const FIXED: u8 = 0x5a;

/// One comparison of two classes.
pub(super) struct Trial {
    /// What is timed, and what differs.
    pub(super) name: String,
    /// Whether it is the control, which is to be found out.
    pub(super) leaks: bool,
    random: SmallRng,
    /// Those that a round is taken from.
    pool: [Box<dyn Timed>; POOL],
}

/// Something to be timed.
pub(super) trait Timed {
    /// Sets up for class 0 or 1.
    fn prepare(&mut self, random: &mut SmallRng, class: usize);
    /// What is timed.
    fn work(&mut self);
}

impl Trial {
    pub(super) fn new<T: Timed + 'static>(name: String, timed: impl Fn() -> T) -> Self {
        let pool = std::array::from_fn(|_| Box::new(timed()) as Box<dyn Timed>);
        Self { name, leaks: false, random: SmallRng::seed_from_u64(0x5e15_c0de), pool }
    }

    /// A round of measurements: the class of each, at random, and its time, in the unit of [`measure::timed`].
    pub(super) fn round(&mut self) -> [(usize, u64); ROUND] {
        let (round, _) = self.pool.partial_shuffle(&mut self.random, SET_UP);
        let classes: [usize; SET_UP] = std::array::from_fn(|i| {
            let class = usize::from(self.random.next_u32().is_multiple_of(2));
            round[i].prepare(&mut self.random, class);
            class
        });
        let (mut pauses, mut depths) = ([0; SET_UP], [0; SET_UP]);
        self.random.fill_bytes(&mut pauses);
        self.random.fill_bytes(&mut depths);
        let times: [u64; SET_UP] = std::array::from_fn(|i| {
            at_depth(depths[i] % DEPTHS, &mut || {
                overwrite_stack();
                pause(pauses[i] % PAUSES);
                measure::timed(|| round[i].work())
            })
        });
        std::array::from_fn(|i| (classes[1 + i], times[1 + i]))
    }
}

/// All trials, the control first.
pub(super) fn all() -> Vec<Trial> {
    let (right, first, last) = ([0; TAG_LEN], difference(0), difference(TAG_LEN - 1));
    let compare = |name: &str, equal, differences| {
        let zero = [0; TAG_LEN];
        Trial::new(name.to_owned(), || Comparing { equal, differences, one: zero, other: zero })
    };
    let control = compare("control/first-octet-or-last", leaves_early, [first, last]);
    let mut trials = vec![
        Trial { leaks: true, ..control },
        compare("tag/right-or-first-octet", measure::equal_tags, [right, first]),
        compare("tag/right-or-last-octet", measure::equal_tags, [right, last]),
        compare("tag/first-octet-or-last", measure::equal_tags, [first, last]),
    ];
    for kernel in measure::kernels() {
        trials.push(ciphering(kernel, (Task::Expand, Secret::Keys), [LEN]));
        for case in [
            (Task::Seal, Secret::Keys),
            (Task::Open, Secret::Keys),
            (Task::Seal, Secret::Payload),
            (Task::Open, Secret::Payload),
            (Task::Open, Secret::Forgery),
        ] {
            trials.push(ciphering(kernel, case, [LEN]));
            trials.push(ciphering(kernel, case, BATCH));
        }
    }
    #[cfg(feature = "peers")]
    trials.extend(super::peer::trials());
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

/// The tag that differs from `tag` by `difference`.
fn apart(tag: &Tag, difference: &Tag) -> Tag {
    std::array::from_fn(|i| tag[i] ^ difference[i])
}

/// Two tags that differ as their class says.
struct Comparing {
    equal: fn(&Tag, &Tag) -> bool,
    differences: [Tag; 2],
    one: Tag,
    other: Tag,
}

impl Timed for Comparing {
    fn prepare(&mut self, random: &mut SmallRng, class: usize) {
        random.fill_bytes(&mut self.one);
        self.other = apart(&self.one, &self.differences[class]);
    }

    fn work(&mut self) {
        black_box((self.equal)(black_box(&self.one), black_box(&self.other)));
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    Expand,
    Seal,
    Open,
}

/// What is fixed in one class and random in the other; of forgeries, which octet is wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Secret {
    Keys,
    Payload,
    Forgery,
}

impl Task {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Expand => "expand",
            Self::Seal => "seal",
            Self::Open => "open",
        }
    }
}

impl Secret {
    /// Of the two classes.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Keys => "fixed-or-random-key",
            Self::Payload => "fixed-or-random-payload",
            Self::Forgery => "forged-first-octet-or-last",
        }
    }

    /// Keys and payload: fixed, but in class 1 for what is random there. No branch knows the class.
    pub(super) fn draw<const K: usize>(
        self,
        random: &mut SmallRng,
        class: usize,
    ) -> ([u8; K], [u8; LEN]) {
        let (mut keys, mut payload) = ([0; K], [0; LEN]);
        random.fill_bytes(&mut keys);
        random.fill_bytes(&mut payload);
        let varies = |secret| Choice::from(class as u8) & Choice::from(u8::from(self == secret));
        fix_unless(varies(Self::Keys), &mut keys);
        fix_unless(varies(Self::Payload), &mut payload);
        (keys, payload)
    }
}

fn fix_unless(random: Choice, octets: &mut [u8]) {
    for octet in octets {
        octet.conditional_assign(&FIXED, !random);
    }
}

/// A kernel at work on `N` segments of one key.
struct Ciphering<const N: usize> {
    task: Task,
    secret: Secret,
    keys: TrafficKeys,
    context: KeyContext,
    associated: Associated,
    lens: [usize; N],
    frames: [[u8; LEN + MOVE]; N],
    tags: [Tag; N],
}

fn ciphering<const N: usize>(
    kernel: &'static str,
    (task, secret): (Task, Secret),
    lens: [usize; N],
) -> Trial {
    let batch = if N > 1 { "-batch" } else { "" };
    let name = format!("{kernel}/{}{batch}/{}", task.name(), secret.name());
    Trial::new(name, || {
        let keys = traffic_keys(&[FIXED; KEYS]);
        let context = measure::context(kernel, &keys);
        let context = context.expect("invariant: the kernel is one of this CPU's");
        let associated = Associated { offset: 0, flags: SegmentFlags::default(), phase: 0 };
        let (frames, tags) = ([[FIXED; LEN + MOVE]; N], [[0; TAG_LEN]; N]);
        Ciphering { task, secret, keys, context, associated, lens, frames, tags }
    })
}

fn traffic_keys(octets: &[u8; KEYS]) -> TrafficKeys {
    let (mut aes, mut hash) = ([0; 32], [0; 16]);
    aes.copy_from_slice(&octets[..32]);
    hash.copy_from_slice(&octets[32..]);
    TrafficKeys::from_bytes(&aes, &hash)
}

impl<const N: usize> Ciphering<N> {
    fn seal(&mut self) -> [Sealed; N] {
        let mut sealed = [Sealed::default(); N];
        let mut frames = self.frames.iter_mut().zip(self.lens);
        let mut jobs: [SealJob<'_>; N] = std::array::from_fn(|_| {
            let (frame, len) = frames.next().expect("N of them");
            let at = Payload { src: 0, dst: MOVE as u16, len: len as u16 };
            SealJob { context: &self.context, associated: self.associated, frame, at }
        });
        seal_batch(&mut jobs, &mut sealed);
        sealed
    }

    fn open(&mut self) -> [Result<Sums, BadTag>; N] {
        let mut opened = [Err(BadTag { before: 0 }); N];
        let mut frames = self.frames.iter_mut().zip(self.lens).zip(self.tags);
        let mut jobs: [OpenJob<'_>; N] = std::array::from_fn(|_| {
            let ((frame, len), tag) = frames.next().expect("N of them");
            let at = Payload { src: MOVE as u16, dst: 0, len: len as u16 };
            OpenJob { context: &self.context, associated: self.associated, frame, at, tag }
        });
        open_batch(&mut jobs, &mut opened);
        opened
    }
}

impl<const N: usize> Timed for Ciphering<N> {
    fn prepare(&mut self, random: &mut SmallRng, class: usize) {
        let (keys, payload) = self.secret.draw(random, class);
        self.keys = traffic_keys(&keys);
        self.associated.offset = random.next_u64();
        if self.task != Task::Expand {
            self.context.rekey(&self.keys);
        }
        for frame in &mut self.frames {
            frame[..LEN].copy_from_slice(&payload);
        }
        if self.task == Task::Open {
            self.tags = self.seal().map(|sealed| sealed.tag);
            if self.secret == Secret::Forgery {
                let wrong = difference([0, TAG_LEN - 1][class]);
                self.tags = self.tags.map(|tag| apart(&tag, &wrong));
            }
        }
    }

    fn work(&mut self) {
        match self.task {
            Task::Expand => black_box(&mut self.context).rekey(&self.keys),
            Task::Seal => _ = black_box(self.seal()),
            Task::Open => _ = black_box(self.open()),
        }
    }
}

/// Does `work` with the stack `depth` times further down.
#[inline(never)]
fn at_depth(depth: u8, work: &mut dyn FnMut() -> u64) -> u64 {
    let room = black_box([0_u8; 64]);
    let time = if depth == 0 { work() } else { at_depth(depth - 1, work) };
    black_box(room);
    time
}

/// Zeros what setting up has left below this call.
#[inline(never)]
fn overwrite_stack() {
    black_box(&mut [0_u8; STACK]);
}

/// Waits `length` times about five cycles.
fn pause(length: u8) {
    let mut left = length;
    while left > 0 {
        left = black_box(left - 1);
    }
}
