//! The end of packets that were decided: one cipher pass over those that need it, then each is
//! finished and brought to its end, in the order of arrival. Owns the cipher's job lists.

use arrayvec::ArrayVec;
use sekisho_cipher::{BATCH, BadTag, OpenJob, SealJob, Sealed, open_batch, seal_batch};
use sekisho_port::{Frame, PacketIo, PortSide};
use sekisho_session::Time;

use crate::classify::Segment;
use crate::drop_reason::DropReason;
use crate::end;
use crate::key_cache::KeyCache;
use crate::packet::{Job, Packet, Passage, Work};
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
    match packets.first().map(|packet| packet.segment.side) {
        None => return,
        Some(PortSide::Plain) => seal_all(&worker.keys, packets),
        Some(PortSide::Cipher) => open_all(&worker.keys, packets),
    }
    worker.keys.release();
    for packet in packets {
        let Packet { frame, segment, work, job, .. } = packet;
        let Some(mut frame) = frame.take() else {
            continue;
        };
        let verdict =
            complete(worker, (&mut frame, segment), *work, job, now).unwrap_or_else(Verdict::Drop);
        // What this frame released was sent before it and leaves before it.
        end::settle_released(worker, io, now);
        end::conclude(worker, io, segment.side, frame, verdict);
    }
}

fn seal_all(keys: &KeyCache, packets: &mut [Packet]) {
    let mut jobs: ArrayVec<SealJob<'_>, BATCH> = ArrayVec::new();
    for Packet { frame, job, .. } in packets.iter_mut().filter(is_for_cipher) {
        let (associated, at) = (job.associated, job.at);
        let frame = frame.as_mut().map(Frame::buffer_mut).unwrap_or_default();
        jobs.push(SealJob { context: keys.context(job.key), associated, frame, at });
    }
    let mut sealed = [Sealed::default(); BATCH];
    let sealed = &mut sealed[..jobs.len()];
    seal_batch(&mut jobs, sealed);
    drop(jobs);
    for (packet, sealed) in packets.iter_mut().filter(is_for_cipher).zip(sealed) {
        packet.job.sealed = *sealed;
    }
}

fn open_all(keys: &KeyCache, packets: &mut [Packet]) {
    let mut jobs: ArrayVec<OpenJob<'_>, BATCH> = ArrayVec::new();
    for Packet { frame, job, .. } in packets.iter_mut().filter(is_for_cipher) {
        let (associated, at, tag) = (job.associated, job.at, job.tag);
        let frame = frame.as_mut().map(Frame::buffer_mut).unwrap_or_default();
        jobs.push(OpenJob { context: keys.context(job.key), associated, frame, at, tag });
    }
    let mut opened = [Err(BadTag { before: 0 }); BATCH];
    let opened = &mut opened[..jobs.len()];
    open_batch(&mut jobs, opened);
    drop(jobs);
    for (packet, opened) in packets.iter_mut().filter(is_for_cipher).zip(opened) {
        packet.job.opened = *opened;
    }
}

fn is_for_cipher(packet: &&mut Packet) -> bool {
    packet.frame.is_some() && matches!(packet.work, Work::Cipher(_))
}

/// What is left of a packet's work behind the cipher pass.
fn complete(
    worker: &mut Worker,
    (frame, segment): (&mut Frame, &Segment),
    work: Work,
    job: &Job,
    now: Time,
) -> Result<Verdict, DropReason> {
    let id = match work {
        Work::End(verdict) => return Ok(verdict),
        // No place for the key in an empty batch, which cannot be.
        Work::Later => return Err(DropReason::NoKeyForPhase),
        Work::Cipher(id) | Work::Ack(id) | Work::KeepAlive(id) => id,
    };
    let passage = Passage { frame, segment, id, now };
    match (work, segment.side) {
        (Work::Cipher(_), PortSide::Plain) => seal::finish(worker, passage, job),
        (Work::Cipher(_), PortSide::Cipher) => open::finish(worker, passage, job),
        (Work::Ack(_), PortSide::Plain) => Ok(seal::finish_ack(worker, passage)),
        (Work::Ack(_), PortSide::Cipher) => Ok(open::finish_ack(worker, passage)),
        _ => seal::keep_alive(worker, passage),
    }
}
