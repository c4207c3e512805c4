//! Raw Ethernet frames out of an interface of a namespace: forged, mangled and replayed traffic.
//! Owns one packet socket. It never receives: see `capture` for that.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, sendto, socket};

use super::namespace::Namespace;
use super::{LabError, LabResult};

/// A packet socket bound to nothing, with the address of the interface it sends from.
pub struct Injector {
    socket: OwnedFd,
    interface: LinkAddr,
}

impl Injector {
    /// Opens one for `interface` of `namespace`.
    pub fn open(namespace: &Namespace, interface: &str) -> LabResult<Self> {
        let what = format!("open a packet socket on {interface} of {}", namespace.name());
        namespace.enter(|| {
            // Protocol 0 (none): a socket that only sends, so that no queue fills unread.
            let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)
                .map_err(|error| LabError::io(what.clone())(error.into()))?;
            let found = getifaddrs()
                .map_err(|error| LabError::io(what.clone())(error.into()))?
                .filter(|entry| entry.interface_name == interface)
                .find_map(|entry| entry.address?.as_link_addr().copied());
            let interface =
                found.ok_or_else(|| LabError::Expectation(format!("{what}: no interface")))?;
            Ok(Self { socket, interface })
        })?
    }

    /// The interface's own MAC address.
    pub fn mac(&self) -> [u8; 6] {
        self.interface.addr().unwrap_or_default()
    }

    /// Sends one frame as it is, Ethernet header included. At least 14 bytes: the kernel refuses less.
    pub fn send(&self, frame: &[u8]) -> LabResult {
        sendto(self.socket.as_raw_fd(), frame, &self.interface, MsgFlags::empty())
            .map(drop)
            .map_err(|error| LabError::io(format!("send {} bytes", frame.len()))(error.into()))
    }
}
