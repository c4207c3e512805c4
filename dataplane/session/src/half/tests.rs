//! Offsets of one direction: unwrapping, hazards 8, 12, 19, 35, 38 and 39, ends of streams.

use proptest::prelude::*;
use sekisho_cipher::SegmentFlags;
use sekisho_wire::SeqNum;

use super::{HalfConn, OffsetError, Origin, Placement, RST_ANSWER_OFFSET};
use crate::limits::UNWRAP_WINDOW;

const DATA: SegmentFlags = SegmentFlags { fin: false, rst: false };
const FIN: SegmentFlags = SegmentFlags { fin: true, rst: false };
const RST: SegmentFlags = SegmentFlags { fin: false, rst: true };

/// A direction whose origin is `isn`.
fn half(isn: u32) -> HalfConn {
    let mut half = HalfConn::NEW;
    assert_eq!(half.fix_origin(SeqNum::new(isn)), Origin::Fixed);
    half
}

/// The sequence number of an offset; −1 is the SYN's own.
fn seq(isn: u32, offset: i64) -> SeqNum {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    SeqNum::new(isn.wrapping_add(1).wrapping_add(offset as u32))
}

/// A direction in which everything up to `high` was handed over and acknowledged up to `acked`.
fn run_to(isn: u32, acked: u64, high: u64) -> HalfConn {
    let mut half = half(isn);
    for (from, to, ack) in [(0, acked, true), (acked, high, false)] {
        let mut at = from;
        while at < to {
            // Leaps of a window, as sparse stand-ins for the segments between.
            let next = to.min(at + u64::from(UNWRAP_WINDOW));
            let len = u16::try_from((next - at).min(1000)).unwrap();
            half.advance(next - u64::from(len), len, DATA);
            if ack {
                assert!(half.acknowledge(seq(isn, i64::try_from(next).unwrap())));
            }
            at = next;
        }
    }
    assert_eq!((half.acked(), half.high()), (acked, high));
    half
}

/// M7.3.
#[test]
fn the_first_syn_fixes_the_origin() {
    let mut half = half(77);
    assert_eq!(half.fix_origin(SeqNum::new(77)), Origin::Same);
    assert_eq!(half.fix_origin(SeqNum::new(78)), Origin::Other);
    assert_eq!(half.origin(), Some(SeqNum::new(77)));
    assert_eq!(half.offset_to_open(SeqNum::new(78), 1, DATA), Ok(0));
}

#[test]
fn nothing_has_a_place_before_the_syn() {
    let mut half = HalfConn::NEW;
    assert_eq!(half.offset_to_open(SeqNum::new(5), 1, DATA), Err(OffsetError::NoOrigin));
    assert_eq!(half.offset_to_seal(SeqNum::new(5), 1, DATA), Err(OffsetError::NoOrigin));
    assert!(!half.acknowledge(SeqNum::new(5)));
}

/// M7.4.
#[test]
fn a_reset_answers_a_syn_only_before_the_syn_ack() {
    let mut half = HalfConn::NEW;
    assert_eq!(half.offset_of_answer(), Ok(RST_ANSWER_OFFSET));
    half.advance(RST_ANSWER_OFFSET, 0, RST);
    assert_eq!(half.high(), 0);
    assert_eq!(half.fix_origin(SeqNum::new(1)), Origin::Fixed);
    assert_eq!(half.offset_of_answer(), Err(OffsetError::LateAnswer));
}

/// M7.2.
#[test]
fn sequence_numbers_wrap_at_the_isn() {
    for isn in [0, 1, u32::MAX, u32::MAX - 1, 1 << 31] {
        let mut half = half(isn);
        assert_eq!(half.offset_to_open(seq(isn, 0), 10, DATA), Ok(0));
        assert_eq!(half.offset_to_seal(seq(isn, 5), 10, DATA), Ok(Placement::At(5)));
        half.advance(0, 1000, DATA);
        assert!(half.acknowledge(seq(isn, 1000)));
        assert_eq!(half.acked(), 1000);
    }
}

