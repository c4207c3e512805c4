//! Codecs against the vectors of the specification and against arbitrary input.

use proptest::collection::vec;
use proptest::prelude::*;
use rand_core::{TryCryptoRng, TryRng};
use serde_json::Value;

use super::*;
use crate::delivery::{
    ClientDelivery, ClientDeliveryConfig, ClientLimits, ClientOutput, GatewayDelivery,
    GatewayDeliveryConfig, GatewayLimits, GatewayOutput, SECOND, SessionRef,
};
use crate::identity::{DeviceId, Name, Service};
use crate::keys::{DeviceKey, Role};
use crate::refuse::RefuseCode;
use crate::wrap::{self, Grant, Policy, SessionKey};

/// Gives one octet for ever, so that a vector's nonces come out.
struct Constant(u8);

impl TryRng for Constant {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(u32::from_be_bytes([self.0; 4]))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(u64::from_be_bytes([self.0; 8]))
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Self::Error> {
        dst.fill(self.0);
        Ok(())
    }
}

impl TryCryptoRng for Constant {}

fn vectors() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/vectors/messages.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn octets(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    octets(value).try_into().unwrap()
}

fn key(value: &Value) -> DeviceKey {
    DeviceKey::from_bytes(array(value))
}

fn vector_session(inputs: &Value) -> SessionRef {
    SessionRef {
        client: inputs["client"].as_str().unwrap().parse().unwrap(),
        server: inputs["service"].as_str().unwrap().parse().unwrap(),
        client_isn: inputs["client_isn"].as_u64().unwrap() as u32,
    }
}

fn request_id(inputs: &Value) -> u64 {
    u64::from_be_bytes(array(&inputs["request_id"]))
}

#[test]
fn vectors_decode_and_encode_to_themselves() {
    let v = vectors();
    let delivery = v["delivery"].as_object().unwrap();
    assert_eq!(delivery.len(), 8);
    for (name, bytes) in delivery {
        let bytes = octets(bytes);
        let message = Message::decode(&bytes).unwrap();
        assert_eq!(message.encode(), bytes, "{name}");
        assert_eq!(message.request_id, request_id(&v["inputs"]), "{name}");
    }
    for name in ["key_reply", "key_refusal_not_permitted", "key_refusal_hint_unknown_gateway"] {
        let bytes = octets(&v["kdc"][name]);
        let gateway = key(&v["inputs"]["gateway_key"]).role_keys(Role::Gateway);
        let encoded = match KdcAnswer::decode(&bytes).unwrap() {
            KdcAnswer::Reply(reply) => reply.encode(),
            KdcAnswer::Refusal { refusal, authentic } => {
                refusal.encode(authentic.then_some(&gateway.auth))
            }
        };
        assert_eq!(encoded, bytes, "{name}");
        let request = sha256(&[&octets(&v["kdc"]["key_request"])]);
        assert!(verify_answer(&bytes, &request, &gateway).is_ok(), "{name}");
        assert!(verify_answer(&bytes, &[0; 32], &gateway).is_err(), "{name}");
    }
}

/// M4.3, M4.4, M4.5, M4.6, M4.7, M4.8.
#[test]
fn vectors_that_must_be_refused_are_refused() {
    let v = vectors();
    for case in v["refused_delivery"].as_array().unwrap() {
        assert!(Message::decode(&octets(&case["bytes"])).is_err(), "{}", case["name"]);
    }
    for case in v["refused_kdc"].as_array().unwrap() {
        let bytes = octets(&case["bytes"]);
        assert!(KeyRequest::decode(&bytes).is_err(), "{}", case["name"]);
        assert!(KdcAnswer::decode(&bytes).is_err(), "{}", case["name"]);
    }
}

