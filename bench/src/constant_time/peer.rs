//! The same trials of the main peer: what any code shows on this machine. Only with feature `peers`.
//!
//! Owns: the peer at work.

use std::hint::black_box;

use rand::Rng;
use rand::rngs::SmallRng;

use super::trial::{FIXED, LEN, Secret, Task, Timed, Trial};
use crate::cipher::suite::{AwsGcm, Suite, TAG};

/// The peer at work.
struct Peer {
    task: Task,
    secret: Secret,
    suite: AwsGcm,
    nonce: u64,
    frame: [u8; LEN + TAG],
}

/// Sealing and opening, with fixed or random keys or payloads.
pub(super) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for secret in [Secret::Keys, Secret::Payload] {
        for task in [Task::Seal, Task::Open] {
            let name = format!("aws-lc-rs/{}/{}", task.name(), secret.name());
            let frame = [FIXED; LEN + TAG];
            let peer = || Peer { task, secret, suite: AwsGcm::new(&[FIXED; 32]), nonce: 0, frame };
            trials.push(Trial::new(name, peer));
        }
    }
    trials
}

impl Timed for Peer {
    fn prepare(&mut self, random: &mut SmallRng, class: usize) {
        let (key, payload) = self.secret.draw(random, class);
        self.suite = AwsGcm::new(&key);
        self.nonce = random.next_u64();
        self.frame[..LEN].copy_from_slice(&payload);
        if let Task::Open = self.task {
            let tag = self.suite.seal(self.nonce, &mut self.frame[..LEN]);
            self.frame[LEN..].copy_from_slice(&tag);
        }
    }

    fn work(&mut self) {
        match self.task {
            Task::Open => _ = black_box(self.suite.open(self.nonce, &mut self.frame)),
            Task::Seal | Task::Expand => {
                let _ = black_box(self.suite.seal(self.nonce, &mut self.frame[..LEN]));
            }
        }
    }
}
