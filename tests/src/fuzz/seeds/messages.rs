//! Seeds made of real frames, messages and files.

use std::net::SocketAddr;

use sekisho_kdc_client::message::{Body, Deliver, Identify, Invite, Message, Refuse, Sync, Synced};
use sekisho_kdc_client::message::{TYPE_EARLY, TYPE_IDENTIFY};
use sekisho_kdc_client::{RefuseCode, Service};

use super::Seed;
use crate::fuzz::config::NEXT_FILE;
use crate::fuzz::parties::{client_id, gateway_id, request, request_octets, role_keys};
use crate::lab::forge::{Flow, Segment, behind_extension, flag, fragments, tagged};

fn flow(v6: bool) -> Flow {
    let (src, dst): (SocketAddr, SocketAddr) = if v6 {
        ("[fd00:1::10]:40000".parse().unwrap(), "[fd00:2::10]:443".parse().unwrap())
    } else {
        ("10.0.1.10:40000".parse().unwrap(), "10.0.2.10:80".parse().unwrap())
    };
    Flow { macs: ([2; 6], [4; 6]), src, dst }
}

/// Frames of every kind that is read.
pub(in crate::fuzz) fn frame() -> Vec<Seed> {
    let segment = |v6: bool, flags: u8, options: &[u8], payload: &[u8]| {
        flow(v6).segment(&Segment { seq: 7, ack: 9, flags, options, payload })
    };
    let timestamps = [1, 1, 8, 10, 0, 0, 0, 2, 0, 0, 0, 1];
    let syn_options = [2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];
    let tag = [&timestamps[..], &[253, 16, 0x5e, 0x50], &[0xa5; 12]].concat();
    let request = [253, 13, 0x5e, 0x50, 0x10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1, 1];
    let full: Vec<u8> = [&timestamps[..], &[1, 1, 5, 26], &[6; 24]].concat();
    let data = segment(false, flag::ACK | flag::PSH, &timestamps, b"payload");
    let data_v6 = segment(true, flag::ACK, &tag, &[0x42; 100]);
    let mut padded = segment(false, flag::ACK, &[], &[]);
    padded.resize(60, 0);
    let [first, second] = fragments(&data_v6, 64);
    vec![
        ("syn-v4", segment(false, flag::SYN, &syn_options, &[])),
        ("syn-v6-with-request", segment(true, flag::SYN, &request, &[])),
        ("data-v4-with-timestamps", data.clone()),
        ("data-v6-with-tag", data_v6.clone()),
        ("data-v4-options-full", segment(false, flag::ACK, &full, b"x")),
        (
            "fast-open-and-mptcp",
            segment(false, flag::SYN, &[34, 6, 1, 2, 3, 4, 30, 4, 0, 1, 2, 4, 5, 0xb4, 0, 9], &[]),
        ),
        (
            "acc-ecn-and-unknown",
            segment(true, flag::ACK, &[172, 5, 1, 2, 3, 1, 1, 200, 8, 1, 2, 3, 4, 5, 6, 1], b"abc"),
        ),
        ("two-of-ours", segment(false, flag::ACK, &[&tag[12..], &tag[12..]].concat(), b"abc")),
        ("length-that-cannot-be", segment(false, flag::ACK, &[8, 1, 0, 0], b"abc")),
        ("two-vlan-tags", tagged(&data, &[100, 200])),
        ("three-vlan-tags", tagged(&data, &[1, 2, 3])),
        ("destination-options", behind_extension(&data_v6)),
        ("first-fragment", first),
        ("second-fragment", second),
        ("padded-to-60-octets", padded),
        ("udp-v4", flow(false).datagram(b"key delivery")),
        ("icmp-error-v6", flow(true).icmp_error((2, 0), &data_v6)),
    ]
}

