//! The registry on disk, in memory, and while it changes under a reader.

use super::*;
use redb::ReadableTable;
use sekisho_kdc_client::{DeviceId, MasterKey, Role};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn master(fill: u8) -> Arc<MasterKey> {
    Arc::new(MasterKey::from_bytes([fill; 32]))
}

fn id(text: &str) -> DeviceId {
    text.parse().unwrap()
}

fn registry(dir: &Path) -> (PathBuf, Registry) {
    let path = dir.join("registry.redb");
    let registry = Registry::create(&path, master(1)).unwrap();
    (path, registry)
}

fn found(view: &RegistryView, device: &str, role: Role, version: u32) -> [u8; 32] {
    match view.lookup(&id(device), role, version) {
        Lookup::Found(key) => *key.expose(),
        other => panic!("{device}: {}", word(&other)),
    }
}

fn word(lookup: &Lookup) -> &'static str {
    match lookup {
        Lookup::Found(_) => "found",
        Lookup::Unknown => "unknown",
        Lookup::WrongVersion => "wrong version",
        Lookup::Disabled => "disabled",
        Lookup::Revoked => "revoked",
        Lookup::Damaged => "damaged",
    }
}

#[track_caller]
fn expect(view: &RegistryView, device: &str, role: Role, version: u32, what: &str) {
    assert_eq!(word(&view.lookup(&id(device), role, version)), what, "{device} {version}");
}

#[test]
fn every_kind_of_identifier_is_kept_with_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let (path, registry) = registry(dir.path());
    let ids = ["ip:10.0.0.1", "ip:fd00::1", "mac:02:00:00:00:00:01", "name:alice"];
    let mut keys = Vec::new();
    for text in ids {
        let added = registry.add(&id(text), Role::Client, None, NewKey::Random).unwrap();
        assert_eq!(added.version, 1);
        keys.push(*added.key.expose());
    }
    let view = Registry::open(&path, master(1)).unwrap().view(false).unwrap();
    assert_eq!(view.len(), ids.len());
    for (text, key) in ids.iter().zip(&keys) {
        assert_eq!(found(&view, text, Role::Client, 1), *key);
        assert_eq!(*registry.export(&id(text), None).unwrap().1.expose(), *key);
        expect(&view, text, Role::Gateway, 1, "unknown");
        expect(&view, text, Role::Client, 2, "wrong version");
    }
    expect(&view, "name:bob", Role::Client, 1, "unknown");
}

#[test]
fn the_file_holds_no_key_octets_and_is_private() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let (path, registry) = registry(dir.path());
    let mut needles = vec![[1u8; 32].to_vec()];
    for i in 0..20 {
        let name = id(&format!("name:device{i}"));
        let added = registry.add(&name, Role::Client, None, NewKey::Random).unwrap();
        needles.push(added.key.expose().to_vec());
    }
    registry.set_state(&id("name:device3"), None, KeyState::Revoked).unwrap();
    let file = std::fs::read(&path).unwrap();
    let text = String::from_utf8_lossy(&file).to_lowercase();
    // The search itself must be able to find things.
    assert!(text.contains("device7"));
    for needle in needles {
        for half in needle.chunks(16) {
            assert!(!file.windows(16).any(|w| w == half), "key octets in the file");
            assert!(!text.contains(&hex::encode(half)), "key digits in the file");
        }
    }
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn another_master_key_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let (path, registry) = registry(dir.path());
    registry.add(&id("name:a"), Role::Client, None, NewKey::Random).unwrap();
    let error = Registry::open(&path, master(2)).err().unwrap();
    assert!(matches!(error, RegistryError::WrongMasterKey(_)), "{error}");
    assert!(error.to_string().contains("master key does not fit"));
}

#[test]
fn init_never_overwrites_and_open_never_makes() {
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = registry(dir.path());
    assert!(matches!(Registry::create(&path, master(1)), Err(RegistryError::Exists(_))));
    let missing = Registry::open(&dir.path().join("none"), master(1));
    assert!(matches!(missing, Err(RegistryError::Missing(_))));
    assert!(!dir.path().join("none").exists());
}

