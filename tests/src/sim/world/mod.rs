//! The world of one run: hosts, stations, KDCs and the network between them, and the order in
//! which things happen to them. Owns who hears what from whom; what each does with it is theirs.
//!
//! ```text
//! client host ─ plain │ agent │ cipher ══ network ══ cipher │ gateway │ plain ─ server host
//!                                                               └─ KDCs
//! ```

mod ending;
mod faults;
mod stations;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use sekisho_dataplane::Role;
use sekisho_port::PortSide;
use sekisho_session::Timeouts;
use sekisho_wire::parse_frame;

use super::attacker::Attacker;
use super::dice::Dice;
use super::host::raw::Raw;
use super::host::{Fate, Host};
use super::invariant::cipher_side::CipherSide;
use super::invariant::streams::Streams;
use super::invariant::{Finding, Violation};
use super::network::Network;
use super::party::kdc::Kdc;
use super::party::lane::Depot;
use super::party::setup::{CLIENT_FIRST_PORT, Realm, SERVER_FIRST_PORT, timeouts};
use super::party::station::Station;
use super::plan::{Connection, Ending, Feature, KdcFault, PartyName, Plan};
use super::schedule::{MICROSECOND, MILLISECOND, SECOND, Schedule};
use super::trace::Trace;

/// The agent, and the gateway, among the stations.
const AGENT: usize = 0;
const GATEWAY: usize = 1;
/// The client host, and the server host, among the hosts.
const CLIENT: usize = 0;
const SERVER: usize = 1;
/// The crafted client, where frames are told apart by host.
const RAW: usize = 2;

/// The port of the crafted client.
const RAW_PORT: u16 = 25_000;
/// How long a frame takes on a plain link.
const PLAIN_LINK: u64 = 20 * MICROSECOND;
/// Stations look at their timers so often when nothing else happens.
const TICK: u64 = SECOND;

/// Something that will happen.
enum Event {
    /// A frame comes to a station.
    Arrive { station: usize, side: PortSide, frame: Vec<u8>, is_forged: bool },
    /// A frame comes to a host.
    Receive { host: usize, frame: Vec<u8> },
    /// The workers of a station work.
    Turn(usize),
    /// Control of a station works.
    Control(usize),
    /// A host works.
    Host(usize),
    /// The crafted host works.
    Raw,
    /// The attacker strikes.
    Strike,
    /// The cipher-side wire of a station takes nothing, or something again.
    Block(usize, bool),
    /// The client host opens a connection of the plan.
    Connect(usize),
    /// Octets come to a KDC from the gateway.
    ToKdc { kdc: usize, bytes: Vec<u8>, is_stream: bool },
    /// Octets come from a KDC to the gateway that had started for the `start`th time; none: its
    /// KDC cannot be reached.
    FromKdc { kdc: usize, start: u32, bytes: Option<Vec<u8>>, is_stream: bool },
    /// A party fails for so long.
    Crash(PartyName, u64),
    /// A party comes back.
    Restart(PartyName),
    /// The KDCs fail in some way, or no more.
    KdcFault(Option<KdcFault>),
    /// The timers of stations; the waits of sessions are looked at.
    Tick,
}

/// A station's place in the world, and what it waits for.
struct Post {
    /// None while it is down.
    station: Option<Station>,
    starts: u32,
    turn_is_due: bool,
    control_is_due: bool,
    timer: Option<u64>,
}

/// A host's place in the world.
struct Seat {
    name: &'static str,
    /// None while it is down.
    host: Option<Host>,
    starts: u32,
    is_due: bool,
    timer: Option<u64>,
}

/// Everything there is in a run.
pub(super) struct World<'a> {
    plan: &'a Plan,
    realm: Realm,
    depot: &'a mut Depot,
    schedule: Schedule<Event>,
    posts: [Post; 2],
    seats: Vec<Seat>,
    kdcs: Vec<Kdc>,
    kdc_starts: Vec<u32>,
    /// When the octets that travel on a connection from a KDC will all have come.
    kdc_streams: Vec<u64>,
    network: Network,
    attacker: Attacker,
    raw: Option<Raw>,
    connections: Vec<Connection>,
    /// Attempts made, and the fate of the last.
    attempts: Vec<(u32, Option<Fate>)>,
    streams: Streams,
    cipher_side: CipherSide,
    timeouts: Timeouts,
    trace: Trace,
    dice: Dice,
    ticks: u64,
    bad_tags: u64,
    /// Connections that a host reset because its own stack stood still: the client's end, and
    /// which attempt it was.
    stalled: BTreeSet<(SocketAddr, u32)>,
}

