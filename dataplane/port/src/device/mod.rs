//! The network devices behind the ports: checks, set-up and its undoing, link state. It knows no
//! rings and no XDP.

mod ethtool;
mod inspect;
mod ioctl;
mod netdev;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use thiserror::Error;
use tracing::warn;

use ethtool::Feature;
pub use inspect::{DeviceFacts, inspect};
use ioctl::Ioctl;

/// Largest MTU: a frame with two VLAN tags and our 16 bytes must fit a 4096-byte chunk with what
/// the drivers keep of it, and native XDP refuses more on veth.
pub const MAX_MTU: u32 = 3400;

/// What is wrong with a device, or could not be done to it.
#[derive(Debug, Error)]
pub enum DeviceError {
    /// No such device.
    #[error("there is no network device of this name: see `ip link`")]
    Missing,
    /// A call failed.
    #[error("{what}: {error}")]
    Call {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        error: io::Error,
    },
    /// The MTU is too large.
    #[error("MTU {mtu} is above {MAX_MTU}: `ip link set dev PORT mtu {MAX_MTU}` or less")]
    Mtu {
        /// The device's MTU.
        mtu: u32,
    },
    /// Queues and workers differ: traffic of a queue without a worker would be dropped.
    #[error(
        "the device uses {queues} receive queues, {workers} workers are configured: \
         `ethtool -L PORT combined {workers}` (veth: rx {workers} tx {workers}), or change \
         [workers] count"
    )]
    Queues {
        /// Receive queues in use.
        queues: u32,
        /// Workers.
        workers: usize,
    },
}

fn call<T>(what: &'static str, result: io::Result<T>) -> Result<T, DeviceError> {
    result.map_err(|error| match error.raw_os_error() {
        Some(libc::ENODEV | libc::ENXIO) => DeviceError::Missing,
        _ => DeviceError::Call { what, error },
    })
}

/// Whether a port can carry traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkState {
    /// Switched on by the operator.
    pub up: bool,
    /// The other end is there.
    pub carrier: bool,
    /// Bytes, Ethernet header not counted.
    pub mtu: u32,
}

/// One device of the namespace that this was opened in.
#[derive(Debug)]
pub(crate) struct Device {
    name: String,
    index: u32,
    ioctl: Ioctl,
}

