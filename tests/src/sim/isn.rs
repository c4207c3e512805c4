//! Numbers of a TCP connection moved by a constant, as some firewalls do, or as a host would
//! have chosen them: near 2^32, so that a stream crosses the wrap. Owns the constants.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::frame;

/// Who sends, who receives.
type Ends = (SocketAddr, SocketAddr);

/// Constants by connection, for the numbers of one end of it.
#[derive(Default)]
pub(super) struct IsnShift(BTreeMap<Ends, Shift>);

struct Shift {
    isn: u32,
    by: u32,
}

impl IsnShift {
    /// A frame of the end whose numbers move. A SYN with a new ISN gets the ISN that `choose` says.
    pub(super) fn outbound(&mut self, bytes: &mut [u8], choose: impl FnOnce() -> u32) {
        let Some((view, tcp)) = frame::tcp(bytes) else { return };
        let (Some(src), Some(dst)) = (view.source(), view.destination()) else { return };
        let isn = tcp.seq.get();
        if tcp.flags.syn() && self.0.get(&(src, dst)).is_none_or(|shift| shift.isn != isn) {
            self.0.insert((src, dst), Shift { isn, by: choose().wrapping_sub(isn) });
        }
        if let Some(shift) = self.0.get(&(src, dst)) {
            frame::shift(bytes, shift.by, 0);
        }
    }

    /// A frame towards that end: what it acknowledges moves back.
    pub(super) fn inbound(&self, bytes: &mut [u8]) {
        let Some((view, _)) = frame::tcp(bytes) else { return };
        let (Some(src), Some(dst)) = (view.source(), view.destination()) else { return };
        if let Some(shift) = self.0.get(&(dst, src)) {
            frame::shift(bytes, 0, shift.by.wrapping_neg());
        }
    }
}
