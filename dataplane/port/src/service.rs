//! What is protected, as plain data: prefixes and port sets, and their effective table for longest
//! prefix match. It does not know policies or names of services.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use thiserror::Error;

/// Most prefixes of each address family that the kernel's tables hold (`MAX_PREFIXES` of the XDP
/// program).
pub const MAX_PREFIXES: usize = 4096;

/// Most different port sets at a time (`MAX_PORT_SETS` of the XDP program; 8 KiB each).
pub const MAX_PORT_SETS: usize = 256;

/// A set of TCP ports: sorted, disjoint, not adjacent, inclusive ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortSet {
    ranges: Vec<(u16, u16)>,
}

impl PortSet {
    /// Every port.
    #[must_use]
    pub fn all() -> Self {
        Self::from_ranges([(0, u16::MAX)])
    }

    /// The union of inclusive ranges, in any order. A range whose end is before its start is
    /// empty.
    #[must_use]
    pub fn from_ranges(ranges: impl IntoIterator<Item = (u16, u16)>) -> Self {
        let mut sorted: Vec<_> = ranges.into_iter().filter(|(a, b)| a <= b).collect();
        sorted.sort_unstable();
        let mut merged: Vec<(u16, u16)> = Vec::with_capacity(sorted.len());
        for (start, end) in sorted {
            match merged.last_mut() {
                Some(last) if start <= last.1.saturating_add(1) => last.1 = last.1.max(end),
                _ => merged.push((start, end)),
            }
        }
        Self { ranges: merged }
    }

    /// The inclusive ranges, sorted and disjoint.
    #[must_use]
    pub fn ranges(&self) -> &[(u16, u16)] {
        &self.ranges
    }

    /// True if `port` is in the set.
    #[must_use]
    pub fn contains(&self, port: u16) -> bool {
        self.ranges.iter().any(|&(a, b)| (a..=b).contains(&port))
    }

    /// True if no port is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    fn union(&self, other: &Self) -> Self {
        Self::from_ranges(self.ranges.iter().chain(&other.ranges).copied())
    }

    /// Bit `p % 64` of the native-endian word `p / 64` stands for port `p`, as the XDP program
    /// reads it.
    pub(crate) fn bitmap(&self) -> Box<[u8; 8192]> {
        let mut bytes = Box::new([0_u8; 8192]);
        for &(start, end) in &self.ranges {
            for port in start..=end {
                let word = usize::from(port / 64) * 8;
                let bit = usize::from(port % 64);
                let byte = if cfg!(target_endian = "little") { bit / 8 } else { 7 - bit / 8 };
                bytes[word + byte] |= 1 << (bit % 8);
            }
        }
        bytes
    }
}

/// Addresses of protected servers and the ports protected on each of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceEntry {
    /// Any address within the prefix.
    pub prefix: IpAddr,
    /// Bits of the prefix: at most 32 or 128.
    pub prefix_len: u8,
    /// Protected TCP ports.
    pub ports: PortSet,
}

/// Why a list of services cannot be loaded. Nothing has been changed then.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ServiceError {
    /// A prefix is longer than its address.
    #[error("prefix {prefix}/{prefix_len}: an address of this family has {max} bits at most")]
    PrefixLength {
        /// The address.
        prefix: IpAddr,
        /// The length given.
        prefix_len: u8,
        /// The family's length.
        max: u8,
    },
    /// More prefixes than the kernel's table holds.
    #[error("{count} prefixes of one address family, at most {MAX_PREFIXES} can be loaded")]
    TooManyPrefixes {
        /// How many there are.
        count: usize,
    },
    /// More different port sets than the kernel's table holds.
    #[error(
        "{count} different sets of ports (old and new together), at most {MAX_PORT_SETS} can be \
         loaded at a time; change them in two steps"
    )]
    TooManyPortSets {
        /// How many there are.
        count: usize,
    },
}

/// A masked prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Prefix {
    pub(crate) address: IpAddr,
    pub(crate) bits: u8,
}

impl Prefix {
    fn new(address: IpAddr, bits: u8) -> Result<Self, ServiceError> {
        let max = if address.is_ipv4() { 32 } else { 128 };
        if bits > max {
            return Err(ServiceError::PrefixLength { prefix: address, prefix_len: bits, max });
        }
        Ok(Self { address: mask(address, bits), bits })
    }

