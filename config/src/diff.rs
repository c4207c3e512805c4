//! The difference between the live configuration and a new one: what a reload applies, what needs a restart.

use std::fmt;

use serde::Serialize;

use crate::types::{
    Config, DeliveryConfig, KdcAccess, KdcConfig, KdcGateway, KdcPermit, LogLevel, NodeConfig,
    Role, ServiceConfig,
};

/// Something that a reload applies to the running program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The protected services; `now` is the complete new list.
    Services {
        /// What differs, for logs.
        changes: Vec<ServiceChange>,
        /// All services from now on.
        now: Vec<ServiceConfig>,
    },
    /// The log level.
    LogLevel {
        /// Before.
        from: LogLevel,
        /// From now on.
        to: LogLevel,
    },
    /// A gateway's KDCs, their transport or time-out.
    KdcAccess(KdcAccess),
    /// A KDC's policy; both lists are complete.
    KdcPolicy {
        /// Which gateway serves what.
        gateways: Vec<KdcGateway>,
        /// Which client may reach what.
        permits: Vec<KdcPermit>,
    },
    /// The life of session keys that a KDC issues.
    KeyLifetime(std::time::Duration),
}

/// How one service differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceChange {
    /// It is new.
    Added(ServiceConfig),
    /// It is gone.
    Removed(ServiceConfig),
    /// Same address, other ports, policy or name.
    Altered {
        /// Before.
        from: ServiceConfig,
        /// From now on.
        to: ServiceConfig,
    },
}

/// The new file changes what only a restart can change: nothing of it is applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct NeedsRestart {
    /// What it changes, in the order of the reference.
    pub items: Vec<RestartItem>,
}

/// One key that only a restart can change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RestartItem {
    /// `section.key`.
    pub key: &'static str,
    /// Its live value.
    pub live: String,
    /// Its value in the new file.
    pub new: String,
}

impl fmt::Display for NeedsRestart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing was changed: a restart is needed for ")?;
        for (index, item) in self.items.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{} ({} → {})", item.key, item.live, item.new)?;
        }
        Ok(())
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Services { changes, now } => {
                let count = |test: fn(&ServiceChange) -> bool| {
                    changes.iter().filter(|change| test(change)).count()
                };
                let added = count(|change| matches!(change, ServiceChange::Added(_)));
                let removed = count(|change| matches!(change, ServiceChange::Removed(_)));
                let altered = count(|change| matches!(change, ServiceChange::Altered { .. }));
                write!(
                    f,
                    "services: {added} added, {removed} removed, {altered} altered, {} in all",
                    now.len()
                )
            }
            Self::LogLevel { from, to } => write!(f, "log level: {from} → {to}"),
            Self::KdcAccess(access) => {
                write!(f, "KDC: {} servers over {}", access.servers.len(), access.transport)
            }
            Self::KdcPolicy { gateways, permits } => {
                write!(f, "policy: {} gateways, {} permits", gateways.len(), permits.len())
            }
            Self::KeyLifetime(lifetime) => write!(f, "key lifetime: {} s", lifetime.as_secs()),
        }
    }
}

impl Config {
    /// What a reload to `new` applies, in the order in which to apply it; empty if nothing differs.
    ///
    /// # Errors
    /// If anything differs that needs a restart: then nothing may be applied.
    pub fn changes_to(&self, new: &Self) -> Result<Vec<Change>, NeedsRestart> {
        let items: Vec<RestartItem> = if self.role() == new.role() {
            let pairs = self.settings().into_iter().zip(new.settings());
            let differing = pairs.filter(|((_, live), (_, new))| live != new);
            differing.map(|((key, live), (_, new))| RestartItem { key, live, new }).collect()
        } else {
            vec![RestartItem {
                key: "role",
                live: self.role().to_string(),
                new: new.role().to_string(),
            }]
        };
        if items.is_empty() { Ok(self.live_changes(new)) } else { Err(NeedsRestart { items }) }
    }

    /// Every key that needs a restart to change, as `section.key` with its value in effect, defaults included.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let mut settings = vec![("role", self.role().to_string())];
        match self {
            Self::Gateway(gateway) => node_settings(Role::Gateway, &gateway.node, &mut settings),
            Self::Client(client) => node_settings(Role::Client, &client.node, &mut settings),
            Self::Kdc(kdc) => kdc_settings(kdc, &mut settings),
        }
        let listen = self.metrics().listen.map_or("off".to_owned(), |listen| listen.to_string());
        settings.push(("metrics.listen", listen));
        settings.push(("admin.socket", self.admin().socket.display().to_string()));
        settings
    }

    fn live_changes(&self, new: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        if let (Some(live), Some(new)) = (self.node(), new.node())
            && live.services != new.services
        {
            let differing = service_changes(&live.services, &new.services);
            changes.push(Change::Services { changes: differing, now: new.services.clone() });
        }
        match (self, new) {
            (Self::Gateway(live), Self::Gateway(new)) if live.kdc != new.kdc => {
                changes.push(Change::KdcAccess(new.kdc.clone()));
            }
            (Self::Kdc(live), Self::Kdc(new)) => kdc_changes(live, new, &mut changes),
            _ => {}
        }
        let (from, to) = (self.log().level, new.log().level);
        if from != to {
            changes.push(Change::LogLevel { from, to });
        }
        changes
    }
}

