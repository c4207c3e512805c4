//! Property: a burst does what its frames would do one by one. The same frames go to two gateways
//! that have seen the same so far, to one as bursts and to the other as bursts of one: the same
//! frames leave in the same order, and counters, sessions and events are the same afterwards.

use proptest::collection::vec;
use proptest::prelude::*;
use sekisho_port::{PacketIo, PortSide};

use super::harness::*;
use super::segments::*;
use crate::WorkerSnapshot;
use crate::key_cache::KeyCache;

const SESSIONS: u16 = 5;
/// Octets of stream that the pieces are taken of.
const STREAM: u64 = 3000;

/// What comes in next, of one of the sessions.
#[derive(Clone, Debug)]
struct Piece {
    session: u16,
    kind: Kind,
    offset: u64,
    len: usize,
    acked: u64,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Data,
    Ack,
    Fin,
    Reset,
    /// A SYN with a new ISN: a candidate from here on.
    Syn,
    Urgent,
    /// Options that take the long way.
    Sack,
    /// A bit of the payload turned, the checksum mended.
    Forged,
    /// A bit turned.
    Corrupt,
    /// A segment of no session.
    Stranger,
    /// Far ahead in the sequence space.
    Far,
    Vlan,
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        16 => Just(Kind::Data),
        5 => Just(Kind::Ack),
        1 => Just(Kind::Fin),
        1 => Just(Kind::Reset),
        1 => Just(Kind::Syn),
        1 => Just(Kind::Urgent),
        1 => Just(Kind::Sack),
        3 => Just(Kind::Forged),
        3 => Just(Kind::Corrupt),
        1 => Just(Kind::Stranger),
        1 => Just(Kind::Far),
        1 => Just(Kind::Vlan),
    ]
}

fn piece() -> impl Strategy<Value = Piece> {
    let lens = prop_oneof![Just(1_usize), 1..40_usize, 100..1400_usize];
    (0..SESSIONS, kind(), 0..STREAM, lens, 0..STREAM)
        .prop_map(|(session, kind, offset, len, acked)| Piece { session, kind, offset, len, acked })
}

/// Bursts of one side each, by turns.
fn bursts() -> impl Strategy<Value = Vec<Vec<Piece>>> {
    vec(vec(piece(), 1..60), 1..7)
}

fn pair() -> Pair {
    let mut pair = Pair::new();
    for n in 0..SESSIONS {
        pair.client.set_port(1000 + n);
        pair.connect(CLIENT_ISN, SERVER_ISN, 1 + n as u8);
    }
    pair.gateway.events();
    // Fewer places than a burst has keys, now and then.
    pair.gateway.worker.keys = KeyCache::with_contexts(8);
    pair
}

/// The frames of a piece as they come in at the gateway.
fn frames(pair: &mut Pair, piece: &Piece, up: bool) -> Vec<Vec<u8>> {
    pair.client.set_port(1000 + piece.session);
    let payload: Vec<u8> = (0..piece.len)
        .map(|at| ((piece.offset as usize + at) % 251) as u8 ^ piece.session as u8)
        .collect();
    let offset = match piece.kind {
        Kind::Far => (1 << 29) - 70_000 + 40 * piece.offset,
        _ => piece.offset,
    };
    let bytes: &[u8] = match piece.kind {
        Kind::Ack | Kind::Reset => b"",
        _ => &payload,
    };
    let mut seg = if up {
        pair.client_data(offset, piece.acked, bytes)
    } else {
        pair.server_data(offset, piece.acked, bytes)
    };
    match piece.kind {
        Kind::Fin => seg.flags = FIN | ACK,
        Kind::Reset => seg.flags = RST | ACK,
        Kind::Syn if up => seg = pair.syn(piece.offset as u32),
        Kind::Syn => seg = pair.syn_ack(piece.offset as u32, piece.acked as u32),
        Kind::Urgent => (seg.flags, seg.urgent) = (ACK | URG, 1),
        Kind::Sack => {
            seg.options.extend([1, 1, 5, 18, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8])
        }
        Kind::Vlan => seg.vlan.push(7),
        _ => {}
    }
    if let Kind::Stranger = piece.kind {
        return vec![seg_of_nobody(seg, up)];
    }
    let built = seg.build();
    let mut frames = if up {
        pair.agent.take(PortSide::Plain, &built).into_iter().map(|(_, frame)| frame).collect()
    } else {
        vec![built]
    };
    for frame in &mut frames {
        match piece.kind {
            Kind::Forged => {
                *frame = forge(frame, |frame, tcp| {
                    let at = usize::from(tcp.payload.start);
                    if let Some(octet) = frame.get_mut(at) {
                        *octet ^= 0x10;
                    }
                });
            }
            Kind::Corrupt => {
                let at = 34 + (piece.acked as usize) % (frame.len() - 34);
                frame[at] ^= 0x10;
            }
            _ => {}
        }
    }
    frames
}

fn seg_of_nobody(mut seg: Seg, up: bool) -> Vec<u8> {
    if up { &mut seg.src } else { &mut seg.dst }.set_port(7);
    seg.build()
}

/// All numbers but those of turns and time, and of keys that had to be expanded.
fn numbers(mut snapshot: WorkerSnapshot) -> String {
    let tallies = &mut snapshot.tallies;
    (tallies.turns, tallies.busy_ns, tallies.idle_ns, tallies.key_expansions) = (0, 0, 0, 0);
    format!("{snapshot:?}")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_burst_does_what_its_frames_do_one_by_one(plan in bursts(), first_up: bool) {
        let (mut together, mut apart) = (pair(), pair());
        let mut up = first_up;
        for pieces in plan {
            let side = if up { PortSide::Cipher } else { PortSide::Plain };
            let mut burst: Vec<_> =
                pieces.iter().flat_map(|piece| frames(&mut together, piece, up)).collect();
            // What one turn receives.
            burst.truncate(60);
            let one_by_one: Vec<_> =
                burst.iter().flat_map(|frame| apart.gateway.take(side, frame)).collect();
            burst.iter().for_each(|frame| together.gateway.wire.push(side, frame));
            let at_once = together.gateway.turn();
            // `turn` lists one side behind the other; so must this.
            for side in PortSide::BOTH {
                let left = |out: &[(PortSide, Vec<u8>)]| -> Vec<Vec<u8>> {
                    out.iter().filter(|(at, _)| *at == side).map(|(_, bytes)| bytes.clone()).collect()
                };
                prop_assert_eq!(left(&at_once), left(&one_by_one));
            }
            prop_assert_eq!(numbers(together.gateway.snapshot()), numbers(apart.gateway.snapshot()));
            let (a, b) = (together.gateway.sessions(), apart.gateway.sessions());
            prop_assert_eq!(format!("{a:?}"), format!("{b:?}"));
            let (a, b) = (together.gateway.events(), apart.gateway.events());
            prop_assert_eq!(format!("{a:?}"), format!("{b:?}"));
            up = !up;
        }
        let held = |end: &End| (end.io.accounting().in_hand(), end.snapshot().balance());
        prop_assert_eq!(held(&together.gateway), held(&apart.gateway));
        prop_assert_eq!(together.gateway.snapshot().balance(), 0);
    }
}
