//! The option vectors of the specification (`docs/vectors/options.json`), read by this crate.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a broken vector file is a failed test")]

use sekisho_wire::{
    AcceptOption, IpKind, MssRule, OptionCodes, RequestOption, ResyncOption, Rewrite,
    SekishoOption, TagOption, TcpOptionsSummary,
};
use serde_json::Value;

fn vectors() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/vectors/options.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn text<'a>(vector: &'a Value, key: &str) -> &'a str {
    vector[key].as_str().unwrap_or_else(|| panic!("{key} of {vector}"))
}

fn bytes(vector: &Value, key: &str) -> Vec<u8> {
    hex::decode(text(vector, key)).unwrap()
}

fn codes(vectors: &Value) -> OptionCodes {
    let codes = &vectors["codes"];
    let kind = u8::try_from(codes["kind"].as_u64().unwrap()).unwrap();
    OptionCodes { kind, exid: u16::from_str_radix(text(codes, "exid"), 16).unwrap() }
}

fn group(vectors: &Value, name: &str) -> Vec<Value> {
    let group = vectors[name].as_array().unwrap();
    assert!(!group.is_empty());
    group.clone()
}

#[test]
fn encode() {
    let all = vectors();
    let codes = codes(&all);
    assert_eq!(codes, OptionCodes::default());
    for vector in group(&all, "encode") {
        let id = || u64::from_str_radix(text(&vector, "request_id"), 16).unwrap();
        let option = match text(&vector, "type") {
            "request" => SekishoOption::Request(RequestOption { request_id: id() }),
            "accept" => SekishoOption::Accept(AcceptOption { request_id: id() }),
            "resync" => SekishoOption::Resync(ResyncOption { request_id: id() }),
            "tag" => SekishoOption::Tag(TagOption {
                phase: u8::try_from(vector["phase"].as_u64().unwrap()).unwrap(),
                tag: bytes(&vector, "tag").try_into().unwrap(),
            }),
            other => panic!("type {other}"),
        };
        let expected = bytes(&vector, "bytes");
        assert_eq!(option.encode(&codes)[..option.len()], expected, "{}", vector["name"]);
        assert_eq!(SekishoOption::parse(&expected, &codes), Some(Ok(option)), "{}", vector["name"]);
    }
}

/// M2.3, M2.4.
#[test]
fn read() {
    let all = vectors();
    let codes = codes(&all);
    for vector in group(&all, "read") {
        let summary = TcpOptionsSummary::walk(&bytes(&vector, "options"), &codes);
        let verdict = match summary.sekisho() {
            Ok(None) => "none",
            Ok(Some(SekishoOption::Request(_))) => "request",
            Ok(Some(SekishoOption::Accept(_))) => "accept",
            Ok(Some(SekishoOption::Resync(_))) => "resync",
            Ok(Some(SekishoOption::Tag(_))) => "tag",
            Err(error) => error.label(),
        };
        assert_eq!(verdict, text(&vector, "verdict"), "{}", vector["name"]);
    }
}

/// M2.5 to M2.12, M2.14.
#[test]
fn rewrite() {
    let all = vectors();
    let codes = codes(&all);
    for vector in group(&all, "rewrite") {
        let insert = vector["insert"].as_str().map(|ours| {
            let ours = hex::decode(ours).unwrap();
            SekishoOption::parse(&ours, &codes).unwrap().unwrap()
        });
        let mss = match vector["mss"].as_str() {
            None => MssRule::Keep,
            Some("v4") => MssRule::for_ip(IpKind::V4),
            Some("v6") => MssRule::for_ip(IpKind::V6),
            Some(other) => panic!("mss {other}"),
        };
        let rewritten = Rewrite { codes, insert, mss }.apply_to(&bytes(&vector, "options"));
        let result = rewritten.unwrap_or_else(|error| panic!("{}: {error}", vector["name"]));
        let result = hex::encode(result.block.as_bytes());
        assert_eq!(result, text(&vector, "result"), "{}", vector["name"]);
    }
}
