//! The two ports of a box, opened in the order that never lets a protected frame pass unfiltered,
//! and what the control thread does with them afterwards.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::net::sockopt::xdp_statistics;
use thiserror::Error;
use tracing::{info, warn};

use crate::device::{Device, DeviceError, LinkState, PreparedDevice};
use crate::io::PortSide;
use crate::service::ServiceEntry;
use crate::xdp::{
    Attachment, Filter, FilterError, FilterPolicy, MAX_QUEUES, ModeChoice, ServiceDiff,
    ServiceMaps, XdpCounters, XdpMode, attached_program, pin_path, prepare_pin_directory,
};
use crate::xsk::{AfXdpIo, SocketError, open_workers};

/// What is needed to open both ports.
#[derive(Clone, Debug)]
pub struct PortPairConfig {
    /// Device names, by [`PortSide::index`].
    pub interfaces: [String; 2],
    /// The side that protected servers are behind: plain at a gateway, cipher at a client agent.
    pub servers_behind: PortSide,
    /// Workers, which is queues of each port.
    pub queues: usize,
    /// Frames of each worker, 4 KiB each.
    pub frames_per_queue: usize,
    /// Slots of each ring; a power of two.
    pub ring: u32,
    /// XDP mode.
    pub mode: ModeChoice,
    /// Where links are pinned; on a bpffs, or one is mounted there.
    pub pin_directory: PathBuf,
    /// What the XDP program is told.
    pub policy: FilterPolicy,
    /// What is protected.
    pub services: Vec<ServiceEntry>,
}

