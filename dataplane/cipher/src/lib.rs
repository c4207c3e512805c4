//! Protection of a TCP segment: synthetic-IV tag, keystream by stream offset, key contexts.
//!
//! * [`keys`]: the 48 bytes of one direction, the pair of an epoch, the expanded context;
//! * [`segment`]: what a tag covers and where a payload lies in its frame;
//! * [`model`]: seal and open, portable and slow, on the crates `aes`, `ctr` and `ghash`.
//!
//! The crate knows no TCP, no session and no key delivery: offsets come in, tags go out.
//! Normative text: `docs/spec.md` section 3; vectors: `docs/vectors/protection.json`.

pub mod keys;
pub mod model;
pub mod segment;

pub use keys::{EpochKeys, EqualKeys, KeyContext, TrafficKeys};
pub use model::{open, seal};
pub use segment::{Associated, BadTag, Payload, SegmentFlags, TAG_LEN, Tag};
