//! Replays the corpora; holds the named seeds to what their names say.

use std::collections::BTreeMap;

use sekisho_kdc::audit::Outcome;

use super::seeds::{self, Seed};

type Target = (&'static str, fn(&[u8]), fn() -> Vec<Seed>);

const TARGETS: [Target; 7] = [
    ("frame", super::frame, seeds::frame),
    ("burst", super::burst, seeds::burst),
    ("session", super::session, seeds::session),
    ("kdc_request", super::kdc_request, seeds::kdc_request),
    ("kdc_reply", super::kdc_reply, seeds::kdc_reply),
    ("delivery", super::delivery, seeds::delivery),
    ("config", super::config, seeds::config),
];

/// Set to `write`, the seeds are written into the corpora.
const WRITE: &str = "SEKISHO_FUZZ_SEEDS";

#[test]
fn the_corpora_hold_their_seeds() {
    let write = std::env::var_os(WRITE).is_some_and(|value| value == "write");
    for (target, _, seeds) in TARGETS {
        let directory = seeds::corpus(target);
        for (name, octets) in seeds() {
            if write {
                std::fs::create_dir_all(&directory).unwrap();
                std::fs::write(directory.join(name), &octets).unwrap();
            }
            let stored = std::fs::read(directory.join(name)).unwrap_or_default();
            assert_eq!(stored, octets, "{target}/{name}: run this test with {WRITE}=write");
        }
    }
}

#[test]
fn every_named_input_passes() {
    for (target, body, _) in TARGETS {
        let mut count = 0;
        for entry in std::fs::read_dir(seeds::corpus(target)).unwrap() {
            let path = entry.unwrap().path();
            println!("{target}: {}", path.display());
            body(&std::fs::read(path).unwrap());
            count += 1;
        }
        assert!(count >= 10, "{target} has a corpus");
    }
}

#[test]
fn cut_and_empty_inputs_pass() {
    for (_, body, seeds) in TARGETS {
        body(&[]);
        for (_, octets) in seeds() {
            for len in (0..octets.len()).step_by(1 + octets.len() / 40) {
                body(&octets[..len]);
            }
        }
    }
}

fn named(seeds: fn() -> Vec<Seed>) -> BTreeMap<&'static str, Vec<u8>> {
    let seeds = seeds();
    let count = seeds.len();
    let map: BTreeMap<_, _> = seeds.into_iter().collect();
    assert_eq!(map.len(), count, "names are unique");
    map
}

#[test]
fn scripts_of_the_pipeline_get_behind_the_tag() {
    let seeds = named(seeds::burst);
    let reached = |name: &str| super::burst::run(&seeds[name]);
    for (name, sealed, opened) in [
        ("connect-and-talk-v4", 4, 4),
        ("connect-and-talk-v6", 2, 2),
        ("resend-overlap-reorder", 3, 4),
        ("both-fins-and-linger", 4, 4),
        ("reset-in-mid-stream", 3, 3),
        ("first-tag-synchronises", 1, 1),
        ("server-refuses", 1, 1),
        ("candidate-takes-over", 4, 4),
        ("full-options", 1, 1),
        ("sealed-and-mangled", 1, 1),
        ("true-tags-on-odd-segments", 0, 1),
        ("service-retired", 2, 2),
        ("offloaded-checksums", 2, 2),
    ] {
        let found = reached(name);
        assert!(found.sealed >= sealed && found.opened >= opened, "{name}: {found:?}");
    }
    assert!(reached("both-fins-and-linger").closed >= 2);
    assert!(reached("candidate-takes-over").closed >= 2);
    assert!(reached("idle-for-four-hours").closed >= 2);
    assert!(reached("sealed-and-mangled").dropped >= 3);
    assert!(reached("strangers-with-options").dropped >= 4);
}

#[test]
fn scripts_of_the_session_go_where_they_say() {
    let seeds = named(seeds::session);
    let reached = |name: &str| super::session::run(&seeds[name]);
    assert_eq!(reached("candidate-displaces").displaced, 1);
    assert!(reached("idle-then-linger").expired >= 2);
    assert_eq!(reached("setup-expires").expired, 1);
    assert!(reached("stream-beyond-four-gigabytes").high > 1 << 32);
    assert!(reached("seal-acknowledge-keep-alive").high > 0);
}

#[test]
fn requests_meet_the_answer_that_they_are_named_for() {
    let seeds = named(seeds::kdc_request);
    let issued =
        ["granted", "signed-anew", "service-by-name", "service-v6", "early-names-no-gateway"];
    for (name, octets) in &seeds {
        let outcome = super::kdc_request::run(octets);
        assert_eq!(outcome == Some(Outcome::Issued), issued.contains(name), "{name}: {outcome:?}");
    }
}

#[test]
fn exchanges_end_as_they_are_named() {
    let seeds = named(seeds::kdc_reply);
    for (name, ended) in [
        ("udp-answered", (1, 0)),
        ("tcp-answered-in-two-pieces", (1, 0)),
        ("udp-late-and-twice", (1, 0)),
        ("answers-in-another-order", (3, 0)),
        ("changed-then-true", (1, 0)),
        ("refused-by-the-kdc", (0, 1)),
        ("refused-by-a-stranger", (1, 0)),
        ("overloaded-kdc", (1, 0)),
        ("nobody-answers", (0, 2)),
        ("connection-breaks", (1, 0)),
    ] {
        assert_eq!(super::kdc_reply::run(&seeds[name]), ended, "{name}");
    }
}

#[test]
fn deliveries_end_as_they_are_named() {
    let seeds = named(seeds::delivery);
    for (name, ended) in [
        ("whole-handshake", (1, 1)),
        ("deliver-twice", (1, 1)),
        ("deliver-changed", (1, 0)),
        ("another-reply", (0, 0)),
        ("deadline", (0, 0)),
    ] {
        assert_eq!(super::delivery::run(&seeds[name]), ended, "{name}");
    }
}

#[test]
fn files_and_reloads_are_taken_as_they_are_named() {
    let seeds = named(seeds::config);
    for (name, taken) in [
        ("gateway", (1, None)),
        ("reload-ports", (2, Some(1))),
        ("reload-log-level", (2, Some(1))),
        ("reload-needs-restart", (2, None)),
        ("unknown-key", (0, None)),
        ("no-toml", (0, None)),
    ] {
        assert_eq!(super::config::run(&seeds[name]), taken, "{name}");
    }
}