    fn covers(&self, other: &Self) -> bool {
        self.address.is_ipv4() == other.address.is_ipv4()
            && self.bits <= other.bits
            && mask(other.address, self.bits) == self.address
    }
}

fn mask(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(a) => {
            let keep = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            Ipv4Addr::from_bits(a.to_bits() & keep).into()
        }
        IpAddr::V6(a) => {
            let keep = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            Ipv6Addr::from_bits(a.to_bits() & keep).into()
        }
    }
}

/// The table as longest prefix match must see it: the ports of each prefix and of all shorter
/// prefixes around it, since a longer prefix hides the shorter one from the kernel's look-up and
/// nothing that is listed may lose its protection by that.
pub(crate) fn effective_table(
    entries: &[ServiceEntry],
) -> Result<BTreeMap<Prefix, PortSet>, ServiceError> {
    let mut own: BTreeMap<Prefix, PortSet> = BTreeMap::new();
    for entry in entries {
        let prefix = Prefix::new(entry.prefix, entry.prefix_len)?;
        let ports = own.entry(prefix).or_default();
        *ports = ports.union(&entry.ports);
    }
    let ipv4 = own.keys().filter(|p| p.address.is_ipv4()).count();
    for count in [ipv4, own.len() - ipv4] {
        if count > MAX_PREFIXES {
            return Err(ServiceError::TooManyPrefixes { count });
        }
    }
    let table = own
        .keys()
        .map(|prefix| {
            let ports = own
                .iter()
                .filter(|(around, _)| around.covers(prefix))
                .fold(PortSet::default(), |all, (_, ports)| all.union(ports));
            (*prefix, ports)
        })
        .collect();
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(prefix: &str, prefix_len: u8, ports: &[(u16, u16)]) -> ServiceEntry {
        ServiceEntry {
            prefix: prefix.parse().unwrap(),
            prefix_len,
            ports: PortSet::from_ranges(ports.iter().copied()),
        }
    }

    #[test]
    fn ranges_are_merged_and_looked_up() {
        let set = PortSet::from_ranges([(90, 80), (443, 443), (80, 90), (91, 95), (85, 88)]);
        assert_eq!(set.ranges(), [(80, 95), (443, 443)]);
        assert!(set.contains(80) && set.contains(95) && !set.contains(96) && !set.contains(0));
        assert_eq!(PortSet::from_ranges([(65535, 65535), (0, 65535)]), PortSet::all());
    }

    #[test]
    fn the_bitmap_has_a_bit_for_each_port() {
        let set = PortSet::from_ranges([(0, 0), (63, 65), (65535, 65535)]);
        let bitmap = set.bitmap();
        for port in 0..=u16::MAX {
            let word: [u8; 8] = bitmap[usize::from(port / 64) * 8..][..8].try_into().unwrap();
            let bit = u64::from_ne_bytes(word) >> (port % 64) & 1 == 1;
            assert_eq!(bit, set.contains(port), "{port}");
        }
        assert!(PortSet::all().bitmap().iter().all(|&b| b == 0xff));
    }

    #[test]
    fn a_longer_prefix_keeps_the_ports_of_the_prefixes_around_it() {
        let table = effective_table(&[
            entry("10.0.0.77", 24, &[(80, 80)]),
            entry("10.0.0.5", 32, &[(443, 443)]),
            entry("10.0.0.5", 32, &[(22, 22)]),
            entry("10.0.1.5", 32, &[(443, 443)]),
            entry("0.0.0.0", 0, &[(7, 7)]),
            entry("::", 0, &[(9, 9)]),
        ])
        .unwrap();
        let ports = |address: &str, bits| {
            table[&Prefix { address: address.parse().unwrap(), bits }].ranges().to_vec()
        };
        assert_eq!(ports("10.0.0.5", 32), [(7, 7), (22, 22), (80, 80), (443, 443)]);
        assert_eq!(ports("10.0.0.0", 24), [(7, 7), (80, 80)]);
        assert_eq!(ports("10.0.1.5", 32), [(7, 7), (443, 443)]);
        assert_eq!(ports("::", 0), [(9, 9)]);
        assert_eq!(table.len(), 5);
    }

    #[test]
    fn impossible_prefixes_are_refused() {
        assert!(effective_table(&[entry("10.0.0.1", 33, &[])]).is_err());
        assert!(effective_table(&[entry("fd00::1", 129, &[])]).is_err());
        assert!(effective_table(&[entry("fd00::1", 128, &[])]).is_ok());
    }
}
