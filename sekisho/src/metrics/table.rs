//! Every metric with its kind, help, labels and where its samples come from: the one table behind `/metrics` and
//! `docs/metrics.md`.

use std::borrow::Cow;

use crate::status::{Counted, LatencyHistogram, PortStatus, StatusSnapshot, WorkerStatus};

/// One metric.
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) labels: &'static [&'static str],
    pub(super) kind: Kind,
}

/// Its kind, with the function that takes its samples from a snapshot.
pub(super) enum Kind {
    Counter(for<'s> fn(&'s Scrape) -> Vec<Sample<'s>>),
    Gauge(for<'s> fn(&'s Scrape) -> Vec<Sample<'s>>),
    Histogram(for<'s> fn(&'s Scrape) -> Option<&'s LatencyHistogram>),
}

/// One value under its label values.
pub(super) struct Sample<'s> {
    pub(super) labels: Vec<Cow<'s, str>>,
    pub(super) value: f64,
}

/// A snapshot, with what changed since the one before.
#[derive(Default)]
pub(super) struct Scrape {
    pub(super) status: StatusSnapshot,
    /// Busy share of each worker since the scrape before, or since the start.
    busy: Vec<f64>,
}

impl Scrape {
    /// Takes the next snapshot.
    pub(super) fn advance(&mut self, next: StatusSnapshot) {
        let before = |index: usize| {
            let worker = self.status.workers.get(index);
            worker.map_or((0, 0), |worker| (worker.busy_nanoseconds, worker.idle_nanoseconds))
        };
        let share = |(index, worker): (usize, &WorkerStatus)| {
            let (busy_before, idle_before) = before(index);
            let busy = worker.busy_nanoseconds.saturating_sub(busy_before) as f64;
            let idle = worker.idle_nanoseconds.saturating_sub(idle_before) as f64;
            if busy + idle > 0.0 { busy / (busy + idle) } else { 0.0 }
        };
        self.busy = next.workers.iter().enumerate().map(share).collect();
        self.status = next;
    }
}

/// Nanoseconds of one second.
const NANOSECONDS: f64 = 1e9;

