//! The segments that the burst benchmark runs on: what Linux hosts send, timestamps and all.

use std::net::{Ipv4Addr, SocketAddr};

use sekisho_tests::lab::forge::{Flow, Segment, flag};

/// Address of the protected server.
pub(super) const SERVER_IP: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 10);
/// Its TCP port.
pub(super) const SERVER_PORT: u16 = 80;

const CLIENT_IP: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 10);
const CLIENT_ISN: u32 = 0x1000_0000;
const SERVER_ISN: u32 = 0x2000_0000;
const MACS: ([u8; 6], [u8; 6]) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);

/// MSS 1460, SACK permitted, timestamps, window scale.
const SYN_OPTIONS: [u8; 20] = [2, 4, 0x05, 0xB4, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0, 1, 3, 3, 7];
/// Timestamps, padded as Linux does.
const DATA_OPTIONS: [u8; 12] = [1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 8];

/// Whence a segment comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// From the client.
    Client,
    /// From the server.
    Server,
}

fn flow(session: u16, from: From) -> Flow {
    // Two hundred clients per port: addresses differ as well as ports.
    let client = Ipv4Addr::from(u32::from(CLIENT_IP) + u32::from(session % 200));
    let client = SocketAddr::from((client, 40_000 + session / 200));
    let server = SocketAddr::from((SERVER_IP, SERVER_PORT));
    match from {
        From::Client => Flow { macs: MACS, src: client, dst: server },
        From::Server => Flow { macs: (MACS.1, MACS.0), src: server, dst: client },
    }
}

/// The SYN of a session.
pub(super) fn syn(session: u16) -> Vec<u8> {
    let (options, flags) = (&SYN_OPTIONS[..], flag::SYN);
    let segment = Segment { seq: CLIENT_ISN, flags, options, ..Segment::default() };
    flow(session, From::Client).segment(&segment)
}

/// The server's answer to it.
pub(super) fn syn_ack(session: u16) -> Vec<u8> {
    let (options, flags) = (&SYN_OPTIONS[..], flag::SYN | flag::ACK);
    let segment = Segment { seq: SERVER_ISN, ack: CLIENT_ISN + 1, flags, options, payload: &[] };
    flow(session, From::Server).segment(&segment)
}

/// Segment number `index` of one direction, with `payload` octets.
pub(super) fn data(session: u16, from: From, index: u16, payload: u16) -> Vec<u8> {
    let (own, far) = match from {
        From::Client => (CLIENT_ISN, SERVER_ISN),
        From::Server => (SERVER_ISN, CLIENT_ISN),
    };
    let payload_bytes: Vec<u8> = (0..payload).map(|at| (at % 251) as u8 ^ index as u8).collect();
    flow(session, from).segment(&Segment {
        seq: own + 1 + u32::from(index) * u32::from(payload),
        ack: far + 1,
        flags: flag::ACK | flag::PSH,
        options: &DATA_OPTIONS,
        payload: &payload_bytes,
    })
}