/// Requests as they are sent, and with what a KDC must refuse; the first octet signs them anew.
pub(in crate::fuzz) fn kdc_request() -> Vec<Seed> {
    let gateway = role_keys(sekisho_kdc_client::Role::Gateway, &gateway_id(), 1);
    let with = |how: u8, edit: fn(&mut sekisho_kdc_client::message::KeyRequest)| {
        let mut request = request(1);
        edit(&mut request);
        [&[how], &request.encode(&gateway.auth)[..]].concat()
    };
    vec![
        ("granted", with(0, |_| {})),
        ("signed-anew", with(3, |request| request.claim.nonce = [9; 32])),
        ("client-did-not-sign", with(1, |request| request.claim.nonce = [9; 32])),
        ("client-forbidden", with(3, |r| r.claim.client = "name:mallory".parse().unwrap())),
        ("service-by-name", with(3, |r| r.claim.service = "name:web".parse().unwrap())),
        ("service-v6", with(3, |r| r.claim.service = "[fd00::1]:443".parse().unwrap())),
        ("service-not-served", with(3, |r| r.claim.service = "10.9.9.9:80".parse().unwrap())),
        (
            "early-names-no-gateway",
            with(3, |request| {
                request.claim.message_type = TYPE_EARLY;
                request.claim.gateway = None;
            }),
        ),
        (
            "gateway-absent-in-identify",
            with(3, |request| {
                request.claim.message_type = TYPE_IDENTIFY;
                request.claim.gateway = None;
            }),
        ),
        (
            "another-gateway-meant",
            with(3, |r| r.claim.gateway = Some("mac:aa:bb:cc:00:01:ff".parse().unwrap())),
        ),
        ("unknown-gateway", with(3, |request| request.sender = "ip:10.0.0.1".parse().unwrap())),
        ("key-version-zero", with(3, |request| request.claim.key_version = 0)),
        ("another-version", [&[0, 2], &request_octets(1)[1..]].concat()),
    ]
}

/// Scripts of the requester; the first octet chooses TCP.
pub(in crate::fuzz) fn kdc_reply() -> Vec<Seed> {
    let over = |tcp: u8, steps: &[&[u8]]| [&[tcp], &steps.concat()[..]].concat();
    let (start, tick): (&[u8], &[u8]) = (&[0], &[5, 2]);
    vec![
        ("udp-answered", over(0, &[start, &[1, 0, 0]])),
        ("tcp-answered-in-two-pieces", over(1, &[start, &[1, 0, 0, 50]])),
        ("udp-late-and-twice", over(0, &[start, tick, tick, &[1, 1, 0], &[1, 0, 0]])),
        (
            "answers-in-another-order",
            over(0, &[start, start, start, &[1, 0, 2], &[1, 0, 0], &[1, 0, 1]]),
        ),
        ("changed-then-true", over(0, &[start, &[2, 0, 0, 0, 0, 50, 1, 0, 9, 0], &[1, 0, 0]])),
        ("refused-by-the-kdc", over(0, &[start, &[3, 0, 0, 0, 5, 0, 1]])),
        ("refused-by-a-stranger", over(0, &[start, &[3, 0, 0, 0, 5, 1, 0], tick, &[1, 0, 0]])),
        ("overloaded-kdc", over(0, &[start, &[3, 0, 0, 0, 10, 0, 1], &[1, 1, 0]])),
        ("nobody-answers", over(0, &[start, start, tick, tick, tick, tick])),
        ("connection-breaks", over(1, &[start, &[6, 0], &[7, 1], &[1, 2, 0, 0]])),
        ("frame-of-length-zero", over(1, &[start, &[4, 0, 0, 2, 0, 0]])),
    ]
}

