//! A forwarder that changes nothing, and traffic to send through it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "a helper of tests")]

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, ipproto, socket};
use sekisho_port::{
    AfXdpIo, FilterPolicy, Frame, ModeChoice, PacketIo, PortControl, PortPair, PortPairConfig,
    PortSet, PortSide, ServiceEntry, XdpCounter,
};

use crate::lab::Lab;

pub const FRAMES: usize = 2048;
pub const SERVER4: &str = "10.9.0.2";
pub const SERVER6: &str = "fd09::2";
/// Within the protected range.
pub const PROTECTED: u16 = 8000;
/// On the same host, and not protected.
pub const UNPROTECTED: u16 = 9000;
pub const KEY_DELIVERY: u16 = 1088;

pub fn services() -> Vec<ServiceEntry> {
    [(SERVER4, 32), (SERVER6, 128)]
        .map(|(prefix, prefix_len)| ServiceEntry {
            prefix: prefix.parse().unwrap(),
            prefix_len,
            ports: PortSet::from_ranges([(PROTECTED, PROTECTED + 99)]),
        })
        .to_vec()
}

pub fn config(lab: &Lab, queues: usize) -> PortPairConfig {
    PortPairConfig { queues, pin_directory: lab.pins.path().to_owned(), ..template() }
}

/// For two queues, without a pin directory.
pub fn template() -> PortPairConfig {
    PortPairConfig {
        interfaces: ["cipher".into(), "plain".into()],
        servers_behind: PortSide::Plain,
        queues: 2,
        frames_per_queue: FRAMES,
        ring: 1024,
        mode: ModeChoice::Auto,
        pin_directory: PathBuf::new(),
        policy: FilterPolicy::default(),
        services: services(),
    }
}

pub fn open(lab: &Lab, queues: usize) -> (Vec<AfXdpIo>, PortControl) {
    let config = config(lab, queues);
    lab.gateway.run(|| PortPair::open(&config)).unwrap()
}

/// One turn of a worker's loop: everything received leaves by the other side.
pub fn forward(io: &mut AfXdpIo, burst: &mut Vec<Frame>) -> usize {
    let mut moved = 0;
    for side in PortSide::BOTH {
        moved += io.receive(side, burst, 64);
        for frame in burst.drain(..) {
            io.transmit(side.other(), frame);
        }
    }
    io.flush();
    moved
}

/// Workers in threads of their own, until stopped.
pub struct Forwarder {
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<AfXdpIo>>,
}

impl Forwarder {
    pub fn start(workers: Vec<AfXdpIo>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let workers = workers.into_iter().map(|mut io| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                let mut waiter = io.waiter().unwrap();
                let mut burst = Vec::with_capacity(64);
                while !stop.load(Ordering::Relaxed) {
                    if forward(&mut io, &mut burst) == 0 {
                        let pause = if io.backlog() > 0 { 1 } else { 20 };
                        waiter.wait(Duration::from_millis(pause), || false);
                    }
                    assert_eq!(io.accounting().in_hand(), 0);
                }
                io
            })
        });
        Self { workers: workers.collect(), stop }
    }

    pub fn stop(self) -> Vec<AfXdpIo> {
        self.stop.store(true, Ordering::Relaxed);
        self.workers.into_iter().map(|w| w.join().unwrap()).collect()
    }
}

/// All frames are where they were when the sockets were opened.
pub fn settled(workers: &mut [AfXdpIo]) -> bool {
    workers.iter_mut().all(|io| {
        io.flush();
        let now = io.accounting();
        now.tx_outstanding == 0 && now.batched == 0 && now.in_hand() == 0
    })
}

/// A server that sends back what it gets, on `port` of both families, until the process ends.
pub fn echo_server(lab: &Lab, port: u16) {
    for address in [SERVER4, SERVER6] {
        let address: IpAddr = address.parse().unwrap();
        let listener = lab.server.run(|| TcpListener::bind((address, port)).unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                std::thread::spawn(move || echo(stream.unwrap()));
            }
        });
    }
}

fn echo(mut stream: TcpStream) {
    let mut buffer = vec![0; 65536];
    while let Ok(n @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..n]).is_err() {
            return;
        }
    }
}

/// Connects to an echo server, sends `len` bytes and compares what comes back.
pub fn exchange(lab: &Lab, address: &str, port: u16, len: usize) -> std::io::Result<()> {
    let target = SocketAddr::new(address.parse().unwrap(), port);
    let limit = Duration::from_secs(2);
    let mut reader = lab.client.run(|| TcpStream::connect_timeout(&target, limit))?;
    reader.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut writer = reader.try_clone()?;
    let byte = |i: usize| (i * 31 % 251) as u8;
    let sender = std::thread::spawn(move || {
        let data: Vec<u8> = (0..len).map(byte).collect();
        writer.write_all(&data)
    });
    let mut back = vec![0; len];
    reader.read_exact(&mut back)?;
    sender.join().unwrap()?;
    assert!(back.iter().enumerate().all(|(i, &b)| b == byte(i)), "changed on the way");
    Ok(())
}

/// Three ICMP echo requests; true if each is answered within a second.
pub fn ping(lab: &Lab, address: &str) -> bool {
    let address: IpAddr = address.parse().unwrap();
    // (family, protocol, type of the request, type of the answer)
    let (family, protocol, request, answer) = match address {
        IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP, 8, 0),
        IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6, 128, 129),
    };
    let kind = SocketType::DGRAM;
    let socket = lab.client.run(|| socket(family, kind, Some(protocol)).unwrap());
    let socket = UdpSocket::from(socket);
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    socket.connect((address, 0)).unwrap();
    (1..=3).all(|sequence| {
        let mut buffer = [0; 64];
        // The kernel fills in identifier and checksum.
        let sent = socket.send(&[request, 0, 0, 0, 0, 0, 0, sequence]);
        let received = sent.and_then(|_| socket.recv(&mut buffer));
        received.is_ok_and(|n| n == 8 && buffer[0] == answer && buffer[7] == sequence)
    })
}

pub fn counter(control: &PortControl, side: PortSide, which: XdpCounter) -> u64 {
    control.xdp_counters(side).unwrap().get(which)
}
