//! The end of packets that were decided: one cipher pass over those that need it, then each is
//! finished and brought to its end, in the order of arrival. Owns the cipher's job lists.

use arrayvec::ArrayVec;
use sekisho_cipher::{BATCH, BadTag, OpenJob, SealJob, Sealed, open_batch, seal_batch};
use sekisho_port::{Frame, PacketIo, PortSide};
use sekisho_session::Time;

use crate::classify::{Class, Segment};
use crate::drop_reason::DropReason;
use crate::end;
use crate::key_cache::KeyCache;
use crate::packet::{Packet, Passage, Work};
use crate::verdict::Verdict;
use crate::worker::Worker;
use crate::{open, seal};

/// Brings `packets`, all of one side and at most [`BATCH`], to their ends.
pub(crate) fn finish(
    worker: &mut Worker,
    io: &mut impl PacketIo,
    packets: &mut [Packet],
    now: Time,
) {
    match packets.first().map(|packet| packet.side) {
        None => return,
        Some(PortSide::Plain) => seal_all(&worker.keys, packets),
        Some(PortSide::Cipher) => open_all(&worker.keys, packets),
    }
    worker.keys.release();
    for packet in packets {
        let Packet { frame, side, class, work, .. } = packet;
        let Some(mut frame) = frame.take() else {
            continue;
        };
        let verdict = match (work, class) {
            (Work::End(verdict), _) => *verdict,
            (work, Ok(Class::Tcp(segment))) => {
                complete(worker, &mut frame, segment, work, now).unwrap_or_else(Verdict::Drop)
            }
            // Nothing else has work left.
            (_, Ok(Class::Datagram(..) | Class::Icmp(..)) | Err(_)) => {
                Verdict::Drop(DropReason::UnexpectedProtocol)
            }
        };
        // What this frame released was sent before it and leaves before it.
        end::settle_released(worker, io, now);
        end::conclude(worker, io, *side, frame, verdict);
    }
}

fn seal_all(keys: &KeyCache, packets: &mut [Packet]) {
    let mut jobs: ArrayVec<SealJob<'_>, BATCH> = packets
        .iter_mut()
        .filter_map(|packet| match (&packet.work, &mut packet.frame) {
            (Work::Seal(sealing), Some(frame)) => {
                let (job, frame) = (sealing.job, frame.buffer_mut());
                let context = keys.context(job.key);
                Some(SealJob { context, associated: job.associated, frame, at: job.at })
            }
            _ => None,
        })
        .collect();
    let mut sealed = [Sealed::default(); BATCH];
    let sealed = &mut sealed[..jobs.len()];
    seal_batch(&mut jobs, sealed);
    drop(jobs);
    let works = packets.iter_mut().filter_map(|packet| match &mut packet.work {
        Work::Seal(sealing) => Some(sealing),
        _ => None,
    });
    works.zip(sealed).for_each(|(sealing, sealed)| sealing.sealed = *sealed);
}

fn open_all(keys: &KeyCache, packets: &mut [Packet]) {
    let mut jobs: ArrayVec<OpenJob<'_>, BATCH> = packets
        .iter_mut()
        .filter_map(|packet| match (&packet.work, &mut packet.frame) {
            (Work::Open(opening), Some(frame)) => {
                let (job, tag, frame) = (opening.job, opening.tag, frame.buffer_mut());
                let context = keys.context(job.key);
                Some(OpenJob { context, associated: job.associated, frame, at: job.at, tag })
            }
            _ => None,
        })
        .collect();
    let mut opened = [Err(BadTag { before: 0 }); BATCH];
    let opened = &mut opened[..jobs.len()];
    open_batch(&mut jobs, opened);
    drop(jobs);
    let works = packets.iter_mut().filter_map(|packet| match &mut packet.work {
        Work::Open(opening) => Some(opening),
        _ => None,
    });
    works.zip(opened).for_each(|(opening, opened)| opening.opened = *opened);
}

/// What is left of a segment's work behind the cipher pass.
fn complete(
    worker: &mut Worker,
    frame: &mut Frame,
    segment: &Segment,
    work: &Work,
    now: Time,
) -> Result<Verdict, DropReason> {
    let id = match work {
        Work::Seal(sealing) => sealing.id,
        Work::Open(opening) => opening.id,
        Work::Ack(id) | Work::KeepAlive(id) => *id,
        Work::End(verdict) => return Ok(*verdict),
        // No place for the key in an empty batch, which cannot be.
        Work::Later => return Err(DropReason::NoKeyForPhase),
    };
    let passage = Passage { frame, segment, id, now };
    match (work, segment.side) {
        (Work::Seal(sealing), _) => seal::finish(worker, passage, sealing),
        (Work::Open(opening), _) => open::finish(worker, passage, opening),
        (Work::Ack(_), PortSide::Cipher) => Ok(open::finish_ack(worker, passage)),
        (Work::Ack(_), PortSide::Plain) => Ok(seal::finish_ack(worker, passage)),
        _ => seal::keep_alive(worker, passage),
    }
}
