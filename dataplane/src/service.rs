//! The services under protection and the policy of each: which server address and port is whose.
//! Owns the look-up; does not know names, KDC policy, or the maps of the XDP program.

use std::collections::HashMap;
use std::net::IpAddr;

/// Position of a service in the configuration; a label for control and metrics, nothing on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ServiceId(pub u32);

/// What happens to connections of a service (design: life of a session).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Policy {
    /// Ciphered or not at all.
    Require,
    /// Ciphered where the other end can; sessions that began in clear stay in clear.
    Prefer,
    /// Passed untouched.
    Off,
}

/// TCP ports of a service: all of them or inclusive ranges.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PortSet {
    /// Every TCP port of the address.
    All,
    /// Inclusive ranges, in any order.
    Ranges(Vec<(u16, u16)>),
}

impl PortSet {
    /// Whether `port` is one of the set.
    #[must_use]
    pub fn contains(&self, port: u16) -> bool {
        match self {
            Self::All => true,
            Self::Ranges(ranges) => ranges.iter().any(|&(lo, hi)| (lo..=hi).contains(&port)),
        }
    }
}

/// One protected service: a prefix of server addresses, its ports, its policy.
#[derive(Clone, Debug)]
pub struct Service {
    /// Label given back by look-ups.
    pub id: ServiceId,
    /// Any address of the prefix; host bits are masked off.
    pub address: IpAddr,
    /// Prefix length: ≤ 32 for IPv4, ≤ 128 for IPv6.
    pub prefix_len: u8,
    /// Ports under protection.
    pub ports: PortSet,
    /// What happens to its connections.
    pub policy: Policy,
}

