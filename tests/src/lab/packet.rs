//! A packet socket on one interface, for programs that stand in a cable: whole frames in and out,
//! without those that the machine itself sends. Owns the socket and no frame.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recvfrom, sendto,
    setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

use super::{LabError, LabResult};

/// Larger than any frame of the lab.
pub const LARGEST: usize = 4096;
/// `sll_pkttype` of frames that this machine sends: our own among them.
const OUTGOING: u8 = 4;
/// Holds what comes while the reader is not on the processor.
const BUFFER: usize = 8 << 20;

/// A packet socket bound to one interface.
pub struct PacketSocket {
    socket: OwnedFd,
    interface: LinkAddr,
}

impl PacketSocket {
    /// Opens one in the calling thread's namespace. [`PacketSocket::receive`] waits `turn_us`
    /// microseconds at most, and not at all for 0.
    pub fn open(interface: &str, turn_us: i64) -> LabResult<Self> {
        let io =
            |error: nix::Error| LabError::io(format!("packet socket on {interface}"))(error.into());
        let mut flags = SockFlag::SOCK_CLOEXEC;
        flags.set(SockFlag::SOCK_NONBLOCK, turn_us == 0);
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll)
            .map_err(io)?;
        let address = getifaddrs()
            .map_err(io)?
            .filter(|entry| entry.interface_name == interface)
            .find_map(|entry| entry.address?.as_link_addr().copied())
            .ok_or_else(|| LabError::Expectation(format!("no interface {interface}")))?;
        bind(socket.as_raw_fd(), &address).map_err(io)?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(0, turn_us)).map_err(io)?;
        setsockopt(&socket, sockopt::RcvBufForce, &BUFFER).map_err(io)?;
        setsockopt(&socket, sockopt::SndBufForce, &BUFFER).map_err(io)?;
        Ok(Self { socket, interface: address })
    }

    /// The next frame; none where there is none, and none for one that this machine sent.
    pub fn receive<'a>(&self, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
        let (length, from) = recvfrom::<LinkAddr>(self.socket.as_raw_fd(), buffer).ok()?;
        (from?.pkttype() != OUTGOING).then_some(&buffer[..length])
    }

    /// Sends a frame; whether the kernel took it.
    pub fn send(&self, frame: &[u8]) -> bool {
        sendto(self.socket.as_raw_fd(), frame, &self.interface, MsgFlags::empty()).is_ok()
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
