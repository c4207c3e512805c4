//! Changes to one frame: bits, options, borders of segments. Owns lengths and checksums of what it
//! changes; a checksum that was wrong before stays wrong.

use sekisho_wire::checksum::{fill_transport, update_u16, verify_transport};
use sekisho_wire::{FrameView, IpKind, TcpFlags, parse_frame};

use super::random::Random;

const NOP: u8 = 1;
const IPV6_HEADER: usize = 40;
/// Offset of the flags in a TCP header.
const FLAGS_AT: usize = 13;
/// Offset of the sequence number in a TCP header.
pub(super) const SEQ_AT: usize = 4;
/// Offset of the acknowledgement number in a TCP header.
pub(super) const ACK_AT: usize = 8;

/// Runs `change` on the frame and makes the transport checksum right, if it was right before.
pub(super) fn with_checksum(
    frame: &mut [u8],
    view: &FrameView,
    change: impl FnOnce(&mut [u8]) -> bool,
) -> bool {
    let right = verify_transport(frame, view);
    let changed = change(frame);
    if changed && right {
        refill(frame);
    }
    changed
}

/// The transport checksum of the frame as it now stands.
fn refill(frame: &mut [u8]) {
    if let Ok(view) = parse_frame(frame) {
        fill_transport(frame, &view);
    }
}

/// Flips one bit of the transport header or payload, behind the ports. (A segment with another port
/// belongs to another service: protected or not is then another question.)
pub(super) fn corrupt(frame: &mut [u8], view: &FrameView, random: &mut Random) -> bool {
    flip(frame, usize::from(view.l4) + 4, view.frame_len(), random)
}

/// Flips one bit of the payload of a TCP segment and makes its checksum right.
pub(super) fn forge(frame: &mut [u8], view: &FrameView, random: &mut Random) -> bool {
    let Some(payload) = view.tcp().map(|tcp| tcp.payload) else { return false };
    with_checksum(frame, view, |frame| {
        flip(frame, usize::from(payload.start), payload.end(), random)
    })
}

fn flip(frame: &mut [u8], from: usize, end: usize, random: &mut Random) -> bool {
    let bits = 8 * end.saturating_sub(from) as u64;
    let bit = random.below(bits) as usize;
    match frame.get_mut(from + bit / 8) {
        Some(octet) if bits > 0 => {
            *octet ^= 1 << (bit % 8);
            true
        }
        _ => false,
    }
}

/// Sets "congestion experienced" in a packet that is ECN-capable; whether it was and had no mark.
pub(super) fn mark(frame: &mut [u8], view: &FrameView) -> bool {
    const CONGESTION: u8 = 0b11;
    let l3 = usize::from(view.l3);
    if matches!(view.traffic_class & CONGESTION, 0 | CONGESTION) {
        return false;
    }
    let old = get16(frame, l3);
    match view.ip {
        IpKind::V4 => {
            let new = old | u16::from(CONGESTION);
            let checksum = update_u16(get16(frame, l3 + 10), old, new);
            put16(frame, l3, new);
            put16(frame, l3 + 10, checksum);
        }
        // Version (4 bits), traffic class (8), flow label.
        IpKind::V6 => put16(frame, l3, old | u16::from(CONGESTION) << 4),
    }
    true
}

/// Offset in the frame, kind and length of each TCP option that has one.
pub(super) fn options(frame: &[u8], view: &FrameView) -> Vec<(usize, u8, usize)> {
    let Some(tcp) = view.tcp() else { return Vec::new() };
    let list = tcp.options(frame);
    let start = usize::from(tcp.l4) + 20;
    let (mut at, mut found) = (0, Vec::new());
    while let Some(&kind) = list.get(at) {
        match (kind, list.get(at + 1)) {
            (0, _) => break,
            (NOP, _) => at += 1,
            (_, Some(&length)) if length >= 2 && at + usize::from(length) <= list.len() => {
                found.push((start + at, kind, usize::from(length)));
                at += usize::from(length);
            }
            _ => break,
        }
    }
    found
}

/// Overwrites the options of these kinds with NOP, as firewalls do.
pub(super) fn strip(frame: &mut [u8], view: &FrameView, kinds: &[u8]) -> bool {
    let wanted: Vec<_> =
        options(frame, view).into_iter().filter(|(_, kind, _)| kinds.contains(kind)).collect();
    with_checksum(frame, view, |frame| {
        for &(at, _, length) in &wanted {
            frame[at..at + length].fill(NOP);
        }
        !wanted.is_empty()
    })
}

/// Cuts a segment with at least two octets of payload in two, each with all options.
pub(super) fn split(
    frame: &[u8],
    view: &FrameView,
    random: &mut Random,
) -> Option<(Vec<u8>, Vec<u8>)> {
    let tcp = view.tcp()?;
    let (start, length) = (usize::from(tcp.payload.start), usize::from(tcp.payload.len));
    if length < 2 || tcp.flags.intersects(TcpFlags::SYN | TcpFlags::RST | TcpFlags::URG) {
        return None;
    }
    let right = verify_transport(frame, view);
    let at = 1 + random.below(length as u64 - 1) as usize;
    let mut first = frame[..start + at].to_vec();
    // What ends the segment belongs to its second part.
    first[usize::from(tcp.l4) + FLAGS_AT] &= !((TcpFlags::FIN.0 | TcpFlags::PSH.0) as u8);
    let mut second = frame[..start].to_vec();
    second.extend(&frame[start + at..view.frame_len()]);
    add(&mut second, usize::from(tcp.l4) + SEQ_AT, at as u32);
    for part in [&mut first, &mut second] {
        set_ip_length(part, view);
        if right {
            refill(part);
        }
    }
    Some((first, second))
}

/// Adds to a 32-bit field, wrapping.
pub(super) fn add(frame: &mut [u8], at: usize, by: u32) {
    if let Some(field) = frame.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<4>()) {
        *field = u32::from_be_bytes(*field).wrapping_add(by).to_be_bytes();
    }
}

/// Writes a 16-bit field.
pub(super) fn put16(frame: &mut [u8], at: usize, value: u16) {
    if let Some(field) = frame.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<2>()) {
        *field = value.to_be_bytes();
    }
}

fn get16(frame: &[u8], at: usize) -> u16 {
    let field = frame.get(at..).and_then(|rest| rest.first_chunk::<2>());
    field.map_or(0, |field| u16::from_be_bytes(*field))
}

/// Makes the IP header say that the packet ends with the frame.
fn set_ip_length(frame: &mut [u8], view: &FrameView) {
    let l3 = usize::from(view.l3);
    let length = frame.len() - l3;
    match view.ip {
        IpKind::V4 => {
            let (old, checksum) = (get16(frame, l3 + 2), get16(frame, l3 + 10));
            put16(frame, l3 + 2, length as u16);
            put16(frame, l3 + 10, update_u16(checksum, old, length as u16));
        }
        IpKind::V6 => put16(frame, l3 + 4, (length - IPV6_HEADER) as u16),
    }
}
