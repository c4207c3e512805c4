//! The trials: what is timed, and what differs between the two classes of its input.
//!
//! Owns: inputs. Four things keep apart what is timed and what is not:
//!
//! * A round of measurements is set up before the first of them is timed. What setting up leaves in the CPU is then
//!   the work of both classes, and between two times neither a branch nor an address nor a register knows a class.
//! * Before each time stands a pause of random length. The counter moves on in steps (26 ticks, 10 ns, on one CPU), and
//!   where in a step a time begins must not follow from how long setting up took.
//! * The stack that setting up has used is overwritten. A load that runs ahead of the store it belongs to takes what
//!   was there before for an address: times of 10 more nanoseconds, in one call of a hundred, then follow from two bits
//!   of a payload that lay there, those that say whether 16 octets from this address cross a cache line.
//! * The clock is read between fences, or what overlaps with the pause and with reading the clock is timed as well.

use std::hint::black_box;

use sekisho_cipher::{
    Associated, KeyContext, Payload, SegmentFlags, TAG_LEN, Tag, TrafficKeys, measure, open, seal,
};

/// Payload of the trials: several steps of each kernel and a rest.
pub(super) const LEN: usize = 300;
/// By how much the tag option moves a payload.
const MOVE: usize = 16;
/// Octets of the two traffic keys.
const KEYS: usize = 48;
/// Measurements that are set up together: as many as stay in the first cache.
pub(super) const ROUND: usize = 8;
/// Octets of stack that setting up uses, and more.
const STACK: usize = 8192;
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
    random: Random,
    round: [Box<dyn Timed>; ROUND],
}

/// Something to be timed.
pub(super) trait Timed {
    /// Sets up for class 0 or 1.
    fn prepare(&mut self, random: &mut Random, class: usize);
    /// What is timed.
    fn work(&mut self);
}

impl Trial {
    pub(super) fn new<T: Timed + 'static>(name: String, timed: impl Fn() -> T) -> Self {
        let round = std::array::from_fn(|_| Box::new(timed()) as Box<dyn Timed>);
        Self { name, leaks: false, random: Random(0x5e15_c0de), round }
    }

    /// A round of measurements: the class of each, at random, and its time, in the unit of [`measure::timed`].
    pub(super) fn round(&mut self) -> [(usize, u64); ROUND] {
        let classes = self.round.each_mut().map(|timed| {
            let class = (self.random.next() >> 33) as usize & 1;
            timed.prepare(&mut self.random, class);
            class
        });
        let mut pauses = [0; ROUND];
        self.random.fill(&mut pauses);
        let times: [u64; ROUND] = std::array::from_fn(|i| {
            overwrite_stack();
            pause(pauses[i] % PAUSES);
            measure::timed(|| self.round[i].work())
        });
        std::array::from_fn(|i| (classes[i], times[i]))
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
        for task in [Task::Expand, Task::Seal, Task::Open] {
            trials.push(ciphering(kernel, task, Secret::Keys));
        }
        for task in [Task::Seal, Task::Open] {
            trials.push(ciphering(kernel, task, Secret::Payload));
        }
        trials.push(ciphering(kernel, Task::Open, Secret::Forgery));
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
    fn prepare(&mut self, random: &mut Random, class: usize) {
        random.fill(&mut self.one);
        self.other = apart(&self.one, &self.differences[class]);
    }

    fn work(&mut self) {
        black_box((self.equal)(black_box(&self.one), black_box(&self.other)));
    }
}

#[derive(Clone, Copy)]
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

    /// Keys and payload: fixed, but in class 1 for what is random there.
    pub(super) fn draw<const K: usize>(
        self,
        random: &mut Random,
        class: usize,
    ) -> ([u8; K], [u8; LEN]) {
        let (mut keys, mut payload) = ([FIXED; K], [FIXED; LEN]);
        match self {
            Self::Keys if class == 1 => random.fill(&mut keys),
            Self::Payload if class == 1 => random.fill(&mut payload),
            _ => {}
        }
        (keys, payload)
    }
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
    let name = format!("{kernel}/{}/{}", task.name(), secret.name());
    Trial::new(name, || {
        let keys = traffic_keys(&[FIXED; KEYS]);
        let context = expand(kernel, &keys);
        let frame = [FIXED; LEN + MOVE];
        Ciphering { kernel, task, secret, keys, context, frame, tag: [0; TAG_LEN] }
    })
}

fn traffic_keys(octets: &[u8; KEYS]) -> TrafficKeys {
    let (mut aes, mut hash) = ([0; 32], [0; 16]);
    aes.copy_from_slice(&octets[..32]);
    hash.copy_from_slice(&octets[32..]);
    TrafficKeys::from_bytes(&aes, &hash)
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
    fn prepare(&mut self, random: &mut Random, class: usize) {
        let (keys, payload) = self.secret.draw(random, class);
        self.keys = traffic_keys(&keys);
        self.context = expand(self.kernel, &self.keys);
        self.frame[..LEN].copy_from_slice(&payload);
        if let Task::Open = self.task {
            let at = self.at(Task::Seal);
            self.tag = seal(&self.context, &associated(), &mut self.frame, at).tag;
            if self.secret == Secret::Forgery {
                self.tag = apart(&self.tag, &difference([0, TAG_LEN - 1][class]));
            }
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

/// Seeded and quick; no secret comes from it.
pub(super) struct Random(u64);

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
