//! The registry in memory: what a serving KDC answers from.
//!
//! Owns the look-up by identifier, role and key version. Never changes; a new one replaces it.
//! Stored keys stay sealed in it and are opened for the length of one request.

use std::collections::HashMap;
use std::sync::Arc;

use sekisho_kdc_client::{DeviceId, DeviceKey, MasterKey, Role};

use super::record::{DeviceRecord, KeyState, Sealer};

/// What a look-up found.
pub enum Lookup {
    /// An enabled key.
    Found(DeviceKey),
    /// No such device in this role.
    Unknown,
    /// The device is known, that key version is not.
    WrongVersion,
    /// The key version is disabled.
    Disabled,
    /// The key version is revoked.
    Revoked,
    /// The record does not verify under the master key: somebody else wrote it.
    Damaged,
}

/// The registry at one moment.
pub struct RegistryView {
    master: Arc<MasterKey>,
    derived: bool,
    generation: u64,
    enabled: usize,
    devices: HashMap<DeviceId, DeviceRecord>,
}

impl RegistryView {
    pub(super) fn new(
        master: Arc<MasterKey>,
        derived: bool,
        generation: u64,
        records: Vec<DeviceRecord>,
    ) -> Self {
        let usable = |r: &&DeviceRecord| r.keys.iter().any(|k| k.state == KeyState::Enabled);
        let enabled = records.iter().filter(usable).count();
        let devices = records.into_iter().map(|r| (r.id.clone(), r)).collect();
        Self { master, derived, generation, enabled, devices }
    }

    /// A view without a registry, of derived keys alone; for tests and benchmarks.
    #[must_use]
    pub fn derived_only(master: Arc<MasterKey>) -> Self {
        Self::new(master, true, 0, Vec::new())
    }

    /// Grows with each change of the registry.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The number of registered devices.
    #[must_use]
    pub fn len(&self) -> usize {
        self.devices.len()
    }

    /// The number of those with an enabled key version.
    #[must_use]
    pub fn enabled(&self) -> usize {
        self.enabled
    }

    /// Whether no device is registered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.devices.is_empty()
    }

    /// The long-term key of a device. In derived-key mode a device without a record has the key
    /// derived for it; one with a record has exactly the versions that the record names.
    #[must_use]
    pub fn lookup(&self, id: &DeviceId, role: Role, version: u32) -> Lookup {
        let Some(record) = self.devices.get(id) else {
            return match self.derived && version > 0 {
                true => Lookup::Found(self.master.device_key(role, id, version)),
                false => Lookup::Unknown,
            };
        };
        if record.role != role {
            return Lookup::Unknown;
        }
        let Some(key) = record.key(version) else { return Lookup::WrongVersion };
        match (record.open(key, &Sealer::new(&self.master)), key.state) {
            (_, KeyState::Revoked) => Lookup::Revoked,
            (Err(_), _) => Lookup::Damaged,
            (Ok(_), KeyState::Disabled) => Lookup::Disabled,
            (Ok(key), KeyState::Enabled) => Lookup::Found(key),
        }
    }
}
