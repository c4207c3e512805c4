//! The requester in virtual time, against KDCs that answer late, wrongly or not at all.

use super::*;
use crate::keys::{DeviceKey, Role};
use crate::message::{KeyRefusal, KeyReply};
use crate::wrap::gateway_associated;
use rand::SeedableRng;
use rand::rngs::StdRng;

fn keys(fill: u8) -> RoleKeys {
    DeviceKey::from_bytes([fill; 32]).role_keys(Role::Gateway)
}

fn reply(message: &[u8], keys: &RoleKeys) -> Vec<u8> {
    let request = sha256(&[message]);
    let for_client = b"Ccl".to_vec();
    let associated = gateway_associated(&request, &for_client);
    let for_gateway = keys.wrap.seal(b"Cgw", &associated, &mut StdRng::seed_from_u64(1));
    KeyReply { request, for_client, for_gateway }.encode()
}

fn refusal(message: &[u8], code: RefuseCode, keys: Option<&RoleKeys>) -> Vec<u8> {
    KeyRefusal { request: sha256(&[message]), code }.encode(keys.map(|k| &k.auth))
}

/// How a KDC of the simulation behaves.
#[derive(Clone, Copy, PartialEq)]
enum Kdc {
    /// Answers after so many ms.
    Answers(u64),
    /// Refuses with a MAC, or without one.
    Refuses(RefuseCode, bool),
    /// Never answers.
    Silent,
    /// TCP: closes instead of answering. UDP: cannot be reached.
    Closes,
}

/// How an exchange ended: its number, ms since its start, KDC, result.
type End = (u64, u64, Option<usize>, Result<Vec<u8>, KdcFailure>);

/// A requester and its KDCs under one clock.
struct World {
    requester: Requester,
    kdcs: Vec<Kdc>,
    now: u64,
    /// Answers on their way: arrival, KDC, octets.
    wire: Vec<(u64, usize, Vec<u8>)>,
    /// Sends so far: time in ms, KDC.
    sent: Vec<(u64, usize)>,
    done: Vec<End>,
    closed: usize,
}

impl World {
    fn new(transport: KdcTransport, kdcs: &[Kdc]) -> Self {
        Self::with(RequesterConfig::new(kdcs.len(), transport), kdcs)
    }

    fn with(config: RequesterConfig, kdcs: &[Kdc]) -> Self {
        Self {
            requester: Requester::new(config, keys(1)),
            kdcs: kdcs.to_vec(),
            now: 1_000 * MS,
            wire: Vec::new(),
            sent: Vec::new(),
            done: Vec::new(),
            closed: 0,
        }
    }

    fn start(&mut self, exchange: u64) {
        self.requester.start(exchange, format!("request {exchange}").as_bytes(), self.now);
        self.pump();
    }

    fn pump(&mut self) {
        while let Some(output) = self.requester.poll() {
            match output {
                RequesterOutput::SendUdp { kdc, bytes } => self.deliver(kdc, &bytes, false),
                RequesterOutput::SendTcp { kdc, bytes } => {
                    let length = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
                    assert_eq!(length + 2, bytes.len());
                    self.deliver(kdc, &bytes[2..], true);
                }
                RequesterOutput::CloseTcp { .. } => self.closed += 1,
                RequesterOutput::Done { exchange, kdc, elapsed, result } => {
                    self.done.push((exchange, elapsed / MS, kdc, result));
                }
            }
            assert!(self.sent.len() < 10_000, "a sending loop");
        }
    }

    fn deliver(&mut self, kdc: usize, message: &[u8], tcp: bool) {
        self.sent.push((self.now / MS, kdc));
        let answer = match self.kdcs[kdc] {
            Kdc::Answers(after) => (after, reply(message, &keys(1))),
            Kdc::Refuses(code, mac) => (1, refusal(message, code, mac.then(|| keys(1)).as_ref())),
            Kdc::Silent => return,
            Kdc::Closes if tcp => return self.requester.on_stream_closed(kdc, self.now),
            Kdc::Closes => return self.requester.on_unreachable(kdc, self.now),
        };
        let bytes = if tcp { frame_tcp(&answer.1) } else { answer.1 };
        self.wire.push((self.now + answer.0 * MS, kdc, bytes));
    }

