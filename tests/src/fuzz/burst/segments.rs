//! What hosts, strangers and holders of keys send in a script. The payload of a host is a function of
//! direction and sequence number, so that whoever reads it knows whether it is true.

use std::net::SocketAddr;

use sekisho_cipher::{Associated, EpochKeys, KeyContext, Payload, SegmentFlags, TrafficKeys, seal};
use sekisho_session::Direction;
use sekisho_wire::{
    AcceptOption, OptionCodes, RequestOption, ResyncOption, SekishoOption, TagOption, checksum,
    parse_frame,
};

use crate::fuzz::script::Script;
use crate::lab::forge::{Flow, Segment, flag};

/// In front of every sixteen octets that a host sends; by direction.
pub(super) const CANARIES: [&[u8; 16]; 2] = [b"canary-upward-01", b"CANARY-DOWN-4567"];
/// Octets of a canary that are looked for; a payload of 31 octets holds them once.
pub(super) const TELLTALE: usize = 8;

const ISNS: [u32; 4] = [0xffff_ff00, 0x7fff_fff0, 0, 1000];
const MACS: ([u8; 6], [u8; 6]) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
const TIMESTAMPS: [u8; 12] = [1, 1, 8, 10, 0, 0, 0, 2, 0, 0, 0, 1];
const SYN_OPTIONS: [u8; 20] = [2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];
/// Timestamps and three SACK blocks: no room left.
const FULL_OPTIONS: [u8; 40] = [
    1, 1, 8, 10, 0, 0, 0, 2, 0, 0, 0, 1, 1, 1, 5, 26, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4,
    0, 0, 0, 5, 0, 0, 0, 6, 0,
];
const FLAGS: [u8; 8] = [
    flag::ACK,
    flag::ACK | flag::PSH,
    flag::SYN,
    flag::SYN | flag::ACK,
    flag::FIN | flag::ACK,
    flag::RST,
    flag::RST | flag::ACK,
    flag::ACK | 0x20,
];

/// The ends of a connection: four clients, two families.
fn ends(choice: u8) -> (SocketAddr, SocketAddr) {
    let port = 40_000 + u16::from(choice >> 1 & 1);
    if choice & 1 == 0 {
        (SocketAddr::from(([10, 0, 0, 1], port)), SocketAddr::from(([10, 0, 2, 10], 80)))
    } else {
        let address = |net| std::net::Ipv6Addr::new(0xfd00, net, 0, 0, 0, 0, 0, 1);
        (SocketAddr::from((address(1), port)), SocketAddr::from((address(2), 443)))
    }
}

/// The flow of what `end` (0: client's, 1: server's) sends.
fn flow(choice: u8, end: usize) -> Flow {
    let (client, server) = ends(choice);
    let up = Flow { macs: MACS, src: client, dst: server };
    if end == 0 { up } else { up.reversed() }
}

/// The true octets of a direction from sequence number `seq` on.
pub(super) fn truth(end: usize, seq: u32, len: usize) -> Vec<u8> {
    let from = seq as usize % 16;
    CANARIES[end].iter().copied().cycle().skip(from).take(len).collect()
}

/// Keys of both directions made from a small number. None is zero: GHASH under a zero key is zero, so any
/// segment would verify.
pub(super) fn keys(n: u8) -> Box<EpochKeys> {
    let [up, down] = [n | 0x40, n | 0xc0].map(|n| TrafficKeys::from_bytes(&[n; 32], &[n; 16]));
    EpochKeys::new(&up, &down).expect("invariant: the directions differ")
}

/// Distance from the start of a stream.
fn distance(script: &mut Script<'_>) -> u32 {
    match script.u8() {
        near @ 0..=199 => u32::from(near),
        200..=239 => u32::from(script.u16()),
        below @ 240..=247 => u32::from(below - 239).wrapping_neg(),
        _ => script.u32(),
    }
}

fn length(script: &mut Script<'_>) -> usize {
    match script.u8() {
        short @ 0..=127 => usize::from(short),
        long => usize::from(long) * 6,
    }
}

fn options(script: &mut Script<'_>, flags: u8) -> Vec<u8> {
    match script.u8() % 6 {
        0 | 1 if flags & flag::SYN != 0 => SYN_OPTIONS.to_vec(),
        0 | 1 => TIMESTAMPS.to_vec(),
        2 => Vec::new(),
        3 => FULL_OPTIONS.to_vec(),
        _ => {
            let len = script.below(41);
            padded(script.take(len).to_vec())
        }
    }
}

/// To a multiple of four with NOPs, 40 octets at most.
fn padded(mut options: Vec<u8>) -> Vec<u8> {
    options.resize(options.len().next_multiple_of(4).min(40), 1);
    options
}

/// Header fields as every kind of sender chooses them.
struct Choice {
    flow: Flow,
    seq: u32,
    ack: u32,
    flags: u8,
}