/// M4.11, M5.1.
#[test]
fn the_kdc_vectors_verify_and_their_boxes_open() {
    let v = vectors();
    let inputs = &v["inputs"];
    let client = key(&inputs["client_key"]).role_keys(Role::Client);
    let gateway = key(&inputs["gateway_key"]).role_keys(Role::Gateway);
    let bytes = octets(&v["kdc"]["key_request"]);
    let request = KeyRequest::decode(&bytes).unwrap();
    assert_eq!(request.encode(&gateway.auth), bytes);
    assert!(KeyRequest::verify(&bytes, &gateway.auth));
    assert!(!KeyRequest::verify(&bytes, &client.auth));
    assert_eq!(request.claim.to_wire(), octets(&v["authenticator_input"]));
    assert!(request.claim.verify(&client.auth, &request.authenticator));
    assert_eq!(request.claim.authenticator(&client.auth), request.authenticator);

    let boxes = &v["boxes"];
    let associated: [u8; 64] = array(&boxes["cgw_associated"]);
    let (ccl, cgw) = (octets(&boxes["ccl"]), octets(&boxes["cgw"]));
    assert_eq!(wrap::gateway_associated(&sha256(&[&bytes]), &ccl), associated);
    let ks = SessionKey::from_bytes(array(&inputs["ks"]));
    let for_client = wrap::open_client(&ccl, &client.wrap).unwrap();
    let for_gateway = wrap::open_gateway(&cgw, &associated, &gateway.wrap).unwrap();
    assert!(for_client.key.ct_eq(&ks) && for_gateway.key.ct_eq(&ks));
    assert_eq!(for_client.policy, Policy::Require);
    assert!(for_gateway.ticket_key.is_none());
    let grant =
        Grant::for_claim(&request.claim, request.sender.clone(), request.gateway_nonce, 3600);
    assert_eq!((&for_client.grant, &for_gateway.grant), (&grant, &grant));
    // The nonces of the boxes are one octet repeated, so that sealing can be compared too.
    let mut nonce = Constant(0x11);
    assert_eq!(wrap::seal_client(&ks, &grant, Policy::Require, &client.wrap, &mut nonce), ccl);
    let mut nonce = Constant(0x22);
    let sealed = wrap::seal_gateway((&ks, &grant, None), &associated, &gateway.wrap, &mut nonce);
    assert_eq!(sealed, cgw);
}

#[test]
fn the_client_machine_sends_the_vectors() {
    let v = vectors();
    let inputs = &v["inputs"];
    let config = ClientDeliveryConfig {
        id: inputs["client_id"].as_str().unwrap().parse().unwrap(),
        key: key(&inputs["client_key"]),
        key_version: 1,
        port: 1088,
        deadline: 5 * SECOND,
        confirm_deadline: 5 * SECOND,
        limits: ClientLimits::default(),
    };
    let session = vector_session(inputs);
    let mut client = ClientDelivery::new(config, Box::new(Constant(0x4e)));
    let option = array(&inputs["option"]);
    client.on_syn_sent(session, request_id(inputs), option, session.server.into(), 0);
    let (src, dst) = ((session.server.ip(), 1088).into(), (session.client.ip(), 1088).into());
    let mut sent = Vec::new();
    for name in ["invite", "deliver", "synced"] {
        client.on_datagram(src, dst, &octets(&v["delivery"][name]), 0);
    }
    let mut completed = false;
    while let Some(output) = client.poll() {
        match output {
            ClientOutput::Send { datagram, .. } => sent.push(hex::encode(datagram)),
            ClientOutput::Completed { .. } => completed = true,
            _ => {}
        }
    }
    let expected: Vec<&str> =
        ["early", "identify", "sync"].map(|n| v["delivery"][n].as_str().unwrap()).into();
    assert_eq!(sent, expected);
    assert!(completed);
}

