//! The audit log: one JSON line per request, appended to a file.
//!
//! Owns the file and the bound on what strangers can write into it. Lines of one turn of the server
//! go out in one write.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::audit::AuditRecord;

/// Lines per second that requests without a valid gateway HMAC may write: anybody can send those,
/// and nobody shall fill the disk with them. What is left out is counted in a line of its own.
const STRANGERS_PER_SECOND: u32 = 100;
/// Such lines in one burst.
const STRANGERS_BURST: u32 = 1000;

const SECOND: u64 = 1_000_000_000;

pub(super) struct AuditLog {
    file: Option<File>,
    buffer: Vec<u8>,
    budget: u32,
    refilled: u64,
    suppressed: u64,
    failing: bool,
}

struct Line<'a> {
    time: f64,
    record: &'a AuditRecord,
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("time", &self.time)?;
        self.record.entries(&mut map)?;
        map.end()
    }
}

impl AuditLog {
    /// Opens the file for appending, mode 0600 if it is new; without a path nothing is written.
    pub(super) fn open(path: Option<&Path>) -> std::io::Result<Self> {
        let open = |p: &Path| OpenOptions::new().append(true).create(true).mode(0o600).open(p);
        Ok(Self {
            file: path.map(open).transpose()?,
            buffer: Vec::new(),
            budget: STRANGERS_BURST,
            refilled: 0,
            suppressed: 0,
            failing: false,
        })
    }

    /// Adds a line; `now` in ns of the server's clock.
    pub(super) fn record(&mut self, record: &AuditRecord, now: u64) {
        if self.file.is_none() {
            return;
        }
        if !record.verified && !self.stranger_may_write(now) {
            self.suppressed += 1;
            return;
        }
        if self.suppressed > 0 {
            let line = serde_json::json!({ "time": unix_time(), "suppressed": self.suppressed });
            self.append(&line);
            self.suppressed = 0;
        }
        self.append(&Line { time: unix_time(), record });
    }

    /// Writes the lines of this turn.
    pub(super) fn flush(&mut self) {
        let Some(file) = self.file.as_mut().filter(|_| !self.buffer.is_empty()) else { return };
        let written = file.write_all(&self.buffer);
        self.buffer.clear();
        match written {
            Ok(()) => self.failing = false,
            Err(error) if !self.failing => {
                self.failing = true;
                tracing::error!(%error, "cannot write the audit log; lines are lost");
            }
            Err(_) => {}
        }
    }

    fn append(&mut self, line: &impl Serialize) {
        let start = self.buffer.len();
        if serde_json::to_writer(&mut self.buffer, line).is_err() {
            self.buffer.truncate(start);
            return;
        }
        self.buffer.push(b'\n');
    }

    fn stranger_may_write(&mut self, now: u64) -> bool {
        let passed = now.saturating_sub(self.refilled);
        let more = passed.saturating_mul(u64::from(STRANGERS_PER_SECOND)) / SECOND;
        if more > 0 {
            let more = u32::try_from(more).unwrap_or(STRANGERS_BURST);
            self.budget = self.budget.saturating_add(more).min(STRANGERS_BURST);
            self.refilled = now;
        }
        let may = self.budget > 0;
        self.budget = self.budget.saturating_sub(1);
        may
    }
}

/// Seconds since 1970, to the microsecond.
fn unix_time() -> f64 {
    let micros = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros());
    // 2^53 µs reach the year 2255.
    micros as f64 / 1e6
}
