//! Segments of a synchronised session: what a tag covers and what it does not, what forgeries and
//! odd hosts do.

use sekisho_port::PortSide;
use sekisho_wire::{SekishoOption, TcpFlags, checksum, parse_frame};

use super::harness::*;
use super::segments::*;
use crate::{DropReason, PathTrouble, RxChecksum, SessionRow};

/// What a forged segment must not move (hazard 35): all but its own counter.
fn standing(rows: &[SessionRow]) -> Vec<(Vec<u64>, String)> {
    rows.iter()
        .map(|row| {
            let numbers =
                vec![row.sealed_bytes, row.sealed_segments, row.offsets[0], row.offsets[1]];
            (numbers, format!("{:?} {:?} {:?}", row.state, row.flow, row.waited))
        })
        .collect()
}

#[test]
fn both_directions_in_cipher_and_the_plain_side_as_it_was() {
    for ends in [v4(), v6()] {
        let mut pair = Pair::synced_over(ends);
        let (mut up, mut down) = (0, 0);
        for len in [1, 2, 15, 16, 17, 63, 64, 65, 536, 1000, 1400] {
            let payload: Vec<u8> = CANARY.iter().cycle().take(len).copied().collect();
            let seg = pair.client_data(up, down, &payload);
            let sealed = pair.seal_up(&seg).remove(0);
            assert_eq!(sealed.payload().len(), len, "length-preserving");
            assert!(len < 8 || sealed.payload() != payload);
            assert!(matches!(sealed.ours(), Some(SekishoOption::Tag(tag)) if tag.phase == 0));
            let opened = pair.open_up(&sealed.bytes).remove(0);
            assert_eq!(opened.bytes, seg.build(), "the server gets the client's very frame");
            up += len as u64;
            let seg = pair.server_data(down, up, &payload);
            assert_eq!(pair.down(&seg).remove(0).bytes, seg.build());
            down += len as u64;
        }
        let rows = pair.gateway.sessions();
        assert_eq!(rows[0].offsets, [up, down]);
        assert_eq!((rows[0].sealed_bytes, rows[0].sealed_segments), (down, 11));
        pair.finish();
    }
}

/// M2.2.
#[test]
fn pure_acks_pass_without_tag() {
    let mut pair = Pair::synced();
    for seg in [pair.client_data(0, 0, b""), pair.client_data(0, 0, b"")] {
        let sealed = pair.seal_up(&seg).remove(0);
        assert_eq!(sealed.bytes, seg.build());
        assert_eq!(pair.open_up(&sealed.bytes).remove(0).bytes, seg.build());
    }
    let seg = pair.server_data(0, 0, b"");
    assert_eq!(pair.down(&seg).remove(0).bytes, seg.build());
    pair.finish();
}

/// M2.2, M3.3.
#[test]
fn hazard_23_a_missing_tag_and_a_tag_too_many() {
    let mut pair = Pair::synced();
    let sealed = pair.seal_up(&pair.client_data(0, 0, CANARY)).remove(0);
    let bare = pair.client_data(0, 0, CANARY).build();
    pair.gateway.refuses(PortSide::Cipher, &bare, DropReason::TagMissing);
    let option = sealed.option_bytes();
    let on_ack = pair.client_data(0, 0, b"").options(option).build();
    pair.gateway.refuses(PortSide::Cipher, &on_ack, DropReason::TagOnBareAck);
    let twice = [&option[12..], &option[12..]].concat();
    let twice = pair.client_data(0, 0, CANARY).options(&twice).build();
    pair.gateway.refuses(PortSide::Cipher, &twice, DropReason::OptionMalformed);
    let other_phase = forge(&sealed.bytes, |frame, tcp| frame[usize::from(tcp.l4) + 35] ^= 1);
    pair.gateway.refuses(PortSide::Cipher, &other_phase, DropReason::NoKeyForPhase);
    for flags in [FIN | ACK, RST, RST | ACK] {
        let frame = Seg { flags, ..pair.client_data(0, 0, b"") }.build();
        pair.gateway.refuses(PortSide::Cipher, &frame, DropReason::TagMissing);
    }
    // What a host puts there does not cross either: our option is ours to make.
    let ack = pair.client_data(0, 0, b"").options(&option[12..]).build();
    pair.agent.refuses(PortSide::Plain, &ack, DropReason::OptionMisplaced);
    let data = pair.client_data(0, 0, CANARY).options(option);
    assert_eq!(pair.up(&data).remove(0).payload(), CANARY);
    assert_eq!(pair.open_up(&sealed.bytes).remove(0).payload(), CANARY);
    pair.finish();
}

