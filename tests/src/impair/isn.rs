//! Initial sequence numbers rewritten as some firewalls do: sequence and acknowledgement numbers and
//! SACK blocks of each connection are shifted by what its SYN and SYN-ACK were shifted by.
//! Owns the connections it has seen begin; others pass unshifted.

use std::collections::HashMap;
use std::net::SocketAddr;

use sekisho_wire::{FrameView, TcpView};

use super::edit::{ACK_AT, SEQ_AT, add, options, with_checksum};
use super::random::Random;
use super::spec::Aim;

const SACK: u8 = 5;

/// How far one direction of a connection is shifted.
#[derive(Clone, Copy, Debug)]
struct Shift {
    /// The initial sequence number that it was worked out for.
    isn: u32,
    by: u32,
}

#[derive(Clone, Copy, Debug)]
struct Flow {
    client: Shift,
    server: Option<Shift>,
}

/// The rewriting of all connections.
#[derive(Debug)]
pub(super) struct Shifter {
    client: Option<Aim>,
    server: Option<Aim>,
    random: Random,
    /// By client and server.
    flows: HashMap<(SocketAddr, SocketAddr), Flow>,
}

impl Shifter {
    pub(super) fn new(client: Option<Aim>, server: Option<Aim>, random: Random) -> Self {
        Self { client, server, random, flows: HashMap::new() }
    }

    /// Rewrites a segment; whether it changed.
    pub(super) fn apply(&mut self, frame: &mut [u8], view: &FrameView) -> bool {
        if self.client.is_none() && self.server.is_none() {
            return false;
        }
        let (Some(tcp), Some(src), Some(dst)) = (view.tcp(), view.source(), view.destination())
        else {
            return false;
        };
        let Some((seq_by, ack_by)) = self.shifts(tcp, src, dst) else { return false };
        if seq_by == 0 && ack_by == 0 {
            return false;
        }
        let l4 = usize::from(tcp.l4);
        let sacks: Vec<_> =
            options(frame, view).into_iter().filter(|(_, kind, _)| *kind == SACK).collect();
        with_checksum(frame, view, |frame| {
            add(frame, l4 + SEQ_AT, seq_by);
            if tcp.flags.ack() {
                add(frame, l4 + ACK_AT, ack_by);
            }
            for (at, _, length) in sacks {
                (at + 2..at + length).step_by(4).for_each(|edge| add(frame, edge, ack_by));
            }
            true
        })
    }

    /// What to add to the sequence number and to what the segment acknowledges.
    fn shifts(&mut self, tcp: &TcpView, src: SocketAddr, dst: SocketAddr) -> Option<(u32, u32)> {
        let isn = tcp.seq.get();
        if tcp.flags.syn() && !tcp.flags.ack() {
            let known = self.flows.get(&(src, dst)).is_some_and(|flow| flow.client.isn == isn);
            if !known {
                let client = shift(self.client, isn, &mut self.random);
                self.flows.insert((src, dst), Flow { client, server: None });
            }
        }
        if let Some(flow) = self.flows.get(&(src, dst)) {
            return Some((flow.client.by, by(flow.server).wrapping_neg()));
        }
        let flow = self.flows.get_mut(&(dst, src))?;
        if tcp.flags.syn() && flow.server.is_none_or(|server| server.isn != isn) {
            flow.server = Some(shift(self.server, isn, &mut self.random));
        }
        Some((by(flow.server), flow.client.by.wrapping_neg()))
    }
}

fn by(shift: Option<Shift>) -> u32 {
    shift.map_or(0, |shift| shift.by)
}

fn shift(aim: Option<Aim>, isn: u32, random: &mut Random) -> Shift {
    let by = match aim {
        None => 0,
        Some(Aim::At(number)) => number.wrapping_sub(isn),
        Some(Aim::Random) => random.next() as u32,
    };
    Shift { isn, by }
}
