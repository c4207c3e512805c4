//! `process_burst` over in-memory ports: what a gateway's user space costs per packet.
//!
//! A source of frames like pktgen's writes prepared segments into frames, 32 to a burst. Four
//! subjects take turns: the source alone, a forwarder that queues the frames to the other port
//! untouched, the cipher pass alone, and the pipeline with real sessions. The source's time is
//! subtracted from the others and shown in a row of its own. The segments of a session come again and again: to the pipeline
//! they are retransmissions, which cost what first transmissions do.

mod alone;
mod pair;
mod segments;

use sekisho_dataplane::{WorkerSnapshot, process_burst};
use sekisho_port::{Frame, MemoryConfig, MemoryIo, MemoryWire, PacketIo, PortSide};
use sekisho_session::Time;

use crate::report::Row;
use crate::timing::{Subject, interleaved, pinned};
use crate::{BenchError, BenchResult};
use alone::Alone;
use pair::{End, Pair};
use segments::From;

/// Frames per burst.
const BURST: u16 = 32;
/// Payload sizes in bytes.
const SIZES: [u16; 2] = [64, 1448];
/// Sessions that the segments belong to, in turn.
const SESSIONS: [u16; 2] = [1, 1000];
/// Model time between two bursts, in nanoseconds.
const STEP: u64 = 1000;

/// What the gateway does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    /// Plain → cipher.
    Seal,
    /// Cipher → plain.
    Open,
}

impl Pass {
    fn label(self) -> &'static str {
        match self {
            Self::Seal => "seal",
            Self::Open => "open",
        }
    }

    fn side(self) -> PortSide {
        match self {
            Self::Seal => PortSide::Plain,
            Self::Open => PortSide::Cipher,
        }
    }
}

/// Rows `burst/seal/SIZE`, `burst/open/SIZE` (one session), the same with `/1000-sessions`,
/// `burst/source/SIZE` and `burst/cipher/…` (the cipher pass alone) in nanoseconds per packet, and
/// `burst/over-cipher/…`: how many times the cipher pass alone the whole takes.
///
/// # Errors
/// Sessions could not be brought up, or segments were dropped while the clock ran.
pub fn run() -> BenchResult<Vec<Row>> {
    pinned(|| {
        let mut rows = Vec::new();
        for sessions in SESSIONS {
            for payload in SIZES {
                for pass in [Pass::Seal, Pass::Open] {
                    rows.extend(measure(pass, payload, sessions)?);
                }
            }
        }
        Ok(rows)
    })
}

fn measure(pass: Pass, payload: u16, sessions: u16) -> BenchResult<Vec<Row>> {
    let suffix = if sessions == 1 { String::new() } else { format!("/{sessions}-sessions") };
    let subject = format!("{}/{payload}{suffix}", pass.label());
    let name = format!("burst/{subject}");
    eprintln!("  {name}");
    let mut pair = Pair::with_sessions(sessions)?;
    let templates = templates(&mut pair, pass, payload, sessions)?;
    let before = pair.gateway.worker.counters().snapshot();
    let mut source_ports = ports()?;
    let mut forwarder_ports = ports()?;
    let mut alone_ports = ports()?;
    let alone = Alone::new(pass, &templates, sessions)?;
    let mut packets = 0;
    let times = interleaved(&mut [
        source(&mut source_ports.0, &templates),
        forwarder(&mut forwarder_ports.0, pass.side(), &templates),
        pipeline(&mut pair.gateway, pass.side(), &templates, &mut packets),
        alone.subject(&mut alone_ports.0, &templates),
    ]);
    check(&before, &pair.gateway.worker.counters().snapshot(), pass, packets)?;
    let per_packet = |bursts: f64| bursts / f64::from(BURST);
    let source = per_packet(times[0]);
    // Never zero, however small a forwarder's part is beside the machine's noise.
    let net = |burst: f64| (per_packet(burst) - source).max(0.1);
    let peer = "in-memory forwarder, frames untouched";
    let (whole, cipher) = (net(times[2]), net(times[3]));
    let mut rows = vec![
        Row::less_is_better(name, whole, "ns/packet", peer, net(times[1])),
        Row::alone(format!("burst/cipher/{subject}"), cipher, "ns/packet"),
        Row::alone(format!("burst/over-cipher/{subject}"), whole / cipher, "times"),
    ];
    if pass == Pass::Seal && sessions == 1 {
        rows.push(Row::alone(format!("burst/source/{payload}"), source, "ns/packet"));
    }
    Ok(rows)
}

/// Segments as they come in on the gateway's side of the pass, each session in turn.
fn templates(
    pair: &mut Pair,
    pass: Pass,
    payload: u16,
    sessions: u16,
) -> BenchResult<Vec<Vec<u8>>> {
    let count = sessions.max(BURST);
    let numbered = (0..count).map(|at| (at % sessions, at / sessions));
    let templates: BenchResult<Vec<Vec<u8>>> = numbered
        .map(|(session, index)| match pass {
            Pass::Seal => Ok(segments::data(session, From::Server, index, payload)),
            Pass::Open => {
                pair.seal_at_agent(&segments::data(session, From::Client, index, payload))
            }
        })
        .collect();
    pair.gateway.wire.set_sink(pass.side().other(), true);
    templates
}

