//! What a session's set-up costs a program: connects to a server that speaks first, through the real
//! chain and over the direct path, in turns in one lab.
//!
//! `connect` is the time until TCP is connected, which through the chain has key delivery and the KDC
//! in it; `banner` is the time until the server's first octet is there.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use sekisho_tests::lab::LabError;
use sekisho_tests::lab::config::BANNER;
use sekisho_tests::lab::peers::Server;
use sekisho_tests::lab::topology::Host;

use crate::BenchResult;
use crate::path::{Path, Way};
use crate::report::Row;
use crate::timing::quantile;

/// Rounds over both ways.
const ROUNDS: usize = 2;
/// Connects per round and way.
const CONNECTS: usize = 60;
/// Connects before the clock counts: addresses resolved, caches warm.
const WARM_UP: usize = 5;
/// A connect or read that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(10);

/// Milliseconds of one way.
#[derive(Default)]
struct Delays {
    connect: Vec<f64>,
    banner: Vec<f64>,
}

/// Rows `latency/connect/…` and `latency/banner/…`, median and p99, in milliseconds.
///
/// # Errors
/// The lab cannot be built or a connect fails.
pub fn run() -> BenchResult<Vec<Row>> {
    let mut path = Path::build("latency")?;
    let _server = Server::banner(path.lab().host(Host::Server1), BANNER)?;
    let (mut direct, mut chain) = (Delays::default(), Delays::default());
    for round in 1..=ROUNDS {
        for (way, delays) in [(Way::Direct, &mut direct), (Way::Chain, &mut chain)] {
            if round > 1 || way != Way::Direct {
                path.switch(way)?;
            }
            eprintln!("  round {round} of {ROUNDS}, {}: {CONNECTS} connects", way.label());
            measure(&path, delays)?;
        }
    }
    let row = |name: &str, of: fn(&Delays) -> &Vec<f64>, (label, q)| {
        let (ours, peer) = (quantile(of(&chain).clone(), q), quantile(of(&direct).clone(), q));
        let name = format!("latency/{name}/{label}");
        Row::less_is_better(name, ours, "ms", Way::Direct.label(), peer)
    };
    let quantiles = [("median", 0.5), ("p99", 0.99)];
    let connects = quantiles.map(|q| row("connect", |delays| &delays.connect, q));
    let banners = quantiles.map(|q| row("banner", |delays| &delays.banner, q));
    Ok(connects.into_iter().chain(banners).collect())
}

fn measure(path: &Path, delays: &mut Delays) -> BenchResult<()> {
    let address = SocketAddr::new(path.server(), BANNER);
    let client = path.lab().host(Host::Client1);
    let measured = client.enter(|| {
        (0..WARM_UP + CONNECTS).map(|_| once(address)).collect::<std::io::Result<Vec<_>>>()
    })?;
    let measured = measured.map_err(LabError::io("connect to the banner server"))?;
    for (connect, banner) in measured.into_iter().skip(WARM_UP) {
        delays.connect.push(connect.as_secs_f64() * 1e3);
        delays.banner.push(banner.as_secs_f64() * 1e3);
    }
    Ok(())
}

/// Time to the connection and to the first octet.
fn once(address: SocketAddr) -> std::io::Result<(Duration, Duration)> {
    let started = Instant::now();
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
    let connected = started.elapsed();
    stream.set_read_timeout(Some(LIMIT))?;
    if stream.read(&mut [0; 256])? == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok((connected, started.elapsed()))
}
