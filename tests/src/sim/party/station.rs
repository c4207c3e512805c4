//! A gateway or a client agent: its workers, its control core, the rings between them. Owns which
//! queue a frame comes in on, the order of turns, and a crash, which forgets everything.

use sekisho::control::{Control, Effect, KdcMessage};
use sekisho_dataplane::{
    Command, Event, Policy, Role, Service, SessionRow, Worker, WorkerConfig, WorkerSnapshot,
    exchange, rings,
};
use sekisho_port::PortSide;
use sekisho_session::{FlowHasher, Time};
use sekisho_wire::parse_frame;

use super::lane::{Depot, Lane};
use super::setup::{Realm, table};
use crate::sim::dice::{Dice, generator};
use crate::sim::plan::{Feature, Plan};

/// Messages between worker and control, each way.
const RING: usize = 256;
/// Turns in a row at one moment; what is left waits for the next.
const TURNS: usize = 16;

/// A station.
pub(in crate::sim) struct Station {
    lanes: Vec<Lane>,
    control: Control,
    services: Vec<Service>,
    queues: FlowHasher,
    dice: Dice,
    any_queue: bool,
}

// Lives for one call; boxing would only move commands twice.
#[allow(clippy::large_enum_variant)]
/// What control did, for those who watch and those who carry.
pub(in crate::sim) enum Deed {
    /// A worker told this.
    Heard(Event),
    /// This goes to a worker; it waits in the ring of its lane.
    Told(usize, Command),
    /// This goes to a KDC.
    Kdc(KdcMessage),
}

impl Station {
    /// A station that has just started for the `start`th time.
    pub(in crate::sim) fn new(
        (plan, realm): (&Plan, &Realm),
        role: Role,
        start: u32,
        depot: &mut Depot,
    ) -> Self {
        let name = format!("station {role:?} {start}");
        let mut dice = Dice::new(plan.seed, &name);
        let services = realm.services(plan);
        let config = realm.workers(plan, role, &mut dice, &services);
        let count = plan.workers[usize::from(role == Role::Gateway)];
        let lanes = (0..)
            .zip(exchange(count, &[]))
            .map(|(index, port)| {
                let (worker_end, control_end) = rings(RING, None, None);
                let config = WorkerConfig { index, ..config.clone() };
                Lane::new((Worker::new(config, worker_end, port), control_end), depot)
            })
            .collect();
        Self {
            lanes,
            control: realm.control(plan, role, generator(plan.seed, &name)),
            services,
            queues: FlowHasher::new(&dice.key()),
            any_queue: plan.features.has(Feature::WrongQueue),
            dice,
        }
    }

    /// Ends it; whatever it had in hand is gone. The frames that were lost by it.
    pub(in crate::sim) fn stop(&mut self, depot: &mut Depot, now: Time) -> isize {
        // Frames under way between workers come home in as many steps.
        for _ in 0..4 {
            self.lanes.iter_mut().for_each(|lane| lane.settle(now));
        }
        self.lanes.drain(..).map(|lane| lane.release(depot, now)).sum()
    }

    /// A frame comes in. Receive-side scaling is as good as a plan has it: by flow, or any queue.
    pub(in crate::sim) fn push(&mut self, side: PortSide, frame: &[u8]) {
        let count = self.lanes.len();
        let any = self.dice.below(count as u64) as usize;
        let ends =
            parse_frame(frame).ok().and_then(|view| Some((view.source()?, view.destination()?)));
        let hash = ends.and_then(|(src, dst)| self.queues.symmetric_hash(src, dst));
        let queue = match hash {
            Some(hash) if !self.any_queue => FlowHasher::shard(hash, count),
            _ => any,
        };
        if let Some(lane) = self.lanes.get_mut(queue) {
            lane.push(side, frame);
        }
    }

    /// Turns of all workers, in any order, until they rest. What left them, in order.
    pub(in crate::sim) fn turn(&mut self, now: Time) -> Vec<(PortSide, Vec<u8>)> {
        let mut out = Vec::new();
        for _ in 0..TURNS {
            let first = self.dice.below(self.lanes.len() as u64) as usize;
            let (back, front) = self.lanes.split_at_mut(first);
            let mut moved = false;
            for lane in front.iter_mut().chain(back) {
                moved |= lane.turn(now, &mut out);
            }
            if !moved {
                break;
            }
        }
        out
    }

