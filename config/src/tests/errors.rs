//! The errors that people make, each with its place and its hint.

use super::{GATEWAY, KDC, example};
use crate::*;

/// The diagnostics of a text as `line:column message | hint`.
fn errors(text: &str) -> Vec<String> {
    match Config::parse(text) {
        Err(ConfigError::Invalid(report)) => report
            .diagnostics
            .iter()
            .map(|d| {
                format!(
                    "{}:{} {} | {}",
                    d.line,
                    d.column,
                    d.message,
                    d.hint.as_deref().unwrap_or("-")
                )
            })
            .collect(),
        other => panic!("expected errors, got {other:?}"),
    }
}

/// The only error of a gateway file in which `from` was replaced.
fn slip(from: &str, to: &str) -> String {
    assert!(GATEWAY.contains(from), "{from}");
    let found = errors(&GATEWAY.replacen(from, to, 1));
    assert_eq!(found.len(), 1, "{found:#?}");
    found.into_iter().next().unwrap()
}

/// The same for a KDC file.
fn kdc_slip(from: &str, to: &str) -> String {
    assert!(KDC.contains(from), "{from}");
    let found = errors(&KDC.replacen(from, to, 1));
    assert_eq!(found.len(), 1, "{found:#?}");
    found.into_iter().next().unwrap()
}

#[test]
fn many_errors_come_at_once_and_in_order() {
    let text = example("gateway.toml")
        .replace("count = 2", "count = 0")
        .replace("plain = \"eth1\"", "plian = \"eth1\"")
        .replace("policy = \"prefer\"", "policy = \"preferred\"")
        .replace("\"10.9.0.3:1089\"", "\"10.9.0.3\"");
    insta::assert_snapshot!(Config::parse_named(&text, "gateway.toml").unwrap_err().to_string());
}

#[test]
fn the_role_comes_first() {
    assert_eq!(
        errors("")[0],
        "1:1 the file does not say its role | start the file with role = \"gateway\", \"client\" or \"kdc\""
    );
    assert_eq!(
        slip("\"gateway\"", "\"gatway\""),
        "1:8 `gatway` is not known here | did you mean `gateway`?"
    );
    assert_eq!(
        slip("\"gateway\"", "7"),
        "1:8 expected a string in quotes, found a whole number | -"
    );
}

#[test]
fn syntax_errors_have_a_place() {
    let unquoted = errors(&GATEWAY.replace("\"c\"", "eth0"));
    assert!(unquoted[0].starts_with("6:10 "), "{unquoted:#?}");
    assert!(unquoted[0].contains("double quotes"), "{unquoted:#?}");
    assert!(errors("role = \"gateway\"\nrole = \"client\"\n")[0].starts_with("2:1 duplicate key"));
}

#[test]
fn missing_sections_and_keys_are_named() {
    let found = errors("role = \"gateway\"\n");
    let starts = ["a gateway needs a section [device]", "[ports]", "[[service]]", "[kdc]"];
    assert_eq!(found.len(), starts.len(), "{found:#?}");
    assert!(found.iter().zip(starts).all(|(line, start)| line.contains(start)), "{found:#?}");
    let missing = slip("plain = \"p\"\n", "");
    assert!(missing.starts_with("5:1 [ports] needs `plain` | interface: "), "{missing}");
}

#[test]
fn unknown_names_get_the_nearest_one() {
    assert_eq!(
        slip("cipher", "cypher"),
        "6:1 unknown key `cypher` in [ports] | did you mean `cipher`?"
    );
    let section = slip("[device]", "[devise]");
    assert_eq!(
        section,
        "2:2 unknown section `devise` in the file of a gateway | did you mean `device`?"
    );
    let stray = slip("role = \"gateway\"", "role = \"gateway\"\nkey_file = \"/k\"");
    assert_eq!(
        stray,
        "2:1 unknown key `key_file` in the file of a gateway | it belongs in [device]"
    );
    let foreign = slip("[kdc]", "[[permit]]\nclient = \"*\"\n[kdc]");
    assert_eq!(
        foreign,
        "11:3 unknown section `permit` in the file of a gateway | it belongs in the file of a kdc"
    );
    let client = GATEWAY.replace("\"gateway\"", "\"client\"");
    assert_eq!(
        errors(&client),
        [
            "11:2 unknown section `kdc` in the file of a client | it belongs in the file of a gateway"
        ]
    );
    let nested = slip("plain = \"p\"", "plain = \"p\"\nrx_checksum = { plane = \"verify\" }");
    assert!(nested.contains("unknown key `plane` | it has `cipher` and `plain`"), "{nested}");
}

