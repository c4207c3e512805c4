//! A million segments of an attacker who holds many true ones: changed, moved, cut, lengthened,
//! spliced, reflected. None is accepted, and none moves a session (M3.4, M3.8, hazard 35).

use std::collections::BTreeMap;

use sekisho_port::PortSide;

use super::harness::*;
use super::segments::*;
use crate::{DropReason, SessionRow};

const FORGERIES: usize = 1_000_000;
/// One burst of a worker.
const BATCH: usize = 64;
/// The tag option is behind the timestamps: kind, length, ExID, tag.
const PHASE_AT: usize = TIMESTAMPS.len() + 3;
const TAG_AT: usize = TIMESTAMPS.len() + 4;
const TAG_LEN: usize = 12;

/// A segment as it was sealed, and which way it went.
#[derive(Clone, Debug)]
struct Sealed {
    session: usize,
    up: bool,
    seg: Seg,
}

impl Sealed {
    fn new(session: usize, up: bool, got: &Got) -> Self {
        let mut seg = Seg::new(got.view.source().unwrap(), got.view.destination().unwrap(), ACK);
        seg.seq = got.seq().get();
        seg.ack = got.tcp.ack.get();
        seg.flags = got.tcp.flags;
        seg.options = got.option_bytes().to_vec();
        seg.payload = got.payload().to_vec();
        assert_eq!(seg.options.len(), TAG_AT + TAG_LEN);
        Self { session, up, seg }
    }

    fn tag(&self) -> &[u8] {
        &self.seg.options[TAG_AT..]
    }

    fn set_tag(&mut self, tag: &[u8]) {
        self.seg.options[TAG_AT..].copy_from_slice(tag);
    }
}

/// What the attacker does to a true segment. Everything here changes what the tag covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    TagBits,
    RandomTag,
    OtherTag,
    Sequence,
    Flags,
    Phase,
    Shorter,
    Longer,
    Payload,
    OtherPayload,
    Reflected,
    OtherSession,
    OtherDirection,
}

const CHANGES: [Change; 13] = [
    Change::TagBits,
    Change::RandomTag,
    Change::OtherTag,
    Change::Sequence,
    Change::Flags,
    Change::Phase,
    Change::Shorter,
    Change::Longer,
    Change::Payload,
    Change::OtherPayload,
    Change::Reflected,
    Change::OtherSession,
    Change::OtherDirection,
];