#[test]
fn a_stream_beyond_four_gigabytes_goes_on() {
    // Around each multiple of 2^32, forwards and backwards (hazard 12).
    for turn in 1..40u64 {
        let isn = 0xdead_beef;
        let high = (turn << 32) + 3;
        let half = run_to(isn, high - 10, high);
        for offset in [high, high - 3, high - 4, high - 100_000, high + 100_000] {
            let sequence = seq(isn, i64::try_from(offset).unwrap());
            assert_eq!(half.offset_to_open(sequence, 2, DATA), Ok(offset));
            assert_eq!(half.offset_to_seal(sequence, 2, DATA), Ok(Placement::At(offset)));
        }
    }
}

/// M7.5.
#[test]
fn the_window_is_exact() {
    let isn = 9;
    let high = 6u64 << 32;
    let window = u64::from(UNWRAP_WINDOW);
    let acked = high - 5000;
    let half = run_to(isn, acked, high);
    let at = |offset: u64| seq(isn, i64::try_from(offset).unwrap());
    assert_eq!(half.offset_to_open(at(high + window), 1, DATA), Ok(high + window));
    assert_eq!(half.offset_to_open(at(high - window), 1, DATA), Ok(high - window));
    let out = Err(OffsetError::OutOfWindow);
    assert_eq!(half.offset_to_open(at(high + window + 1), 1, DATA), out);
    assert_eq!(half.offset_to_open(at(high - window - 1), 1, DATA), out);
    let out = Err(OffsetError::OutOfWindow);
    assert_eq!(half.offset_to_seal(at(acked + window), 2, DATA), Ok(Placement::At(acked + window)));
    assert_eq!(half.offset_to_seal(at(acked + window + 1), 2, DATA), out);
    assert_eq!(half.offset_to_seal(at(acked - window - 1), 2, DATA), out);
}

/// M7.7.
#[test]
fn keep_alives_lose_their_octet() {
    let isn = 4_000_000_000;
    let fresh = half(isn);
    // At offset −1: before the first octet was sent.
    for len in [0, 1] {
        assert_eq!(fresh.offset_to_seal(seq(isn, -1), len, DATA), Ok(Placement::KeepAlive));
    }
    assert_eq!(fresh.offset_to_seal(seq(isn, -1), 2, DATA), Err(OffsetError::BelowZero));
    assert_eq!(fresh.offset_to_seal(seq(isn, -2), 1, DATA), Err(OffsetError::BelowZero));
    assert_eq!(fresh.offset_to_seal(seq(isn, -1), 0, RST), Err(OffsetError::BelowZero));
    assert_eq!(fresh.offset_to_open(seq(isn, -1), 1, DATA), Err(OffsetError::BelowZero));

    let later = run_to(isn, 1000, 2000);
    let place = |offset, len, flags| later.offset_to_seal(seq(isn, offset), len, flags);
    assert_eq!(place(999, 1, DATA), Ok(Placement::KeepAlive));
    // Not acknowledged yet: a window probe or a retransmission, which is data (hazard 9).
    assert_eq!(place(1000, 1, DATA), Ok(Placement::At(1000)));
    // More than one octet is a retransmission, whoever has acknowledged it.
    assert_eq!(place(998, 2, DATA), Ok(Placement::At(998)));
    assert_eq!(place(998, 0, RST), Ok(Placement::At(998)));
}

/// M7.6.
#[test]
fn acknowledgements_are_monotone_and_bounded() {
    let isn = 1;
    let mut half = half(isn);
    half.advance(0, 1000, DATA);
    assert!(half.acknowledge(seq(isn, 400)));
    assert!(!half.acknowledge(seq(isn, 400)), "again");
    assert!(!half.acknowledge(seq(isn, 399)), "backwards");
    assert!(!half.acknowledge(seq(isn, 1001)), "above what was handed over");
    assert!(!half.acknowledge(seq(isn, 400 + (1 << 31))), "far away");
    assert_eq!(half.acked(), 400);
    assert!(half.acknowledge(seq(isn, 1000)));
    half.advance(200, 100, DATA);
    assert_eq!((half.acked(), half.high()), (1000, 1000), "a retransmission moves nothing");
}