    /// Lets control hear its workers and its timers, and do what it wants.
    pub(in crate::sim) fn control(&mut self, now: u64) -> Vec<Deed> {
        let mut deeds = Vec::new();
        for at in 0..self.lanes.len() {
            while let Some(event) = self.lanes[at].control.poll_event() {
                let heard = copy(&event);
                self.control.on_event(event, now);
                deeds.extend(heard.map(Deed::Heard));
                self.carry_out(&mut deeds);
            }
        }
        if self.control.next_deadline().is_some_and(|at| at <= now) {
            self.control.on_timer(now);
        }
        self.carry_out(&mut deeds);
        deeds
    }

    /// Puts a command into the ring of its worker.
    pub(in crate::sim) fn command(&mut self, worker: usize, command: Command) {
        if let Some(lane) = self.lanes.get_mut(worker) {
            lane.command(command);
        }
    }

    /// A KDC's answer, a datagram or a part of a stream; none: it cannot be reached.
    pub(in crate::sim) fn on_kdc(
        &mut self,
        kdc: usize,
        bytes: Option<&[u8]>,
        is_stream: bool,
        now: u64,
    ) {
        match (bytes, is_stream) {
            (Some(bytes), true) => self.control.on_kdc_stream(kdc, bytes, now),
            (Some(bytes), false) => self.control.on_kdc_datagram(kdc, bytes, now),
            (None, _) => self.control.on_kdc_unreachable(kdc, now),
        }
    }

    /// When control wants to be called, if ever.
    pub(in crate::sim) fn next_deadline(&self) -> Option<u64> {
        self.control.next_deadline()
    }

    /// Whether workers told control something that it has not heard.
    pub(in crate::sim) fn has_events(&self) -> bool {
        self.lanes.iter().any(|lane| lane.control.has_events())
    }

    /// Blocks the cipher side's wire, or lets it go.
    pub(in crate::sim) fn block(&self, blocked: bool) {
        self.lanes.iter().for_each(|lane| lane.block(blocked));
    }

    /// All sessions, in the order of workers and slots.
    pub(in crate::sim) fn sessions(&mut self, now: Time) -> Vec<SessionRow> {
        self.lanes.iter_mut().flat_map(|lane| lane.sessions(now)).collect()
    }

    /// The counters of all workers.
    pub(in crate::sim) fn snapshot(&self) -> WorkerSnapshot {
        let mut sum = WorkerSnapshot::default();
        self.lanes.iter().for_each(|lane| sum.add(&lane.snapshot()));
        sum
    }

    /// Why its frames or counters cannot be right, if they cannot.
    pub(in crate::sim) fn miscount(&self) -> Option<(&'static str, String)> {
        if let Some(why) = self.lanes.iter().find_map(Lane::miscount) {
            return Some(("counters add up", why));
        }
        if self.lanes.iter().any(Lane::has_work) {
            return None;
        }
        // Nothing is under way between workers: what is in hand is held.
        let in_hand: isize = self.lanes.iter().map(Lane::in_hand).sum();
        let held = self.snapshot().tallies.held;
        (in_hand != held as isize)
            .then(|| ("frames are conserved", format!("{in_hand} in hand, {held} held")))
    }

    fn carry_out(&mut self, deeds: &mut Vec<Deed>) {
        while let Some(effect) = self.control.poll() {
            match effect {
                Effect::Command { worker, command } => {
                    deeds.push(Deed::Told(usize::from(worker), command));
                }
                Effect::Kdc(message) => deeds.push(Deed::Kdc(message)),
                Effect::Pin(id) => {
                    for service in self.services.iter_mut().filter(|service| service.id == id) {
                        service.policy = Policy::Require;
                    }
                    let services = table(&self.services);
                    for worker in 0..self.lanes.len() {
                        deeds.push(Deed::Told(worker, Command::Services(services.clone())));
                    }
                }
            }
        }
    }
}

/// The part of an event that watchers want: the life of sessions.
fn copy(event: &Event) -> Option<Event> {
    match *event {
        Event::Synchronised { worker, flow, client_isn, generation } => {
            Some(Event::Synchronised { worker, flow, client_isn, generation })
        }
        Event::Closed { worker, flow, client_isn, generation, cause } => {
            Some(Event::Closed { worker, flow, client_isn, generation, cause })
        }
        _ => None,
    }
}
