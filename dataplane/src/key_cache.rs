//! Expanded keys of the sessions seen last: set-associative, wiped with the session. Owns contexts
//! only; the keys they come from stay in the session.
//!
//! A context that a job of the batch in hand refers to keeps its place until the batch is done:
//! [`KeyCache::place`] gives none where all places of a set are taken so, and the batch goes first.

use sekisho_cipher::{KeyContext, TrafficKeys};
use sekisho_session::{Direction, SessionId};

/// Contexts of one set. Slots of sessions are given out from the lowest, so sets fill evenly and
/// four places suffer few conflicts below the cache's size.
const WAYS: usize = 4;
/// Contexts cached at most, both directions of half as many sessions. Beyond what L2 holds a
/// context comes from L3, which is still faster than to expand its key anew.
const CONTEXTS: usize = 4096;

/// Where a context stands, for the batch in hand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place(u32);

impl Place {
    /// No place: what a job has before it is decided.
    pub(crate) const NONE: Self = Self(u32::MAX);
}

#[derive(Clone, Copy)]
struct Set {
    /// [`SessionId::NONE`] where there is none.
    names: [SessionId; WAYS],
    /// The batch that each was used in last.
    used: [u32; WAYS],
}

impl Set {
    const EMPTY: Self = Self { names: [SessionId::NONE; WAYS], used: [0; WAYS] };

    #[inline(always)]
    fn way_of(&self, session: SessionId) -> Option<usize> {
        self.names.iter().position(|name| *name == session)
    }
}

/// The cache of one worker.
pub(crate) struct KeyCache {
    /// Of both directions in turn.
    sets: Vec<Set>,
    contexts: Vec<Option<KeyContext>>,
    batch: u32,
    expansions: u64,
}

impl KeyCache {
    /// A cache for a worker of so many sessions at most.
    pub(crate) fn new(sessions: u32) -> Self {
        Self::with_contexts((2 * sessions as usize).clamp(2 * WAYS, CONTEXTS))
    }

    pub(crate) fn with_contexts(contexts: usize) -> Self {
        let sets = (contexts / WAYS).next_power_of_two();
        Self {
            sets: vec![Set::EMPTY; sets],
            contexts: (0..sets * WAYS).map(|_| None).collect(),
            batch: 1,
            expansions: 0,
        }
    }

    /// Where the context of `keys`, which are those of one direction of `session`, stands until
    /// [`KeyCache::release`]; `None` where the batch in hand has taken all places it could have.
    #[inline(always)]
    pub(crate) fn place(
        &mut self,
        session: SessionId,
        direction: Direction,
        keys: &TrafficKeys,
    ) -> Option<Place> {
        let at = self.set_of(session, direction);
        let set = &mut self.sets[at];
        let way = match set.way_of(session) {
            Some(way) => {
                set.used[way] = self.batch;
                way
            }
            None => self.expand(at, session, keys)?,
        };
        // There are a few thousand places.
        Some(Place((at * WAYS + way) as u32))
    }

    /// Expands keys into the way of a set that was used longest ago; `None` where the batch in hand
    /// has used all of them.
    #[cold]
    fn expand(&mut self, at: usize, session: SessionId, keys: &TrafficKeys) -> Option<usize> {
        let set = &mut self.sets[at];
        let age = |way: &usize| self.batch.wrapping_sub(set.used[*way]);
        let way = (0..WAYS).rev().max_by_key(age).filter(|way| age(way) > 0)?;
        self.expansions += 1;
        set.names[way] = session;
        set.used[way] = self.batch;
        KeyContext::place(&mut self.contexts[at * WAYS + way], keys);
        Some(way)
    }

    /// The context at a place that was given out since the last [`KeyCache::release`].
    #[inline]
    pub(crate) fn context(&self, place: Place) -> &KeyContext {
        let context = self.contexts[place.0 as usize].as_ref();
        context.expect("invariant: a place keeps its context until its batch is done")
    }

    /// The batch is done: its places may be used for others.
    #[inline]
    pub(crate) fn release(&mut self) {
        self.batch = self.batch.wrapping_add(1);
    }

