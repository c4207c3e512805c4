//! Bursts whose packets go through one cipher pass: what is wrong with one of them stays with it,
//! and the order of arrival is kept.

use sekisho_port::PortSide;
use sekisho_session::State;

use super::harness::*;
use super::segments::*;
use crate::DropReason;
use crate::key_cache::KeyCache;

/// Takes frames in on `side` as one burst; what left by the other side.
#[track_caller]
fn burst(end: &mut End, side: PortSide, frames: &[Vec<u8>]) -> Vec<Got> {
    frames.iter().for_each(|frame| end.wire.push(side, frame));
    on(side.other(), end.turn())
}

fn bytes(frames: Vec<Got>) -> Vec<Vec<u8>> {
    frames.into_iter().map(|got| got.bytes).collect()
}

fn payload(n: usize) -> Vec<u8> {
    CANARY.iter().cycle().skip(n).take(100 + 37 * n).copied().collect()
}

/// Segments of the client one behind the other, each sealed by the agent.
fn sealed(pair: &mut Pair, count: usize) -> Vec<Vec<u8>> {
    let mut offset = 0;
    (0..count)
        .map(|n| {
            let seg = pair.client_data(offset, 0, &payload(n));
            offset += seg.payload.len() as u64;
            pair.seal_up(&seg).remove(0).bytes
        })
        .collect()
}

#[test]
fn hazard_35_a_forged_segment_amid_a_batch_changes_nothing_but_its_counter() {
    let mut pair = Pair::synced();
    let mut frames = sealed(&mut pair, 9);
    for at in [0, 3, 8] {
        frames[at] = forge(&frames[at], |frame, tcp| frame[usize::from(tcp.payload.start)] ^= 1);
    }
    let out = burst(&mut pair.gateway, PortSide::Cipher, &frames);
    let payloads: Vec<_> = out.iter().map(|got| got.payload().to_vec()).collect();
    assert_eq!(payloads, [1, 2, 4, 5, 6, 7].map(payload));
    assert_eq!(pair.gateway.dropped(DropReason::BadTag), 3);
    let rows = pair.gateway.sessions();
    assert_eq!(rows[0].bad_tags, 3);
    // The last one would have moved it.
    let end: usize = (0..8).map(|n| payload(n).len()).sum();
    assert_eq!(rows[0].offsets[0], end as u64);
    pair.finish();
}

#[test]
fn hazard_5_a_wrong_checksum_amid_a_batch_is_never_sealed_nor_opened() {
    let mut pair = Pair::synced();
    let mut frames = sealed(&mut pair, 5);
    let len = frames[4].len();
    frames[1][len / 4] ^= 4;
    frames[4][len - 1] ^= 1;
    let out = burst(&mut pair.gateway, PortSide::Cipher, &frames);
    assert_eq!(out.len(), 3);
    assert_eq!(pair.gateway.dropped(DropReason::BadChecksum), 2);
    let rows = pair.gateway.sessions();
    assert_eq!(rows[0].bad_tags, 0, "damaged, not forged");
    assert_eq!(rows[0].offsets[0], (0..4).map(|n| payload(n).len() as u64).sum::<u64>());
    // The same towards the network.
    let mut offset = 0;
    let mut frames: Vec<_> = (0..5)
        .map(|n| {
            let seg = pair.server_data(offset, 0, &payload(n));
            offset += seg.payload.len() as u64;
            seg.build()
        })
        .collect();
    for at in [2, 4] {
        *frames[at].last_mut().unwrap() ^= 0x80;
    }
    let out = burst(&mut pair.gateway, PortSide::Plain, &frames);
    assert_eq!(out.len(), 3);
    assert!(out.iter().all(|got| !contains(&got.bytes, CANARY)));
    assert_eq!(pair.gateway.dropped(DropReason::BadChecksum), 4);
    let snapshot = pair.gateway.snapshot();
    assert_eq!(snapshot.tallies.sealed_segments, 3);
    let rows = pair.gateway.sessions();
    assert_eq!(rows[0].offsets[1], (0..4).map(|n| payload(n).len() as u64).sum::<u64>());
    assert_eq!(rows[0].sealed_segments, 5, "the key was used for all of them");
    for got in out {
        assert_eq!(pair.open_down(&got.bytes).len(), 1);
    }
    pair.finish();
}

#[test]
fn a_bare_ack_does_not_overtake_data() {
    let mut pair = Pair::synced();
    let data = |pair: &Pair, n: u64| pair.server_data(100 * n, 0, &[n as u8; 100]).build();
    let ack = |pair: &Pair, n: u64| pair.server_data(100 * n, 0, b"").build();
    let stranger = {
        let mut seg = pair.server_data(0, 0, b"x");
        seg.dst.set_port(9);
        seg.build()
    };
    let frames = [
        data(&pair, 0),
        ack(&pair, 1),
        stranger,
        data(&pair, 1),
        ack(&pair, 2),
        ack(&pair, 2),
        data(&pair, 2),
    ];
    let out = burst(&mut pair.gateway, PortSide::Plain, &frames);
    let seen: Vec<_> = out
        .iter()
        .map(|got| (got.seq().distance_from(seq_of(&pair)), got.payload().len()))
        .collect();
    assert_eq!(seen, [(0, 100), (100, 0), (100, 100), (200, 0), (200, 0), (200, 100)]);
    // And back, after a round over the network.
    let frames = bytes(out);
    let back = burst(&mut pair.agent, PortSide::Cipher, &frames);
    let lens: Vec<_> = back.iter().map(|got| got.payload().len()).collect();
    assert_eq!(lens, [100, 0, 100, 0, 0, 100]);
    pair.finish();
}

