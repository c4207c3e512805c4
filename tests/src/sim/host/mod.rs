//! The hosts: a real TCP with programs on it, and a crafted one that does what the real one does
//! not. Owns the real one: its interface, its sockets, its numbers.

mod app;
mod device;
pub(super) mod raw;
mod stall;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{HardwareAddress, IpCidr, IpEndpoint, IpListenEndpoint};

use app::App;
pub(super) use app::Fate;
use device::Wire;

use super::dice::Dice;
use super::frame::{self, ETHERNET, with_ethernet};
use super::invariant::Finding;
use super::invariant::streams::Streams;
use super::isn::IsnShift;
use super::plan::{Connection, Feature, Plan};

/// Octets that a socket buffers each way.
const BUFFER: usize = 16_384;
/// Without an answer for so long a host gives a connection up, where connections may be lost.
const GIVE_UP: Duration = Duration::from_secs(30);
/// And where they may not: beyond two of the longest pauses between repetitions.
const GIVE_UP_LATE: Duration = Duration::from_secs(150);

thread_local! {
    /// Milliseconds for TCP timestamps, which are asked for without a parameter.
    static CLOCK: Cell<u32> = const { Cell::new(0) };
}

/// A host with smoltcp.
pub(super) struct Host {
    pub(super) address: IpAddr,
    name: u64,
    interface: Interface,
    wire: Wire,
    sockets: SocketSet<'static>,
    apps: Vec<(SocketHandle, App)>,
    /// Frames not yet handed to the stack.
    pending: VecDeque<Vec<u8>>,
    ports: Vec<u16>,
    /// Connections that gave way to others of their port.
    forgotten: Vec<(usize, Fate)>,
    isn: IsnShift,
    dice: Dice,
    near_wrap: bool,
    give_up: Option<Duration>,
    keeps_alive: bool,
    down: u64,
}

impl Host {
    /// A host that has just started for the `start`th time.
    pub(super) fn new(plan: &Plan, (name, address): (&str, IpAddr), start: u32) -> Self {
        let mut dice = Dice::new(plan.seed, &format!("host {name} {start}"));
        let mut wire = Wire::default();
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = u64::from(dice.word()) << 32 | u64::from(dice.word());
        let mut interface = Interface::new(config, &mut wire, Instant::ZERO);
        let length = if address.is_ipv4() { 8 } else { 16 };
        interface.update_ip_addrs(|addresses| {
            // The list has room for two.
            let _ = addresses.push(IpCidr::new(address.into(), length));
        });
        Self {
            address,
            name: u64::from(dice.word()) << 32,
            interface,
            wire,
            sockets: SocketSet::new(Vec::new()),
            apps: Vec::new(),
            pending: VecDeque::new(),
            ports: Vec::new(),
            forgotten: Vec::new(),
            isn: IsnShift::default(),
            near_wrap: plan.features.has(Feature::NearWrap),
            // A reset is sent once and may be lost: a server waits for its client in vain.
            give_up: match (plan.is_benign(), name) {
                (false, _) => Some(GIVE_UP),
                (true, "server") => Some(GIVE_UP_LATE),
                (true, _) => None,
            },
            keeps_alive: dice.chance(500),
            dice,
            down: plan.down,
        }
    }

    /// Listens on a port.
    pub(super) fn listen(&mut self, port: u16) {
        self.ports.push(port);
    }

