//! `sekisho kdc device …`: the registry from the command line.
//!
//! Owns arguments and output; what a change means is the registry's.

use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand, ValueEnum};
use sekisho_config::KdcConfig;
use sekisho_kdc::keyfile::{self, KeyFileError};
use sekisho_kdc::registry::{DeviceRecord, KeyState, NewKey, Registry, RegistryError};
use sekisho_kdc::server::load_master;
use sekisho_kdc_client::{DeviceId, DeviceKey, Role};
use serde_json::{Value, json};

use crate::admin;

use super::{Common, KdcError, load, open_registry, print};

/// How long a serving KDC may take to read a changed registry: it looks every 100 ms.
const IN_FORCE: Duration = Duration::from_secs(5);

/// Register, list and revoke devices.
#[derive(Debug, Subcommand)]
pub enum DeviceCommand {
    /// Register a device, or give it a further key version; prints or writes its key.
    Add(AddArgs),
    /// Write the key of a registered device again.
    Export(ExportArgs),
    /// Write the derived key of a device without registering it.
    Derive(DeriveArgs),
    /// Show all devices.
    List(Common),
    /// Never accept the device's keys again, and erase stored ones.
    Revoke(NameArgs),
    /// Do not accept the device's keys for the time being.
    Disable(NameArgs),
    /// Accept disabled keys again.
    Enable(NameArgs),
}

/// What a device may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RoleArg {
    /// A client agent.
    Client,
    /// A cipher gateway.
    Gateway,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Client => Self::Client,
            RoleArg::Gateway => Self::Gateway,
        }
    }
}

/// Arguments of `add`.
#[derive(Debug, Args)]
pub struct AddArgs {
    /// The device: ip:10.0.0.1, ip:fd00::1, mac:02:00:00:00:00:01 or name:alice.
    pub id: DeviceId,
    /// What it is.
    #[arg(long, value_enum, default_value = "client")]
    pub role: RoleArg,
    /// The key version; without it one above the greatest there is.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub key_version: Option<u32>,
    /// Register the key in this file instead of a new one, as where several KDCs know a device.
    #[arg(long, value_name = "FILE")]
    pub key_in: Option<PathBuf>,
    /// Write the key to this new file, mode 0600, instead of printing it.
    #[arg(long, value_name = "FILE", alias = "key-file")]
    pub key_out: Option<PathBuf>,
    #[command(flatten)]
    pub common: Common,
}

/// Arguments of `derive`.
#[derive(Debug, Args)]
pub struct DeriveArgs {
    /// The device.
    pub id: DeviceId,
    /// What it is.
    #[arg(long, value_enum, default_value = "client")]
    pub role: RoleArg,
    /// The key version.
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..))]
    pub key_version: u32,
    /// Write the key to this new file, mode 0600, instead of printing it.
    #[arg(long, value_name = "FILE", alias = "key-file")]
    pub key_out: Option<PathBuf>,
    #[command(flatten)]
    pub common: Common,
}

/// Arguments of `export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The device.
    pub id: DeviceId,
    /// The key version; without it the greatest.
    #[arg(long, value_name = "N")]
    pub key_version: Option<u32>,
    /// Write the key to this new file, mode 0600, instead of printing it.
    #[arg(long, value_name = "FILE", alias = "key-file")]
    pub key_out: Option<PathBuf>,
    #[command(flatten)]
    pub common: Common,
}

/// Arguments of commands that change a state.
#[derive(Debug, Args)]
pub struct NameArgs {
    /// The device.
    pub id: DeviceId,
    /// Only this key version; without it all.
    #[arg(long, value_name = "N")]
    pub key_version: Option<u32>,
    #[command(flatten)]
    pub common: Common,
}

pub(super) fn execute(command: DeviceCommand, out: &mut dyn Write) -> Result<(), KdcError> {
    match command {
        DeviceCommand::Add(args) => add(&args, out),
        DeviceCommand::Export(args) => export(&args, out),
        DeviceCommand::Derive(args) => derive(&args, out),
        DeviceCommand::List(common) => list(&common, out),
        DeviceCommand::Revoke(args) => set_state(&args, KeyState::Revoked, out),
        DeviceCommand::Disable(args) => set_state(&args, KeyState::Disabled, out),
        DeviceCommand::Enable(args) => set_state(&args, KeyState::Enabled, out),
    }
}

