//! One direction of a stream in 64-bit offsets (spec section 7).
//!
//! Owns: origin, highest offset, acknowledgement, FIN; the unwrapping of sequence numbers. Not:
//! keys, tags, nor the decision to drop.
//!
//! Offset 0 is the octet ISN + 1 (M7.2). FIN takes one offset behind the last octet. Everything is fed by
//! segments that were sealed here or verified here; a forged one reaches only `offset_to_open`,
//! which changes nothing (hazard 35).

use sekisho_cipher::SegmentFlags;
use sekisho_wire::SeqNum;
use thiserror::Error;

use crate::limits::UNWRAP_WINDOW;
use crate::packed::Packed;

/// Offset in the tag of a RST that answers a SYN: there is no server ISN to count from (hazard 39).
pub const RST_ANSWER_OFFSET: u64 = u64::MAX;

/// What [`HalfConn::fix_origin`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Origin {
    /// The first ISN: offsets now count from it.
    Fixed,
    /// The same ISN again: a retransmission.
    Same,
    /// Another ISN: the origin stays where it is, the segment is to be dropped (hazard 38).
    Other,
}

/// Where a segment lies in its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// Its first octet has this offset.
    At(u64),
    /// A keep-alive with or without a garbage octet: to lose its payload and go on as a bare ACK
    /// (hazard 8).
    KeepAlive,
}

/// Why a segment has no place. All are drops without any cipher work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OffsetError {
    /// No SYN or SYN-ACK of this direction was handed over yet.
    #[error("no origin: the direction's SYN was not seen")]
    NoOrigin,
    /// Farther than 2^30 from the basis.
    #[error("sequence number outside the window around the stream")]
    OutOfWindow,
    /// Before the first octet of the stream, and no keep-alive.
    #[error("sequence number before the first octet")]
    BelowZero,
    /// Data or FIN behind the FIN, or a FIN before data that were there already.
    #[error("data and FIN contradict each other")]
    BeyondFin,
    /// A RST can answer a SYN only before a SYN-ACK was handed over.
    #[error("reset in answer to a SYN after the SYN-ACK")]
    LateAnswer,
}

const ORIGIN: u8 = 1;
const FIN: u8 = 2;

/// One direction of a session: 17 octets.
///
/// `Copy` is kept off: a stale copy of the basis would accept what the session refuses.
pub struct HalfConn {
    /// End of the highest segment sealed or verified, FIN included.
    high: Packed<8>,
    /// `high` less the highest acknowledgement; stops at its maximum (see [`HalfConn::acked`]).
    in_flight: Packed<4>,
    isn: Packed<4>,
    flags: u8,
}

impl HalfConn {
    /// A direction of which nothing was seen.
    pub(crate) const NEW: Self =
        Self { high: Packed::ZERO, in_flight: Packed::ZERO, isn: Packed::ZERO, flags: 0 };

    /// Fixes the origin of offsets by the first SYN or SYN-ACK that is handed over (M7.3).
    pub fn fix_origin(&mut self, isn: SeqNum) -> Origin {
        match self.origin() {
            None => {
                self.isn.set32(isn.get());
                self.flags |= ORIGIN;
                Origin::Fixed
            }
            Some(fixed) if fixed == isn => Origin::Same,
            Some(_) => Origin::Other,
        }
    }

    /// The ISN that offsets count from.
    #[inline]
    #[must_use]
    pub fn origin(&self) -> Option<SeqNum> {
        (self.flags & ORIGIN != 0).then(|| SeqNum::new(self.isn.get32()))
    }

    /// End of the highest segment sealed or verified; counts a FIN as one.
    #[inline]
    #[must_use]
    pub fn high(&self) -> u64 {
        self.high.get()
    }

    /// The highest acknowledgement seen, `una`; never above [`HalfConn::high`].
    ///
    /// If 2^32 octets pass without one (its direction runs elsewhere) it is taken to follow at
    /// that distance: no window is larger than 2^30.
    #[inline]
    #[must_use]
    pub fn acked(&self) -> u64 {
        self.high.get().saturating_sub(self.in_flight.get())
    }

    /// True once a FIN was sealed or verified.
    #[inline]
    #[must_use]
    pub fn has_fin(&self) -> bool {
        self.flags & FIN != 0
    }

    /// True once a FIN was sealed or verified, and acknowledged.
    #[inline]
    #[must_use]
    pub fn fin_acked(&self) -> bool {
        self.has_fin() && self.in_flight.get32() == 0
    }

    /// The place of a segment to be sealed: unwrapped around the highest acknowledgement (M7.5, M7.7).
    ///
    /// Not for pure ACKs, which are not sealed.
    ///
    /// # Errors
    /// [`OffsetError`]: drop.
    #[inline]
    pub fn offset_to_seal(
        &self,
        seq: SeqNum,
        len: u16,
        flags: SegmentFlags,
    ) -> Result<Placement, OffsetError> {
        let offset = self.unwrap(seq, self.acked())?;
        let keep_alive = len <= 1 && !flags.fin && !flags.rst;
        match u64::try_from(offset) {
            Ok(offset) if keep_alive && len == 1 && offset < self.acked() => {
                Ok(Placement::KeepAlive)
            }
            Ok(offset) => self.check_end(offset, len, flags).map(|()| Placement::At(offset)),
            Err(_) if keep_alive && offset == -1 => Ok(Placement::KeepAlive),
            Err(_) => Err(OffsetError::BelowZero),
        }
    }

