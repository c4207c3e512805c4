//! The services of the configuration in the forms of the worker and of the XDP program.

use sekisho_config::{Policy as Configured, PortSet, ServiceConfig};
use sekisho_dataplane::{Policy, Service, ServiceId, ServiceTable, service};
use sekisho_port::ServiceEntry;

/// The services as the workers look them up; a service's id is its place in the configuration.
pub(super) fn for_workers(services: &[ServiceConfig]) -> Vec<Service> {
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

/// The services as the XDP program classifies them; those with `off` as well, so that a narrow
/// exception within a protected prefix reaches the worker, which knows it.
pub(super) fn for_ports(services: &[ServiceConfig]) -> Vec<ServiceEntry> {
    services
        .iter()
        .map(|configured| ServiceEntry {
            prefix: configured.address.address(),
            prefix_len: configured.address.length(),
            ports: sekisho_port::PortSet::from_ranges(ranges(&configured.ports)),
        })
        .collect()
}

/// The look-up table. Prefix lengths were checked by the configuration.
pub(super) fn table(services: &[Service]) -> ServiceTable {
    ServiceTable::new(services)
        .expect("invariant: the configuration admits no prefix longer than its address")
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
