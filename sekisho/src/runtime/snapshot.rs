//! What the node tells about itself: counters and tables into the plain shape of [`crate::status`].

use std::time::UNIX_EPOCH;

use sekisho_dataplane::{Policy, WorkerSnapshot};
use sekisho_port::{PortSide, XdpCounter};

use super::counted;
use super::node::{Node, Phase};
use crate::status::{
    Counted, KdcServerStatus, PortStatus, ProcessState, ProcessStatus, ServiceStatus,
    StatusSnapshot, WorkerStatus,
};

impl Node {
    /// Everything at this moment.
    pub(super) fn snapshot(&self) -> StatusSnapshot {
        let workers: Vec<_> =
            self.workers.iter().map(|worker| worker.counters().snapshot()).collect();
        let mut total = WorkerSnapshot::default();
        workers.iter().for_each(|worker| total.add(worker));
        let outcomes = self.control.outcomes();
        let kdc_servers = self.kdc_servers();
        StatusSnapshot {
            process: self.process(&kdc_servers),
            ports: PortSide::BOTH.iter().map(|side| self.port(*side, &total)).collect(),
            workers: workers
                .iter()
                .enumerate()
                .map(|(index, worker)| self.worker(index, worker))
                .collect(),
            services: self.service_rows(),
            sessions: counted::sessions(&total),
            closed: counted::closed(outcomes),
            drops: counted::drops(&total),
            xdp_drops: self.xdp(XdpCounter::is_drop),
            xdp_passed: self.xdp(|counter| !counter.is_drop()),
            events: counted::events(&total, &self.control.ignored()),
            deliveries: counted::deliveries(outcomes),
            delivery_latency: outcomes.latency.clone(),
            kdc_requests: counted::kdc_requests(&self.control.kdc_outcomes()),
            kdc_servers,
            registry: None,
        }
    }

    fn process(&self, kdcs: &[KdcServerStatus]) -> ProcessStatus {
        let now = self.clock.now().0;
        let node = self.config.node();
        ProcessStatus {
            role: self.config.role().word().into(),
            version: env!("CARGO_PKG_VERSION").into(),
            device: node.map(|node| node.device.id.to_string()).unwrap_or_default(),
            pid: std::process::id(),
            started_unix_seconds: self
                .started
                .duration_since(UNIX_EPOCH)
                .map_or(0.0, |since| since.as_secs_f64()),
            uptime_seconds: now.saturating_sub(self.began) as f64 / 1e9,
            state: match self.phase {
                Phase::Running => ProcessState::Running,
                Phase::Draining { .. } => ProcessState::Draining,
            },
            problems: self.problems(kdcs),
            cipher: sekisho_cipher::kernel_name().into(),
            reloads_applied: self.reloads.applied,
            reloads_refused: self.reloads.refused,
        }
    }

    fn problems(&self, kdcs: &[KdcServerStatus]) -> Vec<String> {
        let mut problems = Vec::new();
        for side in PortSide::BOTH {
            let (name, health) = (&self.ports.report(side).interface, &self.health[side.index()]);
            if !health.up {
                problems.push(format!("the {side} port {name} has no link"));
            }
            if let Some(error) = &health.foreign {
                problems.push(error.clone());
            }
        }
        if let Some(error) = &self.reloads.last_error {
            problems.push(format!("the last reload was refused: {error}"));
        }
        if !kdcs.is_empty() && kdcs.iter().all(|server| server.answering == Some(false)) {
            problems.push("no KDC answers: new sessions are refused".to_owned());
        }
        problems
    }

    fn port(&self, side: PortSide, total: &WorkerSnapshot) -> PortStatus {
        let report = self.ports.report(side);
        let health = &self.health[side.index()];
        let counts = total.sides[side.index()];
        PortStatus {
            side: side.label().into(),
            interface: report.interface.clone(),
            up: health.up,
            mtu: report.mtu,
            xdp_mode: report.mode.label().into(),
            program_id: health.program,
            program_ours: health.foreign.is_none(),
            rx_packets: counts.rx_packets,
            rx_bytes: counts.rx_bytes,
            tx_packets: counts.tx_packets,
            tx_bytes: counts.tx_bytes,
        }
    }

    fn worker(&self, index: usize, worker: &WorkerSnapshot) -> WorkerStatus {
        let configured = self.config.node().map(|node| &node.workers);
        WorkerStatus {
            index: u16::try_from(index).unwrap_or(u16::MAX),
            core: configured.and_then(|workers| workers.cores.get(index).copied()),
            busy_nanoseconds: worker.tallies.busy_ns,
            idle_nanoseconds: worker.tallies.idle_ns,
            sessions: worker.sessions.iter().sum(),
            session_capacity: configured.map_or(0, |workers| u64::from(workers.sessions)),
            frames: configured.map_or(0, |workers| u64::from(workers.frames)),
            frames_free: worker.free_frames,
            exchange_out: worker.tallies.exchange_out,
            exchange_in: worker.tallies.exchange_in,
            rings: rings(worker, configured.map_or(0, |workers| u64::from(workers.ring))),
        }
    }

    fn service_rows(&self) -> Vec<ServiceStatus> {
        let configured =
            self.config.node().map(|node| node.services.as_slice()).unwrap_or_default();
        let effective = self.services.current().iter().map(|service| match service.policy {
            Policy::Require => "require",
            Policy::Prefer => "prefer",
            Policy::Off => "off",
        });
        configured
            .iter()
            .zip(effective)
            .map(|(service, policy)| ServiceStatus {
                name: service.name.clone(),
                address: service.address.to_string(),
                ports: service.ports.to_string(),
                policy: policy.into(),
            })
            .collect()
    }

    /// Both ports' counters together: which port is which is a matter of the reason.
    fn xdp(&self, wanted: impl Fn(XdpCounter) -> bool) -> Vec<Counted> {
        let both: Vec<_> =
            PortSide::BOTH.iter().filter_map(|side| self.ports.xdp_counters(*side).ok()).collect();
        let sum = |counter| both.iter().map(|counters| counters.get(counter)).sum();
        counted::xdp(wanted, sum)
    }

    fn kdc_servers(&self) -> Vec<KdcServerStatus> {
        let sekisho_config::Config::Gateway(gateway) = &self.config else { return Vec::new() };
        let sent = self.control.kdc_outcomes().sent;
        let row = |(kdc, address): (usize, &std::net::SocketAddr)| {
            let sent = sent.get(kdc).copied().unwrap_or(0);
            let answering = (sent > 0).then(|| !self.control.kdc_is_dead(kdc));
            KdcServerStatus { address: address.to_string(), answering, sent }
        };
        gateway.kdc.servers.iter().enumerate().map(row).collect()
    }
}

fn rings(worker: &WorkerSnapshot, capacity: u64) -> Vec<crate::status::RingStatus> {
    // The worker counts both sides together.
    let ring = |ring: &'static str, used| crate::status::RingStatus {
        side: "both".into(),
        ring: ring.into(),
        used,
        capacity: 2 * capacity,
    };
    vec![ring("fill", worker.rx_fill), ring("tx", worker.tx_outstanding)]
}
