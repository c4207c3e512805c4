//! The server on loopback: both transports, changes while it serves, bounds, a clean end.

use super::*;
use crate::registry::{KeyState, NewKey};
use sekisho_config::Config;
use sekisho_kdc_client::message::{
    Claim, KdcAnswer, KeyRequest, Reason, TYPE_IDENTIFY, frame_tcp, sha256, verify_answer,
};
use sekisho_kdc_client::{DeviceId, DeviceKey, RefuseCode, Role};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::AtomicU8;
use std::thread::JoinHandle;

/// Longest wait for anything in these tests; reached only by a failure.
const PATIENCE: Duration = Duration::from_secs(10);

fn config(dir: &Path, more: &str) -> KdcConfig {
    let text = format!(
        r#"
role = "kdc"
[kdc]
listen_udp = "127.0.0.1:0"
listen_tcp = "127.0.0.1:0"
registry = "{dir}/r.redb"
master_key_file = "{dir}/master.key"
audit_log = "{dir}/audit.log"
[[gateway]]
id = "name:gw"
services = ["10.0.2.10:80"]
[[permit]]
client = "*"
gateway = "name:gw"
{more}
"#,
        dir = dir.display()
    );
    // The parser may refuse port 0, which lets the system choose.
    let parsed = Config::parse(&text.replace(":0\"", ":9\"")).unwrap();
    let Config::Kdc(mut config) = parsed else { panic!("not a KDC") };
    config.listen_udp = Some("127.0.0.1:0".parse().unwrap());
    config.listen_tcp = Some("127.0.0.1:0".parse().unwrap());
    config
}

struct Kdc {
    dir: tempfile::TempDir,
    registry: Registry,
    config: KdcConfig,
    handle: ServerHandle,
    at: Listening,
    thread: Option<JoinHandle<Result<(), ServeError>>>,
    nonce: AtomicU8,
    client: DeviceKey,
    gateway: DeviceKey,
}

