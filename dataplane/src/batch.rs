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
    // Those in front of the one in hand that are ready to leave and have not left.
    let mut ready = 0;
    for at in 0..packets.len() {
        let Some(verdict) = step(worker, &mut packets[at], &mut outcomes, now) else {
            continue;
        };
        if verdict == Verdict::Forward && !end::has_released(worker) {
            continue;
        }
        // What this frame released was sent before it and leaves before it.
        send(worker, io, &mut packets[ready..at]);
        end::settle_released(worker, io, now);
        if let Some(frame) = packets[at].frame.take() {
            end::conclude(worker, io, packets[at].segment.side, frame, verdict);
        }
        ready = at + 1;
    }
    send(worker, io, &mut packets[ready..]);
}

/// Finishes one packet; what is to become of its frame, if it has not come to its end before.
#[inline]
fn step<'a>(
    worker: &mut Worker,
    Packet { frame, segment, work, job, .. }: &mut Packet,
    outcomes: &mut impl Iterator<Item = (&'a Sealed, &'a Result<Sums, BadTag>)>,
    now: Time,
) -> Option<Verdict> {
    let (frame, side) = (frame.as_mut()?, segment.side);
    let passage = Passage { frame, segment, id: job.id, now };
    let done = match (*work, side) {
        (Work::Cipher, _) => match (outcomes.next(), side) {
            (Some((sealed, _)), PortSide::Plain) => seal::finish(worker, passage, job, sealed),
            (Some((_, opened)), PortSide::Cipher) => open::finish(worker, passage, job, opened),
            (None, _) => Err(DropReason::BadTag),
        },
        (Work::Ack, PortSide::Plain) => seal::finish_ack(worker, passage),
        (Work::Ack, PortSide::Cipher) => open::finish_ack(worker, passage),
        (Work::KeepAlive, _) => seal::keep_alive(worker, passage),
        (Work::End(verdict), _) => return Some(verdict),
        // No place for the key in an empty batch, which cannot be.
        (Work::Later, _) => Err(DropReason::NoKeyForPhase),
    };
    Some(done.map_or_else(Verdict::Drop, |()| Verdict::Forward))
}

/// Sends packets of one side that go on, one behind the other.
fn send(worker: &Worker, io: &mut impl PacketIo, packets: &mut [Packet]) {
    let Some(side) = packets.first().map(|packet| packet.segment.side.other()) else {
        return;
    };
    let (mut count, mut bytes) = (0, 0);
    for frame in packets.iter_mut().filter_map(|packet| packet.frame.take()) {
        count += 1;
        bytes += frame.len();
        io.transmit(side, frame);
    }
    worker.counters.transmitted(side, count, bytes);
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