/// All metrics, in the order of the reference.
pub(super) static METRICS: &[Metric] = &[
    Metric {
        name: "sekisho_build_info",
        help: "Always 1; its labels tell the version, the role and the cipher kernel in use.",
        labels: &["version", "role", "cipher"],
        kind: Kind::Gauge(|scrape| {
            let process = &scrape.status.process;
            let labels = [&process.version, &process.role, &process.cipher]
                .map(|label| Cow::Borrowed(label.as_ref()));
            vec![Sample { labels: labels.to_vec(), value: 1.0 }]
        }),
    },
    Metric {
        name: "sekisho_start_time_seconds",
        help: "When the process started, in seconds since 1970.",
        labels: &[],
        kind: Kind::Gauge(|scrape| single(scrape.status.process.started_unix_seconds)),
    },
    Metric {
        name: "sekisho_degraded",
        help: "1 while something needs an operator's attention; `sekisho status` says what.",
        labels: &[],
        kind: Kind::Gauge(|scrape| single(f64::from(u8::from(scrape.status.degraded())))),
    },
    Metric {
        name: "sekisho_reloads_total",
        help: "Configuration reloads by result.",
        labels: &["result"],
        kind: Kind::Counter(|scrape| {
            let process = &scrape.status.process;
            vec![one("applied", process.reloads_applied), one("refused", process.reloads_refused)]
        }),
    },
    Metric {
        name: "sekisho_port_up",
        help: "1 while the port's link is up and the XDP program on it is ours.",
        labels: &["side", "interface", "mode"],
        kind: Kind::Gauge(|scrape| {
            let up = |port: &PortStatus| f64::from(u8::from(port.up && port.program_ours));
            let sample = |port| Sample { labels: port_labels(port), value: up(port) };
            scrape.status.ports.iter().map(sample).collect()
        }),
    },
    Metric {
        name: "sekisho_packets_total",
        help: "Frames that workers received and sent, by port side.",
        labels: &["side", "direction"],
        kind: Kind::Counter(|scrape| traffic(scrape, |port| (port.rx_packets, port.tx_packets))),
    },
    Metric {
        name: "sekisho_bytes_total",
        help: "Bytes of frames that workers received and sent, Ethernet header included, by port side.",
        labels: &["side", "direction"],
        kind: Kind::Counter(|scrape| traffic(scrape, |port| (port.rx_bytes, port.tx_bytes))),
    },
    Metric {
        name: "sekisho_sessions",
        help: "Live sessions by state.",
        labels: &["state"],
        kind: Kind::Gauge(|scrape| counted(&scrape.status.sessions)),
    },
    Metric {
        name: "sekisho_session_capacity",
        help: "Sessions that the tables of all workers hold.",
        labels: &[],
        kind: Kind::Gauge(|scrape| {
            let workers = &scrape.status.workers;
            if workers.is_empty() {
                Vec::new()
            } else {
                single(workers.iter().map(|w| w.session_capacity as f64).sum())
            }
        }),
    },
    Metric {
        name: "sekisho_sessions_closed_total",
        help: "Sessions that ended, by cause.",
        labels: &["cause"],
        kind: Kind::Counter(|scrape| counted(&scrape.status.closed)),
    },
    Metric {
        name: "sekisho_drops_total",
        help: "Frames that workers dropped, by reason.",
        labels: &["reason"],
        kind: Kind::Counter(|scrape| counted(&scrape.status.drops)),
    },
    Metric {
        name: "sekisho_xdp_drops_total",
        help: "Frames that the XDP programs dropped before any worker saw them, by reason.",
        labels: &["reason"],
        kind: Kind::Counter(|scrape| counted(&scrape.status.xdp_drops)),
    },
    Metric {
        name: "sekisho_xdp_passed_total",
        help: "Frames that the XDP programs passed on, by where to.",
        labels: &["to"],
        kind: Kind::Counter(|scrape| counted(&scrape.status.xdp_passed)),
    },
    Metric {
        name: "sekisho_events_total",
        help: "Other events of the dataplane, by kind.",
        labels: &["event"],
        kind: Kind::Counter(|scrape| counted(&scrape.status.events)),
    },
    Metric {
        name: "sekisho_key_deliveries_total",
        help: "Key deliveries that ended, by outcome.",
        labels: &["outcome"],
        kind: Kind::Counter(|scrape| counted(&scrape.status.deliveries)),
    },
    Metric {
        name: "sekisho_key_delivery_duration_seconds",
        help: "From the SYN to synchronisation, of key deliveries that completed.",
        labels: &[],
        kind: Kind::Histogram(|scrape| {
            Some(&scrape.status.delivery_latency).filter(|latency| !latency.upper_bounds.is_empty())
        }),
    },
    Metric {
        name: "sekisho_kdc_requests_total",
        help: "Requests to the KDCs of this gateway that ended, by outcome.",
        labels: &["outcome"],
        kind: Kind::Counter(|scrape| {
            if is_kdc(scrape) { Vec::new() } else { counted(&scrape.status.kdc_requests) }
        }),
    },
    Metric {
        name: "sekisho_kdc_server_up",
        help: "1 if the KDC answered the latest request sent to it, 0 if it was silent; absent before the first.",
        labels: &["server"],
        kind: Kind::Gauge(|scrape| {
            let answering = scrape
                .status
                .kdc_servers
                .iter()
                .filter_map(|server| Some((server, server.answering?)));
            answering.map(|(server, up)| gauge(&server.address, f64::from(u8::from(up)))).collect()
        }),
    },
    Metric {
        name: "sekisho_kdc_sent_total",
        help: "Messages sent to a KDC, retries counted.",
        labels: &["server"],
        kind: Kind::Counter(|scrape| {
            scrape
                .status
                .kdc_servers
                .iter()
                .map(|server| gauge(&server.address, server.sent as f64))
                .collect()
        }),
    },
    Metric {
        name: "sekisho_kdc_answers_total",
        help: "Requests that this KDC answered, by outcome.",
        labels: &["outcome"],
        kind: Kind::Counter(|scrape| {
            if is_kdc(scrape) { counted(&scrape.status.kdc_requests) } else { Vec::new() }
        }),
    },
    Metric {
        name: "sekisho_kdc_devices",
        help: "Devices in this KDC's registry, by state.",
        labels: &["state"],
        kind: Kind::Gauge(|scrape| {
            let registry = scrape.status.registry.iter();
            registry
                .flat_map(|registry| {
                    [one("enabled", registry.enabled), one("revoked", registry.revoked)]
                })
                .collect()
        }),
    },
    Metric {
        name: "sekisho_worker_busy_seconds_total",
        help: "Time that a worker spent on bursts that had frames.",
        labels: &["worker"],
        kind: Kind::Counter(|scrape| {
            per_worker(scrape, |worker| worker.busy_nanoseconds as f64 / NANOSECONDS)
        }),
    },
    Metric {
        name: "sekisho_worker_idle_seconds_total",
        help: "Time that a worker spent on empty bursts and asleep.",
        labels: &["worker"],
        kind: Kind::Counter(|scrape| {
            per_worker(scrape, |worker| worker.idle_nanoseconds as f64 / NANOSECONDS)
        }),
    },
    Metric {
        name: "sekisho_worker_busy_ratio",
        help: "Busy share of a worker's time since the scrape before.",
        labels: &["worker"],
        kind: Kind::Gauge(|scrape| {
            let shares = scrape.status.workers.iter().zip(&scrape.busy);
            shares
                .map(|(worker, share)| Sample { labels: vec![index(worker)], value: *share })
                .collect()
        }),
    },
    Metric {
        name: "sekisho_worker_sessions",
        help: "Sessions in a worker's table.",
        labels: &["worker"],
        kind: Kind::Gauge(|scrape| per_worker(scrape, |worker| worker.sessions as f64)),
    },
    Metric {
        name: "sekisho_frames",
        help: "Frames that a worker owns, wherever they are.",
        labels: &["worker"],
        kind: Kind::Gauge(|scrape| per_worker(scrape, |worker| worker.frames as f64)),
    },
    Metric {
        name: "sekisho_frames_free",
        help: "Frames that are free in a worker's pool.",
        labels: &["worker"],
        kind: Kind::Gauge(|scrape| per_worker(scrape, |worker| worker.frames_free as f64)),
    },
    Metric {
        name: "sekisho_exchanged_frames_total",
        help: "Frames that a worker handed to other workers (out) or took from them (in).",
        labels: &["worker", "direction"],
        kind: Kind::Counter(|scrape| {
            let both = |worker: &WorkerStatus| {
                [("out", worker.exchange_out), ("in", worker.exchange_in)].map(
                    |(direction, count)| Sample {
                        labels: vec![index(worker), Cow::Borrowed(direction)],
                        value: count as f64,
                    },
                )
            };
            scrape.status.workers.iter().flat_map(both).collect()
        }),
    },
    Metric {
        name: "sekisho_ring_fill_ratio",
        help: "Used share of a ring's entries; frames are received into those of fill, so there empty is bad.",
        labels: &["worker", "side", "ring"],
        kind: Kind::Gauge(|scrape| {
            let mut samples = Vec::new();
            for (worker, rings) in
                scrape.status.workers.iter().map(|worker| (index(worker), &worker.rings))
            {
                samples.extend(rings.iter().map(|ring| Sample {
                    labels: vec![
                        worker.clone(),
                        Cow::Borrowed(ring.side.as_ref()),
                        Cow::Borrowed(ring.ring.as_ref()),
                    ],
                    value: if ring.capacity == 0 {
                        0.0
                    } else {
                        ring.used as f64 / ring.capacity as f64
                    },
                }));
            }
            samples
        }),
    },
];

