//! What XDP can do with a device, asked of the kernel's netlink family `netdev` (Linux 6.3).

use std::io;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};
use rustix::net::{recv, send, socket_with};

const NLM_F_REQUEST: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const GENL_ID_CTRL: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const NETDEV_CMD_DEV_GET: u8 = 1;
const NETDEV_A_DEV_IFINDEX: u16 = 1;
const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;
/// The device takes frames that another one's program redirects to it.
const NETDEV_XDP_ACT_NDO_XMIT: u64 = 4;

/// Lengths of the netlink header, of the generic one behind it, and of an attribute's.
const NETLINK_HEADER: usize = 16;
const GENERIC_HEADER: usize = 4;
const ATTRIBUTE_HEADER: usize = 4;

/// Whether native XDP can redirect frames to the device; none if the kernel does not say.
pub(super) fn is_redirect_target(index: u32) -> Option<bool> {
    let features = features(index).ok()??;
    Some(features & NETDEV_XDP_ACT_NDO_XMIT != 0)
}

fn features(index: u32) -> io::Result<Option<u64>> {
    let name = (CTRL_ATTR_FAMILY_NAME, &b"netdev\0"[..]);
    let reply = ask(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, name)?;
    let Some(family) = attribute(&reply, CTRL_ATTR_FAMILY_ID) else {
        return Ok(None);
    };
    let Ok(family) = family.try_into().map(u16::from_ne_bytes) else {
        return Ok(None);
    };
    let device = (NETDEV_A_DEV_IFINDEX, &index.to_ne_bytes()[..]);
    let reply = ask(family, NETDEV_CMD_DEV_GET, device)?;
    let features = attribute(&reply, NETDEV_A_DEV_XDP_FEATURES);
    Ok(features.and_then(|bytes| bytes.try_into().ok()).map(u64::from_ne_bytes))
}

/// One request with one attribute; the attributes of the answer.
fn ask(family: u16, command: u8, (kind, value): (u16, &[u8])) -> io::Result<Vec<u8>> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(netlink::GENERIC),
    )?;
    // The kernel answers at once; a limit all the same.
    set_socket_timeout(&socket, Timeout::Recv, Some(Duration::from_secs(1)))?;

    let attribute_len = ATTRIBUTE_HEADER + value.len();
    let len = NETLINK_HEADER + GENERIC_HEADER + attribute_len.next_multiple_of(4);
    let mut request = Vec::with_capacity(len);
    request.extend((len as u32).to_ne_bytes());
    request.extend(family.to_ne_bytes());
    request.extend(NLM_F_REQUEST.to_ne_bytes());
    // Sequence and port: one request on a socket of its own needs neither.
    request.extend([0; 8]);
    request.extend([command, 1, 0, 0]);
    request.extend((attribute_len as u16).to_ne_bytes());
    request.extend(kind.to_ne_bytes());
    request.extend(value);
    request.resize(len, 0);
    send(&socket, &request, SendFlags::empty())?;

    let mut answer = vec![0; 8192];
    let (received, _) = recv(&socket, &mut answer[..], RecvFlags::empty())?;
    answer.truncate(received);
    let malformed = || io::Error::from(io::ErrorKind::InvalidData);
    let &[a, b, c, d, kind_a, kind_b, ..] = &answer[..] else {
        return Err(malformed());
    };
    if u16::from_ne_bytes([kind_a, kind_b]) == NLMSG_ERROR {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let len = u32::from_ne_bytes([a, b, c, d]) as usize;
    let attributes = answer.get(NETLINK_HEADER + GENERIC_HEADER..len);
    Ok(attributes.ok_or_else(malformed)?.to_vec())
}

/// The value of the first attribute of a kind.
fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let &[len_a, len_b, kind_a, kind_b, ..] = attributes else {
            return None;
        };
        let len = usize::from(u16::from_ne_bytes([len_a, len_b]));
        if u16::from_ne_bytes([kind_a, kind_b]) == wanted {
            return attributes.get(ATTRIBUTE_HEADER..len);
        }
        if len < ATTRIBUTE_HEADER {
            return None;
        }
        attributes = attributes.get(len.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_found_and_broken_ones_end_the_search() {
        let list = [
            &5_u16.to_ne_bytes()[..],
            &7_u16.to_ne_bytes(),
            &[9, 0, 0, 0],
            &8_u16.to_ne_bytes(),
            &3_u16.to_ne_bytes(),
            &[1, 2, 3, 4],
        ]
        .concat();
        assert_eq!(attribute(&list, 7), Some(&[9][..]));
        assert_eq!(attribute(&list, 3), Some(&[1, 2, 3, 4][..]));
        assert_eq!(attribute(&list, 4), None);
        for cut in 0..list.len() {
            let _ = attribute(&list[..cut], 3);
        }
        assert_eq!(attribute(&[0, 0, 1, 0, 9, 9], 3), None);
    }

    #[test]
    fn loopback_is_no_target_and_a_missing_device_has_no_answer() {
        // A kernel before 6.3 answers neither.
        assert_ne!(is_redirect_target(1), Some(true));
        assert_eq!(is_redirect_target(u32::MAX - 1), None);
    }
}
