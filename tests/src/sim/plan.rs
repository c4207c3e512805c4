//! The plan of a run: everything that a seed decides before time begins. Owns the classes of
//! trouble, which can be left out one by one to find the one that matters.

use super::dice::Dice;
use super::schedule::{MICROSECOND, MILLISECOND, SECOND};

/// A class of trouble, or of variety.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Feature {
    Loss,
    Duplicate,
    Reorder,
    Corrupt,
    Tamper,
    Resegment,
    StripTag,
    StripRequest,
    Nat,
    ShiftIsn,
    ManyWorkers,
    WrongQueue,
    SlowControl,
    StationCrash,
    KdcCrash,
    KdcFault,
    HostCrash,
    TupleReuse,
    Attacks,
    RawHost,
    NearWrap,
    IPv6,
    Prefer,
    HoldConfirmed,
    KdcOverTcp,
    BlockedWire,
    LateClock,
}

impl Feature {
    pub(super) const ALL: [Self; 27] = [
        Self::Loss,
        Self::Duplicate,
        Self::Reorder,
        Self::Corrupt,
        Self::Tamper,
        Self::Resegment,
        Self::StripTag,
        Self::StripRequest,
        Self::Nat,
        Self::ShiftIsn,
        Self::ManyWorkers,
        Self::WrongQueue,
        Self::SlowControl,
        Self::StationCrash,
        Self::KdcCrash,
        Self::KdcFault,
        Self::HostCrash,
        Self::TupleReuse,
        Self::Attacks,
        Self::RawHost,
        Self::NearWrap,
        Self::IPv6,
        Self::Prefer,
        Self::HoldConfirmed,
        Self::KdcOverTcp,
        Self::BlockedWire,
        Self::LateClock,
    ];

    /// How many seeds of a thousand have it.
    fn frequency(self) -> u64 {
        match self {
            Self::IPv6 | Self::NearWrap | Self::ManyWorkers | Self::Loss | Self::Reorder => 500,
            Self::StripRequest => 60,
            Self::StationCrash | Self::KdcCrash | Self::HostCrash => 150,
            Self::LateClock => 100,
            _ => 300,
        }
    }
}

/// A set of features.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Features(u32);

impl Features {
    /// What `seed` has, of all there are.
    fn of(seed: u64) -> Self {
        let drawn = |feature: &Feature| {
            Dice::new(seed, &format!("feature {feature:?}")).chance(feature.frequency())
        };
        let bits = Feature::ALL.iter().filter(|feature| drawn(feature));
        Self(bits.fold(0, |bits, feature| bits | 1 << *feature as u8))
    }

    pub(super) fn has(self, feature: Feature) -> bool {
        self.0 & 1 << feature as u8 != 0
    }

    pub(super) fn without(self, feature: Feature) -> Self {
        Self(self.0 & !(1 << feature as u8))
    }

    fn any(self, features: &[Feature]) -> bool {
        features.iter().any(|feature| self.has(*feature))
    }

    /// Their names.
    pub(super) fn names(self) -> Vec<String> {
        Feature::ALL.iter().filter(|f| self.has(**f)).map(|f| format!("{f:?}")).collect()
    }
}

/// What the cipher-side network does to frames, in cases of a thousand.
#[derive(Clone, Copy, Default)]
pub(super) struct Impairments {
    pub(super) loss: u64,
    pub(super) duplicate: u64,
    pub(super) reorder: u64,
    pub(super) corrupt: u64,
    pub(super) tamper: u64,
    pub(super) resegment: u64,
    pub(super) strip_tag: u64,
    pub(super) strip_request: u64,
}

/// A party that can fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum PartyName {
    Agent,
    Gateway,
    Kdc(usize),
    ClientHost,
    ServerHost,
}

/// What a KDC does instead of answering.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum KdcFault {
    Silence,
    Delay,
    Refusal,
    Garbage,
    WrongAnswer,
}

/// How a connection of a client ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    /// The client closes its direction once it has sent all, and goes on to receive.
    ClientCloses,
    /// The server closes first; the client after it has got all.
    ServerCloses,
    /// The client resets once it has sent so many octets.
    ClientResets(u64),
}

