//! In-place changes of a parsed frame: a new option block with all lengths that follow from it, and
//! the urgent pointer. Moving the payload is the caller's part (the cipher pass does it).

use crate::bytes::{chunk_mut, put16};
use crate::checksum;
use crate::error::BuildError;
use crate::frame::{FrameView, Span, Transport};
use crate::ip::{IPV4_HEADER_LEN, IPV6_HEADER_LEN, IpKind};
use crate::layers::Layers;
use crate::options::OptionBlock;
use crate::tcp::{MAX_OPTIONS_LEN, TCP_HEADER_LEN, TcpFlags, TcpView};

/// Puts `block` in place of the options of a TCP frame and sets data offset, IP length and IPv4
/// header checksum for a payload of `payload_len` bytes behind it.
///
/// `frame` is the whole buffer, which may be longer than the frame. The payload must already stand
/// (or come to stand) at the `payload` of the view that is returned; the frame is then
/// [`FrameView::frame_len`] bytes long. The TCP checksum is left stale:
/// [`checksum::fill_transport`] comes last. On an error nothing has been written.
pub fn apply_options(
    frame: &mut [u8],
    view: &FrameView,
    block: &OptionBlock,
    payload_len: u16,
) -> Result<FrameView, BuildError> {
    let Transport::Tcp(tcp) = view.transport else { return Err(BuildError::NotTcp) };
    let options = block.as_bytes();
    let l4_end = resize_options(frame, view, options.len(), payload_len)?;
    let first = usize::from(view.l4) + TCP_HEADER_LEN;
    let start = first + options.len();
    let place = frame.get_mut(first..start).ok_or(BuildError::OutputTooSmall)?;
    place.copy_from_slice(options);
    // 20 to 60, a multiple of 4.
    let header_len = (TCP_HEADER_LEN + options.len()) as u8;
    let payload = Span { start: start as u16, len: payload_len };
    let transport = Transport::Tcp(TcpView { header_len, payload, ..tcp });
    let layers = Layers { l4_end, ..view.layers };
    Ok(FrameView { layers, transport, ..*view })
}

/// Sets data offset, IP length and IPv4 header checksum for options of `options_len` bytes and a
/// payload of `payload_len` behind them, of which nothing is written; returns the new `l4_end`,
/// which is the frame's length. The TCP checksum is left stale. On an error nothing has been
/// written.
#[inline(always)]
pub fn resize_options(
    frame: &mut [u8],
    layers: &Layers,
    options_len: usize,
    payload_len: u16,
) -> Result<u16, BuildError> {
    if !options_len.is_multiple_of(4) || options_len > MAX_OPTIONS_LEN {
        return Err(BuildError::BadOptions);
    }
    let l4 = usize::from(layers.l4);
    let end = l4 + TCP_HEADER_LEN + options_len + usize::from(payload_len);
    let l4_end = u16::try_from(end).map_err(|_| BuildError::TooLong)?;
    if end > frame.len() {
        return Err(BuildError::OutputTooSmall);
    }
    set_ip_len(frame, layers, end).ok_or(BuildError::OutputTooSmall)?;
    // 20 to 60, a multiple of 4.
    let header_len = (TCP_HEADER_LEN + options_len) as u8;
    let offset = frame.get_mut(l4 + 12).ok_or(BuildError::OutputTooSmall)?;
    *offset = (header_len / 4) << 4 | (*offset & 0x0F);
    Ok(l4_end)
}

/// IP length for a packet that ends at `end`. The IPv4 checksum is updated, not computed anew: a
/// header that came in corrupt goes out corrupt.
#[inline(always)]
fn set_ip_len(frame: &mut [u8], layers: &Layers, end: usize) -> Option<()> {
    let l3 = usize::from(layers.l3);
    match layers.ip {
        IpKind::V4 => {
            let new = u16::try_from(end.checked_sub(l3)?).ok()?;
            let header = chunk_mut::<IPV4_HEADER_LEN>(frame, l3)?;
            let old = u16::from_be_bytes([header[2], header[3]]);
            let sum = u16::from_be_bytes([header[10], header[11]]);
            [header[2], header[3]] = new.to_be_bytes();
            [header[10], header[11]] = checksum::update_u16(sum, old, new).to_be_bytes();
            Some(())
        }
        IpKind::V6 => {
            let new = u16::try_from(end.checked_sub(l3 + IPV6_HEADER_LEN)?).ok()?;
            put16(frame, l3 + 4, new)
        }
    }
}

/// Zeroes URG and the urgent pointer, in the frame and in the view (hazard 10, M3.9); answers whether
/// there was anything to zero. The TCP checksum is left stale.
#[inline]
pub fn clear_urgent(frame: &mut [u8], view: &mut FrameView) -> bool {
    let Transport::Tcp(tcp) = &mut view.transport else { return false };
    if tcp.urgent == 0 && !tcp.flags.contains(TcpFlags::URG) {
        return false;
    }
    let l4 = usize::from(tcp.l4);
    tcp.urgent = 0;
    tcp.flags = tcp.flags.without(TcpFlags::URG);
    if let Some(flags) = frame.get_mut(l4 + 13) {
        *flags &= !(TcpFlags::URG.0 as u8);
    }
    put16(frame, l4 + 18, 0).is_some()
}

#[cfg(test)]
mod tests;