#[test]
fn the_gateway_machine_sends_the_vectors() {
    let v = vectors();
    let inputs = &v["inputs"];
    let config = GatewayDeliveryConfig {
        id: inputs["gateway_id"].as_str().unwrap().parse().unwrap(),
        key: key(&inputs["gateway_key"]),
        key_version: 1,
        names: Vec::new(),
        deadline: 5 * SECOND,
        limits: GatewayLimits::default(),
    };
    let session = vector_session(inputs);
    let mut gateway = GatewayDelivery::new(config, Box::new(Constant(0x6b)));
    gateway.on_syn(session, request_id(inputs), array(&inputs["option"]), 0);
    let (src, dst) = ((session.client.ip(), 1088).into(), (session.server.ip(), 1088).into());
    let mut sent = Vec::new();
    for name in ["early", "identify", "sync"] {
        gateway.on_datagram(src, dst, &octets(&v["delivery"][name]), 0);
        while let Some(output) = gateway.poll() {
            match output {
                GatewayOutput::Send { datagram, .. } => sent.push(hex::encode(datagram)),
                GatewayOutput::KeyRequest { exchange, message } => {
                    assert_eq!(message, octets(&v["kdc"]["key_request"]));
                    gateway.on_kdc(exchange, Ok(&octets(&v["kdc"]["key_reply"])), 0);
                }
                _ => {}
            }
        }
    }
    let expected: Vec<&str> =
        ["invite", "deliver", "synced"].map(|n| v["delivery"][n].as_str().unwrap()).into();
    assert_eq!(sent, expected);
}

fn name() -> impl Strategy<Value = Name> {
    "[a-z0-9._-]{1,64}".prop_map(|text| Name::new(&text).unwrap())
}

fn device() -> impl Strategy<Value = DeviceId> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(|ip| DeviceId::Ip(ip.into())),
        any::<[u8; 15]>().prop_map(|tail| {
            let mut ip = [0xfd; 16];
            ip[1..].copy_from_slice(&tail);
            DeviceId::Ip(ip.into())
        }),
        any::<[u8; 6]>().prop_map(DeviceId::Mac),
        name().prop_map(DeviceId::Name),
    ]
}

fn service() -> impl Strategy<Value = Service> {
    prop_oneof![
        any::<([u8; 4], u16)>().prop_map(|(ip, port)| Service::Address((ip, port).into())),
        any::<(u128, u16)>().prop_map(|(ip, port)| {
            let ip = std::net::Ipv6Addr::from_bits(ip | 0xfd << 120);
            Service::Address((ip, port).into())
        }),
        name().prop_map(Service::Name),
    ]
}

fn identify() -> impl Strategy<Value = Identify> {
    let head = (device(), any::<u32>(), service(), device());
    let tail = (any::<[u8; 32]>(), any::<[u8; 13]>(), vec(any::<u8>(), 1..257), any::<[u8; 32]>());
    (head, tail).prop_map(
        |((client, key_version, service, gateway), (nonce, option, cookie, authenticator))| {
            Identify { client, key_version, service, gateway, nonce, option, cookie, authenticator }
        },
    )
}

