//! The registry of devices: who exists, in which role, with which key versions.
//!
//! Three parts: [`record`](DeviceRecord) is what one device is, [`Registry`] is the file (redb) that
//! holds the records, [`RegistryView`] is the copy in memory that a serving KDC answers from, and
//! [`RegistryWatch`] renews that copy when the file changes.
//!
//! redb lets one process at a time have a file open for writing and none beside it. So nobody keeps
//! it open: the commands open it, change it and close it; a serving KDC reads a view, closes it,
//! and looks at the file's stamp a few times per second. A revocation is thus in force within
//! [`RegistryWatch::INTERVAL`] and the time of one read, without a restart.

mod record;
mod store;
#[cfg(test)]
mod tests;
mod view;
mod watch;

pub use record::{DeviceRecord, KeyRecord, KeySource, KeyState};
pub use store::{Added, NewKey, Registry, RegistryError};
pub use view::{Lookup, RegistryView};
pub use watch::RegistryWatch;