/// One connection of the client host.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connection {
    pub(super) at: u64,
    pub(super) port: u16,
    pub(super) up: u64,
    pub(super) ending: Ending,
}

/// The plan of one run. Times are nanoseconds of the virtual clock.
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) features: Features,
    pub(super) start: u64,
    /// From here on nothing fails any more.
    pub(super) calm_at: u64,
    /// Workers of agent and gateway.
    pub(super) workers: [usize; 2],
    /// What a frame waits at most before a station looks at it, and an event before control does.
    pub(super) turn_delay: u64,
    pub(super) control_delay: u64,
    pub(super) latency: u64,
    pub(super) jitter: u64,
    pub(super) impairments: Impairments,
    pub(super) linger: u64,
    pub(super) idle: u64,
    pub(super) kdcs: usize,
    pub(super) connections: Vec<Connection>,
    /// Octets that the server answers at most.
    pub(super) down: u64,
    /// When who fails, and for how long.
    pub(super) crashes: Vec<(u64, PartyName, u64)>,
    pub(super) kdc_faults: Vec<(u64, KdcFault, u64)>,
    pub(super) attacks: Vec<u64>,
    /// When the cipher-side wire of which station takes nothing, and for how long.
    pub(super) blocks: Vec<(u64, usize, u64)>,
}

impl Plan {
    /// The plan of `seed`.
    pub(super) fn of(seed: u64) -> Self {
        Self::with(seed, Features::of(seed))
    }

    /// The plan of `seed` with these features and no others.
    pub(super) fn with(seed: u64, features: Features) -> Self {
        let mut dice = Dice::new(seed, "plan");
        // A session stores ticks of 2^26 ns in 32 bits: some runs cross their wrap.
        let start = match features.has(Feature::LateClock) {
            true => (1 << 58) - dice.within(1, 20) * SECOND,
            false => dice.within(1, 1000) * SECOND,
        };
        let calm_at = start + dice.within(4, 15) * SECOND;
        let up_to = |dice: &mut Dice, most| dice.within(1, most);
        let workers = match features.has(Feature::ManyWorkers) {
            true => [dice.within(1, 3) as usize, dice.within(1, 3) as usize],
            false => [1, 1],
        };
        let slow = features.has(Feature::SlowControl);
        Self {
            seed,
            features,
            start,
            calm_at,
            workers,
            turn_delay: up_to(&mut dice, 300) * MICROSECOND,
            control_delay: up_to(&mut dice, if slow { 20_000 } else { 100 }) * MICROSECOND,
            latency: up_to(&mut dice, 20) * MILLISECOND,
            jitter: up_to(&mut dice, 2000) * MICROSECOND,
            impairments: impairments(seed, features),
            linger: up_to(&mut dice, 10) * SECOND,
            idle: dice.within(60, 120) * SECOND,
            kdcs: dice.within(1, 2) as usize,
            connections: connections(seed, features, start, calm_at),
            down: dice.pick(&[1, 40, 3000, 30_000, 60_000]),
            crashes: crashes(seed, features, start, calm_at),
            kdc_faults: kdc_faults(seed, features, start, calm_at),
            attacks: attacks(seed, features, start, calm_at),
            blocks: blocks(seed, features, start, calm_at),
        }
    }

    /// Whether nothing in the plan may end a connection that was established.
    pub(super) fn is_benign(&self) -> bool {
        !self.features.any(&[
            Feature::StripRequest,
            Feature::StationCrash,
            Feature::KdcCrash,
            Feature::KdcFault,
            Feature::HostCrash,
            Feature::TupleReuse,
        ])
    }
}

fn impairments(seed: u64, features: Features) -> Impairments {
    let draw = |feature: Feature, choices: &[u64]| match features.has(feature) {
        true => Dice::new(seed, &format!("impairment {feature:?}")).pick(choices),
        false => 0,
    };
    Impairments {
        loss: draw(Feature::Loss, &[1, 10, 50]),
        duplicate: draw(Feature::Duplicate, &[10, 100]),
        reorder: draw(Feature::Reorder, &[10, 100, 300]),
        corrupt: draw(Feature::Corrupt, &[10, 30]),
        tamper: draw(Feature::Tamper, &[10, 30]),
        resegment: draw(Feature::Resegment, &[10, 30]),
        strip_tag: draw(Feature::StripTag, &[10, 30]),
        strip_request: draw(Feature::StripRequest, &[300, 1000]),
    }
}