/// Why the ports could not be opened, changed or closed.
#[derive(Debug, Error)]
pub enum PortError {
    /// A device.
    #[error("{side} port {interface}: {error}")]
    Device {
        /// Which port.
        side: PortSide,
        /// Its device.
        interface: String,
        /// What is wrong.
        error: DeviceError,
    },
    /// The XDP program of one port.
    #[error("{side} port {interface}: {error}")]
    Filter {
        /// Which port.
        side: PortSide,
        /// Its device.
        interface: String,
        /// What is wrong.
        error: FilterError,
    },
    /// The XDP programs or tables of both ports.
    #[error(transparent)]
    Filters(#[from] FilterError),
    /// The sockets.
    #[error(transparent)]
    Sockets(#[from] SocketError),
    /// Both ports have one device.
    #[error("both ports are {interface}: two devices are needed")]
    SameDevice {
        /// The device.
        interface: String,
    },
    /// The MTUs differ.
    #[error("MTU {cipher} on the cipher port and {plain} on the plain port: they must be equal")]
    UnequalMtu {
        /// Bytes on the cipher port.
        cipher: u32,
        /// Bytes on the plain port.
        plain: u32,
    },
    /// Worker numbers outside of what the program's map holds.
    #[error("{queues} queues: 1 to {MAX_QUEUES} are possible")]
    QueueCount {
        /// Configured.
        queues: usize,
    },
    /// Too few frames to receive and send on both sides.
    #[error("{frames} frames for each worker: at least {MIN_FRAMES} are needed")]
    TooFewFrames {
        /// Configured.
        frames: usize,
    },
}

/// Fewer frames than this cannot hold a burst on each side in each direction.
pub const MIN_FRAMES: usize = 256;

/// One port as it was opened.
#[derive(Clone, Debug)]
pub struct PortReport {
    /// Device name.
    pub interface: String,
    /// The kernel's number of the device.
    pub index: u32,
    /// The XDP mode in use, which with `auto` may be the slower one.
    pub mode: XdpMode,
    /// True if the driver reads and writes frames without a copy.
    pub zero_copy: bool,
    /// True if a predecessor's pinned link was taken over.
    pub taken_over: bool,
    /// Bytes, Ethernet header not counted.
    pub mtu: u32,
    /// Offloads that were on and are off while the gateway runs.
    pub switched_off: Vec<String>,
    /// What is not as it should be.
    pub warnings: Vec<String>,
}

/// The kernel's statistics of the sockets of one port, all queues together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketStatistics {
    /// Received frames dropped for other reasons than the next two.
    pub rx_dropped: u64,
    /// Frames dropped because the receive ring was full: the worker is too slow.
    pub rx_ring_full: u64,
    /// Times that no free frame was there to receive into.
    pub rx_fill_empty: u64,
    /// Descriptors that the kernel refused, either direction: a bug.
    pub invalid_descriptors: u64,
}

struct ControlledPort {
    filter: Filter,
    // Before `device`: restored settings must not meet a running program.
    attachment: Attachment,
    device: PreparedDevice,
    sockets: Vec<OwnedFd>,
    /// Switched off because the other port has no carrier.
    held_down: bool,
    report: PortReport,
}

/// The control thread's hold on both ports. Dropped without [`detach`](Self::detach) it leaves
/// the programs attached and the devices as they are: protected traffic stays dropped.
pub struct PortControl {
    ports: [ControlledPort; 2],
    services: ServiceMaps,
}

/// Opens both ports. See [`PortPair::open`].
#[derive(Debug)]
pub struct PortPair;

impl PortPair {
    /// Checks and prepares both devices, loads the program twice, fills the tables, attaches and
    /// pins (or takes a predecessor's links over), opens the sockets of all queues, and makes sure
    /// that the programs attached are ours. Returns one [`AfXdpIo`] for each queue.
    ///
    /// CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF and CAP_SYS_ADMIN are needed here, and again in
    /// [`PortControl::detach`]; in between none is.
    ///
    /// # Errors
    /// On failure what was done is undone, but a predecessor's link that was taken over stays.
    pub fn open(config: &PortPairConfig) -> Result<(Vec<AfXdpIo>, PortControl), PortError> {
        check_numbers(config)?;
        let devices = open_devices(config)?;
        prepare_pin_directory(&config.pin_directory)?;
        let (mut filters, mut services) =
            Filter::load_pair(config.servers_behind, &config.pin_directory)?;
        services.update(&config.services)?;

        let indices = devices.each_ref().map(|d| d.device().index());
        for side in PortSide::BOTH {
            let peer = indices[side.other().index()];
            let filter = &mut filters[side.index()];
            let configured = filter.set_policy(&config.policy).and_then(|()| filter.set_peer(peer));
            configured.map_err(filter_error(config, side))?;
        }
        let [cipher, plain] = &mut filters;
        let attachments = [
            attach(cipher, indices[0], config, PortSide::Cipher)?,
            attach(plain, indices[1], config, PortSide::Plain)?,
        ];

        let names = config.interfaces.each_ref().map(String::as_str);
        let workers = open_workers(names, config.queues, config.frames_per_queue, config.ring)?;
        let mut control = assemble(filters, attachments, devices, services, &workers)?;
        for side in PortSide::BOTH {
            control.check_attached(side)?;
        }
        for port in &mut control.ports {
            port.attachment.keep();
            port.device.stay();
        }
        Ok((workers, control))
    }
}

fn check_numbers(config: &PortPairConfig) -> Result<(), PortError> {
    if config.interfaces[0] == config.interfaces[1] {
        return Err(PortError::SameDevice { interface: config.interfaces[0].clone() });
    }
    if !(1..=MAX_QUEUES).contains(&config.queues) {
        return Err(PortError::QueueCount { queues: config.queues });
    }
    if config.frames_per_queue < MIN_FRAMES {
        return Err(PortError::TooFewFrames { frames: config.frames_per_queue });
    }
    if !config.ring.is_power_of_two() {
        return Err(SocketError::RingSize { size: config.ring }.into());
    }
    Ok(())
}

fn device_error(config: &PortPairConfig, side: PortSide) -> impl Fn(DeviceError) -> PortError {
    let interface = config.interfaces[side.index()].clone();
    move |error| PortError::Device { side, interface: interface.clone(), error }
}

fn filter_error(config: &PortPairConfig, side: PortSide) -> impl Fn(FilterError) -> PortError {
    let interface = config.interfaces[side.index()].clone();
    move |error| PortError::Filter { side, interface: interface.clone(), error }
}

/// Both devices are looked at before either is changed.
fn open_devices(config: &PortPairConfig) -> Result<[PreparedDevice; 2], PortError> {
    let open = |side: PortSide| -> Result<(Device, u32), PortError> {
        let device =
            Device::open(&config.interfaces[side.index()]).map_err(device_error(config, side))?;
        let mtu = device.link_state().map_err(device_error(config, side))?.mtu;
        Ok((device, mtu))
    };
    let (cipher, cipher_mtu) = open(PortSide::Cipher)?;
    let (plain, plain_mtu) = open(PortSide::Plain)?;
    if cipher_mtu != plain_mtu {
        return Err(PortError::UnequalMtu { cipher: cipher_mtu, plain: plain_mtu });
    }
    let prepare = |device, side| {
        PreparedDevice::prepare(device, config.queues).map_err(device_error(config, side))
    };
    Ok([prepare(cipher, PortSide::Cipher)?, prepare(plain, PortSide::Plain)?])
}

fn attach(
    filter: &mut Filter,
    index: u32,
    config: &PortPairConfig,
    side: PortSide,
) -> Result<Attachment, PortError> {
    let pin = pin_path(&config.pin_directory, &config.interfaces[side.index()]);
    filter.attach(index, config.mode, &pin).map_err(filter_error(config, side))
}

fn assemble(
    filters: [Filter; 2],
    attachments: [Attachment; 2],
    devices: [PreparedDevice; 2],
    services: ServiceMaps,
    workers: &[AfXdpIo],
) -> Result<PortControl, PortError> {
    let mut sockets = [Vec::new(), Vec::new()];
    for worker in workers {
        for (list, socket) in sockets.iter_mut().zip(worker.descriptors()?) {
            list.push(socket);
        }
    }
    let build = |side, filter, attachment, device, sockets| -> Result<_, PortError> {
        let report = report(side, &attachment, &device, workers)?;
        Ok(ControlledPort { filter, attachment, device, sockets, held_down: false, report })
    };
    let [filter0, filter1] = filters;
    let [attachment0, attachment1] = attachments;
    let [device0, device1] = devices;
    let [sockets0, sockets1] = sockets;
    Ok(PortControl {
        ports: [
            build(PortSide::Cipher, filter0, attachment0, device0, sockets0)?,
            build(PortSide::Plain, filter1, attachment1, device1, sockets1)?,
        ],
        services,
    })
}

fn report(
    side: PortSide,
    attachment: &Attachment,
    prepared: &PreparedDevice,
    workers: &[AfXdpIo],
) -> Result<PortReport, PortError> {
    let device = prepared.device();
    let state = device.link_state().map_err(|error| PortError::Device {
        side,
        interface: device.name().to_owned(),
        error,
    })?;
    let report = PortReport {
        interface: device.name().to_owned(),
        index: device.index(),
        mode: attachment.mode(),
        zero_copy: workers.iter().all(|w| w.is_zero_copy(side)),
        taken_over: attachment.taken_over(),
        mtu: state.mtu,
        switched_off: prepared.switched_off(),
        warnings: prepared.warnings().to_vec(),
    };
    info!(
        %side,
        interface = report.interface,
        mode = report.mode.label(),
        zero_copy = report.zero_copy,
        taken_over = report.taken_over,
        "port open"
    );
    for warning in &report.warnings {
        warn!(%side, interface = report.interface, "{warning}");
    }
    Ok(report)
}

impl PortControl {
    fn port(&self, side: PortSide) -> &ControlledPort {
        &self.ports[side.index()]
    }

