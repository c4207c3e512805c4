//! The engine on frames: what it does, that it does it to the end, and that the seed decides.

use std::net::SocketAddr;
use std::time::Duration;

use sekisho_wire::checksum::{ipv4_header, verify_ipv4_header, verify_transport};
use sekisho_wire::{FrameView, parse_frame};

use super::engine::{Engine, Sending};
use super::spec::{Aim, Impairment, Plan, Way};
use crate::lab::forge::{Flow, Segment, flag};

const MACS: ([u8; 6], [u8; 6]) = ([2; 6], [4; 6]);
const NONE: Duration = Duration::ZERO;
const LATER: Duration = Duration::from_secs(1);

fn flows() -> [Flow; 2] {
    [("10.0.1.10:4000", "10.0.2.10:80"), ("[fd00:1::10]:4000", "[fd00:2::10]:80")].map(
        |(src, dst)| Flow {
            macs: MACS,
            src: src.parse::<SocketAddr>().unwrap(),
            dst: dst.parse::<SocketAddr>().unwrap(),
        },
    )
}

fn plan(spec: &str) -> Plan {
    let spec: Impairment = spec.parse().unwrap();
    Plan { seed: 3, ways: [spec.clone(), spec], ..Plan::default() }
}

/// All that comes out for these frames on their way up, in order.
fn through(engine: &mut Engine, frames: &[Vec<u8>]) -> Sending {
    let mut out = Sending::new();
    for frame in frames {
        engine.take(Way::Up, frame, NONE, &mut out);
    }
    // Twice: a frame that was overtaken may still have its way to go.
    engine.due(LATER, &mut out);
    engine.due(LATER * 2, &mut out);
    assert_eq!(engine.next_due(), None, "nothing stays behind");
    out
}

fn segments(flow: &Flow, count: u32) -> Vec<Vec<u8>> {
    let payload: Vec<u8> = (0..200).collect();
    (0..count)
        .map(|number| {
            let (seq, flags) = (1000 + 200 * number, flag::ACK | flag::PSH);
            flow.segment(&Segment { seq, flags, payload: &payload, ..Segment::default() })
        })
        .collect()
}

fn view(frame: &[u8]) -> FrameView {
    parse_frame(frame).unwrap()
}

fn right(frame: &[u8]) -> bool {
    verify_transport(frame, &view(frame)) && verify_ipv4_header(frame, &view(frame))
}

#[test]
fn without_impairment_every_frame_passes_unchanged_and_in_order() {
    for flow in flows() {
        let mut engine = Engine::new(plan(""));
        let frames = segments(&flow, 100);
        let out: Vec<_> = through(&mut engine, &frames).into_iter().map(|sent| sent.1).collect();
        assert_eq!(out, frames);
        assert_eq!(engine.counts(Way::Up).frames, 100);
    }
}

