//! The files of a gateway and of a client agent.

use std::net::IpAddr;
use std::time::Duration;

use super::File;
use crate::names::parse_name;
use crate::net::{Endpoint, IpPrefix, PortSet, parse_port_range};
use crate::read::{Item, Notes, Table, integer_within, text_of, word_within, wrong_type};
use crate::schema::RX_CHECKSUM_WORDS;
use crate::types::{
    CipherKernel, ClientConfig, DeliveryConfig, DeviceConfig, FailMode, GatewayConfig, Hold,
    KdcAccess, KdcTransport, NodeConfig, OptionsConfig, OtherConfig, OtherTraffic, PinConfig,
    Policy, PollMode, PortsConfig, Role, RxChecksum, ServiceConfig, WorkersConfig, XdpMode,
};

/// KDCs of one gateway; requests go to one after the other, more would only lengthen the wait.
const MAX_KDC_SERVERS: usize = 8;
/// Longest interface name: IFNAMSIZ less its terminating zero.
const MAX_INTERFACE_NAME: usize = 15;
/// TCP option kinds above 19 that have a meaning of their own: user timeout, MD5's successor AO, MPTCP, Fast Open,
/// encryption negotiation, AccECN.
const TAKEN_KINDS: &[u8] = &[28, 29, 30, 34, 69, 172, 174];

pub(super) fn gateway(file: &File<'_>, notes: &mut Notes<'_>) -> Option<GatewayConfig> {
    let node = node(file, notes);
    let kdc = file.one("kdc").map(|table| kdc_access(table, notes));
    let (node, kdc) = (node?, kdc??);
    // A deadline of zero stands for one that was refused already.
    if !node.delivery.deadline.is_zero() && kdc.timeout >= node.delivery.deadline {
        let place = file.one("kdc").map_or(0..0, |table| table.place("timeout_ms"));
        let hint = format!(
            "stay below the {} ms of `deadline_ms` in [delivery]",
            node.delivery.deadline.as_millis()
        );
        notes.error_hint(place, "the KDC's time-out is not below the hold deadline", hint);
    }
    Some(GatewayConfig { node, kdc })
}

pub(super) fn client(file: &File<'_>, notes: &mut Notes<'_>) -> Option<ClientConfig> {
    node(file, notes).map(|node| ClientConfig { node })
}

/// All sections are read before the first missing one ends it, so that each is checked in one go.
fn node(file: &File<'_>, notes: &mut Notes<'_>) -> Option<NodeConfig> {
    let device = file.one("device").map(|table| device(table, notes));
    let ports = file.one("ports").map(|table| ports(table, notes));
    let workers = file.optional("workers", notes, workers);
    let services = services(file, notes);
    let delivery =
        file.optional("delivery", notes, |table, notes| delivery(file.role, table, notes));
    let options = file.optional("options", notes, options);
    let other = file.optional("other", notes, other);
    let pin = file.optional("pin", notes, |table, notes| table.path("directory", notes));
    let (metrics, admin, log) = (file.metrics(notes), file.admin(notes), file.log(notes));
    Some(NodeConfig {
        device: device??,
        ports: ports??,
        workers: workers?,
        services,
        delivery: delivery?,
        options,
        other: other?,
        metrics,
        admin,
        pin: PinConfig { directory: pin? },
        log,
    })
}

fn device(table: &Table<'_>, notes: &mut Notes<'_>) -> Option<DeviceConfig> {
    let id = table.parsed("id", notes);
    let key_file = table.path("key_file", notes);
    let key_version = table.integer("key_version", notes);
    Some(DeviceConfig { id: id?, key_file: key_file?, key_version })
}

fn ports(table: &Table<'_>, notes: &mut Notes<'_>) -> Option<PortsConfig> {
    let cipher = interface(table, "cipher", notes);
    let plain = interface(table, "plain", notes);
    let mode = table.word("mode", XdpMode::from_word, notes);
    let (rx_checksum_cipher, rx_checksum_plain) = rx_checksum(table, notes);
    let (cipher, plain) = (cipher?, plain?);
    if cipher == plain {
        let hint = "name the two interfaces that traffic passes between";
        notes.error_hint(table.place("plain"), "both ports are the same interface", hint);
    }
    Some(PortsConfig { cipher, plain, mode: mode?, rx_checksum_cipher, rx_checksum_plain })
}

