//! Whole files: the examples, the errors people make, reloads, and the generated reference.

mod errors;
mod reload;

use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;

use crate::schema::{SECTIONS, section};
use crate::*;

pub(super) fn example(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name))
        .unwrap()
}

/// The shortest file of a gateway.
pub(super) const GATEWAY: &str = r#"role = "gateway"
[device]
id = "name:gw1"
key_file = "/k"
[ports]
cipher = "c"
plain = "p"
[[service]]
address = "10.0.2.10"
ports = [80]
[kdc]
servers = ["10.9.0.2:1089"]
"#;

/// The shortest file of a KDC.
pub(super) const KDC: &str = r#"role = "kdc"
[kdc]
listen_udp = "10.9.0.2:1089"
master_key_file = "/m"
[[gateway]]
id = "name:gw1"
services = ["*"]
"#;

#[test]
fn the_gateway_example_says_what_it_says() {
    let Config::Gateway(gateway) = Config::parse(&example("gateway.toml")).unwrap() else {
        panic!("role")
    };
    let node = &gateway.node;
    assert_eq!(node.device.id, DeviceName::Name("gw1".into()));
    assert_eq!((node.ports.cipher.as_str(), node.ports.plain.as_str()), ("eth0", "eth1"));
    assert_eq!((node.workers.count, node.workers.cores.as_slice()), (2, &[0, 1][..]));
    assert_eq!(node.services.len(), 3);
    assert_eq!(node.services[0].ports.to_string(), "80,443,8000-8100");
    assert_eq!(node.services[1].policy, Policy::Require);
    assert!(node.services[2].ports.is_all());
    assert_eq!((node.options.kind, node.options.exid), (253, 0x5E50));
    assert_eq!(gateway.kdc.servers.len(), 2);
    assert_eq!(gateway.kdc.timeout, Duration::from_secs(1));
    assert_eq!(node.admin.socket, PathBuf::from("/run/sekisho/gw1.sock"));
}

#[test]
fn the_client_and_kdc_examples_are_accepted() {
    let Config::Client(client) = Config::parse(&example("client.toml")).unwrap() else {
        panic!("role")
    };
    assert_eq!(client.node.device.key_version, 1);
    let Config::Kdc(kdc) = Config::parse(&example("kdc.toml")).unwrap() else { panic!("role") };
    assert_eq!(kdc.metrics.listen, None);
    assert_eq!(kdc.permits[1].client, None);
    assert_eq!(kdc.permits[1].policy, Policy::Prefer);
    assert!(kdc.permits[0].services.is_empty());
    assert!(kdc.gateways[0].services[2].covers_address("[fd00:2::9]:443".parse().unwrap()));
}

#[test]
fn the_example_gateway_spells_out_the_defaults_of_a_short_one() {
    let (Ok(Config::Gateway(long)), Ok(Config::Gateway(short))) =
        (Config::parse(&example("gateway.toml")), Config::parse(GATEWAY))
    else {
        panic!("both are files of a gateway");
    };
    assert_eq!(long.node.delivery, short.node.delivery);
    assert_eq!(long.node.options, short.node.options);
    assert_eq!(long.node.other, short.node.other);
    assert_eq!(long.node.pin, short.node.pin);
    assert_eq!(long.node.log, short.node.log);
    assert_eq!(long.node.metrics, short.node.metrics);
    assert_eq!(long.kdc.timeout, short.kdc.timeout);
    assert_eq!(short.node.admin.socket, PathBuf::from("/run/sekisho/gateway.sock"));
    assert_eq!(short.node.workers.cores, Vec::<u16>::new());
}

#[test]
fn rx_checksum_may_differ_by_port() {
    let text =
        GATEWAY.replace("plain = \"p\"", "plain = \"p\"\nrx_checksum = { plain = \"offloaded\" }");
    let Config::Gateway(gateway) = Config::parse(&text).unwrap() else { panic!("role") };
    assert_eq!(gateway.node.ports.rx_checksum_cipher, RxChecksum::Verify);
    assert_eq!(gateway.node.ports.rx_checksum_plain, RxChecksum::Offloaded);
    let both = GATEWAY.replace("plain = \"p\"", "plain = \"p\"\nrx_checksum = \"offloaded\"");
    let Config::Gateway(gateway) = Config::parse(&both).unwrap() else { panic!("role") };
    assert_eq!(gateway.node.ports.rx_checksum_cipher, RxChecksum::Offloaded);
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::load("/nowhere/gw.toml").unwrap_err();
    assert!(error.to_string().starts_with("/nowhere/gw.toml: cannot be read"), "{error}");
}

