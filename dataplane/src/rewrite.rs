//! Changes to the frame in hand that are not ciphering: options of the handshake, the urgent
//! pointer, checksums, cut padding and payload. Owns how a frame is left; not when.

use sekisho_port::Frame;
use sekisho_wire::options::MssChange;
use sekisho_wire::{FrameView, Rewrite, Rewritten, apply_options, checksum, clear_urgent};

use crate::classify::Segment;
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
    count_trimmed(&done, counters);
    let view = apply_options(frame.buffer_mut(), &segment.view, &done.block, 0)
        .map_err(|_| DropReason::OptionRoom)?;
    finish(frame, view, Checksum::Stale, counters);
    Ok(())
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

pub(crate) fn count_trimmed(done: &Rewritten, counters: &WorkerCounters) {
    let changes = &done.changes;
    if changes.sack_blocks_trimmed > 0 || changes.acc_ecn_dropped || changes.unknown_dropped > 0 {
        counters.tallies().options_trimmed.add(1);
    }
}

/// Cuts the payload of a segment, which goes on as a bare ACK (hazard 8).
pub(crate) fn cut_payload(
    frame: &mut Frame,
    segment: &Segment,
    rewrite: &Rewrite,
    counters: &WorkerCounters,
) -> Result<(), DropReason> {
    let done = options(frame, segment, rewrite)?;
    let view = apply_options(frame.buffer_mut(), &segment.view, &done.block, 0)
        .map_err(|_| DropReason::OptionRoom)?;
    finish(frame, view, Checksum::Stale, counters);
    Ok(())
}

/// What is known of the transport checksum that stands in the frame.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checksum {
    /// Verified on the way in and nothing changed since.
    Good,
    /// To be computed.
    Stale,
}

/// The last step of a segment that passes in clear: as it came, but for what offload left undone.
pub(crate) fn pass(frame: &mut Frame, view: &FrameView, checksum: Checksum) {
    if checksum == Checksum::Stale {
        checksum::fill_transport(frame.buffer_mut(), view);
    }
    frame.set_len(view.frame_len());
}

/// The last step of every TCP segment that passes a session: no urgent pointer (hazard 10), a
/// checksum that holds, no Ethernet padding.
pub(crate) fn finish(
    frame: &mut Frame,
    mut view: FrameView,
    checksum: Checksum,
    counters: &WorkerCounters,
) {
    let cleared = clear_urgent(frame.buffer_mut(), &mut view);
    if cleared {
        counters.tallies().urgent_cleared.add(1);
    }
    if cleared || checksum == Checksum::Stale {
        checksum::fill_transport(frame.buffer_mut(), &view);
    }
    frame.set_len(view.frame_len());
}
