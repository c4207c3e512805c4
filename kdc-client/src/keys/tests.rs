//! Secrets: wiped, never printed, never copied; key files.

use std::fmt::{Debug, Display};

use super::*;
use crate::schedule::{ChainKey, EpochSecrets, TrafficKeyBytes, TrafficSecrets};
use crate::wrap::{ClientGrant, GatewayGrant, SessionKey, TicketKey};

fn wiped<T: ZeroizeOnDrop>() {}

/// M6.5.
#[test]
fn secrets_are_wiped_when_dropped() {
    wiped::<DeviceKey>();
    wiped::<MasterKey>();
    wiped::<AuthKey>();
    wiped::<WrapKey>();
    wiped::<SessionKey>();
    wiped::<TicketKey>();
    wiped::<ChainKey>();
    wiped::<TrafficKeyBytes>();
    wiped::<TrafficSecrets>();
    let mut key = DeviceKey::from_bytes([7; 32]);
    key.zeroize();
    assert_eq!(key.0, [0; 32]);
}

/// Fails to compile if one of the types implements the trait: the name is then ambiguous.
macro_rules! lacks {
    ($trait:ident: $($type:ty),+) => {{
        trait Ambiguous<A> { fn name() {} }
        impl<T: ?Sized> Ambiguous<()> for T {}
        struct Implemented;
        impl<T: ?Sized + $trait> Ambiguous<Implemented> for T {}
        $(let _ = <$type as Ambiguous<_>>::name;)+
    }};
}

/// M6.5.
#[test]
fn secrets_are_not_printed_and_not_cloned() {
    lacks!(Debug: DeviceKey, MasterKey, RoleKeys, AuthKey, WrapKey, SessionKey, TicketKey,
        ChainKey, TrafficKeyBytes, TrafficSecrets, EpochSecrets, ClientGrant, GatewayGrant);
    lacks!(Display: DeviceKey, MasterKey, AuthKey, WrapKey, SessionKey, TrafficKeyBytes);
    lacks!(Clone: DeviceKey, MasterKey, RoleKeys, AuthKey, WrapKey, SessionKey, TicketKey,
        ChainKey, TrafficKeyBytes, TrafficSecrets, EpochSecrets, ClientGrant, GatewayGrant);
}

#[test]
fn key_files_are_64_hex_digits_and_white_space() {
    let key = DeviceKey::from_bytes([0xab; 32]);
    let text = key.to_hex();
    assert_eq!(*text, format!("{}\n", "ab".repeat(32)));
    assert_eq!(DeviceKey::from_hex(&text).unwrap().expose(), key.expose());
    assert!(MasterKey::from_hex(&format!("  {}\r\n", "AB".repeat(32))).is_ok());
    for bad in ["", "ab", &"ab".repeat(31), &"ab".repeat(33), &"zz".repeat(32)] {
        assert_eq!(DeviceKey::from_hex(bad).err(), Some(KeyError::NotHex), "{bad}");
        assert_eq!(MasterKey::from_hex(bad).err(), Some(KeyError::NotHex), "{bad}");
    }
}

#[test]
fn role_id_and_version_part_derived_keys() {
    let master = MasterKey::from_bytes([1; 32]);
    let (a, b) = (DeviceId::name("a").unwrap(), DeviceId::name("b").unwrap());
    let keys = [
        master.device_key(Role::Client, &a, 1),
        master.device_key(Role::Gateway, &a, 1),
        master.device_key(Role::Client, &b, 1),
        master.device_key(Role::Client, &a, 2),
        MasterKey::from_bytes([2; 32]).device_key(Role::Client, &a, 1),
    ];
    for (n, key) in keys.iter().enumerate() {
        assert!(keys[n + 1..].iter().all(|other| other.expose() != key.expose()));
    }
    assert_eq!(master.device_key(Role::Client, &a, 1).expose(), keys[0].expose());
}
