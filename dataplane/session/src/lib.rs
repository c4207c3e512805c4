//! Flow keys, sharded session tables, half-connections and the life cycle of a session.
//!
//! * [`flow`]: who talks to whom, always client first; [`hash`]: the keyed symmetric hash, shards;
//! * [`half`]: one direction of a stream in 64-bit offsets; [`limits`]: what one key may protect;
//! * [`state`]: the one table of transitions; [`session`]: a session's 232 bytes;
//! * [`table`]: one worker's shard, of fixed capacity; [`clear`]: flows that run in clear by policy;
//! * [`time`]: time as a parameter.
//!
//! Nothing here reads a clock, performs I/O or parses a frame. Normative text: `docs/spec.md`
//! section 7.

pub mod clear;
pub mod flow;
pub mod half;
pub mod hash;
pub mod limits;
pub mod session;
pub mod state;
pub mod table;
pub mod time;

mod index;
mod l2;
mod packed;

pub use clear::{ClearTable, ClearTableFull};
pub use flow::{Direction, FlowKey};
pub use half::{HalfConn, OffsetError, Origin, Placement, RST_ANSWER_OFFSET};
pub use hash::FlowHasher;
pub use limits::{Charge, KeyUsage, Timeouts};
pub use session::{Session, SessionId};
pub use state::{Input, State, Transition, next};
pub use table::{InsertError, Outcome, Removed, SessionTable};
pub use time::Time;
