//! What is traced: each case with several sets of secrets, in one process and on the same memory, so that address
//! space randomisation changes nothing.
//!
//! Owns: cases, secrets, the borders of a window. Not: who steps through it.

use std::hint::black_box;

use nix::sys::ptrace;
use nix::sys::signal::{Signal, raise};
use sekisho_cipher::{
    Associated, KeyContext, OpenJob, Payload, SealJob, Sealed, SegmentFlags, Sums, TAG_LEN, Tag,
    TrafficKeys, measure, open, open_batch, seal, seal_batch,
};

/// Tells the child its kernel.
pub(crate) const KERNEL: &str = "SEKISHO_TRACED_KERNEL";
/// In place of a kernel's name: to run [`CONTROLS`] instead of [`CASES`].
pub(crate) const PLANTED: &str = "planted";
/// Sets of keys and payloads: all zeros, all ones, and others.
pub(crate) const SECRETS: usize = 4;
/// By how much the tag option moves a payload.
const MOVE: usize = 16;
/// Of each frame: the longest payload and its move.
const ROOM: usize = 1448 + MOVE;

/// What happens in a window.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    Expand,
    Seal,
    Open,
    /// Opens with every other tag wrong in one octet, the first among them; which octet is one of the secrets. A wrong
    /// octet changes all that is deciphered, and so every octet of the tag that is expected: but for a hash key of
    /// zeros, which half of the sets have.
    Forged,
    /// A fault: branches on a bit of a key.
    Branches,
    /// A fault: loads from a table at an octet of a key.
    Loads,
}

impl Work {
    /// False for the faults.
    pub(crate) fn ciphers(self) -> bool {
        matches!(self, Self::Expand | Self::Seal | Self::Open | Self::Forged)
    }
}

/// One piece of work.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) work: Work,
    /// Of the payloads; one is sealed or opened alone, more as a batch.
    lens: Lens,
}

enum Lens {
    One(u16),
    Five([u16; 5]),
    Seven([u16; 7]),
}

const fn alone(name: &'static str, work: Work, len: u16) -> Case {
    Case { name, work, lens: Lens::One(len) }
}

/// Several long segments and a few short ones.
const fn long(name: &'static str, work: Work) -> Case {
    Case { name, work, lens: Lens::Five([40, 1448, 300, 7, 600]) }
}

/// One long segment and short ones of all sizes: four and one of a kind.
const fn short(name: &'static str, work: Work) -> Case {
    Case { name, work, lens: Lens::Seven([40, 64, 7, 33, 100, 1448, 200]) }
}

/// The cases of every kernel.
pub(crate) const CASES: &[Case] = &[
    alone("expand", Work::Expand, 0),
    alone("seal 40", Work::Seal, 40),
    alone("seal 300", Work::Seal, 300),
    alone("seal 1448", Work::Seal, 1448),
    long("seal five", Work::Seal),
    short("seal seven", Work::Seal),
    alone("open 40", Work::Open, 40),
    alone("open 300", Work::Open, 300),
    alone("open 1448", Work::Open, 1448),
    long("open five", Work::Open),
    short("open seven", Work::Open),
    alone("open 300, forged", Work::Forged, 300),
    long("open five, three forged", Work::Forged),
    short("open seven, four forged", Work::Forged),
];

/// The faults that are to be found.
pub(crate) const CONTROLS: &[Case] =
    &[alone("planted branch", Work::Branches, 0), alone("planted load", Work::Loads, 0)];

/// Asks to be traced, then works through the cases: each set of secrets is one window.
pub(crate) fn run() {
    let kernel = std::env::var(KERNEL).expect("a kernel is named");
    ptrace::traceme().expect("ptrace is permitted");
    let cases = if kernel == PLANTED { CONTROLS } else { CASES };
    for case in cases {
        match case.lens {
            Lens::One(len) => Bench::new(&kernel, [len]).run(case.work),
            Lens::Five(lens) => Bench::new(&kernel, lens).run(case.work),
            Lens::Seven(lens) => Bench::new(&kernel, lens).run(case.work),
        }
    }
}

/// Stops before and behind `work`. Never copied to where it is called, so that all windows have one path.
#[inline(never)]
fn window(work: &mut dyn FnMut()) {
    stop();
    work();
    stop();
}

#[inline(never)]
fn stop() {
    raise(Signal::SIGSTOP).expect("a process may stop itself");
}

/// All that the kernels read and write, in places that stay the same from window to window.
struct Bench<'a, const N: usize> {
    kernel: &'a str,
    lens: [u16; N],
    octets: [[u8; 48]; N],
    keys: [TrafficKeys; N],
    contexts: [Option<KeyContext>; N],
    frames: [[u8; ROOM]; N],
    tags: [Tag; N],
}

impl<'a, const N: usize> Bench<'a, N> {
    fn new(kernel: &'a str, lens: [u16; N]) -> Box<Self> {
        Box::new(Self {
            kernel,
            lens,
            octets: [[0; 48]; N],
            keys: [(); N].map(|()| TrafficKeys::from_bytes(&[0; 32], &[0; 16])),
            contexts: [(); N].map(|()| None),
            frames: [[0; ROOM]; N],
            tags: [[0; TAG_LEN]; N],
        })
    }