#[test]
fn states_follow_the_commands() {
    let dir = tempfile::tempdir().unwrap();
    let (_, registry) = registry(dir.path());
    let a = id("name:a");
    registry.add(&a, Role::Client, None, NewKey::Random).unwrap();
    let key = *registry.export(&a, None).unwrap().1.expose();

    assert_eq!(registry.set_state(&a, None, KeyState::Disabled).unwrap(), 1);
    expect(&registry.view(false).unwrap(), "name:a", Role::Client, 1, "disabled");
    assert_eq!(registry.set_state(&a, None, KeyState::Enabled).unwrap(), 1);
    assert_eq!(found(&registry.view(false).unwrap(), "name:a", Role::Client, 1), key);

    // A second version stands beside the first until that is revoked.
    assert_eq!(registry.add(&a, Role::Client, None, NewKey::Random).unwrap().version, 2);
    let view = registry.view(false).unwrap();
    assert_ne!(found(&view, "name:a", Role::Client, 1), found(&view, "name:a", Role::Client, 2));
    assert_eq!(registry.set_state(&a, Some(1), KeyState::Revoked).unwrap(), 1);
    let view = registry.view(false).unwrap();
    expect(&view, "name:a", Role::Client, 1, "revoked");
    expect(&view, "name:a", Role::Client, 2, "found");

    // For good, and its key is gone.
    let again = registry.set_state(&a, Some(1), KeyState::Enabled);
    assert!(matches!(again, Err(RegistryError::Revoked { version: 1, .. })));
    assert!(matches!(registry.export(&a, Some(1)), Err(RegistryError::Revoked { .. })));
    assert_eq!(registry.set_state(&a, None, KeyState::Revoked).unwrap(), 1);
    expect(&registry.view(false).unwrap(), "name:a", Role::Client, 2, "revoked");
    assert_eq!(registry.add(&a, Role::Client, Some(7), NewKey::Random).unwrap().version, 7);
    expect(&registry.view(false).unwrap(), "name:a", Role::Client, 7, "found");
}

#[test]
fn misuse_is_refused_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let (_, registry) = registry(dir.path());
    let a = id("name:a");
    registry.add(&a, Role::Client, Some(3), NewKey::Random).unwrap();
    let taken = registry.add(&a, Role::Client, Some(3), NewKey::Random).err().unwrap();
    assert!(matches!(taken, RegistryError::VersionTaken { latest: 3, .. }));
    let role = registry.add(&a, Role::Gateway, None, NewKey::Random).err().unwrap();
    assert!(matches!(role, RegistryError::OtherRole { role: Role::Client, .. }));
    let none = registry.set_state(&id("name:b"), None, KeyState::Revoked);
    assert!(matches!(none, Err(RegistryError::NoSuchDevice(_))));
    let none = registry.set_state(&a, Some(9), KeyState::Revoked);
    assert!(matches!(none, Err(RegistryError::NoSuchDevice(_))));
}

#[test]
fn derived_keys_need_no_record_and_a_record_limits_them() {
    let dir = tempfile::tempdir().unwrap();
    let (_, registry) = registry(dir.path());
    let (a, b) = (id("name:a"), id("name:b"));
    let derived = *master(1).device_key(Role::Client, &a, 1).expose();

    assert_eq!(found(&registry.view(true).unwrap(), "name:a", Role::Client, 1), derived);
    expect(&registry.view(true).unwrap(), "name:a", Role::Client, 0, "unknown");
    expect(&registry.view(false).unwrap(), "name:a", Role::Client, 1, "unknown");

    let added = registry.add(&a, Role::Client, None, NewKey::Derived).unwrap();
    assert_eq!(*added.key.expose(), derived);
    let view = registry.view(true).unwrap();
    assert_eq!(found(&view, "name:a", Role::Client, 1), derived);
    expect(&view, "name:a", Role::Client, 2, "wrong version");
    registry.set_state(&a, None, KeyState::Revoked).unwrap();
    expect(&registry.view(true).unwrap(), "name:a", Role::Client, 1, "revoked");

    registry.revoke_unregistered(&b, Role::Client).unwrap();
    let view = registry.view(true).unwrap();
    expect(&view, "name:b", Role::Client, 1, "revoked");
    expect(&view, "name:b", Role::Client, 2, "wrong version");
    expect(&view, "name:b", Role::Gateway, 1, "unknown");
}