impl Device {
    pub(crate) fn open(name: &str) -> Result<Self, DeviceError> {
        let kind = SocketType::DGRAM;
        let probe = socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, None);
        let probe = call("open a socket", probe.map_err(io::Error::from))?;
        let index = rustix::net::netdevice::name_to_index(probe, name);
        Ok(Self {
            name: name.to_owned(),
            index: call("look the device up", index.map_err(io::Error::from))?,
            ioctl: call("open a socket", Ioctl::new())?,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn index(&self) -> u32 {
        self.index
    }

    pub(crate) fn link_state(&self) -> Result<LinkState, DeviceError> {
        let flags = call("read the device's flags", self.ioctl.flags(&self.name))?;
        let up = flags & libc::IFF_UP != 0;
        // IFF_RUNNING follows the carrier up to a second late.
        let carrier =
            ethtool::carrier(&self.ioctl, &self.name).unwrap_or(flags & libc::IFF_RUNNING != 0);
        Ok(LinkState {
            up,
            carrier: up && carrier,
            mtu: call("read the device's MTU", self.ioctl.mtu(&self.name))?,
        })
    }

    pub(crate) fn set_up(&self, up: bool) -> Result<(), DeviceError> {
        call("switch the device on or off", self.ioctl.set_up(&self.name, up))
    }

    fn check(&self, workers: usize) -> Result<(), DeviceError> {
        let mtu = self.link_state()?.mtu;
        if mtu > MAX_MTU {
            return Err(DeviceError::Mtu { mtu });
        }
        match ethtool::receive_queues(&self.ioctl, &self.name) {
            Some(queues) if queues as usize != workers => {
                Err(DeviceError::Queues { queues, workers })
            }
            _ => Ok(()),
        }
    }
}

/// A device made ready for the gateway. Unless told to stay it undoes itself when dropped.
#[derive(Debug)]
pub(crate) struct PreparedDevice {
    device: Device,
    /// Keeps the device promiscuous as long as it is open.
    _promiscuous: OwnedFd,
    switched_off: Vec<Feature>,
    /// The switch of an IPv6 that was on. It is kept open: by its path it could not be found from
    /// another namespace, nor once file access is restricted.
    ipv6_switch: Option<File>,
    was_down: bool,
    warnings: Vec<String>,
    stay: bool,
}

impl PreparedDevice {
    /// Checks the device and makes it a bare wire: promiscuous, tags left in place, no segments
    /// put together, no IPv6 of the kernel's own (its MLD and DAD would leak onto the wire), up.
    pub(crate) fn prepare(device: Device, workers: usize) -> Result<Self, DeviceError> {
        device.check(workers)?;
        let membership = join_promiscuous(device.index);
        let mut prepared = Self {
            _promiscuous: call("make the device promiscuous", membership)?,
            device,
            switched_off: Vec::new(),
            ipv6_switch: None,
            was_down: false,
            warnings: Vec::new(),
            stay: false,
        };
        prepared.switch_offloads_off();
        prepared.switch_ipv6_off();
        if prepared.device.ioctl.has_ipv4_address(&prepared.device.name) {
            prepared.warnings.push("the port has an IPv4 address, which nothing reaches".into());
        }
        if !prepared.device.link_state()?.up {
            prepared.device.set_up(true)?;
            prepared.was_down = true;
        }
        Ok(prepared)
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// Names of the offloads that were on.
    pub(crate) fn switched_off(&self) -> Vec<String> {
        self.switched_off.iter().map(|f| f.name.clone()).collect()
    }

    /// What is not as it should be and yet no reason to stop.
    pub(crate) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Makes sure that the other port's program can redirect frames to this device, once our own
    /// is attached. A veth finds out what its far end can take only when it is switched on, so it
    /// is switched off and on where that may help; what is left is a warning.
    pub(crate) fn become_redirect_target(&mut self) {
        let device = &self.device;
        let is_target = || netdev::is_redirect_target(device.index) != Some(false);
        if is_target() {
            return;
        }
        if ethtool::driver(&device.ioctl, &device.name).as_deref() == Some("veth") {
            // Whatever fails here shows below.
            let _ = device.set_up(false).and_then(|()| device.set_up(true));
        }
        if !is_target() {
            self.warnings.push(
                "native XDP cannot send by this port: traffic that is not protected is lost (veth: \
                 `ethtool -K PEER gro on` at the far end, then restart; otherwise mode = \"skb\")"
                    .into(),
            );
        }
    }

    /// From now on the device stays as it is when this is dropped.
    pub(crate) fn stay(&mut self) {
        self.stay = true;
    }

    fn switch_offloads_off(&mut self) {
        let (ioctl, name) = (&self.device.ioctl, &self.device.name);
        let unwanted = match ethtool::unwanted(ioctl, name) {
            Ok(unwanted) => unwanted,
            Err(error) => {
                self.warnings.push(format!("offloads cannot be read: {error}"));
                return;
            }
        };
        for feature in &unwanted.fixed {
            self.warnings.push(format!("offload {} cannot be switched off", feature.name));
        }
        // One by one: a driver that refuses one refuses the whole request.
        for feature in unwanted.switchable {
            let off = ethtool::set(ioctl, name, std::slice::from_ref(&feature), false);
            match off {
                Ok(()) => self.switched_off.push(feature),
                Err(error) => {
                    let warning = format!("offload {} stays on: {error}", feature.name);
                    self.warnings.push(warning);
                }
            }
        }
    }

    fn switch_ipv6_off(&mut self) {
        match ipv6_off(&self.device.name) {
            Ok(switch) => self.ipv6_switch = switch,
            // A kernel without IPv6 leaks none.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self.warnings.push(format!("IPv6 stays on: {error}")),
        }
    }

    /// Puts everything back. Returns what could not be put back.
    pub(crate) fn restore(mut self) -> Vec<String> {
        self.stay = true;
        self.undo()
    }

    fn undo(&mut self) -> Vec<String> {
        let mut failed = Vec::new();
        let name = &self.device.name;
        if std::mem::take(&mut self.was_down)
            && let Err(error) = self.device.set_up(false)
        {
            failed.push(format!("{name} stays up: {error}"));
        }
        let features = std::mem::take(&mut self.switched_off);
        if let Err(error) = ethtool::set(&self.device.ioctl, name, &features, true) {
            failed.push(format!("offloads of {name} stay off: {error}"));
        }
        if let Some(mut switch) = self.ipv6_switch.take()
            && let Err(error) = switch.write_all(b"0")
        {
            failed.push(format!("IPv6 of {name} stays off: {error}"));
        }
        failed
    }
}

impl Drop for PreparedDevice {
    fn drop(&mut self) {
        if !self.stay {
            for failure in self.undo() {
                warn!("{failure}");
            }
        }
    }
}

/// Switches IPv6 off; gives its switch back if it was on.
fn ipv6_off(interface: &str) -> io::Result<Option<File>> {
    let path: PathBuf = ["/proc/sys/net/ipv6/conf", interface, "disable_ipv6"].iter().collect();
    if fs::read_to_string(&path)?.trim() == "1" {
        return Ok(None);
    }
    let mut switch = OpenOptions::new().write(true).open(path)?;
    switch.write_all(b"1")?;
    // A sysctl takes a value only at offset 0.
    switch.seek(SeekFrom::Start(0))?;
    Ok(Some(switch))
}

/// A packet socket that receives nothing and keeps the device promiscuous until it is closed.
fn join_promiscuous(index: u32) -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    let request = libc::packet_mreq {
        mr_ifindex: index as libc::c_int,
        mr_type: libc::PACKET_MR_PROMISC as libc::c_ushort,
        mr_alen: 0,
        mr_address: [0; 8],
    };
    // SAFETY: `request` is the structure that this option takes, and its size is the one given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_ADD_MEMBERSHIP,
            (&raw const request).cast(),
            size_of_val(&request) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(socket) } else { Err(io::Error::last_os_error()) }
}