fn ports() -> BenchResult<(MemoryIo, MemoryWire)> {
    let (io, wire) = MemoryIo::new(MemoryConfig::default())
        .ok_or_else(|| BenchError::Invalid("no memory for frames".to_owned()))?;
    PortSide::BOTH.into_iter().for_each(|side| wire.set_sink(side, true));
    Ok((io, wire))
}

/// Every packet that went in must have come out, or the time is that of dropping.
fn check(
    before: &WorkerSnapshot,
    after: &WorkerSnapshot,
    pass: Pass,
    packets: u64,
) -> BenchResult<()> {
    let done = match pass {
        Pass::Seal => after.tallies.sealed_segments - before.tallies.sealed_segments,
        Pass::Open => after.tallies.opened_segments - before.tallies.opened_segments,
    };
    let side = pass.side().other().index();
    let sent = after.sides[side].tx_packets - before.sides[side].tx_packets;
    let dropped = after.dropped_total() - before.dropped_total();
    if (done, sent, dropped) == (packets, packets, 0) {
        return Ok(());
    }
    let text = format!("of {packets} packets {done} ciphered, {sent} sent, {dropped} dropped");
    Err(BenchError::Invalid(text))
}

/// The prepared segments, over and over.
struct Source<'a> {
    templates: std::iter::Cycle<std::slice::Iter<'a, Vec<u8>>>,
    burst: Vec<Frame>,
}

impl<'a> Source<'a> {
    fn new(templates: &'a [Vec<u8>]) -> Self {
        Self { templates: templates.iter().cycle(), burst: Vec::with_capacity(usize::from(BURST)) }
    }

    /// The next burst, in frames of `io`.
    fn next(&mut self, io: &mut impl PacketIo) -> &mut Vec<Frame> {
        for bytes in self.templates.by_ref().take(usize::from(BURST)) {
            let mut frame = io.alloc().expect("invariant: each burst gives all its frames back");
            assert!(frame.fill_from(bytes), "a template fits a frame");
            self.burst.push(frame);
        }
        &mut self.burst
    }
}

fn source<'a>(io: &'a mut MemoryIo, templates: &'a [Vec<u8>]) -> Subject<'a> {
    let mut source = Source::new(templates);
    Box::new(move |bursts| {
        for _ in 0..bursts {
            for frame in source.next(io).drain(..) {
                io.free(frame);
            }
        }
    })
}

fn forwarder<'a>(io: &'a mut MemoryIo, side: PortSide, templates: &'a [Vec<u8>]) -> Subject<'a> {
    let mut source = Source::new(templates);
    Box::new(move |bursts| {
        for _ in 0..bursts {
            for frame in source.next(io).drain(..) {
                io.transmit(side.other(), frame);
            }
            io.flush();
        }
    })
}

fn pipeline<'a>(
    end: &'a mut End,
    side: PortSide,
    templates: &'a [Vec<u8>],
    packets: &'a mut u64,
) -> Subject<'a> {
    let mut source = Source::new(templates);
    let End { worker, io, .. } = end;
    let mut now = Time(2_000_000_000);
    Box::new(move |bursts| {
        for _ in 0..bursts {
            now = Time(now.0 + STEP);
            let frames = source.next(io);
            process_burst(worker, io, side, frames, now);
            io.flush();
        }
        *packets += bursts * u64::from(BURST);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_segment_of_both_passes_is_ciphered_and_sent() {
        for (pass, sessions) in [(Pass::Seal, 3), (Pass::Open, 3), (Pass::Seal, 70)] {
            for payload in SIZES {
                let mut pair = Pair::with_sessions(sessions).unwrap();
                let templates = templates(&mut pair, pass, payload, sessions).unwrap();
                let before = pair.gateway.worker.counters().snapshot();
                let mut packets = 0;
                pipeline(&mut pair.gateway, pass.side(), &templates, &mut packets)(10);
                assert_eq!(packets, 320);
                let after = pair.gateway.worker.counters().snapshot();
                check(&before, &after, pass, packets).unwrap();
            }
        }
    }

    #[test]
    fn dropped_segments_are_no_figure() {
        let mut pair = Pair::with_sessions(1).unwrap();
        let mut templates = templates(&mut pair, Pass::Open, 64, 1).unwrap();
        templates[0][70] ^= 1;
        let before = pair.gateway.worker.counters().snapshot();
        let mut packets = 0;
        pipeline(&mut pair.gateway, PortSide::Cipher, &templates, &mut packets)(1);
        let after = pair.gateway.worker.counters().snapshot();
        assert!(check(&before, &after, Pass::Open, packets).is_err());
    }
}
