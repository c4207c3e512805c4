//! A client host with a TCP of its own making, for what smoltcp does not do: it sends an offset
//! again with other octets and other borders, probes with a garbage octet, sets URG, and has the
//! option sets of other systems.

use std::net::SocketAddr;

use sekisho_wire::{FrameView, TcpFlags, TcpView};

use crate::sim::dice::Dice;
use crate::sim::frame::{self, Segment};
use crate::sim::invariant::Finding;
use crate::sim::invariant::streams::{Reader, Streams};
use crate::sim::pattern;
use crate::sim::plan::{Feature, Plan};
use crate::sim::schedule::{MILLISECOND, SECOND};

/// Octets sent and not acknowledged at most.
const WINDOW: u64 = 4000;
/// Octets of a segment at most: the lowest MSS on the way, less timestamps.
const LONGEST: u64 = 1400;
/// Segments kept that came before their turn.
const AHEAD: usize = 16;
/// Without any progress for so long the host gives up.
const PATIENCE: u64 = 100 * SECOND;

/// Options of the SYN, and of all other segments, of some systems.
const SYSTEMS: [(&[u8], &[u8]); 3] = [
    // Linux: MSS, SACK, timestamps, window scale.
    (
        &[2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7],
        &[1, 1, 8, 10, 0, 0, 0, 2, 0, 0, 0, 1],
    ),
    // Windows: no timestamps.
    (&[2, 4, 5, 0xb4, 1, 3, 3, 8, 1, 1, 4, 2], &[]),
    // BSD: the scale before SACK and timestamps.
    // It has jumbo frames where it is.
    (
        &[2, 4, 0x22, 0xd8, 1, 3, 3, 6, 1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 4, 2, 0, 0],
        &[1, 1, 8, 10, 0, 0, 0, 2, 0, 0, 0, 1],
    ),
];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Opening,
    Open,
    /// Its FIN is out.
    Closing,
    Over,
}

/// How the connection came to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::sim) enum RawEnd {
    /// As planned.
    Complete,
    /// It was never established.
    Refused,
    /// The peer, or a station, reset it; or nothing came any more.
    Aborted,
}

/// The host and its one connection.
pub(in crate::sim) struct Raw {
    local: SocketAddr,
    remote: SocketAddr,
    isn: u32,
    system: usize,
    stream: u32,
    total: u64,
    /// Acknowledged, and sent: offsets.
    una: u64,
    next: u64,
    rcv_next: u32,
    /// Segments that came before their turn: where they begin, whether a FIN ends them.
    ahead: Vec<(u32, Vec<u8>, bool)>,
    stage: Stage,
    end: Option<RawEnd>,
    resets: bool,
    peer_is_done: bool,
    repeat_at: u64,
    heard_at: u64,
    acknowledges: bool,
    /// The acknowledgement of a segment that came after the end.
    disowned: Option<u32>,
    reader: Reader,
    dice: Dice,
}

impl Raw {
    /// The host of a plan.
    pub(in crate::sim) fn new(
        plan: &Plan,
        (local, remote): (SocketAddr, SocketAddr),
        streams: &mut Streams,
    ) -> Self {
        let mut dice = Dice::new(plan.seed, "raw host");
        let total = dice.pick(&[100, 3000, 20_000]);
        let isn = match plan.features.has(Feature::NearWrap) {
            true => u32::MAX - dice.below(total) as u32,
            false => dice.word(),
        };
        Self {
            local,
            remote,
            isn,
            system: dice.below(SYSTEMS.len() as u64) as usize,
            stream: streams.open(true),
            total,
            una: 0,
            next: 0,
            rcv_next: 0,
            ahead: Vec::new(),
            stage: Stage::Opening,
            end: None,
            resets: dice.chance(300),
            peer_is_done: false,
            repeat_at: 0,
            heard_at: 0,
            acknowledges: false,
            disowned: None,
            reader: Reader::default(),
            dice,
        }
    }

    /// How it ended, once it has.
    pub(in crate::sim) fn end(&self) -> Option<RawEnd> {
        self.end
    }