#[test]
fn a_stream_without_acknowledgements_does_not_wrap() {
    let isn = 5;
    let mut half = half(isn);
    for giga in 1..=9u64 {
        half.advance((giga << 30) - 100, 100, DATA);
    }
    assert_eq!(half.high(), 9 << 30);
    // Taken to follow 2^32 − 1 behind, and still monotone and never above.
    assert_eq!(half.acked(), (9 << 30) - u64::from(u32::MAX));
    assert!(half.acknowledge(seq(isn, (9 << 30) - 7)));
    assert_eq!(half.acked(), (9 << 30) - 7);
}

/// M7.8.
#[test]
fn a_fin_takes_one_offset_and_ends_the_stream() {
    let isn = 100;
    let mut half = half(isn);
    half.advance(0, 50, DATA);
    assert_eq!(half.offset_to_seal(seq(isn, 20), 10, FIN), Err(OffsetError::BeyondFin));
    assert_eq!(half.offset_to_seal(seq(isn, 50), 10, FIN), Ok(Placement::At(50)));
    half.advance(50, 10, FIN);
    assert_eq!(half.high(), 61);
    assert!(half.has_fin() && !half.fin_acked());

    let place = |offset, len, flags| half.offset_to_open(seq(isn, offset), len, flags);
    assert_eq!(place(50, 10, FIN), Ok(50), "again");
    assert_eq!(place(60, 0, FIN), Ok(60), "again, with other borders");
    assert_eq!(place(55, 5, DATA), Ok(55), "data up to the FIN");
    assert_eq!(place(55, 6, DATA), Err(OffsetError::BeyondFin), "data in the FIN's place");
    assert_eq!(place(61, 1, DATA), Err(OffsetError::BeyondFin), "data behind it");
    assert_eq!(place(61, 0, FIN), Err(OffsetError::BeyondFin), "another FIN");
    assert_eq!(place(40, 10, FIN), Err(OffsetError::BeyondFin), "an earlier FIN");
    assert_eq!(place(61, 0, RST), Ok(61), "a reset has its place behind it");

    assert!(half.acknowledge(seq(isn, 60)));
    assert!(!half.fin_acked(), "data alone");
    assert!(half.acknowledge(seq(isn, 61)));
    assert!(half.fin_acked());
}

#[test]
fn data_that_overtook_each_other_before_a_fin() {
    let isn = 100;
    let mut half = half(isn);
    half.advance(1000, 500, FIN);
    assert_eq!(half.high(), 1501);
    assert_eq!(half.offset_to_open(seq(isn, 0), 1000, DATA), Ok(0));
    half.advance(0, 1000, DATA);
    assert_eq!(half.high(), 1501);
    assert!(half.acknowledge(seq(isn, 1501)) && half.fin_acked());
}

/// M7.15.
#[test]
fn a_reset_takes_effect_where_the_receiver_expects_it() {
    let half = run_to(3, 1000, 5000);
    for (offset, takes) in
        [(0, false), (999, false), (1000, true), (3000, true), (5000, true), (5001, false)]
    {
        assert_eq!(half.reset_takes_effect(offset), takes, "{offset}");
    }
    assert!(!half.reset_takes_effect(RST_ANSWER_OFFSET));
}

