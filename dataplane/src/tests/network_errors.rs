//! ICMP errors from the network: only what quotes a segment under way reaches the plain side, with
//! an MTU that leaves room for the tag (hazard 6, M7.21, M7.22).

use std::net::SocketAddr;

use sekisho_port::PortSide;
use sekisho_wire::{Transport, checksum, parse_frame};

use super::harness::*;
use super::quotation::icmp;
use super::segments::*;
use crate::{DropReason, Policy, Role};

type Ends = (SocketAddr, SocketAddr);

/// Type and code of what says that a packet is too big, and the header that names an MTU.
fn too_big(ends: Ends, mtu: u16) -> [u8; 8] {
    let [high, low] = mtu.to_be_bytes();
    if ends.0.is_ipv4() { [3, 4, 0, 0, 0, 0, high, low] } else { [2, 0, 0, 0, 0, 0, high, low] }
}

/// Every type that TCP heeds, too big first.
fn errors(ends: Ends) -> Vec<[u8; 8]> {
    let rest: &[(u8, u8)] = if ends.0.is_ipv4() {
        &[(3, 0), (3, 1), (3, 3), (11, 0), (12, 0)]
    } else {
        &[(1, 0), (1, 4), (3, 0), (4, 0)]
    };
    let rest = rest.iter().map(|&(kind, code)| [kind, code, 0, 0, 0, 0, 0, 0]);
    std::iter::once(too_big(ends, 1400)).chain(rest).collect()
}

fn router(ends: Ends) -> SocketAddr {
    if ends.0.is_ipv4() { "192.0.2.1:1" } else { "[2001:db8::1]:1" }.parse().unwrap()
}

/// What the network says about a frame that left, to who sent it.
fn about(ends: Ends, header: [u8; 8], frame: &[u8]) -> Vec<u8> {
    let view = parse_frame(frame).unwrap();
    icmp(router(ends), view.source().unwrap(), header, frame)
}

/// A pair with data under way in both directions: what each end's cipher port sent.
fn under_way(ends: Ends) -> (Pair, [(Role, Vec<u8>); 2]) {
    let mut pair = Pair::synced_over(ends);
    let [up, down] = [pair.client_data(0, 0, &[7; 900]), pair.server_data(0, 0, &[8; 900])];
    let up = pair.seal_up(&up).remove(0).bytes;
    let down = pair.seal_down(&down).remove(0).bytes;
    (pair, [(Role::Client, up), (Role::Gateway, down)])
}

fn end(pair: &mut Pair, role: Role) -> &mut End {
    if role == Role::Gateway { &mut pair.gateway } else { &mut pair.agent }
}

/// The one ICMP message that left by the plain port, its checksums checked.
#[track_caller]
fn passed(out: Vec<(PortSide, Vec<u8>)>) -> Vec<u8> {
    let [(PortSide::Plain, frame)] = &out[..] else { panic!("one frame to the plain side") };
    let view = parse_frame(frame).unwrap();
    assert!(checksum::verify_ipv4_header(frame, &view));
    assert!(checksum::verify_transport(frame, &view), "ICMP checksum");
    assert_eq!(view.frame_len(), frame.len());
    let Transport::Icmp(icmp) = view.transport else { panic!("ICMP") };
    icmp.message.slice(frame).to_vec()
}

/// M7.22: the MTU that the plain side hears leaves room for the tag.
#[test]
fn a_packet_too_big_names_an_mtu_lower_by_the_tag() {
    for ends in [v4(), v6()] {
        let floor = if ends.0.is_ipv4() { 576 } else { 1280 };
        let (mut pair, sent) = under_way(ends);
        for (role, sealed) in &sent {
            for (told, heard) in [(1500, 1484), (1400, 1384), (floor + 3, floor), (100, floor)] {
                let frame = about(ends, too_big(ends, told), sealed);
                let message = passed(end(&mut pair, *role).take(PortSide::Cipher, &frame));
                assert_eq!(
                    message[4..8],
                    [[0, 0], heard.to_be_bytes()].concat(),
                    "{role:?} {told}"
                );
                // The quotation ends with the sequence number: no tag reaches the host (M2.5).
                let tcp = *parse_frame(sealed).unwrap().tcp().unwrap();
                assert_eq!(message[message.len() - 4..], tcp.seq.get().to_be_bytes());
                if ends.0.is_ipv4() {
                    let quoted = u16::from_be_bytes([message[10], message[11]]);
                    let len = u16::from_be_bytes([sealed[16], sealed[17]]);
                    assert_eq!(quoted, len - 16, "what the host sent");
                }
            }
            assert_eq!(end(&mut pair, *role).snapshot().tallies.mtu_lowered, 4);
        }
        pair.finish();
    }
}

