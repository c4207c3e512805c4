//! One device in the registry: its role and its key versions, and their form on disk.
//!
//! Owns the encoding and the sealing of keys. A key lies in the file only under the master key
//! (AES-256-GCM-SIV, random nonce); identifier, role, version, source and state are associated
//! data, so no record can be turned into another's and no revoked key enabled without the master
//! key.

use rand_core::CryptoRng;
use sekisho_kdc_client::{DeviceId, DeviceKey, MasterKey, Role, WrapError, WrapKey};
use serde::{Deserialize, Serialize};

/// Whether a key version may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyState {
    /// It is used.
    Enabled,
    /// It is not used at present.
    Disabled,
    /// It is never used again; a stored key is erased.
    Revoked,
}

impl KeyState {
    /// The word in tables, JSON and the file.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
            Self::Revoked => "revoked",
        }
    }
}

/// Where the key of a version comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeySource {
    /// A random key, sealed in the registry.
    Stored,
    /// Derived from master key, role, identifier and version.
    Derived,
}

impl KeySource {
    /// The word in tables, JSON and the file.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Derived => "derived",
        }
    }
}

/// One key version of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// 1 for the first key of a device, greater for later ones.
    pub version: u32,
    /// Whether it may be used.
    pub state: KeyState,
    /// Where the key comes from.
    pub source: KeySource,
    /// When it was added, seconds since 1970.
    pub added: u64,
    /// When its state changed last, seconds since 1970.
    pub changed: u64,
    /// The sealed key; of a derived or a revoked one the seal over nothing.
    sealed: Vec<u8>,
}

/// One device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRecord {
    /// Its identifier.
    pub id: DeviceId,
    /// What it is; one identifier has one role.
    pub role: Role,
    /// Its key versions, ascending.
    pub keys: Vec<KeyRecord>,
}

/// The key that seals records, and what it needs to derive and to seal.
pub(super) struct Sealer<'a> {
    pub(super) master: &'a MasterKey,
    pub(super) seal: WrapKey,
}

impl<'a> Sealer<'a> {
    pub(super) fn new(master: &'a MasterKey) -> Self {
        Self { master, seal: master.registry_key() }
    }
}

impl DeviceRecord {
    /// The greatest key version there is, 0 if none.
    #[must_use]
    pub fn latest(&self) -> u32 {
        self.keys.iter().map(|k| k.version).max().unwrap_or(0)
    }

    pub(super) fn key(&self, version: u32) -> Option<&KeyRecord> {
        self.keys.iter().find(|k| k.version == version)
    }

    /// Adds an enabled key version; `key` is the stored key, or none for a derived one.
    pub(super) fn push(
        &mut self,
        version: u32,
        key: Option<&DeviceKey>,
        sealer: &Sealer<'_>,
        rng: &mut dyn CryptoRng,
        now: u64,
    ) {
        let source = if key.is_some() { KeySource::Stored } else { KeySource::Derived };
        let state = KeyState::Enabled;
        let aad = associated(&self.id, self.role, version, source, state);
        let plain: &[u8] = key.map_or(&[], |k| k.expose());
        let sealed = sealer.seal.seal(plain, &aad, rng);
        self.keys.push(KeyRecord { version, state, source, added: now, changed: now, sealed });
        self.keys.sort_by_key(|k| k.version);
    }

    /// Puts the key version at `index` into another state, sealing it anew.
    pub(super) fn set_state(
        &mut self,
        index: usize,
        state: KeyState,
        sealer: &Sealer<'_>,
        rng: &mut dyn CryptoRng,
        now: u64,
    ) -> Result<(), WrapError> {
        let Some(k) = self.keys.get_mut(index) else { return Ok(()) };
        let old = associated(&self.id, self.role, k.version, k.source, k.state);
        // A seal that does not open stands in the way of enabling, never of revoking.
        let plain = match (state, sealer.seal.open(&k.sealed, &old)) {
            (KeyState::Revoked, _) => zeroize::Zeroizing::default(),
            (_, opened) => opened?,
        };
        let new = associated(&self.id, self.role, k.version, k.source, state);
        k.sealed = sealer.seal.seal(&plain, &new, rng);
        k.state = state;
        k.changed = now;
        Ok(())
    }

    /// Opens the key of a version after checking its seal.
    pub(super) fn open(&self, k: &KeyRecord, sealer: &Sealer<'_>) -> Result<DeviceKey, WrapError> {
        let aad = associated(&self.id, self.role, k.version, k.source, k.state);
        let plain = sealer.seal.open(&k.sealed, &aad)?;
        match k.source {
            KeySource::Derived => Ok(sealer.master.device_key(self.role, &self.id, k.version)),
            KeySource::Stored => {
                let key: &[u8; 32] = plain.as_slice().try_into().map_err(|_| WrapError)?;
                Ok(DeviceKey::from_bytes(*key))
            }
        }
    }

    /// The form on disk.
    pub(super) fn encode(&self) -> Vec<u8> {
        let keys = self.keys.iter().map(DiskKey::from).collect();
        let disk = DiskRecord { role: self.role.label().to_owned(), keys };
        serde_json::to_vec(&disk).expect("invariant: strings and numbers always serialise")
    }

    /// Reads the form on disk. `None` if it is none.
    pub(super) fn decode(id: &[u8], bytes: &[u8]) -> Option<Self> {
        let id = DeviceId::from_wire(id).ok()?;
        let disk: DiskRecord = serde_json::from_slice(bytes).ok()?;
        let role = [Role::Client, Role::Gateway].into_iter().find(|r| r.label() == disk.role)?;
        let keys = disk.keys.into_iter().map(DiskKey::into_record).collect::<Option<_>>()?;
        Some(Self { id, role, keys })
    }
}

/// The associated data of a sealed key; every part has a fixed or a prefixed length.
fn associated(
    id: &DeviceId,
    role: Role,
    version: u32,
    source: KeySource,
    state: KeyState,
) -> Vec<u8> {
    let id = id.to_wire();
    let mut out = b"sekisho/1 registry".to_vec();
    for part in [&id[..], role.label().as_bytes(), &version.to_be_bytes()] {
        out.extend_from_slice(&(part.len() as u64).to_be_bytes());
        out.extend_from_slice(part);
    }
    out.push(source as u8);
    out.push(state as u8);
    out
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DiskRecord {
    role: String,
    keys: Vec<DiskKey>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DiskKey {
    version: u32,
    state: KeyState,
    source: KeySource,
    added: u64,
    changed: u64,
    sealed: String,
}

impl From<&KeyRecord> for DiskKey {
    fn from(k: &KeyRecord) -> Self {
        Self {
            version: k.version,
            state: k.state,
            source: k.source,
            added: k.added,
            changed: k.changed,
            sealed: hex::encode(&k.sealed),
        }
    }
}

impl DiskKey {
    fn into_record(self) -> Option<KeyRecord> {
        Some(KeyRecord {
            version: self.version,
            state: self.state,
            source: self.source,
            added: self.added,
            changed: self.changed,
            sealed: hex::decode(self.sealed).ok()?,
        })
    }
}