    /// Runs until `ms` later, event by event.
    fn run(&mut self, ms: u64) {
        let end = self.now + ms * MS;
        for _ in 0..100_000 {
            self.wire.sort_by_key(|(at, ..)| *at);
            let arrival = self.wire.first().map(|(at, ..)| *at);
            let timer = self.requester.next_deadline();
            let Some(at) = arrival.into_iter().chain(timer).min().filter(|at| *at <= end) else {
                self.now = end;
                return;
            };
            self.now = at;
            if arrival == Some(at) {
                let (_, kdc, bytes) = self.wire.remove(0);
                match self.requester.config.transport {
                    KdcTransport::Udp => self.requester.on_datagram(kdc, &bytes, at),
                    // In two pieces, to cross a frame's border.
                    KdcTransport::Tcp => {
                        self.requester.on_stream_data(kdc, &bytes[..3], at);
                        self.requester.on_stream_data(kdc, &bytes[3..], at);
                    }
                }
            } else {
                self.requester.on_timer(at);
            }
            self.pump();
        }
        panic!("no progress in virtual time");
    }

    fn only(&self) -> &End {
        assert_eq!(self.done.len(), 1, "one end per exchange");
        assert_eq!(self.requester.in_flight(), 0);
        assert_eq!(self.requester.next_deadline(), None);
        &self.done[0]
    }
}

#[test]
fn an_answer_ends_an_exchange_over_both_transports() {
    for transport in [KdcTransport::Udp, KdcTransport::Tcp] {
        let mut w = World::new(transport, &[Kdc::Answers(20), Kdc::Answers(1)]);
        w.start(7);
        w.run(5_000);
        let (exchange, elapsed, kdc, result) = w.only();
        assert_eq!((*exchange, *elapsed, *kdc), (7, 20, Some(0)));
        assert_eq!(*result, Ok(reply(b"request 7", &keys(1))));
        assert_eq!(w.sent, [(1000, 0)]);
    }
}

#[test]
fn a_single_silent_kdc_is_asked_at_150_ms_doubling_until_the_deadline() {
    let mut w = World::new(KdcTransport::Udp, &[Kdc::Silent]);
    w.start(1);
    w.run(10_000);
    assert_eq!(w.sent, [(1000, 0), (1150, 0), (1450, 0)]);
    let (_, elapsed, kdc, result) = w.only();
    assert_eq!((*elapsed, *kdc, result), (1000, None, &Err(KdcFailure::Unavailable)));
    assert_eq!(w.requester.counters().timeouts, 3);
}

#[test]
fn a_requester_asks_other_kdcs_under_the_same_keys() {
    let mut w = World::new(KdcTransport::Udp, &[Kdc::Silent]);
    w.start(1);
    w.kdcs = vec![Kdc::Silent, Kdc::Answers(3)];
    w.requester.reconfigure(RequesterConfig::new(2, KdcTransport::Udp));
    w.run(5_000);
    assert!(w.done.is_empty(), "what was under way is forgotten");
    w.start(1);
    w.run(1_000);
    let (exchange, _, kdc, result) = w.only();
    assert_eq!((*exchange, *kdc), (1, Some(1)));
    assert!(result.is_ok(), "the reply verifies under the key from before");
}

#[test]
fn the_second_kdc_takes_over_and_the_first_is_taken_back() {
    let mut w = World::new(KdcTransport::Udp, &[Kdc::Silent, Kdc::Answers(2)]);
    for exchange in 0..2 {
        w.start(exchange);
        w.run(500);
        assert_eq!(w.done[exchange as usize].1, 152, "one time-out, then the second");
    }
    assert!(w.requester.is_dead(0));
    // Dead: not asked first any more.
    w.sent.clear();
    w.start(2);
    w.run(100);
    assert_eq!((w.done[2].1, w.done[2].2), (2, Some(1)));
    assert_eq!(w.sent.iter().filter(|(_, kdc)| *kdc == 0).count(), 0);
    // After its back-off one exchange probes it, at no cost to that exchange.
    w.run(1_000);
    w.sent.clear();
    w.start(3);
    w.start(4);
    w.run(100);
    assert_eq!((w.done[3].1, w.done[4].1), (2, 2));
    assert_eq!(w.sent.iter().filter(|(_, kdc)| *kdc == 0).count(), 1);
    assert!(w.requester.is_dead(0));
    // The next probe waits twice as long; it finds the KDC alive, and the first is first again.
    w.kdcs[0] = Kdc::Answers(1);
    w.run(1_500);
    w.start(5);
    w.run(100);
    assert!(w.requester.is_dead(0), "no probe before the doubled back-off");
    w.run(1_000);
    w.start(6);
    w.run(100);
    assert!(!w.requester.is_dead(0));
    w.start(7);
    w.run(100);
    assert_eq!(w.done.last().unwrap().2, Some(0));
}

