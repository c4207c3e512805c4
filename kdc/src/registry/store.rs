//! The registry's file: a redb database that every command opens for a moment.
//!
//! Owns schema, locking and the changes that can be made. Keys leave it only as [`DeviceKey`].

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rand_core::{CryptoRng, UnwrapErr};
use redb::{
    Database, DatabaseError, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition,
    WriteTransaction,
};
use sekisho_kdc_client::{DeviceId, DeviceKey, MasterKey, Role};

use super::record::{DeviceRecord, KeySource, KeyState, Sealer};
use super::view::RegistryView;

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const DEVICES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("devices");

const SCHEMA: u32 = 1;
/// What the `check` entry holds under the master key.
const CHECK: &[u8] = b"sekisho/1 master key";

/// How long to wait for another process that has the file open; a command holds it for a few
/// milliseconds, a reader for as long as reading takes.
const LOCK_WAIT: Duration = Duration::from_secs(5);
const LOCK_STEP: Duration = Duration::from_millis(10);

/// Cache of a database that is open for a moment only, octets.
const CACHE: usize = 4 << 20;

/// Why the registry could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// There is one already.
    #[error("registry {0} exists already and is not overwritten")]
    Exists(PathBuf),
    /// There is none.
    #[error("registry {0} does not exist; make it with: sekisho kdc init")]
    Missing(PathBuf),
    /// Another process has held it for too long.
    #[error("registry {0} is held open by another process")]
    Busy(PathBuf),
    /// The master key is not the one that the registry was made with.
    #[error("the master key does not fit registry {0}; it was made with another one")]
    WrongMasterKey(PathBuf),
    /// It is of another version.
    #[error("registry {path} has schema {found}, this program knows {SCHEMA}")]
    Schema {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u32,
    },
    /// A record or the database itself is damaged.
    #[error("registry is damaged: {0}")]
    Damaged(String),
    /// The device is registered in the other role.
    #[error("{id} is registered as {role}; one identifier has one role", role = .role.label())]
    OtherRole {
        /// The device.
        id: DeviceId,
        /// Its role.
        role: Role,
    },
    /// The device has that key version, or a later one.
    #[error("{id} has key version {latest}; a new key needs a greater version")]
    VersionTaken {
        /// The device.
        id: DeviceId,
        /// Its greatest version.
        latest: u32,
    },
    /// No such device or key version.
    #[error("{0} is not registered with that key version")]
    NoSuchDevice(DeviceId),
    /// A revoked key stays revoked.
    #[error("key version {version} of {id} is revoked for good; add a new version")]
    Revoked {
        /// The device.
        id: DeviceId,
        /// The version.
        version: u32,
    },
    /// The database or the system failed.
    #[error("registry: {0}")]
    Database(#[from] redb::Error),
    /// A file operation failed.
    #[error("registry {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

macro_rules! from_redb {
    ($($kind:ident),+) => {$(
        impl From<redb::$kind> for RegistryError {
            fn from(e: redb::$kind) -> Self { Self::Database(e.into()) }
        }
    )+};
}
from_redb!(StorageError, TableError, TransactionError, CommitError, DatabaseError);

/// Where the key of a new version comes from.
pub enum NewKey {
    /// A fresh random key, stored.
    Random,
    /// This key, stored: the one that another KDC has registered, or a device already holds.
    Given(DeviceKey),
    /// Derived from the master key.
    Derived,
}

/// What [`Registry::add`] made.
pub struct Added {
    /// The key version.
    pub version: u32,
    /// Where the key comes from.
    pub source: KeySource,
    /// The key, for the device's key file.
    pub key: DeviceKey,
}

/// The registry's file with the master key that fits it.
#[derive(Clone)]
pub struct Registry {
    path: PathBuf,
    master: Arc<MasterKey>,
}

impl Registry {
    /// Makes an empty registry, mode 0600.
    ///
    /// # Errors
    /// [`RegistryError::Exists`] if there is a file, and what redb says else.
    pub fn create(path: &Path, master: Arc<MasterKey>) -> Result<Self, RegistryError> {
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        made.map_err(|source| match source.kind() {
            std::io::ErrorKind::AlreadyExists => RegistryError::Exists(path.to_owned()),
            _ => RegistryError::Io { path: path.to_owned(), source },
        })?;
        let registry = Self { path: path.to_owned(), master };
        registry.initialise().inspect_err(|_| {
            // Half a registry is none; what cannot be removed shows as damaged at the next open.
            let _ = std::fs::remove_file(path);
        })?;
        Ok(registry)
    }

    fn initialise(&self) -> Result<(), RegistryError> {
        let db = Database::create(&self.path)?;
        let tx = db.begin_write()?;
        {
            let check = self.master.registry_key().seal(CHECK, b"check", &mut system_rng());
            let mut meta = tx.open_table(META)?;
            meta.insert("schema", &SCHEMA.to_be_bytes()[..])?;
            meta.insert("generation", &1u64.to_be_bytes()[..])?;
            meta.insert("check", &check[..])?;
            tx.open_table(DEVICES)?;
        }
        tx.commit()?;
        Ok(())
    }

    /// A registry that exists; checks that the master key fits it.
    ///
    /// # Errors
    /// [`RegistryError`] if there is none, or it is of another master key or schema.
    pub fn open(path: &Path, master: Arc<MasterKey>) -> Result<Self, RegistryError> {
        let registry = Self { path: path.to_owned(), master };
        registry.read(|_| Ok(()))?;
        Ok(registry)
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Registers a device, or gives a registered one a further key version.
    ///
    /// Without `version` it is one above the greatest there is. Earlier versions stay as they are,
    /// so that a device can change over; revoke them when it has.
    ///
    /// # Errors
    /// [`RegistryError::VersionTaken`], [`RegistryError::OtherRole`], and what redb says.
    pub fn add(
        &self,
        id: &DeviceId,
        role: Role,
        version: Option<u32>,
        key: NewKey,
    ) -> Result<Added, RegistryError> {
        let mut rng = system_rng();
        self.change(|devices| {
            let sealer = Sealer::new(&self.master);
            let mut record = match load(devices, id)? {
                Some(r) if r.role != role => {
                    return Err(RegistryError::OtherRole { id: id.clone(), role: r.role });
                }
                Some(r) => r,
                None => DeviceRecord { id: id.clone(), role, keys: Vec::new() },
            };
            let latest = record.latest();
            let version = version.unwrap_or(latest.saturating_add(1));
            if version <= latest {
                return Err(RegistryError::VersionTaken { id: id.clone(), latest });
            }
            let (source, key) = match key {
                NewKey::Random => (KeySource::Stored, DeviceKey::generate(&mut rng)),
                NewKey::Given(key) => (KeySource::Stored, key),
                NewKey::Derived => (KeySource::Derived, self.master.device_key(role, id, version)),
            };
            let stored = (source == KeySource::Stored).then_some(&key);
            record.push(version, stored, &sealer, &mut rng, unix_seconds());
            devices.insert(&id.to_wire()[..], &record.encode()[..])?;
            Ok(Added { version, source, key })
        })
    }

    /// Puts one key version of a device, or all that are not revoked, into a state; gives the
    /// number of versions that changed.
    ///
    /// # Errors
    /// [`RegistryError::NoSuchDevice`]; [`RegistryError::Revoked`] if a revoked version is named
    /// for another state; and what redb says.
    pub fn set_state(
        &self,
        id: &DeviceId,
        version: Option<u32>,
        state: KeyState,
    ) -> Result<usize, RegistryError> {
        self.change(|devices| {
            let missing = || RegistryError::NoSuchDevice(id.clone());
            let mut record = load(devices, id)?.ok_or_else(missing)?;
            if let Some(v) = version {
                let key = record.key(v).ok_or_else(missing)?;
                if key.state == KeyState::Revoked && state != KeyState::Revoked {
                    return Err(RegistryError::Revoked { id: id.clone(), version: v });
                }
            }
            let changed = apply_state(&mut record, version, state, &self.master)?;
            devices.insert(&id.to_wire()[..], &record.encode()[..])?;
            Ok(changed)
        })
    }

    /// Revokes a device that is not registered but could use a derived key: it gets a record that
    /// says so, and none of its key versions is derived any more.
    ///
    /// # Errors
    /// [`RegistryError::VersionTaken`] if it is registered, and what redb says.
    pub fn revoke_unregistered(&self, id: &DeviceId, role: Role) -> Result<(), RegistryError> {
        let mut rng = system_rng();
        self.change(|devices| {
            if let Some(r) = load(devices, id)? {
                return Err(RegistryError::VersionTaken { id: id.clone(), latest: r.latest() });
            }
            let mut record = DeviceRecord { id: id.clone(), role, keys: Vec::new() };
            record.push(1, None, &Sealer::new(&self.master), &mut rng, unix_seconds());
            apply_state(&mut record, None, KeyState::Revoked, &self.master)?;
            devices.insert(&id.to_wire()[..], &record.encode()[..])?;
            Ok(())
        })
    }

    /// The key of an enabled version, for writing a key file again. Without `version` the greatest.
    ///
    /// # Errors
    /// [`RegistryError::NoSuchDevice`], [`RegistryError::Revoked`], and what redb says.
    pub fn export(
        &self,
        id: &DeviceId,
        version: Option<u32>,
    ) -> Result<(u32, DeviceKey), RegistryError> {
        let record = self
            .list()?
            .into_iter()
            .find(|r| r.id == *id)
            .ok_or_else(|| RegistryError::NoSuchDevice(id.clone()))?;
        let version = version.unwrap_or(record.latest());
        let key = record.key(version).ok_or_else(|| RegistryError::NoSuchDevice(id.clone()))?;
        if key.state == KeyState::Revoked {
            return Err(RegistryError::Revoked { id: id.clone(), version });
        }
        let opened = record.open(key, &Sealer::new(&self.master));
        Ok((version, opened.map_err(|_| damaged(id))?))
    }

    /// The number of the last change; a [`RegistryView`] that has it knows all changes up to it.
    ///
    /// # Errors
    /// [`RegistryError`] if it cannot be read.
    pub fn generation(&self) -> Result<u64, RegistryError> {
        self.read(generation)
    }

    /// Every device, in the order of identifiers.
    ///
    /// # Errors
    /// [`RegistryError`] if it cannot be read.
    pub fn list(&self) -> Result<Vec<DeviceRecord>, RegistryError> {
        self.read(|tx| Ok(read_records(tx)?.1))
    }

    /// A copy in memory to answer from; `derived` as in the configuration's `derived_keys`.
    ///
    /// # Errors
    /// [`RegistryError`] if it cannot be read.
    pub fn view(&self, derived: bool) -> Result<RegistryView, RegistryError> {
        let (generation, records) = self.read(read_records)?;
        Ok(RegistryView::new(Arc::clone(&self.master), derived, generation, records))
    }

    fn read<T>(
        &self,
        f: impl FnOnce(&ReadTransaction) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let open = || redb::Builder::new().set_cache_size(CACHE).open_read_only(&self.path);
        match self.locked(open) {
            Ok(db) => self.checked(&db, f),
            // A writer died half-way: opening for writing repairs the file.
            Err(RegistryError::Database(redb::Error::RepairAborted)) => {
                self.checked(&self.open_rw()?, f)
            }
            Err(e) => Err(e),
        }
    }

    fn checked<T>(
        &self,
        db: &impl ReadableDatabase,
        f: impl FnOnce(&ReadTransaction) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let tx = db.begin_read()?;
        self.check(&tx)?;
        f(&tx)
    }

    fn change<T>(
        &self,
        f: impl FnOnce(&mut redb::Table<'_, &'static [u8], &'static [u8]>) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let db = self.open_rw()?;
        self.check(&db.begin_read()?)?;
        let tx = db.begin_write()?;
        let out = f(&mut tx.open_table(DEVICES)?)?;
        bump_generation(&tx)?;
        tx.commit()?;
        Ok(out)
    }

    fn open_rw(&self) -> Result<Database, RegistryError> {
        self.locked(|| redb::Builder::new().set_cache_size(CACHE).open(&self.path))
    }

    /// Opens by `open`, waiting for another process to close the file.
    fn locked<D>(&self, open: impl Fn() -> Result<D, DatabaseError>) -> Result<D, RegistryError> {
        if !self.path.exists() {
            return Err(RegistryError::Missing(self.path.clone()));
        }
        let until = Instant::now() + LOCK_WAIT;
        loop {
            match open() {
                Err(DatabaseError::DatabaseAlreadyOpen) if Instant::now() < until => {
                    std::thread::sleep(LOCK_STEP);
                }
                Err(DatabaseError::DatabaseAlreadyOpen) => {
                    return Err(RegistryError::Busy(self.path.clone()));
                }
                other => return Ok(other?),
            }
        }
    }

    /// Schema and master key.
    fn check(&self, tx: &ReadTransaction) -> Result<(), RegistryError> {
        let meta = tx.open_table(META)?;
        let no =
            |what: &str| RegistryError::Damaged(format!("no {what} in {}", self.path.display()));
        let found = meta
            .get("schema")?
            .and_then(|v| v.value().try_into().ok().map(u32::from_be_bytes))
            .ok_or_else(|| no("schema"))?;
        if found != SCHEMA {
            return Err(RegistryError::Schema { path: self.path.clone(), found });
        }
        let sealed = meta.get("check")?.ok_or_else(|| no("check"))?;
        match self.master.registry_key().open(sealed.value(), b"check") {
            Ok(plain) if *plain == CHECK => Ok(()),
            _ => Err(RegistryError::WrongMasterKey(self.path.clone())),
        }
    }
}

fn apply_state(
    record: &mut DeviceRecord,
    version: Option<u32>,
    state: KeyState,
    master: &MasterKey,
) -> Result<usize, RegistryError> {
    let sealer = Sealer::new(master);
    let mut rng = system_rng();
    let mut changed = 0;
    for index in 0..record.keys.len() {
        let key = &record.keys[index];
        let named = version.is_none_or(|v| v == key.version);
        if !named || key.state == state || key.state == KeyState::Revoked {
            continue;
        }
        record
            .set_state(index, state, &sealer, &mut rng, unix_seconds())
            .map_err(|_| damaged(&record.id))?;
        changed += 1;
    }
    Ok(changed)
}

fn load(
    devices: &impl ReadableTable<&'static [u8], &'static [u8]>,
    id: &DeviceId,
) -> Result<Option<DeviceRecord>, RegistryError> {
    let wire = id.to_wire();
    let Some(value) = devices.get(&wire[..])? else { return Ok(None) };
    DeviceRecord::decode(&wire, value.value()).map(Some).ok_or_else(|| damaged(id))
}

fn generation(tx: &ReadTransaction) -> Result<u64, RegistryError> {
    let value = tx.open_table(META)?.get("generation")?;
    Ok(value.and_then(|v| v.value().try_into().ok().map(u64::from_be_bytes)).unwrap_or(0))
}

fn read_records(tx: &ReadTransaction) -> Result<(u64, Vec<DeviceRecord>), RegistryError> {
    let generation = generation(tx)?;
    let mut records = Vec::new();
    for entry in tx.open_table(DEVICES)?.iter()? {
        let (id, value) = entry?;
        let record = DeviceRecord::decode(id.value(), value.value()).ok_or_else(|| {
            RegistryError::Damaged(format!("record {} does not parse", hex::encode(id.value())))
        })?;
        records.push(record);
    }
    Ok((generation, records))
}

fn bump_generation(tx: &WriteTransaction) -> Result<(), RegistryError> {
    let mut meta = tx.open_table(META)?;
    let old = meta
        .get("generation")?
        .and_then(|v| v.value().try_into().ok().map(u64::from_be_bytes))
        .unwrap_or(0);
    meta.insert("generation", &old.wrapping_add(1).to_be_bytes()[..])?;
    Ok(())
}

fn damaged(id: &DeviceId) -> RegistryError {
    RegistryError::Damaged(format!("the record of {id} does not verify under the master key"))
}

/// The operating system's randomness; it ends the process if there is none.
fn system_rng() -> impl CryptoRng {
    UnwrapErr(getrandom::SysRng)
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
