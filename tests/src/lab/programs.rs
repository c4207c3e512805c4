//! The unchanged programs: nginx with curl, iperf3, redis. Owns how each is started, made to carry the
//! canary, and read.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::capture::CANARY;
use super::namespace::Namespace;
use super::process::{Process, failed, run, run_any, wait_until};
use super::site::Site;
use super::{LabError, LabResult};

/// Time for a server to listen.
const START: Duration = Duration::from_secs(10);

/// `addr` as it stands in a URL.
pub fn url_host(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

/// `size` bytes of lines that each hold the canary and their own number.
pub fn canary_text(size: usize) -> String {
    let canary = String::from_utf8_lossy(CANARY);
    let mut text = String::with_capacity(size + 64);
    let mut line = 0u64;
    while text.len() < size {
        let _ = writeln!(text, "{canary} {line:016x}");
        line += 1;
    }
    text.truncate(size);
    text
}

/// Hexadecimal SHA-256 of a file.
pub fn sha256(path: &Path) -> LabResult<String> {
    let output = run(Command::new("sha256sum").arg(path), Duration::from_secs(60))?;
    Ok(output.split_whitespace().next().unwrap_or_default().to_owned())
}

/// Waits until a TCP port listens in `namespace`, without connecting to it.
pub fn wait_listening(namespace: &Namespace, port: u16) -> LabResult {
    wait_until(&format!("port {port} listens in {}", namespace.name()), START, || {
        let filter = format!("sport = :{port}");
        let output = run(namespace.command("ss").args(["-Hltn", &filter]), START)?;
        Ok(!output.trim().is_empty())
    })
}

/// An nginx of our own configuration: files to fetch, PUT to store.
pub struct Nginx {
    process: Process,
    /// What it serves; uploads land here too.
    pub root: PathBuf,
}

impl Nginx {
    /// Starts one on `port`, both families, with its files in the lab's directory under `name`.
    pub fn start(site: &Site, namespace: &Namespace, name: &str, port: u16) -> LabResult<Self> {
        let root = site.subdirectory(&format!("{name}-root"))?;
        let temporary = site.subdirectory(&format!("{name}-tmp"))?;
        let config = site.write(
            &format!("{name}.conf"),
            &format!(
                "daemon off; worker_processes 1; user root; pid {tmp}/nginx.pid; error_log stderr warn;\n\
                 events {{ worker_connections 2048; }}\n\
                 http {{ access_log off; sendfile on; keepalive_timeout 30;\n\
                 client_body_temp_path {tmp}/body; proxy_temp_path {tmp}/proxy; \
                 fastcgi_temp_path {tmp}/fastcgi; uwsgi_temp_path {tmp}/uwsgi; scgi_temp_path {tmp}/scgi;\n\
                 server {{ listen {port} backlog=1024; listen [::]:{port} backlog=1024; root {root};\n\
                 client_max_body_size 1g; location / {{ dav_methods PUT; }} }} }}\n",
                tmp = temporary.display(),
                root = root.display(),
            ),
        )?;
        let mut command = namespace.command("nginx");
        command.arg("-e").arg("stderr").arg("-c").arg(&config);
        let process = Process::spawn(name, &mut command, site.path())?;
        wait_listening(namespace, port)?;
        Ok(Self { process, root })
    }

    /// Puts a file of `size` canary bytes under its root.
    pub fn publish(&self, name: &str, size: usize) -> LabResult<PathBuf> {
        let path = self.root.join(name);
        std::fs::write(&path, canary_text(size)).map_err(LabError::file("write", &path))?;
        Ok(path)
    }

    /// Its master process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // SIGTERM to the master ends its worker as well, which SIGKILL would not.
        let _ = self.process.terminate(Duration::from_secs(5));
    }
}

/// A curl call, with the canary in its request header.
pub struct Curl<'a> {
    namespace: &'a Namespace,
    command: Command,
    output: PathBuf,
    limit: Duration,
}

/// What curl saw.
#[derive(Debug, Clone, Copy)]
pub struct CurlOutcome {
    /// curl's exit code: 0 fine, 7 refused, 28 timed out …
    pub exit: i32,
    /// HTTP status, 0 where there was none.
    pub http: u32,
    /// Seconds in all.
    pub seconds: f64,
    /// Seconds until TCP was connected.
    pub connect: f64,
}

impl<'a> Curl<'a> {
    /// A GET of `url`.
    pub fn new(namespace: &'a Namespace, url: &str, limit: Duration) -> Self {
        let mut command = namespace.command("curl");
        command.args(["-s", "--noproxy", "*"]);
        command.args(["-w", "%{http_code} %{time_total} %{time_connect}"]);
        command.arg("-H").arg(format!("X-Canary: {}", String::from_utf8_lossy(CANARY)));
        command.arg("--max-time").arg(limit.as_secs().max(1).to_string()).arg(url);
        Self { namespace, command, output: "/dev/null".into(), limit }
    }

