//! Truncated and mangled frames: every one is counted, none is lost, none panics, and what is left
//! of a payload stays off the cipher side.

use sekisho_port::PortSide;

use super::harness::*;
use super::segments::*;

/// A small deterministic generator (xorshift64): tests must repeat.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Frames of both sides of both ends of a synchronised session, 118 octets at least.
fn specimens(pair: &mut Pair) -> Vec<Vec<u8>> {
    let payload = [CANARY; 4].concat();
    let up = pair.client_data(0, 0, &payload);
    let down = pair.server_data(0, 0, &payload);
    let fin = Seg { flags: FIN | ACK, ..up.clone() };
    let mut syn = pair.syn(99).payload(&payload);
    syn.vlan = vec![3, 4];
    let mut specimens =
        vec![syn.build(), pair.syn_ack(CLIENT_ISN, SERVER_ISN).build(), fin.build()];
    let datagram = super::policy::datagram(pair.client, pair.server, 1088, 1088, &payload);
    specimens.extend([up.build(), down.build(), datagram]);
    specimens.push(pair.seal_up(&up).remove(0).bytes);
    specimens.push(pair.seal_down(&down).remove(0).bytes);
    specimens
}

fn both_ends_take(pair: &mut Pair, frame: &[u8]) {
    for end in [&mut pair.agent, &mut pair.gateway] {
        for side in PortSide::BOTH {
            let out = end.take(side, frame);
            let leaked =
                out.iter().any(|(at, sent)| *at == PortSide::Cipher && contains(sent, CANARY));
            assert!(!leaked, "in clear onto the cipher side");
            end.events();
        }
    }
}

#[test]
fn every_length_up_to_118_octets() {
    for ends in [v4(), v6()] {
        let mut pair = Pair::synced_over(ends);
        for specimen in specimens(&mut pair) {
            for len in 0..=118.min(specimen.len()) {
                both_ends_take(&mut pair, &specimen[..len]);
                // The same with an IP length that agrees, so that later headers are what is cut.
                if let Some(mended) = mend_ip_length(&specimen[..len]) {
                    both_ends_take(&mut pair, &mended);
                }
            }
        }
        for end in [&pair.agent, &pair.gateway] {
            let counted = end.snapshot();
            let received: u64 = counted.sides.iter().map(|side| side.rx_packets).sum();
            assert!(counted.dropped_total() > received / 2, "most were dropped, and counted");
            assert_eq!(counted.balance(), 0);
        }
        pair.finish();
    }
}

fn mend_ip_length(frame: &[u8]) -> Option<Vec<u8>> {
    let mut frame = frame.to_vec();
    let version = frame.get(14)? >> 4;
    let len = u16::try_from(frame.len()).ok()?;
    match version {
        4 if frame.len() >= 34 => frame[16..18].copy_from_slice(&(len - 14).to_be_bytes()),
        6 if frame.len() >= 54 => frame[18..20].copy_from_slice(&(len - 54).to_be_bytes()),
        _ => return None,
    }
    Some(frame)
}

#[test]
fn mangled_in_any_octet_with_and_without_matching_checksums() {
    let mut noise = Noise(0x5eed);
    for ends in [v4(), v6()] {
        let mut pair = Pair::synced_over(ends);
        for end in [&mut pair.agent, &mut pair.gateway] {
            // Checksums not looked at: everything behind them is reached.
            end.worker.config.rx_checksum = [crate::RxChecksum::Offloaded; 2];
        }
        for specimen in specimens(&mut pair) {
            for at in 0..118.min(specimen.len()) {
                let mut frame = specimen.clone();
                frame[at] = noise.next() as u8;
                frame[12..14].copy_from_slice(&specimen[12..14]);
                both_ends_take(&mut pair, &frame);
                frame.truncate((noise.next() % 119) as usize);
                both_ends_take(&mut pair, &frame);
            }
        }
        pair.finish();
    }
}

#[test]
fn noise_of_every_length() {
    let mut noise = Noise(42);
    let mut pair = Pair::synced();
    for len in 0..=118 {
        for _ in 0..8 {
            let mut frame: Vec<u8> = (0..len).map(|_| noise.next() as u8).collect();
            both_ends_take(&mut pair, &frame);
            if len > 14 {
                frame[12..15].copy_from_slice(&[8, 0, 0x45]);
                both_ends_take(&mut pair, &frame);
            }
        }
    }
    pair.finish();
}
