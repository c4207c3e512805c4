//! The model of a session table: a list that is searched from end to end.

use std::time::Duration;

use sekisho_cipher::{EpochKeys, TrafficKeys};
use sekisho_session::{
    Direction, FlowHasher, FlowKey, Input, InsertError, Outcome, Removed, SessionId, SessionTable,
    State, Time, Timeouts, Transition, next,
};
use sekisho_wire::SeqNum;

use super::Reached;
use super::half::Model as Half;
use crate::fuzz::script::Script;

const CAPACITY: u32 = 4;
const INPUTS: [Input; 12] = [
    Input::Invited,
    Input::Identified,
    Input::Keyed,
    Input::Synchronised,
    Input::Failed,
    Input::SetupExpired,
    Input::SynRefused,
    Input::Reset,
    Input::FinsAcknowledged,
    Input::IdleExpired,
    Input::Closed,
    Input::Displaced,
];
/// Waits are kept in steps of 67 ms and are late by two of them at most.
const LATE: Duration = Duration::from_millis(3 * 68);

/// A session as the model knows it.
struct Entry {
    id: SessionId,
    flow: usize,
    isn: u32,
    state: State,
    candidate: bool,
    synchronised: bool,
    key: Option<u8>,
    since: Time,
    halves: [Half; 2],
}

/// Table and model.
pub(super) struct Pair {
    table: SessionTable,
    flows: [FlowKey; 3],
    entries: Vec<Entry>,
    gone: Vec<SessionId>,
    timeouts: Timeouts,
    now: Time,
    pub(super) reached: Reached,
}

fn flow(port: u16) -> FlowKey {
    let client = ([10, 0, 0, 1], port).into();
    let server = ([10, 0, 2, 10], 80).into();
    FlowKey::new(client, server).expect("invariant: one family")
}

fn keys(n: u8) -> Box<EpochKeys> {
    let [up, down] = [n, n ^ 0x80].map(|n| TrafficKeys::from_bytes(&[n; 32], &[n; 16]));
    EpochKeys::new(&up, &down).expect("invariant: the directions differ")
}

impl Pair {
    pub(super) fn new() -> Self {
        Self {
            table: SessionTable::new(CAPACITY, FlowHasher::new(&[3; 16])),
            flows: [1, 2, 3].map(flow),
            entries: Vec::new(),
            gone: Vec::new(),
            timeouts: Timeouts::default(),
            now: Time(1 << 40),
            reached: Reached::default(),
        }
    }

    pub(super) fn step(&mut self, script: &mut Script<'_>) {
        match script.u8() % 8 {
            0 => self.insert(script),
            1 => {
                let (at, input) = (script.below(self.entries.len()), script.one_of(INPUTS));
                self.apply(at, input);
            }
            2 => self.install(script),
            3 => {
                let at = script.below(self.entries.len());
                if let Some(id) = self.entries.get(at).map(|entry| entry.id) {
                    let expected = self.removal(at);
                    assert_eq!(self.table.remove(id), Some(expected));
                }
            }
            4 => {
                let ms = script.one_of([1, 70, 1_000, 10_000, 15_000, 3_600_000, 10_900_000]);
                self.now = self.now.after(Duration::from_millis(ms));
            }
            5 => self.expire(),
            6 => self.touch(script),
            _ => self.half(script),
        }
    }

    fn live(&self, flow: usize) -> Option<usize> {
        self.entries.iter().position(|entry| entry.flow == flow && !entry.candidate)
    }

    fn candidate(&self, flow: usize) -> Option<usize> {
        self.entries.iter().position(|entry| entry.flow == flow && entry.candidate)
    }

    fn insert(&mut self, script: &mut Script<'_>) {
        let (flow, isn) = (script.below(3), script.one_of([0, 5, u32::MAX]));
        let same = self.entries.iter().find(|entry| entry.flow == flow && entry.isn == isn);
        let expected = if let Some(same) = same {
            Some(InsertError::Exists(same.id))
        } else if let Some(at) = self.candidate(flow) {
            Some(InsertError::CandidateExists(self.entries[at].id))
        } else {
            (self.entries.len() == CAPACITY as usize).then_some(InsertError::Full)
        };
        let inserted = self.table.insert(&self.flows[flow], SeqNum::new(isn), self.now);
        assert_eq!(inserted.err(), expected);
        if let Ok(id) = inserted {
            let candidate = self.live(flow).is_some();
            let halves = [Some(isn), None].map(Half::from_origin);
            self.entries.push(Entry {
                id,
                flow,
                isn,
                state: State::Requested,
                candidate,
                synchronised: false,
                key: None,
                since: self.now,
                halves,
            });
        }
    }

    fn apply(&mut self, at: usize, input: Input) {
        let Some(id) = self.entries.get(at).map(|entry| entry.id) else { return };
        let expected =
            if input == Input::Keyed { Outcome::Refused } else { self.step_to(at, input) };
        assert_eq!(self.table.apply(id, input, self.now), expected, "{input:?}");
    }

    fn install(&mut self, script: &mut Script<'_>) {
        let (at, key) = (script.below(self.entries.len()), script.u8() & 0x7f);
        let Some(id) = self.entries.get(at).map(|entry| entry.id) else { return };
        let expected = self.step_to(at, Input::Keyed);
        assert_eq!(self.table.install(id, &keys(key), self.now), expected);
        if let Outcome::Moved(..) = expected {
            self.entries[at].key = Some(key);
        }
    }

