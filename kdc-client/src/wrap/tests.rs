//! Boxes: what opens, what does not, and that each field is compared.

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::keys::{DeviceKey, Role};
use crate::message::TYPE_IDENTIFY;

fn claim() -> Claim {
    Claim {
        message_type: TYPE_IDENTIFY,
        request_id: 5,
        epoch: 0,
        reason: Reason::New,
        client: "name:alice".parse().unwrap(),
        key_version: 1,
        gateway: Some("name:gw1".parse().unwrap()),
        service: "10.0.2.10:80".parse().unwrap(),
        nonce: [2; 32],
        rest: [3; 32],
    }
}

fn gateway() -> DeviceId {
    "name:gw1".parse().unwrap()
}

fn grant() -> Grant {
    Grant::for_claim(&claim(), gateway(), [4; 32], 3600)
}

/// M5.6.
#[test]
fn every_field_of_a_grant_is_compared() {
    let matches = |grant: &Grant| grant.matches(&claim(), &gateway(), &[4; 32]);
    assert!(matches(&grant()));
    let wrong = [
        Grant { request_id: 6, ..grant() },
        Grant { epoch: 1, ..grant() },
        Grant { reason: Reason::Rekey, ..grant() },
        Grant { client: "name:bob".parse().unwrap(), ..grant() },
        Grant { gateway: "name:gw2".parse().unwrap(), ..grant() },
        Grant { service: "10.0.2.10:443".parse().unwrap(), ..grant() },
        Grant { nonce: [0; 32], ..grant() },
        Grant { gateway_nonce: [0; 32], ..grant() },
        Grant { lifetime_seconds: 0, ..grant() },
    ];
    for (n, grant) in wrong.iter().enumerate() {
        assert!(!matches(grant), "field {n}");
    }
}

#[test]
fn boxes_open_unchanged_under_their_key_only() {
    let mut rng = StdRng::seed_from_u64(1);
    let keys = DeviceKey::generate(&mut rng).role_keys(Role::Client);
    let other = DeviceKey::generate(&mut rng).role_keys(Role::Client);
    let ks = SessionKey::generate(&mut rng);
    let sealed = seal_client(&ks, &grant(), Policy::Prefer, &keys.wrap, &mut rng);
    let opened = open_client(&sealed, &keys.wrap).unwrap();
    assert!(opened.key.ct_eq(&ks));
    assert_eq!((opened.grant, opened.policy), (grant(), Policy::Prefer));
    assert!(open_client(&sealed, &other.wrap).is_err());

    let associated = gateway_associated(&[9; 32], &sealed);
    let ticket_key = TicketKey::from_bytes([8; 32]);
    let for_gateway =
        seal_gateway((&ks, &grant(), Some(&ticket_key)), &associated, &keys.wrap, &mut rng);
    let opened = open_gateway(&for_gateway, &associated, &keys.wrap).unwrap();
    assert!(opened.key.ct_eq(&ks));
    assert_eq!(opened.ticket_key.unwrap().0, [8; 32]);
    let elsewhere = gateway_associated(&[0; 32], &sealed);
    assert!(open_gateway(&for_gateway, &elsewhere, &keys.wrap).is_err(), "another request");
    let elsewhere = gateway_associated(&[9; 32], &sealed[1..]);
    assert!(open_gateway(&for_gateway, &elsewhere, &keys.wrap).is_err(), "another Ccl");
    assert!(open_client(&for_gateway, &keys.wrap).is_err(), "Cgw is no Ccl");

    for bit in 0..sealed.len() * 8 {
        let mut bad = sealed.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(open_client(&bad, &keys.wrap).is_err(), "bit {bit}");
    }
    for len in 0..sealed.len() {
        assert!(open_client(&sealed[..len], &keys.wrap).is_err(), "length {len}");
    }
}

#[test]
fn the_two_roles_of_one_device_key_do_not_open_each_others_boxes() {
    let mut rng = StdRng::seed_from_u64(1);
    let key = DeviceKey::from_bytes([1; 32]);
    let (client, gateway) = (key.role_keys(Role::Client), key.role_keys(Role::Gateway));
    let ks = SessionKey::generate(&mut rng);
    let sealed = seal_client(&ks, &grant(), Policy::Require, &client.wrap, &mut rng);
    assert!(open_client(&sealed, &gateway.wrap).is_err());
    assert_ne!(client.auth.mac(&[b"x"]), gateway.auth.mac(&[b"x"]));
}

#[test]
fn the_longest_plaintext_fits_its_buffer() {
    let long = DeviceId::name(&"n".repeat(64)).unwrap();
    let grant = Grant {
        client: long.clone(),
        gateway: long,
        service: Service::name(&"s".repeat(64)).unwrap(),
        ..grant()
    };
    let plain = plain(&SessionKey::from_bytes([1; 32]), &grant);
    assert!(plain.len() + 2 + 32 <= PLAIN_CAPACITY, "growing would leave a copy of the key behind");
}