#[test]
fn a_record_that_somebody_else_edited_does_not_verify() {
    let dir = tempfile::tempdir().unwrap();
    let (path, registry) = registry(dir.path());
    let a = id("name:a");
    registry.add(&a, Role::Client, None, NewKey::Random).unwrap();
    registry.set_state(&a, None, KeyState::Disabled).unwrap();
    {
        let table = redb::TableDefinition::<&[u8], &[u8]>::new("devices");
        let db = redb::Database::open(&path).unwrap();
        let tx = db.begin_write().unwrap();
        {
            let mut devices = tx.open_table(table).unwrap();
            let old = devices.get(&a.to_wire()[..]).unwrap().unwrap().value().to_vec();
            let new = String::from_utf8(old).unwrap().replace("disabled", "enabled");
            devices.insert(&a.to_wire()[..], new.as_bytes()).unwrap();
        }
        tx.commit().unwrap();
    }
    expect(&registry.view(false).unwrap(), "name:a", Role::Client, 1, "damaged");
    // Enabling would launder the edit; revoking is always possible.
    assert!(registry.set_state(&a, None, KeyState::Disabled).is_err());
    registry.set_state(&a, None, KeyState::Revoked).unwrap();
    expect(&registry.view(false).unwrap(), "name:a", Role::Client, 1, "revoked");
}

#[test]
fn a_watch_sees_each_change_and_only_changes() {
    let dir = tempfile::tempdir().unwrap();
    let (path, registry) = registry(dir.path());
    let reader = Registry::open(&path, master(1)).unwrap();
    let (mut watch, view) = RegistryWatch::start(reader, false).unwrap();
    expect(&view, "name:a", Role::Client, 1, "unknown");
    // Changes faster than any clock of a file system ticks.
    for i in 1..=10 {
        registry.add(&id("name:a"), Role::Client, Some(i), NewKey::Random).unwrap();
        let view = watch.poll().unwrap().expect("a view after a change");
        expect(&view, "name:a", Role::Client, i, "found");
        assert!(watch.poll().unwrap().is_none(), "no view without a change");
    }
}

#[test]
fn a_replaced_file_is_read_and_a_missing_one_leaves_the_view() {
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = registry(dir.path());
    let reader = Registry::open(&path, master(1)).unwrap();
    let (mut watch, _) = RegistryWatch::start(reader, false).unwrap();
    let away = dir.path().join("away");
    std::fs::rename(&path, &away).unwrap();
    assert!(matches!(watch.poll(), Err(RegistryError::Missing(_))));
    let other = dir.path().join("other");
    Registry::create(&other, master(1)).unwrap();
    std::fs::rename(&other, &path).unwrap();
    assert!(watch.poll().unwrap().is_some(), "same generation, another file");
}

#[test]
fn commands_wait_for_one_another() {
    let dir = tempfile::tempdir().unwrap();
    let (path, registry) = registry(dir.path());
    let held = redb::Database::open(&path).unwrap();
    let started = Instant::now();
    let waiting = std::thread::spawn(move || {
        registry.add(&id("name:a"), Role::Client, None, NewKey::Random).map(|a| a.version)
    });
    std::thread::sleep(Duration::from_millis(60));
    drop(held);
    assert_eq!(waiting.join().unwrap().unwrap(), 1);
    assert!(started.elapsed() >= Duration::from_millis(60));
}
