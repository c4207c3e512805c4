//! One direction of the box: which frames are lost, changed, doubled, overtaken or kept for a time.
//! Owns the frames that it keeps back. Time is a parameter.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use sekisho_wire::{FrameView, parse_frame};

use super::counts::Counts;
use super::edit;
use super::random::Random;
use super::spec::Impairment;
use super::too_big;

/// At most this many later frames overtake a frame that is reordered.
const OVERTAKERS: u64 = 8;
/// After this time a frame goes on even if nothing has overtaken it.
const PATIENCE: Duration = Duration::from_millis(5);

/// A frame that lets others overtake.
#[derive(Debug)]
struct Overtaken {
    frame: Vec<u8>,
    /// Frames that must still pass first.
    left: u64,
    deadline: Duration,
}

/// A frame on a long way: earliest first, in order of arrival where times are equal.
type Underway = Reverse<(Duration, u64, Vec<u8>)>;

/// One direction.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) spec: Impairment,
    pub(super) counts: Counts,
    random: Random,
    overtaken: Vec<Overtaken>,
    underway: BinaryHeap<Underway>,
    serial: u64,
}

/// What becomes of a frame besides being sent on.
pub(super) enum Outcome {
    /// Nothing.
    Taken,
    /// Its sender is told this.
    Answered(Vec<u8>),
}

impl Lane {
    pub(super) fn new(spec: Impairment, random: Random) -> Self {
        Self {
            spec,
            counts: Counts::default(),
            random,
            overtaken: Vec::new(),
            underway: BinaryHeap::new(),
            serial: 0,
        }
    }

    /// Takes an IP frame in; what goes on at once is appended to `out`.
    pub(super) fn take(
        &mut self,
        mut frame: Vec<u8>,
        view: &FrameView,
        now: Duration,
        out: &mut Vec<Vec<u8>>,
    ) -> Outcome {
        let length = view.frame_len() - usize::from(view.l3);
        if self.spec.mtu.is_some_and(|mtu| length > usize::from(mtu)) {
            self.counts.too_big += 1;
            let answer = too_big::answer(&frame, view, self.spec.mtu.unwrap_or_default());
            return answer.map_or(Outcome::Taken, Outcome::Answered);
        }
        if self.spec.loss.hits(&mut self.random) {
            self.counts.lost += 1;
            return Outcome::Taken;
        }
        self.change(&mut frame, view);
        if self.spec.split.hits(&mut self.random)
            && let Some((first, second)) = edit::split(&frame, view, &mut self.random)
        {
            self.counts.split += 1;
            self.double(first, now, out);
            self.double(second, now, out);
        } else {
            self.double(frame, now, out);
        }
        Outcome::Taken
    }

    /// What has waited long enough is appended to `out`.
    pub(super) fn due(&mut self, now: Duration, out: &mut Vec<Vec<u8>>) {
        let mut ready = Vec::new();
        self.overtaken.retain_mut(|kept| {
            let over = kept.deadline <= now;
            if over {
                ready.push(std::mem::take(&mut kept.frame));
            }
            !over
        });
        for frame in ready {
            self.travel(frame, now, out);
        }
        while self.underway.peek().is_some_and(|Reverse((due, ..))| *due <= now) {
            if let Some(Reverse((_, _, frame))) = self.underway.pop() {
                out.push(frame);
            }
        }
    }

    /// When [`Lane::due`] has something to do.
    pub(super) fn next_due(&self) -> Option<Duration> {
        let underway = self.underway.peek().map(|Reverse((due, ..))| *due);
        let overtaken = self.overtaken.iter().map(|kept| kept.deadline).min();
        underway.into_iter().chain(overtaken).min()
    }

    fn change(&mut self, frame: &mut [u8], view: &FrameView) {
        let (spec, random) = (&self.spec, &mut self.random);
        if spec.strip.hits(random) && edit::strip(frame, view, &spec.kinds) {
            self.counts.stripped += 1;
        }
        if spec.forge.hits(random) && edit::forge(frame, view, random) {
            self.counts.forged += 1;
        }
        if spec.mark.hits(random) && edit::mark(frame, view) {
            self.counts.marked += 1;
        }
        if spec.corrupt.hits(random) && edit::corrupt(frame, view, random) {
            self.counts.corrupted += 1;
        }
    }

    fn double(&mut self, frame: Vec<u8>, now: Duration, out: &mut Vec<Vec<u8>>) {
        if self.spec.duplicate.hits(&mut self.random) {
            self.counts.duplicated += 1;
            self.order(frame.clone(), now, out);
        }
        self.order(frame, now, out);
    }

    fn order(&mut self, frame: Vec<u8>, now: Duration, out: &mut Vec<Vec<u8>>) {
        if self.spec.reorder.hits(&mut self.random) {
            self.counts.reordered += 1;
            let left = 1 + self.random.below(OVERTAKERS);
            self.overtaken.push(Overtaken { frame, left, deadline: now + PATIENCE });
            return;
        }
        self.travel(frame, now, out);
        let mut ready = Vec::new();
        self.overtaken.retain_mut(|kept| {
            kept.left -= 1;
            if kept.left == 0 {
                ready.push(std::mem::take(&mut kept.frame));
            }
            kept.left > 0
        });
        for frame in ready {
            self.travel(frame, now, out);
        }
    }

    fn travel(&mut self, frame: Vec<u8>, now: Duration, out: &mut Vec<Vec<u8>>) {
        let jitter = self.spec.jitter.as_micros() as u64;
        if self.spec.delay.is_zero() && jitter == 0 {
            out.push(frame);
            return;
        }
        self.counts.delayed += 1;
        self.serial += 1;
        let jitter = Duration::from_micros(self.random.below(jitter + 1));
        self.underway.push(Reverse((now + self.spec.delay + jitter, self.serial, frame)));
    }
}

/// The parse of a frame that the box may impair; None for neighbour discovery and what is no IP.
pub(super) fn impairable(frame: &[u8]) -> Option<FrameView> {
    const NEIGHBOURS: std::ops::RangeInclusive<u8> = 133..=137;
    let view = parse_frame(frame).ok()?;
    match view.transport {
        sekisho_wire::Transport::Icmp(icmp)
            if view.src.is_ipv6() && NEIGHBOURS.contains(&icmp.kind) =>
        {
            None
        }
        _ => Some(view),
    }
}
