//! The schedule against the vectors of the specification, and what keeps epochs apart.

use serde_json::Value;

use super::*;
use crate::identity::DeviceId;
use crate::keys::{DeviceKey, MasterKey, Role};

fn vectors() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/vectors/schedule.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    hex::decode(value.as_str().unwrap()).unwrap().try_into().unwrap()
}

/// M6.1, M6.2.
#[test]
fn device_keys_expand_to_the_vectors() {
    let v = vectors();
    let cases = v["device_keys"].as_array().unwrap();
    assert_eq!(cases.len(), 3);
    for case in cases {
        let key = DeviceKey::from_bytes(array(&case["key"]));
        for role in [Role::Client, Role::Gateway] {
            let keys = key.role_keys(role);
            assert_eq!(keys.auth.0, array(&case[format!("{}_auth", role.label())]));
            assert_eq!(keys.wrap.0, array(&case[format!("{}_wrap", role.label())]));
        }
    }
    let master = MasterKey::from_bytes(array(&v["master_key"]));
    for case in v["derived"].as_array().unwrap() {
        let role = if case["role"] == "client" { Role::Client } else { Role::Gateway };
        let id: DeviceId = case["id"].as_str().unwrap().parse().unwrap();
        let version = case["key_version"].as_u64().unwrap() as u32;
        assert_eq!(*master.device_key(role, &id, version).expose(), array(&case["key"]), "{case}");
    }
}

/// M6.3.
#[test]
fn transcripts_and_epochs_give_the_vectors() {
    let v = vectors();
    let transcript = &v["transcript"];
    let octets = |name: &str| hex::decode(transcript[name].as_str().unwrap()).unwrap();
    let th = transcript_hash(&octets("answered"), &octets("deliver_without_confirm"));
    assert_eq!(th, array(&transcript["th"]));
    let epochs = v["epochs"].as_array().unwrap();
    assert_eq!(epochs.len(), 2);
    for case in epochs {
        let chain = ChainKey(array(&case["chain_of_last_epoch"]));
        let last = (chain.0 != [0; 32]).then_some(&chain);
        let key = SessionKey::from_bytes(array(&case["ks"]));
        let s = epoch_secrets(&key, last, &array(&case["th"])).unwrap();
        assert_eq!(s.traffic.client_to_server.aes, array(&case["c2s_aes"]));
        assert_eq!(s.traffic.client_to_server.ghash, array(&case["c2s_ghash"]));
        assert_eq!(s.traffic.server_to_client.aes, array(&case["s2c_aes"]));
        assert_eq!(s.traffic.server_to_client.ghash, array(&case["s2c_ghash"]));
        assert_eq!(*s.confirm_c, array(&case["confirm_c"]));
        assert_eq!(s.confirm_g, array(&case["confirm_g"]));
        assert_eq!(s.synced.0, array(&case["synced"]));
        assert_eq!(s.control.0, array(&case["control"]));
        assert_eq!(s.chain.0, array(&case["chain"]));
    }
}

#[test]
fn every_input_changes_every_output() {
    let all = |key: u8, chain: Option<u8>, th: u8| {
        let chain = chain.map(|octet| ChainKey([octet; 32]));
        let key = SessionKey::from_bytes([key; 32]);
        let s = epoch_secrets(&key, chain.as_ref(), &[th; 32]).unwrap();
        [
            s.traffic.client_to_server.aes,
            s.traffic.server_to_client.aes,
            *s.confirm_c,
            s.confirm_g,
            s.synced.0,
            s.control.0,
            s.chain.0,
        ]
    };
    let base = all(1, None, 1);
    for other in [all(2, None, 1), all(1, Some(1), 1), all(1, None, 2)] {
        for (a, b) in base.iter().zip(&other) {
            assert_ne!(a, b);
        }
    }
    for (n, a) in base.iter().enumerate() {
        assert!(base[n + 1..].iter().all(|b| a != b), "outputs are told apart by label");
    }
}

#[test]
fn the_borders_of_the_transcript_cannot_be_moved() {
    assert_ne!(transcript_hash(b"ab", b"c"), transcript_hash(b"a", b"bc"));
    assert_ne!(transcript_hash(b"", b"abc"), transcript_hash(b"abc", b""));
}
