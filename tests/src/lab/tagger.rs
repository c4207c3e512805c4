//! VLAN tags on a cable, by a program of our own (not every kernel has VLAN devices): frames get an inline
//! 802.1Q tag in one direction and lose it in the other. Owns two packet sockets and two threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::LabResult;
use super::forge::tagged;
use super::namespace::Namespace;
use super::packet::{LARGEST, PacketSocket};

/// The tagger's interface whose frames have no tag.
pub const BARE: &str = "bare0";
/// The tagger's interface whose frames have one.
pub const TAGGED: &str = "tagged0";
/// How often a thread looks whether it should end.
const TURN_MICROSECONDS: i64 = 100_000;

/// A running tagger; ends on drop.
pub struct Tagger {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Tagger {
    /// Joins [`BARE`] and [`TAGGED`] of `namespace`, with 802.1Q id `vlan` on the latter.
    pub fn start(namespace: &Namespace, vlan: u16) -> LabResult<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let bare = Arc::new(namespace.enter(|| PacketSocket::open(BARE, TURN_MICROSECONDS))??);
        let with_tag =
            Arc::new(namespace.enter(|| PacketSocket::open(TAGGED, TURN_MICROSECONDS))??);
        let relay = |from: &Arc<PacketSocket>, to: &Arc<PacketSocket>, tags: Vec<u16>| {
            let (from, to, stop) = (Arc::clone(from), Arc::clone(to), Arc::clone(&stop));
            std::thread::spawn(move || {
                let mut buffer = [0; LARGEST];
                while !stop.load(Ordering::Relaxed) {
                    // The kernel has already taken the tag of what comes from the tagged side.
                    if let Some(frame) = from.receive(&mut buffer) {
                        // A cable that is full loses frames, as cables do.
                        to.send(&tagged(frame, &tags));
                    }
                }
            })
        };
        let threads =
            vec![relay(&bare, &with_tag, vec![vlan]), relay(&with_tag, &bare, Vec::new())];
        Ok(Self { stop, threads })
    }
}

impl Drop for Tagger {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
