//! Who may know whom: the rules of ARCHITECTURE checked against `cargo metadata`.

use serde_json::Value;

use crate::Failure;
use crate::run::{cargo, output};

/// What a crate may use of ours, and what of others it must not.
struct Rule {
    name: &'static str,
    ours: &'static [&'static str],
    never: &'static [&'static str],
}

/// Sockets, threads, clocks, the kernel.
const IO: &[&str] = &["rustix", "nix", "libc", "afxdp", "aya", "crossbeam", "core_affinity"];
/// What the control loop may have and the dataplane may not.
const CONTROL: &[&str] = &["prometheus", "tokio", "tiny_http", "redb", "toml", "clap"];
/// Implementations that benchmarks compare with; only sekisho-bench may have them.
const PEERS: &[&str] =
    &["aes-gcm", "aws-lc-rs", "ring", "boringtun", "openssl", "rustls", "snow", "graviola"];

const RULES: &[Rule] = &[
    Rule { name: "sekisho-wire", ours: &[], never: IO },
    Rule { name: "sekisho-cipher", ours: &[], never: IO },
    Rule { name: "sekisho-config", ours: &[], never: IO },
    Rule { name: "sekisho-session", ours: &["sekisho-wire", "sekisho-cipher"], never: IO },
    Rule { name: "sekisho-port", ours: &[], never: CONTROL },
    Rule {
        name: "sekisho-dataplane",
        ours: &["sekisho-wire", "sekisho-cipher", "sekisho-session", "sekisho-port"],
        never: CONTROL,
    },
    Rule { name: "sekisho-kdc-client", ours: &[], never: IO },
    Rule { name: "sekisho-kdc", ours: &["sekisho-kdc-client", "sekisho-config"], never: &["aya"] },
    Rule {
        name: "sekisho",
        ours: &[
            "sekisho-wire",
            "sekisho-cipher",
            "sekisho-session",
            "sekisho-port",
            "sekisho-dataplane",
            "sekisho-kdc-client",
            "sekisho-kdc",
            "sekisho-config",
        ],
        never: &[],
    },
    Rule { name: "xtask", ours: &[], never: &[] },
];

/// Fails with one line for each dependency that the rules forbid.
pub(crate) fn check() -> Result<(), Failure> {
    let mut command = cargo();
    command.args(["metadata", "--format-version", "1", "--no-deps", "--locked"]);
    let metadata: Value =
        serde_json::from_str(&output(&mut command)?).map_err(|error| error.to_string())?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata without packages")?;
    let mut broken = Vec::new();
    for rule in RULES {
        let package = packages
            .iter()
            .find(|package| package["name"] == rule.name)
            .ok_or_else(|| format!("the workspace has no crate {}", rule.name))?;
        broken.extend(violations(rule, &uses(package)));
    }
    if broken.is_empty() { Ok(()) } else { Err(broken.join("\n  ")) }
}

/// Names of all dependencies of a package; of development-only ones just those that are ours, since a
/// test may read files and use threads where the crate itself may not.
fn uses(package: &Value) -> Vec<&str> {
    let dependencies = package["dependencies"].as_array().into_iter().flatten();
    dependencies
        .filter_map(|dependency| {
            let name = dependency["name"].as_str()?;
            (dependency["kind"] != "dev" || ours(name)).then_some(name)
        })
        .collect()
}

fn ours(name: &str) -> bool {
    name == "sekisho" || name.starts_with("sekisho-")
}

fn violations(rule: &Rule, used: &[&str]) -> Vec<String> {
    let forbidden = |name: &&&str| {
        let name = **name;
        (ours(name) && !rule.ours.contains(&name))
            || rule.never.contains(&name)
            || PEERS.contains(&name)
    };
    used.iter()
        .filter(forbidden)
        .map(|name| format!("{} must not use {name} (ARCHITECTURE, who may know whom)", rule.name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_obeys() {
        check().unwrap();
    }

    #[test]
    fn a_forbidden_dependency_is_named() {
        let rule = &RULES[0];
        assert!(violations(rule, &["thiserror"]).is_empty());
        for name in ["sekisho-cipher", "rustix", "ring"] {
            assert_eq!(violations(rule, &[name]).len(), 1, "{name}");
        }
    }
}
