//! One session. Owns: what is known of a connection that runs in cipher, in 232 octets. Not: which
//! sessions there are, nor their life (the table).

use std::fmt;
use std::time::Duration;

use sekisho_cipher::{EpochKeys, TrafficKeys};
use sekisho_wire::{L2Header, SeqNum};
use zeroize::Zeroize;

use crate::flow::{Direction, FlowKey};
use crate::half::HalfConn;
use crate::l2::CompactL2;
use crate::limits::{KeyUsage, Timeouts};
use crate::packed::Packed;
use crate::state::{Input, State, Transition, next};
use crate::time::{Tick, Time};

/// A handle: slot in its table, and which session of that slot. Stale once the session is gone.
///
/// One word, so that it is written whole where it is read whole.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(u64);

impl SessionId {
    /// Of no session.
    pub const NONE: Self = Self::new(u32::MAX, 0);

    /// The session of this number in this slot.
    #[inline]
    #[must_use]
    pub const fn new(index: u32, generation: u32) -> Self {
        Self((generation as u64) << 32 | index as u64)
    }

    /// Slot; below the table's capacity.
    #[inline]
    #[must_use]
    pub const fn index(self) -> u32 {
        (self.0 & 0xffff_ffff) as u32
    }

    /// Number of the session, unique in its table (until 2^32 sessions later).
    #[inline]
    #[must_use]
    pub const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({} in slot {})", self.generation(), self.index())
    }
}

const OCCUPIED: u8 = 1;
const CANDIDATE: u8 = 2;
const HAS_KEYS: u8 = 4;
const HAS_CANDIDATE: u8 = 8;
const SYNCHRONISED: u8 = 16;

/// One session, or an empty slot. Its life is changed by [`SessionTable`](crate::SessionTable).
pub struct Session {
    keys: EpochKeys,
    halves: [HalfConn; 2],
    /// Of the direction that is sealed here; the peer counts the other.
    sealed: KeyUsage,
    flow: FlowKey,
    l2: [CompactL2; 2],
    request_id: Packed<8>,
    generation: u32,
    /// Begin of the wait that the state stands for: set-up, idle or linger.
    since: Tick,
    bad_tags: u16,
    state: State,
    flags: u8,
    marks: u8,
}

// With index and free list a session costs at most 256 octets (design: claims on memory).
const _: () = assert!(size_of::<Session>() <= 232);

impl Session {
    /// An empty slot.
    pub(crate) fn vacant(flow: FlowKey) -> Self {
        Self {
            keys: EpochKeys::vacant(),
            halves: [HalfConn::NEW; 2],
            sealed: KeyUsage::ZERO,
            flow,
            l2: [CompactL2::NONE; 2],
            request_id: Packed::ZERO,
            generation: 0,
            since: Tick::default(),
            bad_tags: 0,
            state: State::Requested,
            flags: 0,
            marks: 0,
        }
    }

    /// Begins a session in an empty slot. Keys were wiped when it was emptied.
    pub(crate) fn begin(&mut self, flow: FlowKey, client_isn: SeqNum, generation: u32, now: Time) {
        debug_assert!(!self.is_occupied() && self.flags & HAS_KEYS == 0);
        self.halves = [HalfConn::NEW; 2];
        let _first = self.halves[Direction::ClientToServer.index()].fix_origin(client_isn);
        self.sealed = KeyUsage::ZERO;
        self.flow = flow;
        self.l2 = [CompactL2::NONE; 2];
        self.request_id = Packed::ZERO;
        self.generation = generation;
        self.since = Tick::at(now);
        self.bad_tags = 0;
        self.state = State::Requested;
        self.flags = OCCUPIED;
        self.marks = 0;
    }

    /// Wipes the keys and empties the slot.
    pub(crate) fn end(&mut self) {
        self.keys.zeroize();
        self.flags = 0;
    }

    /// Passes an input through the table of transitions.
    pub(crate) fn apply(&mut self, input: Input, now: Time) -> Transition {
        let transition = next(self.state, input);
        if let Transition::To(state) = transition {
            self.state = state;
            // The set-up wait runs from the SYN through all states before Synced.
            if matches!(state, State::Synced | State::Draining) {
                self.since = Tick::at(now);
            }
            if state == State::Synced {
                self.flags |= SYNCHRONISED;
            }
        }
        transition
    }

    /// Copies keys in, after [`Input::Keyed`] was taken.
    pub(crate) fn set_keys(&mut self, keys: &EpochKeys) {
        self.keys.copy_from(keys);
        self.flags |= HAS_KEYS;
        self.sealed = KeyUsage::ZERO;
    }

    /// The input that its wait has led to, if it is over.
    pub(crate) fn expired(&self, timeouts: &Timeouts, now: Time) -> Option<Input> {
        let (limit, input) = match self.state {
            State::Requested | State::Invited | State::Identified | State::Keyed => {
                (timeouts.setup, Input::SetupExpired)
            }
            State::Synced => (timeouts.idle, Input::IdleExpired),
            State::Draining => (timeouts.linger, Input::LingerExpired),
        };
        self.since.has_passed(limit, now).then_some(input)
    }

    /// What the key store holds, whatever the state.
    #[cfg(test)]
    pub(crate) fn wiped_keys(&self, direction: Direction) -> &TrafficKeys {
        match direction {
            Direction::ClientToServer => self.keys.client_to_server(),
            Direction::ServerToClient => self.keys.server_to_client(),
        }
    }

