//! One TCP connection of a gateway: frames in, frames out, bounded in memory and time.
//!
//! Owns the octets of the connection; what they mean is decided by the caller.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use sekisho_kdc_client::message::frame_tcp;
use sekisho_kdc_client::requester::FrameReader;

/// A gateway keeps its connection between requests; after this long without one it is closed.
const IDLE: Duration = Duration::from_secs(300);
/// From the first octet of a frame to its last, and for a peer to take an answer.
const FRAME: Duration = Duration::from_secs(5);
/// Octets of answers that wait for a slow peer before nothing more is read from it.
const BACKLOG: usize = 64 * 1024;
/// Octets read in one turn.
const CHUNK: usize = 16 * 1024;

pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
    reader: FrameReader,
    out: Vec<u8>,
    written: usize,
    /// When the last whole frame came; the connection that waits longest gives way to a new one.
    pub(super) last_frame: Instant,
    deadline: Instant,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, peer: SocketAddr, now: Instant) -> std::io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            peer,
            reader: FrameReader::default(),
            out: Vec::new(),
            written: 0,
            last_frame: now,
            // The first frame is due soon: a peer that connects has something to ask.
            deadline: now + FRAME,
        })
    }

    pub(super) fn wants_read(&self) -> bool {
        self.out.len() < BACKLOG
    }

    pub(super) fn wants_write(&self) -> bool {
        self.written < self.out.len()
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Reads what is there and gives the whole messages. False: close the connection.
    pub(super) fn read(&mut self, now: Instant, messages: &mut Vec<Vec<u8>>) -> bool {
        let mut chunk = [0; CHUNK];
        let n = match self.stream.read(&mut chunk) {
            Ok(0) => return false,
            Ok(n) => n,
            Err(e) => return matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        };
        let was_between = self.reader.is_empty();
        let before = messages.len();
        let framed = self.reader.push(&chunk[..n], |m| messages.push(m.to_vec()));
        if messages.len() > before {
            self.last_frame = now;
        }
        // A frame in pieces does not renew its own time.
        if self.reader.is_empty() {
            self.deadline = now + IDLE;
        } else if was_between || messages.len() > before {
            self.deadline = now + FRAME;
        }
        framed.is_ok()
    }

    /// Queues an answer.
    pub(super) fn answer(&mut self, message: &[u8], now: Instant) {
        if !self.wants_write() {
            self.deadline = self.deadline.min(now + FRAME);
        }
        self.out.extend_from_slice(&frame_tcp(message));
    }

    /// Writes what the peer takes. False: close the connection.
    pub(super) fn write(&mut self, now: Instant) -> bool {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(0) => return false,
                Ok(n) => self.written += n,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return e.kind() == ErrorKind::WouldBlock,
            }
        }
        if !self.out.is_empty() {
            self.out.clear();
            self.written = 0;
            if self.reader.is_empty() {
                self.deadline = now + IDLE;
            }
        }
        true
    }
}