fn is_kdc(scrape: &Scrape) -> bool {
    scrape.status.process.role == "kdc"
}

fn single(value: f64) -> Vec<Sample<'static>> {
    vec![Sample { labels: Vec::new(), value }]
}

fn gauge(label: &str, value: f64) -> Sample<'_> {
    Sample { labels: vec![Cow::Borrowed(label)], value }
}

fn one(label: &'static str, count: u64) -> Sample<'static> {
    gauge(label, count as f64)
}

fn counted(counts: &[Counted]) -> Vec<Sample<'_>> {
    counts.iter().map(|counted| gauge(&counted.label, counted.count as f64)).collect()
}

fn port_labels(port: &PortStatus) -> Vec<Cow<'_, str>> {
    vec![Cow::Borrowed(&port.side), Cow::Borrowed(&port.interface), Cow::Borrowed(&port.xdp_mode)]
}

fn traffic(scrape: &Scrape, counts: fn(&PortStatus) -> (u64, u64)) -> Vec<Sample<'_>> {
    let both = |port| {
        let (rx, tx) = counts(port);
        [("rx", rx), ("tx", tx)].map(|(direction, count)| Sample {
            labels: vec![Cow::Borrowed(port.side.as_ref()), Cow::Borrowed(direction)],
            value: count as f64,
        })
    };
    scrape.status.ports.iter().flat_map(both).collect()
}

fn index(worker: &WorkerStatus) -> Cow<'static, str> {
    Cow::Owned(worker.index.to_string())
}

fn per_worker(scrape: &Scrape, value: fn(&WorkerStatus) -> f64) -> Vec<Sample<'static>> {
    let sample = |worker| Sample { labels: vec![index(worker)], value: value(worker) };
    scrape.status.workers.iter().map(sample).collect()
}