/// M7.21: who cannot see the traffic cannot guess what is under way.
#[test]
fn an_error_passes_only_if_it_quotes_what_is_under_way() {
    for ends in [v4(), v6()] {
        let (mut pair, sent) = under_way(ends);
        for (role, sealed) in &sent {
            let end = end(&mut pair, *role);
            for header in errors(ends) {
                let frame = about(ends, header, sealed);
                assert_eq!(passed(end.take(PortSide::Cipher, &frame))[..2], header[..2]);
                // −1 is below what is under way, 901 beyond it; 900 is the next octet.
                for (shift, passes) in
                    [(-1i32, false), (900, true), (901, false), (1 << 30, false), (i32::MIN, false)]
                {
                    let other = forge(sealed, |frame, tcp| {
                        let seq = tcp.seq.get().wrapping_add(shift as u32).to_be_bytes();
                        let at = usize::from(tcp.l4) + 4;
                        frame[at..at + 4].copy_from_slice(&seq);
                    });
                    let frame = about(ends, header, &other);
                    if passes {
                        passed(end.take(PortSide::Cipher, &frame));
                    } else {
                        end.refuses(PortSide::Cipher, &frame, DropReason::IcmpWindow);
                    }
                }
            }
        }
        pair.finish();
    }
}

#[test]
fn what_was_acknowledged_is_not_under_way() {
    let (mut pair, sent) = under_way(v4());
    let (_, sealed) = &sent[0];
    assert_eq!(pair.open_up(sealed).len(), 1);
    let ack = pair.server_data(900, 900, &[]);
    assert_eq!(pair.down(&ack).len(), 1);
    let frame = about(v4(), too_big(v4(), 1400), sealed);
    pair.agent.refuses(PortSide::Cipher, &frame, DropReason::IcmpWindow);
    pair.finish();
}

#[test]
fn an_error_about_another_connection_direction_or_sender_is_dropped() {
    for ends in [v4(), v6()] {
        let (mut pair, sent) = under_way(ends);
        let up = &sent[0].1;
        let header = too_big(ends, 1400);
        // What the other end sent did not leave by this one's cipher port.
        let frame = about(ends, header, up);
        pair.gateway.refuses(PortSide::Cipher, &frame, DropReason::IcmpUnrelated);
        let other_port = forge(up, |frame, tcp| frame[usize::from(tcp.l4)] ^= 0x40);
        let frame = about(ends, header, &other_port);
        pair.agent.refuses(PortSide::Cipher, &frame, DropReason::IcmpUnrelated);
        // One that is not for who sent what it quotes.
        let frame = icmp(router(ends), ends.1, header, up);
        pair.agent.refuses(PortSide::Cipher, &frame, DropReason::IcmpUnrelated);
        // Redirects, source quench, echoes and unassigned types.
        for kind in if ends.0.is_ipv4() { [4, 5, 0, 44] } else { [0, 5, 127, 137] } {
            let frame = about(ends, [kind, 0, 0, 0, 0, 0, 0, 0], up);
            pair.agent.refuses(PortSide::Cipher, &frame, DropReason::UnexpectedProtocol);
        }
        pair.finish();
    }
}

/// A connect to a host that is not there fails at once, as it does without an agent.
#[test]
fn an_error_about_the_syn_reaches_the_application() {
    for ends in [v4(), v6()] {
        let mut pair = Pair::with(Policy::Require, ends);
        let syn = pair.syn(CLIENT_ISN);
        let sealed = pair.seal_up(&syn).remove(0).bytes;
        for header in errors(ends) {
            let frame = about(ends, header, &sealed);
            passed(pair.agent.take(PortSide::Cipher, &frame));
        }
        let other = forge(&sealed, |frame, tcp| frame[usize::from(tcp.l4) + 7] ^= 0x80);
        let frame = about(ends, errors(ends)[1], &other);
        pair.agent.refuses(PortSide::Cipher, &frame, DropReason::IcmpWindow);
    }
}

#[test]
fn errors_about_connections_in_clear_pass_as_they_are() {
    for (policy, known) in [(Policy::Prefer, true), (Policy::Prefer, false), (Policy::Off, false)] {
        let mut pair = Pair::with(policy, v4());
        if known {
            // A client without agent.
            let syn = pair.syn(CLIENT_ISN).build();
            assert_eq!(pair.open_up(&syn).len(), 1);
        }
        let down = pair.server_data(0, 0, &[8; 900]).build();
        let frame = about(v4(), too_big(v4(), 1400), &down);
        if known || policy == Policy::Off {
            let out = pair.gateway.take(PortSide::Cipher, &frame);
            assert_eq!(out, [(PortSide::Plain, frame)]);
        } else {
            pair.gateway.refuses(PortSide::Cipher, &frame, DropReason::IcmpUnrelated);
        }
    }
}

#[test]
fn an_error_cut_or_mangled_anywhere_is_no_panic() {
    for ends in [v4(), v6()] {
        let (mut pair, sent) = under_way(ends);
        let whole = about(ends, too_big(ends, 1400), &sent[0].1);
        for len in 14..whole.len() {
            pair.agent.take(PortSide::Cipher, &whole[..len]);
            let mut frame = whole.clone();
            frame[len] ^= 0xff;
            if let Ok(view) = parse_frame(&frame) {
                checksum::fill_transport(&mut frame, &view);
            }
            pair.agent.take(PortSide::Cipher, &frame);
        }
        pair.finish();
    }
}
