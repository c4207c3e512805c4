//! One session as it was captured: a time line over network, plain side and management network, and the
//! same bytes on both sides. Only reads.

use std::net::SocketAddr;

use sekisho_wire::SekishoOption;

use super::report::since;
use crate::lab::harness::hex_dump;
use crate::lab::seen::Seen;

/// Frames shown at most: the set-up and the first data.
const ROWS: usize = 26;

/// Client and server of the last session that asked for cipher.
fn last_session(network: &[Seen<'_>]) -> Option<(SocketAddr, SocketAddr)> {
    let asks = |frame: &&Seen<'_>| matches!(frame.option(), Some(SekishoOption::Request(_)));
    network.iter().rev().find(asks)?.ends()
}

/// The time line of the last session.
pub(super) fn draw(network: &[Seen<'_>], plain: &[Seen<'_>], management: &[Seen<'_>]) -> String {
    let Some((client, server)) = last_session(network) else {
        return "No session with a cipher request was captured.\n".to_owned();
    };
    let mut rows: Vec<(u64, &str, String)> = Vec::new();
    let mut add = |place, frame: &Seen<'_>, arrow: &str| {
        rows.push((frame.frame.micros, place, format!("{arrow} {}", frame.describe())));
    };
    for frame in network {
        let delivery = frame.message().is_some() && frame.view.src.is_ipv4() == client.is_ipv4();
        if delivery || frame.between(client, server) {
            add("network", frame, arrow(frame, client));
        }
    }
    for frame in plain.iter().filter(|frame| frame.between(client, server)) {
        add("plain side", frame, arrow(frame, client));
    }
    for frame in management.iter().filter(|frame| frame.ends().is_some()) {
        let asks = frame.view.destination().is_some_and(|to| to.port() == 1089);
        let name = if asks { "KEY-REQUEST" } else { "KEY-REPLY" };
        rows.push((
            frame.frame.micros,
            "KDC",
            format!("{} {name}, {}", if asks { "──►" } else { "◄──" }, frame.describe()),
        ));
    }
    rows.sort_by_key(|row| row.0);
    // Older key deliveries may still be in the captures: begin with this session's SYN.
    let begin = network
        .iter()
        .find(|frame| frame.ends() == Some((client, server)))
        .map_or(0, |frame| frame.frame.micros);
    let mut text = format!("One session set-up: {client} → {server}\n");
    for (micros, place, what) in rows.iter().filter(|row| row.0 >= begin).take(ROWS) {
        text.push_str(&format!("  {}  {place:<11} {what}\n", since(begin, *micros)));
    }
    text
}

fn arrow(frame: &Seen<'_>, client: SocketAddr) -> &'static str {
    if frame.view.src == client.ip() { "──►" } else { "◄──" }
}

/// The first data of the last session on both sides.
pub(super) fn both_sides(network: &[Seen<'_>], plain: &[Seen<'_>]) -> String {
    let Some((client, server)) = last_session(network) else { return String::new() };
    let mut text = String::new();
    for (from, to, what) in [(client, server, "request"), (server, client, "answer")] {
        for (side, frames) in [("cipher side", network), ("plain side", plain)] {
            let data = frames
                .iter()
                .find(|frame| frame.ends() == Some((from, to)) && !frame.payload().is_empty());
            if let Some(frame) = data {
                text.push_str(&format!("\nPayload of the {what} on the {side}:\n"));
                text.push_str(&hex_dump(frame.payload(), 64));
            }
        }
    }
    text
}