/// M3.8, M7.9.
#[test]
fn hazards_17_35_forged_segments_change_nothing_but_their_counter() {
    let mut pair = Pair::synced();
    pair.up(&pair.client_data(0, 0, CANARY));
    pair.down(&pair.server_data(0, 19, CANARY));
    let sealed = pair.seal_up(&pair.client_data(19, 19, CANARY)).remove(0);
    // Late enough for a touched timer to show.
    pair.gateway.wait(60);
    let before = standing(&pair.gateway.sessions());
    let l4 = usize::from(sealed.tcp.l4);
    let payload = usize::from(sealed.tcp.payload.start);
    let mut forgeries = Vec::new();
    // Payload, tag, sequence number, FIN and RST; none of them verifies.
    for at in [payload, payload + 18, l4 + 36, l4 + 47, l4 + 5, l4 + 7] {
        forgeries.push(forge(&sealed.bytes, |frame, _| frame[at] ^= 1));
    }
    for flag in [FIN, RST] {
        forgeries.push(forge(&sealed.bytes, |frame, _| frame[l4 + 13] |= flag.0 as u8));
    }
    for forged in &forgeries {
        let dropped = pair.gateway.snapshot().dropped_total();
        assert!(pair.gateway.take(PortSide::Cipher, forged).is_empty());
        assert_eq!(pair.gateway.snapshot().dropped_total(), dropped + 1);
    }
    let out_of_window = forge(&sealed.bytes, |frame, _| frame[l4 + 4] ^= 0x60);
    pair.gateway.refuses(PortSide::Cipher, &out_of_window, DropReason::OffsetRange);
    assert_eq!(standing(&pair.gateway.sessions()), before);
    // One of them lies before the origin and costs no cipher work.
    assert_eq!(pair.gateway.sessions()[0].bad_tags, 7);
    assert_eq!(pair.gateway.dropped(DropReason::BelowOrigin), 1);
    assert_eq!(pair.open_up(&sealed.bytes).remove(0).payload(), CANARY);
    pair.finish();
}

#[test]
fn hazard_14_a_path_that_joins_segments_is_named() {
    let mut pair = Pair::synced();
    for n in 0..6 {
        let first = pair.seal_up(&pair.client_data(n * 200, 0, &[1; 100])).remove(0);
        let second = pair.seal_up(&pair.client_data(n * 200 + 100, 0, &[2; 100])).remove(0);
        let mut joined =
            pair.client_data(n * 200, 0, &[first.payload(), second.payload()].concat());
        joined.options = first.option_bytes().to_vec();
        pair.gateway.take(PortSide::Cipher, &joined.build());
    }
    assert_eq!(pair.gateway.dropped(DropReason::BadTag), 3);
    assert_eq!(pair.gateway.dropped(DropReason::Resegmented), 3);
    // The listing names it as well, until something verifies.
    assert_eq!(pair.gateway.sessions()[0].trouble, Some(PathTrouble::Resegmented));
    assert_eq!(pair.up(&pair.client_data(0, 0, b"whole")).len(), 1);
    assert_eq!(pair.gateway.sessions()[0].trouble, None);
    pair.finish();
}

/// M7.7.
#[test]
fn hazard_8_keep_alives_lose_their_garbage_octet() {
    let mut pair = Pair::synced();
    // At offset −1, before anything was sent.
    let probe = pair.by_client(ACK).seq(CLIENT_ISN).ack(SERVER_ISN + 1).payload(b"\0");
    let passed = pair.up(&probe).remove(0);
    assert_eq!((passed.payload(), passed.seq().get()), (&b""[..], CLIENT_ISN));
    // Below the highest acknowledged octet.
    pair.up(&pair.client_data(0, 0, CANARY));
    assert_eq!(pair.down(&pair.server_data(0, 19, b"")).len(), 1);
    let sealed = pair.seal_up(&pair.client_data(18, 0, b"?")).remove(0);
    assert_eq!((sealed.payload(), sealed.ours()), (&b""[..], None));
    assert_eq!(pair.open_up(&sealed.bytes).len(), 1);
    assert_eq!(pair.agent.snapshot().tallies.keepalives_cut, 2);
    // Farther below the origin nothing has a place.
    let below = pair.by_client(ACK).seq(CLIENT_ISN.wrapping_sub(1)).ack(SERVER_ISN + 1);
    pair.agent.refuses(PortSide::Plain, &below.payload(b"\0").build(), DropReason::BelowOrigin);
    let below = pair.by_client(ACK).seq(CLIENT_ISN).ack(SERVER_ISN + 1);
    pair.agent.refuses(PortSide::Plain, &below.payload(b"\0\0").build(), DropReason::BelowOrigin);
    // Hazard 9: a zero-window probe of one new octet is data.
    let sealed = pair.seal_up(&pair.client_data(19, 0, b"n")).remove(0);
    assert!(sealed.ours().is_some());
    assert_eq!(pair.open_up(&sealed.bytes).remove(0).payload(), b"n");
    pair.finish();
}

