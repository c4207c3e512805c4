//! What shall happen to frames: `loss=0.1,reorder=10,mtu=1300` and the numbers behind it.
//! Owns the grammar; what the numbers do is the lane's business.

use std::str::FromStr;
use std::time::Duration;

use super::random::Random;

/// One of the two ways through the box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the client's side to the server's.
    Up,
    /// From the server's side to the client's.
    Down,
}

impl Way {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Up, Self::Down];

    /// The other one.
    #[must_use]
    pub fn back(self) -> Self {
        match self {
            Self::Up => Self::Down,
            Self::Down => Self::Up,
        }
    }

    /// Place in an array of two.
    pub(super) fn index(self) -> usize {
        usize::from(self == Self::Down)
    }

    /// The word for it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// A share of all frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// Parts per million.
    ppm: u32,
}

impl Rate {
    /// Whether it hits this time. Draws nothing where the rate is 0, so that an impairment that is
    /// off leaves the decisions of the others as they are.
    pub(super) fn hits(self, random: &mut Random) -> bool {
        self.ppm > 0 && random.below(1_000_000) < u64::from(self.ppm)
    }
}

impl FromStr for Rate {
    type Err = SpecError;

    /// A number of percent, 0 to 100.
    fn from_str(text: &str) -> Result<Self, SpecError> {
        match text.parse::<f64>() {
            Ok(percent) if (0.0..=100.0).contains(&percent) => {
                Ok(Self { ppm: (percent * 10_000.0).round() as u32 })
            }
            _ => Err(SpecError(format!("{text} is no percentage"))),
        }
    }
}

/// A specification that cannot be read; the text says why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SpecError(pub String);

/// What shall happen in one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Impairment {
    /// `loss`: the frame is gone.
    pub loss: Rate,
    /// `reorder`: up to eight later frames overtake it.
    pub reorder: Rate,
    /// `duplicate`: it is sent twice.
    pub duplicate: Rate,
    /// `corrupt`: one bit behind the ports is changed.
    pub corrupt: Rate,
    /// `forge`: one bit of payload is changed and the checksum made right.
    pub forge: Rate,
    /// `mark`: a packet whose sender understands ECN is told of congestion (RFC 3168).
    pub mark: Rate,
    /// `split`: a segment with at least two octets of payload is cut in two, as a proxy would.
    pub split: Rate,
    /// `strip`: the options `kinds` of a segment are overwritten with NOP.
    pub strip: Rate,
    /// `kinds`: option kinds to strip, joined by `+`.
    pub kinds: Vec<u8>,
    /// `delay` in milliseconds: every frame takes this long.
    pub delay: Duration,
    /// `jitter` in milliseconds: and up to this much longer.
    pub jitter: Duration,
    /// `mtu`: longest IP packet; a longer one is answered by an ICMP error.
    pub mtu: Option<u16>,
}

impl FromStr for Impairment {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let mut spec = Self::default();
        for item in text.split(',').filter(|item| !item.is_empty()) {
            let (name, value) = item
                .split_once('=')
                .ok_or_else(|| SpecError(format!("{item}: name=value is wanted")))?;
            spec.set(name, value)?;
        }
        Ok(spec)
    }
}

impl Impairment {
    fn set(&mut self, name: &str, value: &str) -> Result<(), SpecError> {
        match name {
            "loss" => self.loss = value.parse()?,
            "reorder" => self.reorder = value.parse()?,
            "duplicate" => self.duplicate = value.parse()?,
            "corrupt" => self.corrupt = value.parse()?,
            "forge" => self.forge = value.parse()?,
            "mark" => self.mark = value.parse()?,
            "split" => self.split = value.parse()?,
            "strip" => self.strip = value.parse()?,
            "kinds" => {
                self.kinds = value.split('+').map(number).collect::<Result<_, _>>()?;
            }
            "delay" => self.delay = milliseconds(value)?,
            "jitter" => self.jitter = milliseconds(value)?,
            "mtu" => self.mtu = Some(number(value)?),
            _ => return Err(SpecError(format!("{name}: no such impairment"))),
        }
        Ok(())
    }
}

fn number<T: FromStr>(text: &str) -> Result<T, SpecError> {
    text.parse().map_err(|_| SpecError(format!("{text}: a number is wanted")))
}

fn milliseconds(text: &str) -> Result<Duration, SpecError> {
    let value: f64 = number(text)?;
    Duration::try_from_secs_f64(value / 1000.0)
        .map_err(|_| SpecError(format!("{text}: milliseconds are wanted")))
}

/// What an end's initial sequence number becomes on the other side of the box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// This number, for every connection.
    At(u32),
    /// Another number for each connection.
    Random,
}

impl FromStr for Aim {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        match text {
            "random" => Ok(Self::Random),
            _ => number(text).map(Self::At),
        }
    }
}

/// Everything that the box is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Decides every throw.
    pub seed: u64,
    /// By direction, [`Way::Up`] first.
    pub ways: [Impairment; 2],
    /// What becomes of clients' initial sequence numbers.
    pub client_isn: Option<Aim>,
    /// What becomes of servers' initial sequence numbers.
    pub server_isn: Option<Aim>,
    /// Clients' ports are rewritten.
    pub nat: bool,
}

impl Plan {
    /// Takes a line of control: `up SPEC`, `down SPEC` or `both SPEC`.
    pub fn control(&mut self, line: &str) -> Result<(), SpecError> {
        let (which, spec) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        let spec: Impairment = spec.parse()?;
        match which {
            "up" => self.ways[Way::Up.index()] = spec,
            "down" => self.ways[Way::Down.index()] = spec,
            "both" => self.ways = [spec.clone(), spec],
            _ => return Err(SpecError(format!("{which}: up, down or both is wanted"))),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_specification_reads_back() {
        let spec: Impairment =
            "loss=0.1,reorder=30,strip=100,kinds=5+253,delay=1.5,mtu=1300".parse().unwrap();
        assert_eq!(spec.loss, Rate { ppm: 1000 });
        assert_eq!(spec.reorder, Rate { ppm: 300_000 });
        assert_eq!(spec.kinds, [5, 253]);
        assert_eq!(spec.delay, Duration::from_micros(1500));
        assert_eq!(spec.mtu, Some(1300));
        assert_eq!("".parse(), Ok(Impairment::default()));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["loss", "loss=x", "loss=101", "lose=1", "mtu=70000", "delay=-1", "kinds=300"] {
            assert!(text.parse::<Impairment>().is_err(), "{text}");
        }
        assert!(Plan::default().control("sideways loss=1").is_err());
    }

    #[test]
    fn control_replaces_what_was() {
        let mut plan = Plan::default();
        plan.control("both loss=5").unwrap();
        plan.control("down mtu=1300\n").unwrap();
        assert_eq!(plan.ways[0].loss, Rate { ppm: 50_000 });
        assert_eq!((plan.ways[1].loss, plan.ways[1].mtu), (Rate::default(), Some(1300)));
        plan.control("both").unwrap();
        assert_eq!(plan, Plan::default());
    }

    #[test]
    fn a_rate_hits_as_often_as_it_says() {
        let rate: Rate = "20".parse().unwrap();
        let mut random = Random::new(1);
        let hits = (0..100_000).filter(|_| rate.hits(&mut random)).count();
        assert!((19_500..20_500).contains(&hits), "{hits} of 100000");
    }
}