fn connections(seed: u64, features: Features, start: u64, calm_at: u64) -> Vec<Connection> {
    let mut dice = Dice::new(seed, "connections");
    let reuse = features.has(Feature::TupleReuse);
    let first = dice.within(30_000, 60_000) as u16;
    (0..dice.within(1, 4))
        .map(|number| {
            let up = dice.pick(&[1, 15, 700, 5000, 30_000, 60_000]);
            let up = dice.within(up / 2 + 1, up + 1);
            let ending = match dice.below(5) {
                0 | 1 => Ending::ClientCloses,
                2 | 3 => Ending::ServerCloses,
                _ => Ending::ClientResets(dice.within(1, up)),
            };
            let spread = if reuse { 3 } else { number };
            Connection {
                at: start + 1 + dice.below(spread * (calm_at - start) / 4 + 1),
                port: first + if reuse { dice.below(2) as u16 } else { number as u16 },
                up,
                ending,
            }
        })
        .collect()
}

/// Times within the part of the run in which things may fail.
fn moment(dice: &mut Dice, start: u64, calm_at: u64) -> (u64, u64) {
    let at = dice.within(start, calm_at - SECOND);
    (at, dice.within(MILLISECOND, calm_at - at))
}

fn crashes(seed: u64, features: Features, start: u64, calm_at: u64) -> Vec<(u64, PartyName, u64)> {
    let mut crashes = Vec::new();
    let parties: [(Feature, &[PartyName]); 3] = [
        (Feature::StationCrash, &[PartyName::Agent, PartyName::Gateway]),
        (Feature::KdcCrash, &[PartyName::Kdc(0), PartyName::Kdc(1)]),
        (Feature::HostCrash, &[PartyName::ClientHost, PartyName::ServerHost]),
    ];
    for (feature, parties) in parties.into_iter().filter(|(feature, _)| features.has(*feature)) {
        let mut dice = Dice::new(seed, &format!("crashes {feature:?}"));
        for _ in 0..dice.within(1, 2) {
            let (at, down) = moment(&mut dice, start, calm_at);
            crashes.push((at, dice.pick(parties), down));
        }
    }
    crashes
}

fn kdc_faults(
    seed: u64,
    features: Features,
    start: u64,
    calm_at: u64,
) -> Vec<(u64, KdcFault, u64)> {
    let mut dice = Dice::new(seed, "KDC faults");
    let count = if features.has(Feature::KdcFault) { dice.within(1, 3) } else { 0 };
    (0..count)
        .map(|_| {
            let fault = dice.pick(&[
                KdcFault::Silence,
                KdcFault::Delay,
                KdcFault::Refusal,
                KdcFault::Garbage,
                KdcFault::WrongAnswer,
            ]);
            let (at, lasts) = moment(&mut dice, start, calm_at);
            (if dice.chance(500) { start } else { at }, fault, lasts)
        })
        .collect()
}

fn attacks(seed: u64, features: Features, start: u64, calm_at: u64) -> Vec<u64> {
    let mut dice = Dice::new(seed, "attacks");
    // What goes on in clear under `prefer` nothing protects: who can strip can inject.
    let in_clear = features.has(Feature::Prefer) && features.has(Feature::StripRequest);
    let attacked = features.has(Feature::Attacks) && !in_clear;
    let count = if attacked { dice.within(5, 40) } else { 0 };
    (0..count).map(|_| dice.within(start, calm_at)).collect()
}

fn blocks(seed: u64, features: Features, start: u64, calm_at: u64) -> Vec<(u64, usize, u64)> {
    let mut dice = Dice::new(seed, "blocked wire");
    let count = if features.has(Feature::BlockedWire) { dice.within(1, 3) } else { 0 };
    (0..count)
        .map(|_| {
            let (at, lasts) = moment(&mut dice, start, calm_at);
            (at, dice.below(2) as usize, lasts.min(SECOND))
        })
        .collect()
}
