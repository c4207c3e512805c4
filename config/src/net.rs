//! Address prefixes and TCP port sets.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// An IP prefix whose host bits are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IpPrefix {
    address: IpAddr,
    length: u8,
}

/// Why a text or a pair is no prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// The part before the slash is no address.
    #[error("`{0}` is no IP address")]
    Address(String),
    /// The part after the slash is no number, or above 32 or 128.
    #[error("`{0}` is no prefix length for this address")]
    Length(String),
    /// Bits after the prefix are set.
    #[error("the address has bits set beyond its prefix; the prefix itself is {0}")]
    HostBits(IpPrefix),
}

impl IpPrefix {
    /// A prefix of `length` bits; refused if bits beyond it are set.
    pub fn new(address: IpAddr, length: u8) -> Result<Self, PrefixError> {
        let masked =
            mask(address, length).ok_or_else(|| PrefixError::Length(length.to_string()))?;
        let prefix = Self { address: masked, length };
        if masked == address { Ok(prefix) } else { Err(PrefixError::HostBits(prefix)) }
    }

    /// The prefix of one address.
    pub fn host(address: IpAddr) -> Self {
        Self { address, length: if address.is_ipv4() { 32 } else { 128 } }
    }

    /// Its first address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Its length in bits.
    pub fn length(&self) -> u8 {
        self.length
    }

    /// Whether an address lies in it. IPv4 and IPv6 never match each other.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4()
            && mask(address, self.length) == Some(self.address)
    }
}

impl FromStr for IpPrefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr =
            address.parse().map_err(|_| PrefixError::Address(address.to_owned()))?;
        match length {
            None => Ok(Self::host(address)),
            Some(text) => {
                let length = text.parse().map_err(|_| PrefixError::Length(text.to_owned()))?;
                Self::new(address, length)
            }
        }
    }
}

impl fmt::Display for IpPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl Serialize for IpPrefix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The address with all bits beyond `length` cleared; none if `length` is too great.
fn mask(address: IpAddr, length: u8) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => {
            let shift = 32u32.checked_sub(u32::from(length))?;
            let keep = u32::MAX.checked_shl(shift).unwrap_or(0);
            Some(IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & keep)))
        }
        IpAddr::V6(v6) => {
            let shift = 128u32.checked_sub(u32::from(length))?;
            let keep = u128::MAX.checked_shl(shift).unwrap_or(0);
            Some(IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & keep)))
        }
    }
}

/// A set of TCP ports, never empty and never with port 0: sorted ranges that neither overlap nor touch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PortSet {
    ranges: Vec<RangeInclusive<u16>>,
}

impl PortSet {
    /// Ports 1 to 65535.
    pub fn all() -> Self {
        Self { ranges: vec![1..=u16::MAX] }
    }

    /// The union of some ranges; none if it would be empty or hold port 0.
    pub fn from_ranges(ranges: impl IntoIterator<Item = RangeInclusive<u16>>) -> Option<Self> {
        let mut ranges: Vec<_> = ranges.into_iter().collect();
        if ranges.is_empty() || ranges.iter().any(|range| range.is_empty() || *range.start() == 0) {
            return None;
        }
        ranges.sort_by_key(|range| *range.start());
        let mut merged: Vec<RangeInclusive<u16>> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match merged.last_mut() {
                Some(last) if *range.start() <= last.end().saturating_add(1) => {
                    *last = *last.start()..=(*last.end()).max(*range.end());
                }
                _ => merged.push(range),
            }
        }
        Some(Self { ranges: merged })
    }

    /// Its ranges, ascending.
    pub fn ranges(&self) -> &[RangeInclusive<u16>] {
        &self.ranges
    }

    /// Whether it holds every port from 1 to 65535.
    pub fn is_all(&self) -> bool {
        self.ranges.len() == 1 && self.ranges[0] == (1..=u16::MAX)
    }

    /// Whether it holds a port.
    pub fn contains(&self, port: u16) -> bool {
        self.ranges.iter().any(|range| range.contains(&port))
    }

    /// The lowest port that both sets hold.
    pub fn first_common(&self, other: &Self) -> Option<u16> {
        let pairs = self.ranges.iter().flat_map(|a| other.ranges.iter().map(move |b| (a, b)));
        pairs
            .filter_map(|(a, b)| {
                let start = *a.start().max(b.start());
                (start <= *a.end().min(b.end())).then_some(start)
            })
            .min()
    }

    /// All its ports, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        self.ranges.iter().cloned().flatten()
    }
}

