//! What a running process tells about itself: plain data that the control loop fills, and that status, metrics,
//! doctor and tests read.
//!
//! Owns the shape and its JSON form. Knows nothing of workers or tables: names of states, reasons and outcomes come
//! with their help text from those who count them, complete lists with the zero counts included, so that the label
//! sets of metrics are closed.

pub mod json;
pub mod table;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// A state, reason or outcome with its count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// `snake_case`, the value of a metric's label.
    pub label: Cow<'static, str>,
    /// What it means, in a sentence.
    pub help: Cow<'static, str>,
    /// How many.
    pub count: u64,
}

impl Counted {
    /// A count under a name from a table.
    pub fn new(label: &'static str, help: &'static str, count: u64) -> Self {
        // Help texts that come from doc comments start with their space.
        Self { label: Cow::Borrowed(label), help: Cow::Borrowed(help.trim_ascii()), count }
    }
}

/// Everything at one moment. Counters count from the start of the process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StatusSnapshot {
    /// Who is speaking.
    pub process: ProcessStatus,
    /// The two ports; empty for a KDC.
    pub ports: Vec<PortStatus>,
    /// The workers; empty for a KDC.
    pub workers: Vec<WorkerStatus>,
    /// Protected services; empty for a KDC.
    pub services: Vec<ServiceStatus>,
    /// Live sessions by state, every state listed.
    pub sessions: Vec<Counted>,
    /// Sessions that ended, by cause, every cause listed.
    pub closed: Vec<Counted>,
    /// Frames dropped by workers, by reason, every reason listed.
    pub drops: Vec<Counted>,
    /// Frames dropped by the XDP programs, both ports summed, by reason, every reason listed.
    pub xdp_drops: Vec<Counted>,
    /// Frames that the XDP programs passed on, both ports summed, by where to, every place listed.
    pub xdp_passed: Vec<Counted>,
    /// Other events worth counting (clamped segments, sessions in clear …), every event listed; no gauges.
    pub events: Vec<Counted>,
    /// Key deliveries that ended, by outcome, every outcome listed.
    pub deliveries: Vec<Counted>,
    /// From the SYN to synchronisation, of deliveries that completed.
    pub delivery_latency: LatencyHistogram,
    /// Requests to KDCs, by outcome, every outcome listed; in a KDC: requests answered.
    pub kdc_requests: Vec<Counted>,
    /// The KDCs of a gateway, in order of preference.
    pub kdc_servers: Vec<KdcServerStatus>,
    /// The registry of a KDC.
    pub registry: Option<RegistryStatus>,
}

/// Who is speaking.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessStatus {
    /// `gateway`, `client` or `kdc`.
    pub role: Cow<'static, str>,
    /// Version of the program.
    pub version: Cow<'static, str>,
    /// Device identifier; empty for a KDC.
    pub device: String,
    /// Process id.
    pub pid: u32,
    /// When it started, seconds since 1970.
    pub started_unix_seconds: f64,
    /// How long ago, in seconds.
    pub uptime_seconds: f64,
    /// What it is doing.
    pub state: ProcessState,
    /// Why it is degraded: a sentence each. Status exits with 3 if there is any.
    pub problems: Vec<String>,
    /// The cipher kernel in use, e.g. `portable`.
    pub cipher: Cow<'static, str>,
    /// Reloads that were applied.
    pub reloads_applied: u64,
    /// Reloads that were refused.
    pub reloads_refused: u64,
}

/// What a process is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessState {
    /// Not serving yet.
    #[default]
    Starting,
    /// Serving.
    Running,
    /// Takes no new sessions and ends when the present ones are gone.
    Draining,
}

/// One port.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PortStatus {
    /// `cipher` or `plain`.
    pub side: Cow<'static, str>,
    /// Interface name.
    pub interface: String,
    /// Whether its link is up.
    pub up: bool,
    /// MTU in bytes.
    pub mtu: u32,
    /// `native` or `skb`: how the XDP program is attached.
    #[serde(rename = "mode")]
    pub xdp_mode: Cow<'static, str>,
    /// The attached XDP program's id.
    pub program_id: u32,
    /// Whether the attached program is ours.
    pub program_ours: bool,
    /// Frames that workers received.
    pub rx_packets: u64,
    /// Their bytes, Ethernet header included.
    pub rx_bytes: u64,
    /// Frames that workers sent.
    pub tx_packets: u64,
    /// Their bytes.
    pub tx_bytes: u64,
}

/// One worker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// From 0.
    pub index: u16,
    /// The core that it is pinned to.
    pub core: Option<u16>,
    /// Time in bursts that had frames, in nanoseconds.
    pub busy_nanoseconds: u64,
    /// Time in bursts without frames and asleep, in nanoseconds.
    pub idle_nanoseconds: u64,
    /// Sessions in its table.
    pub sessions: u64,
    /// Sessions that its table holds.
    pub session_capacity: u64,
    /// Frames that it owns.
    pub frames: u64,
    /// Frames that are free in its pool.
    pub frames_free: u64,
    /// Frames handed to other workers.
    pub exchange_out: u64,
    /// Frames taken from other workers.
    pub exchange_in: u64,
    /// Its rings.
    pub rings: Vec<RingStatus>,
}

