//! What an ICMP error quotes of a packet is cut to where no payload is. Owns the cut; which errors
//! come here is the XDP program's to say, which of the network's go on `icmp_error`'s.
//!
//! The packet that a router or host of the plain side complains of was opened here. Quoted as it
//! was, up to 548 octets of its payload (1232 in IPv6) would leave in clear; and anybody on the
//! path can have it quoted, since nothing protects a TTL (M7.19).

use sekisho_port::Frame;
use sekisho_wire::quote::{ICMP_HEADER_LEN, QUOTED_TRANSPORT_LEN};
use sekisho_wire::{FrameView, IcmpView, IpKind, checksum, parse_frame};

use crate::drop_reason::DropReason;

/// Cuts the quotation of an ICMP error in place.
pub(crate) fn cut(frame: &mut Frame, view: &FrameView, icmp: &IcmpView) -> Result<(), DropReason> {
    if !is_error(view.ip, icmp.kind) {
        return Err(DropReason::UnexpectedProtocol);
    }
    let start = usize::from(icmp.message.start);
    let message = frame.data().get(icmp.message.range()).ok_or(DropReason::IcmpHeader)?;
    let quoted = message.get(ICMP_HEADER_LEN..).and_then(|quoted| quoted.first());
    let ip_header = match view.ip {
        IpKind::V4 => quoted.map_or(0, |first| usize::from(first & 0x0f) * 4),
        // Extension headers of a quoted packet are cut like payload: they are at least 8 octets.
        IpKind::V6 => 40,
    };
    let end = start + message.len().min(ICMP_HEADER_LEN + ip_header + QUOTED_TRANSPORT_LEN);
    cut_at(frame, view, icmp, end)
}

/// Ends an ICMP error at `end`, an offset in the frame within the message, with lengths and
/// checksums that say so.
pub(crate) fn cut_at(
    frame: &mut Frame,
    view: &FrameView,
    icmp: &IcmpView,
    end: usize,
) -> Result<(), DropReason> {
    let message = frame.data_mut().get_mut(icmp.message.range()).ok_or(DropReason::IcmpHeader)?;
    // Where RFC 4884 says how long the quotation is, in front of extensions that are cut as well.
    let length = match (view.ip, icmp.kind) {
        (IpKind::V4, 3 | 11 | 12) => Some(5),
        (IpKind::V6, 1 | 3) => Some(4),
        _ => None,
    };
    if let Some(octet) = length.and_then(|at| message.get_mut(at)) {
        *octet = 0;
    }
    shorten(frame, view, end)
}

fn is_error(ip: IpKind, kind: u8) -> bool {
    match ip {
        IpKind::V4 => matches!(kind, 3 | 4 | 5 | 11 | 12),
        IpKind::V6 => kind < 128,
    }
}

/// Ends the packet at `end`, with lengths and checksums that say so.
fn shorten(frame: &mut Frame, view: &FrameView, end: usize) -> Result<(), DropReason> {
    let l3 = usize::from(view.l3);
    let packet = u16::try_from(end - l3).map_err(|_| DropReason::LengthMismatch)?;
    let ip = frame.data_mut().get_mut(l3..).ok_or(DropReason::Truncated)?;
    let put = |ip: &mut [u8], at: usize, value: u16| {
        ip.get_mut(at..at + 2)
            .map(|field| field.copy_from_slice(&value.to_be_bytes()))
            .ok_or(DropReason::Truncated)
    };
    match view.ip {
        IpKind::V4 => {
            put(ip, 2, packet)?;
            let header = ip.get(..usize::from(view.l4) - l3).ok_or(DropReason::Truncated)?;
            let sum = checksum::ipv4_header(header);
            put(ip, 10, sum)?;
        }
        IpKind::V6 => put(ip, 4, packet - 40)?,
    }
    frame.set_len(end);
    let view = parse_frame(frame.data()).map_err(|_| DropReason::IcmpHeader)?;
    checksum::fill_transport(frame.data_mut(), &view);
    Ok(())
}