    /// Opens a connection. Whatever this host still had on the port is forgotten.
    pub(super) fn connect(
        &mut self,
        (plan, number): (&Connection, usize),
        remote: SocketAddr,
        streams: &mut Streams,
    ) {
        let local = IpListenEndpoint { addr: Some(self.address.into()), port: plan.port };
        let old =
            |socket: &Socket<'_>| socket.local_endpoint().is_some_and(|end| end.port == plan.port);
        let Self { sockets, forgotten, .. } = self;
        self.apps.retain_mut(|(handle, app)| {
            let is_old = old(sockets.get::<Socket<'_>>(*handle));
            if is_old {
                sockets.remove(*handle);
                forgotten.extend(app.take_fate(State::Closed));
            }
            !is_old
        });
        let mut socket = self.socket();
        let remote = IpEndpoint::from(remote);
        if socket.connect(self.interface.context(), remote, local).is_ok() {
            let app = App::client(number, plan, streams);
            self.apps.push((self.sockets.add(socket), app));
        }
    }

    /// A frame for this host.
    pub(super) fn push(&mut self, mut frame: Vec<u8>) {
        if let Some((view, tcp)) = frame::tcp(&frame)
            && let Some(app) = self.app_of(tcp.dst_port, view.source())
        {
            app.stall.hear(&tcp);
        }
        self.isn.inbound(&mut frame);
        self.pending.push_back(frame);
    }

    /// Lets the host and its programs work. The frames that it sends, and when it wants to work
    /// again.
    pub(super) fn poll(
        &mut self,
        now: u64,
        streams: &mut Streams,
    ) -> Result<(Vec<Vec<u8>>, Option<u64>), Finding> {
        let instant = Instant::from_micros((now / 1000).cast_signed());
        // Timestamps wrap like the clock of any host.
        CLOCK.set((now / 1_000_000) as u32);
        while let Some(frame) = self.pending.pop_front() {
            self.take(frame, instant, streams);
        }
        for (handle, app) in &mut self.apps {
            app.step(self.sockets.get_mut::<Socket<'_>>(*handle), streams)?;
        }
        self.interface.poll(instant, &mut self.wire, &mut self.sockets);
        let next = self.interface.poll_at(instant, &self.sockets);
        let next = next.map(|at| at.total_micros().cast_unsigned() * 1000);
        let sent = std::mem::take(&mut self.wire.sent);
        let frames: Vec<_> = sent.iter().map(|packet| self.number(packet)).collect();
        for (view, tcp) in frames.iter().filter_map(|frame| frame::tcp(frame)) {
            if let Some(app) = self.app_of(tcp.src_port, view.destination()) {
                app.stall.say(&tcp);
            }
        }
        Ok((frames, next.map(|at| at.max(now + 1000))))
    }

    /// Connections of this host that have come to their end, the dead sockets taken away.
    pub(super) fn reap(&mut self) -> Vec<(usize, Fate)> {
        let mut fates = std::mem::take(&mut self.forgotten);
        let sockets = &mut self.sockets;
        self.apps.retain_mut(|(handle, app)| {
            let state = sockets.get::<Socket<'_>>(*handle).state();
            fates.extend(app.take_fate(state));
            // A socket whose SYN was reset listens again.
            let dead = matches!(state, State::Closed | State::Listen);
            if dead {
                sockets.remove(*handle);
            }
            !dead
        });
        fates
    }

    /// Connections that have not come to their end; those that wait for nothing but the
    /// acknowledgement of their FIN, or for time to pass, have.
    pub(super) fn live(&self) -> usize {
        let over = [State::LastAck, State::Closing, State::TimeWait];
        let state = |handle| self.sockets.get::<Socket<'_>>(handle).state();
        self.apps.iter().filter(|(handle, _)| !over.contains(&state(*handle))).count()
    }

    /// Resets the connections on which this stack stands still. The client's ends of them, as this
    /// host sees them.
    pub(super) fn free_stalled(&mut self, now: u64) -> Vec<SocketAddr> {
        let mut freed = Vec::new();
        for (handle, app) in &mut self.apps {
            let socket = self.sockets.get_mut::<Socket<'_>>(*handle);
            let closing = [State::FinWait1, State::Closing, State::LastAck];
            let is_due = socket.send_queue() > 0 || closing.contains(&socket.state());
            if app.stall.look(now, is_due) {
                let end = if app.is_client() {
                    socket.local_endpoint()
                } else {
                    socket.remote_endpoint()
                };
                freed.extend(end.map(SocketAddr::from));
                app.give_up(socket);
            }
        }
        freed
    }

    /// The connection between a port of this host and `remote`.
    fn app_of(&mut self, port: u16, remote: Option<SocketAddr>) -> Option<&mut App> {
        let remote = remote.map(IpEndpoint::from)?;
        let sockets = &self.sockets;
        let is_it = |handle| {
            let socket = sockets.get::<Socket<'_>>(handle);
            socket.remote_endpoint() == Some(remote)
                && socket.local_endpoint().is_some_and(|local| local.port == port)
        };
        self.apps.iter_mut().find(|(handle, _)| is_it(*handle)).map(|(_, app)| app)
    }

    /// A connection in words, for the report.
    pub(super) fn describe(&self) -> Vec<String> {
        let state = |handle| self.sockets.get::<Socket<'_>>(handle).state();
        self.apps.iter().map(|(handle, app)| format!("{:?} {app}", state(*handle))).collect()
    }

    /// Hands one frame to the stack. smoltcp gives a SYN to whichever socket comes first, so one
    /// listens only while the SYN of a new connection is taken.
    fn take(&mut self, mut frame: Vec<u8>, now: Instant, streams: &mut Streams) {
        let port = self.opened_port(&frame);
        let listener = port.map(|port| {
            let mut socket = self.socket();
            // Port 0 is none of those listened on, and the socket is new.
            let _ = socket.listen(port);
            (self.sockets.add(socket), port)
        });
        self.wire.received.push_back(frame.split_off(ETHERNET.min(frame.len())));
        self.interface.poll(now, &mut self.wire, &mut self.sockets);
        let Some((handle, port)) = listener else { return };
        if self.sockets.get::<Socket<'_>>(handle).state() == State::Listen {
            self.sockets.remove(handle);
            return;
        }
        let down = self.dice.within(self.down / 2 + 1, self.down + 1);
        let name = self.name + u64::from(self.dice.word());
        self.apps.push((handle, App::server(name, port, down, streams)));
    }

    /// The port on which a SYN opens a new connection, if this frame is one.
    fn opened_port(&mut self, bytes: &[u8]) -> Option<u16> {
        let (view, tcp) = frame::tcp(bytes)?;
        let known = self.app_of(tcp.dst_port, view.source()).is_some();
        let opens = tcp.flags.syn() && !tcp.flags.ack() && !known;
        (opens && self.ports.contains(&tcp.dst_port)).then_some(tcp.dst_port)
    }

    fn socket(&mut self) -> Socket<'static> {
        let buffer = || SocketBuffer::new(vec![0; BUFFER]);
        let mut socket = Socket::new(buffer(), buffer());
        socket.set_tsval_generator(self.dice.chance(500).then_some(|| CLOCK.get()));
        socket.set_nagle_enabled(self.dice.chance(500));
        socket.set_timeout(self.give_up);
        if self.give_up.is_some() || self.keeps_alive {
            socket.set_keep_alive(Some(Duration::from_secs(3)));
        }
        socket
    }

    /// The frame of a packet of this host, with the numbers that the plan wants.
    fn number(&mut self, packet: &[u8]) -> Vec<u8> {
        let mut frame = with_ethernet(packet);
        if self.near_wrap {
            let below = self.dice.below(40_000) as u32;
            self.isn.outbound(&mut frame, || u32::MAX - below);
        }
        frame
    }
}