/// SplitMix64: the same forgeries in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn flip(&mut self, bytes: &mut [u8]) {
        // Distinct bits: two flips of one bit would forge nothing.
        let first = self.below(bytes.len() * 8);
        for n in 0..=self.below(3) {
            let bit = (first + n) % (bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

/// Agent and gateway with sessions of every kind, and what crossed the network between them.
struct Field {
    pair: Pair,
    sealed: Vec<Sealed>,
}

/// Octets that the two directions of each session have sent.
const LENGTHS: [usize; 8] = [1, 15, 16, 17, 64, 100, 333, 1400];

impl Field {
    /// Sessions of both families with the same ISNs, so that a segment moved to another session has
    /// the same offset there; one with a keyed candidate beside it; the last one keyed, but not
    /// synchronised at the gateway.
    fn new() -> Self {
        let mut field = Self { pair: Pair::new(), sealed: Vec::new() };
        for session in 0..5 {
            field.aim(session);
            if session < 4 {
                field.pair.connect(CLIENT_ISN, SERVER_ISN, session as u8 + 1);
            } else {
                field.key(CLIENT_ISN, session as u8 + 1);
                field.pair.agent.events();
            }
            field.talk(session);
        }
        field.aim(1);
        let (client_isn, key) = (CLIENT_ISN.wrapping_add(99_999), 9);
        assert!(field.pair.up(&field.pair.syn(client_isn)).is_empty());
        let name = field.pair.gateway.request();
        field.pair.gateway.install(&name, keys(key), (false, true));
        field
    }

    fn aim(&mut self, session: usize) {
        let (client, server) = if session.is_multiple_of(2) { v4() } else { v6() };
        self.pair.client = client;
        self.pair.client.set_port(client.port() + session as u16);
        self.pair.server = server;
    }

    /// Keys at both ends; the agent is synchronised, the gateway waits for a first tag or SYNC.
    fn key(&mut self, client_isn: u32, key: u8) {
        let pair = &mut self.pair;
        assert!(pair.up(&pair.syn(client_isn)).is_empty());
        let (agent, gateway) = (pair.agent.request(), pair.gateway.request());
        assert_eq!(pair.gateway.install(&gateway, keys(key), (false, true)).len(), 1);
        assert!(pair.down(&pair.syn_ack(client_isn, SERVER_ISN)).is_empty());
        assert_eq!(pair.agent.install(&agent, keys(key), (true, false)).len(), 1);
    }

    /// Both ends seal; half of it is delivered, so that sessions stand in mid-stream.
    fn talk(&mut self, session: usize) {
        let synced = session < 4;
        let mut offset = 0;
        for (n, len) in LENGTHS.into_iter().enumerate() {
            let payload: Vec<u8> = (0..len).map(|i| (i + 31 * n + 7 * session) as u8).collect();
            let (mut up, down) = (
                self.pair.client_data(offset, 0, &payload),
                self.pair.server_data(offset, 0, &payload),
            );
            if n + 1 == LENGTHS.len() {
                up.flags = FIN | ACK;
            }
            let got = self.pair.seal_up(&up).remove(0);
            if synced && n < LENGTHS.len() / 2 {
                assert_eq!(self.pair.open_up(&got.bytes).len(), 1);
            }
            self.sealed.push(Sealed::new(session, true, &got));
            if synced {
                let got = self.pair.seal_down(&down).remove(0);
                if n < LENGTHS.len() / 2 {
                    assert_eq!(self.pair.open_down(&got.bytes).len(), 1);
                }
                self.sealed.push(Sealed::new(session, false, &got));
            }
            offset += len as u64;
        }
        if synced {
            let reset = self.pair.server_data(offset, 0, b"");
            let reset = Seg { flags: RST | ACK, ..reset };
            // The last word of the server; it is never delivered.
            let got = self.pair.seal_down(&reset).remove(0);
            self.sealed.push(Sealed::new(session, false, &got));
        }
    }

    /// A forgery, and whether it goes up.
    fn forge(&self, random: &mut Random, change: Change) -> Sealed {
        let at = random.below(self.sealed.len());
        let mut forged = self.sealed[at].clone();
        let other =
            &self.sealed[(at + 1 + random.below(self.sealed.len() - 1)) % self.sealed.len()];
        match change {
            Change::TagBits => random.flip(&mut forged.seg.options[TAG_AT..]),
            Change::RandomTag => {
                let tag = [random.next().to_be_bytes(), random.next().to_be_bytes()].concat();
                forged.set_tag(&tag[..TAG_LEN]);
            }
            Change::OtherTag => forged.set_tag(other.tag()),
            Change::Sequence => {
                let size = 1 << random.below(32);
                let by = 1 + random.below(size) as u32;
                let by = if random.below(2) == 0 { by } else { by.wrapping_neg() };
                forged.seg.seq = forged.seg.seq.wrapping_add(by);
            }
            Change::Flags => {
                let flag = if random.below(2) == 0 { FIN.0 } else { RST.0 };
                forged.seg.flags.0 ^= flag;
            }
            Change::Phase => forged.seg.options[PHASE_AT] ^= 1,
            Change::Shorter | Change::Payload if forged.seg.payload.is_empty() => {
                forged.seg.seq = forged.seg.seq.wrapping_sub(1);
            }
            Change::Shorter => {
                let keep = random.below(forged.seg.payload.len());
                forged.seg.payload.truncate(keep);
            }
            Change::Longer => {
                // Zeros above all: GHASH pads with them.
                let by = 1 + random.below(31);
                let octet = if random.below(2) == 0 { 0 } else { random.next() as u8 };
                forged.seg.payload.extend(std::iter::repeat_n(octet, by));
            }
            Change::Payload => random.flip(&mut forged.seg.payload),
            Change::OtherPayload => {
                forged.seg.payload.clone_from(&other.seg.payload);
                forged.set_tag(other.tag());
                if (other.session, other.up, other.seg.seq)
                    == (forged.session, forged.up, forged.seg.seq)
                {
                    forged.seg.seq = forged.seg.seq.wrapping_add(1);
                }
            }
            Change::Reflected => self.turn_round(&mut forged),
            Change::OtherSession => self.move_to(&mut forged, random),
            Change::OtherDirection => {
                // From session to session and in the other direction, at the same offset.
                self.move_to(&mut forged, random);
                self.turn_round(&mut forged);
            }
        }
        forged
    }

    /// The same octets, at the same offset, to whom they came from.
    fn turn_round(&self, forged: &mut Sealed) {
        let (from, to) =
            if forged.up { (CLIENT_ISN, SERVER_ISN) } else { (SERVER_ISN, CLIENT_ISN) };
        let seg = &mut forged.seg;
        std::mem::swap(&mut seg.src, &mut seg.dst);
        seg.seq = seg.seq.wrapping_sub(from).wrapping_add(to);
        seg.ack = seg.ack.wrapping_sub(to).wrapping_add(from);
        forged.up = !forged.up;
    }

    /// The same octets, at the same offset, to another session.
    fn move_to(&self, forged: &mut Sealed, random: &mut Random) {
        let session = (forged.session + 1 + random.below(4)) % 5;
        let like =
            self.sealed.iter().find(|sealed| sealed.session == session && sealed.up).unwrap();
        let (client, server) = (like.seg.src, like.seg.dst);
        let seg = &mut forged.seg;
        (seg.src, seg.dst) = if forged.up { (client, server) } else { (server, client) };
        forged.session = session;
    }

    fn rows(&mut self) -> String {
        let standing = |rows: Vec<SessionRow>| {
            rows.into_iter()
                .map(|row| format!("{:?}\n", SessionRow { bad_tags: 0, trouble: None, ..row }))
                .collect::<String>()
        };
        standing(self.pair.agent.sessions()) + &standing(self.pair.gateway.sessions())
    }

    fn dropped(&self) -> BTreeMap<&'static str, u64> {
        let ends = [self.pair.agent.snapshot(), self.pair.gateway.snapshot()];
        DropReason::ALL
            .iter()
            .map(|reason| (reason.label(), ends.iter().map(|end| end.dropped(*reason)).sum()))
            .collect()
    }
}

#[test]
fn of_a_million_forgeries_none_is_accepted() {
    let mut field = Field::new();
    let (rows, before) = (field.rows(), field.dropped());
    let mut random = Random(3_263_879);
    for first in (0..FORGERIES).step_by(BATCH) {
        let batch: Vec<(Change, Sealed)> = (first..FORGERIES.min(first + BATCH))
            .map(|n| CHANGES[n % CHANGES.len()])
            .map(|change| (change, field.forge(&mut random, change)))
            .collect();
        for (_, forged) in &batch {
            let end = if forged.up { &field.pair.gateway } else { &field.pair.agent };
            end.wire.push(PortSide::Cipher, &forged.seg.build());
        }
        for end in [&mut field.pair.gateway, &mut field.pair.agent] {
            let out = end.turn();
            assert!(out.is_empty(), "accepted one of {batch:?}: {out:?}");
        }
    }
    let dropped: BTreeMap<&str, u64> = field
        .dropped()
        .into_iter()
        .map(|(label, count)| (label, count - before[label]))
        .filter(|(_, count)| *count > 0)
        .collect();
    assert_eq!(dropped.values().sum::<u64>(), FORGERIES as u64, "{dropped:?}");
    // Nearly all of them came as far as the tag.
    assert!(dropped["bad_tag"] + dropped["resegmented"] > FORGERIES as u64 * 3 / 4, "{dropped:?}");
    assert_eq!(field.rows(), rows, "a forgery moved a session");
    field.true_ones_still_pass();
}

impl Field {
    /// What the attacker had not let through arrives after all, in order and in full.
    fn true_ones_still_pass(&mut self) {
        for sealed in std::mem::take(&mut self.sealed) {
            self.aim(sealed.session);
            let frame = sealed.seg.build();
            let opened =
                if sealed.up { self.pair.open_up(&frame) } else { self.pair.open_down(&frame) };
            assert!(!opened.is_empty(), "{sealed:?}");
            assert_eq!(opened[opened.len() - 1].payload().len(), sealed.seg.payload.len());
        }
        self.pair.finish();
    }
}