/// Scripts of key delivery, and its messages as octets.
pub(in crate::fuzz) fn delivery() -> Vec<Seed> {
    let (syn, arrived, next, kdc): (&[u8], &[u8], &[u8], &[u8]) =
        (&[0, 0], &[2, 0], &[4, 0], &[11, 0, 0]);
    let identified = [syn, arrived, next, next, next].concat();
    let keyed = [&identified[..], kdc].concat();
    let with = |more: &[&[u8]]| [&keyed[..], &more.concat()[..]].concat();
    let message = |body| Message::new_session(0x1122_3344_5566_7700, body).encode();
    let service: Service = "10.0.2.10:80".parse().unwrap();
    let (option, cookie) = ([253, 13, 0x5e, 0x50, 0x10, 1, 2, 3, 4, 5, 6, 7, 8], vec![3; 90]);
    let identify = Identify {
        client: client_id(),
        key_version: 1,
        service,
        gateway: gateway_id(),
        nonce: [1; 32],
        option,
        cookie: cookie.clone(),
        authenticator: [2; 32],
    };
    let deliver = Deliver {
        answered: [1; 32],
        gateway_nonce: [2; 32],
        wrapped: vec![4; 200],
        confirm: [3; 32],
    };
    vec![
        ("whole-handshake", with(&[next, next, next])),
        ("syn-behind-early", [syn, next, arrived, next, next].concat()),
        ("sync-lost-and-resent", with(&[next, &[13, 2], next])),
        ("deliver-twice", with(&[&[8, 0], next, next, next])),
        ("deliver-changed", with(&[&[9, 0, 2, 0, 0, 100, 1], next, next])),
        ("kdc-down-then-up", [&identified[..], &[11, 0, 200], &[13, 2], next, kdc].concat()),
        ("another-reply", [&identified[..], &[11, 0, 240, 0, 0, 80, 1]].concat()),
        ("first-tag-before-sync", with(&[next, &[15, 0], next, next])),
        ("closed-under-way", with(&[&[14, 0, 0], next, next])),
        ("deadline", [syn, arrived, &[13, 5], &[13, 5]].concat()),
        (
            "more-sessions-than-room",
            [[0, 0, 2, 0], [0, 1, 2, 1], [0, 2, 2, 2], [0, 3, 2, 3]].concat(),
        ),
        ("sent-back", [syn, arrived, &[9, 0, 1]].concat()),
        ("message-early", message(Body::Early)),
        ("message-invite", message(Body::Invite(Invite { gateway: gateway_id(), cookie }))),
        ("message-identify", message(Body::Identify(identify))),
        ("message-deliver", message(Body::Deliver(deliver))),
        ("message-sync", message(Body::Sync(Sync { confirm: [5; 32] }))),
        ("message-synced", message(Body::Synced(Synced { sealed: vec![6; 20] }))),
        (
            "message-refuse",
            message(Body::Refuse(Refuse { code: RefuseCode::BadCookie, mac: None })),
        ),
        (
            "message-refuse-with-mac",
            message(Body::Refuse(Refuse { code: RefuseCode::Timeout, mac: Some([7; 32]) })),
        ),
    ]
}

/// The shipped examples, reloads of them, and what people get wrong.
pub(in crate::fuzz) fn config() -> Vec<Seed> {
    let example = |name: &str| {
        let path = [env!("CARGO_MANIFEST_DIR"), "..", "config", "examples", name];
        std::fs::read_to_string(path.iter().collect::<std::path::PathBuf>()).unwrap()
    };
    let (gateway, client, kdc) =
        (example("gateway.toml"), example("client.toml"), example("kdc.toml"));
    let reload = |live: &str, new: &str| format!("{live}{NEXT_FILE}{new}");
    let ports = gateway.replace("ports = [6379]", "ports = [6379, 6380]");
    let level = gateway.replace("level = \"info\"", "level = \"debug\"");
    let mode = gateway.replace("eth0", "eth7");
    let seeds = [
        ("gateway", gateway.clone()),
        ("client", client.clone()),
        ("kdc", kdc.clone()),
        ("reload-ports", reload(&gateway, &ports)),
        ("reload-log-level", reload(&gateway, &level)),
        ("reload-needs-restart", reload(&gateway, &mode)),
        ("reload-another-role", reload(&gateway, &client)),
        ("reload-kdc", reload(&kdc, &kdc.replace("policy = \"prefer\"", "policy = \"require\""))),
        ("unknown-key", gateway.replace("cipher =", "cypher =")),
        ("wrong-type", gateway.replace("[6379]", "\"6379\"")),
        ("no-toml", "role = [\n\"ß".to_owned()),
        ("empty", String::new()),
    ];
    seeds.into_iter().map(|(name, text)| (name, text.into_bytes())).collect()
}
