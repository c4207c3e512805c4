//! Opening both ports, in the order that never lets a protected frame pass unfiltered.

use tracing::{info, warn};

use super::control::ControlledPort;
use super::{MIN_FRAMES, PortControl, PortError, PortPairConfig, PortReport};
use crate::device::{Device, DeviceError, PreparedDevice};
use crate::io::PortSide;
use crate::xdp::{
    Attachment, Filter, FilterError, MAX_QUEUES, PinPlace, ServiceMaps, XdpMode,
    prepare_pin_directory,
};
use crate::xsk::{AfXdpIo, SocketError, open_workers};

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
        let mut devices = open_devices(config)?;
        prepare_pin_directory(&config.pin_directory)?;
        let lock = |side: PortSide| {
            let interface = &config.interfaces[side.index()];
            PinPlace::lock(&config.pin_directory, interface).map_err(filter_error(config, side))
        };
        let [cipher_pin, plain_pin] = [lock(PortSide::Cipher)?, lock(PortSide::Plain)?];
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
            attach(cipher, indices[0], config, PortSide::Cipher, cipher_pin)?,
            attach(plain, indices[1], config, PortSide::Plain, plain_pin)?,
        ];

        for (device, other) in devices.iter_mut().zip(attachments.iter().rev()) {
            // A program in skb mode sends by any device.
            if other.mode() == XdpMode::Native {
                device.become_redirect_target();
            }
        }

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
    pin: PinPlace,
) -> Result<Attachment, PortError> {
    filter.attach(index, config.mode, pin).map_err(filter_error(config, side))
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