fn kdc_changes(live: &KdcConfig, new: &KdcConfig, changes: &mut Vec<Change>) {
    if live.gateways != new.gateways || live.permits != new.permits {
        changes.push(Change::KdcPolicy {
            gateways: new.gateways.clone(),
            permits: new.permits.clone(),
        });
    }
    if live.key_lifetime != new.key_lifetime {
        changes.push(Change::KeyLifetime(new.key_lifetime));
    }
}

/// Services are matched by address; where an address stands more than once, equal entries first.
fn service_changes(live: &[ServiceConfig], new: &[ServiceConfig]) -> Vec<ServiceChange> {
    let mut gone: Vec<&ServiceConfig> =
        live.iter().filter(|service| !new.contains(service)).collect();
    let mut changes = Vec::new();
    for to in new.iter().filter(|service| !live.contains(service)) {
        match gone.iter().position(|from| from.address == to.address) {
            Some(at) => changes
                .push(ServiceChange::Altered { from: gone.remove(at).clone(), to: to.clone() }),
            None => changes.push(ServiceChange::Added(to.clone())),
        }
    }
    changes.extend(gone.into_iter().cloned().map(ServiceChange::Removed));
    changes
}

fn node_settings(role: Role, node: &NodeConfig, into: &mut Vec<(&'static str, String)>) {
    let NodeConfig { device, ports, workers, options, other, pin, .. } = node;
    let cores = workers.cores.iter().map(u16::to_string).collect::<Vec<_>>().join(",");
    into.extend([
        ("device.id", device.id.to_string()),
        ("device.key_file", device.key_file.display().to_string()),
        ("device.key_version", device.key_version.to_string()),
        ("ports.cipher", ports.cipher.clone()),
        ("ports.plain", ports.plain.clone()),
        ("ports.mode", ports.mode.to_string()),
        ("ports.rx_checksum", format!("{},{}", ports.rx_checksum_cipher, ports.rx_checksum_plain)),
        ("workers.count", workers.count.to_string()),
        ("workers.poll", workers.poll.to_string()),
        ("workers.cipher", workers.cipher.to_string()),
        ("workers.cores", if cores.is_empty() { "unpinned".to_owned() } else { cores }),
        ("workers.frames", workers.frames.to_string()),
        ("workers.ring", workers.ring.to_string()),
        ("workers.sessions", workers.sessions.to_string()),
    ]);
    delivery_settings(role, &node.delivery, into);
    into.extend([
        ("options.kind", options.kind.to_string()),
        ("options.exid", format!("{:#06x}", options.exid)),
        ("other.ip", other.ip.to_string()),
        ("other.fail", other.fail.to_string()),
        ("pin.directory", pin.directory.display().to_string()),
    ]);
}

fn delivery_settings(
    role: Role,
    delivery: &DeliveryConfig,
    into: &mut Vec<(&'static str, String)>,
) {
    into.push(("delivery.port", delivery.port.to_string()));
    if role == Role::Gateway {
        into.push(("delivery.hold", delivery.hold.to_string()));
    }
    into.extend([
        ("delivery.deadline_ms", delivery.deadline.as_millis().to_string()),
        ("delivery.linger_ms", delivery.linger.as_millis().to_string()),
        ("delivery.idle_s", delivery.idle.as_secs().to_string()),
    ]);
}

fn kdc_settings(kdc: &KdcConfig, into: &mut Vec<(&'static str, String)>) {
    let listener = |listen: Option<std::net::SocketAddr>| {
        listen.map_or("none".to_owned(), |at| at.to_string())
    };
    let audit = kdc.audit_log.as_ref().map_or("none".to_owned(), |path| path.display().to_string());
    into.extend([
        ("kdc.listen_udp", listener(kdc.listen_udp)),
        ("kdc.listen_tcp", listener(kdc.listen_tcp)),
        ("kdc.registry", kdc.registry.display().to_string()),
        ("kdc.master_key_file", kdc.master_key_file.display().to_string()),
        ("kdc.audit_log", audit),
        ("kdc.derived_keys", kdc.derived_keys.to_string()),
    ]);
}
