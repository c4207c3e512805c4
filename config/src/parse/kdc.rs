//! The file of a key distribution centre.

use std::net::SocketAddr;
use std::time::Duration;

use super::File;
use crate::names::{DeviceName, ServicePattern};
use crate::net::Endpoint;
use crate::read::{Notes, Table, listed};
use crate::types::{KdcConfig, KdcGateway, KdcPermit, Policy};

pub(super) fn kdc(file: &File<'_>, notes: &mut Notes<'_>) -> Option<KdcConfig> {
    let gateways = gateways(file, notes);
    let permits = permits(file, &gateways, notes);
    let (metrics, admin, log) = (file.metrics(notes), file.admin(notes), file.log(notes));
    let table = file.one("kdc")?;
    let listen_udp = listener(table, "listen_udp", notes);
    let listen_tcp = listener(table, "listen_tcp", notes);
    if listen_udp.is_none() && listen_tcp.is_none() {
        let hint = "give listen_udp, listen_tcp, or both";
        notes.error_hint(table.span(), "the KDC listens nowhere", hint);
    }
    let registry = table.path("registry", notes);
    let master_key_file = table.path("master_key_file", notes);
    let audit_log = table.path("audit_log", notes);
    let derived_keys = table.boolean("derived_keys", notes);
    let key_lifetime = Duration::from_secs(table.integer("key_lifetime_s", notes));
    Some(KdcConfig {
        listen_udp,
        listen_tcp,
        registry: registry?,
        master_key_file: master_key_file?,
        audit_log,
        derived_keys,
        key_lifetime,
        gateways,
        permits,
        metrics,
        admin,
        log,
    })
}

fn listener(table: &Table<'_>, key: &str, notes: &mut Notes<'_>) -> Option<SocketAddr> {
    let Endpoint(address) = table.parsed(key, notes)?;
    if address.port() == 0 {
        notes.error_hint(
            table.place(key),
            "port 0 is no port that a gateway could be told",
            "1089 is customary",
        );
    }
    Some(address)
}

fn gateways(file: &File<'_>, notes: &mut Notes<'_>) -> Vec<KdcGateway> {
    let mut gateways: Vec<KdcGateway> = Vec::new();
    for table in file.all("gateway") {
        let id = table.parsed::<DeviceName>("id", notes);
        let services = table.parsed_list::<ServicePattern>("services", notes);
        let Some(id) = id else { continue };
        if services.as_ref().is_some_and(Vec::is_empty) {
            notes.error(table.place("services"), format!("{id} serves nothing"));
        }
        if gateways.iter().any(|earlier| earlier.id == id) {
            let hint = "list all its services in one [[gateway]]";
            notes.error_hint(
                table.place("id"),
                format!("{id} is already in an earlier [[gateway]]"),
                hint,
            );
        }
        // Kept even if its services are wrong, so that permits of it are not called wrong as well.
        let services =
            services.unwrap_or_default().into_iter().map(|(service, _)| service).collect();
        gateways.push(KdcGateway { id, services });
    }
    gateways
}

fn permits(file: &File<'_>, gateways: &[KdcGateway], notes: &mut Notes<'_>) -> Vec<KdcPermit> {
    let mut permits = Vec::new();
    for table in file.all("permit") {
        let client = device_or_any(table, "client", notes);
        let gateway = device_or_any(table, "gateway", notes);
        let services = table.parsed_list::<ServicePattern>("services", notes);
        if services.as_ref().is_some_and(Vec::is_empty) {
            let hint = "leave the key out to permit all that the gateway serves";
            notes.error_hint(table.place("services"), "an empty list permits nothing", hint);
        }
        let services = services.unwrap_or_default();
        let policy = table.word("policy", Policy::from_word, notes);
        let (Some(client), Some(gateway), Some(policy)) = (client, gateway, policy) else {
            continue;
        };
        if let Some(id) = &gateway
            && !gateways.iter().any(|known| known.id == *id)
        {
            let known: Vec<String> = gateways.iter().map(|known| known.id.to_string()).collect();
            let hint = format!("the file has {}", listed(known.iter().map(String::as_str)));
            notes.error_hint(
                table.place("gateway"),
                format!("no [[gateway]] has the id {id}"),
                hint,
            );
        }
        let services = services.into_iter().map(|(service, _)| service).collect();
        permits.push(KdcPermit { client, gateway, services, policy });
    }
    permits
}

/// A device, or `*`; the outer option is none if it is wrong, the inner for `*`.
fn device_or_any(
    table: &Table<'_>,
    key: &str,
    notes: &mut Notes<'_>,
) -> Option<Option<DeviceName>> {
    match table.text(key, notes)? {
        ("*", _) => Some(None),
        _ => table.parsed(key, notes).map(Some),
    }
}