/// One ring of a worker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RingStatus {
    /// `cipher`, `plain` or `control`.
    pub side: Cow<'static, str>,
    /// `rx`, `tx`, `fill`, `completion`, `events` or `commands`.
    pub ring: Cow<'static, str>,
    /// Entries in use.
    pub used: u64,
    /// Entries in all.
    pub capacity: u64,
}

/// One protected service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Address prefix.
    pub address: String,
    /// Ports as in the configuration.
    pub ports: String,
    /// `require`, `prefer` or `off`, as in effect.
    pub policy: Cow<'static, str>,
}

/// One KDC as a gateway sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KdcServerStatus {
    /// Address and port.
    pub address: String,
    /// Whether its last answer or time-out was an answer; none before the first request.
    pub answering: Option<bool>,
    /// Messages sent, retries counted.
    pub sent: u64,
}

/// The registry of a KDC.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RegistryStatus {
    /// Devices that are enabled.
    pub enabled: u64,
    /// Devices that are revoked.
    pub revoked: u64,
    /// Whether keys of unregistered devices are derived.
    pub derived_keys: bool,
    /// Number of the last change that answers go by.
    pub generation: u64,
}

/// Durations by bucket.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LatencyHistogram {
    /// Inclusive upper bounds in seconds, ascending.
    pub upper_bounds: Vec<f64>,
    /// One count per bucket, not cumulative; one more than bounds, the last for what lies beyond.
    pub counts: Vec<u64>,
    /// Sum of all durations, in seconds.
    pub sum_seconds: f64,
}

impl LatencyHistogram {
    /// An empty histogram.
    pub fn new(upper_bounds: &[f64]) -> Self {
        Self {
            upper_bounds: upper_bounds.to_vec(),
            counts: vec![0; upper_bounds.len() + 1],
            sum_seconds: 0.0,
        }
    }

    /// Counts one duration.
    pub fn observe(&mut self, seconds: f64) {
        let bucket = self.upper_bounds.partition_point(|bound| *bound < seconds);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
            self.sum_seconds += seconds;
        }
    }

    /// How many durations there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The upper bound of the bucket in which the given share (0 to 1) of all durations is reached; none if there
    /// are no durations or it lies beyond the last bound.
    pub fn quantile_bound(&self, share: f64) -> Option<f64> {
        let wanted = (share * self.count() as f64).ceil().max(1.0);
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += count;
            seen as f64 >= wanted
        })?;
        self.upper_bounds.get(bucket).copied()
    }
}

impl StatusSnapshot {
    /// Sessions in all states.
    pub fn session_count(&self) -> u64 {
        self.sessions.iter().map(|state| state.count).sum()
    }

    /// Whether it does what it is there for: running, with every port up and under our program.
    pub fn ready(&self) -> bool {
        self.process.state == ProcessState::Running
            && self.ports.iter().all(|port| port.up && port.program_ours)
    }

    /// Whether anything is wrong that an operator should look at.
    pub fn degraded(&self) -> bool {
        !self.process.problems.is_empty()
    }
}

/// Some sessions of a running process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SessionList {
    /// How many there are in all.
    pub total: u64,
    /// The ones that are shown, at most as many as were asked for.
    pub sessions: Vec<SessionRow>,
}

