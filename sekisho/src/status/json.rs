//! Status and sessions as JSON for programs: what `--json` prints. A stable form: fields are added, never renamed.

use serde_json::{Map, Value, json};

use super::{Counted, SessionList, StatusSnapshot};

/// The status; counts are objects with one member per label.
pub fn status_json(status: &StatusSnapshot) -> Value {
    let process = &status.process;
    let ports: Map<String, Value> =
        status.ports.iter().map(|port| (port.side.to_string(), json!(port))).collect();
    let sum = |of: fn(&super::WorkerStatus) -> u64| status.workers.iter().map(of).sum::<u64>();
    json!({
        "schema": 1,
        "role": process.role,
        "ready": status.ready(),
        "state": process.state,
        "degraded": status.degraded(),
        "problems": process.problems,
        "version": process.version,
        "device": process.device,
        "pid": process.pid,
        "started_unix_seconds": process.started_unix_seconds,
        "uptime_seconds": process.uptime_seconds,
        "cipher": process.cipher,
        "reloads": { "applied": process.reloads_applied, "refused": process.reloads_refused },
        "ports": ports,
        "workers": status.workers,
        "frames": { "total": sum(|worker| worker.frames), "free": sum(|worker| worker.frames_free) },
        "services": status.services,
        "sessions": counts(&[&status.sessions]),
        "closed": counts(&[&status.closed]),
        "drops": counts(&[&status.drops, &status.xdp_drops]),
        "worker_drops": counts(&[&status.drops]),
        "xdp_drops": counts(&[&status.xdp_drops]),
        "xdp_passed": counts(&[&status.xdp_passed]),
        "events": counts(&[&status.events]),
        "key_deliveries": counts(&[&status.deliveries]),
        "key_delivery_latency": status.delivery_latency,
        "kdc_requests": counts(&[&status.kdc_requests]),
        "kdc_servers": status.kdc_servers,
        "registry": status.registry,
    })
}

/// The sessions.
pub fn sessions_json(list: &SessionList) -> Value {
    json!({ "schema": 1, "total": list.total, "sessions": list.sessions })
}

/// How many sessions were closed.
pub fn closed_json(sessions: u64) -> Value {
    json!({ "schema": 1, "closed": sessions })
}

/// One member per label; a label that is in several lists gets their sum.
fn counts(lists: &[&[Counted]]) -> Value {
    let mut sums = Map::new();
    for counted in lists.iter().copied().flatten() {
        let before = sums.get(counted.label.as_ref()).and_then(Value::as_u64).unwrap_or(0);
        sums.insert(counted.label.to_string(), json!(before + counted.count));
    }
    Value::Object(sums)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::tests::{gateway, kdc};
    use crate::status::{ProcessState, SessionRow};

    #[test]
    fn counts_are_members_and_equal_labels_are_summed() {
        let mut status = gateway();
        status.xdp_drops.push(Counted::new("bad_tag", "In XDP as well.", 4));
        status.drops[1].count = 2;
        let json = status_json(&status);
        assert_eq!(json["role"], "gateway");
        assert_eq!(json["sessions"], json!({ "keyed": 1, "synced": 41 }));
        assert_eq!(json["drops"], json!({ "unsynchronised": 3, "bad_tag": 6, "fragment": 5 }));
        assert_eq!(json["worker_drops"]["bad_tag"], 2);
        assert_eq!(json["ports"]["cipher"]["mode"], "native");
        assert_eq!(json["ports"]["plain"]["interface"], "eth1");
        assert_eq!(json["frames"], json!({ "total": 8192, "free": 8000 }));
        assert_eq!(json["workers"][1]["index"], 1);
        assert_eq!(json["kdc_servers"][1]["answering"], Value::Null);
    }

    #[test]
    fn ready_means_running_with_both_ports() {
        assert_eq!(status_json(&gateway())["ready"], true);
        assert_eq!(status_json(&kdc())["ready"], true);
        let mut down = gateway();
        down.ports[1].up = false;
        let mut foreign = gateway();
        foreign.ports[0].program_ours = false;
        let mut starting = gateway();
        starting.process.state = ProcessState::Starting;
        for status in [down, foreign, starting] {
            assert_eq!(status_json(&status)["ready"], false);
        }
    }

    #[test]
    fn sessions_are_a_list() {
        let row = SessionRow {
            client: "10.0.1.5:40000".into(),
            state: "synced".into(),
            ..SessionRow::default()
        };
        let json = sessions_json(&SessionList { total: 3, sessions: vec![row] });
        assert_eq!(json["total"], 3);
        assert_eq!(json["sessions"][0]["client"], "10.0.1.5:40000");
        assert_eq!(json["sessions"][0]["state"], "synced");
    }
}
