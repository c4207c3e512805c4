//! What the control thread does with open ports: live changes, counters, link state, the end.

use std::os::fd::OwnedFd;

use rustix::net::sockopt::xdp_statistics;
use tracing::{info, warn};

use super::{PortError, PortReport, SocketStatistics};
use crate::device::{DeviceError, LinkState, PreparedDevice};
use crate::io::PortSide;
use crate::service::ServiceEntry;
use crate::xdp::{
    AttachError, Attachment, Filter, FilterError, FilterPolicy, ServiceDiff, ServiceMaps,
    XdpCounters, attached_program,
};

pub(super) struct ControlledPort {
    pub(super) filter: Filter,
    // Before `device`: restored settings must not meet a running program.
    pub(super) attachment: Attachment,
    pub(super) device: PreparedDevice,
    pub(super) sockets: Vec<OwnedFd>,
    /// Switched off because the other port has no carrier.
    pub(super) held_down: bool,
    pub(super) report: PortReport,
}

/// The control thread's hold on both ports. Dropped without [`detach`](Self::detach) it leaves
/// the programs attached and the devices as they are: protected traffic stays dropped.
pub struct PortControl {
    pub(super) ports: [ControlledPort; 2],
    pub(super) services: ServiceMaps,
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
        Err(fail(AttachError::Replaced { expected, found }.into()))
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
            if port.held_down
                && let Err(error) = port.device.device().set_up(true)
            {
                warn!(%side, %error, "the port stays down");
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
