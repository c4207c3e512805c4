//! The burst pipeline and the pinned workers.
//!
//! A [`Worker`] owns one queue of each port, a shard of the sessions and its counters;
//! [`process_burst`] takes frames through parse → look up → decide → cipher → checksum → emit, for
//! both roles and both sides. Control talks to a worker by [`Command`] and [`Event`] over one
//! bounded ring each way. Nothing per packet locks, allocates, formats or calls the kernel.
//!
//! | module | owns |
//! |---|---|
//! | `worker`, [`runtime`] | a worker's state and its turn; threads, pinning, poll modes |
//! | `burst`, `batch`, `end` | the walk of a burst; its cipher pass; the end of every frame |
//! | `packet`, `classify`, `segment` | a frame on its way; what it is; which session it belongs to |
//! | `syn`, `syn_ack` | the handshake: request, accept, MSS, hold, candidates |
//! | `seal`, `open`, `rewrite`, `answer` | the two directions; changes in place; frames of our own |
//! | `notes`, `teardown`, `timers` | what sessions learn, how they end, what time does |
//! | `control`, [`command`], [`event`], `rings` | control's commands, the worker's events |
//! | `quotation` | what an ICMP error may quote |
//! | `icmp_error` | ICMP errors from the network: which pass, with which MTU |
//! | `hold`, `key_cache`, [`exchange`] | held frames, expanded keys, frames of other workers' sessions |
//! | [`drop_reason`], [`counters`] | why frames end here, and every number |
//! | [`config`], [`service`], [`role`] | what a worker is told |

pub mod buffer;
pub mod command;
pub mod config;
pub mod counters;
pub mod drop_reason;
pub mod event;
pub mod exchange;
pub mod role;
pub mod runtime;
pub mod service;

mod answer;
mod batch;
mod burst;
mod classify;
mod control;
mod end;
mod hold;
mod icmp_error;
mod key_cache;
mod notes;
mod open;
mod packet;
mod quotation;
mod rewrite;
mod rings;
mod seal;
mod segment;
mod syn;
mod syn_ack;
mod teardown;
#[cfg(test)]
mod tests;
mod timers;
mod verdict;
mod worker;

pub use buffer::{DatagramBuf, FrameBuf};
pub use burst::process_burst;
pub use command::Command;
pub use config::{Refusal, RxChecksum, WorkerConfig};
pub use counters::{WorkerCounters, WorkerSnapshot};
pub use drop_reason::DropReason;
pub use event::{CloseCause, Event, PathTrouble, SessionPage, SessionRow};
pub use exchange::{ExchangePort, exchange};
pub use rings::{ControlEnd, WorkerEnd, rings};
pub use role::Role;
pub use runtime::{Clock, PollMode, SpawnError, WorkerHandle, WorkerSpec, spawn};
pub use sekisho_cipher::EpochKeys;
pub use service::{Policy, PortSet, Service, ServiceError, ServiceId, ServiceTable};
pub use worker::{BURST, MAX_MTU, Worker};