fn interface(table: &Table<'_>, key: &str, notes: &mut Notes<'_>) -> Option<String> {
    let (name, span) = table.text(key, notes)?;
    let shape = |c: char| c.is_ascii_graphic() && c != '/' && c != ':';
    if name.is_empty()
        || name.len() > MAX_INTERFACE_NAME
        || !name.chars().all(shape)
        || name == "."
        || name == ".."
    {
        notes.error_hint(
            span,
            format!("`{name}` is no interface name"),
            "1 to 15 characters, as `ip link` shows it",
        );
        return None;
    }
    Some(name.to_owned())
}

/// One word for both ports, or a table with one for each.
fn rx_checksum(table: &Table<'_>, notes: &mut Notes<'_>) -> (RxChecksum, RxChecksum) {
    let fallback = (RxChecksum::Verify, RxChecksum::Verify);
    let Some(item) = table.item("rx_checksum", notes) else { return fallback };
    let Some(sides) = item.value.as_table() else {
        if let Some(word) = item.value.as_str() {
            let both =
                word_within(word, item.span(), RX_CHECKSUM_WORDS, RxChecksum::from_word, notes);
            return both.map_or(fallback, |both| (both, both));
        }
        wrong_type(item, "a string, or a table with `cipher` and `plain`", notes);
        return fallback;
    };
    let (mut cipher, mut plain) = fallback;
    for (key, value) in sides {
        let item = Item::new(value);
        let side = match key.get_ref().as_ref() {
            "cipher" => &mut cipher,
            "plain" => &mut plain,
            other => {
                notes.error_hint(
                    key.span(),
                    format!("unknown key `{other}`"),
                    "it has `cipher` and `plain`",
                );
                continue;
            }
        };
        let word = text_of(item, notes).and_then(|word| {
            word_within(word, item.span(), RX_CHECKSUM_WORDS, RxChecksum::from_word, notes)
        });
        *side = word.unwrap_or(RxChecksum::Verify);
    }
    (cipher, plain)
}

fn workers(table: &Table<'_>, notes: &mut Notes<'_>) -> Option<WorkersConfig> {
    let workers = WorkersConfig {
        count: table.integer("count", notes),
        poll: table.word("poll", PollMode::from_word, notes)?,
        cipher: table.word("cipher", CipherKernel::from_word, notes)?,
        cores: cores(table, notes),
        frames: table.integer("frames", notes),
        ring: table.integer("ring", notes),
        sessions: table.integer("sessions", notes),
    };
    let (count, cores) = (usize::from(workers.count), workers.cores.len());
    if cores != 0 && count != 0 && cores != count {
        let message = format!("{cores} cores for {count} workers");
        notes.error_hint(table.place("cores"), message, "list one core for each worker");
    }
    if !workers.ring.is_power_of_two() && workers.ring != 0 {
        let hint = format!("the next one is {}", workers.ring.next_power_of_two());
        notes.error_hint(table.place("ring"), "`ring` is no power of two", hint);
    }
    if workers.frames != 0 && workers.frames < 2 * workers.ring {
        let hint =
            format!("two ports of {} entries need {} frames", workers.ring, 2 * workers.ring);
        notes.error_hint(table.place("frames"), "too few `frames` for the rings", hint);
    }
    Some(workers)
}

fn cores(table: &Table<'_>, notes: &mut Notes<'_>) -> Vec<u16> {
    let mut cores = Vec::new();
    for item in table.list("cores", notes).unwrap_or_default() {
        let number =
            integer_within(item, 0, 4095, "cores", notes).and_then(|core| u16::try_from(core).ok());
        let Some(core) = number else { continue };
        if cores.contains(&core) {
            notes.error(item.span(), format!("core {core} is listed twice"));
        }
        cores.push(core);
    }
    cores
}

fn services(file: &File<'_>, notes: &mut Notes<'_>) -> Vec<ServiceConfig> {
    let mut services: Vec<ServiceConfig> = Vec::new();
    for table in file.all("service") {
        let address = address(table, notes);
        let ports = port_set(table, notes);
        let policy = table.word("policy", Policy::from_word, notes);
        let name = table.text("name", notes).and_then(|(text, span)| {
            parse_name(text).map_err(|error| notes.error(span, error.to_string())).ok()
        });
        let (Some(address), Some(ports), Some(policy)) = (address, ports, policy) else { continue };
        let service = ServiceConfig { name, address, ports, policy };
        let rivals = services.iter().filter(|earlier| earlier.address == service.address);
        for (port, rival) in
            rivals.filter_map(|rival| Some((rival.ports.first_common(&service.ports)?, rival)))
        {
            let message = format!("port {port} of {address} is already in an earlier [[service]]");
            let hint =
                format!("that one has the ports {} and policy `{}`", rival.ports, rival.policy);
            notes.error_hint(table.place("ports"), message, hint);
        }
        if service.name.is_some() && services.iter().any(|earlier| earlier.name == service.name) {
            notes.error(table.place("name"), "an earlier [[service]] has this name");
        }
        services.push(service);
    }
    services
}