/// What a run came to.
pub(super) struct Report {
    pub(super) violation: Option<Violation>,
    pub(super) trace_hash: String,
    pub(super) lines: Vec<String>,
    pub(super) events: u64,
    pub(super) octets: u64,
    pub(super) sealed: u64,
    pub(super) bad_tags: u64,
}

impl<'a> World<'a> {
    /// The world of a plan, before anything has happened.
    pub(super) fn new(plan: &'a Plan, depot: &'a mut Depot) -> Self {
        let realm = Realm::new(plan);
        let mut post = |role| Post {
            station: Some(Station::new((plan, &realm), role, 0, depot)),
            starts: 0,
            turn_is_due: false,
            control_is_due: false,
            timer: None,
        };
        let posts = [post(Role::Client), post(Role::Gateway)];
        let seat = |name| Seat { name, host: None, starts: 0, is_due: false, timer: None };
        let mut world = Self {
            posts,
            seats: vec![seat("client"), seat("server")],
            kdcs: (0..plan.kdcs).map(|kdc| Kdc::new((plan, &realm), kdc, 0)).collect(),
            kdc_starts: vec![0; plan.kdcs],
            kdc_streams: vec![0; plan.kdcs],
            realm,
            depot,
            schedule: Schedule::new(plan.start),
            network: Network::new(plan),
            attacker: Attacker::new(plan),
            raw: None,
            connections: plan.connections.clone(),
            attempts: vec![(0, None); plan.connections.len()],
            streams: Streams::default(),
            cipher_side: CipherSide::new(plan.features.has(Feature::BlockedWire)),
            timeouts: timeouts(plan),
            trace: Trace::new(plan.start),
            dice: Dice::new(plan.seed, "world"),
            ticks: TICK,
            bad_tags: 0,
            stalled: BTreeSet::new(),
            plan,
        };
        world.start_host(CLIENT);
        world.start_host(SERVER);
        world.lay_out();
        world
    }

    /// Lets everything happen.
    pub(super) fn run(mut self) -> Report {
        let outcome = self.live().and_then(|()| self.probe()).and_then(|()| self.run_out());
        let at = self.schedule.now() - self.plan.start;
        let lost = self.close();
        let violation = match (outcome, lost) {
            (Err((invariant, what)), _) => Some(Violation { invariant, at, what }),
            (Ok(()), 0) => None,
            (Ok(()), lost) => {
                let what = format!("{lost} frames did not come home");
                Some(Violation { invariant: "frames are conserved", at, what })
            }
        };
        Report {
            violation,
            trace_hash: self.trace.hash(),
            lines: self.trace.lines(),
            events: self.trace.events(),
            octets: self.streams.octets(),
            sealed: self.cipher_side.verified(),
            bad_tags: self.bad_tags,
        }
    }

    /// Puts what the plan says into the schedule.
    fn lay_out(&mut self) {
        let plan = self.plan;
        for (number, connection) in plan.connections.iter().enumerate() {
            self.schedule.at(connection.at, Event::Connect(number));
        }
        for &(at, party, lasts) in &plan.crashes {
            self.schedule.at(at, Event::Crash(party, lasts));
        }
        for &(at, fault, lasts) in &plan.kdc_faults {
            self.schedule.at(at, Event::KdcFault(Some(fault)));
            self.schedule.at(at + lasts, Event::KdcFault(None));
        }
        for &at in &plan.attacks {
            self.schedule.at(at, Event::Strike);
        }
        for &(at, station, lasts) in &plan.blocks {
            self.schedule.at(at, Event::Block(station, true));
            self.schedule.at(at + lasts, Event::Block(station, false));
        }
        if plan.features.has(Feature::RawHost) {
            let local = SocketAddr::new(self.realm.raw_client, RAW_PORT);
            let remote = SocketAddr::new(self.realm.server, CLIENT_FIRST_PORT);
            self.raw = Some(Raw::new(plan, (local, remote), &mut self.streams));
            self.schedule.after(MILLISECOND, Event::Raw);
        }
        self.schedule.at(plan.calm_at, Event::KdcFault(None));
        self.schedule.after(TICK, Event::Tick);
    }