/// M7.21: what an ICMP error may quote.
#[test]
fn what_is_under_way_lies_between_acknowledgement_and_highest_octet() {
    assert!(!HalfConn::NEW.is_in_flight(SeqNum::new(0)));
    for isn in [0, 77, u32::MAX - 2000] {
        let mut half = half(isn);
        // The SYN alone.
        assert!(half.is_in_flight(seq(isn, -1)) && half.is_in_flight(seq(isn, 0)));
        assert!(!half.is_in_flight(seq(isn, -2)) && !half.is_in_flight(seq(isn, 1)));
        half.advance(0, 3000, DATA);
        let at = |half: &HalfConn, offset| half.is_in_flight(seq(isn, offset));
        assert_eq!(
            [-1, 0, 1500, 3000, 3001].map(|o| at(&half, o)),
            [false, true, true, true, false]
        );
        assert!(half.acknowledge(seq(isn, 1000)));
        assert_eq!(
            [0, 999, 1000, 3000, 3001].map(|o| at(&half, o)),
            [false, false, true, true, false]
        );
        assert!(!at(&half, 1 << 31) && !at(&half, 1 << 30));
    }
}

#[test]
fn asking_for_a_place_changes_nothing() {
    // Hazard 35: before a tag is verified only the asking has happened.
    let half = run_to(3, 1000, 5000);
    for offset in [0, 999, 5000, 1 << 29] {
        let _ = half.offset_to_open(seq(3, offset), 1400, FIN);
        let _ = half.offset_to_seal(seq(3, offset), 1400, FIN);
    }
    assert_eq!((half.acked(), half.high(), half.has_fin()), (1000, 5000, false));
}

proptest! {
    /// Whatever the ISN (hazard 19) and however long the stream, an offset within the window of
    /// its basis comes back from its sequence number.
    #[test]
    fn unwrapping_inverts_wrapping(
        isn in any::<u32>(),
        high in 0..1u64 << 36,
        behind in 0..1u64 << 30,
        distance in -(1i64 << 30)..=1 << 30,
    ) {
        let acked = high.saturating_sub(behind);
        let half = run_to(isn, acked, high);
        let expect = |basis: u64| {
            let offset = i64::try_from(basis).unwrap() + distance;
            (seq(isn, offset), u64::try_from(offset).map_err(|_| OffsetError::BelowZero))
        };
        // Two octets: too long for a keep-alive.
        let (sequence, offset) = expect(high);
        prop_assert_eq!(half.offset_to_open(sequence, 2, DATA), offset);
        let (sequence, offset) = expect(acked);
        prop_assert_eq!(half.offset_to_seal(sequence, 2, DATA), offset.map(Placement::At));
    }

    /// `acked` never falls and never passes `high`, whatever acknowledgements are forged.
    #[test]
    fn forged_acknowledgements_stay_in_bounds(
        isn in any::<u32>(),
        steps in prop::collection::vec((0..100_000u64, any::<u16>(), any::<u32>()), 1..100),
    ) {
        let mut half = half(isn);
        let mut last = 0;
        for (gap, len, ack) in steps {
            half.advance(half.high() + gap, len, DATA);
            half.acknowledge(SeqNum::new(ack));
            prop_assert!(last <= half.acked() && half.acked() <= half.high());
            last = half.acked();
        }
    }
}

proptest! {
    #[test]
    fn what_is_near_has_its_offset_whatever_verifies_before_it(
        isn: u32,
        high in prop_oneof![0..5_000_u64, 0..1_u64 << 40],
        steps in proptest::collection::vec((any::<i32>(), 0..1500_u16), 1..20),
    ) {
        let near = |half: &HalfConn, (by, _): &(i32, u16)| half.is_near(seq(isn, high as i64 + i64::from(*by / 2)));
        let mut half = run_to(isn, high.saturating_sub(1000), high);
        let steps: Vec<_> = steps.into_iter().filter(|step| near(&half, step)).collect();
        let at = |half: &HalfConn, (by, len): (i32, u16)| {
            half.offset_to_open(seq(isn, high as i64 + i64::from(by / 2)), len, DATA)
        };
        let decided: Vec<_> = steps.iter().map(|step| at(&half, *step)).collect();
        for (step, decided) in steps.into_iter().zip(decided) {
            prop_assert_eq!(at(&half, step), decided);
            if let Ok(offset) = decided {
                half.advance(offset, step.1, DATA);
            }
        }
    }
}