/// Why a [`ServiceTable`] could not be built.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ServiceError {
    /// Prefix length beyond what the address family has.
    #[error("prefix length {prefix_len} is too long for {address}")]
    PrefixLength {
        /// Address of the faulty service.
        address: IpAddr,
        /// Its prefix length.
        prefix_len: u8,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Prefix {
    v4: bool,
    bits: u128,
    len: u8,
}

/// All services of a process, longest prefix first. Read-only; a change of configuration makes a
/// new one. A port that the longest prefix does not list falls to the next shorter prefix, so a
/// narrower entry never takes protection away from a wider one but by an explicit port.
#[derive(Debug, Default)]
pub struct ServiceTable {
    lengths_v4: Vec<u8>,
    lengths_v6: Vec<u8>,
    entries: HashMap<Prefix, Vec<(PortSet, ServiceId, Policy)>>,
    retired: Option<Box<ServiceTable>>,
}

impl ServiceTable {
    /// Builds the table; of two services with equal prefix and port the first stands.
    ///
    /// # Errors
    /// [`ServiceError::PrefixLength`] where a prefix length exceeds its family's.
    pub fn new(services: &[Service]) -> Result<Self, ServiceError> {
        let mut table = Self::default();
        for service in services {
            let v4 = service.address.is_ipv4();
            if service.prefix_len > if v4 { 32 } else { 128 } {
                return Err(ServiceError::PrefixLength {
                    address: service.address,
                    prefix_len: service.prefix_len,
                });
            }
            let lengths = if v4 { &mut table.lengths_v4 } else { &mut table.lengths_v6 };
            if !lengths.contains(&service.prefix_len) {
                lengths.push(service.prefix_len);
                lengths.sort_unstable_by(|a, b| b.cmp(a));
            }
            table.entries.entry(prefix(service.address, service.prefix_len)).or_default().push((
                service.ports.clone(),
                service.id,
                service.policy,
            ));
        }
        Ok(table)
    }

    /// Adds services that are protected no longer (M7.20): what no other service covers of them passes as
    /// with [`Policy::Off`], but for sessions that began in cipher, which go on in cipher.
    ///
    /// # Errors
    /// As [`ServiceTable::new`].
    pub fn with_retired(mut self, services: &[Service]) -> Result<Self, ServiceError> {
        self.retired =
            if services.is_empty() { None } else { Some(Box::new(Self::new(services)?)) };
        Ok(self)
    }

    /// The service that `server:port` belongs to; `None`: not ours.
    #[must_use]
    pub fn lookup(&self, server: IpAddr, port: u16) -> Option<(ServiceId, Policy)> {
        self.lookup_live(server, port).or_else(|| {
            let (id, _) = self.retired.as_ref()?.lookup_live(server, port)?;
            Some((id, Policy::Off))
        })
    }

    fn lookup_live(&self, server: IpAddr, port: u16) -> Option<(ServiceId, Policy)> {
        let lengths = if server.is_ipv4() { &self.lengths_v4 } else { &self.lengths_v6 };
        lengths.iter().find_map(|&len| {
            let found = self.entries.get(&prefix(server, len))?;
            found
                .iter()
                .find(|(ports, ..)| ports.contains(port))
                .map(|&(_, id, policy)| (id, policy))
        })
    }

    /// Whether no service at all is configured: then nothing passes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

fn prefix(address: IpAddr, len: u8) -> Prefix {
    match address {
        IpAddr::V4(a) => {
            let bits = u128::from(u32::from(a)) & mask(32, len);
            Prefix { v4: true, bits, len }
        }
        IpAddr::V6(a) => Prefix { v4: false, bits: u128::from(a) & mask(128, len), len },
    }
}

fn mask(width: u8, len: u8) -> u128 {
    match width - len {
        128 => 0,
        host_bits => u128::MAX << host_bits,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(id: u32, address: &str, prefix_len: u8, ports: PortSet, policy: Policy) -> Service {
        Service { id: ServiceId(id), address: address.parse().unwrap(), prefix_len, ports, policy }
    }

    #[test]
    fn longest_prefix_that_has_the_port_wins() {
        let table = ServiceTable::new(&[
            service(0, "10.0.2.0", 24, PortSet::All, Policy::Require),
            service(1, "10.0.2.10", 32, PortSet::Ranges(vec![(80, 80)]), Policy::Off),
            service(
                2,
                "fd00::",
                64,
                PortSet::Ranges(vec![(443, 443), (8000, 8100)]),
                Policy::Prefer,
            ),
        ])
        .unwrap();
        let at = |a: &str, p| table.lookup(a.parse().unwrap(), p);
        assert_eq!(at("10.0.2.10", 80), Some((ServiceId(1), Policy::Off)));
        assert_eq!(at("10.0.2.10", 443), Some((ServiceId(0), Policy::Require)));
        assert_eq!(at("10.0.3.10", 443), None);
        assert_eq!(at("fd00::99", 8050), Some((ServiceId(2), Policy::Prefer)));
        assert_eq!(at("fd00:0:0:1::99", 8050), None);
        assert_eq!(at("fd00::99", 8101), None);
    }

    #[test]
    fn whole_families_and_bad_lengths() {
        let table = ServiceTable::new(&[
            service(0, "0.0.0.0", 0, PortSet::All, Policy::Require),
            service(1, "::", 0, PortSet::All, Policy::Prefer),
        ])
        .unwrap();
        assert_eq!(table.lookup("192.0.2.1".parse().unwrap(), 1).unwrap().0, ServiceId(0));
        assert_eq!(table.lookup("2001:db8::1".parse().unwrap(), 1).unwrap().0, ServiceId(1));
        assert!(
            ServiceTable::new(&[service(0, "1.2.3.4", 33, PortSet::All, Policy::Off)]).is_err()
        );
        assert!(ServiceTable::default().is_empty());
    }

    #[test]
    fn retired_services_are_off_where_nothing_else_covers_them() {
        let only = |port| PortSet::Ranges(vec![(port, port)]);
        let table = ServiceTable::new(&[service(0, "10.0.2.0", 24, only(80), Policy::Require)])
            .unwrap()
            .with_retired(&[
                service(0, "10.0.2.10", 32, PortSet::All, Policy::Require),
                service(1, "10.0.0.0", 8, only(443), Policy::Prefer),
            ])
            .unwrap();
        let at = |a: &str, p| table.lookup(a.parse().unwrap(), p).map(|(_, policy)| policy);
        assert_eq!(at("10.0.2.10", 80), Some(Policy::Require), "a longer prefix opens no hole");
        assert_eq!(at("10.0.2.10", 22), Some(Policy::Off));
        assert_eq!(at("10.9.9.9", 443), Some(Policy::Off));
        assert_eq!(at("10.9.9.9", 80), None);
    }
}
