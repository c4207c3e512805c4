//! How key deliveries, sessions and KDC requests ended, counted for metrics and status.

use std::collections::BTreeMap;

use sekisho_dataplane::CloseCause;
use sekisho_kdc_client::RefuseCode;

use crate::status::LatencyHistogram;

/// Upper bounds of the buckets of the key-delivery latency, in seconds: from one round trip in a
/// rack to the hold deadline.
const LATENCY_BOUNDS_S: [f64; 12] =
    [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0];

/// Key deliveries and sessions that ended since the start.
#[derive(Debug, Clone)]
pub struct Outcomes {
    /// Deliveries that ended in synchronisation.
    pub completed: u64,
    /// Deliveries that failed, by the code's label.
    pub failed: BTreeMap<&'static str, u64>,
    /// Sessions that ended, by the cause's label.
    pub closed: BTreeMap<&'static str, u64>,
    /// From the SYN to synchronisation, of deliveries that completed.
    pub latency: LatencyHistogram,
}

impl Default for Outcomes {
    fn default() -> Self {
        Self {
            completed: 0,
            failed: BTreeMap::new(),
            closed: BTreeMap::new(),
            latency: LatencyHistogram::new(&LATENCY_BOUNDS_S),
        }
    }
}

impl Outcomes {
    /// One delivery ended, `latency_ns` nanoseconds after it began.
    pub(super) fn delivery(&mut self, result: Result<(), RefuseCode>, latency_ns: u64) {
        match result {
            Ok(()) => {
                self.completed += 1;
                self.latency.observe(latency_ns as f64 / 1e9);
            }
            Err(code) => {
                let count = self.failed.entry(code.label()).or_default();
                *count += 1;
                // Anybody can make deliveries fail by sending SYNs: the log must not grow with them.
                if count.is_power_of_two() {
                    let (code, hint) = (code.label(), code.help());
                    tracing::info!(code, count, hint, "key delivery failed");
                }
            }
        }
    }

    /// One session ended.
    pub(super) fn closed(&mut self, cause: CloseCause) {
        *self.closed.entry(cause.label()).or_default() += 1;
    }
}

/// KDC requests since the start.
#[derive(Debug, Clone, Default)]
pub struct KdcOutcomes {
    /// Answered with keys.
    pub replied: u64,
    /// Answered with a refusal, by the code's label.
    pub refused: BTreeMap<&'static str, u64>,
    /// No KDC answered in time.
    pub unavailable: u64,
    /// Messages sent, retries counted, by KDC.
    pub sent: Vec<u64>,
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_flood_of_failures_does_not_flood_the_log() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
        let mut outcomes = Outcomes::default();
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..100_000 {
                outcomes.delivery(Err(RefuseCode::Timeout), 0);
            }
            outcomes.delivery(Err(RefuseCode::UnknownDevice), 0);
        });
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 17 + 1, "1, 2, 4 … 65536, and the first of another code");
        assert_eq!(outcomes.failed[RefuseCode::Timeout.label()], 100_000);
    }
}