#[test]
fn sections_have_the_right_brackets() {
    let single = slip("[[service]]", "[service]");
    assert!(single.contains("write [[service]] with two brackets"), "{single}");
    let double = slip("[kdc]", "[[kdc]]");
    assert!(double.contains("write [kdc] with one bracket"), "{double}");
    assert!(
        errors(&GATEWAY.replace("role = \"gateway\"", "role = \"gateway\"\nlog = 3"))[0]
            .contains("expected the section [log]")
    );
}

#[test]
fn types_and_ranges_are_checked() {
    assert_eq!(
        slip("[80]", "80"),
        "10:9 expected a list of ports such as [80, \"8000-8100\"], or \"all\", found a whole number | -"
    );
    assert!(slip("[80]", "[]").contains("a service without ports"));
    assert!(slip("[80]", "[0]").contains("`ports` is out of range | it goes from 1 to 65535"));
    assert!(slip("[80]", "[\"90-80\"]").contains("runs backwards"));
    assert!(slip("[80]", "[\"http\"]").contains("`http` is no TCP port"));
    assert!(slip("\"/k\"", "\"gw.key\"").contains("`key_file` is no absolute path"));
    assert!(slip("\"/k\"", "\"/k\"\nkey_version = 99999999999999999999").contains("out of range"));
    assert!(
        slip("\"/k\"", "\"/k\"\nkey_version = \"1\"")
            .contains("expected a whole number, found a string")
    );
    assert!(slip("\"name:gw1\"", "\"gw1\"").contains("starts with `ip:`"));
    assert!(slip("\"c\"", "\"a-name-that-is-too-long\"").contains("no interface name"));
    assert!(slip("\"c\"", "\"../x\"").contains("no interface name"));
    assert!(slip("\"p\"", "\"c\"").contains("both ports are the same interface"));
    assert!(
        kdc_slip("[\"*\"]", "[\"*\"]\n[log]\nlevel = \"inof\"").contains("did you mean `info`?")
    );
    assert!(
        kdc_slip("\"/m\"", "\"/m\"\nderived_keys = \"yes\"")
            .contains("expected `true` or `false`, found a string")
    );
    assert!(
        kdc_slip("[\"*\"]", &format!("[\"*\"]\n[admin]\nsocket = \"/{}\"", "s".repeat(107)))
            .contains("107 octets")
    );
}

#[test]
fn services_are_checked_against_each_other() {
    assert!(slip("10.0.2.10", "10.0.2.10/24").contains("the prefix itself is 10.0.2.0/24"));
    assert!(slip("10.0.2.10", "224.0.0.1").contains("multicast"));
    assert!(slip("10.0.2.10", "::ffff:10.0.2.10").contains("IPv4-mapped"));
    assert!(slip("10.0.2.10", "0.0.0.0").contains("unspecified"));
    Config::parse(&GATEWAY.replace("10.0.2.10", "0.0.0.0/0")).unwrap();
    let again = "[[service]]\naddress = \"10.0.2.10/32\"\nports = [\"79-81\"]\n[kdc]";
    let twice = slip("[kdc]", again);
    assert!(
        twice.contains("13:9 port 80 of 10.0.2.10/32 is already in an earlier [[service]]"),
        "{twice}"
    );
    let nested = "[[service]]\naddress = \"10.0.2.0/24\"\nports = [\"79-81\"]\n[kdc]";
    Config::parse(&GATEWAY.replace("[kdc]", nested))
        .expect("a longer prefix inside a shorter one is no conflict");
    let named =
        "name = \"web\"\n[[service]]\nname = \"web\"\naddress = \"10.0.2.11\"\nports = [80]\n[kdc]";
    assert!(slip("[kdc]", named).contains("has this name"));
}

