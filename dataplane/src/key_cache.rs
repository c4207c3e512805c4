//! Expanded keys of the sessions seen last: small, direct-mapped, wiped with the session. Owns
//! contexts only; the keys they come from stay in the session.

use sekisho_cipher::{KeyContext, TrafficKeys};
use sekisho_session::{Direction, SessionId};

/// Sessions cached: both directions of each are about 1.2 kB, so the cache stays within L2.
const PLACES: usize = 64;

struct Place {
    session: Option<SessionId>,
    contexts: [Option<KeyContext>; 2],
}

/// The cache of one worker.
pub(crate) struct KeyCache {
    places: Vec<Place>,
    expansions: u64,
}

impl KeyCache {
    pub(crate) fn new() -> Self {
        let place = || Place { session: None, contexts: [None, None] };
        Self { places: (0..PLACES).map(|_| place()).collect(), expansions: 0 }
    }

    /// The context of `keys`, which are those of one direction of `session`.
    pub(crate) fn context(
        &mut self,
        session: SessionId,
        direction: Direction,
        keys: &TrafficKeys,
    ) -> &KeyContext {
        let place = &mut self.places[session.index as usize % PLACES];
        if place.session != Some(session) {
            *place = Place { session: Some(session), contexts: [None, None] };
        }
        let expansions = &mut self.expansions;
        place.contexts[direction.index()].get_or_insert_with(|| {
            *expansions += 1;
            KeyContext::new(keys)
        })
    }

    /// Wipes what is cached of a session: it goes, or gets other keys.
    pub(crate) fn forget(&mut self, session: SessionId) {
        let place = &mut self.places[session.index as usize % PLACES];
        if place.session == Some(session) {
            *place = Place { session: None, contexts: [None, None] };
        }
    }

    /// Contexts expanded so far.
    pub(crate) fn expansions(&self) -> u64 {
        self.expansions
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sekisho_cipher::{Associated, Payload, SegmentFlags, seal};

    fn tag(context: &KeyContext) -> [u8; 12] {
        let associated = Associated { offset: 1, flags: SegmentFlags::default(), phase: 0 };
        seal(context, &associated, &mut [7; 8], Payload { src: 0, dst: 0, len: 8 }).tag
    }

    #[test]
    fn one_expansion_per_key_and_none_survives_its_session() {
        let (up, down) = (Direction::ClientToServer, Direction::ServerToClient);
        let keys = |n| TrafficKeys::from_bytes(&[n; 32], &[n; 16]);
        let id = |index, generation| SessionId { index, generation };
        let mut cache = KeyCache::new();
        let first = tag(cache.context(id(3, 1), up, &keys(1)));
        assert_eq!(tag(cache.context(id(3, 1), up, &keys(1))), first);
        assert_eq!(cache.expansions(), 1);
        // The other direction, the slot's next session, a slot that maps to the same place.
        assert_ne!(tag(cache.context(id(3, 1), down, &keys(2))), first);
        assert_ne!(tag(cache.context(id(3, 2), up, &keys(3))), first);
        let same_place = id(3 + PLACES as u32, 3);
        assert_ne!(tag(cache.context(same_place, up, &keys(4))), first);
        assert_eq!(cache.expansions(), 4);
        cache.forget(same_place);
        assert_ne!(tag(cache.context(same_place, up, &keys(5))), first);
        assert_eq!(cache.expansions(), 5);
    }
}