    fn device_error(&self, side: PortSide, error: DeviceError) -> PortError {
        PortError::Device { side, interface: self.port(side).report.interface.clone(), error }
    }

    /// How the port was opened.
    #[must_use]
    pub fn report(&self, side: PortSide) -> &PortReport {
        &self.port(side).report
    }

    /// Protects `services` and nothing else, from the next frame on, on both ports. Needs no
    /// capability.
    ///
    /// # Errors
    /// An impossible list is refused before anything changes; if the kernel refuses a change in
    /// the middle, more is protected than asked for, never less.
    pub fn update_services(&mut self, services: &[ServiceEntry]) -> Result<ServiceDiff, PortError> {
        Ok(self.services.update(services)?)
    }

    /// Makes `policy` that of both ports.
    ///
    /// # Errors
    /// The kernel refused the change.
    pub fn set_policy(&mut self, policy: &FilterPolicy) -> Result<(), PortError> {
        for port in &mut self.ports {
            port.filter.set_policy(policy)?;
        }
        Ok(())
    }

    /// What the XDP program of `side` did since it was loaded.
    ///
    /// # Errors
    /// The counters cannot be read.
    pub fn xdp_counters(&self, side: PortSide) -> Result<XdpCounters, PortError> {
        Ok(self.port(side).filter.counters()?)
    }