#[test]
fn equal_seeds_decide_equally_and_other_seeds_otherwise() {
    let spec = "loss=10,reorder=20,duplicate=10,corrupt=5,forge=5,split=10,delay=1,jitter=2";
    let frames = segments(&flows()[0], 500);
    let run = |seed| through(&mut Engine::new(Plan { seed, ..plan(spec) }), &frames);
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn counts_say_what_came_out() {
    let mut engine = Engine::new(plan("loss=20,duplicate=10,reorder=30"));
    let frames = segments(&flows()[1], 2000);
    let out = through(&mut engine, &frames);
    let counts = *engine.counts(Way::Up);
    assert!((300..500).contains(&counts.lost), "{counts:?}");
    assert!((120..200).contains(&counts.duplicated), "{counts:?}");
    assert!((450..650).contains(&counts.reordered), "{counts:?}");
    assert_eq!(out.len() as u64, counts.frames - counts.lost + counts.duplicated);
    let numbers: Vec<u32> =
        out.iter().map(|(_, frame)| view(frame).tcp().unwrap().seq.get()).collect();
    assert!(!numbers.is_sorted(), "reordering left the order as it was");
    assert_eq!(engine.report()["up"]["lost"], counts.lost);
}

#[test]
fn a_frame_that_is_overtaken_goes_on_after_eight_others_or_five_milliseconds() {
    let mut engine = Engine::new(plan("reorder=100"));
    let mut out = Sending::new();
    engine.take(Way::Up, &segments(&flows()[0], 1)[0], NONE, &mut out);
    assert!(out.is_empty());
    assert_eq!(engine.next_due(), Some(Duration::from_millis(5)));
    engine.due(Duration::from_millis(5), &mut out);
    assert_eq!(out.len(), 1);
}

#[test]
fn delay_keeps_the_order_and_jitter_need_not() {
    let frames = segments(&flows()[0], 50);
    let mut engine = Engine::new(plan("delay=20"));
    let mut out = Sending::new();
    frames.iter().for_each(|frame| engine.take(Way::Up, frame, NONE, &mut out));
    engine.due(Duration::from_millis(19), &mut out);
    assert!(out.is_empty());
    engine.due(Duration::from_millis(20), &mut out);
    let out: Vec<_> = out.into_iter().map(|sent| sent.1).collect();
    assert_eq!(out, frames);
    let mut jittered = through(&mut Engine::new(plan("jitter=20")), &frames);
    assert_ne!(jittered.iter().map(|sent| &sent.1).collect::<Vec<_>>(), Vec::from_iter(&frames));
    jittered.sort_by_key(|(_, frame)| view(frame).tcp().unwrap().seq.get());
    assert_eq!(jittered.into_iter().map(|sent| sent.1).collect::<Vec<_>>(), frames);
}

#[test]
fn corruption_shows_in_the_checksum_and_forgery_does_not() {
    for flow in flows() {
        let frames = segments(&flow, 50);
        for (spec, shows) in [("corrupt=100", true), ("forge=100", false)] {
            for ((_, frame), was) in
                through(&mut Engine::new(plan(spec)), &frames).iter().zip(&frames)
            {
                assert_ne!(frame, was);
                let view = view(was);
                assert_eq!(verify_transport(frame, &view), !shows, "{spec}");
                let header = usize::from(view.l4) + 4;
                assert_eq!(frame[..header], was[..header], "{spec}: addresses or ports changed");
            }
        }
    }
}

#[test]
fn only_packets_that_are_ecn_capable_are_marked() {
    for flow in flows() {
        let mut engine = Engine::new(plan("mark=100"));
        let mut frame = segments(&flow, 1).remove(0);
        assert_eq!(through(&mut engine, &[frame.clone()])[0].1, frame, "not ECN-capable");
        match flow.src.is_ipv4() {
            true => {
                frame[15] |= 2;
                let checksum = ipv4_header(&frame[14..34]).to_be_bytes();
                frame[24..26].copy_from_slice(&checksum);
            }
            false => frame[15] |= 2 << 4,
        }
        let out = through(&mut engine, &[frame.clone()]).remove(0).1;
        assert_eq!(view(&out).traffic_class & 3, 3);
        assert!(right(&out));
        assert_eq!(out[34..], frame[34..]);
        assert_eq!(engine.counts(Way::Up).marked, 1);
    }
}

#[test]
fn the_two_parts_of_a_split_segment_carry_the_whole() {
    for flow in flows() {
        let payload: Vec<u8> = (0..=255).collect();
        let options = [1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8];
        let flags = flag::ACK | flag::PSH | flag::FIN;
        let whole =
            Segment { seq: u32::MAX - 9, ack: 7, flags, options: &options, payload: &payload };
        let out = through(&mut Engine::new(plan("split=100")), &[flow.segment(&whole)]);
        let [(_, first), (_, second)] = out.as_slice() else { panic!("{} frames", out.len()) };
        assert!(right(first) && right(second));
        let (a, b) = (*view(first).tcp().unwrap(), *view(second).tcp().unwrap());
        let joined = [a.payload.slice(first), b.payload.slice(second)].concat();
        assert_eq!(joined, payload);
        assert_eq!(b.seq, a.seq.advance(u32::from(a.payload.len)));
        assert_eq!((a.flags.fin(), b.flags.fin()), (false, true));
        assert_eq!((a.options(first), b.options(second)), (&options[..], &options[..]));
    }
}

#[test]
fn stripped_options_are_nops_and_others_stay() {
    for flow in flows() {
        let options = [2, 4, 5, 180, 4, 2, 1, 3, 3, 7, 253, 5, 0x5E, 0x50, 9, 0];
        let frame = flow.segment(&Segment { flags: flag::SYN, options: &options, ..bare() });
        let mut engine = Engine::new(plan("strip=100,kinds=253+4"));
        let out = through(&mut engine, &[frame]);
        assert!(right(&out[0].1));
        let left = view(&out[0].1).tcp().unwrap().options(&out[0].1).to_vec();
        assert_eq!(left, [2, 4, 5, 180, 1, 1, 1, 3, 3, 7, 1, 1, 1, 1, 1, 0]);
        assert_eq!(engine.counts(Way::Up).stripped, 1);
        let out = through(&mut engine, &segments(&flow, 1));
        assert_eq!((out.len(), engine.counts(Way::Up).stripped), (1, 1), "nothing to strip");
    }
}

fn bare() -> Segment<'static> {
    Segment::default()
}