#[test]
fn all_dead_still_asks_and_ends_in_unavailable() {
    let mut w = World::new(KdcTransport::Udp, &[Kdc::Silent, Kdc::Silent]);
    for exchange in 0..3 {
        w.start(exchange);
        w.run(1_001);
        assert_eq!(w.done[exchange as usize].3, Err(KdcFailure::Unavailable));
    }
    assert!(w.requester.is_dead(0) && w.requester.is_dead(1));
    w.sent.clear();
    w.start(9);
    assert!(!w.sent.is_empty(), "asking a dead KDC beats asking none");
}

#[test]
fn unreachable_fails_over_at_once_and_never_loops() {
    for transport in [KdcTransport::Udp, KdcTransport::Tcp] {
        let mut w = World::new(transport, &[Kdc::Closes, Kdc::Answers(3)]);
        w.start(1);
        w.run(5_000);
        assert_eq!((w.only().1, w.only().2), (3, Some(1)), "no time-out is waited for");

        let mut w = World::new(transport, &[Kdc::Closes, Kdc::Closes]);
        w.start(1);
        w.run(5_000);
        assert_eq!(w.only().3, Err(KdcFailure::Unavailable));
        assert!(w.sent.len() <= 8, "{} sends", w.sent.len());
    }
}

#[test]
fn an_idle_connection_that_ends_blames_nobody() {
    let mut w = World::new(KdcTransport::Tcp, &[Kdc::Answers(3), Kdc::Answers(3)]);
    assert_eq!(w.requester.server(0), (0, None));
    w.start(1);
    w.run(100);
    assert_eq!(w.requester.server(0), (1, Some(true)));
    w.requester.on_unreachable(0, w.now);
    assert!(!w.requester.is_dead(0));
    w.kdcs[0] = Kdc::Closes;
    w.start(2);
    w.requester.on_unreachable(0, w.now);
    assert_eq!(w.requester.server(0), (2, Some(false)));
    w.run(100);
    assert_eq!(w.done[1].2, Some(1));
}

#[test]
fn a_verified_refusal_ends_at_once_and_a_hint_does_not() {
    let code = RefuseCode::UnknownDevice;
    let mut w = World::new(KdcTransport::Udp, &[Kdc::Refuses(code, true), Kdc::Answers(1)]);
    w.start(1);
    w.run(5_000);
    assert_eq!((w.only().1, w.only().3.clone()), (1, Err(KdcFailure::Refused(code))));

    // Whoever saw the request can write a hint: the other KDC's answer stands.
    let mut w = World::new(KdcTransport::Udp, &[Kdc::Refuses(code, false), Kdc::Answers(1)]);
    w.start(1);
    w.run(5_000);
    assert_eq!((w.only().1, w.only().2), (151, Some(1)));
    assert!(w.only().3.is_ok());

    // With nothing better the hint names the failure.
    let hint = RefuseCode::UnknownGateway;
    let mut w = World::new(KdcTransport::Udp, &[Kdc::Refuses(hint, false)]);
    w.start(1);
    w.run(5_000);
    assert_eq!((w.only().1, w.only().3.clone()), (1000, Err(KdcFailure::Refused(hint))));
}

#[test]
fn a_transient_refusal_moves_on_to_the_next_kdc() {
    let busy = Kdc::Refuses(RefuseCode::Overloaded, true);
    let mut w = World::new(KdcTransport::Udp, &[busy, Kdc::Answers(1)]);
    w.start(1);
    w.run(5_000);
    assert_eq!((w.only().1, w.only().2), (2, Some(1)));
    assert!(!w.requester.is_dead(0), "it answered");

    let mut w = World::new(KdcTransport::Udp, &[busy, busy]);
    w.start(1);
    w.run(5_000);
    assert_eq!(w.only().3, Err(KdcFailure::Refused(RefuseCode::Overloaded)));
    assert!(w.sent.len() <= 8);
}