impl Kdc {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        keyfile::write_new(&dir.path().join("master.key"), &[6; 32]).unwrap();
        let master = Arc::new(MasterKey::from_bytes([6; 32]));
        let registry = Registry::create(&dir.path().join("r.redb"), master).unwrap();
        let client = registry.add(&id("name:cl"), Role::Client, None, NewKey::Random).unwrap();
        let gateway = registry.add(&id("name:gw"), Role::Gateway, None, NewKey::Random).unwrap();
        let config = config(dir.path(), "");
        let server = Server::bind(config.clone()).unwrap();
        let (handle, at) = (server.handle(), server.listening());
        let thread = Some(std::thread::spawn(move || server.run()));
        Self {
            dir,
            registry,
            config,
            handle,
            at,
            thread,
            nonce: AtomicU8::new(1),
            client: client.key,
            gateway: gateway.key,
        }
    }

    /// A request unlike all before.
    fn request(&self) -> Vec<u8> {
        let claim = Claim {
            message_type: TYPE_IDENTIFY,
            request_id: 5,
            epoch: 0,
            reason: Reason::New,
            client: id("name:cl"),
            key_version: 1,
            gateway: Some(id("name:gw")),
            service: "10.0.2.10:80".parse().unwrap(),
            nonce: [self.nonce.fetch_add(1, Ordering::Relaxed); 32],
            rest: [4; 32],
        };
        let authenticator = claim.authenticator(&self.client.role_keys(Role::Client).auth);
        let request = KeyRequest {
            sender: id("name:gw"),
            sender_key_version: 1,
            claim,
            authenticator,
            gateway_nonce: [9; 32],
        };
        request.encode(&self.gateway.role_keys(Role::Gateway).auth)
    }

    /// None for a reply, the code of a refusal.
    fn verdict(&self, request: &[u8], answer: &[u8]) -> Option<RefuseCode> {
        let keys = self.gateway.role_keys(Role::Gateway);
        match verify_answer(answer, &sha256(&[request]), &keys).unwrap() {
            KdcAnswer::Reply(_) => None,
            KdcAnswer::Refusal { refusal, authentic } => {
                assert!(authentic);
                Some(refusal.code)
            }
        }
    }

    fn udp(&self) -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.connect(self.at.udp.unwrap()).unwrap();
        socket
    }

    fn ask_udp(&self, request: &[u8]) -> Vec<u8> {
        let socket = self.udp();
        socket.send(request).unwrap();
        let mut buffer = [0; 2000];
        let len = socket.recv(&mut buffer).unwrap();
        buffer[..len].to_vec()
    }

    fn tcp(&self) -> TcpStream {
        let stream = TcpStream::connect(self.at.tcp.unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn ask(&self) -> Option<RefuseCode> {
        let request = self.request();
        let answer = self.ask_udp(&request);
        self.verdict(&request, &answer)
    }

    /// Asks until the verdict is this one; gives the time it took.
    fn await_verdict(&self, wanted: Option<RefuseCode>) -> Duration {
        let started = Instant::now();
        while self.ask() != wanted {
            assert!(started.elapsed() < PATIENCE, "no {wanted:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
        started.elapsed()
    }

    fn stop(&mut self) {
        self.handle.stop();
        self.thread.take().unwrap().join().unwrap().unwrap();
    }

    fn audit(&self) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.dir.path().join("audit.log")).unwrap();
        text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
    }
}

impl Drop for Kdc {
    fn drop(&mut self) {
        self.handle.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn id(text: &str) -> DeviceId {
    text.parse().unwrap()
}

fn read_frame(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut head = [0; 2];
    stream.read_exact(&mut head)?;
    let mut body = vec![0; usize::from(u16::from_be_bytes(head))];
    stream.read_exact(&mut body)?;
    Ok(body)
}

#[test]
fn udp_and_tcp_answer_and_leave_a_line_each() {
    let mut kdc = Kdc::start();
    let request = kdc.request();
    let over_udp = kdc.ask_udp(&request);
    assert_eq!(kdc.verdict(&request, &over_udp), None);
    // The same request over the other transport: the same octets.
    let mut stream = kdc.tcp();
    stream.write_all(&frame_tcp(&request)).unwrap();
    assert_eq!(read_frame(&mut stream).unwrap(), over_udp);
    // Many on one connection, cut at unlucky places.
    let many: Vec<Vec<u8>> = (0..20).map(|_| kdc.request()).collect();
    let octets: Vec<u8> = many.iter().flat_map(|r| frame_tcp(r)).collect();
    for piece in octets.chunks(333) {
        stream.write_all(piece).unwrap();
        stream.flush().unwrap();
    }
    for request in &many {
        assert_eq!(kdc.verdict(request, &read_frame(&mut stream).unwrap()), None);
    }
    kdc.stop();
    let lines = kdc.audit();
    assert_eq!(lines.len(), 22);
    assert_eq!(lines[0]["outcome"], "issued");
    assert_eq!(lines[0]["transport"], "udp");
    assert_eq!(lines[1]["outcome"], "repeated");
    assert_eq!(lines[1]["transport"], "tcp");
    assert_eq!(lines[1]["request"], lines[0]["request"]);
    assert_eq!(lines[0]["client"], "name:cl");
    assert!(lines[0]["time"].as_f64().unwrap() > 1.6e9);
    let outcomes = kdc.handle.counters().outcomes();
    assert!(outcomes.contains(&("issued", 21)) && outcomes.contains(&("repeated", 1)));
}

#[test]
fn a_revocation_is_in_force_within_a_second_and_without_a_restart() {
    let kdc = Kdc::start();
    assert_eq!(kdc.ask(), None);
    kdc.registry.set_state(&id("name:cl"), None, KeyState::Disabled).unwrap();
    let took = kdc.await_verdict(Some(RefuseCode::RevokedDevice));
    assert!(took < Duration::from_secs(1), "{took:?}");
    kdc.registry.set_state(&id("name:cl"), None, KeyState::Enabled).unwrap();
    kdc.await_verdict(None);
    // Commands come and go while it serves.
    for i in 0..10 {
        kdc.registry.add(&id(&format!("name:n{i}")), Role::Client, None, NewKey::Random).unwrap();
        assert_eq!(kdc.ask(), None);
    }
    assert_eq!(kdc.registry.list().unwrap().len(), 12);
    kdc.registry.set_state(&id("name:cl"), None, KeyState::Revoked).unwrap();
    kdc.await_verdict(Some(RefuseCode::RevokedDevice));
}

#[test]
fn a_reload_changes_the_policy_and_a_bad_one_changes_nothing() {
    let kdc = Kdc::start();
    let mut strict = kdc.config.clone();
    strict.permits.clear();
    kdc.handle.reload(strict.clone());
    kdc.await_verdict(Some(RefuseCode::NotPermitted));

    let mut bad = kdc.config.clone();
    bad.master_key_file = kdc.dir.path().join("none");
    kdc.handle.reload(bad);
    let mut bad = kdc.config.clone();
    // Somebody else's address.
    bad.listen_udp = Some("192.0.2.1:9".parse().unwrap());
    kdc.handle.reload(bad);
    for _ in 0..20 {
        assert_eq!(kdc.ask(), Some(RefuseCode::NotPermitted));
    }
    kdc.handle.reload(kdc.config.clone());
    kdc.await_verdict(None);
    // The watch of the reloaded registry works too.
    kdc.registry.set_state(&id("name:cl"), None, KeyState::Revoked).unwrap();
    kdc.await_verdict(Some(RefuseCode::RevokedDevice));
}

#[test]
fn garbage_gets_no_more_back_than_it_brought_and_harms_nobody() {
    let kdc = Kdc::start();
    let socket = kdc.udp();
    for len in [0, 1, 4, 20, 43] {
        socket.send(&vec![1; len]).unwrap();
    }
    socket.send(&[0xff; 2000]).unwrap();
    let mut buffer = [0; 2000];
    let len = socket.recv(&mut buffer).unwrap();
    assert_eq!(len, 44, "the only answer is the hint for the long one");
    // Bad frames close their connection.
    for bad in [&[0u8, 0][..], &[0xff, 0xff, 1]] {
        let mut stream = kdc.tcp();
        stream.write_all(bad).unwrap();
        assert_eq!(stream.read(&mut buffer).unwrap(), 0);
    }
    assert_eq!(kdc.ask(), None);
}

#[test]
fn connections_are_bounded_per_source() {
    let kdc = Kdc::start();
    let mut streams: Vec<TcpStream> = (0..MAX_PER_SOURCE + 8).map(|_| kdc.tcp()).collect();
    let request = kdc.request();
    let mut answered = 0;
    for stream in &mut streams {
        let sent = stream.write_all(&frame_tcp(&request));
        if sent.is_ok() && read_frame(stream).is_ok() {
            answered += 1;
        }
    }
    assert_eq!(answered, MAX_PER_SOURCE);
    drop(streams);
    // Room again once they are gone.
    let started = Instant::now();
    loop {
        let mut stream = kdc.tcp();
        if stream.write_all(&frame_tcp(&request)).is_ok() && read_frame(&mut stream).is_ok() {
            break;
        }
        assert!(started.elapsed() < PATIENCE);
    }
}

#[test]
fn what_cannot_be_opened_is_named_before_anything_listens() {
    let kdc = Kdc::start();
    let error = |edit: &dyn Fn(&mut KdcConfig)| {
        let mut config = kdc.config.clone();
        edit(&mut config);
        Server::bind(config).err().unwrap().to_string()
    };
    let dir = kdc.dir.path().to_owned();
    let text = error(&|c| c.registry = dir.join("none.redb"));
    assert!(text.contains("none.redb does not exist") && text.contains("kdc init"), "{text}");
    let text = error(&|c| c.master_key_file = dir.join("none.key"));
    assert!(text.contains("none.key"), "{text}");
    keyfile::write_new(&dir.join("other.key"), &[7; 32]).unwrap();
    let text = error(&|c| c.master_key_file = dir.join("other.key"));
    assert!(text.contains("master key does not fit registry"), "{text}");
    let taken = kdc.at.udp;
    let text = error(&|c| c.listen_udp = taken);
    assert!(text.contains("cannot listen on UDP"), "{text}");
    let text = error(&|c| c.audit_log = Some(dir.join("no/such/dir")));
    assert!(text.contains("audit log"), "{text}");
}

#[test]
fn strangers_cannot_fill_the_audit_log() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let mut log = AuditLog::open(Some(&path)).unwrap();
    let mut record = crate::audit::AuditRecord {
        source: "192.0.2.1:1".parse().unwrap(),
        transport: Transport::Udp,
        request: [0; 8],
        outcome: crate::audit::Outcome::Refused(RefuseCode::Malformed, "malformed"),
        verified: false,
        gateway: None,
        client: None,
        service: None,
    };
    for _ in 0..50_000 {
        log.record(&record, 1_000);
    }
    record.verified = true;
    log.record(&record, 1_000);
    log.flush();
    let text = std::fs::read_to_string(&path).unwrap();
    let lines = text.lines().count();
    assert!((1000..=1200).contains(&lines), "{lines} lines");
    assert!(text.contains(r#""suppressed":4"#), "the rest is counted");
    assert!(text.lines().last().unwrap().contains(r#""verified":true"#));
}