    /// Stores the body.
    pub fn output(mut self, path: &Path) -> Self {
        self.output = path.to_owned();
        self
    }

    /// Sends a file by PUT.
    pub fn upload(mut self, path: &Path) -> Self {
        self.command.arg("-T").arg(path);
        self
    }

    /// Runs it; a refused or timed-out connection is an outcome, no error.
    pub fn run(mut self) -> LabResult<CurlOutcome> {
        let limit = self.limit + Duration::from_secs(5);
        self.command.arg("-o").arg(&self.output);
        let finished = run_any(&mut self.command, "", limit)?;
        let mut words = finished.stdout.split_whitespace();
        let mut next = || words.next().and_then(|word| word.parse::<f64>().ok()).unwrap_or(0.0);
        let (http, seconds, connect) = (next(), next(), next());
        let exit = finished.status.code().unwrap_or(-1);
        Ok(CurlOutcome { exit, http: http as u32, seconds, connect })
    }

    /// Runs it and wants HTTP success.
    pub fn fetch(self) -> LabResult<CurlOutcome> {
        let place = self.namespace.name().to_owned();
        let outcome = self.run()?;
        if outcome.exit == 0 && (200..300).contains(&outcome.http) {
            return Ok(outcome);
        }
        Err(LabError::Expectation(format!("curl in {place}: {outcome:?}")))
    }
}

/// Starts `iperf3 -s` on `port`.
pub fn iperf_server(site: &Site, namespace: &Namespace, port: u16) -> LabResult<Process> {
    let name = format!("iperf3-{port}");
    let mut command = namespace.command("iperf3");
    command.args(["-s", "-p", &port.to_string(), "--forceflush"]);
    let process = Process::spawn(&name, &mut command, site.path())?;
    wait_listening(namespace, port)?;
    Ok(process)
}

/// What one iperf3 run does.
#[derive(Clone, Copy, Debug)]
pub struct IperfRun {
    /// The server's port.
    pub port: u16,
    /// Seconds to send.
    pub seconds: u32,
    /// Parallel TCP connections.
    pub streams: u32,
    /// Server to client.
    pub reverse: bool,
}

/// Runs an iperf3 client (its payload is a canary too); received bits per second.
pub fn iperf(namespace: &Namespace, server: IpAddr, plan: IperfRun) -> LabResult<f64> {
    let mut command = namespace.command("iperf3");
    command.args(["-J", "--repeating-payload", "--connect-timeout", "10000", "-c"]);
    command.arg(server.to_string()).arg("-p").arg(plan.port.to_string());
    command.arg("-t").arg(plan.seconds.to_string()).arg("-P").arg(plan.streams.to_string());
    if plan.reverse {
        command.arg("-R");
    }
    let limit = Duration::from_secs(u64::from(plan.seconds) + 30);
    let finished = run_any(&mut command, "", limit)?;
    let report: serde_json::Value = serde_json::from_str(&finished.stdout).unwrap_or_default();
    match report.pointer("/end/sum_received/bits_per_second").and_then(serde_json::Value::as_f64) {
        Some(bits) if finished.status.success() => Ok(bits),
        _ => Err(failed(&command, &finished)),
    }
}

/// Starts a redis that keeps nothing on disk.
pub fn redis_server(site: &Site, namespace: &Namespace, port: u16) -> LabResult<Process> {
    let mut command = namespace.command("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "*", "-::*"]);
    command.args(["--protected-mode", "no", "--save", "", "--appendonly", "no"]);
    command.arg("--dir").arg(site.path());
    let process = Process::spawn(&format!("redis-{port}"), &mut command, site.path())?;
    wait_listening(namespace, port)?;
    Ok(process)
}

/// One redis-cli command; its answer.
pub fn redis(
    namespace: &Namespace,
    server: IpAddr,
    port: u16,
    words: &[&str],
) -> LabResult<String> {
    let mut command = namespace.command("redis-cli");
    command.args(["-h", &server.to_string(), "-p", &port.to_string()]).args(words);
    Ok(run(&mut command, Duration::from_secs(20))?.trim().to_owned())
}

/// `redis-benchmark` with canary values from 50 connections; requests per second.
pub fn redis_benchmark(
    namespace: &Namespace,
    server: IpAddr,
    port: u16,
    requests: u32,
) -> LabResult<f64> {
    let mut command = namespace.command("redis-benchmark");
    command.args(["-h", &server.to_string(), "-p", &port.to_string(), "--csv"]);
    command.args(["-n", &requests.to_string(), "-c", "50", "-r", "1000"]);
    let value = canary_text(256);
    command.args(["set", "key:__rand_int__", &value]);
    let output = run(&mut command, Duration::from_secs(60))?;
    // The last line is `"set key … ","12345.67",…`: the rate is the first field that is a number.
    output
        .lines()
        .last()
        .and_then(|line| {
            line.split("\",\"").skip(1).find_map(|field| field.trim_matches('"').parse().ok())
        })
        .ok_or_else(|| LabError::Expectation(format!("redis-benchmark said: {output}")))
}
