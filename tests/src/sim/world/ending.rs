//! How a run goes on once nothing fails any more: every connection ends, a new one works at once,
//! and when its waits are over nothing is left of any.

use std::net::SocketAddr;

use super::{CLIENT, Event, RAW_PORT, SERVER, World};
use crate::sim::host::Fate;
use crate::sim::host::raw::RawEnd;
use crate::sim::invariant::Finding;
use crate::sim::plan::{Connection, Ending, PartyName};
use crate::sim::schedule::{MILLISECOND, SECOND};

const ENDS: &str = "every stream completes or is aborted";
const SURVIVES: &str = "an established connection survives what nobody may break it with";
const WORKS: &str = "once nothing fails a connection works";
const NOTHING_LEFT: &str = "nothing is left after teardown and linger";

/// Within this time after the calm every connection has ended: five times the longest pause
/// between two attempts of a host's TCP, and twice the time after which it gives up.
const BOUND: u64 = 300 * SECOND;
/// Attempts to open a connection that may fail because its key delivery lost too much.
const TRIES: u32 = 5;
/// Octets of the connection that is opened at the end.
const PROBE: u64 = 2000;

impl World<'_> {
    /// Lets things happen until all connections of the plan have ended.
    pub(super) fn live(&mut self) -> Result<(), Finding> {
        let end = self.plan.calm_at + BOUND;
        while self.schedule.now() < self.plan.calm_at || !self.is_quiet() {
            if !self.step(end)? {
                let left = [CLIENT, SERVER].map(|host| self.describe(host));
                return Err((ENDS, format!("{:?} {left:?}", self.attempts)));
            }
        }
        let end = self.raw.as_ref().and_then(|raw| raw.end());
        let raw = SocketAddr::new(self.realm.raw_client, RAW_PORT);
        if end == Some(RawEnd::Aborted) && self.plan.is_benign() && !self.has_stalled(raw) {
            return Err((SURVIVES, "the crafted host's connection was aborted".to_owned()));
        }
        Ok(())
    }

    /// The fate of an attempt: whether it may be so, and whether there is another.
    pub(super) fn decided(&mut self, number: usize, fate: Fate) -> Result<(), Finding> {
        self.trace.note(self.schedule.now(), "client", format!("{number} {fate:?}"));
        let client = SocketAddr::new(self.realm.client, self.connections[number].port);
        let has_stalled = self.has_stalled(client);
        let (tries, last) = &mut self.attempts[number];
        *last = Some(fate);
        let is_probe = number >= self.plan.connections.len();
        match fate {
            Fate::Complete => {}
            Fate::Aborted if (self.plan.is_benign() || is_probe) && !has_stalled => {
                return Err((SURVIVES, format!("connection {number} was aborted")));
            }
            Fate::Refused if (self.plan.is_benign() || is_probe) && *tries >= TRIES => {
                return Err((WORKS, format!("connection {number} failed {TRIES} times")));
            }
            Fate::Refused if self.plan.is_benign() || is_probe => {
                *last = None;
                self.schedule.after(100 * MILLISECOND, Event::Connect(number));
            }
            Fate::Refused | Fate::Aborted => {}
        }
        Ok(())
    }

    /// Whether a host reset the connection of this client's end because its own stack stood still.
    fn has_stalled(&self, client: SocketAddr) -> bool {
        self.stalled.contains(&(client, self.attempt_from(client)))
    }

    /// How often a connection was opened from this end.
    pub(super) fn attempt_from(&self, client: SocketAddr) -> u32 {
        let attempts = self.connections.iter().zip(&self.attempts);
        let own = attempts.filter(|(connection, _)| {
            client == SocketAddr::new(self.realm.client, connection.port)
        });
        own.map(|(_, (tries, _))| tries).sum()
    }

    /// After the calm a connection works.
    pub(super) fn probe(&mut self) -> Result<(), Finding> {
        for party in [PartyName::ClientHost, PartyName::ServerHost] {
            self.restart(party);
        }
        let at = self.schedule.now() + 1;
        let number = self.connections.len();
        let connection = Connection { at, port: 20_000, up: PROBE, ending: Ending::ClientCloses };
        self.connections.push(connection);
        self.attempts.push((0, None));
        self.schedule.at(at, Event::Connect(number));
        let end = at + BOUND;
        while self.attempts[number].1.is_none() {
            if !self.step(end)? {
                let left = [CLIENT, SERVER].map(|host| self.describe(host));
                return Err((WORKS, format!("the last connection has no end: {left:?}")));
            }
        }
        Ok(())
    }

    /// Waits until every wait is over: then there is no session, no key, no held frame.
    pub(super) fn run_out(&mut self) -> Result<(), Finding> {
        // What hosts still would send is not wanted: they are switched off.
        self.seats.iter_mut().for_each(|seat| seat.host = None);
        self.raw = None;
        self.ticks = 5 * SECOND;
        let waits = self.timeouts.idle + self.timeouts.setup + self.timeouts.linger;
        let waits = u64::try_from(waits.as_nanos()).unwrap_or(u64::MAX);
        let end = self.schedule.now() + waits + 30 * SECOND;
        while !self.is_empty() {
            if !self.step(end)? {
                return Err((NOTHING_LEFT, self.leftovers()));
            }
        }
        Ok(())
    }

    /// Switches everything off. The frames that were lost.
    pub(super) fn close(&mut self) -> isize {
        let now = self.schedule.time();
        let mut lost = 0;
        for post in &mut self.posts {
            if let Some(mut station) = post.station.take() {
                lost += station.stop(self.depot, now);
            }
        }
        lost
    }

    fn is_quiet(&self) -> bool {
        let decided = self.attempts.iter().all(|(_, fate)| fate.is_some());
        let raw_is_over = self.raw.as_ref().is_none_or(|raw| raw.end().is_some());
        decided
            && raw_is_over
            && self.seats.iter().flat_map(|seat| &seat.host).all(|host| host.live() == 0)
    }

    fn is_empty(&self) -> bool {
        self.posts.iter().flat_map(|post| &post.station).all(|station| {
            let counters = station.snapshot();
            let sessions = counters.sessions.iter().sum::<u64>() + counters.clear_sessions;
            let held = counters.tallies.held;
            sessions == 0 && held == 0 && station.next_deadline().is_none()
        })
    }

    fn leftovers(&self) -> String {
        let stations = self.posts.iter().flat_map(|post| &post.station).map(|station| {
            let counters = station.snapshot();
            let deadline = station.next_deadline();
            let (sessions, clear) = (counters.sessions, counters.clear_sessions);
            format!(
                "sessions {sessions:?}, clear {clear}, held {}, control's deadline {deadline:?}",
                counters.tallies.held
            )
        });
        stations.collect::<Vec<_>>().join("; ")
    }

    fn describe(&self, host: usize) -> Vec<String> {
        self.seats[host].host.as_ref().map(|host| host.describe()).unwrap_or_default()
    }
}
