//! The text form, checked by Prometheus' own tool, and the exporter over a real connection.

mod operations;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::*;
use crate::admin::{StatusSource, Unanswered, Which};
use crate::status::tests::{gateway, kdc};
use crate::status::{ProcessStatus, SessionList};

fn rendered(status: StatusSnapshot) -> String {
    Metrics::new().unwrap().render(status).unwrap()
}

fn assert_has(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|found| found == *line), "{line}\nis not in\n{text}");
    }
}

#[test]
fn a_gateway_has_all_its_metrics() {
    let text = rendered(gateway());
    assert_has(
        &text,
        &[
            r#"sekisho_build_info{version="0.1.0",role="gateway",cipher="portable"} 1"#,
            r#"sekisho_packets_total{side="cipher",direction="rx"} 10"#,
            r#"sekisho_bytes_total{side="plain",direction="tx"} 2020"#,
            r#"sekisho_port_up{side="cipher",interface="eth0",mode="native"} 1"#,
            r#"sekisho_sessions{state="synced"} 41"#,
            r#"sekisho_session_capacity 131072"#,
            r#"sekisho_drops_total{reason="bad_tag"} 0"#,
            r#"sekisho_drops_total{reason="unsynchronised"} 3"#,
            r#"sekisho_xdp_drops_total{reason="fragment"} 5"#,
            r#"sekisho_sessions_closed_total{cause="fin"} 7"#,
            r#"sekisho_key_deliveries_total{outcome="unknown_device"} 1"#,
            r#"sekisho_key_delivery_duration_seconds_bucket{le="0.01"} 3"#,
            r#"sekisho_key_delivery_duration_seconds_bucket{le="+Inf"} 4"#,
            r#"sekisho_key_delivery_duration_seconds_count 4"#,
            r#"sekisho_kdc_requests_total{outcome="replied"} 5"#,
            r#"sekisho_kdc_server_up{server="10.9.0.2:1089"} 1"#,
            r#"sekisho_kdc_sent_total{server="10.9.0.3:1089"} 0"#,
            r#"sekisho_ring_fill_ratio{worker="1",side="cipher",ring="rx"} 0.25"#,
            r#"sekisho_worker_busy_ratio{worker="0"} 0.25"#,
            r#"sekisho_worker_busy_seconds_total{worker="1"} 0.25"#,
            r#"sekisho_frames_free{worker="0"} 4000"#,
            r#"sekisho_exchanged_frames_total{worker="0",direction="in"} 6"#,
            r#"sekisho_reloads_total{result="refused"} 1"#,
            r#"sekisho_degraded 0"#,
        ],
    );
    assert!(
        !text.contains("10.9.0.3:1089\"} 1"),
        "a KDC that was not asked is neither up nor down"
    );
    assert!(!text.contains("sekisho_kdc_answers"), "that one is a KDC's");
}

#[test]
fn a_kdc_has_its_own_and_no_ports() {
    let text = rendered(kdc());
    assert_has(
        &text,
        &[
            r#"sekisho_kdc_answers_total{outcome="replied"} 5"#,
            r#"sekisho_kdc_devices{state="revoked"} 1"#,
        ],
    );
    assert!(
        !text.contains("sekisho_packets_total") && !text.contains("sekisho_kdc_requests_total"),
        "{text}"
    );
}

#[test]
fn the_busy_ratio_is_that_since_the_scrape_before() {
    let metrics = Metrics::new().unwrap();
    let first = gateway();
    let mut second = gateway();
    second.workers[0].busy_nanoseconds += 900;
    second.workers[0].idle_nanoseconds += 100;
    metrics.render(first).unwrap();
    let text = metrics.render(second).unwrap();
    assert_has(
        &text,
        &[
            r#"sekisho_worker_busy_ratio{worker="0"} 0.9"#,
            r#"sekisho_worker_busy_ratio{worker="1"} 0"#,
        ],
    );
}