    pub(crate) fn is_occupied(&self) -> bool {
        self.flags & OCCUPIED != 0
    }

    pub(crate) fn set_candidate(&mut self, candidate: bool) {
        self.set_flag(CANDIDATE, candidate);
    }

    pub(crate) fn set_has_candidate(&mut self, has: bool) {
        self.set_flag(HAS_CANDIDATE, has);
    }

    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    fn set_flag(&mut self, flag: u8, on: bool) {
        if on {
            self.flags |= flag;
        } else {
            self.flags &= !flag;
        }
    }
}

impl Session {
    /// The 4-tuple.
    #[inline]
    #[must_use]
    pub fn flow(&self) -> &FlowKey {
        &self.flow
    }

    /// ISN of the SYN that began it; with the flow, its identity (hazard 15, M7.1).
    #[must_use]
    pub fn client_isn(&self) -> SeqNum {
        // The origin of this direction is fixed when the session begins.
        self.halves[Direction::ClientToServer.index()].origin().unwrap_or_default()
    }

    /// Where it stands.
    #[inline]
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// True while another session on the same tuple is the live one (hazard 15).
    #[inline]
    #[must_use]
    pub fn is_candidate(&self) -> bool {
        self.flags & CANDIDATE != 0
    }

    /// True while a candidate waits to replace this session.
    #[inline]
    #[must_use]
    pub fn has_candidate(&self) -> bool {
        self.flags & HAS_CANDIDATE != 0
    }

    /// True once synchronised, while draining too: payload may pass, sealed or opened (claim 3).
    #[inline]
    #[must_use]
    pub fn is_synchronised(&self) -> bool {
        self.flags & SYNCHRONISED != 0
    }

    /// One direction of the stream.
    #[inline]
    #[must_use]
    pub fn half(&self, direction: Direction) -> &HalfConn {
        &self.halves[direction.index()]
    }

    /// One direction of the stream.
    #[inline]
    pub fn half_mut(&mut self, direction: Direction) -> &mut HalfConn {
        &mut self.halves[direction.index()]
    }

    /// True if both FINs were sealed or verified, and acknowledged: time for
    /// [`Input::FinsAcknowledged`].
    #[inline]
    #[must_use]
    pub fn fins_acknowledged(&self) -> bool {
        self.halves.iter().all(HalfConn::fin_acked)
    }

    /// Keys of a direction; `None` before they are installed.
    #[inline]
    #[must_use]
    pub fn keys(&self, direction: Direction) -> Option<&TrafficKeys> {
        if self.flags & HAS_KEYS == 0 {
            return None;
        }
        Some(match direction {
            Direction::ClientToServer => self.keys.client_to_server(),
            Direction::ServerToClient => self.keys.server_to_client(),
        })
    }

    /// What was sealed here under the present key.
    #[must_use]
    pub fn usage(&self) -> &KeyUsage {
        &self.sealed
    }

    /// The counter to be charged before each sealing.
    #[inline]
    pub fn usage_mut(&mut self) -> &mut KeyUsage {
        &mut self.sealed
    }

    /// The request id of its SYN; the Accept option repeats it.
    #[must_use]
    pub fn request_id(&self) -> u64 {
        self.request_id.get()
    }

    /// Stores the request id of its SYN.
    pub fn set_request_id(&mut self, request_id: u64) {
        self.request_id.set(request_id);
    }

    /// Layer-2 header of the latest frame in a direction, or of the other one turned round.
    #[must_use]
    pub fn l2(&self, direction: Direction) -> Option<L2Header> {
        let ip = self.flow.ip_kind();
        self.l2[direction.index()]
            .to_header(ip)
            .or_else(|| Some(self.l2[direction.reverse().index()].to_header(ip)?.swapped()))
    }

    /// Takes note of the layer-2 header of a frame in a direction.
    #[inline]
    pub fn set_l2(&mut self, direction: Direction, header: &L2Header) {
        self.l2[direction.index()] = CompactL2::from_header(header);
    }

    /// The same from the frame's first octets, up to its IP header; others leave none held.
    #[inline]
    pub fn set_l2_bytes(&mut self, direction: Direction, header: &[u8]) {
        self.l2[direction.index()].note(header);
    }

    /// Restarts the idle wait. For verified segments and segments of the plain side only: a forged
    /// one must not keep a session alive (hazard 35, M7.9).
    #[inline]
    pub fn touch(&mut self, now: Time) {
        if self.state == State::Synced {
            self.since = Tick::at(now);
        }
    }

    /// How long it has been opening, idle or draining, to 67 ms.
    #[must_use]
    pub fn waited(&self, now: Time) -> Duration {
        self.since.age(now)
    }

    /// Counts a tag that did not verify; stops at 65535.
    #[inline]
    pub fn count_bad_tag(&mut self) {
        self.bad_tags = self.bad_tags.saturating_add(1);
    }

    /// Tags that did not verify. With no octet verified, they point at a path that re-segments
    /// (hazard 14).
    #[must_use]
    pub fn bad_tags(&self) -> u16 {
        self.bad_tags
    }

    /// Eight bits at the owner's disposal; zero in a new session.
    #[inline]
    #[must_use]
    pub fn marks(&self) -> u8 {
        self.marks
    }

    /// Sets the owner's eight bits.
    #[inline]
    pub fn set_marks(&mut self, marks: u8) {
        self.marks = marks;
    }
}
