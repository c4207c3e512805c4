//! Changes to the frame in hand that are not ciphering: options of the handshake, the urgent
//! pointer, checksums, cut padding and payload. Owns how a frame is left; not when.

use sekisho_port::Frame;
use sekisho_wire::checksum::{self, Sum};
use sekisho_wire::edit::resize_options;
use sekisho_wire::options::MssChange;
use sekisho_wire::options::TAG_OPTION_LEN;
use sekisho_wire::tcp::TCP_HEADER_LEN;
use sekisho_wire::{
    FrameView, OptionBlock, Rewrite, Rewritten, TcpFlags, TcpView, apply_options, clear_urgent,
};

use crate::classify::{Received, Segment};
use crate::counters::WorkerCounters;
use crate::drop_reason::DropReason;

/// Puts the rewritten options into a SYN or SYN-ACK, without payload: data in a SYN is Fast Open's
/// and comes again (hazard 7).
pub(crate) fn handshake(
    frame: &mut Frame,
    segment: &Segment,
    rewrite: &Rewrite,
    counters: &WorkerCounters,
) -> Result<(), DropReason> {
    let done = options(frame, segment, rewrite)?;
    let tallies = counters.tallies();
    match done.changes.mss {
        MssChange::None => {}
        MssChange::Lowered(_) => tallies.mss_lowered.add(1),
        MssChange::Inserted(_) => tallies.mss_added.add(1),
    }
    let stripped = done.changes.fast_open_removed || done.changes.mptcp_removed;
    if stripped || segment.tcp.payload.len > 0 {
        tallies.handshake_stripped.add(1);
    }
    tallies.options_trimmed.add(u64::from(done.changes.gave_way()));
    apply(frame, segment, (&done.block, 0), Checksum::Stale, counters)
}

/// The options of `segment` rewritten; nothing is written to the frame yet.
pub(crate) fn options(
    frame: &Frame,
    segment: &Segment,
    rewrite: &Rewrite,
) -> Result<Rewritten, DropReason> {
    rewrite.apply(segment.tcp.options(frame.data()), &segment.options).map_err(
        |error| match error {
            sekisho_wire::OptionError::NoRoom => DropReason::OptionRoom,
            _ => DropReason::TcpOptions,
        },
    )
}

/// Cuts the payload of a segment, which goes on as a bare ACK (hazard 8).
pub(crate) fn cut_payload(
    frame: &mut Frame,
    segment: &Segment,
    rewrite: &Rewrite,
    counters: &WorkerCounters,
) -> Result<(), DropReason> {
    let done = options(frame, segment, rewrite)?;
    apply(frame, segment, (&done.block, 0), Checksum::Stale, counters)
}

/// Puts a rewritten `block` in place of the options of a segment that keeps `len` octets of payload.
pub(crate) fn apply(
    frame: &mut Frame,
    segment: &Segment,
    (block, len): (&OptionBlock, u16),
    checksum: Checksum,
    counters: &WorkerCounters,
) -> Result<(), DropReason> {
    let view = segment.view(frame.data())?;
    let view =
        apply_options(frame.buffer_mut(), &view, block, len).map_err(|_| DropReason::OptionRoom)?;
    finish(frame, view, checksum, counters);
    Ok(())
}

/// Whether a segment has an urgent pointer to be cleared.
pub(crate) fn is_urgent(tcp: &TcpView) -> bool {
    tcp.urgent != 0 || tcp.flags.contains(TcpFlags::URG)
}

/// How many octets of options stay in a segment that needs no other change than to have a tag put on
/// behind them, or taken off; `None` where it takes more.
#[inline(always)]
pub(crate) fn splice_point(segment: &Segment) -> Option<u8> {
    let plain = !is_urgent(&segment.tcp) && segment.received.header_sum().is_some();
    segment.options.splice_point().filter(|_| plain)
}