#[test]
fn labels_are_escaped() {
    let mut status = gateway();
    status.ports[0].interface = "a\"b\\c\nd".into();
    assert!(rendered(status).contains(r#"interface="a\"b\\c\nd""#));
}

/// Every metric of the table comes with samples for a gateway or for a KDC: none is dead.
#[test]
fn no_metric_is_dead() {
    let both = rendered(gateway()) + &rendered(kdc());
    for metric in METRICS {
        assert!(both.contains(&format!("# HELP {} ", metric.name)), "{}", metric.name);
        assert!(
            metric.name.starts_with("sekisho_") && metric.help.ends_with('.'),
            "{}",
            metric.name
        );
    }
}

#[test]
fn the_reference_is_not_stale() {
    let expected = reference_markdown();
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    if std::env::var_os("SEKISHO_BLESS").is_some() {
        std::fs::write(&path, &expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "docs/metrics.md is stale: SEKISHO_BLESS=1 cargo test -p sekisho");
}

/// What promtool says about an input; none, visibly, if there is no promtool. CI must have it.
fn promtool(arguments: &[&str], input: &str) -> Option<(bool, String)> {
    let mut command = Command::new("promtool");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut tool = match command.spawn() {
        Ok(tool) => tool,
        Err(error) if std::env::var_os("CI").is_none() => {
            eprintln!("SKIPPED promtool {arguments:?}: {error}; it comes with Debian's prometheus");
            return None;
        }
        Err(error) => panic!("CI needs promtool (Debian: prometheus): {error}"),
    };
    tool.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = tool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

#[test]
fn promtool_is_silent() {
    for status in [gateway(), kdc(), StatusSnapshot::default()] {
        let Some((success, said)) = promtool(&["check", "metrics"], &rendered(status)) else {
            return;
        };
        assert!(success && said.is_empty(), "promtool says:\n{said}");
    }
}

struct Fixed(Result<StatusSnapshot, Unanswered>);

impl StatusSource for Fixed {
    fn status(&self) -> Result<StatusSnapshot, Unanswered> {
        self.0.clone()
    }

    fn sessions(&self, _: usize) -> Result<SessionList, Unanswered> {
        Err(Unanswered)
    }

    fn close(&self, _: &Which) -> Result<u64, Unanswered> {
        Err(Unanswered)
    }
}

fn request(exporter: &Exporter, head: &str) -> String {
    let mut stream = TcpStream::connect(exporter.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(
        stream,
        "{head} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    )
    .unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}

fn exporter(status: Result<StatusSnapshot, Unanswered>) -> Exporter {
    Exporter::start("127.0.0.1:0".parse().unwrap(), Arc::new(Fixed(status))).unwrap()
}

#[test]
fn the_exporter_serves_metrics_and_nothing_else() {
    let exporter = exporter(Ok(gateway()));
    let reply = request(&exporter, "GET /metrics");
    assert!(
        reply.starts_with("HTTP/1.1 200")
            && reply.contains("sekisho_sessions{state=\"synced\"} 41"),
        "{reply}"
    );
    assert!(reply.contains("Content-Type: text/plain; version=0.0.4"), "{reply}");
    assert!(request(&exporter, "GET /metrics?x=1").starts_with("HTTP/1.1 200"));
    assert!(request(&exporter, "GET /").starts_with("HTTP/1.1 404"));
    assert!(request(&exporter, "POST /metrics").starts_with("HTTP/1.1 405"));
}

#[test]
fn a_control_loop_that_hangs_is_a_failed_scrape() {
    let exporter = exporter(Err(Unanswered));
    let reply = request(&exporter, "GET /metrics");
    assert!(reply.starts_with("HTTP/1.1 503") && reply.contains("does not answer"), "{reply}");
}

#[test]
fn the_address_is_freed_and_a_taken_one_is_named() {
    let first = exporter(Ok(StatusSnapshot { process: ProcessStatus::default(), ..gateway() }));
    let address = first.address();
    let second = Exporter::start(address, Arc::new(Fixed(Err(Unanswered))));
    let error = second.err().expect("the address is taken").to_string();
    assert!(error.contains(&address.to_string()) && error.contains("[metrics]"), "{error}");
    drop(first);
    // The accepting thread inside tiny_http lets go of the address shortly after.
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    let third = loop {
        match Exporter::start(address, Arc::new(Fixed(Ok(gateway())))) {
            Ok(exporter) => break exporter,
            Err(error) => assert!(std::time::Instant::now() < deadline, "{error}"),
        }
        std::thread::yield_now();
    };
    assert!(request(&third, "GET /metrics").starts_with("HTTP/1.1 200"));
}
