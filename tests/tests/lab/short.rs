//! Ten thousand short connections over few ports, so that each 4-tuple is used again while its last session
//! still drains and one host still has it in TIME_WAIT. No failure that the direct path does not show.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use sekisho_tests::expect_that;
use sekisho_tests::lab::LabResult;
use sekisho_tests::lab::chain::{Chain, Node, on_chain};
use sekisho_tests::lab::config::{ECHO, Setup};
use sekisho_tests::lab::harness::privileged;
use sekisho_tests::lab::peers::Server;
use sekisho_tests::lab::programs::canary_text;
use sekisho_tests::lab::topology::{Family, Host};

/// Ports that the client may use: fifty connections for each.
const PORTS: &str = "40000 40199";
const CONNECTIONS: usize = 10_000;
/// Connections under way at one time.
const AT_ONCE: usize = 8;
/// Octets there and back.
const LINE: usize = 100;
const LIMIT: Duration = Duration::from_secs(10);
/// Pause of a program that finds all its ports in TIME_WAIT.
const PAUSE: Duration = Duration::from_millis(2);

/// Who closes first, and so has TIME_WAIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum First {
    Client,
    Server,
}

/// What became of the connections.
#[derive(Debug, Default)]
struct Tally {
    done: usize,
    failed: BTreeMap<String, usize>,
    slowest: Duration,
    took: Duration,
}

impl Tally {
    fn note(&mut self, result: std::io::Result<()>, took: Duration) {
        match result {
            Ok(()) => self.done += 1,
            Err(error) => *self.failed.entry(error.to_string()).or_default() += 1,
        }
        self.slowest = self.slowest.max(took);
    }

    fn absorb(&mut self, other: Self) {
        self.done += other.done;
        self.slowest = self.slowest.max(other.slowest);
        for (error, count) in other.failed {
            *self.failed.entry(error).or_default() += count;
        }
    }
}

/// A line there and back.
fn short(server: SocketAddr, first: First) -> std::io::Result<()> {
    let mut stream = connect(server)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_nodelay(true)?;
    let line = canary_text(LINE);
    stream.write_all(line.as_bytes())?;
    let mut answer = vec![0; LINE];
    stream.read_exact(&mut answer)?;
    if first == First::Server && stream.read(&mut [0])? != 0 {
        return Err(Error::other("an octet behind the end"));
    }
    match answer == line.as_bytes() {
        true => Ok(()),
        false => Err(Error::other("the line came back changed")),
    }
}

/// Connects; waits for a port where all are in TIME_WAIT.
fn connect(server: SocketAddr) -> std::io::Result<TcpStream> {
    let deadline = Instant::now() + LIMIT;
    loop {
        match TcpStream::connect_timeout(&server, LIMIT) {
            Err(error)
                if error.kind() == ErrorKind::AddrNotAvailable && Instant::now() < deadline =>
            {
                std::thread::sleep(PAUSE);
            }
            other => return other,
        }
    }
}

/// Runs all connections and tells what became of them.
fn many(chain: &Chain, address: IpAddr, first: First) -> LabResult<Tally> {
    let server = SocketAddr::new(address, ECHO);
    let started = Instant::now();
    let part = || {
        let mut part = Tally::default();
        for _ in 0..CONNECTIONS / AT_ONCE {
            let begun = Instant::now();
            part.note(short(server, first), begun.elapsed());
        }
        part
    };
    let parts = chain.host(Host::Client1).enter(|| {
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(part)).collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).collect::<Vec<_>>()
        })
    })?;
    let mut all = Tally::default();
    parts.into_iter().for_each(|part| all.absorb(part));
    all.took = started.elapsed();
    Ok(all)
}

/// Answers one line; closes at once, or after the client.
fn serve(chain: &Chain, first: First) -> LabResult<Server> {
    let client = chain.host(Host::Client1);
    client.sysctl("net.ipv4.ip_local_port_range", PORTS)?;
    // A port in TIME_WAIT may be used again once its timestamp is older than this: a second is too
    // long for two hundred ports.
    client.sysctl("net.ipv4.tcp_tw_reuse", "1")?;
    client.sysctl("net.ipv4.tcp_tw_reuse_delay", "10")?;
    Server::start(chain.host(Host::Server1), ECHO, move |mut stream| {
        let mut line = [0; LINE];
        stream.read_exact(&mut line)?;
        stream.write_all(&line)?;
        match first {
            First::Client => stream.read(&mut [0]).map(drop),
            First::Server => Ok(()),
        }
    })
}

fn compare(test: &str, first: First) -> LabResult {
    if !privileged(test)? {
        return Ok(());
    }
    let mut direct = Vec::new();
    {
        let chain = Chain::prepare(Setup::default())?;
        let _server = serve(&chain, first)?;
        for family in Family::BOTH {
            direct.push(many(&chain, Host::Server1.address(family), first)?);
        }
    }
    // The linger that the program has by default.
    on_chain(test, Setup { linger_ms: 10_000, ..Setup::default() }, |chain| {
        let _server = serve(chain, first)?;
        for (family, direct) in Family::BOTH.into_iter().zip(&direct) {
            println!("{} direct: {direct:?}", family.label());
            let tally = many(chain, Host::Server1.address(family), first)?;
            println!("{} ciphered: {tally:?}", family.label());
            let (failed, allowed) = (CONNECTIONS - tally.done, CONNECTIONS - direct.done);
            expect_that!(failed <= allowed, "{failed} failed, {allowed} on the direct path");
        }
        for node in [Node::Gateway, Node::Agent] {
            println!("{node:?}: {:?}", chain.counted(node, "drops")?);
        }
        Ok(())
    })
}

#[test]
fn ten_thousand_short_connections_that_the_server_closes() -> LabResult {
    compare("short-server", First::Server)
}

#[test]
fn ten_thousand_short_connections_that_the_client_closes() -> LabResult {
    compare("short-client", First::Client)
}