fn address(table: &Table<'_>, notes: &mut Notes<'_>) -> Option<IpPrefix> {
    let prefix: IpPrefix = table.parsed("address", notes)?;
    let first = prefix.address();
    let wrong = match first {
        IpAddr::V4(v4) if v4.is_broadcast() => Some("the broadcast address"),
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => Some("an IPv4-mapped address"),
        ip if ip.is_multicast() => Some("a multicast address"),
        ip if ip.is_unspecified() && prefix.length() != 0 => Some("the unspecified address"),
        _ => None,
    };
    if let Some(what) = wrong {
        notes.error_hint(
            table.place("address"),
            format!("{first} is {what}"),
            "no TCP server has it",
        );
    }
    Some(prefix)
}

fn port_set(table: &Table<'_>, notes: &mut Notes<'_>) -> Option<PortSet> {
    let item = table.item("ports", notes)?;
    if item.value.as_str() == Some("all") {
        return Some(PortSet::all());
    }
    let Some(array) = item.value.as_array() else {
        wrong_type(item, "a list of ports such as [80, \"8000-8100\"], or \"all\"", notes);
        return None;
    };
    let mut ranges = Vec::new();
    for element in array.iter().map(Item::new) {
        if let Some(text) = element.value.as_str() {
            match parse_port_range(text) {
                Ok(range) => ranges.push(range),
                Err(message) => notes.error(element.span(), message),
            }
        } else if let Some(port) = integer_within(element, 1, 65535, "ports", notes) {
            ranges.extend(u16::try_from(port).map(|port| port..=port));
        }
    }
    let set = PortSet::from_ranges(ranges);
    if array.is_empty() {
        notes.error_hint(
            item.span(),
            "a service without ports protects nothing",
            "list some, or write \"all\"",
        );
    }
    set
}

fn kdc_access(table: &Table<'_>, notes: &mut Notes<'_>) -> Option<KdcAccess> {
    let listed = table.parsed_list::<Endpoint>("servers", notes);
    let transport = table.word("transport", KdcTransport::from_word, notes);
    let timeout = Duration::from_millis(table.integer("timeout_ms", notes));
    let listed = listed?;
    if listed.is_empty() || listed.len() > MAX_KDC_SERVERS {
        notes.error(
            table.place("servers"),
            format!("1 to {MAX_KDC_SERVERS} KDCs, not {}", listed.len()),
        );
    }
    let mut servers = Vec::with_capacity(listed.len());
    for (Endpoint(server), span) in listed {
        if server.port() == 0 || server.ip().is_unspecified() || server.ip().is_multicast() {
            notes.error(span.clone(), format!("{server} is no address of a server"));
        }
        if servers.contains(&server) {
            notes.error(span, format!("{server} is listed twice"));
        }
        servers.push(server);
    }
    Some(KdcAccess { servers, transport: transport?, timeout })
}

fn delivery(role: Role, table: &Table<'_>, notes: &mut Notes<'_>) -> Option<DeliveryConfig> {
    let hold = match role {
        Role::Gateway => table.word("hold", Hold::from_word, notes),
        Role::Client | Role::Kdc => Some(Hold::Vouched),
    };
    Some(DeliveryConfig {
        port: table.integer("port", notes),
        hold: hold?,
        deadline: Duration::from_millis(table.integer("deadline_ms", notes)),
        linger: Duration::from_millis(table.integer("linger_ms", notes)),
        idle: Duration::from_secs(table.integer("idle_s", notes)),
    })
}

fn options(table: &Table<'_>, notes: &mut Notes<'_>) -> OptionsConfig {
    let options =
        OptionsConfig { kind: table.integer("kind", notes), exid: table.integer("exid", notes) };
    if TAKEN_KINDS.contains(&options.kind) {
        let message = format!("option kind {} has a meaning of its own", options.kind);
        notes.error_hint(table.place("kind"), message, "253 and 254 are free for experiments");
    }
    if !options.exid.is_multiple_of(2) {
        let hint = format!("write {:#06x}; {:#06x} is used too", options.exid - 1, options.exid);
        notes.error_hint(table.place("exid"), "`exid` is odd: its last bit is the key phase", hint);
    }
    options
}

fn other(table: &Table<'_>, notes: &mut Notes<'_>) -> Option<OtherConfig> {
    let ip = table.word("ip", OtherTraffic::from_word, notes);
    let fail = table.word("fail", FailMode::from_word, notes);
    Some(OtherConfig { ip: ip?, fail: fail? })
}