    /// A frame for this host.
    pub(in crate::sim) fn push(
        &mut self,
        now: u64,
        bytes: &[u8],
        streams: &mut Streams,
    ) -> Result<(), Finding> {
        let Some((view, tcp)) = frame::tcp(bytes) else { return Ok(()) };
        if !self.is_ours(&view) {
            return Ok(());
        }
        if self.stage == Stage::Over {
            // A host that knows nothing of a connection says so.
            self.disowned = (!tcp.flags.rst()).then_some(tcp.ack.get());
            return Ok(());
        }
        let acked = tcp.ack.get().wrapping_sub(self.isn.wrapping_add(1));
        if self.stage == Stage::Opening {
            self.open(now, &tcp, acked);
            return Ok(());
        }
        if tcp.flags.rst() {
            // As RFC 5961 has it: only at the next octet.
            if tcp.seq.get() == self.rcv_next {
                self.finish(if self.is_complete() { RawEnd::Complete } else { RawEnd::Aborted });
            }
            return Ok(());
        }
        let most = self.next + u64::from(self.stage == Stage::Closing);
        if (self.una..=most).contains(&u64::from(acked)) && u64::from(acked) > self.una {
            self.una = u64::from(acked);
            self.heard_at = now;
            self.repeat_at = now + 400 * MILLISECOND;
        }
        self.receive(now, &tcp, tcp.payload.slice(bytes), streams)?;
        if self.is_complete() {
            self.finish(RawEnd::Complete);
        }
        Ok(())
    }

    /// What the host sends now, and when it wants to send again.
    pub(in crate::sim) fn poll(
        &mut self,
        now: u64,
        streams: &mut Streams,
    ) -> (Vec<Vec<u8>>, Option<u64>) {
        let mut out = Vec::new();
        if self.heard_at == 0 {
            self.heard_at = now;
        }
        if std::mem::take(&mut self.acknowledges) {
            let fin = u64::from(self.stage == Stage::Closing);
            out.push(self.segment((self.seq(self.next + fin), TcpFlags::ACK), &[]));
        }
        if let Some(seq) = self.disowned.take() {
            out.push(self.segment((seq, TcpFlags::RST), &[]));
        }
        if self.stage != Stage::Over && now > self.heard_at + PATIENCE {
            let opening = self.stage == Stage::Opening;
            self.finish(if opening { RawEnd::Refused } else { RawEnd::Aborted });
        }
        match self.stage {
            Stage::Over => {}
            Stage::Opening if now >= self.repeat_at => {
                out.push(self.segment((self.isn, TcpFlags::SYN), &[]));
                self.repeat_at = now + SECOND;
            }
            Stage::Opening => {}
            Stage::Open | Stage::Closing => self.send(now, streams, &mut out),
        }
        (out, Some(now + 50 * MILLISECOND))
    }

    fn open(&mut self, now: u64, tcp: &TcpView, acked: u32) {
        if tcp.flags.rst() && tcp.flags.ack() && acked == 0 {
            self.finish(RawEnd::Refused);
        } else if tcp.flags.syn() && tcp.flags.ack() && acked == 0 {
            self.stage = Stage::Open;
            self.rcv_next = tcp.seq.get().wrapping_add(1);
            self.acknowledges = true;
            self.heard_at = now;
        }
    }

    fn receive(
        &mut self,
        now: u64,
        tcp: &TcpView,
        payload: &[u8],
        streams: &mut Streams,
    ) -> Result<(), Finding> {
        if tcp.sequence_len() == 0 || tcp.flags.syn() {
            return Ok(());
        }
        self.acknowledges = true;
        self.ahead.push((tcp.seq.get(), payload.to_vec(), tcp.flags.fin()));
        // Whatever fits is taken, until nothing does.
        while let Some(at) = self.ahead.iter().position(|(seq, payload, _)| {
            self.rcv_next.wrapping_sub(*seq) as usize <= payload.len()
        }) {
            let (seq, payload, is_last) = self.ahead.swap_remove(at);
            self.take(now, &payload[self.rcv_next.wrapping_sub(seq) as usize..], is_last, streams)?;
        }
        self.ahead.truncate(AHEAD);
        Ok(())
    }

