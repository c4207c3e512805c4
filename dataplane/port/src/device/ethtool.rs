//! Offloads and queues of a device, by the ethtool ioctls.

use std::io;

use super::ioctl::Ioctl;

const GDRVINFO: u32 = 0x03;
const GLINK: u32 = 0x0a;
const GSTRINGS: u32 = 0x1b;
const GSSET_INFO: u32 = 0x37;
const GFEATURES: u32 = 0x3a;
const SFEATURES: u32 = 0x3b;
const GCHANNELS: u32 = 0x3c;
/// The set of strings that names features.
const FEATURE_NAMES: u32 = 4;
const NAME_WORDS: usize = 8;

/// Features that would hide a tag from the XDP program, or hand over several segments as one.
const UNWANTED: [&str; 6] = [
    "rx-vlan-hw-parse",
    "tx-vlan-hw-insert",
    "rx-vlan-stag-hw-parse",
    "tx-vlan-stag-hw-insert",
    "rx-lro",
    "rx-gro-hw",
];

/// A feature's bit and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Feature {
    bit: usize,
    pub(super) name: String,
}

/// Unwanted features of a device.
#[derive(Debug, Default)]
pub(super) struct Unwanted {
    /// On, and the device can switch them.
    pub(super) switchable: Vec<Feature>,
    /// On for good.
    pub(super) fixed: Vec<Feature>,
}

/// Which of the unwanted features are on. A device without features has none.
pub(super) fn unwanted(ioctl: &Ioctl, interface: &str) -> io::Result<Unwanted> {
    let names = match feature_names(ioctl, interface) {
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
            return Ok(Unwanted::default());
        }
        names => names?,
    };
    let blocks = names.len().div_ceil(32);
    let mut buffer = vec![0_u32; 2 + 4 * blocks];
    buffer[0] = GFEATURES;
    buffer[1] = blocks as u32;
    // SAFETY: the kernel writes at most the `blocks` blocks of four words announced.
    unsafe { ioctl.ethtool(interface, &mut buffer) }?;
    let mut found = Unwanted::default();
    for (bit, name) in names.into_iter().enumerate() {
        let [available, _, active, never_changed] =
            std::array::from_fn(|field| buffer[2 + 4 * (bit / 32) + field] >> (bit % 32) & 1 == 1);
        if !active || !UNWANTED.contains(&name.as_str()) {
            continue;
        }
        let feature = Feature { bit, name };
        if available && !never_changed {
            found.switchable.push(feature);
        } else {
            found.fixed.push(feature);
        }
    }
    Ok(found)
}

/// Switches features of one device on or off.
pub(super) fn set(
    ioctl: &Ioctl,
    interface: &str,
    features: &[Feature],
    on: bool,
) -> io::Result<()> {
    let Some(highest) = features.iter().map(|f| f.bit).max() else {
        return Ok(());
    };
    // The kernel wants exactly as many blocks as it has.
    let blocks = feature_names(ioctl, interface)?.len().div_ceil(32);
    if highest >= blocks * 32 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut buffer = vec![0_u32; 2 + 2 * blocks];
    buffer[0] = SFEATURES;
    buffer[1] = blocks as u32;
    for feature in features {
        let mask = 1 << (feature.bit % 32);
        let block = 2 + 2 * (feature.bit / 32);
        buffer[block] |= mask;
        if on {
            buffer[block + 1] |= mask;
        }
    }
    // SAFETY: the kernel reads the `blocks` blocks of two words announced.
    unsafe { ioctl.ethtool(interface, &mut buffer) }
}

fn feature_names(ioctl: &Ioctl, interface: &str) -> io::Result<Vec<String>> {
    // cmd, reserved, mask of sets (u64), then one length for each set in the mask.
    let mut info = [0_u32; 5];
    info[0] = GSSET_INFO;
    let mask = (1_u64 << FEATURE_NAMES).to_ne_bytes();
    info[2] = u32::from_ne_bytes([mask[0], mask[1], mask[2], mask[3]]);
    info[3] = u32::from_ne_bytes([mask[4], mask[5], mask[6], mask[7]]);
    // SAFETY: one set is asked for, so one length follows the mask.
    unsafe { ioctl.ethtool(interface, &mut info) }?;
    let count = info[4] as usize;

    let mut buffer = vec![0_u32; 3 + NAME_WORDS * count];
    buffer[0] = GSTRINGS;
    buffer[1] = FEATURE_NAMES;
    buffer[2] = count as u32;
    // SAFETY: the kernel writes the `count` names of 32 bytes that it announced a moment ago; the
    // number of features is fixed for a running kernel.
    unsafe { ioctl.ethtool(interface, &mut buffer) }?;
    Ok(buffer[3..].chunks_exact(NAME_WORDS).map(name_of).collect())
}

fn name_of(words: &[u32]) -> String {
    let bytes: Vec<u8> =
        words.iter().flat_map(|w| w.to_ne_bytes()).take_while(|&b| b != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The driver's name; none if it does not say.
pub(super) fn driver(ioctl: &Ioctl, interface: &str) -> Option<String> {
    let mut buffer = [0_u32; 64];
    buffer[0] = GDRVINFO;
    // SAFETY: the command writes `struct ethtool_drvinfo`, 196 bytes, and the buffer is longer.
    unsafe { ioctl.ethtool(interface, &mut buffer) }.ok()?;
    Some(name_of(&buffer[1..=NAME_WORDS])).filter(|name| !name.is_empty())
}

/// How many receive queues the device uses; none if it does not say.
pub(super) fn receive_queues(ioctl: &Ioctl, interface: &str) -> Option<u32> {
    let mut buffer = [0_u32; 9];
    buffer[0] = GCHANNELS;
    // SAFETY: the command writes `struct ethtool_channels`, nine words.
    unsafe { ioctl.ethtool(interface, &mut buffer) }.ok()?;
    let [.., receive, _transmit, _other, combined] = buffer;
    Some(receive + combined)
}

/// Whether the other end is there now; none if the device does not say.
pub(super) fn carrier(ioctl: &Ioctl, interface: &str) -> Option<bool> {
    let mut buffer = [GLINK, 0];
    // SAFETY: the command writes `struct ethtool_value`, two words.
    unsafe { ioctl.ethtool(interface, &mut buffer) }.ok()?;
    Some(buffer[1] != 0)
}
