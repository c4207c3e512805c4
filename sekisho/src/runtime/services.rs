//! The services of the configuration in the forms of the worker and of the XDP program, and what
//! becomes of them at a reload. Owns the list in effect, pins and retired services included.

use sekisho_config::{Policy as Configured, PortSet, ServiceConfig};
use sekisho_dataplane::{Policy, Service, ServiceId, ServiceTable, service};
use sekisho_port::ServiceEntry;

/// The services in effect.
pub(super) struct Services {
    /// As configured, and pinned by the KDC.
    current: Vec<Service>,
    /// Pinned to `require` though configured as `prefer`, by place in `current`.
    pinned: Vec<ServiceId>,
    /// Configured once and no more. Both ports and workers go on knowing them: a session that
    /// began in cipher would go on in clear if the XDP program handed its segments to the peer.
    retired: Vec<Service>,
}

impl Services {
    pub(super) fn new(configured: &[ServiceConfig]) -> Self {
        Self { current: for_workers(configured), pinned: Vec::new(), retired: Vec::new() }
    }

    pub(super) fn current(&self) -> &[Service] {
        &self.current
    }

    /// Makes `require` of a service's `prefer`. False if there is nothing to do.
    pub(super) fn pin(&mut self, id: ServiceId) -> bool {
        let service = self.current.iter_mut().find(|service| service.id == id);
        let Some(service) = service.filter(|service| service.policy == Policy::Prefer) else {
            return false;
        };
        service.policy = Policy::Require;
        self.pinned.push(id);
        true
    }

    /// The services after a reload to `configured`.
    pub(super) fn reloaded(&self, configured: &[ServiceConfig]) -> Self {
        let mut next = Self::new(configured);
        for service in self.current.iter().filter(|service| self.pinned.contains(&service.id)) {
            let heir = next.current.iter().find(|heir| is_same(heir, service)).map(|s| s.id);
            if let Some(id) = heir {
                next.pin(id);
            }
        }
        for service in self.retired.iter().chain(&self.current) {
            let known = next.current.iter().chain(&next.retired).any(|s| is_same(s, service));
            if !known {
                next.retired.push(service.clone());
            }
        }
        next
    }

    /// As the XDP program classifies them; those with `off` as well, so that a narrow exception
    /// within a protected prefix reaches the worker, which knows it.
    pub(super) fn for_ports(&self) -> Vec<ServiceEntry> {
        self.current.iter().chain(&self.retired).map(entry).collect()
    }

    /// As the workers look them up. Prefix lengths were checked by the configuration.
    pub(super) fn table(&self) -> ServiceTable {
        ServiceTable::new(&self.current)
            .and_then(|table| table.with_retired(&self.retired))
            .expect("invariant: the configuration admits no prefix longer than its address")
    }
}

/// Whether two services cover the same addresses and ports.
fn is_same(a: &Service, b: &Service) -> bool {
    (a.address, a.prefix_len, &a.ports) == (b.address, b.prefix_len, &b.ports)
}

fn entry(service: &Service) -> ServiceEntry {
    ServiceEntry {
        prefix: service.address,
        prefix_len: service.prefix_len,
        ports: match &service.ports {
            service::PortSet::All => sekisho_port::PortSet::all(),
            service::PortSet::Ranges(ranges) => {
                sekisho_port::PortSet::from_ranges(ranges.iter().copied())
            }
        },
    }
}

/// A service's id is its place in the configuration.
fn for_workers(services: &[ServiceConfig]) -> Vec<Service> {
    (0..)
        .zip(services)
        .map(|(id, configured)| Service {
            id: ServiceId(id),
            address: configured.address.address(),
            prefix_len: configured.address.length(),
            ports: service::PortSet::Ranges(ranges(&configured.ports)),
            policy: policy(configured.policy),
        })
        .collect()
}

fn policy(configured: Configured) -> Policy {
    match configured {
        Configured::Require => Policy::Require,
        Configured::Prefer => Policy::Prefer,
        Configured::Off => Policy::Off,
    }
}

fn ranges(ports: &PortSet) -> Vec<(u16, u16)> {
    ports.ranges().iter().map(|range| (*range.start(), *range.end())).collect()
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use sekisho_config::Config;

    use super::*;

    fn configured(services: &[(&str, &str, &str)]) -> Vec<ServiceConfig> {
        let mut text = String::from(
            "role = \"client\"\n[device]\nid = \"name:cl\"\nkey_file = \"/k\"\n\
             [ports]\ncipher = \"a\"\nplain = \"b\"\n",
        );
        for (address, ports, policy) in services {
            text += &format!(
                "[[service]]\naddress = \"{address}\"\nports = [{ports}]\npolicy = \"{policy}\"\n"
            );
        }
        Config::parse(&text).unwrap().node().unwrap().services.clone()
    }

    fn policy_at(services: &Services, address: &str, port: u16) -> Option<Policy> {
        let address: IpAddr = address.parse().unwrap();
        services.table().lookup(address, port).map(|(_, policy)| policy)
    }

    fn reaches_workers(services: &Services, address: &str, port: u16) -> bool {
        let address: IpAddr = address.parse().unwrap();
        let is = |entry: &ServiceEntry| entry.prefix == address && entry.ports.contains(port);
        services.for_ports().iter().any(is)
    }

    #[test]
    fn what_is_taken_away_still_reaches_the_workers_whose_sessions_go_on() {
        let before = Services::new(&configured(&[
            ("10.0.2.10/32", "80, 443", "require"),
            ("10.0.2.11/32", "80", "require"),
        ]));
        let after = before.reloaded(&configured(&[("10.0.2.10/32", "443", "require")]));
        assert_eq!(policy_at(&after, "10.0.2.10", 443), Some(Policy::Require));
        for (address, port) in [("10.0.2.10", 80), ("10.0.2.11", 80)] {
            assert_eq!(policy_at(&after, address, port), Some(Policy::Off), "{address}");
            assert!(reaches_workers(&after, address, port), "{address}");
        }
        // Back again, it is what it was, and nothing piles up.
        let mut again = after;
        for _ in 0..10 {
            again = again.reloaded(&configured(&[
                ("10.0.2.10/32", "80, 443", "require"),
                ("10.0.2.11/32", "80", "require"),
            ]));
            again = again.reloaded(&configured(&[("10.0.2.10/32", "443", "require")]));
        }
        assert_eq!(again.for_ports().len(), 3);
        let whole = again.reloaded(&configured(&[("10.0.2.11/32", "80", "require")]));
        assert_eq!(policy_at(&whole, "10.0.2.11", 80), Some(Policy::Require));
    }

    #[test]
    fn a_pin_outlives_a_reload_and_follows_its_service() {
        let file = [("10.0.2.10/32", "80", "prefer"), ("10.0.2.11/32", "80", "prefer")];
        let mut services = Services::new(&configured(&file));
        assert!(services.pin(ServiceId(1)) && !services.pin(ServiceId(1)));
        let turned = services.reloaded(&configured(&[file[1], file[0]]));
        assert_eq!(policy_at(&turned, "10.0.2.11", 80), Some(Policy::Require));
        assert_eq!(policy_at(&turned, "10.0.2.10", 80), Some(Policy::Prefer));
        let twice = turned.reloaded(&configured(&file));
        assert_eq!(policy_at(&twice, "10.0.2.11", 80), Some(Policy::Require));
    }
}