    /// Wipes what is cached of a session: it goes, or gets other keys.
    pub(crate) fn forget(&mut self, session: SessionId) {
        for direction in Direction::BOTH {
            let at = self.set_of(session, direction);
            let set = &mut self.sets[at];
            if let Some(way) = set.way_of(session) {
                set.names[way] = SessionId::NONE;
                self.contexts[at * WAYS + way] = None;
            }
        }
    }

    /// Contexts expanded so far.
    pub(crate) fn expansions(&self) -> u64 {
        self.expansions
    }

    #[inline(always)]
    fn set_of(&self, session: SessionId, direction: Direction) -> usize {
        // Side by side; there is a power of two of sets.
        (2 * session.index() as usize + direction.index()) & (self.sets.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sekisho_cipher::{Associated, Payload, SegmentFlags, Tag, seal};

    const UP: Direction = Direction::ClientToServer;
    const DOWN: Direction = Direction::ServerToClient;

    fn keys(n: u8) -> TrafficKeys {
        TrafficKeys::from_bytes(&[n; 32], &[n; 16])
    }

    fn id(index: u32, generation: u32) -> SessionId {
        SessionId::new(index, generation)
    }

    fn tag_at(cache: &KeyCache, place: Place) -> Tag {
        let associated = Associated { offset: 1, flags: SegmentFlags::default(), phase: 0 };
        let at = Payload { src: 0, dst: 0, len: 8 };
        seal(cache.context(place), &associated, &mut [7; 8], at).tag
    }

    fn tag(cache: &mut KeyCache, session: SessionId, direction: Direction, n: u8) -> Tag {
        let place = cache.place(session, direction, &keys(n)).unwrap();
        tag_at(cache, place)
    }

    #[test]
    fn one_expansion_per_key_and_none_survives_its_session() {
        let mut cache = KeyCache::with_contexts(16);
        let first = tag(&mut cache, id(3, 1), UP, 1);
        assert_eq!(tag(&mut cache, id(3, 1), UP, 1), first);
        assert_eq!(cache.expansions(), 1);
        // The other direction, the slot's next session.
        assert_ne!(tag(&mut cache, id(3, 1), DOWN, 2), first);
        assert_ne!(tag(&mut cache, id(3, 2), UP, 3), first);
        assert_eq!(tag(&mut cache, id(3, 1), UP, 9), first, "cached, whatever is handed in");
        assert_eq!(cache.expansions(), 3);
        cache.forget(id(3, 1));
        assert_ne!(tag(&mut cache, id(3, 1), UP, 5), first);
        assert_eq!(cache.expansions(), 4);
    }

    #[test]
    fn a_place_is_kept_until_its_batch_is_done() {
        let mut cache = KeyCache::with_contexts(16);
        // Sessions whose slots fall into one set; the first was used in an earlier batch.
        let in_set = |n: u32| id(2 * n, 1);
        let early = tag(&mut cache, in_set(0), UP, 1);
        cache.release();
        let places: Vec<_> =
            (1..=4).map(|n| cache.place(in_set(n), UP, &keys(n as u8)).unwrap()).collect();
        let tags: Vec<_> = places.iter().map(|place| tag_at(&cache, *place)).collect();
        assert_eq!(cache.place(in_set(5), UP, &keys(5)), None);
        assert!(cache.place(in_set(3), UP, &keys(3)) == Some(places[2]));
        assert!(cache.place(in_set(5), DOWN, &keys(5)).is_some());
        let after: Vec<_> = places.iter().map(|place| tag_at(&cache, *place)).collect();
        assert_eq!(after, tags);
        cache.release();
        assert_eq!(tag(&mut cache, in_set(0), UP, 1), early, "expanded anew");
        assert_eq!(cache.expansions(), 7);
    }

    #[test]
    fn a_worker_of_few_sessions_has_few_places() {
        assert_eq!(KeyCache::new(1).contexts.len(), 8);
        assert_eq!(KeyCache::new(64).contexts.len(), 128);
        assert_eq!(KeyCache::new(1 << 20).contexts.len(), CONTEXTS);
    }
}
