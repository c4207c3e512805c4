//! AF_XDP end to end on veth: a forwarder that changes nothing stands where the gateway's workers
//! will. Needs root.

mod lab;

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lab::{Lab, privileged, until};
use sekisho_port::{
    AfXdpIo, FilterPolicy, Frame, FrameAccounting, ModeChoice, OtherTraffic, PacketIo, PortControl,
    PortError, PortPair, PortPairConfig, PortSet, PortSide, ServiceEntry, XdpCounter, XdpMode,
};

const FRAMES: usize = 2048;
const SERVER4: &str = "10.9.0.2";
const SERVER6: &str = "fd09::2";
const PROTECTED: (u16, u16) = (8000, 8099);
const OPEN_PORT: u16 = 9000;
const KEY_DELIVERY: u16 = 1088;

fn services() -> Vec<ServiceEntry> {
    [(SERVER4, 32), (SERVER6, 128)]
        .map(|(prefix, prefix_len)| ServiceEntry {
            prefix: prefix.parse().unwrap(),
            prefix_len,
            ports: PortSet::from_ranges([PROTECTED]),
        })
        .to_vec()
}

fn config(lab: &Lab, queues: usize) -> PortPairConfig {
    PortPairConfig {
        interfaces: ["cipher".into(), "plain".into()],
        servers_behind: PortSide::Plain,
        queues,
        frames_per_queue: FRAMES,
        ring: 1024,
        mode: ModeChoice::Auto,
        pin_directory: lab.pins.path().to_owned(),
        policy: FilterPolicy::default(),
        services: services(),
    }
}

fn open(lab: &Lab, queues: usize) -> (Vec<AfXdpIo>, PortControl) {
    lab.gateway.run(|| PortPair::open(&config(lab, queues))).unwrap()
}

/// One turn of a worker's loop: everything received leaves by the other side.
fn forward(io: &mut AfXdpIo, burst: &mut Vec<Frame>) -> usize {
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
struct Forwarder {
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<AfXdpIo>>,
}

impl Forwarder {
    fn start(workers: Vec<AfXdpIo>) -> Self {
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

    fn stop(self) -> Vec<AfXdpIo> {
        self.stop.store(true, Ordering::Relaxed);
        self.workers.into_iter().map(|w| w.join().unwrap()).collect()
    }
}

/// All frames are where they were when the sockets were opened.
fn settled(workers: &mut [AfXdpIo]) -> bool {
    workers.iter_mut().all(|io| {
        io.flush();
        let now = io.accounting();
        now.tx_outstanding == 0 && now.batched == 0 && now.in_hand() == 0
    })
}

/// A server that sends back what it gets, on `port` of both families; runs until the test ends.
fn echo_server(lab: &Lab, port: u16) {
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
fn exchange(lab: &Lab, address: &str, port: u16, len: usize) -> std::io::Result<()> {
    let target = SocketAddr::new(address.parse().unwrap(), port);
    let stream = lab.client.run(|| TcpStream::connect_timeout(&target, Duration::from_secs(2)))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut writer = stream.try_clone()?;
    let mut reader = stream;
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

fn ping(lab: &Lab, address: &str) -> bool {
    lab.client.try_sh(&format!("ping -c 3 -i 0.05 -W 1 {address}")).0
}

fn counter(control: &PortControl, side: PortSide, which: XdpCounter) -> u64 {
    control.xdp_counters(side).unwrap().get(which)
}

#[test]
fn tcp_crosses_two_queues_and_every_frame_comes_back() {
    if !privileged("tcp_crosses_two_queues_and_every_frame_comes_back") {
        return;
    }
    let lab = Lab::new(2);
    let (mut workers, control) = open(&lab, 2);
    let before: Vec<FrameAccounting> = workers.iter().map(PacketIo::accounting).collect();
    for side in PortSide::BOTH {
        assert_eq!(control.report(side).mode, XdpMode::Native);
        assert!(!control.report(side).taken_over);
    }
    let forwarder = Forwarder::start(std::mem::take(&mut workers));
    echo_server(&lab, 8000);

    std::thread::scope(|scope| {
        for n in 0..16 {
            let (lab, address) = (&lab, if n % 2 == 0 { SERVER4 } else { SERVER6 });
            scope.spawn(move || exchange(lab, address, 8000, 1 << 20).unwrap());
        }
    });

    let mut workers = forwarder.stop();
    until("frames come back", Duration::from_secs(5), || settled(&mut workers));
    let after: Vec<FrameAccounting> = workers.iter().map(PacketIo::accounting).collect();
    assert_eq!(before, after);
    for io in &workers {
        for side in PortSide::BOTH {
            assert!(io.counters(side).rx_frames > 100, "an idle queue: {:?}", io.counters(side));
            assert_eq!(io.counters(side).tx_dropped, 0);
        }
    }
    for side in PortSide::BOTH {
        assert_eq!(control.socket_statistics(side).invalid_descriptors, 0);
        assert_eq!(counter(&control, side, XdpCounter::NoSocket), 0);
    }
    drop(workers);
    control.detach().unwrap();
    assert!(lab.pins.names().is_empty(), "pins left: {:?}", lab.pins.names());
}
