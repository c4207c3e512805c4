//! The commands on real files, and `serve` as a process of its own.

use super::*;
use clap::Parser;
use rustix::process::{Pid, Signal, kill_process};
use sekisho_kdc_client::message::{
    Claim, KdcAnswer, KeyRequest, Reason, TYPE_IDENTIFY, sha256, verify_answer,
};
use sekisho_kdc_client::{DeviceKey, RefuseCode, Role};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::net::UdpSocket;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for anything; reached only by a failure.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: KdcCommand,
}

/// A directory with a configuration.
struct Site {
    dir: tempfile::TempDir,
}

impl Site {
    fn new(more: &str) -> Self {
        let site = Self { dir: tempfile::tempdir().unwrap() };
        site.configure(more, "");
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn configure(&self, kdc: &str, permits: &str) {
        let listen = if kdc.contains("listen") { "" } else { "listen_udp = \"127.0.0.1:1089\"" };
        let text = format!(
            r#"
role = "kdc"
[kdc]
registry = "{dir}/state/r.redb"
master_key_file = "{dir}/keys/master.key"
audit_log = "{dir}/audit.log"
{listen}
{kdc}
[admin]
socket = "{dir}/admin.sock"
[metrics]
listen = "off"
[[gateway]]
id = "name:gw"
services = ["10.0.2.10:80"]
{permits}
"#,
            dir = self.dir.path().display()
        );
        std::fs::write(self.path("kdc.toml"), text).unwrap();
    }

    fn status(&self) -> crate::status::StatusSnapshot {
        let socket = self.path("admin.sock");
        match crate::admin::ask(&socket, crate::admin::Command::Status).unwrap() {
            crate::admin::Answer::Status(status) => *status,
            other => panic!("{other:?}"),
        }
    }

    /// Runs `kdc ARGS --config …` in this process.
    fn run(&self, args: &str) -> Result<String, String> {
        let config = self.path("kdc.toml").display().to_string();
        let words = ["kdc"].into_iter().chain(args.split_whitespace()).chain(["--config", &config]);
        let cli = Cli::try_parse_from(words).map_err(|e| format!("usage: {e}"))?;
        let mut out = Vec::new();
        execute(cli.command, &mut out).map_err(|e| e.to_string())?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[track_caller]
    fn ok(&self, args: &str) -> String {
        self.run(args).unwrap_or_else(|e| panic!("{args}: {e}"))
    }

    #[track_caller]
    fn json(&self, args: &str) -> Value {
        serde_json::from_str(&self.ok(&format!("{args} --json"))).unwrap()
    }

    #[track_caller]
    fn fails(&self, args: &str, why: &str) {
        let error = self.run(args).unwrap_err();
        assert!(error.contains(why), "{args}: {error}");
    }
}

#[test]
fn init_makes_both_files_once_and_keeps_a_master_key() {
    use std::os::unix::fs::MetadataExt;
    let site = Site::new("");
    site.fails("device list", "master.key");
    assert_eq!(site.json("init")["master_key_made"], true);
    for file in ["keys/master.key", "state/r.redb"] {
        assert_eq!(std::fs::metadata(site.path(file)).unwrap().mode() & 0o777, 0o600, "{file}");
    }
    let key = std::fs::read(site.path("keys/master.key")).unwrap();
    site.fails("init", "exists already");
    // A second KDC that shares the master key: only the registry is made.
    std::fs::remove_file(site.path("state/r.redb")).unwrap();
    assert_eq!(site.json("init")["master_key_made"], false);
    assert_eq!(std::fs::read(site.path("keys/master.key")).unwrap(), key);
    assert!(site.ok("device list").contains("no devices"));
    // A registry whose master key is gone is not covered up by a new one.
    std::fs::remove_file(site.path("keys/master.key")).unwrap();
    site.fails("init", "exists already");
    assert!(!site.path("keys/master.key").exists());
}

#[test]
fn devices_are_added_shown_and_revoked() {
    use std::os::unix::fs::MetadataExt;
    let site = Site::new("");
    site.ok("init");
    let added = site.json("device add name:alice");
    assert_eq!(
        (added["key_version"].as_u64(), added["source"].as_str()),
        (Some(1), Some("stored"))
    );
    let key = added["key"].as_str().unwrap().to_owned();
    assert_eq!(key.len(), 64);
    assert!(site.ok("device export name:alice").contains(&key));

    let file = site.path("gw.key");
    site.ok(&format!("device add ip:10.0.0.1 --role gateway --key-out {}", file.display()));
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!((text.len(), std::fs::metadata(&file).unwrap().mode() & 0o777), (65, 0o600));
    assert!(DeviceKey::from_hex(&text).is_ok());
    // A file in the way is found before anything is registered.
    site.fails(&format!("device add name:bob --key-out {}", file.display()), "not overwritten");
    site.fails("device export name:bob", "not registered");

    // A second KDC gets the key that the first one made.
    let other = Site::new("");
    other.ok("init");
    other.ok(&format!("device add ip:10.0.0.1 --role gateway --key-in {}", file.display()));
    assert_eq!(other.json("device export ip:10.0.0.1")["key"], text.trim_end());

    site.fails("device add name:alice --key-version 1", "greater version");
    site.fails("device add name:alice --role gateway", "registered as client");
    site.fails("device add nonsense", "usage:");
    site.fails("device add name:x --key-version 0", "usage:");
    assert_eq!(site.json("device add name:alice")["key_version"], 2);

    site.ok("device disable name:alice --key-version 2");
    site.ok("device revoke name:alice --key-version 1");
    site.fails("device export name:alice --key-version 1", "revoked");
    site.fails("device enable name:alice --key-version 1", "revoked");
    assert!(site.ok("device enable name:alice").contains("1 key version enabled"));
    assert!(site.ok("device enable name:alice").contains("nothing to change"));

    let list = site.json("device list");
    assert_eq!(list.as_array().unwrap().len(), 2);
    let alice = list.as_array().unwrap().iter().find(|d| d["id"] == "name:alice").unwrap();
    let states: Vec<_> = alice["keys"].as_array().unwrap().iter().map(|k| &k["state"]).collect();
    assert_eq!(states, ["revoked", "enabled"]);
    let table = site.ok("device list");
    assert!(table.starts_with("DEVICE") && table.contains("ip:10.0.0.1"), "{table}");
    assert!(!table.contains(&key) && !list.to_string().contains(&key), "a list shows no keys");
}

#[test]
fn derived_keys_are_written_and_revoked_without_registration() {
    let site = Site::new("derived_keys = true");
    site.ok("init");
    let added = site.json("device add name:alice");
    assert_eq!(added["source"], "derived");
    let text = std::fs::read_to_string(site.path("keys/master.key")).unwrap();
    let master = MasterKey::from_hex(&text).unwrap();
    let derived = master.device_key(Role::Client, &"name:alice".parse().unwrap(), 1);
    assert_eq!(added["key"], derived.to_hex().trim_end());
    assert_eq!(site.json("device export name:alice")["key"], added["key"]);
    assert_eq!(site.json("device revoke name:stranger")["changed"], 1);
    assert_eq!(site.json("device list").as_array().unwrap().len(), 2);
    // Without any record.
    let file = site.path("gw.key");
    site.ok(&format!("device derive --role gateway --key-file {} name:gw", file.display()));
    let written = DeviceKey::from_hex(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let derived = master.device_key(Role::Gateway, &"name:gw".parse().unwrap(), 1);
    assert_eq!(written.expose(), derived.expose());
    assert_eq!(site.json("device list").as_array().unwrap().len(), 2);
    Site::new("").fails("device derive name:gw", "derived_keys is not set");
}

#[test]
fn a_file_of_another_role_is_refused() {
    let site = Site::new("");
    let example = include_str!("../../../config/examples/gateway.toml");
    std::fs::write(site.path("kdc.toml"), example).unwrap();
    site.fails("device list", "role is \"gateway\"");
    std::fs::write(site.path("kdc.toml"), "role = \"kdc\"\nnonsense = 1\n").unwrap();
    site.fails("device list", "nonsense");
}

/// Not a test of its own: the body of the process that [`Serving`] starts.
#[test]
#[ignore = "run by serve_answers_reloads_and_stops as a child process"]
fn child_that_serves() {
    let Some(config) = std::env::var_os("SEKISHO_TEST_KDC_CONFIG") else { return };
    let args = ServeArgs { config: config.into(), ready_fd: Some(1) };
    serve::serve(&args).unwrap();
}

struct Serving {
    child: Child,
    /// Kept open, or the child could not print its last words.
    _stdout: BufReader<ChildStdout>,
}

impl Serving {
    fn start(site: &Site) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "kdc::tests::child_that_serves", "--nocapture"])
            .env("SEKISHO_TEST_KDC_CONFIG", site.path("kdc.toml"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        // `test … ` stands before it on the same line.
        let ready = stdout.by_ref().lines().any(|line| line.unwrap().ends_with("ready"));
        assert!(ready, "the child never got ready");
        Self { child, _stdout: stdout }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Asker {
    socket: UdpSocket,
    client: DeviceKey,
    gateway: DeviceKey,
    nonce: u8,
}

impl Asker {
    /// `None` for a key, else the refusal's code.
    fn ask(&mut self) -> Option<RefuseCode> {
        self.nonce = self.nonce.wrapping_add(1);
        let gateway: sekisho_kdc_client::DeviceId = "name:gw".parse().unwrap();
        let claim = Claim {
            message_type: TYPE_IDENTIFY,
            request_id: 1,
            epoch: 0,
            reason: Reason::New,
            client: "name:cl".parse().unwrap(),
            key_version: 1,
            gateway: Some(gateway.clone()),
            service: "10.0.2.10:80".parse().unwrap(),
            nonce: [self.nonce; 32],
            rest: [0; 32],
        };
        let authenticator = claim.authenticator(&self.client.role_keys(Role::Client).auth);
        let keys = self.gateway.role_keys(Role::Gateway);
        let request = KeyRequest {
            sender: gateway,
            sender_key_version: 1,
            claim,
            authenticator,
            gateway_nonce: [1; 32],
        }
        .encode(&keys.auth);
        self.socket.send(&request).unwrap();
        let mut buffer = [0; 1500];
        let len = self.socket.recv(&mut buffer).unwrap();
        match verify_answer(&buffer[..len], &sha256(&[&request]), &keys).unwrap() {
            KdcAnswer::Reply(_) => None,
            KdcAnswer::Refusal { refusal, .. } => Some(refusal.code),
        }
    }

    fn until(&mut self, wanted: Option<RefuseCode>) {
        let started = Instant::now();
        while self.ask() != wanted {
            assert!(started.elapsed() < PATIENCE, "never {wanted:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn serve_answers_reloads_and_stops() {
    const PERMIT: &str = "[[permit]]\nclient = \"name:cl\"\ngateway = \"name:gw\"\n";
    // A port that was free a moment ago.
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let listen = format!("listen_udp = \"127.0.0.1:{port}\"\nlisten_tcp = \"127.0.0.1:{port}\"");
    let site = Site::new("");
    site.configure(&listen, PERMIT);
    site.ok("init");
    let key = |args: &str| DeviceKey::from_hex(site.json(args)["key"].as_str().unwrap()).unwrap();
    let client = key("device add name:cl");
    let gateway = key("device add name:gw --role gateway");

    let mut kdc = Serving::start(&site);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect(("127.0.0.1", port)).unwrap();
    let mut asker = Asker { socket, client, gateway, nonce: 0 };
    assert_eq!(asker.ask(), None);

    // Commands beside the serving process.
    for _ in 0..3 {
        site.ok("device disable name:cl");
        assert_eq!(asker.ask(), Some(RefuseCode::RevokedDevice), "in force when the command ends");
        site.ok("device enable name:cl");
        assert_eq!(asker.ask(), None);
    }
    site.ok("device add name:other");
    assert_eq!(site.json("device list").as_array().unwrap().len(), 3);

    // A bad file changes nothing, a good one does.
    let other_mode = format!("{listen}\nderived_keys = true");
    for (refused, bad) in [(1, "nonsense = true"), (2, &other_mode)] {
        site.configure(bad, "");
        kdc.signal(Signal::HUP);
        let started = Instant::now();
        while site.status().process.reloads_refused < refused {
            assert!(started.elapsed() < PATIENCE, "never looked at: {bad}");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(asker.ask(), None);
    }
    site.configure(&listen, &PERMIT.replace("name:cl", "name:other"));
    kdc.signal(Signal::HUP);
    asker.until(Some(RefuseCode::NotPermitted));

    let status = site.status();
    assert_eq!(status.process.role, "kdc");
    assert_eq!((status.process.reloads_applied, status.process.reloads_refused), (1, 2));
    let count = |label: &str| status.kdc_requests.iter().find(|c| c.label == label).unwrap().count;
    assert!(count("issued") >= 2 && count("not_permitted") >= 1 && count("revoked_device") >= 1);
    assert_eq!(status.registry.as_ref().unwrap().enabled, 3);

    kdc.signal(Signal::TERM);
    let started = Instant::now();
    let status = loop {
        if let Some(status) = kdc.child.try_wait().unwrap() {
            break status;
        }
        assert!(started.elapsed() < PATIENCE, "does not end");
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(status.success(), "{status}");
    assert!(!site.path("admin.sock").exists());
    let audit = std::fs::read_to_string(site.path("audit.log")).unwrap();
    assert!(audit.lines().all(|l| serde_json::from_str::<Value>(l).is_ok()));
    assert!(audit.contains("\"code\":\"not_permitted\""));
}