fn open(common: &Common) -> Result<(KdcConfig, Registry), KdcError> {
    let config = load(&common.config)?;
    let registry = open_registry(&config)?;
    Ok((config, registry))
}

fn add(args: &AddArgs, out: &mut dyn Write) -> Result<(), KdcError> {
    let (config, registry) = open(&args.common)?;
    refuse_existing(args.key_out.as_deref())?;
    let key = match &args.key_in {
        Some(file) => NewKey::Given(DeviceKey::from_bytes(*keyfile::read(file)?)),
        None if config.derived_keys => NewKey::Derived,
        None => NewKey::Random,
    };
    let role = Role::from(args.role);
    let added = registry.add(&args.id, role, args.key_version, key)?;
    write_key(&args.id, &added.key, args.key_out.as_deref())?;
    let text = key_text(
        &args.common,
        &json!({
            "id": args.id.to_string(),
            "role": role.label(),
            "key_version": added.version,
            "source": added.source.label(),
        }),
        (&added.key, args.key_out.as_deref()),
        &format!("registered {} as {}, key version {}", args.id, role.label(), added.version),
    );
    print(out, &text)?;
    await_in_force(&config, &registry)
}

fn derive(args: &DeriveArgs, out: &mut dyn Write) -> Result<(), KdcError> {
    let config = load(&args.common.config)?;
    if !config.derived_keys {
        return Err(KdcError::NotDerived(args.common.config.clone()));
    }
    refuse_existing(args.key_out.as_deref())?;
    let role = Role::from(args.role);
    let key = load_master(&config)?.device_key(role, &args.id, args.key_version);
    write_key(&args.id, &key, args.key_out.as_deref())?;
    let text = key_text(
        &args.common,
        &json!({
            "id": args.id.to_string(),
            "role": role.label(),
            "key_version": args.key_version,
        }),
        (&key, args.key_out.as_deref()),
        &format!("key of {} as {}, version {}", args.id, role.label(), args.key_version),
    );
    print(out, &text)
}

fn export(args: &ExportArgs, out: &mut dyn Write) -> Result<(), KdcError> {
    let (_, registry) = open(&args.common)?;
    refuse_existing(args.key_out.as_deref())?;
    let (version, key) = registry.export(&args.id, args.key_version)?;
    write_key(&args.id, &key, args.key_out.as_deref())?;
    let text = key_text(
        &args.common,
        &json!({ "id": args.id.to_string(), "key_version": version }),
        (&key, args.key_out.as_deref()),
        &format!("key of {}, version {version}", args.id),
    );
    print(out, &text)
}