/// Sends a segment one way and gives back sequence number, acknowledgement and options.
fn pass(engine: &mut Engine, way: Way, frame: Vec<u8>) -> (u32, u32, Vec<u8>) {
    let mut out = Sending::new();
    engine.take(way, &frame, NONE, &mut out);
    let (to, frame) = out.remove(0);
    assert_eq!(to, way);
    assert!(right(&frame));
    let tcp = *view(&frame).tcp().unwrap();
    (tcp.seq.get(), tcp.ack.get(), tcp.options(&frame).to_vec())
}

#[test]
fn sequence_numbers_are_shifted_consistently_sack_blocks_too() {
    for up in flows() {
        let down = up.reversed();
        let (client, server) = (Some(Aim::At(u32::MAX - 5)), Some(Aim::At(0xFFFF_0000)));
        let mut engine =
            Engine::new(Plan { client_isn: client, server_isn: server, ..Plan::default() });
        let syn = up.segment(&Segment { seq: 100, flags: flag::SYN, ..bare() });
        assert_eq!(pass(&mut engine, Way::Up, syn.clone()).0, u32::MAX - 5);
        let syn_ack = Segment { seq: 7000, ack: 101, flags: flag::SYN | flag::ACK, ..bare() };
        // The server acknowledges what it has seen: the shifted number.
        let syn_ack = Segment { ack: u32::MAX - 4, ..syn_ack };
        let (seq, ack, _) = pass(&mut engine, Way::Down, down.segment(&syn_ack));
        assert_eq!((seq, ack), (0xFFFF_0000, 101));
        let repeated = pass(&mut engine, Way::Up, syn);
        assert_eq!(repeated.0, u32::MAX - 5, "a SYN repeated begins nothing");
        let data = Segment { seq: 101, ack: 0xFFFF_0001, flags: flag::ACK, ..bare() };
        let (seq, ack, _) = pass(&mut engine, Way::Up, up.segment(&data));
        assert_eq!((seq, ack), (u32::MAX - 4, 7001));
        // Blocks in the server's segment tell of the client's octets, as the server knows them.
        let mut options = vec![1, 1, 5, 10];
        options.extend((u32::MAX - 4).wrapping_add(1000).to_be_bytes());
        options.extend((u32::MAX - 4).wrapping_add(2000).to_be_bytes());
        let sack =
            Segment { seq: 7001, ack: u32::MAX - 4, flags: flag::ACK, options: &options, ..bare() };
        let (seq, ack, options) = pass(&mut engine, Way::Down, down.segment(&sack));
        assert_eq!((seq, ack), (0xFFFF_0001, 101));
        assert_eq!(options[4..8], 1101u32.to_be_bytes());
        assert_eq!(options[8..12], 2101u32.to_be_bytes());
        assert_eq!(engine.counts(Way::Down).shifted, 2);
    }
}

