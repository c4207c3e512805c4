//! What happens at the two stations: frames that come, turns, what control does, ticks; and the
//! looks that are taken at them after each.

use sekisho::control::KdcMessage;
use sekisho_dataplane::{Command, Event as WorkerEvent, Role};
use sekisho_port::PortSide;

use super::{AGENT, Event, GATEWAY, PLAIN_LINK, World};
use crate::sim::invariant::Finding;
use crate::sim::invariant::sessions::{View, none_overdue};
use crate::sim::party::station::{Deed, Station};
use crate::sim::plan::Feature;
use crate::sim::schedule::{MICROSECOND, MILLISECOND};

/// Frames of a thousand that are followed by a strike, where there is an attacker.
const STRIKES: u64 = 30;

/// Where a frame is seen, by station.
const IN: [[&str; 2]; 2] =
    [["agent< cipher", "agent< plain"], ["gateway< cipher", "gateway< plain"]];
const OUT: [[&str; 2]; 2] =
    [["agent> cipher", "agent> plain"], ["gateway> cipher", "gateway> plain"]];
const CONTROL: [&str; 2] = ["agent control", "gateway control"];

impl World<'_> {
    /// A frame comes to a station: it waits in the ring for a turn, or is looked at alone.
    pub(super) fn arrive(
        &mut self,
        at: usize,
        side: PortSide,
        frame: &[u8],
        is_forged: bool,
    ) -> Result<(), Finding> {
        if self.posts[at].station.is_none() {
            return Ok(());
        }
        self.trace.frame(self.schedule.now(), IN[at][side.index()], frame);
        if side == PortSide::Cipher && !is_forged {
            self.attacker.see(at, frame);
            self.provoke();
        }
        if is_forged {
            return self.arrive_forged(at, side, frame);
        }
        if let Some(station) = &mut self.posts[at].station {
            station.push(side, frame);
        }
        self.turn_soon(at);
        Ok(())
    }

    /// A frame that must not be believed: what is seen before and after it is the same.
    fn arrive_forged(&mut self, at: usize, side: PortSide, frame: &[u8]) -> Result<(), Finding> {
        self.turn(at)?;
        let before = self.view(at);
        if let Some(station) = &mut self.posts[at].station {
            station.push(side, frame);
        }
        self.turn(at)?;
        let after = self.view(at);
        if let (Some(before), Some(after)) = (before, after) {
            self.bad_tags += u64::from(before.compare(&after)?);
        }
        Ok(())
    }

    /// An attacker strikes best while there is traffic.
    fn provoke(&mut self) {
        let attacked = !self.plan.attacks.is_empty() && self.schedule.now() < self.plan.calm_at;
        if attacked && self.dice.chance(STRIKES) {
            self.schedule.after(self.dice.below(5 * MILLISECOND), Event::Strike);
        }
    }

    /// The attacker does something.
    pub(super) fn strike(&mut self) -> Result<(), Finding> {
        let Some(strike) = self.attacker.strike(GATEWAY) else { return Ok(()) };
        self.trace.note(self.schedule.now(), "attacker", format!("forged: {}", strike.is_forged));
        self.arrive(strike.station, strike.side, &strike.frame, strike.is_forged)
    }

    /// The cipher-side wire of a station takes nothing, or something again.
    pub(super) fn block(&mut self, at: usize, blocked: bool) {
        self.trace.note(self.schedule.now(), CONTROL[at], format!("wire blocked: {blocked}"));
        if let Some(station) = &self.posts[at].station {
            station.block(blocked);
        }
        self.turn_soon(at);
    }

    fn view(&mut self, at: usize) -> Option<View> {
        let now = self.schedule.time();
        let station = self.posts[at].station.as_mut()?;
        let sessions = station.sessions(now);
        Some(View::new(sessions, station.snapshot()))
    }

    pub(super) fn turn_soon(&mut self, at: usize) {
        if !std::mem::replace(&mut self.posts[at].turn_is_due, true) {
            let delay = self.dice.below(self.plan.turn_delay + 1);
            self.schedule.after(delay, Event::Turn(at));
        }
    }

    /// The workers of a station work; what leaves goes its way.
    pub(super) fn turn(&mut self, at: usize) -> Result<(), Finding> {
        self.posts[at].turn_is_due = false;
        let now = self.schedule.time();
        let Some(station) = &mut self.posts[at].station else { return Ok(()) };
        let frames = station.turn(now);
        let miscount = station.miscount();
        let has_events = station.has_events();
        for (side, frame) in frames {
            self.leave(at, side, frame)?;
        }
        if let Some(finding) = miscount {
            return Err(finding);
        }
        if has_events {
            self.control_soon(at);
        }
        Ok(())
    }

    /// A frame leaves a station.
    fn leave(&mut self, at: usize, side: PortSide, frame: Vec<u8>) -> Result<(), Finding> {
        let now = self.schedule.now();
        self.trace.frame(now, OUT[at][side.index()], &frame);
        if side == PortSide::Plain {
            if at == GATEWAY {
                self.attacker.see_opened(&frame);
            }
            if let Some(host) = self.host_of(at, &frame) {
                self.schedule.after(PLAIN_LINK, Event::Receive { host, frame });
            }
            return Ok(());
        }
        let upwards = at == AGENT;
        // Only where somebody takes requests off does `prefer` go on in clear.
        let features = self.plan.features;
        let may_be_clear = features.has(Feature::Prefer) && features.has(Feature::StripRequest);
        self.cipher_side.take(at, upwards, &frame, may_be_clear)?;
        let station = if upwards { GATEWAY } else { AGENT };
        for arrival in self.network.send(now, upwards, frame) {
            let (frame, is_forged) = (arrival.frame, arrival.is_forged);
            let event = Event::Arrive { station, side, frame, is_forged };
            self.schedule.at(arrival.at, event);
        }
        Ok(())
    }

    pub(super) fn control_soon(&mut self, at: usize) {
        if !std::mem::replace(&mut self.posts[at].control_is_due, true) {
            let delay = self.dice.below(self.plan.control_delay + 1) + MICROSECOND;
            self.schedule.after(delay, Event::Control(at));
        }
    }

    /// Control of a station hears, and acts.
    pub(super) fn control(&mut self, at: usize) -> Result<(), Finding> {
        let now = self.schedule.now();
        let post = &mut self.posts[at];
        post.control_is_due = false;
        if post.timer.is_some_and(|timer| timer <= now) {
            post.timer = None;
        }
        let Some(station) = &mut post.station else { return Ok(()) };
        let deeds = station.control(now);
        if let Some(deadline) = station.next_deadline()
            && post.timer.is_none_or(|timer| deadline < timer)
        {
            post.timer = Some(deadline);
            self.schedule.at(deadline, Event::Control(at));
        }
        self.carry_out(at, deeds)
    }

    fn carry_out(&mut self, at: usize, deeds: Vec<Deed>) -> Result<(), Finding> {
        let now = self.schedule.now();
        for deed in deeds {
            match deed {
                Deed::Heard(event) => {
                    self.trace.note(now, CONTROL[at], format!("{event:?}"));
                    if let WorkerEvent::Closed { flow, client_isn, .. } = event {
                        self.cipher_side.close(at, &flow, client_isn);
                    }
                }
                Deed::Told(worker, command) => {
                    self.trace.note(now, CONTROL[at], format!("{command:?}"));
                    if let Command::Install { flow, client_isn, keys, .. } = &command {
                        self.cipher_side.install(at, (flow, *client_isn), keys);
                    }
                    if let Some(station) = &mut self.posts[at].station {
                        station.command(worker, command);
                    }
                    self.turn_soon(at);
                }
                Deed::Kdc(message) => self.send_to_kdc(message),
            }
        }
        Ok(())
    }

    fn send_to_kdc(&mut self, message: KdcMessage) {
        let (kdc, bytes, is_stream) = match message {
            KdcMessage::Udp { kdc, bytes } => (kdc, bytes, false),
            KdcMessage::Tcp { kdc, bytes } => (kdc, bytes, true),
            KdcMessage::Close { kdc } => {
                if let Some(kdc) = self.kdcs.get_mut(kdc) {
                    kdc.disconnect();
                }
                return;
            }
        };
        self.trace.note(self.schedule.now(), "to KDC", format!("{kdc}: {} octets", bytes.len()));
        let event = Event::ToKdc { kdc, bytes, is_stream };
        self.schedule.after(200 * MICROSECOND, event);
    }

    /// Timers of stations, and the waits of their sessions.
    pub(super) fn tick(&mut self) -> Result<(), Finding> {
        for at in [AGENT, GATEWAY] {
            self.turn(at)?;
            let now = self.schedule.time();
            if let Some(station) = &mut self.posts[at].station {
                none_overdue(&station.sessions(now), &self.timeouts)?;
            }
        }
        self.free_stalled();
        self.schedule.after(self.ticks, Event::Tick);
        Ok(())
    }

    /// A station that has just started.
    pub(super) fn start_station(&mut self, at: usize) {
        let role = if at == AGENT { Role::Client } else { Role::Gateway };
        let post = &mut self.posts[at];
        post.starts += 1;
        let parts = (self.plan, &self.realm);
        post.station = Some(Station::new(parts, role, post.starts, self.depot));
    }
}
