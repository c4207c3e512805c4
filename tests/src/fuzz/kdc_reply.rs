//! What a gateway makes of the answers of its KDCs: over UDP and TCP, late, cut, changed and made up.

use std::collections::BTreeMap;

use sekisho_kdc_client::message::{KeyRefusal, frame_tcp, sha256};
use sekisho_kdc_client::{
    KdcTransport, RefuseCode, Requester, RequesterConfig, RequesterOutput, Role,
};

use super::parties::{Kdc, SECOND, gateway_id, request_octets, role_keys};
use super::script::Script;

/// Most steps of one script.
const STEPS: usize = 200;
const SERVERS: usize = 3;
/// Longer than any exchange lasts.
const PATIENCE: u64 = 10 * SECOND;

/// Runs one script.
///
/// # Panics
/// Where an exchange ends not at all or twice, or in a reply that the KDC did not give to it.
pub fn kdc_reply(data: &[u8]) {
    let _ = run(data);
}

/// How many exchanges ended in a key, and how many otherwise.
pub(super) fn run(data: &[u8]) -> (usize, usize) {
    let mut script = Script::new(data);
    let mut world = World::new(script.flag());
    for _ in 0..STEPS {
        if script.is_over() {
            break;
        }
        world.step(&mut script);
    }
    world.finish()
}

struct World {
    requester: Requester,
    kdc: Kdc,
    tcp: bool,
    now: u64,
    /// Exchanges by number: the KDC's reply to each.
    started: BTreeMap<u64, Vec<u8>>,
    ended: BTreeMap<u64, bool>,
}

impl World {
    fn new(tcp: bool) -> Self {
        let transport = if tcp { KdcTransport::Tcp } else { KdcTransport::Udp };
        let config = RequesterConfig::new(SERVERS, transport);
        let keys = role_keys(Role::Gateway, &gateway_id(), 1);
        Self {
            requester: Requester::new(config, keys),
            kdc: Kdc::new(),
            tcp,
            now: SECOND,
            started: BTreeMap::new(),
            ended: BTreeMap::new(),
        }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        match script.u8() % 8 {
            0 => self.start(),
            1 => self.answer(script, false),
            2 => self.answer(script, true),
            3 => self.refuse(script),
            4 => {
                let (kdc, octets) = (script.below(SERVERS + 1), script.piece());
                self.hear(kdc, octets);
            }
            5 => {
                let ms = script.one_of([1, 50, 160, 400, 1_000, 5_000]);
                self.now += ms * SECOND / 1_000;
                self.requester.on_timer(self.now);
            }
            6 => self.requester.on_stream_closed(script.below(SERVERS + 1), self.now),
            _ => self.requester.on_unreachable(script.below(SERVERS + 1), self.now),
        }
        self.drain();
    }

    fn start(&mut self) {
        let number = self.started.len() as u8;
        if number == u8::MAX {
            return;
        }
        let request = request_octets(number);
        let reply = self.kdc.decide(&request, self.now).reply.unwrap_or_default();
        self.started.insert(u64::from(number), reply);
        self.requester.start(u64::from(number), &request, self.now);
    }

    /// The KDC's reply to one of the exchanges, as it is or changed.
    fn answer(&mut self, script: &mut Script<'_>, changed: bool) {
        let (kdc, at) = (script.below(SERVERS), script.below(self.started.len()));
        let Some(mut octets) = self.started.values().nth(at).cloned() else { return };
        if changed {
            script.mutate(&mut octets);
            let keep = usize::from(script.u16()) % (octets.len() + 1);
            octets.truncate(if script.flag() { keep } else { octets.len() });
        }
        let octets = if self.tcp { frame_tcp(&octets) } else { octets };
        // A stream comes in pieces.
        let cut = if self.tcp { usize::from(script.u8()).min(octets.len()) } else { 0 };
        let (first, rest) = octets.split_at(cut);
        for piece in [first, rest].into_iter().filter(|piece| !piece.is_empty()) {
            self.hear(kdc, piece);
        }
    }

    /// A refusal of one of the exchanges, of the KDC or of anybody.
    fn refuse(&mut self, script: &mut Script<'_>) {
        let (kdc, at) = (script.below(SERVERS), script.below(self.started.len()));
        let code = RefuseCode::from_wire(script.u16());
        let keys = role_keys(Role::Gateway, &gateway_id(), 1 + u32::from(script.u8() & 1));
        let auth = script.flag().then_some(&keys.auth);
        if self.started.is_empty() {
            return;
        }
        let request = sha256(&[&request_octets(at as u8)]);
        let octets = KeyRefusal { request, code }.encode(auth);
        let octets = if self.tcp { frame_tcp(&octets) } else { octets };
        self.hear(kdc, &octets);
    }

    fn hear(&mut self, kdc: usize, octets: &[u8]) {
        if self.tcp {
            self.requester.on_stream_data(kdc, octets, self.now);
        } else {
            self.requester.on_datagram(kdc, octets, self.now);
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.requester.poll() {
            let RequesterOutput::Done { exchange, result, .. } = output else { continue };
            let reply = self.started.get(&exchange);
            assert!(reply.is_some(), "an end of what had no beginning");
            if let Ok(octets) = &result {
                assert_eq!(Some(octets), reply, "a reply that the KDC did not give");
            }
            let before = self.ended.insert(exchange, result.is_ok());
            assert!(before.is_none(), "ended twice");
        }
        assert_eq!(self.requester.in_flight(), self.started.len() - self.ended.len());
    }

    fn finish(mut self) -> (usize, usize) {
        let end = self.now + PATIENCE;
        while let Some(at) = self.requester.next_deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.requester.on_timer(self.now);
            self.drain();
        }
        assert_eq!(self.ended.len(), self.started.len(), "an exchange without end");
        let keys = self.ended.values().filter(|key| **key).count();
        (keys, self.ended.len() - keys)
    }
}
