//! The layer-2 header to use towards a host, learnt from the latest frame of that
//! direction. Owns no addresses of ours and asks nobody: never ARP, never ND.

use std::collections::HashMap;
use std::net::IpAddr;

use sekisho_wire::L2Header;

/// Pairs kept in each of the two generations.
const GENERATION: usize = 32 * 1024;

/// Layer-2 headers by (source, destination) of the frames *we* send. Two generations:
/// when the young one is full it becomes the old one, so the cost of forgetting is spread
/// over nothing and a flood of addresses evicts only what was not used lately.
#[derive(Default)]
pub(super) struct L2Cache {
    young: HashMap<(IpAddr, IpAddr), L2Header>,
    old: HashMap<(IpAddr, IpAddr), L2Header>,
}

impl L2Cache {
    /// Remembers the header for frames from `src` to `dst`.
    pub(super) fn learn(&mut self, src: IpAddr, dst: IpAddr, header: L2Header) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert((src, dst), header);
    }

    /// The header for frames from `src` to `dst`, if a frame of that direction was seen.
    pub(super) fn find(&self, src: IpAddr, dst: IpAddr) -> Option<L2Header> {
        self.young.get(&(src, dst)).or_else(|| self.old.get(&(src, dst))).copied()
    }
}