    /// The next thing happens; `false` when nothing does until `end`.
    fn step(&mut self, end: u64) -> Result<bool, Finding> {
        let Some(event) = self.schedule.next(end) else { return Ok(false) };
        match event {
            Event::Arrive { station, side, frame, is_forged } => {
                self.arrive(station, side, &frame, is_forged)?;
            }
            Event::Receive { host: RAW, frame } => self.receive_raw(&frame)?,
            Event::Receive { host, frame } => self.receive(host, frame),
            Event::Raw => self.work_raw(),
            Event::Strike => self.strike()?,
            Event::Block(at, blocked) => self.block(at, blocked),
            Event::Turn(station) => self.turn(station)?,
            Event::Control(station) => self.control(station)?,
            Event::Host(host) => self.work(host)?,
            Event::Connect(number) => self.connect(number),
            Event::ToKdc { kdc, bytes, is_stream } => self.ask_kdc(kdc, &bytes, is_stream),
            Event::FromKdc { kdc, start, bytes, is_stream } => {
                self.hear_kdc((kdc, start), bytes.as_deref(), is_stream)?;
            }
            Event::Crash(party, lasts) => self.crash(party, lasts)?,
            Event::Restart(party) => self.restart(party),
            Event::KdcFault(fault) => self.kdc_fault(fault),
            Event::Tick => self.tick()?,
        }
        Ok(true)
    }

    fn receive(&mut self, host: usize, frame: Vec<u8>) {
        let seat = &mut self.seats[host];
        let Some(present) = &mut seat.host else { return };
        self.trace.frame(self.schedule.now(), seat.name, &frame);
        present.push(frame);
        if !seat.is_due {
            seat.is_due = true;
            self.schedule.after(self.dice.below(50) * MICROSECOND, Event::Host(host));
        }
    }

    /// A host's programs and TCP work; what it sends goes to its station.
    fn work(&mut self, host: usize) -> Result<(), Finding> {
        let now = self.schedule.now();
        let seat = &mut self.seats[host];
        seat.is_due = false;
        if seat.timer.is_some_and(|at| at <= now) {
            seat.timer = None;
        }
        let Some(present) = &mut seat.host else { return Ok(()) };
        let (frames, next) = present.poll(now, &mut self.streams)?;
        if let Some(at) = next
            && seat.timer.is_none_or(|timer| at < timer)
        {
            seat.timer = Some(at);
            self.schedule.at(at, Event::Host(host));
        }
        let fates = present.reap();
        let station = if host == SERVER { GATEWAY } else { AGENT };
        for frame in frames {
            let side = PortSide::Plain;
            let event = Event::Arrive { station, side, frame, is_forged: false };
            self.schedule.after(PLAIN_LINK, event);
        }
        fates.into_iter().try_for_each(|(number, fate)| self.decided(number, fate))
    }

    fn receive_raw(&mut self, frame: &[u8]) -> Result<(), Finding> {
        let now = self.schedule.now();
        self.trace.frame(now, "raw client", frame);
        match &mut self.raw {
            Some(raw) => raw.push(now, frame, &mut self.streams),
            None => Ok(()),
        }
    }

    fn work_raw(&mut self) {
        let Some(raw) = &mut self.raw else { return };
        let (frames, next) = raw.poll(self.schedule.now(), &mut self.streams);
        for frame in frames {
            let (station, side, is_forged) = (AGENT, PortSide::Plain, false);
            self.schedule.after(PLAIN_LINK, Event::Arrive { station, side, frame, is_forged });
        }
        if let Some(at) = next {
            self.schedule.at(at, Event::Raw);
        }
    }

    fn connect(&mut self, number: usize) {
        let connection = self.connections[number];
        let port = match connection.ending {
            Ending::ServerCloses => SERVER_FIRST_PORT,
            Ending::ClientCloses | Ending::ClientResets(_) => CLIENT_FIRST_PORT,
        };
        let remote = SocketAddr::new(self.realm.server, port);
        let (tries, fate) = &mut self.attempts[number];
        *tries += 1;
        *fate = None;
        match &mut self.seats[CLIENT].host {
            Some(host) => {
                host.connect((&connection, number), remote, &mut self.streams);
                self.trace.note(self.schedule.now(), "client", format!("connect {number}"));
                self.schedule.after(0, Event::Host(CLIENT));
            }
            // The machine is down: its user tries again later.
            None => self.schedule.after(SECOND, Event::Connect(number)),
        }
    }

    /// The host that a frame on a plain link is for.
    fn host_of(&self, station: usize, frame: &[u8]) -> Option<usize> {
        let to = parse_frame(frame).ok()?.dst;
        match station {
            GATEWAY => (to == self.realm.server).then_some(SERVER),
            _ if to == self.realm.raw_client => Some(RAW),
            _ => (to == self.realm.client).then_some(CLIENT),
        }
    }
}
