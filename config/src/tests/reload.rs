//! The difference between two files.

use std::collections::BTreeSet;

use super::{GATEWAY, KDC, example};
use crate::schema::SECTIONS;
use crate::*;

fn parsed(text: &str) -> Config {
    Config::parse(text).unwrap()
}

#[test]
fn equal_files_change_nothing() {
    for name in ["gateway.toml", "client.toml", "kdc.toml"] {
        let config = parsed(&example(name));
        assert_eq!(config.changes_to(&config.clone()), Ok(Vec::new()));
    }
}

#[test]
fn services_kdc_and_log_level_are_live() {
    let live = parsed(&example("gateway.toml"));
    let new = parsed(
        &example("gateway.toml")
            .replace("ports = [6379]", "ports = [6379, 6380]")
            .replace("fd00:2::/64", "fd00:3::/64")
            .replace("\"10.9.0.2:1089\", ", "")
            .replace("level = \"info\"", "level = \"debug\""),
    );
    let changes = live.changes_to(&new).unwrap();
    let shown: Vec<String> = changes.iter().map(Change::to_string).collect();
    let expected = [
        "services: 1 added, 1 removed, 1 altered, 3 in all",
        "KDC: 1 servers over udp",
        "log level: info → debug",
    ];
    assert_eq!(shown, expected);
    let Change::Services { now, .. } = &changes[0] else { panic!("services come first") };
    assert_eq!(*now, new.node().unwrap().services);
}

#[test]
fn the_policy_of_a_kdc_is_live() {
    let live = parsed(KDC);
    let new = parsed(
        &format!("{KDC}[[permit]]\nclient = \"*\"\ngateway = \"*\"\n")
            .replace("\"/m\"", "\"/m\"\nkey_lifetime_s = 60"),
    );
    let shown: Vec<String> = live.changes_to(&new).unwrap().iter().map(Change::to_string).collect();
    assert_eq!(shown, ["policy: 1 gateways, 1 permits", "key lifetime: 60 s"]);
}

#[test]
fn what_needs_a_restart_is_refused_whole() {
    let live = parsed(GATEWAY);
    let new = parsed(
        &GATEWAY
            .replace("\"c\"", "\"eth7\"")
            .replace("[80]", "[81]")
            .replace("[kdc]", "[workers]\ncount = 2\n[kdc]"),
    );
    let refused = live.changes_to(&new).unwrap_err();
    let expected = "nothing was changed: a restart is needed for ports.cipher (c → eth7), workers.count (1 → 2)";
    assert_eq!(refused.to_string(), expected);
}

#[test]
fn another_role_is_refused() {
    let refused = parsed(GATEWAY).changes_to(&parsed(KDC)).unwrap_err();
    assert_eq!(
        refused.items,
        [RestartItem { key: "role", live: "gateway".into(), new: "kdc".into() }]
    );
}

/// A key that the reference calls not live is compared at a reload, and no other is.
#[test]
fn settings_are_exactly_the_keys_that_are_not_live() {
    for name in ["gateway.toml", "client.toml", "kdc.toml"] {
        let config = parsed(&example(name));
        let settings: BTreeSet<String> =
            config.settings().into_iter().map(|(key, _)| key.to_owned()).collect();
        let sections = SECTIONS.iter().filter(|section| section.roles.contains(&config.role()));
        let fixed: BTreeSet<String> = sections
            .flat_map(|section| {
                section.keys.iter().filter(|key| !key.live).map(move |key| (section.name, key.name))
            })
            .map(
                |(section, key)| {
                    if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") }
                },
            )
            .collect();
        assert_eq!(settings, fixed, "{name}");
    }
}
