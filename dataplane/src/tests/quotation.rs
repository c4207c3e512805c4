//! ICMP errors of the plain side must not tell on the network what was opened here.

use std::net::SocketAddr;

use sekisho_port::PortSide;
use sekisho_wire::{Transport, checksum, parse_frame};

use super::harness::*;
use super::segments::*;
use crate::{DropReason, Role};

/// What a router behind the plain port says about a packet that was opened.
fn complaint(quoted: &Seg, kind: u8) -> Vec<u8> {
    let router = if quoted.src.is_ipv4() { "10.0.2.1:1" } else { "[fd00:2::1]:1" };
    icmp(router.parse().unwrap(), quoted.src, [kind, 0, 0, 0, 0, 17, 5, 0xdc], &quoted.build())
}

/// A frame with this ICMP header, about the packet in another frame.
pub(super) fn icmp(src: SocketAddr, dst: SocketAddr, header: [u8; 8], about: &[u8]) -> Vec<u8> {
    let v4 = src.is_ipv4();
    let protocol = if v4 { 1 } else { 58 };
    let message = [&header[..], &about[14..]].concat();
    // The frame of a segment with the message in place of what is behind the IP header.
    let outer = Seg::new(src, dst, ACK).options(&[]);
    let mut frame = outer.payload(&vec![0; message.len() - 20]).build();
    let (l4, protocol_at) = if v4 { (34, 23) } else { (54, 20) };
    frame[l4..].copy_from_slice(&message);
    frame[protocol_at] = protocol;
    if v4 {
        let sum = checksum::ipv4_header(&frame[14..34]);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
    }
    let view = parse_frame(&frame).unwrap();
    assert!(checksum::fill_transport(&mut frame, &view));
    frame
}

/// M7.19.
#[test]
fn an_icmp_error_about_an_opened_segment_leaves_without_its_payload() {
    for (ends, kinds) in [(v4(), [3, 4, 5, 11, 12]), (v6(), [1, 2, 3, 4, 127])] {
        for role in [Role::Gateway, Role::Client] {
            let pair = Pair::synced_over(ends);
            let mut end = if role == Role::Gateway { pair.gateway } else { pair.agent };
            let pair = Pair::with(crate::Policy::Require, ends);
            let mut payload = CANARY.to_vec();
            payload.resize(1200, b'!');
            let quoted = match role {
                Role::Gateway => pair.client_data(0, 0, &payload),
                Role::Client => pair.server_data(0, 0, &payload),
            };
            for kind in kinds {
                let out = end.take(PortSide::Plain, &complaint(&quoted, kind));
                let [(PortSide::Cipher, frame)] = &out[..] else { panic!("one frame") };
                assert!(!contains(frame, CANARY), "{kind}");
                let view = parse_frame(frame).unwrap();
                assert!(checksum::verify_ipv4_header(frame, &view));
                assert!(checksum::verify_transport(frame, &view));
                let Transport::Icmp(icmp) = view.transport else { panic!("ICMP") };
                let message = icmp.message.slice(frame);
                // MTU, pointer and gateway address stay; ports and sequence number are there.
                assert_eq!((message[0], &message[6..8]), (kind, &[5, 0xdc][..]));
                assert_eq!(message[message.len() - 4..], quoted.seq.to_be_bytes());
                assert_eq!(view.frame_len(), frame.len());
            }
            let echo = if ends.0.is_ipv4() { 8 } else { 137 };
            let frame = complaint(&quoted, echo);
            end.refuses(PortSide::Plain, &frame, DropReason::UnexpectedProtocol);
            // From the network such an error is about nothing that left by this port.
            let frame = complaint(&quoted, kinds[0]);
            end.refuses(PortSide::Cipher, &frame, DropReason::IcmpUnrelated);
            assert_eq!(end.snapshot().tallies.quotations_cut, 5);
            end.assert_empty_hands();
        }
    }
}

#[test]
fn an_icmp_error_cut_short_at_any_length_is_no_panic_and_no_leak() {
    let mut end = Pair::synced().gateway;
    let quoted = Pair::new().client_data(0, 0, CANARY);
    let whole = complaint(&quoted, 11);
    for len in 14..whole.len() {
        let mut frame = whole[..len].to_vec();
        if let Some(field) = frame.get_mut(16..18) {
            field.copy_from_slice(&((len - 14) as u16).to_be_bytes());
        }
        if len >= 34 {
            let sum = checksum::ipv4_header(&frame[14..34]);
            frame[24..26].copy_from_slice(&sum.to_be_bytes());
        }
        if let Ok(view) = parse_frame(&frame) {
            checksum::fill_transport(&mut frame, &view);
        }
        let out = end.take(PortSide::Plain, &frame);
        assert!(out.iter().all(|(_, frame)| !contains(frame, CANARY)), "{len}");
    }
    end.assert_empty_hands();
}