    /// All sets of secrets once without stops, so that what is found lazily has been; then with. The compiler may
    /// not know how often: it would end the last round with a jump where others call, on another stack.
    fn run(&mut self, work: Work) {
        for secrets in 0..black_box(SECRETS) {
            self.prepare(secrets, work);
            self.work(work, |work| work());
        }
        for secrets in 0..black_box(SECRETS) {
            self.prepare(secrets, work);
            self.work(work, window);
        }
    }

    /// Puts keys and payloads in place, and ciphertext and tags where they are to be opened.
    #[inline(never)]
    fn prepare(&mut self, secrets: usize, work: Work) {
        for job in 0..N {
            let salt = job * 4096;
            self.octets[job] = std::array::from_fn(|at| octet(secrets, salt + at));
            let (aes, hash) = self.octets[job].split_at(32);
            let [mut aes_key, mut hash_key] = [[0; 32], [0; 32]];
            aes_key.copy_from_slice(aes);
            if work != Work::Forged || secrets % 2 == 1 {
                hash_key[..16].copy_from_slice(hash);
            }
            let hash_key = hash_key.first_chunk().expect("16 octets");
            self.keys[job] = TrafficKeys::from_bytes(&aes_key, hash_key);
            for (at, byte) in self.frames[job].iter_mut().enumerate() {
                *byte = octet(secrets, salt + 64 + at);
            }
        }
        // The last first, so that boxes come back to their places: glibc gives up to seven back in order.
        self.contexts.iter_mut().rev().for_each(|context| *context = None);
        if work.ciphers() {
            self.expand();
        }
        if matches!(work, Work::Open | Work::Forged) {
            for job in 0..N {
                let context = self.contexts[job].as_ref().expect("expanded above");
                let at = place(Work::Seal, self.lens[job]);
                self.tags[job] = seal(context, &associated(job), &mut self.frames[job], at).tag;
                if forged(work, job) {
                    self.tags[job][(secrets * 5 + job) % TAG_LEN] ^= 1 << ((secrets + job) % 8);
                }
            }
        }
    }

    fn expand(&mut self) {
        for (context, keys) in self.contexts.iter_mut().zip(&self.keys) {
            *context = measure::context(self.kernel, keys);
        }
    }

    #[inline(never)]
    fn work(&mut self, work: Work, window: impl Fn(&mut dyn FnMut())) {
        match work {
            Work::Expand => {
                let context = self.contexts[0].as_mut().expect("expanded when prepared");
                window(&mut || context.rekey(&self.keys[0]));
            }
            Work::Seal => self.seal(window),
            Work::Open | Work::Forged => self.open(work, window),
            Work::Branches => window(&mut || branches(black_box(self.octets[0][0]))),
            Work::Loads => window(&mut || loads(black_box(self.octets[0][0]))),
        }
    }

    fn seal(&mut self, window: impl Fn(&mut dyn FnMut())) {
        let mut sealed = [Sealed::default(); N];
        let mut parts = self.contexts.iter().zip(&mut self.frames).zip(self.lens).enumerate();
        let mut jobs: [SealJob<'_>; N] = std::array::from_fn(|_| {
            let (job, ((context, frame), len)) = parts.next().expect("N of each");
            let context = context.as_ref().expect("expanded when prepared");
            SealJob { context, associated: associated(job), frame, at: place(Work::Seal, len) }
        });
        window(&mut || match jobs.as_mut_slice() {
            [job] => sealed[0] = seal(job.context, &job.associated, job.frame, job.at),
            jobs => seal_batch(jobs, &mut sealed),
        });
        black_box(&sealed);
    }

    fn open(&mut self, work: Work, window: impl Fn(&mut dyn FnMut())) {
        let mut opened = [Ok(Sums::default()); N];
        let mut parts = self.contexts.iter().zip(&mut self.frames).zip(self.lens).enumerate();
        let mut jobs: [OpenJob<'_>; N] = std::array::from_fn(|_| {
            let (job, ((context, frame), len)) = parts.next().expect("N of each");
            let (context, tag) =
                (context.as_ref().expect("expanded when prepared"), self.tags[job]);
            let at = place(Work::Open, len);
            OpenJob { context, associated: associated(job), frame, at, tag }
        });
        window(&mut || match jobs.as_mut_slice() {
            [job] => opened[0] = open(job.context, &job.associated, job.frame, job.at, &job.tag),
            jobs => open_batch(jobs, &mut opened),
        });
        for (job, opened) in opened.iter().enumerate() {
            assert_eq!(opened.is_err(), forged(work, job), "right tags verify, and only these");
        }
    }
}

/// Whether the tag of a job is wrong: that is public, since its segment is dropped.
fn forged(work: Work, job: usize) -> bool {
    work == Work::Forged && job.is_multiple_of(2)
}

fn associated(job: usize) -> Associated {
    Associated { offset: 1 + job as u64, flags: SegmentFlags::default(), phase: 0 }
}

fn place(work: Work, len: u16) -> Payload {
    match work {
        Work::Open => Payload { src: MOVE as u16, dst: 0, len },
        _ => Payload { src: 0, dst: MOVE as u16, len },
    }
}

/// One octet of a set of secrets.
fn octet(secrets: usize, at: usize) -> u8 {
    match secrets {
        0 => 0,
        1 => 0xff,
        _ => (((secrets << 16 | at) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 53) as u8,
    }
}

#[inline(never)]
fn branches(secret: u8) {
    if secret & 1 == 1 {
        black_box(secret);
    }
}

#[inline(never)]
fn loads(secret: u8) {
    static TABLE: [u8; 256] = [7; 256];
    black_box(black_box(&TABLE)[usize::from(secret)]);
}
