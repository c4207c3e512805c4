//! VLAN tags on a cable, by a program of our own (not every kernel has VLAN devices): frames get an inline
//! 802.1Q tag in one direction and lose it in the other. Owns two packet sockets and two threads.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recvfrom, sendto,
    setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

use super::forge::tagged;
use super::namespace::Namespace;
use super::{LabError, LabResult};

/// The tagger's interface whose frames have no tag.
pub const BARE: &str = "bare0";
/// The tagger's interface whose frames have one.
pub const TAGGED: &str = "tagged0";
/// `sll_pkttype` of frames that this machine sends: our own among them.
const OUTGOING: u8 = 4;
/// How often a thread looks whether it should end.
const TURN_MICROSECONDS: i64 = 100_000;
/// Larger than any frame of the lab.
const LARGEST: usize = 4096;

/// A running tagger; ends on drop.
pub struct Tagger {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Tagger {
    /// Joins [`BARE`] and [`TAGGED`] of `namespace`, with 802.1Q id `vlan` on the latter.
    pub fn start(namespace: &Namespace, vlan: u16) -> LabResult<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let bare = Arc::new(namespace.enter(|| PacketSocket::open(BARE))??);
        let with_tag = Arc::new(namespace.enter(|| PacketSocket::open(TAGGED))??);
        let relay = |from: &Arc<PacketSocket>, to: &Arc<PacketSocket>, tags: Vec<u16>| {
            let (from, to, stop) = (Arc::clone(from), Arc::clone(to), Arc::clone(&stop));
            std::thread::spawn(move || {
                let mut buffer = [0; LARGEST];
                while !stop.load(Ordering::Relaxed) {
                    // The kernel has already taken the tag of what comes from the tagged side.
                    if let Some(frame) = from.receive(&mut buffer) {
                        to.send(&tagged(frame, &tags));
                    }
                }
            })
        };
        let threads =
            vec![relay(&bare, &with_tag, vec![vlan]), relay(&with_tag, &bare, Vec::new())];
        Ok(Self { stop, threads })
    }
}

impl Drop for Tagger {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// A packet socket bound to one interface.
struct PacketSocket {
    socket: OwnedFd,
    interface: LinkAddr,
}

impl PacketSocket {
    fn open(interface: &str) -> LabResult<Self> {
        let io =
            |error: nix::Error| LabError::io(format!("packet socket on {interface}"))(error.into());
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll)
            .map_err(io)?;
        let address = getifaddrs()
            .map_err(io)?
            .filter(|entry| entry.interface_name == interface)
            .find_map(|entry| entry.address?.as_link_addr().copied())
            .ok_or_else(|| LabError::Expectation(format!("no interface {interface}")))?;
        bind(socket.as_raw_fd(), &address).map_err(io)?;
        let turn = TimeVal::new(0, TURN_MICROSECONDS);
        setsockopt(&socket, sockopt::ReceiveTimeout, &turn).map_err(io)?;
        setsockopt(&socket, sockopt::RcvBufForce, &(8 << 20)).map_err(io)?;
        Ok(Self { socket, interface: address })
    }

    /// The next frame that came in from outside; none after a turn without.
    fn receive<'a>(&self, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
        let (length, from) = recvfrom::<LinkAddr>(self.socket.as_raw_fd(), buffer).ok()?;
        (from?.pkttype() != OUTGOING).then_some(&buffer[..length])
    }

    /// Sends a frame; a cable that is full loses it, as cables do.
    fn send(&self, frame: &[u8]) {
        let _ = sendto(self.socket.as_raw_fd(), frame, &self.interface, MsgFlags::empty());
    }
}
