//! The box without sockets: frames and the time go in, frames come out; the seed decides the rest.
//! Owns both directions and the tables of flows.

use std::time::Duration;

use sekisho_wire::parse_frame;
use serde_json::Value;

use super::counts::Counts;
use super::isn::Shifter;
use super::lane::{Lane, Outcome, impairable};
use super::nat::Nat;
use super::random::Random;
use super::spec::{Plan, SpecError, Way};

/// The box.
#[derive(Debug)]
pub struct Engine {
    plan: Plan,
    lanes: [Lane; 2],
    shifter: Shifter,
    nat: Nat,
}

/// Frames to send, each with the way that it goes.
pub type Sending = Vec<(Way, Vec<u8>)>;

impl Engine {
    /// A box that does what `plan` says.
    pub fn new(plan: Plan) -> Self {
        let mut random = Random::new(plan.seed);
        // Generators of their own: what passes in one direction moves no decision of the other.
        let mut next = || Random::new(random.next());
        let lanes = plan.ways.clone().map(|spec| Lane::new(spec, next()));
        let shifter = Shifter::new(plan.client_isn, plan.server_isn, next());
        let nat = Nat::new(plan.nat);
        Self { plan, lanes, shifter, nat }
    }

    /// Follows a line of control from now on ([`Plan::control`]).
    pub fn control(&mut self, line: &str) -> Result<(), SpecError> {
        self.plan.control(line)?;
        for (lane, spec) in self.lanes.iter_mut().zip(&self.plan.ways) {
            lane.spec = spec.clone();
        }
        Ok(())
    }

    /// Takes a frame in that goes `way`; what is to be sent at once is appended to `out`.
    pub fn take(&mut self, way: Way, frame: &[u8], now: Duration, out: &mut Sending) {
        let lane = &mut self.lanes[way.index()];
        lane.counts.frames += 1;
        lane.counts.bytes += frame.len() as u64;
        let mut frame = frame.to_vec();
        if impairable(&frame).is_none() {
            out.push((way, frame));
            return;
        }
        self.rewrite(way, &mut frame);
        let lane = &mut self.lanes[way.index()];
        let Ok(view) = parse_frame(&frame) else { return };
        let mut onward = Vec::new();
        let outcome = lane.take(frame, &view, now, &mut onward);
        out.extend(onward.into_iter().map(|frame| (way, frame)));
        if let Outcome::Answered(answer) = outcome {
            out.push((way.back(), answer));
        }
    }

    /// Sequence numbers are those of the flow as the client's side knows it: behind the ports on the
    /// way down, before them on the way up.
    fn rewrite(&mut self, way: Way, frame: &mut [u8]) {
        let counts = &mut self.lanes[way.index()].counts;
        let mut shift = |frame: &mut [u8]| {
            let shifted = parse_frame(frame).is_ok_and(|view| self.shifter.apply(frame, &view));
            counts.shifted += u64::from(shifted);
        };
        let mut translate = |frame: &mut [u8]| {
            parse_frame(frame).is_ok_and(|view| self.nat.apply(frame, &view, way))
        };
        let translated = match way {
            Way::Up => {
                shift(frame);
                translate(frame)
            }
            Way::Down => {
                let translated = translate(frame);
                shift(frame);
                translated
            }
        };
        counts.translated += u64::from(translated);
    }

    /// What has waited long enough is appended to `out`.
    pub fn due(&mut self, now: Duration, out: &mut Sending) {
        for way in Way::BOTH {
            let mut ready = Vec::new();
            self.lanes[way.index()].due(now, &mut ready);
            out.extend(ready.into_iter().map(|frame| (way, frame)));
        }
    }

    /// When [`Engine::due`] has something to do.
    pub fn next_due(&self) -> Option<Duration> {
        self.lanes.iter().filter_map(Lane::next_due).min()
    }

    /// Counts a frame that could not be sent.
    pub fn unsent(&mut self, way: Way) {
        self.lanes[way.index()].counts.unsent += 1;
    }

    /// What was done in one direction.
    pub fn counts(&self, way: Way) -> &Counts {
        &self.lanes[way.index()].counts
    }

    /// What was done in both, with the seed.
    pub fn report(&self) -> Value {
        let [up, down] = Way::BOTH.map(|way| self.counts(way).to_json());
        serde_json::json!({ "seed": self.plan.seed, "up": up, "down": down })
    }
}
