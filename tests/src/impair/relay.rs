//! The sockets of the box and the loop around the engine. Owns two packet sockets, standard input for
//! control and the clock; decides nothing about frames.

use std::io::Write as _;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::engine::{Engine, Sending};
use super::spec::Way;
use crate::lab::packet::{LARGEST, PacketSocket};
use crate::lab::{LabError, LabResult};

/// Frames taken from one side before the other has its turn.
const BURST: usize = 64;
/// The word by which the box says that it forwards.
pub const READY: &str = "ready";

/// Forwards between two interfaces of this namespace until standard input ends; each line of it is
/// one of control. Says [`READY`] once it forwards, `done` after each line, and its counts at the end.
pub fn run(mut engine: Engine, client: &str, server: &str) -> LabResult {
    // In the order of the ways: what goes up comes in at the client's side.
    let sockets = [PacketSocket::open(client, 0)?, PacketSocket::open(server, 0)?];
    say(READY)?;
    let started = Instant::now();
    let mut control = Control::default();
    let mut out = Sending::new();
    loop {
        let busy = forward(&mut engine, &sockets, started, &mut out);
        if !busy && !wait(&mut engine, &sockets, started, &mut control)? {
            return say(&engine.report().to_string());
        }
    }
}

/// One turn of both sides; whether any frame came.
fn forward(
    engine: &mut Engine,
    sockets: &[PacketSocket; 2],
    started: Instant,
    out: &mut Sending,
) -> bool {
    let mut buffer = [0; LARGEST];
    let mut busy = false;
    for way in Way::BOTH {
        for _ in 0..BURST {
            let Some(frame) = sockets[way.index()].receive(&mut buffer) else { break };
            busy = true;
            engine.take(way, frame, started.elapsed(), out);
        }
    }
    engine.due(started.elapsed(), out);
    for (way, frame) in out.drain(..) {
        if !sockets[way.back().index()].send(&frame) {
            engine.unsent(way);
        }
    }
    busy
}

/// Waits for a frame, for time to pass or for control; false once control has ended.
fn wait(
    engine: &mut Engine,
    sockets: &[PacketSocket; 2],
    started: Instant,
    control: &mut Control,
) -> LabResult<bool> {
    let until = engine.next_due().map(|due| due.saturating_sub(started.elapsed()));
    let timeout = until.map(|left| Timespec {
        tv_sec: left.as_secs() as i64,
        tv_nsec: i64::from(left.subsec_nanos()),
    });
    let stdin = std::io::stdin();
    let mut events = [
        PollFd::new(&sockets[0], PollFlags::IN),
        PollFd::new(&sockets[1], PollFlags::IN),
        PollFd::new(&stdin, PollFlags::IN),
    ];
    match poll(&mut events, timeout.as_ref()) {
        Ok(_) => {}
        Err(rustix::io::Errno::INTR) => return Ok(true),
        Err(error) => return Err(LabError::io("wait for frames")(error.into())),
    }
    if events[2].revents().is_empty() {
        return Ok(true);
    }
    control.read(engine)
}

/// Control lines as they come in.
#[derive(Default)]
struct Control {
    pending: Vec<u8>,
}

impl Control {
    /// Reads what there is and follows each whole line; false at the end of input.
    fn read(&mut self, engine: &mut Engine) -> LabResult<bool> {
        let mut buffer = [0; 1024];
        let length = rustix::io::read(std::io::stdin(), &mut buffer)
            .map_err(|error| LabError::io("read control")(error.into()))?;
        self.pending.extend(&buffer[..length]);
        while let Some(end) = self.pending.iter().position(|&octet| octet == b'\n') {
            let line: Vec<u8> = self.pending.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            engine.control(&line).map_err(|error| LabError::Expectation(error.to_string()))?;
            say("done")?;
        }
        Ok(length > 0)
    }
}

fn say(line: &str) -> LabResult {
    let mut out = std::io::stdout();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(LabError::io("write to standard output"))
}