#[test]
fn a_loaded_file_is_named_in_its_errors() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gw.toml");
    std::fs::write(&path, GATEWAY.replace("cipher", "cypher")).unwrap();
    let error = Config::load(&path).unwrap_err().to_string();
    assert!(
        error.starts_with(&format!(
            "{}:6:1: error: unknown key `cypher` in [ports]",
            path.display()
        )),
        "{error}"
    );
    std::fs::write(&path, GATEWAY).unwrap();
    assert_eq!(Config::load(&path).unwrap(), Config::parse(GATEWAY).unwrap());
}

/// Every default of the schema, written out, is accepted: the reference never documents a value that is refused.
#[test]
fn written_out_defaults_change_nothing() {
    for (role, short) in [("gateway", GATEWAY), ("kdc", KDC)] {
        let plain = Config::parse(short).unwrap();
        for schema in SECTIONS
            .iter()
            .filter(|schema| schema.roles.contains(&plain.role()) && !schema.name.is_empty())
        {
            for key in schema.keys {
                let schema::Fallback::Value(value) = key.fallback else { continue };
                let value = match key.kind {
                    schema::Kind::Integer(..) | schema::Kind::Boolean => value.to_owned(),
                    _ => format!("{value:?}"),
                };
                let line = format!("{} = {value}\n", key.name);
                let title = schema.title();
                let text = match short.find(&format!("{title}\n")) {
                    Some(at) => {
                        let (head, tail) = short.split_at(at + title.len() + 1);
                        format!("{head}{line}{tail}")
                    }
                    None if schema.repeated => continue,
                    None => format!("{short}{title}\n{line}"),
                };
                match Config::parse(&text) {
                    Ok(config) => assert_eq!(config, plain, "{role}: {line}"),
                    Err(error) => panic!("{role}: {line}: {error}"),
                }
            }
        }
    }
}

#[test]
fn the_reference_is_not_stale() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/config.md");
    let expected = reference_markdown();
    if std::env::var_os("SEKISHO_BLESS").is_some() {
        std::fs::write(&path, &expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expected,
        "docs/config.md is stale: SEKISHO_BLESS=1 cargo test -p sekisho-config"
    );
}

#[test]
fn the_schema_names_each_section_once_per_role() {
    for schema in SECTIONS {
        for role in schema.roles {
            assert!(
                std::ptr::eq(section(*role, schema.name).unwrap(), schema),
                "{} of a {role}",
                schema.name
            );
        }
    }
}

proptest! {
    /// Whatever the text: an answer, never a panic, and every error lies within the text.
    #[test]
    fn any_text_gets_an_answer(text in "\\PC{0,200}") {
        check_places(&text);
    }

    /// Mutations of a good file, which get further than noise.
    #[test]
    fn a_mangled_file_gets_an_answer(at in 0usize..1200, len in 0usize..6, with in "[\\[\\]{}=\"', \n0a.#-]{0,5}") {
        let mut text = example("gateway.toml");
        let at = at.min(text.len());
        let end = (at + len).min(text.len());
        if text.is_char_boundary(at) && text.is_char_boundary(end) {
            text.replace_range(at..end, &with);
            check_places(&text);
        }
    }
}

fn check_places(text: &str) {
    if let Err(ConfigError::Invalid(report)) = Config::parse(text) {
        assert!(!report.diagnostics.is_empty());
        let lines = text.matches('\n').count() + 1;
        for diagnostic in &report.diagnostics {
            assert!((1..=lines).contains(&diagnostic.line));
            assert!(diagnostic.column <= diagnostic.source_line.chars().count() + 2);
        }
        let _ = report.to_string();
    }
}
