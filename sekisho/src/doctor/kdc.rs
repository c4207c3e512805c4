//! The way to each KDC: a true KEY-REQUEST for a client that does not exist, and what comes back.
//!
//! A refusal whose MAC verifies proves more than a ping: the KDC is there, knows this gateway, and holds the same
//! key. Each probe leaves a line in the KDC's audit log, under the client name `sekisho-doctor`.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use sekisho_config::{GatewayConfig, KdcTransport};
use sekisho_kdc::keyfile;
use sekisho_kdc_client::message::{
    Claim, KdcAnswer, KeyRequest, Reason, TYPE_IDENTIFY, frame_tcp, sha256, verify_answer,
};
use sekisho_kdc_client::{DeviceId, DeviceKey, RefuseCode, Role, RoleKeys, Service};

use super::Finding;

/// How long one attempt waits.
const PATIENCE: Duration = Duration::from_secs(1);
/// Attempts over UDP, which may lose some.
const ATTEMPTS: usize = 2;
/// A client that no registry has.
const NOBODY: &str = "name:sekisho-doctor";

/// One finding for each KDC of a gateway.
pub(super) fn reach(gateway: &GatewayConfig) -> Vec<Finding> {
    // Without the key nothing can be asked; its own check says so.
    let Ok(key) = keyfile::read(&gateway.node.device.key_file) else { return Vec::new() };
    let keys = DeviceKey::from_bytes(*key).role_keys(Role::Gateway);
    let servers = gateway.kdc.servers.iter();
    servers.map(|server| judge(*server, gateway, probe(*server, gateway, &keys))).collect()
}