fn choice(script: &mut Script<'_>, end: usize) -> Choice {
    let which = script.u8();
    let flags = script.u8();
    let flags = if flags < 248 { FLAGS[usize::from(flags) % 8] } else { script.u8() };
    let isn = |n: u8| ISNS[usize::from(n & 3)];
    let (mine, theirs) = (isn(which >> 2), isn(which >> 4));
    // The SYN itself has the ISN, the first octet the number behind it.
    let start = if flags & flag::SYN != 0 { mine } else { mine.wrapping_add(1) };
    Choice {
        flow: flow(which, end),
        seq: start.wrapping_add(distance(script)),
        ack: theirs.wrapping_add(1).wrapping_add(distance(script)),
        flags,
    }
}

/// A segment of a host: any header, true octets.
pub(super) fn hosts_segment(script: &mut Script<'_>, end: usize) -> Vec<u8> {
    let Choice { flow, seq, ack, flags } = choice(script, end);
    let options = options(script, flags);
    let first = seq.wrapping_add(u32::from(flags & flag::SYN != 0));
    let payload = truth(end, first, length(script));
    flow.segment(&Segment { seq, ack, flags, options: &options, payload: &payload })
}

/// A segment of somebody without keys, towards `end`: any header, an option of ours or none, and octets
/// that no host sends.
pub(super) fn strangers_segment(script: &mut Script<'_>, end: usize) -> Vec<u8> {
    let Choice { flow, seq, ack, flags } = choice(script, 1 - end);
    let codes = OptionCodes::default();
    let request_id = u64::from(script.u16());
    let ours = match script.u8() % 6 {
        0 => None,
        1 => Some(SekishoOption::Request(RequestOption { request_id })),
        2 => Some(SekishoOption::Accept(AcceptOption { request_id })),
        3 => Some(SekishoOption::Resync(ResyncOption { request_id })),
        _ => Some(SekishoOption::Tag(TagOption { phase: script.u8() & 1, tag: [0x5a; 12] })),
    };
    let mut list = options(script, flags);
    if let Some(ours) = ours {
        list.truncate(24);
        list.extend_from_slice(&ours.encode(&codes)[..ours.len()]);
    }
    let payload = vec![b'?'; length(script)];
    flow.segment(&Segment { seq, ack, flags, options: &padded(list), payload: &payload })
}

/// A segment with a tag that verifies, towards `end`, as a peer that holds the keys may make it whatever
/// its sealer would have said. Its octets are true ones.
pub(super) fn keyed_segment(script: &mut Script<'_>, end: usize) -> Vec<u8> {
    let Choice { flow, seq, ack, flags } = choice(script, 1 - end);
    let how = script.u8();
    let keys = keys(how & 3);
    let direction = Direction::BOTH[1 - end];
    let keys = match direction {
        Direction::ClientToServer => keys.client_to_server(),
        Direction::ServerToClient => keys.server_to_client(),
    };
    let offset = match how >> 2 & 3 {
        0 => u64::MAX,
        1 => u64::from(script.u32()),
        // What the opener will make of it, for the first ISN that fits.
        _ => ISNS
            .iter()
            .map(|isn| u64::from(seq.wrapping_sub(isn.wrapping_add(1))))
            .min()
            .unwrap_or_default(),
    };
    let payload = truth(1 - end, seq, length(script));
    let flags_covered = SegmentFlags { fin: flags & flag::FIN != 0, rst: flags & flag::RST != 0 };
    let phase = how >> 4 & 1;
    let mut sealed = payload;
    // At most 1530 octets.
    let at = Payload { src: 0, dst: 0, len: sealed.len() as u16 };
    let associated = Associated { offset, flags: flags_covered, phase };
    let tag = seal(&KeyContext::new(keys), &associated, &mut sealed, at).tag;
    let mut list = options(script, flags);
    list.truncate(24);
    list.extend_from_slice(&TagOption { phase, tag }.encode(&OptionCodes::default()));
    flow.segment(&Segment { seq, ack, flags, options: &list, payload: &sealed })
}

/// A datagram of key delivery, as control has one sent.
pub(super) fn delivery_datagram(script: &mut Script<'_>) -> Vec<u8> {
    let mut flow = flow(script.u8(), 1);
    flow.src.set_port(1088);
    flow.dst.set_port(1088);
    let len = script.below(64);
    flow.datagram(script.take(len))
}

/// Writes checksums that hold, where the frame parses.
pub(super) fn with_checksums(frame: &mut [u8]) {
    if frame.get(12..14) == Some(&[8, 0]) && frame.len() >= 34 {
        frame[24..26].fill(0);
        let sum = checksum::ipv4_header(&frame[14..34]);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
    }
    if let Ok(view) = parse_frame(frame) {
        let _ = checksum::fill_transport(frame, &view);
    }
}
