//! Looking at a device without changing it, for the operator's doctor.

use super::{Device, DeviceError, LinkState, ethtool, netdev};

/// What a device is like at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceFacts {
    /// The kernel's number of the device.
    pub index: u32,
    /// Link and MTU.
    pub link: LinkState,
    /// The driver's name, if it says.
    pub driver: Option<String>,
    /// Receive queues in use, if it says.
    pub receive_queues: Option<u32>,
    /// Offloads that are on and that a gateway switches off while it runs.
    pub switchable_offloads: Vec<String>,
    /// Offloads that are on, harmful and cannot be switched off.
    pub fixed_offloads: Vec<String>,
    /// Whether it has an IPv4 address of its own, which nothing will reach.
    pub has_ipv4_address: bool,
    /// Whether native XDP on the other port can send by this one, if the kernel says; some drivers
    /// can only while a program of their own is attached.
    pub is_redirect_target: Option<bool>,
}

/// Looks at a device of this namespace. Changes nothing and needs no privilege.
///
/// # Errors
/// If there is no such device, or it cannot be read.
pub fn inspect(interface: &str) -> Result<DeviceFacts, DeviceError> {
    let device = Device::open(interface)?;
    let unwanted = ethtool::unwanted(&device.ioctl, interface).unwrap_or_default();
    let names = |features: Vec<ethtool::Feature>| features.into_iter().map(|f| f.name).collect();
    Ok(DeviceFacts {
        index: device.index(),
        link: device.link_state()?,
        driver: ethtool::driver(&device.ioctl, interface),
        receive_queues: ethtool::receive_queues(&device.ioctl, interface),
        switchable_offloads: names(unwanted.switchable),
        fixed_offloads: names(unwanted.fixed),
        has_ipv4_address: device.ioctl.has_ipv4_address(interface),
        is_redirect_target: netdev::is_redirect_target(device.index()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_device_is_seen_and_a_missing_one_is_said_so() {
        let facts = inspect("lo").expect("every namespace has it");
        assert_eq!(facts.index, 1);
        assert!(matches!(inspect("no-such-device"), Err(DeviceError::Missing)));
    }
}
