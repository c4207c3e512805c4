//! Status and sessions as text for people: tables that fit a terminal, nothing that a program should parse.

use std::fmt::Write;

use super::{
    Counted, PortStatus, ProcessState, RingStatus, SessionList, StatusSnapshot, WorkerStatus,
};

/// The status as text.
pub fn status_text(status: &StatusSnapshot) -> String {
    let mut text = head(status);
    if !status.ports.is_empty() {
        section(&mut text, "Ports", &port_table(&status.ports));
    }
    if !status.workers.is_empty() {
        section(&mut text, "Workers", &worker_table(&status.workers));
    }
    if !status.services.is_empty() {
        section(&mut text, "Services", &service_table(status));
    }
    if !status.sessions.is_empty() {
        section(&mut text, "Sessions", &counted_table(&status.sessions, true));
    }
    if !status.kdc_servers.is_empty() {
        section(&mut text, "KDC", &kdc_table(status));
    }
    if let Some(registry) = &status.registry {
        let derived = if registry.derived_keys { "yes" } else { "no" };
        let line = format!(
            "{} enabled, {} revoked, derived keys: {derived}",
            registry.enabled, registry.revoked
        );
        section(&mut text, "Registry", &[vec![line]]);
    }
    for (title, counts) in [
        ("KDC requests", &status.kdc_requests),
        ("Key deliveries", &status.deliveries),
        ("Closed sessions", &status.closed),
        ("Events", &status.events),
        ("Drops", &status.drops),
        ("Drops in XDP", &status.xdp_drops),
        ("Passed by XDP", &status.xdp_passed),
    ] {
        let rows = counted_table(counts, false);
        if !rows.is_empty() {
            section(&mut text, title, &rows);
        }
    }
    text
}

/// The sessions as text.
pub fn sessions_text(list: &SessionList) -> String {
    let mut rows = vec![words(&[
        "CLIENT",
        "SERVER",
        "STATE",
        "WORKER",
        "KEY",
        "EPOCH",
        "SINCE",
        "TO SERVER",
        "TO CLIENT",
        "",
    ])];
    rows.extend(list.sessions.iter().map(|session| {
        vec![
            session.client.clone(),
            session.server.clone(),
            session.state.to_string(),
            session.worker.to_string(),
            if session.keyed { "yes" } else { "no" }.to_owned(),
            session.epoch.to_string(),
            duration(session.waited_seconds),
            bytes(session.bytes_to_server),
            bytes(session.bytes_to_client),
            session.note.to_string(),
        ]
    }));
    let mut text = columns(&rows, "");
    let shown = list.sessions.len();
    // Writing to a String cannot fail, here and below.
    let _ = match (shown, list.total) {
        (_, 1) => writeln!(text, "1 session"),
        (shown, total) if shown as u64 == total => writeln!(text, "{total} sessions"),
        (shown, total) => writeln!(text, "{shown} of {total} sessions"),
    };
    text
}

fn head(status: &StatusSnapshot) -> String {
    let process = &status.process;
    let state = match process.state {
        ProcessState::Starting => "starting",
        ProcessState::Running if status.degraded() => "running, degraded",
        ProcessState::Running => "running",
        ProcessState::Draining => "draining",
    };
    let device =
        if process.device.is_empty() { String::new() } else { format!(" {}", process.device) };
    let mut text = format!(
        "sekisho {}{device}: {state} for {} (version {}, pid {})\n",
        process.role,
        duration(process.uptime_seconds),
        process.version,
        process.pid
    );
    for problem in &process.problems {
        let lines = problem.lines().filter(|line| !line.trim().is_empty());
        let _ = writeln!(
            text,
            "  ! {}",
            lines.collect::<Vec<_>>().join(
                "
    "
            )
        );
    }
    if !process.cipher.is_empty() {
        let _ = writeln!(text, "cipher: {}", process.cipher);
    }
    let latency = &status.delivery_latency;
    if let (Some(half), count) = (latency.quantile_bound(0.5), latency.count()) {
        let most = latency.quantile_bound(0.99).map_or("more".to_owned(), milliseconds);
        let _ = writeln!(
            text,
            "key delivery: {count} completed, half within {}, 99 % within {most}",
            milliseconds(half)
        );
    }
    text
}

