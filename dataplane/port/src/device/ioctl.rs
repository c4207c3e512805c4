//! The interface ioctls this crate needs, each as one safe function. It keeps no state.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use libc::{c_char, c_int, c_short, c_ulong};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

const SIOCGIFFLAGS: c_ulong = 0x8913;
const SIOCSIFFLAGS: c_ulong = 0x8914;
const SIOCGIFADDR: c_ulong = 0x8915;
const SIOCGIFMTU: c_ulong = 0x8921;
const SIOCETHTOOL: c_ulong = 0x8946;

/// Longest interface name, without the terminating zero.
const NAME_MAX: usize = 15;

/// `struct ifreq`: a name and a union of 24 bytes that begins with whatever the call uses.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Request {
    name: [u8; NAME_MAX + 1],
    value: [u8; 24],
}

/// A socket to ask about interfaces of the namespace it was opened in.
#[derive(Debug)]
pub(super) struct Ioctl {
    socket: OwnedFd,
}

impl Ioctl {
    pub(super) fn new() -> io::Result<Self> {
        let kind = SocketType::DGRAM;
        let socket = socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, None)?;
        Ok(Self { socket })
    }

    /// The interface's flags (`IFF_*`).
    pub(super) fn flags(&self, interface: &str) -> io::Result<c_int> {
        let request = self.call(SIOCGIFFLAGS, interface, &[])?;
        let flags = c_short::from_ne_bytes([request.value[0], request.value[1]]);
        Ok(c_int::from(flags) & 0xffff)
    }

    /// Sets or clears `IFF_UP`.
    pub(super) fn set_up(&self, interface: &str, up: bool) -> io::Result<()> {
        let old = self.flags(interface)?;
        let new = if up { old | libc::IFF_UP } else { old & !libc::IFF_UP };
        self.call(SIOCSIFFLAGS, interface, &(new as c_short).to_ne_bytes())?;
        Ok(())
    }

    /// The MTU in bytes, Ethernet header not counted.
    pub(super) fn mtu(&self, interface: &str) -> io::Result<u32> {
        let request = self.call(SIOCGIFMTU, interface, &[])?;
        let [a, b, c, d, ..] = request.value;
        Ok(u32::from_ne_bytes([a, b, c, d]))
    }

    /// True if the interface has an IPv4 address of its own.
    pub(super) fn has_ipv4_address(&self, interface: &str) -> bool {
        self.call(SIOCGIFADDR, interface, &[]).is_ok()
    }

    /// One ethtool command. `buffer` starts with the command's number and is as long as that
    /// command makes the kernel read and write.
    ///
    /// # Safety
    /// The kernel takes the length from the command and from counts within `buffer`: `buffer`
    /// must be at least as long as those say.
    pub(super) unsafe fn ethtool(&self, interface: &str, buffer: &mut [u32]) -> io::Result<()> {
        let address = buffer.as_mut_ptr().expose_provenance();
        self.call(SIOCETHTOOL, interface, &address.to_ne_bytes())?;
        Ok(())
    }

    fn call(&self, number: c_ulong, interface: &str, value: &[u8]) -> io::Result<Request> {
        let mut request = Request { name: [0; NAME_MAX + 1], value: [0; 24] };
        let name = interface.as_bytes();
        if name.is_empty() || name.len() > NAME_MAX || name.contains(&0) {
            return Err(io::Error::from_raw_os_error(libc::ENODEV));
        }
        request.name[..name.len()].copy_from_slice(name);
        request.value[..value.len()].copy_from_slice(value);
        let argument: *mut c_char = (&raw mut request).cast();
        // SAFETY: `request` has the size and layout of `struct ifreq` and lives through the call.
        // The one number whose value is a pointer is SIOCETHTOOL, for which `ethtool`'s caller
        // answers.
        let result = unsafe { libc::ioctl(self.socket.as_raw_fd(), number, argument) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(request)
    }
}