#[test]
fn forged_foreign_and_late_answers_end_nothing() {
    let mut w = World::new(KdcTransport::Udp, &[Kdc::Answers(50)]);
    w.start(1);
    let (message, mine, other) = (b"request 1", keys(1), keys(2));
    let mut mangled = reply(message, &mine);
    let last = mangled.len() - 1;
    mangled[last] ^= 1;
    for (bytes, what) in [
        (reply(message, &other), "sealed for another gateway"),
        (refusal(message, RefuseCode::UnknownDevice, Some(&other)), "MAC of another key"),
        (mangled, "mangled"),
        (vec![], "empty"),
        (vec![1, 2, 0, 0], "short"),
    ] {
        w.requester.on_datagram(0, &bytes, w.now);
        assert!(w.requester.poll().is_none(), "{what}");
    }
    w.requester.on_datagram(0, &reply(b"request 2", &mine), w.now);
    assert_eq!(w.requester.counters().invalid, 5);
    assert_eq!(w.requester.counters().unmatched, 1);
    w.run(5_000);
    assert!(w.only().3.is_ok());
    // The same answer once more: nobody waits for it.
    w.requester.on_datagram(0, &reply(message, &mine), w.now);
    assert!(w.requester.poll().is_none());
    assert_eq!(w.requester.counters().unmatched, 2);
}

#[test]
fn the_first_valid_answer_stands_wherever_it_comes_from() {
    // The first answers after its time-out, the second later still.
    let mut w = World::new(KdcTransport::Udp, &[Kdc::Answers(200), Kdc::Answers(400)]);
    w.start(1);
    w.run(5_000);
    assert_eq!((w.only().1, w.only().2), (200, Some(0)));
}

#[test]
fn a_hedge_asks_the_second_early_and_blames_nobody() {
    let mut config = RequesterConfig::new(2, KdcTransport::Udp);
    config.hedge = Some(10 * MS);
    let mut w = World::with(config, &[Kdc::Answers(60), Kdc::Answers(5)]);
    for exchange in 0..4 {
        w.start(exchange);
        w.run(1_000);
        assert_eq!((w.done[exchange as usize].1, w.done[exchange as usize].2), (15, Some(1)));
    }
    assert!(!w.requester.is_dead(0));
    assert_eq!(w.sent.len(), 8);
}

#[test]
fn a_silent_connection_is_closed_and_its_exchanges_move() {
    let mut w = World::new(KdcTransport::Tcp, &[Kdc::Silent, Kdc::Answers(5)]);
    w.start(1);
    w.run(10);
    w.start(2);
    w.run(5_000);
    assert_eq!(w.done.len(), 2);
    assert!(w.done.iter().all(|d| d.3.is_ok() && d.2 == Some(1)));
    let second = w.done.iter().find(|d| d.0 == 2).unwrap();
    assert_eq!(second.1, 395, "the second moves when the first finds the connection dead");
    assert!(w.closed >= 1);
}

#[test]
fn garbage_on_a_connection_closes_it_and_moves_on() {
    for garbage in [&[0u8, 0][..], &[0xff, 0xff]] {
        let mut w = World::new(KdcTransport::Tcp, &[Kdc::Silent, Kdc::Answers(5)]);
        w.start(1);
        w.requester.on_stream_data(0, garbage, w.now);
        w.pump();
        w.run(5_000);
        assert_eq!((w.only().1, w.only().2, w.closed), (5, Some(1), 1));
    }
}

#[test]
fn limits_and_misuse_end_at_once() {
    let mut config = RequesterConfig::new(1, KdcTransport::Udp);
    config.max_exchanges = 2;
    let mut w = World::with(config, &[Kdc::Silent]);
    w.start(1);
    w.start(1);
    assert_eq!(w.done.pop().unwrap().3, Err(KdcFailure::Misuse));
    w.start(2);
    w.start(3);
    assert_eq!(w.done.pop().unwrap().3, Err(KdcFailure::Overloaded));
    w.requester.cancel(2);
    w.requester.start(4, &[0; MAX_MESSAGE + 1], w.now);
    w.pump();
    assert_eq!(w.done.pop().unwrap().3, Err(KdcFailure::Misuse));
    assert_eq!(w.requester.in_flight(), 1);
}

#[test]
fn a_thousand_exchanges_through_a_fail_over_all_end_well() {
    let mut w = World::new(KdcTransport::Udp, &[Kdc::Answers(3), Kdc::Answers(7)]);
    for exchange in 0..1_000 {
        if exchange == 300 {
            w.kdcs[0] = Kdc::Silent;
        }
        if exchange == 700 {
            w.kdcs[0] = Kdc::Answers(3);
        }
        w.start(exchange);
        w.run(5);
    }
    w.run(5_000);
    assert_eq!(w.done.len(), 1_000);
    assert!(w.done.iter().all(|(.., result)| result.is_ok()));
    assert_eq!(w.done.last().unwrap().2, Some(0), "the first KDC was taken back");
    let slow = w.done.iter().filter(|(_, elapsed, ..)| *elapsed > 10).count();
    assert!(slow < 80, "{slow} exchanges paid for the fail-over");
}