/// One session.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SessionRow {
    /// The client's address and port.
    pub client: String,
    /// The server's address and port.
    pub server: String,
    /// Its state, as the label of [`StatusSnapshot::sessions`].
    pub state: Cow<'static, str>,
    /// Worker that owns it.
    pub worker: u16,
    /// Whether it has a key; goes false the moment the key is wiped.
    pub keyed: bool,
    /// Epoch of its keys.
    pub epoch: u32,
    /// How long it has been opening, idle or draining, in seconds.
    pub waited_seconds: f64,
    /// Payload bytes towards the server, each counted once.
    pub bytes_to_server: u64,
    /// Payload bytes towards the client, each counted once.
    pub bytes_to_client: u64,
    /// Segments whose tag did not verify.
    pub bad_tags: u64,
    /// What is odd about it, in a few words; empty if nothing is.
    pub note: Cow<'static, str>,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A gateway in the middle of its work, one of everything.
    pub(crate) fn gateway() -> StatusSnapshot {
        let mut delivery_latency = LatencyHistogram::new(&[0.001, 0.01, 0.1, 1.0]);
        [0.0004, 0.004, 0.005, 0.2]
            .into_iter()
            .for_each(|seconds| delivery_latency.observe(seconds));
        StatusSnapshot {
            process: ProcessStatus {
                role: "gateway".into(),
                version: "0.1.0".into(),
                device: "name:gw1".into(),
                pid: 4711,
                started_unix_seconds: 1_700_000_000.5,
                uptime_seconds: 93_784.0,
                state: ProcessState::Running,
                problems: Vec::new(),
                cipher: "portable".into(),
                reloads_applied: 2,
                reloads_refused: 1,
            },
            ports: vec![port("cipher", "eth0", 10), port("plain", "eth1", 20)],
            workers: vec![worker(0), worker(1)],
            services: vec![ServiceStatus {
                name: Some("web".into()),
                address: "10.0.2.10/32".into(),
                ports: "80,443".into(),
                policy: "require".into(),
            }],
            sessions: vec![
                Counted::new("keyed", "Holds a key, waits for synchronisation.", 1),
                Counted::new("synced", "Ciphers.", 41),
            ],
            closed: vec![Counted::new("fin", "Both FINs were acknowledged.", 7)],
            drops: vec![
                Counted::new("unsynchronised", "Came before synchronisation was complete.", 3),
                Counted::new("bad_tag", "Its tag did not verify.", 0),
            ],
            xdp_drops: vec![Counted::new("fragment", "An IP fragment of a protected address.", 5)],
            xdp_passed: vec![Counted::new("to_peer", "Foreign: sent to the other port.", 9)],
            events: vec![Counted::new("mss_lowered", "Maximum segment sizes lowered by 16.", 42)],
            deliveries: vec![
                Counted::new("completed", "Ended in synchronisation.", 4),
                Counted::new("unknown_device", "The KDC does not know the client.", 1),
            ],
            delivery_latency,
            kdc_requests: vec![Counted::new("replied", "Answered with keys.", 5)],
            kdc_servers: vec![
                KdcServerStatus { address: "10.9.0.2:1089".into(), answering: Some(true), sent: 6 },
                KdcServerStatus { address: "10.9.0.3:1089".into(), answering: None, sent: 0 },
            ],
            registry: None,
        }
    }

    /// A KDC.
    pub(crate) fn kdc() -> StatusSnapshot {
        StatusSnapshot {
            process: ProcessStatus {
                role: "kdc".into(),
                version: "0.1.0".into(),
                state: ProcessState::Running,
                ..ProcessStatus::default()
            },
            kdc_requests: vec![Counted::new("replied", "Answered with keys.", 5)],
            registry: Some(RegistryStatus {
                enabled: 3,
                revoked: 1,
                derived_keys: false,
                generation: 9,
            }),
            ..StatusSnapshot::default()
        }
    }

    fn port(side: &'static str, interface: &str, packets: u64) -> PortStatus {
        PortStatus {
            side: side.into(),
            interface: interface.into(),
            up: true,
            mtu: 1500,
            xdp_mode: "native".into(),
            program_id: 12,
            program_ours: true,
            rx_packets: packets,
            rx_bytes: packets * 100,
            tx_packets: packets + 1,
            tx_bytes: packets * 101,
        }
    }

    fn worker(index: u16) -> WorkerStatus {
        let ring = |side: &'static str, ring: &'static str| RingStatus {
            side: side.into(),
            ring: ring.into(),
            used: 16,
            capacity: 64,
        };
        WorkerStatus {
            index,
            core: Some(index),
            busy_nanoseconds: 250_000_000,
            idle_nanoseconds: 750_000_000,
            sessions: 21,
            session_capacity: 65_536,
            frames: 4096,
            frames_free: 4000,
            exchange_out: 5,
            exchange_in: 6,
            rings: vec![ring("cipher", "rx"), ring("plain", "tx"), ring("control", "events")],
        }
    }

    #[test]
    fn snapshots_survive_their_json_form() {
        for snapshot in [gateway(), kdc(), StatusSnapshot::default()] {
            let text = serde_json::to_string(&snapshot).unwrap();
            assert_eq!(serde_json::from_str::<StatusSnapshot>(&text).unwrap(), snapshot);
        }
    }

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let mut histogram = LatencyHistogram::new(&[0.001, 0.01]);
        [0.001, 0.0011, 0.01, 5.0].into_iter().for_each(|seconds| histogram.observe(seconds));
        assert_eq!(histogram.counts, [1, 2, 1]);
        assert_eq!(histogram.count(), 4);
        assert!((histogram.sum_seconds - 5.0121).abs() < 1e-9);
    }

    #[test]
    fn quantiles_are_bounds_of_buckets() {
        let mut histogram = LatencyHistogram::new(&[0.001, 0.01]);
        assert_eq!(histogram.quantile_bound(0.5), None);
        [0.0005, 0.0005, 0.005, 5.0].into_iter().for_each(|seconds| histogram.observe(seconds));
        assert_eq!(histogram.quantile_bound(0.0), Some(0.001));
        assert_eq!(histogram.quantile_bound(0.5), Some(0.001));
        assert_eq!(histogram.quantile_bound(0.75), Some(0.01));
        assert_eq!(histogram.quantile_bound(1.0), None);
    }
}
