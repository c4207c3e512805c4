//! What fails in a world, and comes back: parties that forget everything, KDCs that answer wrong.

use super::{AGENT, CLIENT, Event, GATEWAY, SERVER, World};
use crate::sim::host::{Fate, Host};
use crate::sim::invariant::Finding;
use crate::sim::party::kdc::Kdc;
use crate::sim::party::setup::{CLIENT_FIRST_PORT, SERVER_FIRST_PORT};
use crate::sim::plan::{KdcFault, PartyName};
use crate::sim::schedule::{MICROSECOND, MILLISECOND};

impl World<'_> {
    /// A party fails for `lasts` nanoseconds.
    pub(super) fn crash(&mut self, party: PartyName, lasts: u64) -> Result<(), Finding> {
        self.trace.note(self.schedule.now(), "crash", format!("{party:?}"));
        match party {
            PartyName::Agent => self.crash_station(AGENT)?,
            PartyName::Gateway => self.crash_station(GATEWAY)?,
            PartyName::Kdc(kdc) => {
                if let Some(kdc) = self.kdcs.get_mut(kdc) {
                    kdc.is_up = false;
                }
            }
            PartyName::ClientHost => {
                self.seats[CLIENT].host = None;
                for (tries, fate) in &mut self.attempts {
                    if *tries > 0 && fate.is_none() {
                        *fate = Some(Fate::Aborted);
                    }
                }
            }
            PartyName::ServerHost => self.seats[SERVER].host = None,
        }
        self.schedule.after(lasts, Event::Restart(party));
        Ok(())
    }

    fn crash_station(&mut self, at: usize) -> Result<(), Finding> {
        self.cipher_side.crash(at);
        let Some(mut station) = self.posts[at].station.take() else { return Ok(()) };
        match station.stop(self.depot, self.schedule.time()) {
            0 => Ok(()),
            lost => Err(("frames are conserved", format!("{lost} lost when a station stopped"))),
        }
    }

    /// A party comes back, with nothing but its configuration.
    pub(super) fn restart(&mut self, party: PartyName) {
        self.trace.note(self.schedule.now(), "restart", format!("{party:?}"));
        match party {
            PartyName::Agent if self.posts[AGENT].station.is_none() => self.start_station(AGENT),
            PartyName::Gateway if self.posts[GATEWAY].station.is_none() => {
                self.start_station(GATEWAY);
            }
            PartyName::Kdc(number) if number < self.kdcs.len() => {
                self.kdc_starts[number] += 1;
                let parts = (self.plan, &self.realm);
                self.kdcs[number] = Kdc::new(parts, number, self.kdc_starts[number]);
            }
            PartyName::ClientHost if self.seats[CLIENT].host.is_none() => self.start_host(CLIENT),
            PartyName::ServerHost if self.seats[SERVER].host.is_none() => self.start_host(SERVER),
            _ => {}
        }
    }

    /// A host that has just started.
    pub(super) fn start_host(&mut self, at: usize) {
        let seat = &mut self.seats[at];
        let address = if at == SERVER { self.realm.server } else { self.realm.client };
        let mut host = Host::new(self.plan, (seat.name, address), seat.starts);
        seat.starts += 1;
        if at == SERVER {
            host.listen(CLIENT_FIRST_PORT);
            host.listen(SERVER_FIRST_PORT);
        }
        seat.host = Some(host);
    }

    /// Hosts reset the connections on which their own stacks stand still; these may be aborted.
    pub(super) fn free_stalled(&mut self) {
        let now = self.schedule.now();
        for at in [CLIENT, SERVER] {
            let seat = &mut self.seats[at];
            let freed = seat.host.as_mut().map(|host| host.free_stalled(now)).unwrap_or_default();
            for seen in freed {
                let client = if at == SERVER { self.network.client_of(seen) } else { seen };
                self.trace.note(now, self.seats[at].name, format!("stands still: {client}"));
                let attempt = self.attempt_from(client);
                self.stalled.insert((client, attempt));
                self.schedule.after(0, Event::Host(at));
            }
        }
    }

    /// All KDCs fail in some way, or no more.
    pub(super) fn kdc_fault(&mut self, fault: Option<KdcFault>) {
        self.trace.note(self.schedule.now(), "KDC fault", format!("{fault:?}"));
        self.kdcs.iter_mut().for_each(|kdc| kdc.set_fault(fault, &self.realm));
    }

    /// Octets come to a KDC, and its answers go on their way.
    pub(super) fn ask_kdc(&mut self, kdc: usize, bytes: &[u8], is_stream: bool) {
        let now = self.schedule.now();
        let start = self.posts[GATEWAY].starts;
        let Some(asked) = self.kdcs.get_mut(kdc) else { return };
        if !asked.is_up && is_stream {
            let event = Event::FromKdc { kdc, start, bytes: None, is_stream };
            return self.schedule.after(MILLISECOND, event);
        }
        for answer in asked.take(bytes, is_stream, now) {
            // Octets of one connection keep their order.
            let mut at = now + answer.delay;
            if is_stream {
                at = at.max(self.kdc_streams[kdc] + MICROSECOND);
                self.kdc_streams[kdc] = at;
            }
            let event = Event::FromKdc { kdc, start, bytes: Some(answer.bytes), is_stream };
            self.schedule.at(at, event);
        }
    }

    /// Octets come from a KDC to the gateway.
    pub(super) fn hear_kdc(
        &mut self,
        (kdc, start): (usize, u32),
        bytes: Option<&[u8]>,
        is_stream: bool,
    ) -> Result<(), Finding> {
        let now = self.schedule.now();
        let post = &mut self.posts[GATEWAY];
        let Some(station) = post.station.as_mut().filter(|_| post.starts == start) else {
            return Ok(());
        };
        let digest = bytes.map(|bytes| sekisho_kdc_client::message::sha256(&[bytes]));
        let digest =
            digest.map(|digest| u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]));
        self.trace.note(now, "from KDC", format!("{kdc}: {digest:08x?}"));
        station.on_kdc(kdc, bytes, is_stream, now);
        self.control(GATEWAY)
    }
}