fn body() -> impl Strategy<Value = Body> {
    let code = (0..RefuseCode::ALL.len()).prop_map(|n| RefuseCode::ALL[n]);
    prop_oneof![
        Just(Body::Early),
        (device(), vec(any::<u8>(), 1..257))
            .prop_map(|(gateway, cookie)| Body::Invite(Invite { gateway, cookie })),
        identify().prop_map(Body::Identify),
        (any::<[[u8; 32]; 3]>(), vec(any::<u8>(), 1..601)).prop_map(|(fixed, wrapped)| {
            let [answered, gateway_nonce, confirm] = fixed;
            Body::Deliver(Deliver { answered, gateway_nonce, wrapped, confirm })
        }),
        any::<[u8; 32]>().prop_map(|confirm| Body::Sync(Sync { confirm })),
        vec(any::<u8>(), 0..400).prop_map(|sealed| Body::Synced(Synced { sealed })),
        (code, any::<Option<[u8; 32]>>())
            .prop_map(|(code, mac)| Body::Refuse(Refuse { code, mac })),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    let reason = prop_oneof![Just(Reason::New), Just(Reason::Rekey), Just(Reason::Resync)];
    (any::<u64>(), any::<u32>(), reason, body())
        .prop_map(|(request_id, epoch, reason, body)| Message { request_id, epoch, reason, body })
}

proptest! {
    #[test]
    fn every_message_survives_the_wire(message in message()) {
        let bytes = message.encode();
        prop_assert!(bytes.len() <= crate::MAX_MESSAGE);
        prop_assert_eq!(Message::decode(&bytes), Ok(message.clone()));
        for len in 0..bytes.len() {
            prop_assert!(Message::decode(&bytes[..len]).is_err());
        }
        if message.body != Body::Early {
            prop_assert_eq!(
                Message::decode(&[&bytes[..], &[0]].concat()),
                Err(MessageError::Trailing)
            );
        }
    }

    #[test]
    fn every_request_survives_the_wire(
        identify in identify(), sender in device(), version in any::<u32>(),
        request_id in any::<u64>(), nonce in any::<[u8; 32]>(), secret in any::<[u8; 32]>(),
    ) {
        let auth = DeviceKey::from_bytes(secret).role_keys(Role::Gateway).auth;
        let request = KeyRequest {
            sender,
            sender_key_version: version,
            claim: identify.claim(request_id, 0, Reason::New),
            authenticator: identify.authenticator,
            gateway_nonce: nonce,
        };
        let bytes = request.encode(&auth);
        prop_assert!(bytes.len() <= crate::MAX_MESSAGE);
        prop_assert_eq!(KeyRequest::decode(&bytes), Ok(request));
        prop_assert!(KeyRequest::verify(&bytes, &auth));
        for bit in (0..bytes.len() * 8).step_by(7) {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!KeyRequest::verify(&bad, &auth));
        }
    }

    #[test]
    fn anything_that_decodes_is_canonical(
        message in message(), at in any::<prop::sample::Index>(), octet in any::<u8>(),
    ) {
        let mut bytes = message.encode();
        let at = at.index(bytes.len());
        bytes[at] = octet;
        if let Ok(message) = Message::decode(&bytes)
            // Two exceptions by rule: EARLY may be padded further, unknown codes read as internal.
            && !matches!(message.body, Body::Early | Body::Refuse(_))
        {
            prop_assert_eq!(message.encode(), bytes);
        }
    }

    #[test]
    fn arbitrary_octets_do_no_harm(bytes in vec(any::<u8>(), 0..1300)) {
        let _ = Message::decode(&bytes);
        let _ = KeyRequest::decode(&bytes);
        let _ = KdcAnswer::decode(&bytes);
        let mut framed = vec![1, (bytes.len() % 8) as u8, 0, 1];
        framed.extend_from_slice(&bytes);
        let _ = Message::decode(&framed);
    }
}

/// M4.2.
#[test]
fn a_message_beyond_1200_octets_is_refused() {
    let early = Message::new_session(1, Body::Early).encode();
    let mut longest = early.clone();
    longest.resize(crate::MAX_MESSAGE, 0);
    assert!(Message::decode(&longest).is_ok());
    longest.push(0);
    assert_eq!(Message::decode(&longest), Err(MessageError::TooLong));
}

/// M5.2.
#[test]
fn a_request_without_gateway_is_for_early_only() {
    let claim = Claim {
        message_type: TYPE_EARLY,
        request_id: 1,
        epoch: 0,
        reason: Reason::New,
        client: DeviceId::name("a").unwrap(),
        key_version: 1,
        gateway: None,
        service: Service::name("b").unwrap(),
        nonce: [0; 32],
        rest: [0; 32],
    };
    let auth = DeviceKey::from_bytes([1; 32]).role_keys(Role::Gateway).auth;
    let request = |claim| KeyRequest {
        sender: DeviceId::name("gw").unwrap(),
        sender_key_version: 1,
        claim,
        authenticator: [0; 32],
        gateway_nonce: [0; 32],
    };
    assert!(KeyRequest::decode(&request(claim.clone()).encode(&auth)).is_ok());
    let named = Claim { message_type: TYPE_IDENTIFY, ..claim };
    assert!(KeyRequest::decode(&request(named).encode(&auth)).is_err());
}

#[test]
fn tcp_framing_is_a_length_and_the_message() {
    assert_eq!(frame_tcp(&[7, 8, 9]), [0, 3, 7, 8, 9]);
}
