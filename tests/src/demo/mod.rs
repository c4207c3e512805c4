//! The demo: builds the lab, runs unchanged programs without and with Sekisho, shows a person what
//! happened, and judges each claim. Owns the order of events; `report` owns how it looks.

mod report;
mod timeline;
mod verdicts;

use std::time::Duration;

use crate::expect_that;
use crate::lab::capture::Capture;
use crate::lab::chain::{Chain, Node};
use crate::lab::config::{BANNER, ECHO, IPERF, REDIS, Setup, WEB};
use crate::lab::harness::{Side, totals};
use crate::lab::peers::{Server, banner_delay};
use crate::lab::process::Process;
use crate::lab::programs::{
    Curl, IperfRun, Nginx, iperf, iperf_server, redis_benchmark, redis_server, sha256, url_host,
};
use crate::lab::seen::parse;
use crate::lab::topology::{Family, Host};
use crate::lab::{LabError, LabResult};

use report::{Output, Report, Throughput};

/// Size of the file that nginx and curl exchange.
const FILE: usize = 16 << 20;
const LIMIT: Duration = Duration::from_secs(60);

/// What the person asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Leave the lab up afterwards.
    pub keep: bool,
    /// One JSON object on standard output instead of the report.
    pub json: bool,
}

/// Runs the demo; whether every claim holds and nothing leaked.
pub fn run(options: Options) -> LabResult<bool> {
    let output = Output::new(options.json);
    output.progress("building the lab: namespaces, cables, captures, KDC registry");
    let mut chain = Chain::prepare(Setup { policy: "require", ..Setup::default() })?;
    let outcome = demonstrate(&mut chain, &output, options.keep);
    match outcome {
        Ok(report) => {
            output.finish(&report);
            if options.keep {
                keep(&mut chain, &output)?;
            }
            Ok(report.holds())
        }
        Err(error) => {
            // The logs belong to the person, never to a JSON reader.
            output.failure(&chain, &error.to_string());
            Err(error)
        }
    }
}

/// Builds the lab with everything running, for a person to look around.
pub fn up() -> LabResult {
    let output = Output::new(false);
    output.progress("building the lab and starting KDC, gateway and agent");
    let mut chain = Chain::start(Setup::default())?;
    let programs = Programs::start(&chain)?;
    programs.detach();
    keep(&mut chain, &output)
}

/// nginx, iperf3 and redis at the first server.
struct Programs {
    nginx: Nginx,
    iperf: Process,
    redis: Process,
}

impl Programs {
    fn start(chain: &Chain) -> LabResult<Self> {
        let site = &chain.topology.site;
        let server = chain.host(Host::Server1);
        let nginx = Nginx::start(site, server, "nginx", WEB)?;
        nginx.publish("index.html", 4096)?;
        nginx.publish("file", FILE)?;
        let iperf = iperf_server(site, server, IPERF)?;
        let redis = redis_server(site, server, REDIS)?;
        Ok(Self { nginx, iperf, redis })
    }

    /// Lets them run on.
    fn detach(mut self) {
        self.nginx.process().detach();
        self.iperf.detach();
        self.redis.detach();
        // Its drop would end the master process.
        std::mem::forget(self.nginx);
    }
}