    /// What an input does to the model, and what the table has to answer.
    fn step_to(&mut self, at: usize, input: Input) -> Outcome {
        let entry = &mut self.entries[at];
        match next(entry.state, input) {
            Transition::Stay => Outcome::Stayed,
            Transition::Refuse => Outcome::Refused,
            Transition::Gone => Outcome::Gone(self.removal(at)),
            Transition::To(state) => {
                entry.state = state;
                if matches!(state, State::Synced | State::Draining) {
                    entry.since = self.now;
                }
                entry.synchronised |= state == State::Synced;
                let displaces = state == State::Synced && entry.candidate;
                let live = self.live(self.entries[at].flow).filter(|_| displaces);
                self.reached.displaced += u64::from(live.is_some());
                Outcome::Moved(state, live.map(|live| self.removal(live)))
            }
        }
    }

    /// Takes an entry out.
    fn removal(&mut self, at: usize) -> Removed {
        let entry = self.entries.remove(at);
        self.gone.push(entry.id);
        let successor = self.candidate(entry.flow).filter(|_| !entry.candidate);
        if let Some(at) = successor {
            self.entries[at].candidate = false;
        }
        Removed {
            id: entry.id,
            flow: self.flows[entry.flow],
            client_isn: SeqNum::new(entry.isn),
            state: entry.state,
            marks: 0,
            successor: successor.map(|at| self.entries[at].id),
        }
    }

    fn expire(&mut self) {
        let mut budget = CAPACITY;
        let expired = self.table.next_expired(&self.timeouts, self.now, &mut budget);
        let wait = |entry: &Entry| match entry.state {
            State::Synced => self.timeouts.idle,
            State::Draining => self.timeouts.linger,
            _ => self.timeouts.setup,
        };
        let Some((id, input)) = expired else {
            let late = |entry: &Entry| self.now.since(entry.since) >= wait(entry) + LATE;
            assert!(!self.entries.iter().any(late), "a wait is over and nobody noticed");
            return;
        };
        let at = self.entries.iter().position(|entry| entry.id == id);
        assert!(at.is_some_and(|at| {
            self.now.since(self.entries[at].since) >= wait(&self.entries[at])
        }));
        self.reached.expired += 1;
        self.apply(at.unwrap_or_default(), input);
    }

    fn touch(&mut self, script: &mut Script<'_>) {
        let at = script.below(self.entries.len());
        let Some(entry) = self.entries.get_mut(at) else { return };
        if let Some(session) = self.table.get_mut(entry.id) {
            session.touch(self.now);
        }
        if entry.state == State::Synced {
            entry.since = self.now;
        }
    }

    fn half(&mut self, script: &mut Script<'_>) {
        let (at, direction) = (script.below(self.entries.len()), Direction::BOTH[script.below(2)]);
        let Some(entry) = self.entries.get_mut(at) else { return };
        let Some(session) = self.table.get_mut(entry.id) else { return };
        let model = &mut entry.halves[direction.index()];
        model.step(session.half_mut(direction), script);
        self.reached.high = self.reached.high.max(model.high);
    }

    /// Everything that can be asked of the table, asked.
    pub(super) fn compare(&self) {
        assert_eq!(self.table.len() as usize, self.entries.len());
        for (state, count) in State::ALL.into_iter().zip(self.table.by_state()) {
            let counted = self.entries.iter().filter(|entry| entry.state == state).count();
            assert_eq!(count as usize, counted, "{state:?}");
        }
        for (at, flow) in self.flows.iter().enumerate() {
            let id = |at: Option<usize>| at.map(|at| self.entries[at].id);
            assert_eq!(self.table.lookup(flow), id(self.live(at)));
            assert_eq!(self.table.candidate(flow), id(self.candidate(at)));
        }
        assert!(self.gone.iter().all(|id| self.table.get(*id).is_none()), "a stale handle works");
        for entry in &self.entries {
            self.compare_entry(entry);
        }
    }

    fn compare_entry(&self, entry: &Entry) {
        let session = self.table.get(entry.id);
        assert!(session.is_some(), "a session is lost");
        let Some(session) = session else { return };
        assert_eq!((session.state(), session.is_candidate()), (entry.state, entry.candidate));
        assert_eq!(session.is_synchronised(), entry.synchronised);
        assert_eq!(session.client_isn().get(), entry.isn);
        let rival = !entry.candidate && self.candidate(entry.flow).is_some();
        assert_eq!(session.has_candidate(), rival);
        let flow = &self.flows[entry.flow];
        assert_eq!(self.table.find_by_isn(flow, SeqNum::new(entry.isn)), Some(entry.id));
        let expected = entry.key.map(keys);
        let (up, down) = (Direction::ClientToServer, Direction::ServerToClient);
        let same = match (&expected, session.keys(up), session.keys(down)) {
            (None, None, None) => true,
            (Some(keys), Some(up), Some(down)) => {
                bool::from(keys.client_to_server().ct_eq(up) & keys.server_to_client().ct_eq(down))
            }
            _ => false,
        };
        assert!(same, "keys that are not those installed");
    }
}
