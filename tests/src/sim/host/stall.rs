//! Whether a stack stands still: it has something to say on a connection and does not say it. Owns
//! what one connection has heard and said; that a host says something and is not heard is none of
//! its business, for that is what the simulation looks for.
//!
//! A TCP with anything unacknowledged repeats it, or probes, within its longest pause. smoltcp 0.14
//! does not where its timer is idle by mistake: after a fast retransmission that finds nothing in
//! the buffer because only the FIN is out, and after a window of zero that comes while the
//! retransmission timer runs. The tests of this module show both.

use sekisho_wire::TcpView;

use crate::sim::schedule::SECOND;

/// A stack that has something to say says it within this time: smoltcp's longest pause is 60 s.
pub(super) const STALL: u64 = 70 * SECOND;

/// What one connection has heard and said.
#[derive(Default)]
pub(super) struct Stall {
    /// The highest end of what was sent, and of what was acknowledged.
    sent: Option<u32>,
    acked: Option<u32>,
    silent_since: Option<u64>,
}

/// Whether `seq` is beyond `mark`, or there is no mark.
fn is_beyond(seq: u32, mark: Option<u32>) -> bool {
    mark.is_none_or(|mark| seq.wrapping_sub(mark).cast_signed() > 0)
}

impl Stall {
    /// A segment for this connection came.
    pub(super) fn hear(&mut self, tcp: &TcpView) {
        let ack = tcp.ack.get();
        // What was never sent nobody has: such an acknowledgement is forged.
        if tcp.flags.ack() && is_beyond(ack, self.acked) && !is_beyond(ack, self.sent) {
            self.acked = Some(ack);
        }
    }

    /// This connection sent a segment. Bare acknowledgements and keep-alives say nothing: all that
    /// they hold is acknowledged.
    pub(super) fn say(&mut self, tcp: &TcpView) {
        let end = tcp.seq.get().wrapping_add(tcp.sequence_len());
        if is_beyond(end, self.sent) {
            self.sent = Some(end);
        }
        let is_news = tcp.sequence_len() > 0 && is_beyond(end, self.acked);
        if is_news || tcp.flags.syn() || tcp.flags.rst() {
            self.silent_since = None;
        }
    }

    /// Looks at the connection every now and then; `is_due`: there is something to say. Whether it
    /// has not been said for [`STALL`].
    pub(super) fn look(&mut self, now: u64, is_due: bool) -> bool {
        if !is_due {
            self.silent_since = None;
            return false;
        }
        now >= self.silent_since.get_or_insert(now).saturating_add(STALL)
    }
}
