//! The path between the two stations: what it loses, delays, repeats, damages and translates, by
//! seed. Owns what happens to a frame and when it arrives; from the calm on it only takes time.

use std::net::SocketAddr;

use super::alter;
use super::dice::Dice;
use super::nat::Nat;
use super::plan::{Impairments, Plan};
use super::schedule::{MICROSECOND, MILLISECOND};

/// A frame that will arrive.
pub(super) struct Arrival {
    pub(super) at: u64,
    pub(super) frame: Vec<u8>,
    /// What a tag covers was changed: it must not be believed.
    pub(super) is_forged: bool,
}

/// The network.
pub(super) struct Network {
    impairments: Impairments,
    latency: u64,
    jitter: u64,
    calm_at: u64,
    nat: Nat,
    dice: Dice,
}

impl Network {
    /// The network of a plan.
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            impairments: plan.impairments,
            latency: plan.latency,
            jitter: plan.jitter,
            calm_at: plan.calm_at,
            nat: Nat::new(plan),
            dice: Dice::new(plan.seed, "network"),
        }
    }

    /// Takes a frame at `now`; `upwards`: towards the server. What arrives of it.
    pub(super) fn send(&mut self, now: u64, upwards: bool, mut frame: Vec<u8>) -> Vec<Arrival> {
        if upwards {
            self.nat.up(&mut frame);
        } else {
            self.nat.down(&mut frame);
        }
        let quiet = Impairments::default();
        let may = if now < self.calm_at { self.impairments } else { quiet };
        if self.dice.chance(may.loss) {
            return Vec::new();
        }
        let repeats = self.dice.chance(may.duplicate);
        let (latency, jitter) = (self.latency, self.jitter);
        let mut arrivals = Vec::new();
        for _ in 0..1 + u8::from(repeats) {
            self.alter(&may, frame.clone(), |frame, is_forged, dice| {
                let late = if dice.chance(may.reorder) { dice.below(60 * MILLISECOND) } else { 0 };
                let shake = if may.reorder > 0 { dice.below(jitter + 1) } else { 0 };
                let at = now + latency + shake + late + MICROSECOND;
                arrivals.push(Arrival { at, frame, is_forged });
            });
        }
        arrivals
    }

    /// The client's end of a connection that the server sees as coming from `seen`.
    pub(super) fn client_of(&self, seen: SocketAddr) -> SocketAddr {
        self.nat.client_of(seen)
    }

    fn alter(
        &mut self,
        may: &Impairments,
        mut frame: Vec<u8>,
        mut arrive: impl FnMut(Vec<u8>, bool, &mut Dice),
    ) {
        let dice = &mut self.dice;
        if dice.chance(may.corrupt) {
            // Nothing behind mends the checksum of a damaged frame.
            alter::corrupt(&mut frame, dice);
            return arrive(frame, false, dice);
        }
        if dice.chance(may.strip_request) {
            alter::strip(&mut frame, true);
        }
        if dice.chance(may.strip_tag) {
            alter::strip(&mut frame, false);
        }
        if dice.chance(may.resegment)
            && let Some(halves) = alter::cut(&frame, dice)
        {
            return halves.into_iter().for_each(|half| arrive(half, true, dice));
        }
        let is_forged = dice.chance(may.tamper) && alter::forge(&mut frame, dice);
        arrive(frame, is_forged, dice);
    }
}
