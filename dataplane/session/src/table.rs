//! One worker's sessions. Owns: slots, index, the change of state, who is live and who is a
//! candidate on a tuple, the wiping of keys. Not: frames held for a session, events (the worker).
//!
//! One writer, fixed capacity, nothing allocated after set-up. A live session is what packets meet;
//! a SYN with a new ISN on its tuple makes a *candidate*, at most one, which takes its place only
//! when it synchronises itself (M7.11, hazard 15).

use sekisho_cipher::EpochKeys;
use sekisho_wire::SeqNum;
use thiserror::Error;

use crate::flow::FlowKey;
use crate::hash::FlowHasher;
use crate::index::FlowIndex;
use crate::limits::Timeouts;
use crate::session::{Session, SessionId};
use crate::state::{Input, State, Transition};
use crate::time::Time;

/// Why a session cannot begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InsertError {
    /// Every slot is taken.
    #[error("session table is full: raise workers.sessions")]
    Full,
    /// The tuple has this session already, with the same ISN: a SYN repeated.
    #[error("session exists")]
    Exists(SessionId),
    /// The tuple has a live session and this candidate, with another ISN. Whether the candidate
    /// gives way ([`State::is_unkeyed`]) is the caller's to say.
    #[error("tuple has a candidate")]
    CandidateExists(SessionId),
}

/// A session that has just left the table; its keys are wiped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removed {
    /// Its handle, stale now: frames held under it are to be freed.
    pub id: SessionId,
    /// Its 4-tuple.
    pub flow: FlowKey,
    /// Its client's ISN.
    pub client_isn: SeqNum,
    /// Its last state.
    pub state: State,
    /// The owner's eight bits.
    pub marks: u8,
    /// The candidate that is live on the tuple from now on.
    pub successor: Option<SessionId>,
}

/// What came of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// Nothing new.
    Stayed,
    /// The session is in this state now; synchronising, a candidate has displaced the other.
    Moved(State, Option<Removed>),
    /// The session is gone.
    Gone(Removed),
    /// No such session, or an input that cannot hold: nothing has changed.
    Refused,
}

/// One shard: the sessions of one worker.
pub struct SessionTable {
    slots: Vec<Session>,
    free: Vec<u32>,
    index: FlowIndex,
    hasher: FlowHasher,
    last_generation: u32,
    cursor: u32,
    by_state: [u32; State::COUNT],
}

impl SessionTable {
    /// A table for `capacity` sessions, candidates included. Touches all of its memory now.
    #[must_use]
    pub fn new(capacity: u32, hasher: FlowHasher) -> Self {
        let slots = (0..capacity).map(|_| Session::vacant(FlowKey::UNSPECIFIED)).collect();
        Self {
            slots,
            // Popped from the end: low slots first.
            free: (0..capacity).rev().collect(),
            index: FlowIndex::new(capacity),
            hasher,
            last_generation: 0,
            cursor: 0,
            by_state: [0; State::COUNT],
        }
    }

    /// The hash under which a flow is kept; the same in all tables of a process.
    #[inline]
    #[must_use]
    pub fn hash(&self, flow: &FlowKey) -> u64 {
        self.hasher.hash(flow)
    }

    /// The live session of a flow.
    #[inline]
    #[must_use]
    pub fn lookup(&self, flow: &FlowKey) -> Option<SessionId> {
        self.lookup_hashed(self.hash(flow), flow)
    }

    /// The live session of a flow whose hash is known.
    #[inline]
    #[must_use]
    pub fn lookup_hashed(&self, hash: u64, flow: &FlowKey) -> Option<SessionId> {
        self.find_where(hash, |session| session.flow() == flow && !session.is_candidate())
    }

    /// The live session of a flow whose hash is known, if there is one; where `guess` names it, it is
    /// not looked for.
    #[inline]
    #[must_use]
    pub fn live(
        &self,
        guess: SessionId,
        hash: u64,
        flow: &FlowKey,
    ) -> Option<(SessionId, &Session)> {
        let is_it = |session: &&Session| session.flow() == flow && !session.is_candidate();
        if let Some(session) = self.get(guess).filter(is_it) {
            return Some((guess, session));
        }
        let id = self.lookup_hashed(hash, flow)?;
        Some((id, self.get(id)?))
    }

