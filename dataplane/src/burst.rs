//! The one burst loop: parse → look up → decide → cipher → checksum → emit, for both roles and
//! both sides. Owns the order of the steps.
//!
//! Packets are decided in their order of arrival. What needs the cipher waits for those behind it,
//! so that all go through one pass, and then all come to their ends in the order of arrival. Where
//! a decision may depend on what waits, that comes to its end first ([`segment::standing`]): a
//! burst does what its frames would do one by one.
//!
//! What plain data runs through, here and in the crates below, is inlined by force
//! (`inline(always)`) where a call, which saves and restores what registers hold, costs about as
//! much as the step itself. Rare ways out of it are functions of their own.

use sekisho_port::{Frame, PacketIo, PortSide};
use sekisho_session::{FlowHasher, SessionId, Time};
use sekisho_wire::{L2Header, Transport, parse_frame};

use crate::batch;
use crate::buffer::DatagramBuf;
use crate::classify::{Segment, classify};
use crate::drop_reason::DropReason;
use crate::event::Event;
use crate::icmp_error;
use crate::packet::{Job, Kind, Packet, Work};
use crate::quotation;
use crate::segment::{self, Standing};
use crate::verdict::Verdict;
use crate::worker::Worker;

/// Takes all of `frames`, which came in on `side`, to their ends.
pub fn process_burst(
    worker: &mut Worker,
    io: &mut impl PacketIo,
    side: PortSide,
    frames: &mut Vec<Frame>,
    now: Time,
) {
    let bytes = frames.iter().map(Frame::len).sum();
    worker.counters.received(side, frames.len(), bytes);
    process_frames(worker, io, side, frames, now);
}

/// The same for frames that are counted already: those that another worker received.
pub(crate) fn process_frames(
    worker: &mut Worker,
    io: &mut impl PacketIo,
    side: PortSide,
    frames: &mut Vec<Frame>,
    now: Time,
) {
    let mut packets = std::mem::take(&mut worker.packets);
    debug_assert!(!packets.is_empty(), "one burst at a time");
    while !frames.is_empty() {
        let count = frames.len().min(packets.len());
        let batch = &mut packets[..count];
        for (packet, frame) in batch.iter_mut().zip(frames.drain(..count)) {
            read(worker, side, packet, frame);
        }
        look_up(worker, batch);
        process(worker, io, batch, now);
    }
    worker.packets = packets;
}

/// A frame by itself: one that was held.
pub(crate) fn process_frame(
    worker: &mut Worker,
    io: &mut impl PacketIo,
    side: PortSide,
    frame: Frame,
    now: Time,
) {
    let mut packets = [Packet::vacant()];
    read(worker, side, &mut packets[0], frame);
    look_up(worker, &mut packets);
    process(worker, io, &mut packets, now);
}

/// Fills in what a frame is.
#[inline(always)]
fn read(worker: &Worker, side: PortSide, packet: &mut Packet, frame: Frame) {
    packet.kind = classify(&worker.config, side, frame.data(), &mut packet.segment);
    packet.frame = Some(frame);
}

/// Looks for the sessions of a batch before any of it is decided: all hashes, then all sessions, so
/// that those wait for memory at the same time. What is decided first may end or begin a session, so
/// these are guesses.
///
/// Packets of one flow come in trains: each takes over what was found for the one before it.
#[inline]
fn look_up(worker: &Worker, packets: &mut [Packet]) {
    let mut before: Option<&Packet> = None;
    for packet in packets.iter_mut().filter(|packet| packet.kind == Kind::Tcp) {
        let flow = &packet.segment.flow;
        packet.hash = match before {
            Some(before) if before.segment.flow == *flow => before.hash,
            _ => worker.config.hasher.hash(flow),
        };
        before = Some(packet);
    }
    let mut before: Option<&Packet> = None;
    for packet in packets.iter_mut().filter(|packet| packet.kind == Kind::Tcp) {
        packet.job.id = match before {
            Some(before) if before.hash == packet.hash => before.job.id,
            _ => {
                let id = worker.table.lookup_hashed(packet.hash, &packet.segment.flow);
                id.unwrap_or(SessionId::NONE)
            }
        };
        before = Some(packet);
    }
}

