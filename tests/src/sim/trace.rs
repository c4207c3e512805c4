//! What happened: a hash over all of it, and the last of it in words. Owns the form of a line;
//! words are made only when somebody reads them.

use std::collections::VecDeque;
use std::fmt;
use std::hash::Hasher;

use sekisho_wire::{Transport, parse_frame};
use siphasher::sip128::{Hasher128, SipHasher24};

use super::schedule::SECOND;

/// Lines kept for the report of a failure.
const KEPT: usize = 100;
/// Octets kept of a frame: its headers.
const HEAD: usize = 128;

/// The trace of one run.
pub(super) struct Trace {
    start: u64,
    hash: SipHasher24,
    events: u64,
    last: VecDeque<Line>,
}

struct Line {
    at: u64,
    place: &'static str,
    what: What,
}

enum What {
    Words(String),
    Frame { length: usize, head: Vec<u8> },
}

impl Trace {
    /// An empty trace of a run that begins at `start`.
    pub(super) fn new(start: u64) -> Self {
        Self { start, hash: SipHasher24::new(), events: 0, last: VecDeque::with_capacity(KEPT) }
    }

    /// Notes something that is not a frame.
    pub(super) fn note(&mut self, at: u64, place: &'static str, words: impl Into<String>) {
        let words = words.into();
        self.mix(at, place, words.as_bytes());
        self.keep(Line { at, place, what: What::Words(words) });
    }

    /// Notes a frame that passes at `place`.
    pub(super) fn frame(&mut self, at: u64, place: &'static str, frame: &[u8]) {
        self.mix(at, place, frame);
        let head = frame[..frame.len().min(HEAD)].to_vec();
        self.keep(Line { at, place, what: What::Frame { length: frame.len(), head } });
    }

    /// Events noted.
    pub(super) fn events(&self) -> u64 {
        self.events
    }

    /// The hash over everything noted.
    pub(super) fn hash(&self) -> String {
        format!("{:032x}", self.hash.finish128().as_u128())
    }

    /// The last lines, in words.
    pub(super) fn lines(&self) -> Vec<String> {
        self.last.iter().map(|line| line.show(self.start)).collect()
    }

    fn mix(&mut self, at: u64, place: &str, bytes: &[u8]) {
        self.events += 1;
        self.hash.write(&at.to_be_bytes());
        self.hash.write(place.as_bytes());
        self.hash.write(&(bytes.len() as u64).to_be_bytes());
        self.hash.write(bytes);
    }

    fn keep(&mut self, line: Line) {
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }
}

impl Line {
    fn show(&self, start: u64) -> String {
        let at = self.at.saturating_sub(start);
        let (seconds, rest) = (at / SECOND, at % SECOND / 1000);
        let Self { place, what, .. } = self;
        format!("{seconds:>4}.{rest:06} {place:<16} {what}")
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Words(words) => f.write_str(words),
            Self::Frame { length, head } => f.write_str(&describe(head, *length)),
        }
    }
}

/// Headers of a frame in words. Its end may be missing.
fn describe(head: &[u8], length: usize) -> String {
    // The parser wants the whole packet: what is missing is taken for zeros.
    let mut frame = head.to_vec();
    frame.resize(length, 0);
    let Ok(view) = parse_frame(&frame) else { return format!("unreadable, {length} octets") };
    let ends = match (view.source(), view.destination()) {
        (Some(src), Some(dst)) => format!("{src} > {dst}"),
        _ => format!("{} > {}", view.src, view.dst),
    };
    match view.transport {
        Transport::Tcp(tcp) => {
            let options = tcp.options(&frame);
            let ours = sekisho_wire::TcpOptionsSummary::walk(options, &Default::default());
            let ours = match ours.sekisho() {
                Ok(Some(option)) => format!(" {option:?}"),
                Ok(None) => String::new(),
                Err(error) => format!(" {error:?}"),
            };
            let (seq, ack, len) = (tcp.seq.get(), tcp.ack.get(), tcp.payload.len);
            let window = tcp.window;
            format!("{ends} {:?} seq {seq} ack {ack} len {len} window {window}{ours}", tcp.flags)
        }
        Transport::Udp(udp) => {
            let kind = udp.payload.slice(&frame).get(1).copied().unwrap_or(0xff);
            format!("{ends} key delivery, message {kind}, {} octets", udp.payload.len)
        }
        _ => format!("{ends} {length} octets"),
    }
}