/// M3.9.
#[test]
fn hazard_10_no_urgent_pointer_passes() {
    let mut pair = Pair::synced();
    let mut urgent = pair.client_data(0, 0, CANARY);
    urgent.flags = ACK | URG | PSH;
    urgent.urgent = 5;
    let sealed = pair.seal_up(&urgent).remove(0);
    assert_eq!((sealed.tcp.flags, sealed.tcp.urgent), (ACK | PSH, 0));
    let forged = forge(&sealed.bytes, |frame, tcp| {
        frame[usize::from(tcp.l4) + 13] |= URG.0 as u8;
        frame[usize::from(tcp.l4) + 19] = 3;
    });
    let opened = pair.open_up(&forged).remove(0);
    assert_eq!((opened.tcp.flags, opened.tcp.urgent), (ACK | PSH, 0));
    assert_eq!(opened.payload(), CANARY);
    let mut ack = pair.client_data(19, 0, b"");
    ack.flags = ACK | URG;
    ack.urgent = 1;
    let passed = pair.up(&ack).remove(0);
    assert_eq!((passed.tcp.flags, passed.tcp.urgent), (ACK, 0));
    assert_eq!(pair.agent.snapshot().tallies.urgent_cleared, 2);
    pair.finish();
}

#[test]
fn hazard_22_ecn_bits_stay_and_are_left_out_of_the_tag() {
    let mut pair = Pair::synced();
    let ecn = TcpFlags::ECE | TcpFlags::CWR | TcpFlags::AE;
    let seg = Seg { flags: ACK | PSH | ecn, ..pair.client_data(0, 0, CANARY) };
    let sealed = pair.seal_up(&seg).remove(0);
    assert_eq!(sealed.tcp.flags, ACK | PSH | ecn);
    let marked = forge(&sealed.bytes, |frame, tcp| {
        frame[usize::from(tcp.l4) + 13] &= !(TcpFlags::CWR.0 as u8);
        frame[usize::from(tcp.l4) + 15] = 9;
    });
    let opened = pair.open_up(&marked).remove(0);
    assert_eq!(opened.tcp.flags, ACK | PSH | TcpFlags::ECE | TcpFlags::AE);
    assert_eq!((opened.payload(), opened.view.traffic_class & 3), (CANARY, 2));
    pair.finish();
}

#[test]
fn hazards_2_4_31_every_option_layout() {
    let mut pair = Pair::synced();
    let mut offset = 0;
    for words in 0..=10_usize {
        // Plain padding of every length: dropped where there is no room, else kept as it was.
        let options = vec![1; words * 4];
        let seg = pair.client_data(offset, 0, CANARY).options(&options);
        let got = pair.up(&seg).remove(0);
        assert_eq!(got.payload(), CANARY);
        if words <= 6 {
            assert_eq!(got.bytes, seg.build(), "{words} words");
        }
        offset += CANARY.len() as u64;
        // SACK blocks beside timestamps: trimmed from the tail, the first one stays.
        for blocks in 1..=3_u8 {
            let mut options = TIMESTAMPS.to_vec();
            options.extend_from_slice(&[1, 1, 5, 2 + 8 * blocks]);
            options.extend((0..8 * blocks).map(|n| n + 1));
            let seg = pair.client_data(offset, 0, CANARY).options(&options);
            let got = pair.up(&seg).remove(0);
            assert_eq!(got.payload(), CANARY);
            assert!(got.options.timestamps.is_some());
            assert_eq!(got.options.sack_blocks, 1);
            assert!(contains(got.option_bytes(), &[1, 2, 3, 4, 5, 6, 7, 8]));
            offset += CANARY.len() as u64;
        }
    }
    assert_eq!(pair.agent.snapshot().tallies.options_trimmed, 22);
    // An option list that a host would read otherwise is refused on both sides.
    let broken = pair.client_data(offset, 0, CANARY).options(&[8, 1, 0, 0]).build();
    pair.agent.refuses(PortSide::Plain, &broken, DropReason::TcpOptions);
    pair.gateway.refuses(PortSide::Cipher, &broken, DropReason::TcpOptions);
    pair.finish();
}

