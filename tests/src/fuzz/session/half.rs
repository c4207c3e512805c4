//! The model of a half-connection, after section 7 of the specification.

use sekisho_cipher::SegmentFlags;
use sekisho_session::{HalfConn, OffsetError, Origin, Placement};
use sekisho_wire::SeqNum;

use crate::fuzz::script::Script;

/// Half-width of the window of M7.5.
const WINDOW: i128 = 1 << 30;
/// The distance that `una` keeps at most.
const MOST_IN_FLIGHT: u64 = u32::MAX as u64;

/// One direction, in numbers that do not wrap.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    origin: Option<u32>,
    pub(super) high: u64,
    acked: u64,
    fin: bool,
}

impl Model {
    /// A direction whose SYN was seen, or none.
    pub(super) fn from_origin(origin: Option<u32>) -> Self {
        Self { origin, ..Self::default() }
    }

    /// One step on both.
    pub(super) fn step(&mut self, half: &mut HalfConn, script: &mut Script<'_>) {
        match script.u8() % 8 {
            0 => {
                let isn = script.one_of([0, 77, u32::MAX, 1 << 31]);
                let expected = match self.origin {
                    None => Origin::Fixed,
                    Some(fixed) if fixed == isn => Origin::Same,
                    Some(_) => Origin::Other,
                };
                assert_eq!(half.fix_origin(SeqNum::new(isn)), expected);
                self.origin.get_or_insert(isn);
            }
            1 | 2 => self.acknowledge(half, script),
            3 => self.open(half, script, false),
            4 | 5 => self.open(half, script, true),
            _ => self.seal(half, script),
        }
        assert_eq!((half.high(), half.acked()), (self.high, self.acked), "{self:?}");
        assert_eq!(half.has_fin(), self.fin);
        assert_eq!(half.fin_acked(), self.fin && self.acked == self.high);
    }

    /// A sequence number near the stream, or anywhere.
    fn seq(&self, script: &mut Script<'_>, from: u64) -> SeqNum {
        let near = i64::from(script.u8()) - 64;
        let near = match script.u8() {
            0..=127 => near,
            128..=191 => near << 6,
            192..=247 => near << 24,
            _ => i64::from(script.u32()),
        };
        let first = self.origin.unwrap_or_default().wrapping_add(1);
        // The low 32 bits of a sum that may be negative.
        SeqNum::new(first.wrapping_add((from as i64).wrapping_add(near) as u32))
    }

    fn segment(&self, script: &mut Script<'_>, from: u64) -> (SeqNum, u16, SegmentFlags) {
        let seq = self.seq(script, from);
        let how = script.u8();
        let len = match how & 3 {
            0 => 0,
            1 => 1,
            2 => u16::from(script.u8()),
            _ => script.u16(),
        };
        // A segment has one of the two at most.
        let fin = how & 0x70 == 0x10;
        (seq, len, SegmentFlags { fin, rst: !fin && how & 0x70 == 0x20 })
    }

    /// The number congruent to `seq` that lies nearest to `basis`.
    fn unwrap(&self, seq: SeqNum, basis: u64) -> Result<i128, OffsetError> {
        let isn = self.origin.ok_or(OffsetError::NoOrigin)?;
        let relative = i128::from(seq.get().wrapping_sub(isn.wrapping_add(1)));
        let basis = i128::from(basis);
        let lap = basis >> 32;
        (lap - 1..=lap + 1)
            .map(|lap| (lap << 32) + relative)
            .find(|offset| (offset - basis).abs() <= WINDOW)
            .ok_or(OffsetError::OutOfWindow)
    }

    fn fits_the_fin(&self, offset: u64, len: u16, flags: SegmentFlags) -> bool {
        let end = offset + u64::from(len) + u64::from(flags.fin);
        if len == 0 && !flags.fin {
            true
        } else if self.fin {
            // Before the FIN, or it once more.
            if flags.fin { end == self.high } else { end < self.high }
        } else {
            !flags.fin || end > self.high
        }
    }

    fn open(&mut self, half: &mut HalfConn, script: &mut Script<'_>, verifies: bool) {
        let (seq, len, flags) = self.segment(script, self.high);
        let expected = self.unwrap(seq, self.high).and_then(|offset| {
            let offset = u64::try_from(offset).map_err(|_| OffsetError::BelowZero)?;
            let fits = self.fits_the_fin(offset, len, flags);
            fits.then_some(offset).ok_or(OffsetError::BeyondFin)
        });
        let found = half.offset_to_open(seq, len, flags);
        assert_eq!(found, expected, "{self:?} {seq:?} {len} {flags:?}");
        if let (Ok(offset), true) = (found, verifies) {
            self.advance(half, offset, len, flags);
        }
    }

    fn seal(&mut self, half: &mut HalfConn, script: &mut Script<'_>) {
        let (seq, len, flags) = self.segment(script, self.acked);
        let may_be_keep_alive = len <= 1 && !flags.fin && !flags.rst;
        let expected =
            self.unwrap(seq, self.acked).and_then(|offset| match u64::try_from(offset) {
                Err(_) if offset == -1 && may_be_keep_alive => Ok(Placement::KeepAlive),
                Err(_) => Err(OffsetError::BelowZero),
                Ok(offset) if may_be_keep_alive && len == 1 && offset < self.acked => {
                    Ok(Placement::KeepAlive)
                }
                Ok(offset) => {
                    let fits = self.fits_the_fin(offset, len, flags);
                    fits.then_some(Placement::At(offset)).ok_or(OffsetError::BeyondFin)
                }
            });
        let found = half.offset_to_seal(seq, len, flags);
        assert_eq!(found, expected, "{self:?} {seq:?} {len} {flags:?}");
        if let Ok(Placement::At(offset)) = found {
            self.advance(half, offset, len, flags);
        }
    }

    fn advance(&mut self, half: &mut HalfConn, offset: u64, len: u16, flags: SegmentFlags) {
        half.advance(offset, len, flags);
        self.high = self.high.max(match (len, flags.fin) {
            (0, false) => 0,
            _ => offset + u64::from(len) + u64::from(flags.fin),
        });
        self.acked = self.acked.max(self.high.saturating_sub(MOST_IN_FLIGHT));
        self.fin |= flags.fin;
    }

    fn acknowledge(&mut self, half: &mut HalfConn, script: &mut Script<'_>) {
        let ack = self.seq(script, self.acked);
        let Some(isn) = self.origin else {
            assert!(!half.acknowledge(ack));
            return;
        };
        let relative = i128::from(ack.get().wrapping_sub(isn.wrapping_add(1)));
        let (lap, limits) = (self.high >> 32, i128::from(self.acked) + 1..=i128::from(self.high));
        let moved = (i128::from(lap) - 1..=i128::from(lap))
            .map(|lap| (lap << 32) + relative)
            .find(|offset| limits.contains(offset));
        assert_eq!(half.acknowledge(ack), moved.is_some(), "{self:?} {ack:?}");
        if let Some(moved) = moved {
            // Between `acked` and `high`.
            self.acked = moved as u64;
        }
    }
}
