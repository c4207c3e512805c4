//! Protection of a TCP segment: synthetic-IV tag, keystream by stream offset, key contexts.
//!
//! * [`keys`]: the 48 bytes of one direction, the pair of an epoch, the expanded context;
//! * [`segment`]: what a tag covers and where a payload lies in its frame;
//! * [`kernel`]: seal and open, by the fastest implementation that the CPU has;
//! * `model`: portable and slow, on the crates `aes`, `ctr` and `ghash`: the definition;
//! * `low`: three kernels for x86-64, VAES with VPCLMULQDQ on 512 and on 256 bits and AES-NI with PCLMULQDQ, held to
//!   the model.
//!
//! The crate knows no TCP, no session and no key delivery: offsets come in, tags go out.
//! Normative text: `docs/spec.md` section 3; vectors: `docs/vectors/protection.json`.

#![deny(unsafe_code)]

#[cfg(test)]
mod external;
pub mod kernel;
pub mod keys;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod low;
#[cfg(feature = "measure")]
pub mod measure;
mod model;
pub mod segment;
mod sum;

pub use kernel::{BadKernel, choose_kernel, kernel_name, open, open_batch, seal, seal_batch};
pub use keys::{EpochKeys, EqualKeys, KeyContext, TrafficKeys};
pub use segment::{
    Associated, BATCH, BadTag, OpenJob, Payload, SealJob, Sealed, SegmentFlags, Sums, TAG_LEN, Tag,
};
