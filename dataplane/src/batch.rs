//! The end of packets that were decided: one cipher pass over those that need it, then each is
//! finished and brought to its end, in the order of arrival. Owns the cipher's job lists.

use arrayvec::ArrayVec;
use sekisho_cipher::{BATCH, BadTag, OpenJob, SealJob, Sealed, Sums, open_batch, seal_batch};
use sekisho_port::{PacketIo, PortSide};
use sekisho_session::Time;

use crate::drop_reason::DropReason;
use crate::end;
use crate::key_cache::KeyCache;
use crate::packet::{Packet, Passage, Work};
use crate::worker::Worker;
use crate::{open, seal};

/// Brings `packets`, all of one side and at most [`BATCH`], to their ends.
pub(crate) fn finish(
    worker: &mut Worker,
    io: &mut impl PacketIo,
    packets: &mut [Packet],
    now: Time,
) {
    let mut sealed = [Sealed::default(); BATCH];
    // What the cipher pass does not say has not verified.
    let mut opened = [Err(BadTag { before: 0 }); BATCH];
    match packets.first().map(|packet| packet.segment.side) {
        None => return,
        Some(PortSide::Plain) => seal_all(&worker.keys, packets, &mut sealed),
        Some(PortSide::Cipher) => open_all(&worker.keys, packets, &mut opened),
    }
    worker.keys.release();
    let mut outcomes = sealed.iter().zip(&opened);
    for packet in packets {
        let Packet { frame, segment, work, job, .. } = packet;
        let Some(mut frame) = frame.take() else {
            continue;
        };
        let side = segment.side;
        let passage = Passage { frame: &mut frame, segment, id: job.id, now };
        let forward = match (*work, side) {
            (Work::Cipher, _) => match (outcomes.next(), side) {
                (Some((sealed, _)), PortSide::Plain) => seal::finish(worker, passage, job, sealed),
                (Some((_, opened)), PortSide::Cipher) => open::finish(worker, passage, job, opened),
                (None, _) => Err(DropReason::BadTag),
            },
            (Work::Ack, PortSide::Plain) => seal::finish_ack(worker, passage),
            (Work::Ack, PortSide::Cipher) => open::finish_ack(worker, passage),
            (Work::KeepAlive, _) => seal::keep_alive(worker, passage),
            (Work::End(verdict), _) => {
                end::settle_released(worker, io, now);
                end::conclude(worker, io, side, frame, verdict);
                continue;
            }
            // No place for the key in an empty batch, which cannot be.
            (Work::Later, _) => Err(DropReason::NoKeyForPhase),
        };
        // What this frame released was sent before it and leaves before it.
        end::settle_released(worker, io, now);
        match forward {
            Ok(()) => worker.emit(io, side.other(), frame),
            Err(reason) => worker.drop_frame(io, frame, reason),
        }
    }
}

fn seal_all(keys: &KeyCache, packets: &mut [Packet], sealed: &mut [Sealed; BATCH]) {
    let mut jobs: ArrayVec<SealJob<'_>, BATCH> = ArrayVec::new();
    for Packet { frame, work, job, .. } in packets {
        if let (Work::Cipher, Some(frame)) = (*work, frame) {
            let (context, frame) = (keys.context(job.key), frame.buffer_mut());
            let (associated, at) = (job.associated, job.at);
            jobs.push(SealJob { context, associated, frame, at });
        }
    }
    let sealed = &mut sealed[..jobs.len()];
    seal_batch(&mut jobs, sealed);
}

fn open_all(keys: &KeyCache, packets: &mut [Packet], opened: &mut [Result<Sums, BadTag>; BATCH]) {
    let mut jobs: ArrayVec<OpenJob<'_>, BATCH> = ArrayVec::new();
    for Packet { frame, work, job, .. } in packets {
        if let (Work::Cipher, Some(frame)) = (*work, frame) {
            let (context, frame) = (keys.context(job.key), frame.buffer_mut());
            let (associated, at, tag) = (job.associated, job.at, job.tag);
            jobs.push(OpenJob { context, associated, frame, at, tag });
        }
    }
    let opened = &mut opened[..jobs.len()];
    open_batch(&mut jobs, opened);
}
