//! The impairment box: a node in the path that does to frames what networks do. Kernels without a
//! network emulator need it, and no emulator rewrites sequence numbers.
//!
//! | file | noun |
//! |---|---|
//! | `spec` | what shall happen, as text and as numbers |
//! | `engine` | the box without sockets: frames, a seed and the time in, frames out |
//! | `lane` | one direction of it: what is lost, changed, kept back |
//! | `edit` | changes to one frame |
//! | `isn`, `nat` | sequence numbers and ports rewritten, flow by flow |
//! | `too_big` | the router's answer to a packet that does not fit |
//! | `counts` | what was done |
//! | `random` | the seeded generator |
//! | `relay` | the sockets and the loop around the engine |
//!
//! Frames that find neighbours (ARP, ICMPv6 types 133 to 137) and frames that are no IP pass untouched:
//! losing them shows nothing but the neighbour cache's own timers.

mod edit;
mod isn;
mod lane;
mod nat;
mod random;
mod too_big;

pub mod counts;
pub mod engine;
pub mod relay;
pub mod spec;

#[cfg(test)]
mod tests;