    /// The candidate of a flow.
    #[must_use]
    pub fn candidate(&self, flow: &FlowKey) -> Option<SessionId> {
        self.find_where(self.hash(flow), |session| session.flow() == flow && session.is_candidate())
    }

    /// The session, live or candidate, that a SYN of this flow and ISN belongs to.
    #[must_use]
    pub fn find_by_isn(&self, flow: &FlowKey, client_isn: SeqNum) -> Option<SessionId> {
        self.find_where(self.hash(flow), |session| {
            session.flow() == flow && session.client_isn() == client_isn
        })
    }

    /// The very session that a command names; `None` if it is stale.
    #[must_use]
    pub fn find(&self, flow: &FlowKey, client_isn: SeqNum, generation: u32) -> Option<SessionId> {
        self.find_by_isn(flow, client_isn).filter(|id| id.generation() == generation)
    }

    /// A session by its handle; `None` if it is stale.
    #[inline]
    #[must_use]
    pub fn get(&self, id: SessionId) -> Option<&Session> {
        self.slots.get(id.index() as usize).filter(|session| is(session, id))
    }

    /// A session by its handle; `None` if it is stale.
    #[inline]
    pub fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.slots.get_mut(id.index() as usize).filter(|session| is(session, id))
    }

    /// Begins a session in [`State::Requested`]: the live one of its tuple, or a candidate beside it
    /// (M7.11).
    ///
    /// # Errors
    /// [`InsertError`]; nothing has changed.
    pub fn insert(
        &mut self,
        flow: &FlowKey,
        client_isn: SeqNum,
        now: Time,
    ) -> Result<SessionId, InsertError> {
        let hash = self.hash(flow);
        if let Some(id) = self.find_by_isn(flow, client_isn) {
            return Err(InsertError::Exists(id));
        }
        let live = self.lookup_hashed(hash, flow);
        if let Some(id) = live.and_then(|_| self.candidate(flow)) {
            return Err(InsertError::CandidateExists(id));
        }
        let slot = self.free.pop().ok_or(InsertError::Full)?;
        self.last_generation = self.last_generation.wrapping_add(1);
        let id = SessionId::new(slot, self.last_generation);

        let Self { slots, index, hasher, .. } = self;
        let occupied = (0..).zip(slots.iter()).filter(|(_, s)| s.is_occupied()).map(|(i, _)| i);
        index.insert(hash, slot, |slot| hasher.hash(slots[slot as usize].flow()), occupied);
        let session = &mut slots[slot as usize];
        session.begin(*flow, client_isn, id.generation(), now);
        session.set_candidate(live.is_some());
        if let Some(live) = live.and_then(|live| self.get_mut(live)) {
            live.set_has_candidate(true);
        }
        self.by_state[State::Requested.index()] += 1;
        Ok(id)
    }

    /// Passes an input through the table of transitions.
    ///
    /// A session that goes is removed and its keys are wiped; a candidate that synchronises
    /// displaces the live session of its tuple. [`Input::Keyed`] is [`SessionTable::install`]'s and
    /// refused here.
    pub fn apply(&mut self, id: SessionId, input: Input, now: Time) -> Outcome {
        if input == Input::Keyed {
            return Outcome::Refused;
        }
        self.step(id, input, now)
    }

    /// Installs traffic keys, once (M7.12). The caller drops, and so wipes, its own copy in any case.
    pub fn install(&mut self, id: SessionId, keys: &EpochKeys, now: Time) -> Outcome {
        let outcome = self.step(id, Input::Keyed, now);
        if let Outcome::Moved(..) = outcome
            && let Some(session) = self.get_mut(id)
        {
            session.set_keys(keys);
        }
        outcome
    }

    /// Removes a session and wipes its keys, whatever its state (M7.17).
    pub fn remove(&mut self, id: SessionId) -> Option<Removed> {
        let session = self.get(id)?;
        let (flow, state) = (*session.flow(), session.state());
        let removed = Removed {
            id,
            flow,
            client_isn: session.client_isn(),
            state,
            marks: session.marks(),
            successor: None,
        };
        let (was_candidate, had_candidate) = (session.is_candidate(), session.has_candidate());
        let hash = self.hash(&flow);
        self.index.remove(hash, id.index());
        self.slots[id.index() as usize].end();
        self.free.push(id.index());
        self.by_state[state.index()] -= 1;

        let mut successor = None;
        if was_candidate {
            if let Some(live) = self.lookup_hashed(hash, &flow).and_then(|id| self.get_mut(id)) {
                live.set_has_candidate(false);
            }
        } else if had_candidate {
            successor = self.candidate(&flow);
            if let Some(next) = successor.and_then(|id| self.get_mut(id)) {
                next.set_candidate(false);
            }
        }
        Some(Removed { successor, ..removed })
    }

    /// Visits up to `budget` slots from where the last call stopped and returns the first session
    /// whose wait is over, with the input to apply to it; takes what it visited off the budget.
    pub fn next_expired(
        &mut self,
        timeouts: &Timeouts,
        now: Time,
        budget: &mut u32,
    ) -> Option<(SessionId, Input)> {
        while *budget > 0 && !self.slots.is_empty() {
            *budget -= 1;
            let index = self.cursor;
            self.cursor = if index as usize + 1 < self.slots.len() { index + 1 } else { 0 };
            let session = &self.slots[index as usize];
            if session.is_occupied()
                && let Some(input) = session.expired(timeouts, now)
            {
                return Some((SessionId::new(index, session.generation()), input));
            }
        }
        None
    }

    /// Sessions in the slots from `first` on, `slots` slots at most: a listing in bounded steps.
    pub fn page(&self, first: u32, slots: u32) -> impl Iterator<Item = (SessionId, &Session)> {
        (first..self.capacity()).take(slots as usize).filter_map(|index| {
            let session = &self.slots[index as usize];
            let id = SessionId::new(index, session.generation());
            session.is_occupied().then_some((id, session))
        })
    }

    /// Sessions by state, in the order of [`State::ALL`]; candidates included.
    #[must_use]
    pub fn by_state(&self) -> [u32; State::COUNT] {
        self.by_state
    }

    /// Sessions, candidates included.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.by_state.iter().sum()
    }

    /// True if there is no session.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sessions that fit.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        // Made from a u32.
        u32::try_from(self.slots.len()).unwrap_or(u32::MAX)
    }

    /// Octets of memory, all taken at set-up.
    #[must_use]
    pub fn memory(&self) -> usize {
        size_of_val(self.slots.as_slice())
            + self.free.capacity() * size_of::<u32>()
            + self.index.allocation_size()
    }

    fn step(&mut self, id: SessionId, input: Input, now: Time) -> Outcome {
        let Some(session) = self.get_mut(id) else { return Outcome::Refused };
        let before = session.state();
        match session.apply(input, now) {
            Transition::Stay => Outcome::Stayed,
            Transition::Refuse => Outcome::Refused,
            Transition::Gone => match self.remove(id) {
                Some(removed) => Outcome::Gone(removed),
                None => Outcome::Refused,
            },
            Transition::To(state) => {
                self.by_state[before.index()] -= 1;
                self.by_state[state.index()] += 1;
                let displaced = if state == State::Synced { self.displace(id, now) } else { None };
                Outcome::Moved(state, displaced)
            }
        }
    }

    /// Makes a candidate the live session of its tuple.
    fn displace(&mut self, candidate: SessionId, now: Time) -> Option<Removed> {
        let session = self.get(candidate).filter(|session| session.is_candidate())?;
        let live = self.lookup(session.flow())?;
        match self.step(live, Input::Displaced, now) {
            Outcome::Gone(removed) => Some(removed),
            Outcome::Stayed | Outcome::Moved(..) | Outcome::Refused => None,
        }
    }

    #[inline]
    fn find_where(&self, hash: u64, is: impl Fn(&Session) -> bool) -> Option<SessionId> {
        let index = self.index.find(hash, |slot| is(&self.slots[slot as usize]))?;
        Some(SessionId::new(index, self.slots[index as usize].generation()))
    }
}

fn is(session: &Session, id: SessionId) -> bool {
    session.is_occupied() && session.generation() == id.generation()
}

#[cfg(test)]
mod tests;