/// What came of one probe.
enum Probed {
    /// An answer that only a KDC with this gateway's key can give.
    Verified,
    /// A refusal without a MAC, which anybody can give.
    Hint(RefuseCode),
    /// An answer that does not verify.
    Forged,
    /// None.
    Silent(io::Error),
    /// No request could be made.
    Unasked(&'static str),
}

fn probe(server: SocketAddr, gateway: &GatewayConfig, keys: &RoleKeys) -> Probed {
    let Some(request) = request(gateway, keys) else {
        return Probed::Unasked(
            "the operating system gives no random numbers, or the identifier is not valid",
        );
    };
    let answer = match gateway.kdc.transport {
        KdcTransport::Udp => ask_udp(server, &request),
        KdcTransport::Tcp => ask_tcp(server, &request),
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return Probed::Silent(error),
    };
    match verify_answer(&answer, &sha256(&[&request]), keys) {
        Ok(KdcAnswer::Refusal { refusal, authentic: false }) => Probed::Hint(refusal.code),
        Ok(_) => Probed::Verified,
        Err(_) => Probed::Forged,
    }
}

/// A well-formed request under the gateway's key. Its claim is under no key at all: the KDC knows no such client.
fn request(gateway: &GatewayConfig, keys: &RoleKeys) -> Option<Vec<u8>> {
    let device = &gateway.node.device;
    let id: DeviceId = device.id.to_string().parse().ok()?;
    let service = gateway.node.services.first()?;
    let port = service.ports.iter().next()?;
    let mut random = [0; 104];
    getrandom::fill(&mut random).ok()?;
    let take = |from: usize| -> Option<[u8; 32]> { random.get(from..from + 32)?.try_into().ok() };
    let claim = Claim {
        message_type: TYPE_IDENTIFY,
        request_id: u64::from_be_bytes(random.get(96..104)?.try_into().ok()?),
        epoch: 0,
        reason: Reason::New,
        client: NOBODY.parse().ok()?,
        key_version: 0,
        gateway: Some(id.clone()),
        service: Service::from(SocketAddr::new(service.address.address(), port)),
        nonce: take(0)?,
        rest: sha256(&[]),
    };
    let request = KeyRequest {
        sender: id,
        sender_key_version: device.key_version,
        claim,
        authenticator: take(32)?,
        gateway_nonce: take(64)?,
    };
    Some(request.encode(&keys.auth))
}

fn ask_udp(server: SocketAddr, request: &[u8]) -> io::Result<Vec<u8>> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut buffer = vec![0; 4096];
    let mut last = io::Error::from(io::ErrorKind::TimedOut);
    for _ in 0..ATTEMPTS {
        let answer = socket.send(request).and_then(|_| socket.recv(&mut buffer));
        match answer {
            Ok(length) => return Ok(buffer[..length].to_vec()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn ask_tcp(server: SocketAddr, request: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(&frame_tcp(request))?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

fn judge(server: SocketAddr, gateway: &GatewayConfig, probed: Probed) -> Finding {
    let check = format!("kdc.{server}");
    let transport = gateway.kdc.transport;
    let device = &gateway.node.device;
    let register = format!(
        "at the KDC: sekisho kdc device add --config KDC.toml --role gateway --key-version {} --key-out {} {}; then \
         bring the file here",
        device.key_version,
        device.key_file.display(),
        device.id
    );
    match probed {
        Probed::Verified => {
            Finding::pass(check, format!("answers over {transport} and holds this gateway's key"))
        }
        Probed::Hint(RefuseCode::UnknownGateway) => {
            let what = format!("answers, and does not know {} by this key and version", device.id);
            Finding::fail(check, what, register)
        }
        Probed::Hint(code) => {
            Finding::fail(check, format!("refuses without proof: {code}"), code.help())
        }
        Probed::Forged => {
            let what = "something answers that is no KDC with this gateway's key";
            Finding::fail(check, what, register)
        }
        Probed::Silent(error) => {
            let what = format!("no answer over {transport}: {error}");
            let mend = format!(
                "at the KDC: sekisho kdc serve; on the path: let {transport} port {} pass",
                server.port()
            );
            Finding::fail(check, what, mend)
        }
        Probed::Unasked(why) => Finding::fail(check, why, "check [device] id"),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread::JoinHandle;

    use sekisho_config::Config;
    use sekisho_kdc_client::message::KeyRefusal;

    use super::super::Verdict;
    use super::*;

    fn gateway(server: SocketAddr, transport: &str) -> GatewayConfig {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../config/examples/gateway.toml");
        let text = std::fs::read_to_string(path).unwrap();
        let text = text.replace("\"10.9.0.2:1089\", \"10.9.0.3:1089\"", &format!("\"{server}\""));
        match Config::parse(
            &text.replace("transport = \"udp\"", &format!("transport = \"{transport}\"")),
        )
        .unwrap()
        {
            Config::Gateway(gateway) => gateway,
            _ => panic!("the example is a gateway"),
        }
    }

    fn keys(octet: u8) -> RoleKeys {
        DeviceKey::from_bytes([octet; 32]).role_keys(Role::Gateway)
    }

    /// What a KDC that holds `keys` says to a request for an unknown client.
    fn refusal(request: &[u8], code: RefuseCode, keys: Option<&RoleKeys>) -> Vec<u8> {
        KeyRefusal { request: sha256(&[request]), code }.encode(keys.map(|keys| &keys.auth))
    }

    fn udp_kdc(answer: impl Fn(&[u8]) -> Vec<u8> + Send + 'static) -> (SocketAddr, JoinHandle<()>) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let server = socket.local_addr().unwrap();
        let run = move || {
            let mut buffer = [0; 2048];
            let (length, from) = socket.recv_from(&mut buffer).unwrap();
            KeyRequest::decode(&buffer[..length]).expect("the probe is a request");
            socket.send_to(&answer(&buffer[..length]), from).unwrap();
        };
        (server, std::thread::spawn(run))
    }

    fn probed_over_udp(answer: impl Fn(&[u8]) -> Vec<u8> + Send + 'static) -> Finding {
        let (server, kdc) = udp_kdc(answer);
        let gateway = gateway(server, "udp");
        let finding = judge(server, &gateway, probe(server, &gateway, &keys(7)));
        kdc.join().unwrap();
        finding
    }

    #[test]
    fn a_kdc_with_the_same_key_passes() {
        let finding = probed_over_udp(|request| {
            assert!(KeyRequest::verify(request, &keys(7).auth));
            refusal(request, RefuseCode::UnknownDevice, Some(&keys(7)))
        });
        assert_eq!(finding.verdict, Verdict::Pass, "{finding:?}");
        assert!(finding.what.contains("holds this gateway's key"));
    }

    #[test]
    fn a_kdc_with_another_key_fails() {
        let finding =
            probed_over_udp(|request| refusal(request, RefuseCode::UnknownDevice, Some(&keys(8))));
        assert_eq!(finding.verdict, Verdict::Fail);
        assert!(finding.what.contains("no KDC with this gateway's key"));
    }

    #[test]
    fn a_kdc_that_does_not_know_the_gateway_fails() {
        let finding = probed_over_udp(|request| refusal(request, RefuseCode::UnknownGateway, None));
        assert_eq!(finding.verdict, Verdict::Fail);
        assert!(finding.mend.unwrap().contains("--role gateway --key-version 1"));
    }

    #[test]
    fn noise_is_no_kdc() {
        let finding = probed_over_udp(|_| b"HTTP/1.1 400 Bad Request\r\n".to_vec());
        assert!(finding.what.contains("something answers"), "{finding:?}");
    }

    #[test]
    fn a_closed_port_fails_at_once_over_both() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        for transport in ["udp", "tcp"] {
            let gateway = gateway(server, transport);
            let finding = judge(server, &gateway, probe(server, &gateway, &keys(7)));
            assert_eq!(finding.verdict, Verdict::Fail);
            assert!(
                finding
                    .mend
                    .unwrap()
                    .contains(&format!("let {transport} port {} pass", server.port()))
            );
        }
    }

    #[test]
    fn tcp_is_asked_as_well() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap();
        let kdc = std::thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            let mut length = [0; 2];
            peer.read_exact(&mut length).unwrap();
            let mut request = vec![0; usize::from(u16::from_be_bytes(length))];
            peer.read_exact(&mut request).unwrap();
            let answer = refusal(&request, RefuseCode::UnknownDevice, Some(&keys(7)));
            peer.write_all(&frame_tcp(&answer)).unwrap();
        });
        let gateway = gateway(server, "tcp");
        let finding = judge(server, &gateway, probe(server, &gateway, &keys(7)));
        kdc.join().unwrap();
        assert_eq!(finding.verdict, Verdict::Pass, "{finding:?}");
    }
}
