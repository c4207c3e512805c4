//! The ICMP error of a router whose next link is too small for a packet (RFC 1191, RFC 8201).
//! Owns the bytes of that answer; who sends it and when is the lane's business.

use std::net::IpAddr;

use sekisho_wire::FrameView;
use sekisho_wire::checksum::{Sum, ipv4_header, pseudo_header};

const ETHERNET: usize = 14;
const ICMPV6: u8 = 58;
/// A router quotes as much as fits these packets (RFC 1812 §4.3.2.3, RFC 4443 §2.4).
const LARGEST_V4: usize = 576;
const LARGEST_V6: usize = 1280;

/// The error about the packet in `frame` for its sender, in the name of its receiver's address: the
/// box has none of its own. None where there must not be one (IPv4 without don't-fragment).
pub(super) fn answer(frame: &[u8], view: &FrameView, mtu: u16) -> Option<Vec<u8>> {
    let l3 = usize::from(view.l3);
    let packet = frame.get(l3..view.frame_len())?;
    let mut answer = frame.get(6..12)?.to_vec();
    answer.extend(frame.get(..6)?);
    answer.extend(frame.get(12..ETHERNET)?);
    match (view.src, view.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let dont_fragment = packet.get(6)? & 0x40 != 0;
            if !dont_fragment {
                return None;
            }
            let mut message = vec![3, 4, 0, 0, 0, 0];
            message.extend(mtu.to_be_bytes());
            message.extend(&packet[..packet.len().min(LARGEST_V4 - 28)]);
            let checksum = Sum::of(&message).finish();
            message[2..4].copy_from_slice(&checksum.to_be_bytes());
            let mut header = vec![0x45, 0xC0];
            header.extend((20 + message.len() as u16).to_be_bytes());
            header.extend([0, 0, 0, 0, 64, 1, 0, 0]);
            header.extend(dst.octets());
            header.extend(src.octets());
            let checksum = ipv4_header(&header);
            header[10..12].copy_from_slice(&checksum.to_be_bytes());
            answer.extend(header);
            answer.extend(message);
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let mut message = vec![2, 0, 0, 0];
            message.extend(u32::from(mtu).to_be_bytes());
            message.extend(&packet[..packet.len().min(LARGEST_V6 - 48)]);
            let length = message.len() as u16;
            let pseudo = pseudo_header(view.dst, view.src, ICMPV6, length);
            let checksum = pseudo.plus(Sum::of(&message)).finish();
            message[2..4].copy_from_slice(&checksum.to_be_bytes());
            answer.extend([0x60, 0, 0, 0]);
            answer.extend(length.to_be_bytes());
            answer.extend([ICMPV6, 64]);
            answer.extend(dst.octets());
            answer.extend(src.octets());
            answer.extend(message);
        }
        _ => return None,
    }
    Some(answer)
}