/// M3.10.
#[test]
fn hazard_5_a_corrupt_segment_never_becomes_authentic() {
    let mut pair = Pair::synced();
    let mut corrupt = pair.client_data(0, 0, CANARY).build();
    *corrupt.last_mut().unwrap() ^= 0x20;
    pair.agent.refuses(PortSide::Plain, &corrupt, DropReason::BadChecksum);
    let mut sealed = pair.seal_up(&pair.client_data(0, 0, CANARY)).remove(0).bytes;
    sealed[60] ^= 1;
    pair.gateway.refuses(PortSide::Cipher, &sealed, DropReason::BadChecksum);
    let mut header = pair.client_data(0, 0, CANARY).build();
    header[22] ^= 1;
    pair.agent.refuses(PortSide::Plain, &header, DropReason::BadChecksum);
    pair.finish();
}

#[test]
fn hazard_5_offloaded_ports_get_a_full_checksum() {
    let mut pair = Pair::synced();
    for end in [&mut pair.agent, &mut pair.gateway] {
        end.worker.config.rx_checksum[PortSide::Plain.index()] = RxChecksum::Offloaded;
    }
    // The pseudo header's sum alone stands in the field, as veth hands it over.
    let partial = |seg: Seg| {
        let mut frame = seg.build();
        let l4 = usize::from(parse_frame(&frame).unwrap().l4);
        frame[l4 + 16] ^= 0x5a;
        frame
    };
    for payload in [CANARY, b""] {
        let frame = partial(pair.client_data(0, 0, payload));
        // `one` verifies the checksum of what leaves.
        let sealed = one(PortSide::Cipher, pair.agent.take(PortSide::Plain, &frame));
        assert_eq!(pair.open_up(&sealed.bytes).remove(0).payload(), payload);
        let frame = partial(pair.server_data(0, 0, payload));
        let sealed = one(PortSide::Cipher, pair.gateway.take(PortSide::Plain, &frame));
        assert_eq!(pair.open_down(&sealed.bytes).remove(0).payload(), payload);
    }
}

#[test]
fn hazard_3_frames_beyond_the_mtu() {
    let mut pair = Pair::synced();
    // Fits as it is, but not with the tag: the host ignores the MSS it was told.
    let full = pair.client_data(0, 0, &[7; 1448]).build();
    assert_eq!(full.len(), 1514);
    pair.agent.refuses(PortSide::Plain, &full, DropReason::GrownBeyondMtu);
    let gso = pair.client_data(0, 0, &[7; 2900]).build();
    pair.agent.refuses(PortSide::Plain, &gso, DropReason::MtuExceeded);
    let fits = pair.client_data(0, 0, &[7; 1432]);
    let sealed = pair.seal_up(&fits).remove(0);
    assert_eq!(sealed.bytes.len(), 1514);
    assert_eq!(pair.open_up(&sealed.bytes).remove(0).payload(), [7; 1432]);
    pair.finish();
}

#[test]
fn ethernet_padding_is_cut_and_vlan_tags_are_kept() {
    let mut pair = Pair::synced();
    let mut ack = pair.client_data(0, 0, b"").options(&[]).build();
    ack.resize(60, 0xee);
    assert_eq!(one(PortSide::Cipher, pair.agent.take(PortSide::Plain, &ack)).bytes.len(), 54);
    let mut short = pair.client_data(0, 0, b"ab").options(&[]).build();
    short.resize(60, 0xee);
    let sealed = one(PortSide::Cipher, pair.agent.take(PortSide::Plain, &short));
    assert_eq!(sealed.bytes.len(), 72);
    let mut padded = sealed.bytes;
    padded.resize(90, 0xee);
    assert_eq!(pair.open_up(&padded).remove(0).payload(), b"ab");
    // Hazard 26: up to two tags.
    let mut tagged = pair.client_data(2, 0, CANARY);
    for tag in [5, 6] {
        tagged.vlan.push(tag);
        let got = pair.up(&tagged).remove(0);
        assert_eq!(got.bytes, tagged.build());
    }
    tagged.vlan.push(7);
    let mut frame = Seg { vlan: vec![5, 6], ..tagged }.build();
    frame.splice(12..12, [0x81, 0, 0, 7]);
    pair.agent.refuses(PortSide::Plain, &frame, DropReason::VlanTags);
    pair.gateway.refuses(PortSide::Cipher, &frame, DropReason::VlanTags);
    pair.finish();
}