fn demonstrate(chain: &mut Chain, output: &Output, keep: bool) -> LabResult<Report> {
    let programs = Programs::start(chain)?;
    let _echo = Server::echo(chain.host(Host::Server1), ECHO)?;
    let _second = Server::echo(chain.host(Host::Server2), ECHO)?;
    let _banner = Server::banner(chain.host(Host::Server1), BANNER)?;
    let mut report = Report::default();

    output.progress("without Sekisho: kernel bridges in place of agent and gateway");
    let direct =
        banner_delay(chain.host(Host::Client1), Host::Server1.address(Family::V4), BANNER)?;
    report.throughput.without = measure(chain)?;
    Curl::new(chain.host(Host::Client1), &url(Family::V4, "file"), LIMIT).fetch()?;
    let clear = chain.watch.restart(&chain.topology)?;
    let (_, bytes, canaries, _) = totals(&clear, Side::Cipher);
    output.say(&format!(
        "\nWithout Sekisho the network shows the programs' data: {canaries} frames with the canary in {bytes} bytes.\n"
    ));

    output.progress("starting KDC, gateway and agent; the programs stay as they are");
    chain.start_processes()?;
    output.say(&first_session(chain)?);

    output.progress("nginx with curl, redis, iperf3 over IPv4 and IPv6");
    let told = run_programs(chain, &programs)?;
    output.say(&told);
    report.throughput.with = measure(chain)?;
    let banner =
        banner_delay(chain.host(Host::Client1), Host::Server1.address(Family::V4), BANNER)?;
    output.say(&format!(
        "A server that speaks first: banner after {:.1} ms, without Sekisho {:.1} ms\n",
        millis(banner),
        millis(direct)
    ));

    output.progress("judging the claims");
    report.claims = verdicts::judge(chain, output, &told)?;
    output.say(&report::metrics_excerpt(&chain.metrics(Node::Gateway)?));
    let seen = chain.watch.stop()?;
    report.watched(&seen);
    if !keep {
        output.progress("judging the variants that need another lab");
        drop(programs);
    } else {
        programs.detach();
    }
    report.claims.extend(verdicts::other_labs(&mut report.leaks, &mut report.bytes_checked)?);
    Ok(report)
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn url(family: Family, file: &str) -> String {
    format!("http://{}:{WEB}/{file}", url_host(Host::Server1.address(family)))
}

/// iperf3 in both families and directions, bits per second.
fn measure(chain: &Chain) -> LabResult<Throughput> {
    let one = |family: Family, reverse: bool| {
        let run = IperfRun { port: IPERF, seconds: 2, streams: 1, reverse };
        iperf(chain.host(Host::Client1), Host::Server1.address(family), run)
    };
    Ok(Throughput {
        ipv4_up: one(Family::V4, false)?,
        ipv4_down: one(Family::V4, true)?,
        ipv6_up: one(Family::V6, false)?,
        ipv6_down: one(Family::V6, true)?,
    })
}

/// One curl call with everything captured; its time line and bytes on both sides, as text.
fn first_session(chain: &mut Chain) -> LabResult<String> {
    let kdc = Capture::start(&chain.topology.kdc, "mgmt0", "management network")?;
    Curl::new(chain.host(Host::Client1), &url(Family::V4, "index.html"), LIMIT).fetch()?;
    let network = chain.watch.recent_at_gateway()?;
    let plain = chain.watch.recent_plain()?;
    let management: Vec<_> = kdc.stop()?.kept.into();
    let (network, plain) = (parse(&network), parse(&plain));
    let mut text = timeline::draw(&network, &plain, &parse(&management));
    text.push_str(&timeline::both_sides(&network, &plain));
    Ok(text)
}

/// curl down and up, redis: compared and told.
fn run_programs(chain: &Chain, programs: &Programs) -> LabResult<String> {
    let mut told = String::new();
    let client = chain.host(Host::Client1);
    let digest = sha256(&programs.nginx.root.join("file"))?;
    for family in Family::BOTH {
        let got = chain.topology.site.file("got");
        let down = Curl::new(client, &url(family, "file"), LIMIT).output(&got).fetch()?;
        expect_that!(sha256(&got)? == digest, "the download differs");
        let up = Curl::new(client, &url(family, "put"), LIMIT).upload(&got).fetch()?;
        expect_that!(sha256(&programs.nginx.root.join("put"))? == digest, "the upload differs");
        let rate = redis_benchmark(client, Host::Server1.address(family), REDIS, 5000)?;
        told.push_str(&format!(
            "{}: curl and nginx {} MiB down in {:.2} s, up in {:.2} s, SHA-256 equal; redis {rate:.0} requests/s\n",
            family.label(),
            FILE >> 20,
            down.seconds,
            up.seconds
        ));
    }
    Ok(told)
}

/// Leaves the lab up and tells how to look around.
fn keep(chain: &mut Chain, output: &Output) -> LabResult {
    chain.detach()?;
    let site = chain.topology.site.path().display().to_string();
    let mut text = String::from("\nThe lab stays up. Look around:\n");
    let enter = |role: &str| {
        let namespaces = chain.topology.namespaces();
        let found = namespaces.iter().find(|(name, _)| *name == role);
        found.map_or_else(String::new, |(_, ns)| format!("nsenter --net={}", ns.path().display()))
    };
    let binary = crate::lab::chain::binary()?;
    let binary = binary.display();
    for (what, command) in [
        (
            "a page through it",
            format!("{} curl -s {}", enter("client1"), url(Family::V4, "index.html")),
        ),
        (
            "the gateway",
            format!("{} {binary} status --socket {site}/gateway.sock", enter("gateway")),
        ),
        (
            "its sessions",
            format!("{} {binary} sessions --socket {site}/gateway.sock", enter("gateway")),
        ),
        ("its metrics", format!("{} curl -s http://127.0.0.1:9478/metrics", enter("gateway"))),
        ("the network", format!("{} tcpdump -ni togw0 -X", enter("router"))),
        ("the plain side", format!("{} tcpdump -ni tobox0 -X", enter("lan"))),
        ("files and logs", format!("ls {site}")),
        ("take it down", "cargo xtask lab down".to_owned()),
    ] {
        text.push_str(&format!("  {what:<18} {command}\n"));
    }
    output.tell(&text);
    Ok(())
}

/// Takes every kept lab down.
pub fn down() -> LabResult {
    let removed = crate::lab::site::take_down()?;
    println!("{removed} namespaces removed");
    Ok(())
}

/// The error for a claim that could not be judged.
fn unmet(error: &LabError) -> String {
    format!("not shown: {error}")
}