fn seq_of(_: &Pair) -> sekisho_wire::SeqNum {
    sekisho_wire::SeqNum::new(SERVER_ISN.wrapping_add(1))
}

#[test]
fn more_keys_in_a_burst_than_the_cache_can_keep() {
    // One end at a time: two that took the same wrong keys would understand each other.
    for at_agent in [true, false] {
        more_keys_than_places(at_agent);
    }
}

fn more_keys_than_places(at_agent: bool) {
    let mut pair = Pair::new();
    for port in 1..=7 {
        pair.client.set_port(port);
        pair.connect(CLIENT_ISN, SERVER_ISN, port as u8);
    }
    // Room for four keys of each direction.
    let end = if at_agent { &mut pair.agent } else { &mut pair.gateway };
    end.worker.keys = KeyCache::with_contexts(8);
    let frames: Vec<_> = (0..28)
        .map(|n| {
            pair.client.set_port(1 + n % 7);
            pair.client_data(u64::from(n / 7) * 50, 0, &[n as u8; 50]).build()
        })
        .collect();
    let sealed = burst(&mut pair.agent, PortSide::Plain, &frames);
    let sealed = bytes(sealed);
    let opened = burst(&mut pair.gateway, PortSide::Cipher, &sealed);
    let opened = bytes(opened);
    assert_eq!(opened, frames, "each under its own key, in order");
    let end = if at_agent { &pair.agent } else { &pair.gateway };
    assert!(end.snapshot().tallies.key_expansions > 7, "they had to give way");
    pair.agent.assert_empty_hands();
    pair.gateway.assert_empty_hands();
}

#[test]
fn a_reset_and_fins_in_mid_burst_end_the_session_and_not_what_is_behind_them() {
    for flags in [RST | ACK, FIN | ACK] {
        let mut pair = Pair::synced();
        let before = pair.client_data(0, 0, CANARY);
        let ending = Seg { flags, ..pair.client_data(19, 0, b"") };
        let again = pair.client_data(0, 0, CANARY);
        let frames = [before, ending, again].map(|seg| seg.build());
        let sealed = burst(&mut pair.agent, PortSide::Plain, &frames);
        let sealed = bytes(sealed);
        assert_eq!(sealed.len(), 3);
        let opened = burst(&mut pair.gateway, PortSide::Cipher, &sealed);
        let opened = bytes(opened);
        assert_eq!(opened, frames);
        let expected = if flags.rst() { State::Draining } else { State::Synced };
        assert_eq!(pair.gateway.sessions()[0].state, expected);
        if flags.fin() {
            // New data behind the FIN contradict it, in the same burst as well.
            let fin = Seg { flags, ..pair.server_data(0, 20, b"") };
            let beyond = pair.server_data(1, 20, b"more");
            let out = burst(&mut pair.gateway, PortSide::Plain, &[fin.build(), beyond.build()]);
            assert_eq!(out.len(), 1);
            assert_eq!(pair.gateway.dropped(DropReason::BeyondFin), 1);
            // The ACK of both FINs ends it; the data before it in the burst still pass.
            let late = pair.client_data(0, 1, CANARY).build();
            let late = burst(&mut pair.agent, PortSide::Plain, &[late]).remove(0).bytes;
            let ack = pair.client_data(20, 1, b"").build();
            let out = burst(&mut pair.gateway, PortSide::Cipher, &[late.clone(), ack, late]);
            assert_eq!(out.len(), 3);
            assert_eq!(pair.gateway.sessions()[0].state, State::Draining);
        }
        pair.gateway.assert_empty_hands();
    }
}

#[test]
fn the_first_tag_of_a_burst_synchronises_and_lets_the_held_ack_out_before_it() {
    let mut pair = Pair::keyed();
    let frames: Vec<_> = [&b""[..], b"one", b"two"]
        .iter()
        .scan(0, |offset, bytes| {
            let seg = pair.client_data(*offset, 0, bytes);
            *offset += bytes.len() as u64;
            Some(seg.build())
        })
        .collect();
    let sealed = burst(&mut pair.agent, PortSide::Plain, &frames);
    let sealed = bytes(sealed);
    let out = burst(&mut pair.gateway, PortSide::Cipher, &sealed);
    let out = bytes(out);
    assert_eq!(out, frames);
    pair.gateway.assert_empty_hands();
}

#[test]
fn the_next_session_of_a_tuple_is_ciphered_under_its_own_keys() {
    let mut pair = Pair::synced();
    let frames = [pair.server_data(0, 0, CANARY).build(), pair.server_data(0, 0, CANARY).build()];
    let old = burst(&mut pair.gateway, PortSide::Plain, &frames);
    pair.connect(CLIENT_ISN.wrapping_add(77), SERVER_ISN, 2);
    pair.gateway.events();
    let new = burst(&mut pair.gateway, PortSide::Plain, &frames);
    assert_eq!(old[0].bytes, old[1].bytes);
    assert_eq!(new[0].payload(), new[1].payload());
    assert_ne!(new[0].payload(), old[0].payload(), "same octets at the same offset, other keys");
    pair.agent.refuses(PortSide::Cipher, &old[0].bytes, DropReason::BadTag);
    assert_eq!(pair.open_down(&new[0].bytes).remove(0).payload(), CANARY);
    pair.gateway.assert_empty_hands();
}
