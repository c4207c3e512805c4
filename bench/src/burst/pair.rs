//! An agent and a gateway back to back over in-memory ports, with real sessions between them:
//! brought up through the workers' public commands and events, as control does it.
//!
//! ```text
//! application ── plain │ agent │ cipher ══ cipher │ gateway │ plain ── server
//! ```

use std::sync::Arc;

use sekisho_cipher::{EpochKeys, KeyContext, TrafficKeys};
use sekisho_dataplane::{
    Command, ControlEnd, Event, Policy, PortSet, Role, Service, ServiceId, ServiceTable, Worker,
    WorkerConfig,
};
use sekisho_port::{MemoryConfig, MemoryIo, MemoryWire, PortSide};
use sekisho_session::{Direction, FlowHasher, FlowKey, Time};

use super::segments::{self, SERVER_IP, SERVER_PORT};
use crate::{BenchError, BenchResult};

/// Octets of IP packet that the workers let pass: those of the largest payload measured, 1448, with
/// timestamps and tag (20 + 32 + 16 + 1448), which is 16 above what Ethernet's 1500 would give.
const MTU: u16 = 1516;

/// One worker with its ports and control's end.
pub(super) struct End {
    pub(super) worker: Worker,
    pub(super) io: MemoryIo,
    pub(super) wire: MemoryWire,
    control: ControlEnd,
    now: Time,
}

/// How commands name a session.
struct Name {
    flow: FlowKey,
    client_isn: u32,
    generation: u32,
}

impl End {
    fn new(role: Role) -> BenchResult<Self> {
        let mut config = WorkerConfig::new(role, services()?, FlowHasher::new(&[7; 16]));
        config.mtu = MTU;
        config.request_seed = [9; 16];
        let (worker, control) = Worker::alone(config, 64);
        let (io, wire) = MemoryIo::new(MemoryConfig::default())
            .ok_or_else(|| BenchError::Invalid("no memory for frames".to_owned()))?;
        Ok(Self { worker, io, wire, control, now: Time(1_000_000_000) })
    }

    /// Takes a frame in on `side`; what leaves by the other side.
    fn take(&mut self, side: PortSide, frame: &[u8]) -> Vec<Vec<u8>> {
        self.wire.push(side, frame);
        self.turn(side.other())
    }

    fn turn(&mut self, out: PortSide) -> Vec<Vec<u8>> {
        self.worker.turn(&mut self.io, self.now);
        self.wire.drain(out)
    }

    /// The request that the worker has just announced.
    fn request(&self) -> BenchResult<Name> {
        match self.control.poll_event() {
            Some(Event::Request { flow, client_isn, generation, .. }) => {
                Ok(Name { flow, client_isn, generation })
            }
            other => Err(BenchError::Invalid(format!("no request but {other:?}"))),
        }
    }

    /// Installs the session's keys as synchronised and lets its handshake go to the plain side.
    fn install(&mut self, name: &Name, keys: Box<EpochKeys>) -> BenchResult<Vec<Vec<u8>>> {
        let &Name { flow, client_isn, generation } = name;
        let (synced, release_syn) = (true, true);
        let command = Command::Install { flow, client_isn, generation, keys, synced, release_syn };
        self.control
            .send(command)
            .map_err(|_| BenchError::Invalid("the command ring is full".to_owned()))?;
        Ok(self.turn(PortSide::Plain))
    }
}

/// Agent and gateway.
pub(super) struct Pair {
    agent: End,
    pub(super) gateway: End,
}

impl Pair {
    /// A pair with `sessions` synchronised sessions, numbered from 0.
    pub(super) fn with_sessions(sessions: u16) -> BenchResult<Self> {
        let mut pair = Self { agent: End::new(Role::Client)?, gateway: End::new(Role::Gateway)? };
        (0..sessions).try_for_each(|number| pair.connect(number))?;
        Ok(pair)
    }

    /// One TCP handshake with key installation at both ends.
    fn connect(&mut self, number: u16) -> BenchResult<()> {
        let syn = only(self.agent.take(PortSide::Plain, &segments::syn(number)))?;
        let held = self.gateway.take(PortSide::Cipher, &syn);
        let at_gateway = self.gateway.request()?;
        let at_agent = self.agent.request()?;
        only(self.gateway.install(&at_gateway, keys(number)?)?)?;
        let syn_ack = segments::syn_ack(number);
        let syn_ack = only(self.gateway.take(PortSide::Plain, &syn_ack))?;
        let held_too = self.agent.take(PortSide::Cipher, &syn_ack);
        only(self.agent.install(&at_agent, keys(number)?)?)?;
        if held.is_empty() && held_too.is_empty() {
            return Ok(());
        }
        Err(BenchError::Invalid("a handshake was not held for its key".to_owned()))
    }

    /// A segment from the application as the agent seals it.
    pub(super) fn seal_at_agent(&mut self, plain: &[u8]) -> BenchResult<Vec<u8>> {
        only(self.agent.take(PortSide::Plain, plain))
    }
}

fn only(mut frames: Vec<Vec<u8>>) -> BenchResult<Vec<u8>> {
    match (frames.pop(), frames.is_empty()) {
        (Some(frame), true) => Ok(frame),
        (last, _) => {
            let count = frames.len() + usize::from(last.is_some());
            Err(BenchError::Invalid(format!("{count} frames left instead of one")))
        }
    }
}

/// Keys of one session, other ones for each.
fn keys(number: u16) -> BenchResult<Box<EpochKeys>> {
    let one = |direction: u8| {
        let [high, low] = number.to_be_bytes();
        let mut aes = [direction; 32];
        aes[..2].copy_from_slice(&[high, low]);
        let mut ghash = [direction; 16];
        ghash[..2].copy_from_slice(&[high, low]);
        TrafficKeys::from_bytes(&aes, &ghash)
    };
    EpochKeys::new(&one(0xA5), &one(0x5A)).map_err(|error| BenchError::Invalid(error.to_string()))
}

/// The expanded key of one direction of a session.
pub(super) fn context(number: u16, direction: Direction) -> BenchResult<KeyContext> {
    let keys = keys(number)?;
    Ok(KeyContext::new(match direction {
        Direction::ClientToServer => keys.client_to_server(),
        Direction::ServerToClient => keys.server_to_client(),
    }))
}

fn services() -> BenchResult<Arc<ServiceTable>> {
    let service = Service {
        id: ServiceId(0),
        address: SERVER_IP.into(),
        prefix_len: 32,
        ports: PortSet::Ranges(vec![(SERVER_PORT, SERVER_PORT)]),
        policy: Policy::Require,
    };
    let table = ServiceTable::new(&[service]);
    table.map(Arc::new).map_err(|error| BenchError::Invalid(error.to_string()))
}