    /// The offset of a tagged segment: unwrapped around the highest verified offset (M7.5).
    ///
    /// # Errors
    /// [`OffsetError`]: drop.
    #[inline]
    pub fn offset_to_open(
        &self,
        seq: SeqNum,
        len: u16,
        flags: SegmentFlags,
    ) -> Result<u64, OffsetError> {
        let offset = self.unwrap(seq, self.high())?;
        let offset = u64::try_from(offset).map_err(|_| OffsetError::BelowZero)?;
        self.check_end(offset, len, flags)?;
        Ok(offset)
    }

    /// True if a segment at `seq` has the same offset, and the same right to it, whichever others
    /// that are near as well verify before it. Then they may be opened as one batch, their order
    /// kept.
    #[inline]
    #[must_use]
    pub fn is_near(&self, seq: SeqNum) -> bool {
        // Each of the others ends less than half a window above, so `high` stays within that, and
        // a distance from it within the whole window.
        let near = UNWRAP_WINDOW / 2 - (1 << 16);
        let relative = seq.get().wrapping_sub(low(self.high()).wrapping_add(self.isn.get32()));
        relative.wrapping_sub(1).cast_signed().unsigned_abs() < near
    }

    /// The offset of a RST without payload that answers a SYN: [`RST_ANSWER_OFFSET`]; `self` is
    /// the direction of the server (M7.4).
    ///
    /// # Errors
    /// [`OffsetError::LateAnswer`] once a SYN-ACK was handed over.
    pub fn offset_of_answer(&self) -> Result<u64, OffsetError> {
        match self.origin() {
            None => Ok(RST_ANSWER_OFFSET),
            Some(_) => Err(OffsetError::LateAnswer),
        }
    }

    /// Takes note of a segment that was sealed or verified at `offset`.
    ///
    /// `offset` is what `offset_to_seal` or `offset_to_open` gave for the same segment. A RST and
    /// [`RST_ANSWER_OFFSET`] leave no trace.
    #[inline(always)]
    pub fn advance(&mut self, offset: u64, len: u16, flags: SegmentFlags) {
        if offset == RST_ANSWER_OFFSET || (len == 0 && !flags.fin) {
            return;
        }
        let end = offset + u64::from(len) + u64::from(flags.fin);
        let high = self.high();
        if end > high {
            let in_flight = self.in_flight.get().saturating_add(end - high);
            self.in_flight.set(in_flight);
            self.high.set(end);
        }
        if flags.fin {
            self.flags |= FIN;
        }
    }

    /// Takes note of an acknowledgement of this direction; true if it is the highest so far.
    ///
    /// One below the last, or above what was sealed or verified, is ignored: it can be forged (M7.6).
    #[inline]
    pub fn acknowledge(&mut self, ack: SeqNum) -> bool {
        let Some(isn) = self.origin() else { return false };
        let first = isn.get().wrapping_add(1);
        let behind = low(self.high()).wrapping_sub(ack.get().wrapping_sub(first));
        if behind >= self.in_flight.get32() {
            return false;
        }
        self.in_flight.set32(behind);
        true
    }

    /// True if a segment with this sequence number can be under way: from the highest
    /// acknowledgement to the highest octet (RFC 5927, 4.1), or the SYN while it is all there is.
    /// An ICMP error that quotes another was not caused by this stream (M7.21).
    #[must_use]
    pub fn is_in_flight(&self, seq: SeqNum) -> bool {
        let Some(isn) = self.origin() else { return false };
        let first = isn.get().wrapping_add(1);
        let behind = low(self.high()).wrapping_sub(seq.get().wrapping_sub(first));
        behind <= self.in_flight.get32() || (self.high() == 0 && seq == isn)
    }

    /// True if a RST at `offset`, verified or sealed, ends the session (M7.15).
    ///
    /// The receiver takes it only at its next expected octet (RFC 5961), which lies between the
    /// last acknowledgement seen and the highest octet handed over, as acknowledgements are
    /// delayed. Elsewhere the receiver answers with a challenge and the sender's next RST fits.
    #[must_use]
    pub fn reset_takes_effect(&self, offset: u64) -> bool {
        self.acked() <= offset && offset <= self.high()
    }

    /// Signed offset of `seq`, nearest to `basis`.
    #[inline]
    fn unwrap(&self, seq: SeqNum, basis: u64) -> Result<i64, OffsetError> {
        let isn = self.origin().ok_or(OffsetError::NoOrigin)?;
        let relative = seq.get().wrapping_sub(isn.get().wrapping_add(1));
        let distance = relative.wrapping_sub(low(basis)).cast_signed();
        if distance.unsigned_abs() > UNWRAP_WINDOW {
            return Err(OffsetError::OutOfWindow);
        }
        // A stream reaches 2^63 after two and a half years at 1 Tbit/s.
        let basis = i64::try_from(basis).map_err(|_| OffsetError::OutOfWindow)?;
        basis.checked_add(i64::from(distance)).ok_or(OffsetError::OutOfWindow)
    }

    /// Refuses what cannot be if the FIN stands where it stands (M7.8).
    #[inline]
    fn check_end(&self, offset: u64, len: u16, flags: SegmentFlags) -> Result<(), OffsetError> {
        if len == 0 && !flags.fin {
            return Ok(());
        }
        let end = offset + u64::from(len) + u64::from(flags.fin);
        let high = self.high();
        let fits = match (self.has_fin(), flags.fin) {
            // `high` is the end of the FIN and data lie before it.
            (true, false) => end < high,
            (true, true) => end == high,
            (false, true) => end > high,
            (false, false) => true,
        };
        if fits { Ok(()) } else { Err(OffsetError::BeyondFin) }
    }
}

/// The low 32 bits of an offset: its sequence number relative to the origin.
#[inline]
fn low(offset: u64) -> u32 {
    // Truncation is what sequence numbers do.
    #[expect(clippy::cast_possible_truncation)]
    let low = offset as u32;
    low
}

#[cfg(test)]
mod tests;