/// An address with a port, whose error says how to write one.
pub(crate) struct Endpoint(pub(crate) std::net::SocketAddr);

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |_| {
            format!("`{text}` is no address with port, such as 10.9.0.2:1089 or [fd00::2]:1089")
        };
        text.parse().map(Self).map_err(wrong)
    }
}

/// `80`, or `8000-8100`; the error says what is wrong with it.
pub(crate) fn parse_port_range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let number = |part: &str| match part.trim().parse::<u16>() {
        Ok(0) | Err(_) => Err(format!("`{}` is no TCP port (1 to 65535)", part.trim())),
        Ok(port) => Ok(port),
    };
    match text.split_once('-') {
        None => number(text).map(|port| port..=port),
        Some((first, last)) => {
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(format!("the range {first}-{last} runs backwards"));
            }
            Ok(first..=last)
        }
    }
}

impl fmt::Display for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_all() {
            return f.write_str("all");
        }
        for (index, range) in self.ranges.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            if range.start() == range.end() {
                write!(f, "{comma}{}", range.start())?;
            } else {
                write!(f, "{comma}{}-{}", range.start(), range.end())?;
            }
        }
        Ok(())
    }
}

impl Serialize for PortSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn prefixes_round_trip_and_match() {
        for (text, shown) in [
            ("10.0.2.10", "10.0.2.10/32"),
            ("10.0.2.0/24", "10.0.2.0/24"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("fd00::1", "fd00::1/128"),
            ("fd00::/64", "fd00::/64"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(text.parse::<IpPrefix>().unwrap().to_string(), shown);
        }
        let net: IpPrefix = "10.0.2.0/24".parse().unwrap();
        assert!(
            net.contains(ip("10.0.2.255"))
                && !net.contains(ip("10.0.3.0"))
                && !net.contains(ip("::1"))
        );
        let all: IpPrefix = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains(ip("255.255.255.255")) && !all.contains(ip("::")));
        let six: IpPrefix = "fd00::/9".parse().unwrap();
        assert!(six.contains(ip("fd7f::1")) && !six.contains(ip("fd80::1")));
    }

    #[test]
    fn wrong_prefixes_say_why() {
        let error = |text: &str| text.parse::<IpPrefix>().unwrap_err();
        assert_eq!(error("10.0.2.10/24"), PrefixError::HostBits("10.0.2.0/24".parse().unwrap()));
        assert_eq!(error("10.0.2.0/33"), PrefixError::Length("33".into()));
        assert_eq!(error("fd00::/129"), PrefixError::Length("129".into()));
        assert_eq!(error("fd00::/x"), PrefixError::Length("x".into()));
        assert_eq!(error("web/24"), PrefixError::Address("web".into()));
    }

    #[test]
    fn port_sets_merge_and_compare() {
        let set = PortSet::from_ranges([443..=443, 80..=80, 81..=90, 85..=100]).unwrap();
        assert_eq!(set.to_string(), "80-100,443");
        assert!(set.contains(95) && set.contains(443) && !set.contains(101));
        assert_eq!(set.iter().count(), 22);
        assert_eq!(set.first_common(&PortSet::from_ranges([99..=500]).unwrap()), Some(99));
        assert_eq!(set.first_common(&PortSet::from_ranges([200..=300]).unwrap()), None);
        assert_eq!(PortSet::from_ranges([1..=u16::MAX, 5..=5]).unwrap(), PortSet::all());
        assert_eq!(PortSet::all().to_string(), "all");
        assert!(PortSet::from_ranges([]).is_none() && PortSet::from_ranges([0..=5]).is_none());
    }

    #[test]
    fn port_ranges_in_text() {
        assert_eq!(parse_port_range("8000-8100"), Ok(8000..=8100));
        assert_eq!(parse_port_range(" 22 "), Ok(22..=22));
        for text in ["0", "65536", "http", "10-", "-10", "9-3", ""] {
            assert!(parse_port_range(text).is_err(), "{text}");
        }
    }
}