#[test]
fn hazards_24_25_what_cannot_be_walked() {
    let mut pair = Pair::synced();
    let mut fragment = pair.client_data(0, 0, CANARY).build();
    fragment[20] = 0x20;
    pair.agent.refuses(PortSide::Plain, &fragment, DropReason::Fragment);
    pair.gateway.refuses(PortSide::Cipher, &fragment, DropReason::Fragment);
    let mut pair = Pair::synced_over(v6());
    for (next, reason) in [(44, DropReason::Fragment), (51, DropReason::ExtensionHeader)] {
        let mut frame = pair.client_data(0, 0, CANARY).build();
        frame[20] = next;
        pair.agent.refuses(PortSide::Plain, &frame, reason);
        pair.gateway.refuses(PortSide::Cipher, &frame, reason);
    }
    // A destination-options header is walked: the segment behind it is ciphered like any other.
    let plain = pair.client_data(0, 0, CANARY).build();
    let mut frame = plain.clone();
    frame.splice(54..54, [6, 0, 1, 4, 0, 0, 0, 0]);
    frame[20] = 60;
    let len = u16::from_be_bytes([frame[18], frame[19]]) + 8;
    frame[18..20].copy_from_slice(&len.to_be_bytes());
    let sealed = one(PortSide::Cipher, pair.agent.take(PortSide::Plain, &frame));
    assert!(!contains(&sealed.bytes, CANARY));
    assert_eq!(pair.open_up(&sealed.bytes).remove(0).bytes, frame);
    pair.finish();
}

#[test]
fn hazards_13_36_retransmission_with_the_same_and_with_other_bytes() {
    let mut pair = Pair::synced();
    let one = pair.seal_up(&pair.client_data(0, 0, &[0; 64])).remove(0);
    let same = pair.seal_up(&pair.client_data(0, 7, &[0; 64])).remove(0);
    assert_eq!(one.payload(), same.payload(), "equal input, equal segment");
    let other = pair.seal_up(&pair.client_data(0, 0, &[1; 64])).remove(0);
    // Two-time pad: the XOR of the ciphertexts would be that of the plaintexts.
    let xor: Vec<u8> = one.payload().iter().zip(other.payload()).map(|(a, b)| a ^ b).collect();
    assert!(xor.chunks(16).all(|block| block != [1; 16]));
    assert_eq!(pair.open_up(&other.bytes).remove(0).payload(), [1; 64]);
    assert_eq!(pair.open_up(&one.bytes).remove(0).payload(), [0; 64]);
    pair.finish();
}

#[test]
fn hazard_12_streams_beyond_4_gib() {
    let mut pair = Pair::synced();
    let step = 1 << 29;
    for n in 0..20_u64 {
        let offset = n * step;
        let old = pair.seal_up(&pair.client_data(offset, 0, CANARY)).remove(0);
        assert_eq!(pair.open_up(&old.bytes).remove(0).payload(), CANARY);
        // Both ends see the ACK, and unwrap around it.
        let acked = pair.server_data(0, offset + 19, b"");
        assert_eq!(pair.down(&acked).len(), 1);
        assert_eq!(pair.open_up(&old.bytes).len(), 1, "a duplicate behind the basis");
    }
    let rows = pair.gateway.sessions();
    assert_eq!(rows[0].offsets[0], 19 * step + 19);
    assert!(rows[0].offsets[0] > 1 << 33);
    // The same sequence number 4 GiB later is another offset: the old segment verifies no more.
    let early = pair.seal_up(&pair.client_data(19 * step, 0, CANARY)).remove(0);
    let shifted = forge(&early.bytes, |frame, tcp| frame[usize::from(tcp.l4) + 4] ^= 0x20);
    pair.gateway.refuses(PortSide::Cipher, &shifted, DropReason::BadTag);
    let far = pair.client_data(19 * step + (3 << 30), 0, CANARY).build();
    pair.agent.refuses(PortSide::Plain, &far, DropReason::OffsetRange);
    pair.finish();
}