#[test]
fn workers_are_checked_against_each_other() {
    let with = |workers: &str| slip("[kdc]", &format!("[workers]\n{workers}\n[kdc]"));
    assert!(with("count = 3\ncores = [0, 1]").contains("2 cores for 3 workers"));
    assert!(with("count = 2\ncores = [1, 1]").contains("core 1 is listed twice"));
    assert!(with("ring = 1000").contains("`ring` is no power of two | the next one is 1024"));
    assert!(with("frames = 3000").contains("two ports of 2048 entries need 4096 frames"));
    assert!(with("count = 65").contains("it goes from 1 to 64"));
    assert!(with("poll = \"bussy\"").contains("did you mean `busy`?"));
}

#[test]
fn options_and_delivery_are_checked() {
    let with = |section: &str| slip("[kdc]", &format!("{section}\n[kdc]"));
    assert!(with("[options]\nkind = 30").contains("option kind 30 has a meaning of its own"));
    assert!(with("[options]\nkind = 8").contains("it goes from 20 to 254"));
    assert!(with("[options]\nexid = 0x5E51").contains("write 0x5e50"));
    assert!(with("[delivery]\ndeadline_ms = 3999").contains("it goes from 4000"));
    assert!(with("[metrics]\nlisten = \"9478\"").contains("`9478` is no address with port"));
    let slow = slip("[\"10.9.0.2:1089\"]", "[\"10.9.0.2:1089\"]\ntimeout_ms = 5000");
    assert!(slow.contains("13:14 the KDC's time-out is not below the hold deadline"), "{slow}");
    let client = GATEWAY
        .replace("\"gateway\"", "\"client\"")
        .replace("[kdc]\nservers = [\"10.9.0.2:1089\"]", "[delivery]\nhold = \"confirmed\"");
    assert!(errors(&client)[0].contains("unknown key `hold` in [delivery]"));
}

#[test]
fn kdc_addresses_are_checked() {
    assert!(slip("[\"10.9.0.2:1089\"]", "[]").contains("1 to 8 KDCs, not 0"));
    assert!(
        slip("[\"10.9.0.2:1089\"]", "[\"10.9.0.2:1089\", \"10.9.0.2:1089\"]")
            .contains("listed twice")
    );
    assert!(slip("10.9.0.2:1089", "0.0.0.0:1089").contains("no address of a server"));
    assert!(
        kdc_slip("listen_udp = \"10.9.0.2:1089\"\n", "").contains("2:1 the KDC listens nowhere")
    );
    assert!(kdc_slip("10.9.0.2:1089", "10.9.0.2:0").contains("port 0"));
}

#[test]
fn the_kdc_policy_is_checked() {
    let with = |more: &str| kdc_slip("[\"*\"]\n", &format!("[\"*\"]\n{more}\n"));
    assert!(kdc_slip("[\"*\"]", "[]").contains("name:gw1 serves nothing"));
    assert!(kdc_slip("[\"*\"]", "[\"10.0.2.10\"]").contains("`10.0.2.10` is no service"));
    assert!(
        with("[[gateway]]\nid = \"name:gw1\"\nservices = [\"*\"]")
            .contains("already in an earlier [[gateway]]")
    );
    let typo = with("[[permit]]\nclient = \"*\"\ngateway = \"name:gw2\"");
    assert!(
        typo.contains("no [[gateway]] has the id name:gw2 | the file has `name:gw1`"),
        "{typo}"
    );
    assert!(
        with("[[permit]]\nclient = \"*\"\ngateway = \"*\"\nservices = []")
            .contains("an empty list permits nothing")
    );
    assert!(with("[[permit]]\ngateway = \"*\"").contains("[[permit]] needs `client`"));
}