    /// The kernel's statistics of the sockets of `side`.
    #[must_use]
    pub fn socket_statistics(&self, side: PortSide) -> SocketStatistics {
        let mut sum = SocketStatistics::default();
        for socket in &self.port(side).sockets {
            // A socket whose device is gone has nothing to add.
            let Ok(one) = xdp_statistics(socket) else {
                continue;
            };
            sum.rx_dropped += one.rx_dropped;
            sum.rx_ring_full += one.rx_ring_full.unwrap_or(0);
            sum.rx_fill_empty += one.rx_fill_ring_empty_descs.unwrap_or(0);
            sum.invalid_descriptors += one.rx_invalid_descs + one.tx_invalid_descs;
        }
        sum
    }

    /// Whether the port of `side` can carry traffic.
    ///
    /// # Errors
    /// The device is gone.
    pub fn link_state(&self, side: PortSide) -> Result<LinkState, PortError> {
        let state = self.port(side).device.device().link_state();
        state.map_err(|error| self.device_error(side, error))
    }

    /// Passes the link's state through: a port is switched off while the other one has no
    /// carrier, so that hosts on both sides see what a cable between them would show. To be called
    /// about once a second; needs CAP_NET_ADMIN when something changed.
    ///
    /// # Errors
    /// A device is gone or cannot be switched.
    pub fn pass_link_state(&mut self) -> Result<(), PortError> {
        let states = [self.link_state(PortSide::Cipher)?, self.link_state(PortSide::Plain)?];
        for side in PortSide::BOTH {
            let (here, other) = (side.index(), side.other().index());
            // A port that is held down has no carrier of its own to pass on.
            let dark = !self.ports[other].held_down && !states[other].carrier;
            if self.ports[here].held_down == dark {
                continue;
            }
            let switched = self.ports[here].device.device().set_up(!dark);
            switched.map_err(|error| self.device_error(side, error))?;
            self.ports[here].held_down = dark;
            info!(%side, up = !dark, "link state passed through");
            // The other port's carrier is to be read afresh.
            break;
        }
        Ok(())
    }

    /// Makes sure that the program attached to the port of `side` is ours; returns its id.
    ///
    /// # Errors
    /// It is not, or cannot be asked for.
    pub fn check_attached(&mut self, side: PortSide) -> Result<u32, PortError> {
        let port = &mut self.ports[side.index()];
        let interface = port.report.interface.clone();
        let fail =
            |error: FilterError| PortError::Filter { side, interface: interface.clone(), error };
        let expected = port.filter.program_id().map_err(fail)?;
        let found = attached_program(port.report.index).map_err(|e| fail(e.into()))?;
        let found = found.map_or(0, |(id, _)| id);
        if found == expected {
            return Ok(found);
        }
        Err(fail(crate::xdp::AttachError::Replaced { expected, found }.into()))
    }

    /// Takes the programs off both ports and restores the devices; afterwards the kernel forwards
    /// nothing between them. The workers' sockets are to be closed first.
    ///
    /// # Errors
    /// The first thing that could not be undone; the rest is undone all the same, and what could
    /// not be restored of a device is logged.
    pub fn detach(self) -> Result<(), PortError> {
        let mut result = Ok(());
        for (side, port) in PortSide::BOTH.into_iter().zip(self.ports) {
            drop(port.sockets);
            if let Err(error) = port.attachment.detach() {
                let error = PortError::Filter {
                    side,
                    interface: port.report.interface.clone(),
                    error: error.into(),
                };
                warn!(%error, "not detached");
                result = result.and(Err(error));
            }
            if port.held_down {
                if let Err(error) = port.device.device().set_up(true) {
                    warn!(%side, %error, "the port stays down");
                }
            }
            for failure in port.device.restore() {
                warn!(%side, "{failure}");
            }
        }
        result
    }
}

impl std::fmt::Debug for PortControl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let reports = self.ports.each_ref().map(|port| &port.report);
        f.debug_struct("PortControl").field("ports", &reports).finish_non_exhaustive()
    }
}
