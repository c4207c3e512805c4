//! A KDC: the real decisions, and the ways in which it can fail to give them.

use std::net::SocketAddr;

use rand::rngs::StdRng;
use rand_core::Rng;
use sekisho_kdc::audit::Transport;
use sekisho_kdc::issuer::Issuer;
use sekisho_kdc_client::message::frame_tcp;
use sekisho_kdc_client::requester::FrameReader;

use super::setup::Realm;
use crate::sim::dice::{Dice, generator};
use crate::sim::plan::{KdcFault, Plan};
use crate::sim::schedule::{MILLISECOND, SECOND};

/// One KDC.
pub(in crate::sim) struct Kdc {
    issuer: Issuer,
    rng: StdRng,
    dice: Dice,
    reader: FrameReader,
    /// An answer that was given once, for the fault that gives it again.
    former: Option<Vec<u8>>,
    pub(in crate::sim) is_up: bool,
    fault: Option<KdcFault>,
}

/// What comes back, and after how long.
pub(in crate::sim) struct Answer {
    pub(in crate::sim) delay: u64,
    pub(in crate::sim) bytes: Vec<u8>,
}

impl Kdc {
    /// A KDC that has just started for the `start`th time.
    pub(in crate::sim) fn new((plan, realm): (&Plan, &Realm), number: usize, start: u32) -> Self {
        let name = format!("KDC {number} {start}");
        Self {
            issuer: realm.issuer(),
            rng: generator(plan.seed, &name),
            dice: Dice::new(plan.seed, &name),
            reader: FrameReader::default(),
            former: None,
            is_up: true,
            fault: None,
        }
    }

    /// Fails from now on, or no more.
    pub(in crate::sim) fn set_fault(&mut self, fault: Option<KdcFault>, realm: &Realm) {
        if (self.fault == Some(KdcFault::Refusal)) != (fault == Some(KdcFault::Refusal)) {
            self.issuer.set_policy(realm.policy(fault != Some(KdcFault::Refusal)), 3600);
        }
        self.fault = fault;
    }

    /// The connection was closed: what was read of a message is void.
    pub(in crate::sim) fn disconnect(&mut self) {
        self.reader = FrameReader::default();
    }

    /// Octets from the gateway: one datagram, or a part of a stream.
    pub(in crate::sim) fn take(&mut self, bytes: &[u8], stream: bool, now: u64) -> Vec<Answer> {
        if !self.is_up {
            return Vec::new();
        }
        if !stream {
            return self.decide(bytes, Transport::Udp, now).into_iter().collect();
        }
        let mut requests = Vec::new();
        let framed = self.reader.push(bytes, |request| requests.push(request.to_vec()));
        if framed.is_err() {
            self.disconnect();
        }
        let answers =
            requests.iter().filter_map(|request| self.decide(request, Transport::Tcp, now));
        answers.map(|answer| Answer { bytes: frame_tcp(&answer.bytes), ..answer }).collect()
    }

    fn decide(&mut self, request: &[u8], transport: Transport, now: u64) -> Option<Answer> {
        let source: SocketAddr = ([127, 0, 0, 1], 1089).into();
        let mut delay = self.dice.within(MILLISECOND / 5, 5 * MILLISECOND);
        let reply = self.issuer.decide(request, (source, transport), now, &mut self.rng).reply;
        let mut bytes = reply?;
        match self.fault {
            None | Some(KdcFault::Refusal) => {}
            Some(KdcFault::Silence) => return None,
            Some(KdcFault::Delay) => delay = self.dice.within(MILLISECOND, 3 * SECOND),
            Some(KdcFault::Garbage) => {
                let at = self.dice.below(bytes.len() as u64) as usize;
                match self.dice.below(3) {
                    0 => bytes[at] ^= 1 << self.dice.below(8),
                    1 => bytes.truncate(at),
                    _ => self.rng.fill_bytes(&mut bytes),
                }
            }
            Some(KdcFault::WrongAnswer) => {
                let former = self.former.replace(bytes.clone());
                bytes = former?;
            }
        }
        Some(Answer { delay, bytes })
    }
}