    fn take(
        &mut self,
        now: u64,
        fresh: &[u8],
        is_last: bool,
        streams: &mut Streams,
    ) -> Result<(), Finding> {
        if self.peer_is_done || (fresh.is_empty() && !is_last) {
            return Ok(());
        }
        self.heard_at = now;
        streams.deliver(&mut self.reader, u64::from(self.stream), fresh)?;
        // A segment is shorter than 2^16.
        self.rcv_next = self.rcv_next.wrapping_add(fresh.len() as u32);
        if is_last {
            self.rcv_next = self.rcv_next.wrapping_add(1);
            self.peer_is_done = true;
            streams.finish(&self.reader)?;
        }
        Ok(())
    }

    fn send(&mut self, now: u64, streams: &mut Streams, out: &mut Vec<Vec<u8>>) {
        while self.next < self.total && self.next - self.una < WINDOW {
            let length = self.dice.within(1, LONGEST).min(self.total - self.next);
            out.push(self.data(self.next, length, false));
            self.next += length;
            streams.wrote(self.stream, length as usize);
            self.repeat_at = now + 400 * MILLISECOND;
        }
        if now < self.repeat_at {
            if self.dice.chance(30) {
                out.push(self.probe());
            }
            return;
        }
        self.repeat_at = now + 400 * MILLISECOND;
        if self.una < self.next {
            // The same offsets with other borders, and perhaps other octets.
            let other = self.dice.chance(500);
            let length = self.dice.within(1, LONGEST).min(self.next - self.una);
            out.push(self.data(self.una, length, other));
        } else if self.resets {
            out.push(self.segment((self.seq(self.next), TcpFlags::RST | TcpFlags::ACK), &[]));
            self.finish(RawEnd::Complete);
        } else if self.una == self.total {
            if self.stage == Stage::Open {
                self.stage = Stage::Closing;
                streams.close(self.stream);
            }
            out.push(self.segment((self.seq(self.total), TcpFlags::FIN | TcpFlags::ACK), &[]));
        }
    }

    /// A keep-alive as BSD and Windows send it: one octet of garbage below what is acknowledged.
    fn probe(&mut self) -> Vec<u8> {
        let garbage = [self.dice.word() as u8];
        self.segment((self.seq(self.una).wrapping_sub(1), TcpFlags::ACK), &garbage)
    }

    fn data(&mut self, offset: u64, length: u64, other: bool) -> Vec<u8> {
        let mut payload = vec![0; length as usize];
        pattern::fill(self.stream, offset, other, &mut payload);
        let urgent = if self.dice.chance(100) { TcpFlags::URG } else { TcpFlags::NONE };
        let flags = TcpFlags::ACK | TcpFlags::PSH | urgent;
        self.segment((self.seq(offset), flags), &payload)
    }

    fn segment(&self, (seq, flags): (u32, TcpFlags), payload: &[u8]) -> Vec<u8> {
        let (of_syn, of_others) = SYSTEMS[self.system];
        let options = if flags.syn() { of_syn } else { of_others };
        let ack = if flags.ack() { self.rcv_next } else { 0 };
        let urgent = u16::from(flags.contains(TcpFlags::URG));
        let (src, dst) = (self.local, self.remote);
        Segment { src, dst, seq, ack, flags, urgent, options, payload }.build()
    }

    /// The sequence number of an offset: its low 32 bits count from ISN + 1.
    fn seq(&self, offset: u64) -> u32 {
        self.isn.wrapping_add(1).wrapping_add(offset as u32)
    }

    fn is_ours(&self, view: &FrameView) -> bool {
        view.source() == Some(self.remote) && view.destination() == Some(self.local)
    }

    fn is_complete(&self) -> bool {
        self.stage == Stage::Closing && self.una > self.total && self.peer_is_done
    }

    fn finish(&mut self, end: RawEnd) {
        self.stage = Stage::Over;
        self.end.get_or_insert(end);
    }
}