/// Decides packets in order, at most a batch of them, and brings all to their ends in order.
fn process(worker: &mut Worker, io: &mut impl PacketIo, packets: &mut [Packet], now: Time) {
    let mut first = 0;
    for at in 0..packets.len() {
        let standing = standing(worker, &mut packets[at]);
        let alone = matches!(standing, Standing::Alone | Standing::Handshake);
        if alone {
            batch::finish(worker, io, &mut packets[first..at], now);
            first = at;
        }
        loop {
            decide(worker, &mut packets[at], standing, now);
            if packets[at].work != Work::Later || first == at {
                break;
            }
            batch::finish(worker, io, &mut packets[first..at], now);
            first = at;
        }
        if alone {
            batch::finish(worker, io, &mut packets[at..=at], now);
            first = at + 1;
        }
    }
    batch::finish(worker, io, &mut packets[first..], now);
}

#[inline(always)]
fn standing(worker: &Worker, packet: &mut Packet) -> Standing {
    match packet.kind {
        Kind::Tcp => {
            let Packet { segment, hash, job, .. } = packet;
            segment::standing(worker, segment, *hash, &mut job.id)
        }
        // What it may quote depends on the acknowledgements before it.
        Kind::Icmp => Standing::Alone,
        Kind::Datagram | Kind::Bad(_) => Standing::Stranger,
    }
}

#[inline]
fn decide(worker: &mut Worker, packet: &mut Packet, standing: Standing, now: Time) {
    let Packet { frame: Some(frame), kind, segment, hash, job, work } = packet else {
        return;
    };
    let decided = match kind {
        Kind::Tcp => {
            let owner = FlowHasher::shard(*hash, worker.exchange.workers());
            if owner == worker.exchange.own() {
                tcp(worker, (frame, segment, job), standing, now)
            } else {
                // Verified where it is decided. There are 65 535 workers at most.
                Ok(Verdict::HandOff(owner as u32).into())
            }
        }
        Kind::Datagram => datagram(worker, frame, segment).map(Work::End),
        Kind::Icmp => error_message(worker, frame, segment).map(Work::End),
        Kind::Bad(reason) => Err(*reason),
    };
    *work = match decided {
        Ok(work) => work,
        Err(reason) => Verdict::Drop(reason).into(),
    };
}

/// A segment whose checksum does not hold decides nothing (hazard 5, M3.10). Only one that joins a
/// batch is decided before that is known, since the cipher pass will tell.
#[inline(always)]
fn tcp(
    worker: &mut Worker,
    (frame, segment, job): (&mut Frame, &mut Segment, &mut Job),
    standing: Standing,
    now: Time,
) -> Result<Work, DropReason> {
    if standing != Standing::Joins {
        segment.verify(frame.data())?;
        return segment::decide(worker, (frame, segment, job), standing, now);
    }
    let work = segment::decide(worker, (frame, segment, job), standing, now);
    if !matches!(work, Ok(Work::Cipher | Work::Later)) {
        segment.verify(frame.data())?;
    }
    work
}

/// ICMP about protected TCP: from the cipher side it is judged, from the plain side it must quote no
/// payload.
fn error_message(
    worker: &mut Worker,
    frame: &mut Frame,
    segment: &Segment,
) -> Result<Verdict, DropReason> {
    let view = parse_frame(frame.data()).map_err(|_| DropReason::IcmpHeader)?;
    let Transport::Icmp(icmp) = view.transport else {
        return Err(DropReason::IcmpHeader);
    };
    if segment.side == PortSide::Cipher {
        return icmp_error::decide(worker, frame, &view, &icmp);
    }
    quotation::cut(frame, &view, &icmp)?;
    worker.counters.tallies().quotations_cut.add(1);
    Ok(Verdict::Forward)
}

/// Key delivery goes to control, which knows what it means; any worker may take it.
fn datagram(worker: &mut Worker, frame: &Frame, segment: &Segment) -> Result<Verdict, DropReason> {
    let (side, frame) = (segment.side, frame.data());
    let view = parse_frame(frame).map_err(|_| DropReason::UdpHeader)?;
    let (Some(udp), Some(src), Some(dst)) = (view.udp(), view.source(), view.destination()) else {
        return Err(DropReason::UdpHeader);
    };
    let l2 = L2Header::from_frame(frame, &view).ok_or(DropReason::Truncated)?;
    let bytes = DatagramBuf::from_slice(udp.payload.slice(frame))
        .filter(|bytes| !bytes.is_empty())
        .ok_or(DropReason::KdpLength)?;
    let event = Event::Datagram { worker: worker.config.index, side, src, dst, l2, bytes };
    if worker.push_event(event) { Ok(Verdict::Consume) } else { Err(DropReason::EventRingFull) }
}
