//! Who may reach what: the `[[gateway]]` and `[[permit]]` entries as a decision.
//!
//! Owns the decision; the entries and their patterns come checked from the configuration.

use std::collections::HashMap;

use sekisho_config::{DeviceName, KdcConfig, KdcPermit, ServicePattern};
use sekisho_kdc_client::{DeviceId, IdError, Policy, Service};

/// What the policy says to a client that wants a service behind a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It may, and is told this policy of the service.
    Permitted(Policy),
    /// That gateway does not serve that service.
    NotServed,
    /// No entry permits it.
    NotPermitted,
}

/// The policy of a KDC. Nothing is permitted that no entry permits.
#[derive(Debug, Default)]
pub struct AccessPolicy {
    served: HashMap<DeviceId, Vec<ServicePattern>>,
    permits: Vec<Permit>,
}

#[derive(Debug)]
struct Permit {
    client: Option<DeviceId>,
    gateway: Option<DeviceId>,
    services: Vec<ServicePattern>,
    /// None forbids: a permit with policy `off`.
    policy: Option<Policy>,
}

impl AccessPolicy {
    /// From the entries of a checked configuration.
    ///
    /// # Errors
    /// [`IdError`] if an identifier is none after all; the configuration has checked them.
    pub fn new(config: &KdcConfig) -> Result<Self, IdError> {
        let mut served: HashMap<DeviceId, Vec<ServicePattern>> = HashMap::new();
        for gateway in &config.gateways {
            let services = served.entry(device_id(&gateway.id)?).or_default();
            services.extend(gateway.services.iter().cloned());
        }
        let permits = config.permits.iter().map(Permit::new).collect::<Result<_, _>>()?;
        Ok(Self { served, permits })
    }

    /// Decides; the first permit that matches gives the policy, and one of policy `off` forbids,
    /// so that an exception can stand before a general permit.
    #[must_use]
    pub fn decide(&self, client: &DeviceId, gateway: &DeviceId, service: &Service) -> Access {
        let served = self.served.get(gateway);
        if !served.is_some_and(|patterns| patterns.iter().any(|p| covers(p, service))) {
            return Access::NotServed;
        }
        self.permits
            .iter()
            .find(|p| p.matches(client, gateway, service))
            .and_then(|p| p.policy)
            .map_or(Access::NotPermitted, Access::Permitted)
    }
}

impl Permit {
    fn new(entry: &KdcPermit) -> Result<Self, IdError> {
        Ok(Self {
            client: entry.client.as_ref().map(device_id).transpose()?,
            gateway: entry.gateway.as_ref().map(device_id).transpose()?,
            services: entry.services.clone(),
            policy: match entry.policy {
                sekisho_config::Policy::Require => Some(Policy::Require),
                sekisho_config::Policy::Prefer => Some(Policy::Prefer),
                sekisho_config::Policy::Off => None,
            },
        })
    }

    fn matches(&self, client: &DeviceId, gateway: &DeviceId, service: &Service) -> bool {
        self.client.as_ref().is_none_or(|c| c == client)
            && self.gateway.as_ref().is_none_or(|g| g == gateway)
            && (self.services.is_empty() || self.services.iter().any(|p| covers(p, service)))
    }
}

/// The identifier that a name in a configuration file stands for.
///
/// # Errors
/// [`IdError`] if it stands for none.
pub fn device_id(name: &DeviceName) -> Result<DeviceId, IdError> {
    match name {
        DeviceName::Ip(a) => Ok(DeviceId::Ip(a.to_canonical())),
        DeviceName::Mac(a) => Ok(DeviceId::Mac(*a)),
        DeviceName::Name(n) => DeviceId::name(n),
    }
}

fn covers(pattern: &ServicePattern, service: &Service) -> bool {
    match service {
        Service::Address(a) => pattern.covers_address(*a),
        Service::Name(n) => pattern.covers_name(n.as_str()),
    }
}