#[test]
fn hazard_27_data_without_syn_ack_is_asymmetric_routing() {
    let mut pair = Pair::new();
    pair.up(&pair.syn(CLIENT_ISN));
    let (agent, gateway) = (pair.agent.request(), pair.gateway.request());
    pair.gateway.install(&gateway, keys(1), (true, true));
    pair.agent.install(&agent, keys(1), (true, false));
    let data = pair.server_data(0, 0, CANARY).build();
    pair.gateway.refuses(PortSide::Plain, &data, DropReason::NoSynAck);
}

/// M3.4, M7.2.
#[test]
fn hazards_18_19_addresses_and_isns_of_the_other_end_enter_nothing() {
    // Between the boxes the client's address, port and both ISNs change, as a NAT and a firewall
    // do; each end counts from what it saw.
    let mut pair = Pair::new();
    let (shift_up, shift_down) = (0x1234_5678_u32, 0x0bad_cafe_u32);
    let seen: std::net::SocketAddr = "192.0.2.9:1234".parse().unwrap();
    let rewrite = move |bytes: &[u8], up: bool| {
        let mut frame = bytes.to_vec();
        let view = parse_frame(&frame).unwrap();
        let (l3, l4) = (usize::from(view.l3), usize::from(view.l4));
        let address = if up { [192, 0, 2, 9] } else { [10, 0, 0, 1] };
        let port = if up { 1234_u16 } else { 40_000 };
        let (at, port_at) = if up { (l3 + 12, l4) } else { (l3 + 16, l4 + 2) };
        frame[at..at + 4].copy_from_slice(&address);
        frame[port_at..port_at + 2].copy_from_slice(&port.to_be_bytes());
        let (seq, ack) = if up {
            (shift_up, 0_u32.wrapping_sub(shift_down))
        } else {
            (shift_down, 0_u32.wrapping_sub(shift_up))
        };
        for (at, shift) in [(l4 + 4, seq), (l4 + 8, ack)] {
            let field: [u8; 4] = frame[at..at + 4].try_into().unwrap();
            let moved = u32::from_be_bytes(field).wrapping_add(shift);
            frame[at..at + 4].copy_from_slice(&moved.to_be_bytes());
        }
        frame[l3 + 10..l3 + 12].fill(0);
        let sum = checksum::ipv4_header(&frame[l3..l3 + 20]);
        frame[l3 + 10..l3 + 12].copy_from_slice(&sum.to_be_bytes());
        let view = parse_frame(&frame).unwrap();
        assert!(checksum::fill_transport(&mut frame, &view));
        frame
    };
    let syn = pair.seal_up(&pair.syn(CLIENT_ISN)).remove(0);
    assert!(pair.open_up(&rewrite(&syn.bytes, true)).is_empty());
    let (agent, gateway) = (pair.agent.request(), pair.gateway.request());
    assert_eq!(agent.request_id, gateway.request_id);
    assert_eq!(gateway.flow.client(), seen);
    pair.gateway.install(&gateway, keys(1), (false, true));
    let mut syn_ack = pair.syn_ack(CLIENT_ISN.wrapping_add(shift_up), SERVER_ISN);
    syn_ack.dst = seen;
    let accept = pair.seal_down(&syn_ack).remove(0);
    assert!(pair.open_down(&rewrite(&accept.bytes, false)).is_empty());
    let out = pair.agent.install(&agent, keys(1), (true, false));
    let server_isn = one(PortSide::Plain, out).seq().get();
    assert_eq!(server_isn, SERVER_ISN.wrapping_add(shift_down));
    let data = pair.client_data(0, 0, CANARY).ack(server_isn.wrapping_add(1));
    let sealed = pair.seal_up(&data).remove(0);
    assert_eq!(pair.open_up(&rewrite(&sealed.bytes, true)).remove(0).payload(), CANARY);
    let mut data = pair.server_data(0, 0, CANARY);
    data.dst = seen;
    let sealed = pair.seal_down(&data).remove(0);
    assert_eq!(pair.open_down(&rewrite(&sealed.bytes, false)).remove(0).payload(), CANARY);
    pair.finish();
}
