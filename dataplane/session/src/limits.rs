//! What one key may protect, and how long a session may wait. Owns: the numbers with their
//! derivation, the counter of one key. Not: who rekeys (key delivery).

use std::time::Duration;

use crate::packed::Packed;

/// Half-width of the window in which a sequence number is unwrapped, in octets.
///
/// The largest TCP window is 65535 · 2^14 < 2^30 (RFC 7323), so no honest segment lies farther
/// from its basis, and 2 · 2^30 < 2^32 keeps the answer unique.
pub const UNWRAP_WINDOW: u32 = 1 << 30;

/// Octets sealed under one key at which a rekey is due: 1/16 of [`REFUSE_BYTES`].
pub const REKEY_BYTES: u64 = 1 << 36;
/// Segments sealed under one key at which a rekey is due: 1/4 of [`REFUSE_SEGMENTS`].
pub const REKEY_SEGMENTS: u64 = 1 << 32;
/// Age of a key at which a rekey is due.
pub const REKEY_AGE: Duration = Duration::from_secs(3600);

/// Octets under one key at which sealing stops.
///
/// 2^36 AES blocks: the distance of AES from a random function is 2^72 / 2^129 = 2^-57.
pub const REFUSE_BYTES: u64 = 1 << 40;
/// Segments under one key at which sealing stops.
///
/// Two of them share a counter prefix (95 bits of synthetic IV) with chance 2^68 / 2^96 = 2^-28;
/// only then, and only where their counters meet, would a keystream block repeat.
pub const REFUSE_SEGMENTS: u64 = 1 << 34;

/// Idle limit of a session: above the hosts' own TCP keep-alive of 2 h (RFC 1122), so that a
/// connection which its hosts hold alive is never ended by us.
pub const IDLE: Duration = Duration::from_secs(3 * 3600);
/// How long a draining session still seals and opens.
///
/// A FIN or its ACK that was lost comes again after RTO, 2 RTO, 4 RTO …; at RTO = 0.6 s four
/// repeats fit. Longer would only hold table room: a tuple may be used anew meanwhile (hazard 15).
pub const LINGER: Duration = Duration::from_secs(10);
/// Default hold deadline of key delivery; TCP repeats its SYN after 1 s and 3 s, so not below 4 s.
pub const HOLD: Duration = Duration::from_secs(5);
/// What a worker waits beyond the hold deadline before it ends a session that the control thread
/// has forgotten.
pub const SETUP_MARGIN: Duration = Duration::from_secs(10);

/// The three waits of a session, from configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// From the SYN until synchronisation: hold deadline + [`SETUP_MARGIN`].
    pub setup: Duration,
    /// Without an authenticated or plain-side segment, once synchronised.
    pub idle: Duration,
    /// Of a draining session (M7.16).
    pub linger: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { setup: HOLD + SETUP_MARGIN, idle: IDLE, linger: LINGER }
    }
}

/// Answer to [`KeyUsage::charge`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Charge {
    /// Counted; seal.
    Within,
    /// Counted; seal, and have the session rekeyed.
    RekeyDue,
    /// Not counted; the segment must not be sealed (M3.11).
    Exhausted,
}

/// What was sealed under one key, retransmissions included.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyUsage {
    bytes: Packed<5>,
    segments: Packed<5>,
}

impl KeyUsage {
    /// A fresh key.
    pub const ZERO: Self = Self { bytes: Packed::ZERO, segments: Packed::ZERO };

    /// Counts one sealing of `len` payload octets, before it is done.
    #[inline]
    pub fn charge(&mut self, len: u16) -> Charge {
        let bytes = self.bytes.get() + u64::from(len);
        let segments = self.segments.get() + 1;
        if bytes >= REFUSE_BYTES || segments >= REFUSE_SEGMENTS {
            return Charge::Exhausted;
        }
        self.bytes.set(bytes);
        self.segments.set(segments);
        if bytes >= REKEY_BYTES || segments >= REKEY_SEGMENTS {
            Charge::RekeyDue
        } else {
            Charge::Within
        }
    }

    /// Payload octets sealed.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// Segments sealed.
    #[must_use]
    pub fn segments(&self) -> u64 {
        self.segments.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(bytes: u64, segments: u64) -> KeyUsage {
        let mut usage = KeyUsage::ZERO;
        usage.bytes.set(bytes);
        usage.segments.set(segments);
        usage
    }

    /// M3.11.
    #[test]
    fn byte_limits() {
        assert_eq!(used(0, 0).charge(1460), Charge::Within);
        assert_eq!(used(REKEY_BYTES - 11, 0).charge(10), Charge::Within);
        assert_eq!(used(REKEY_BYTES - 10, 0).charge(10), Charge::RekeyDue);
        assert_eq!(used(REFUSE_BYTES - 11, 0).charge(10), Charge::RekeyDue);
        assert_eq!(used(REFUSE_BYTES - 10, 0).charge(10), Charge::Exhausted);
    }

    /// M3.11.
    #[test]
    fn segment_limits() {
        assert_eq!(used(0, REKEY_SEGMENTS - 2).charge(0), Charge::Within);
        assert_eq!(used(0, REKEY_SEGMENTS - 1).charge(0), Charge::RekeyDue);
        assert_eq!(used(0, REFUSE_SEGMENTS - 1).charge(0), Charge::Exhausted);
    }

    #[test]
    fn an_exhausted_key_stays_exhausted() {
        let mut usage = used(REFUSE_BYTES - 1, 7);
        assert_eq!(usage.charge(1), Charge::Exhausted);
        assert_eq!((usage.bytes(), usage.segments()), (REFUSE_BYTES - 1, 7));
        assert_eq!(usage.charge(u16::MAX), Charge::Exhausted);
    }
}
