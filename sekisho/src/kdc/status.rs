//! What a serving KDC tells its admin socket and its metrics.
//!
//! Owns the translation of the server's counters; they may be read at any time, so no question has
//! to travel to the server's thread.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use sekisho_kdc::server::ServerHandle;
use sekisho_kdc_client::RefuseCode;

use crate::admin::{StatusSource, Unanswered, Which};
use crate::status::{
    Counted, ProcessState, ProcessStatus, RegistryStatus, SessionList, StatusSnapshot,
};

/// The status of a KDC.
pub(super) struct KdcStatus {
    server: ServerHandle,
    derived_keys: bool,
    started: Instant,
    started_unix_seconds: f64,
}

impl KdcStatus {
    pub(super) fn new(server: ServerHandle, derived_keys: bool) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            server,
            derived_keys,
            started: Instant::now(),
            started_unix_seconds: since.map_or(0.0, |d| d.as_secs_f64()),
        }
    }
}

impl StatusSource for KdcStatus {
    fn status(&self) -> Result<StatusSnapshot, Unanswered> {
        let counters = self.server.counters();
        let (enabled, others) = counters.devices();
        let (applied, refused) = counters.reloads();
        Ok(StatusSnapshot {
            process: ProcessStatus {
                role: "kdc".into(),
                version: env!("CARGO_PKG_VERSION").into(),
                pid: std::process::id(),
                started_unix_seconds: self.started_unix_seconds,
                uptime_seconds: self.started.elapsed().as_secs_f64(),
                state: ProcessState::Running,
                reloads_applied: applied,
                reloads_refused: refused,
                ..ProcessStatus::default()
            },
            kdc_requests: counters
                .outcomes()
                .into_iter()
                .map(|(label, count)| Counted::new(label, help(label), count))
                .collect(),
            registry: Some(RegistryStatus {
                enabled,
                revoked: others,
                derived_keys: self.derived_keys,
                generation: counters.generation(),
            }),
            ..StatusSnapshot::default()
        })
    }

    fn sessions(&self, _limit: usize) -> Result<SessionList, Unanswered> {
        Ok(SessionList::default())
    }

    fn close(&self, _: &Which) -> Result<u64, Unanswered> {
        Ok(0)
    }
}

fn help(label: &str) -> &'static str {
    match label {
        "issued" => "a session key was made",
        "repeated" => "the same request came again and got the same answer",
        _ => RefuseCode::ALL.iter().find(|c| c.label() == label).map_or("", |c| c.help()),
    }
}