fn port_table(ports: &[PortStatus]) -> Vec<Vec<String>> {
    let mut rows = vec![words(&[
        "SIDE",
        "INTERFACE",
        "LINK",
        "MTU",
        "XDP",
        "RX PACKETS",
        "RX",
        "TX PACKETS",
        "TX",
    ])];
    rows.extend(ports.iter().map(|port| {
        let xdp = if port.program_ours { port.xdp_mode.to_string() } else { "NOT OURS".to_owned() };
        vec![
            port.side.to_string(),
            port.interface.clone(),
            if port.up { "up" } else { "DOWN" }.to_owned(),
            port.mtu.to_string(),
            xdp,
            port.rx_packets.to_string(),
            bytes(port.rx_bytes),
            port.tx_packets.to_string(),
            bytes(port.tx_bytes),
        ]
    }));
    rows
}

fn worker_table(workers: &[WorkerStatus]) -> Vec<Vec<String>> {
    let mut rows = vec![words(&[
        "WORKER",
        "CORE",
        "BUSY",
        "SESSIONS",
        "FREE FRAMES",
        "EXCHANGED",
        "FULLEST RING",
    ])];
    rows.extend(workers.iter().map(|worker| {
        // A full fill ring is a good one: it is what frames are received into.
        let filling = worker.rings.iter().filter(|ring| ring.ring != "fill");
        let share = |ring: &RingStatus| fill(ring.used, ring.capacity);
        let fullest = filling.max_by(|a, b| share(a).total_cmp(&share(b)));
        vec![
            worker.index.to_string(),
            worker.core.map_or("any".to_owned(), |core| core.to_string()),
            percent(fill(
                worker.busy_nanoseconds,
                worker.busy_nanoseconds + worker.idle_nanoseconds,
            )),
            format!("{} of {}", worker.sessions, worker.session_capacity),
            format!("{} of {}", worker.frames_free, worker.frames),
            format!("{} out, {} in", worker.exchange_out, worker.exchange_in),
            fullest.map_or("-".to_owned(), |ring| {
                format!("{} {} {}", ring.side, ring.ring, percent(share(ring)))
            }),
        ]
    }));
    rows
}

fn service_table(status: &StatusSnapshot) -> Vec<Vec<String>> {
    let mut rows = vec![words(&["ADDRESS", "PORTS", "POLICY", "NAME"])];
    rows.extend(status.services.iter().map(|service| {
        let name = service.name.clone().unwrap_or_else(|| "-".to_owned());
        vec![service.address.clone(), service.ports.clone(), service.policy.to_string(), name]
    }));
    rows
}

fn kdc_table(status: &StatusSnapshot) -> Vec<Vec<String>> {
    let mut rows = vec![words(&["ADDRESS", "STATE", "SENT"])];
    rows.extend(status.kdc_servers.iter().map(|server| {
        let state = match server.answering {
            Some(true) => "answering",
            Some(false) => "SILENT",
            None => "not asked yet",
        };
        vec![server.address.clone(), state.to_owned(), server.sent.to_string()]
    }));
    rows
}

/// Counts with their help; those of zero only if asked for.
fn counted_table(counts: &[Counted], zeros: bool) -> Vec<Vec<String>> {
    let shown = counts.iter().filter(|counted| zeros || counted.count > 0);
    shown
        .map(|counted| {
            vec![counted.label.to_string(), counted.count.to_string(), counted.help.to_string()]
        })
        .collect()
}

fn section(text: &mut String, title: &str, rows: &[Vec<String>]) {
    let _ = write!(text, "\n{title}\n{}", columns(rows, "  "));
}

/// Rows of cells, each column as wide as its widest cell.
fn columns(rows: &[Vec<String>], indent: &str) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..count).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = indent.to_owned();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:width$}  ");
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn fill(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

fn milliseconds(seconds: f64) -> String {
    format!("{} ms", seconds * 1000.0)
}

/// `3 s`, `4 min 5 s`, `2 h 3 min`, `1 d 2 h`.
fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        3600..86_400 => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
        _ => format!("{} d {} h", whole / 86_400, whole % 86_400 / 3600),
    }
}