/// Waits until a KDC that serves from this registry goes by its last change, so that a command has
/// taken effect when it ends. Where none serves there is nothing to wait for.
fn await_in_force(config: &KdcConfig, registry: &Registry) -> Result<(), KdcError> {
    if !config.admin.socket.exists() {
        return Ok(());
    }
    let wanted = registry.generation()?;
    let until = Instant::now() + IN_FORCE;
    loop {
        match admin::ask(&config.admin.socket, admin::Command::Status) {
            Ok(admin::Answer::Status(status)) => match status.registry {
                Some(known) if known.generation < wanted => {}
                _ => return Ok(()),
            },
            // Nobody serves there.
            _ => return Ok(()),
        }
        if Instant::now() >= until {
            return Err(KdcError::NotInForce);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A key file that could not be written after all would leave a registered key that nobody has.
fn refuse_existing(path: Option<&Path>) -> Result<(), KdcError> {
    match path {
        Some(path) if path.exists() => Err(KeyFileError::Exists(path.to_owned()).into()),
        _ => Ok(()),
    }
}

fn write_key(id: &DeviceId, key: &DeviceKey, path: Option<&Path>) -> Result<(), KdcError> {
    let Some(path) = path else { return Ok(()) };
    keyfile::write_new(path, key.expose())
        .map_err(|source| KdcError::KeyNotWritten { id: id.to_string(), source })
}

/// What is told of a key: where it was written, or else the key itself.
fn key_text(
    common: &Common,
    fields: &Value,
    (key, path): (&DeviceKey, Option<&Path>),
    sentence: &str,
) -> String {
    let hex = key.to_hex();
    if common.json {
        let mut object = fields.clone();
        match path {
            Some(path) => object["key_file"] = json!(path),
            None => object["key"] = json!(hex.trim_end()),
        }
        return object.to_string();
    }
    match path {
        Some(path) => format!("{sentence}; key in {}", path.display()),
        None => {
            format!("{sentence}; put this line into its key file (mode 0600):\n{}", hex.trim_end())
        }
    }
}

fn set_state(args: &NameArgs, state: KeyState, out: &mut dyn Write) -> Result<(), KdcError> {
    let (config, registry) = open(&args.common)?;
    let changed = match registry.set_state(&args.id, args.key_version, state) {
        // A derived key needs no registration, so its revocation makes the record. In which role
        // does not matter: a record that is revoked stands for both.
        Err(RegistryError::NoSuchDevice(_))
            if config.derived_keys && state == KeyState::Revoked && args.key_version.is_none() =>
        {
            registry.revoke_unregistered(&args.id, Role::Client)?;
            1
        }
        other => other?,
    };
    let id = args.id.to_string();
    let text = match (args.common.json, changed) {
        (true, _) => json!({ "id": id, "state": state.label(), "changed": changed }).to_string(),
        (false, 0) => format!("{id}: nothing to change"),
        (false, 1) => format!("{id}: 1 key version {}", state.label()),
        (false, n) => format!("{id}: {n} key versions {}", state.label()),
    };
    print(out, &text)?;
    await_in_force(&config, &registry)
}

fn list(common: &Common, out: &mut dyn Write) -> Result<(), KdcError> {
    let (_, registry) = open(common)?;
    let devices = registry.list()?;
    let text = match common.json {
        true => Value::Array(devices.iter().map(device_json).collect()).to_string(),
        false => table(&devices),
    };
    print(out, text.trim_end())
}

fn device_json(device: &DeviceRecord) -> Value {
    let keys: Vec<Value> = device
        .keys
        .iter()
        .map(|k| {
            json!({
                "version": k.version,
                "state": k.state.label(),
                "source": k.source.label(),
                "added_unix_seconds": k.added,
                "changed_unix_seconds": k.changed,
            })
        })
        .collect();
    json!({ "id": device.id.to_string(), "role": device.role.label(), "keys": keys })
}

fn table(devices: &[DeviceRecord]) -> String {
    if devices.is_empty() {
        return "no devices; register one with: sekisho kdc device add".to_owned();
    }
    let head = ["DEVICE", "ROLE", "VERSION", "STATE", "KEY", "CHANGED"].map(str::to_owned);
    let mut rows = vec![head];
    for device in devices {
        for key in &device.keys {
            rows.push([
                device.id.to_string(),
                device.role.label().to_owned(),
                key.version.to_string(),
                key.state.label().to_owned(),
                key.source.label().to_owned(),
                utc(key.changed),
            ]);
        }
    }
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: [usize; 6] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(line, "{cell:width$}  ");
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// `2025-11-23 01:43:07Z` from seconds since 1970 (days to civil date after Howard Hinnant).
fn utc(seconds: u64) -> String {
    let (days, time) = (seconds / 86_400, seconds % 86_400);
    let z = days + 719_468;
    let era = z / 146_097;
    let doe = z % 146_097;
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (time / 3600, time % 3600 / 60, time % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::utc;

    #[test]
    fn dates_are_civil() {
        assert_eq!(utc(0), "1970-01-01 00:00:00Z");
        assert_eq!(utc(951_782_400), "2000-02-29 00:00:00Z");
        assert_eq!(utc(1_763_862_187), "2025-11-23 01:43:07Z");
        assert_eq!(utc(4_102_444_799), "2099-12-31 23:59:59Z");
    }
}