/// Puts a tag behind the first `keep` octets of options, which are all there were. The last step of
/// most segments that were sealed: what changes of the header is known, so its sum `header` as it
/// came is brought up to date, and `payload` is the new sum of the payload.
#[inline(always)]
pub(crate) fn append_tag(
    frame: &mut Frame,
    segment: &Segment,
    keep: u8,
    option: &[u8; TAG_OPTION_LEN],
    (header, payload): (Sum, u16),
) -> Result<(), DropReason> {
    let keep = usize::from(keep);
    let at = usize::from(segment.layers.l4) + TCP_HEADER_LEN + keep;
    let place = frame.buffer_mut().get_mut(at..).and_then(<[u8]>::first_chunk_mut);
    *place.ok_or(DropReason::OptionRoom)? = *option;
    let sum = header.word(TAG_WORDS).word(TAG_OPTION_LEN as u16).bytes(option).word(payload);
    end_options(frame, segment, keep + TAG_OPTION_LEN, sum)
}

/// Takes the tag off behind the first `keep` octets of options: the reverse of [`append_tag`].
#[inline(always)]
pub(crate) fn cut_tag(
    frame: &mut Frame,
    segment: &Segment,
    keep: u8,
    option: &[u8; TAG_OPTION_LEN],
    (header, payload): (Sum, u16),
) -> Result<(), DropReason> {
    let sum = header.word(!TAG_WORDS).word(!(TAG_OPTION_LEN as u16));
    let sum = sum.minus(Sum::of(option)).word(payload);
    end_options(frame, segment, usize::from(keep), sum)
}

/// Ends the options after `len` octets; `sum` is the segment's as it leaves, but for the checksum
/// that it came with.
#[inline(always)]
fn end_options(
    frame: &mut Frame,
    Segment { layers, tcp, .. }: &Segment,
    len: usize,
    sum: Sum,
) -> Result<(), DropReason> {
    let buffer = frame.buffer_mut();
    let end =
        resize_options(buffer, layers, len, tcp.payload.len).map_err(|_| DropReason::OptionRoom)?;
    checksum::put_tcp(buffer, layers, sum.word(!tcp.checksum));
    frame.set_len(usize::from(end));
    Ok(())
}

/// What a tag adds to the word of data offset and flags: four words of header.
const TAG_WORDS: u16 = (TAG_OPTION_LEN as u16 / 4) << 12;

/// What is known of the transport checksum that stands in the frame.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checksum {
    /// Verified on the way in and nothing changed since.
    Good,
    /// To be computed.
    Stale,
    /// To be computed from the headers and this sum of the payload.
    Payload(u16),
}

impl From<Received> for Checksum {
    /// Of a segment that goes on with the payload that it came with. One that was not verified
    /// keeps what it has, right or wrong (M3.10).
    fn from(received: Received) -> Self {
        match received {
            Received::Good | Received::Headers(_) => Self::Good,
            Received::Offloaded(_) => Self::Stale,
        }
    }
}

/// The last step of a segment that passes in clear: as it came, but for what offload left undone.
pub(crate) fn pass(frame: &mut Frame, view: &FrameView, checksum: Checksum) {
    if checksum != Checksum::Good {
        checksum::fill_transport(frame.buffer_mut(), view);
    }
    frame.set_len(view.frame_len());
}

/// The last step of a segment of a session that keeps its options and its payload.
pub(crate) fn pass_on(
    frame: &mut Frame,
    segment: &Segment,
    counters: &WorkerCounters,
) -> Result<(), DropReason> {
    let checksum = segment.received.into();
    if checksum == Checksum::Good && !is_urgent(&segment.tcp) {
        frame.set_len(segment.layers.frame_len());
    } else {
        finish(frame, segment.view(frame.data())?, checksum, counters);
    }
    Ok(())
}

/// The last step of every TCP segment that passes a session: no urgent pointer (hazard 10), a
/// checksum that holds, no Ethernet padding.
fn finish(frame: &mut Frame, mut view: FrameView, checksum: Checksum, counters: &WorkerCounters) {
    let cleared = clear_urgent(frame.buffer_mut(), &mut view);
    if cleared {
        counters.tallies().urgent_cleared.add(1);
    }
    match checksum {
        Checksum::Payload(sum) => {
            let sum = Sum::ZERO.word(sum);
            checksum::fill_tcp_with_payload_sum(frame.buffer_mut(), &view, sum);
        }
        Checksum::Good if !cleared => {}
        Checksum::Good | Checksum::Stale => {
            checksum::fill_transport(frame.buffer_mut(), &view);
        }
    }
    frame.set_len(view.frame_len());
}
