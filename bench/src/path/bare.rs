//! The bare forwarder: what AF_XDP alone costs. The same XDP program, sockets and rings as the
//! gateway's and the same manner of polling; every frame goes to the other port untouched.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use sekisho_port::{
    AfXdpIo, FilterPolicy, Frame, ModeChoice, PacketIo, PortControl, PortPair, PortPairConfig,
    PortSide, ServiceEntry, Waiter,
};
use sekisho_tests::lab::chain::{Chain, Node};
use sekisho_tests::lab::topology::{CIPHER, PLAIN};

use crate::{BenchError, BenchResult};

/// Frames and ring slots: the defaults of the gateway's configuration.
const FRAMES: usize = 4096;
const RING: u32 = 2048;
/// As the adaptive mode of the dataplane's workers.
const BURST: usize = 64;
const SPIN_TURNS: u32 = 64;
const SLEEP: Duration = Duration::from_millis(100);
const SLEEP_WITH_BACKLOG: Duration = Duration::from_millis(1);

/// Which box the forwarder stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In place of the client agent.
    Agent,
    /// In place of the gateway.
    Gateway,
}

impl Place {
    fn node(self) -> Node {
        match self {
            Self::Agent => Node::Agent,
            Self::Gateway => Node::Gateway,
        }
    }

    /// Name of the forwarder's thread.
    pub(super) fn thread(self) -> &'static str {
        match self {
            Self::Agent => "bare-agent",
            Self::Gateway => "bare-gateway",
        }
    }

    fn servers_behind(self) -> PortSide {
        match self {
            Self::Agent => PortSide::Cipher,
            Self::Gateway => PortSide::Plain,
        }
    }
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    packets: AtomicU64,
}

/// A running forwarder.
pub(super) struct Forwarder {
    shared: Arc<Shared>,
    bell: sekisho_port::Doorbell,
    thread: Option<JoinHandle<AfXdpIo>>,
    control: Option<PortControl>,
}

impl Forwarder {
    /// Opens both ports of a box and starts to forward.
    pub(super) fn start(
        chain: &Chain,
        place: Place,
        services: &[ServiceEntry],
    ) -> BenchResult<Self> {
        let directory = chain.topology.site.file(&format!("bpf/bare-{place:?}"));
        let config = PortPairConfig {
            interfaces: [CIPHER.to_owned(), PLAIN.to_owned()],
            servers_behind: place.servers_behind(),
            queues: 1,
            frames_per_queue: FRAMES,
            ring: RING,
            mode: ModeChoice::Auto,
            pin_directory: directory,
            policy: FilterPolicy::default(),
            services: services.to_vec(),
        };
        let namespace = chain.namespace(place.node());
        let (mut workers, control) = namespace.enter(|| PortPair::open(&config))??;
        let io = workers
            .pop()
            .ok_or_else(|| BenchError::Invalid("no worker's ports were opened".to_owned()))?;
        let waiter = io.waiter().map_err(sekisho_port::PortError::from)?;
        let bell = waiter.doorbell();
        let shared = Arc::new(Shared::default());
        let seen = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name(place.thread().to_owned())
            .spawn(move || run(io, waiter, &seen))
            .map_err(|source| BenchError::Io { what: "start a forwarder".to_owned(), source })?;
        Ok(Self { shared, bell, thread: Some(thread), control: Some(control) })
    }

    /// Frames moved so far.
    pub(super) fn packets(&self) -> u64 {
        self.shared.packets.load(Ordering::Relaxed)
    }

    /// Stops it and gives the ports back.
    pub(super) fn stop(mut self) -> BenchResult<()> {
        self.join();
        match self.control.take() {
            Some(control) => Ok(control.detach()?),
            None => Ok(()),
        }
    }

    /// Ends the thread and closes the sockets.
    fn join(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.bell.ring();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.join();
        if let Some(control) = self.control.take() {
            // Their namespace goes with the lab in any case.
            let _ = control.detach();
        }
    }
}

fn run(mut io: AfXdpIo, mut waiter: Waiter, shared: &Shared) -> AfXdpIo {
    let mut burst = Vec::with_capacity(BURST);
    let mut idle = 0;
    while !shared.stop.load(Ordering::Acquire) {
        let moved = turn(&mut io, &mut burst);
        if moved > 0 {
            shared.packets.fetch_add(moved, Ordering::Relaxed);
            idle = 0;
            continue;
        }
        idle += 1;
        if idle >= SPIN_TURNS {
            let pause = if io.backlog() > 0 { SLEEP_WITH_BACKLOG } else { SLEEP };
            waiter.wait(pause, || shared.stop.load(Ordering::Acquire));
        } else {
            std::hint::spin_loop();
        }
    }
    io
}

/// Everything received leaves by the other port; how many frames that were.
fn turn(io: &mut AfXdpIo, burst: &mut Vec<Frame>) -> u64 {
    let mut moved = 0;
    for side in PortSide::BOTH {
        moved += io.receive(side, burst, BURST) as u64;
        for frame in burst.drain(..) {
            io.transmit(side.other(), frame);
        }
    }
    io.flush();
    moved
}