/// `512 B`, `1.5 KiB`, up to TiB.
fn bytes(count: u64) -> String {
    if count < 1024 {
        return format!("{count} B");
    }
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::SessionRow;
    use crate::status::tests::{gateway, kdc};

    #[test]
    fn a_gateway_shows_all_its_parts() {
        let text = status_text(&gateway());
        let expected = "\
sekisho gateway name:gw1: running for 1 d 2 h (version 0.1.0, pid 4711)
cipher: portable
key delivery: 4 completed, half within 10 ms, 99 % within 1000 ms

Ports
  SIDE    INTERFACE  LINK  MTU   XDP     RX PACKETS  RX       TX PACKETS  TX
  cipher  eth0       up    1500  native  10          1000 B   11          1010 B
  plain   eth1       up    1500  native  20          2.0 KiB  21          2.0 KiB

Workers
  WORKER  CORE  BUSY  SESSIONS     FREE FRAMES   EXCHANGED    FULLEST RING
  0       0     25 %  21 of 65536  4000 of 4096  5 out, 6 in  control events 25 %
  1       1     25 %  21 of 65536  4000 of 4096  5 out, 6 in  control events 25 %

Services
  ADDRESS       PORTS   POLICY   NAME
  10.0.2.10/32  80,443  require  web

Sessions
  keyed   1   Holds a key, waits for synchronisation.
  synced  41  Ciphers.

KDC
  ADDRESS        STATE          SENT
  10.9.0.2:1089  answering      6
  10.9.0.3:1089  not asked yet  0

KDC requests
  replied  5  Answered with keys.

Key deliveries
  completed       4  Ended in synchronisation.
  unknown_device  1  The KDC does not know the client.

Closed sessions
  fin  7  Both FINs were acknowledged.

Events
  mss_lowered  42  Maximum segment sizes lowered by 16.

Drops
  unsynchronised  3  Came before synchronisation was complete.

Drops in XDP
  fragment  5  An IP fragment of a protected address.

Passed by XDP
  to_peer  9  Foreign: sent to the other port.
";
        assert_eq!(text, expected);
    }

    #[test]
    fn trouble_stands_out() {
        let mut status = gateway();
        status.process.problems.push("port eth1 is down".into());
        status.process.problems.push("refused:\nline 1\n\nline 2\n".into());
        status.ports[1].up = false;
        status.ports[0].program_ours = false;
        status.kdc_servers[0].answering = Some(false);
        let text = status_text(&status);
        for shown in [
            "running, degraded",
            "  ! port eth1 is down\n  ! refused:\n    line 1\n    line 2\ncipher",
            "DOWN",
            "NOT OURS",
            "SILENT",
        ] {
            assert!(text.contains(shown), "{shown} in\n{text}");
        }
    }

    #[test]
    fn a_kdc_shows_its_registry() {
        let text = status_text(&kdc());
        assert!(text.contains("3 enabled, 1 revoked, derived keys: no"), "{text}");
        assert!(!text.contains("Ports") && !text.contains("cipher:"), "{text}");
    }

    #[test]
    fn sessions_are_counted_below() {
        let row = SessionRow {
            client: "10.0.1.5:40000".into(),
            server: "10.0.2.10:80".into(),
            state: "synced".into(),
            keyed: true,
            waited_seconds: 61.0,
            bytes_to_client: 1 << 20,
            ..SessionRow::default()
        };
        let text = sessions_text(&SessionList { total: 9, sessions: vec![row] });
        let expected = "\
CLIENT          SERVER        STATE   WORKER  KEY  EPOCH  SINCE      TO SERVER  TO CLIENT
10.0.1.5:40000  10.0.2.10:80  synced  0       yes  0      1 min 1 s  0 B        1.0 MiB
1 of 9 sessions
";
        assert_eq!(text, expected);
        assert!(sessions_text(&SessionList::default()).ends_with("0 sessions\n"));
    }

    #[test]
    fn quantities_are_short() {
        assert_eq!(
            [0.4, 59.9, 3599.0, 86_399.0].map(duration),
            ["0 s", "59 s", "59 min 59 s", "23 h 59 min"]
        );
        assert_eq!(
            [1023, 1024, 1536, 1 << 40].map(bytes),
            ["1023 B", "1.0 KiB", "1.5 KiB", "1.0 TiB"]
        );
        assert_eq!(bytes(u64::MAX), "16777216.0 TiB");
    }
}