#[test]
fn a_translated_flow_gets_its_answers_back() {
    for up in flows() {
        let mut engine = Engine::new(Plan { nat: true, ..Plan::default() });
        let out = through(&mut engine, &[up.datagram(b"ask"), up.segment(&bare())]);
        let ports: Vec<u16> = out.iter().map(|sent| view(&sent.1).ports().unwrap().0).collect();
        assert!(out.iter().all(|sent| right(&sent.1)));
        assert!(ports[0] != 4000 && ports[1] != 4000 && ports[0] != ports[1]);
        for (port, udp) in ports.into_iter().zip([true, false]) {
            let mut down = up.reversed();
            down.dst.set_port(port);
            let frame = if udp { down.datagram(b"say") } else { down.segment(&bare()) };
            let mut out = Sending::new();
            engine.take(Way::Down, &frame, NONE, &mut out);
            assert_eq!(view(&out[0].1).ports(), Some((80, 4000)));
            assert!(right(&out[0].1));
        }
    }
}

#[test]
fn numbers_and_ports_are_rewritten_together() {
    for up in flows() {
        let aim = Some(Aim::At(50));
        let plan = Plan { client_isn: aim, server_isn: aim, nat: true, ..Plan::default() };
        let mut engine = Engine::new(plan);
        let syn = up.segment(&Segment { seq: 100, flags: flag::SYN, ..bare() });
        let out = through(&mut engine, &[syn]);
        let mut down = up.reversed();
        down.dst.set_port(view(&out[0].1).ports().unwrap().0);
        let answer = Segment { seq: 7000, ack: 51, flags: flag::SYN | flag::ACK, ..bare() };
        let mut out = Sending::new();
        engine.take(Way::Down, &down.segment(&answer), NONE, &mut out);
        let tcp = *view(&out[0].1).tcp().unwrap();
        assert_eq!((tcp.dst_port, tcp.seq.get(), tcp.ack.get()), (4000, 50, 101));
        assert!(right(&out[0].1));
    }
}

#[test]
fn a_packet_that_does_not_fit_is_answered_with_the_mtu() {
    for flow in flows() {
        let mut engine = Engine::new(plan("mtu=1000"));
        let payload = [7; 1200];
        let frame = flow.segment(&Segment { payload: &payload, flags: flag::ACK, ..bare() });
        let mut frame = frame;
        if flow.src.is_ipv4() {
            // Without don't-fragment there is no answer.
            assert!(through(&mut engine, &[frame.clone()]).is_empty());
            frame[20] |= 0x40;
        }
        let out = through(&mut engine, &[frame.clone(), segments(&flow, 1).remove(0)]);
        assert_eq!(out.len(), 2, "an answer and a segment that fits");
        let (way, answer) = &out[0];
        assert_eq!((*way, out[1].0), (Way::Down, Way::Up));
        assert!(verify_transport(answer, &view(answer)));
        assert_eq!(view(answer).dst, flow.src.ip());
        let icmp = usize::from(view(answer).l4);
        assert_eq!(answer[icmp + 6..icmp + 8], 1000u16.to_be_bytes());
        assert_eq!(answer[icmp + 8..icmp + 48], frame[14..54], "the packet is quoted");
        assert_eq!(answer[..6], MACS.0);
    }
}

#[test]
fn neighbour_discovery_and_what_is_no_ip_pass_whatever_is_asked() {
    let mut arp = vec![0xFF; 12];
    arp.extend([0x08, 0x06]);
    arp.extend([0; 46]);
    let mut solicitation = flows()[1].icmp_error((135, 0), &[0; 60]);
    let mut engine = Engine::new(plan("loss=100"));
    let frames = [arp, solicitation.clone()];
    let out: Vec<_> = through(&mut engine, &frames).into_iter().map(|sent| sent.1).collect();
    assert_eq!(out, frames);
    solicitation[54] = 128;
    assert!(through(&mut engine, &[solicitation]).is_empty(), "an echo is lost");
}
