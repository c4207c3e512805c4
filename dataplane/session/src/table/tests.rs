//! The table: capacity, handles, candidates, wiping, waits, memory.

use std::time::Duration;

use proptest::prelude::*;
use sekisho_cipher::{EpochKeys, SegmentFlags, TrafficKeys};
use sekisho_wire::{IpKind, L2Header, SeqNum};

use super::{InsertError, Outcome, SessionTable};
use crate::flow::{Direction, FlowKey};
use crate::hash::FlowHasher;
use crate::limits::Timeouts;
use crate::session::SessionId;
use crate::state::{Input, State};
use crate::time::Time;

const NOW: Time = Time(0);
const UP: Direction = Direction::ClientToServer;
const DOWN: Direction = Direction::ServerToClient;

fn table(capacity: u32) -> SessionTable {
    SessionTable::new(capacity, FlowHasher::new(&[9; 16]))
}

fn flow(n: u32) -> FlowKey {
    let client = ((0x0a00_0000 + (n >> 8)).to_be_bytes(), 1024 + (n & 0xff) as u16);
    FlowKey::new(client.into(), ([10, 0, 2, 10], 80).into()).unwrap()
}

fn keys(seed: u8) -> Box<EpochKeys> {
    let direction = |n: u8| TrafficKeys::from_bytes(&[n; 32], &[n ^ 0xff; 16]);
    EpochKeys::new(&direction(seed), &direction(seed + 1)).unwrap()
}

fn isn(n: u32) -> SeqNum {
    SeqNum::new(n)
}

fn seconds(s: u64) -> Time {
    Time(s * 1_000_000_000)
}

/// Begins a session and brings it to `Synced`.
fn synced(table: &mut SessionTable, flow: &FlowKey, client_isn: u32, now: Time) -> SessionId {
    let id = table.insert(flow, isn(client_isn), now).unwrap();
    assert_eq!(table.install(id, &keys(1), now), Outcome::Moved(State::Keyed, None));
    assert!(matches!(table.apply(id, Input::Synchronised, now), Outcome::Moved(State::Synced, _)));
    id
}

/// M7.18.
#[test]
fn capacity_is_fixed_and_slots_are_used_again() {
    let mut table = table(3);
    let memory = table.memory();
    let ids: Vec<_> = (0..3).map(|n| table.insert(&flow(n), isn(n), NOW).unwrap()).collect();
    assert_eq!(table.insert(&flow(3), isn(3), NOW), Err(InsertError::Full));
    assert_eq!((table.len(), table.capacity()), (3, 3));

    let removed = table.remove(ids[1]).unwrap();
    assert_eq!((removed.flow, removed.client_isn, removed.id), (flow(1), isn(1), ids[1]));
    let new = table.insert(&flow(3), isn(3), NOW).unwrap();
    assert_eq!(new.index(), ids[1].index());
    assert_ne!(new.generation(), ids[1].generation());
    assert_eq!(table.lookup(&flow(3)), Some(new));
    assert_eq!(table.lookup(&flow(1)), None);
    assert_eq!(table.memory(), memory);
}

#[test]
fn a_guess_counts_only_where_it_is_right() {
    let mut table = table(4);
    let hash = |table: &SessionTable, n| table.hash(&flow(n));
    let found = |table: &SessionTable, guess, n| {
        table.live(guess, hash(table, n), &flow(n)).map(|(id, session)| (id, *session.flow()))
    };
    let one = synced(&mut table, &flow(1), 1, NOW);
    let two = synced(&mut table, &flow(2), 2, NOW);
    for guess in [one, two, SessionId::NONE] {
        assert_eq!(found(&table, guess, 1), Some((one, flow(1))));
        assert_eq!(found(&table, guess, 3), None);
    }
    // A candidate is not the live one, until it is.
    let candidate = table.insert(&flow(1), isn(9), NOW).unwrap();
    assert_eq!(found(&table, candidate, 1), Some((one, flow(1))));
    assert_eq!(table.remove(one).unwrap().successor, Some(candidate));
    assert_eq!(found(&table, one, 1), Some((candidate, flow(1))));
    // The slot has another session now.
    let three = table.insert(&flow(3), isn(3), NOW).unwrap();
    assert_eq!(three.index(), one.index());
    assert_eq!(found(&table, one, 3), Some((three, flow(3))));
    assert_eq!(found(&table, three, 1), Some((candidate, flow(1))));
}

#[test]
fn a_stale_handle_reaches_nothing() {
    let mut table = table(4);
    let old = table.insert(&flow(1), isn(1), NOW).unwrap();
    table.remove(old).unwrap();
    assert!(table.get(old).is_none() && table.remove(old).is_none());
    let new = table.insert(&flow(1), isn(1), NOW).unwrap();
    assert_eq!(old.index(), new.index());
    assert!(table.get(old).is_none() && table.get_mut(old).is_none());
    // A late INSTALL for the session before is refused and changes nothing.
    assert_eq!(table.install(old, &keys(1), NOW), Outcome::Refused);
    assert_eq!(table.find(&flow(1), isn(1), old.generation()), None);
    assert_eq!(table.find(&flow(1), isn(1), new.generation()), Some(new));
    assert_eq!(table.find(&flow(1), isn(2), new.generation()), None);
    assert_eq!(table.get(new).unwrap().state(), State::Requested);
    assert!(table.get(SessionId::new(999, 1)).is_none());
}

#[test]
fn keys_come_with_the_state_and_go_with_the_session() {
    let mut table = table(1);
    let id = table.insert(&flow(1), isn(1), NOW).unwrap();
    assert!(table.get(id).unwrap().keys(UP).is_none());
    // Keys do not come by way of `apply`, and synchronisation does not come without keys.
    assert_eq!(table.apply(id, Input::Keyed, NOW), Outcome::Refused);
    assert_eq!(table.apply(id, Input::Synchronised, NOW), Outcome::Refused);

    let epoch = keys(1);
    assert_eq!(table.install(id, &epoch, NOW), Outcome::Moved(State::Keyed, None));
    let session = table.get(id).unwrap();
    assert!(bool::from(session.keys(UP).unwrap().ct_eq(epoch.client_to_server())));
    assert!(bool::from(session.keys(DOWN).unwrap().ct_eq(epoch.server_to_client())));
    assert!(!session.is_synchronised(), "claim 3");
    // A second install does not replace the first one's keys.
    assert_eq!(table.install(id, &keys(7), NOW), Outcome::Refused);
    let session = table.get(id).unwrap();
    assert!(bool::from(session.keys(UP).unwrap().ct_eq(epoch.client_to_server())));

    table.remove(id).unwrap();
    let zero = TrafficKeys::from_bytes(&[0; 32], &[0; 16]);
    assert!(bool::from(table.slots[0].wiped_keys(UP).ct_eq(&zero)));
    assert!(bool::from(table.slots[0].wiped_keys(DOWN).ct_eq(&zero)));
    assert!(table.slots[0].keys(UP).is_none());
}

/// M7.17.
#[test]
fn a_slot_keeps_nothing_of_the_session_before() {
    let mut table = table(1);
    let id = synced(&mut table, &flow(1), 1, NOW);
    let session = table.get_mut(id).unwrap();
    session.half_mut(UP).advance(0, 1000, SegmentFlags::default());
    let _ = session.half_mut(DOWN).fix_origin(isn(5));
    let _ = session.usage_mut().charge(1000);
    session.set_l2(UP, &L2Header::new([1; 6], [2; 6]));
    session.set_request_id(u64::MAX);
    session.set_marks(3);
    session.count_bad_tag();
    assert_eq!(table.remove(id).unwrap().marks, 3);

    let id = table.insert(&flow(2), isn(2), NOW).unwrap();
    let session = table.get(id).unwrap();
    assert_eq!(session.half(UP).high(), 0);
    assert_eq!(session.client_isn(), isn(2));
    assert_eq!(session.half(DOWN).origin(), None);
    assert_eq!((session.usage().bytes(), session.usage().segments()), (0, 0));
    assert!(session.l2(UP).is_none() && session.l2(DOWN).is_none());
    assert_eq!((session.request_id(), session.marks(), session.bad_tags()), (0, 0, 0));
    assert!(!session.is_synchronised() && session.keys(UP).is_none());
}

#[test]
fn a_repeated_syn_is_the_same_session() {
    // Hazard 16.
    let mut table = table(4);
    let id = table.insert(&flow(1), isn(1), NOW).unwrap();
    assert_eq!(table.insert(&flow(1), isn(1), NOW), Err(InsertError::Exists(id)));
    assert_eq!(table.len(), 1);
}

#[test]
fn a_spoofed_syn_ends_nothing() {
    // Hazard 15: whatever the candidate does short of synchronising, the live session lives.
    let mut table = table(4);
    let live = synced(&mut table, &flow(1), 1, NOW);
    let spoofed = table.insert(&flow(1), isn(2), NOW).unwrap();
    assert!(table.get(spoofed).unwrap().is_candidate());
    assert!(table.get(live).unwrap().has_candidate());
    assert_eq!(table.lookup(&flow(1)), Some(live));
    assert_eq!(table.candidate(&flow(1)), Some(spoofed));
    assert_eq!(table.insert(&flow(1), isn(2), NOW), Err(InsertError::Exists(spoofed)));
    assert_eq!(table.insert(&flow(1), isn(3), NOW), Err(InsertError::CandidateExists(spoofed)));

    assert_eq!(table.install(spoofed, &keys(5), NOW), Outcome::Moved(State::Keyed, None));
    assert_eq!(table.lookup(&flow(1)), Some(live));
    let Outcome::Gone(removed) = table.apply(spoofed, Input::SetupExpired, NOW) else {
        panic!("the candidate's wait is over");
    };
    assert_eq!((removed.id, removed.successor), (spoofed, None));
    let session = table.get(live).unwrap();
    assert_eq!(session.state(), State::Synced);
    assert!(!session.has_candidate());
    assert!(table.insert(&flow(1), isn(3), NOW).is_ok());
}

#[test]
fn a_candidate_displaces_when_it_synchronises() {
    let mut table = table(4);
    let old = synced(&mut table, &flow(1), 1, NOW);
    let new = table.insert(&flow(1), isn(2), NOW).unwrap();
    let epoch = keys(5);
    assert_eq!(table.install(new, &epoch, NOW), Outcome::Moved(State::Keyed, None));
    let Outcome::Moved(State::Synced, Some(removed)) = table.apply(new, Input::Synchronised, NOW)
    else {
        panic!("it displaces");
    };
    assert_eq!((removed.id, removed.client_isn, removed.state), (old, isn(1), State::Synced));
    assert_eq!(removed.successor, Some(new));
    assert!(table.get(old).is_none());
    assert_eq!(table.lookup(&flow(1)), Some(new));
    assert_eq!(table.candidate(&flow(1)), None);
    let session = table.get(new).unwrap();
    assert!(!session.is_candidate() && !session.has_candidate());
    assert!(bool::from(session.keys(UP).unwrap().ct_eq(epoch.client_to_server())));
    assert_eq!(table.by_state(), [0, 0, 0, 0, 1, 0]);
}

#[test]
fn a_candidate_inherits_the_tuple() {
    let mut table = table(4);
    let old = synced(&mut table, &flow(1), 1, NOW);
    let new = table.insert(&flow(1), isn(2), NOW).unwrap();
    assert_eq!(table.remove(old).unwrap().successor, Some(new));
    assert_eq!(table.lookup(&flow(1)), Some(new));
    assert!(!table.get(new).unwrap().is_candidate());
    // There is room for a candidate beside it again.
    let third = table.insert(&flow(1), isn(3), NOW).unwrap();
    assert!(table.get(third).unwrap().is_candidate());
}

/// M7.16.
#[test]
fn reset_drains_lingers_and_goes() {
    let timeouts = Timeouts::default();
    let mut table = table(4);
    let id = synced(&mut table, &flow(1), 1, NOW);
    assert_eq!(table.apply(id, Input::Reset, seconds(100)), Outcome::Moved(State::Draining, None));
    let session = table.get_mut(id).unwrap();
    assert!(session.keys(UP).is_some() && session.is_synchronised(), "still seals and opens");
    session.touch(seconds(109));
    assert_eq!(table.next_expired(&timeouts, seconds(110), &mut 4), None);
    // Late segments do not prolong the linger.
    let expired = table.next_expired(&timeouts, seconds(111), &mut 4);
    assert_eq!(expired, Some((id, Input::LingerExpired)));
    assert!(matches!(table.apply(id, Input::LingerExpired, seconds(111)), Outcome::Gone(_)));
    assert!(table.is_empty());
}

#[test]
fn both_fins_must_be_acknowledged() {
    let fin = SegmentFlags { fin: true, rst: false };
    let mut table = table(1);
    let id = synced(&mut table, &flow(1), 1000, NOW);
    let session = table.get_mut(id).unwrap();
    let _ = session.half_mut(DOWN).fix_origin(isn(2000));
    session.half_mut(UP).advance(0, 10, fin);
    assert!(session.half_mut(UP).acknowledge(isn(1001 + 11)));
    assert!(!session.fins_acknowledged(), "half closed (hazard 33)");
    session.half_mut(DOWN).advance(0, 20, fin);
    assert!(!session.fins_acknowledged());
    assert!(session.half_mut(DOWN).acknowledge(isn(2001 + 21)));
    assert!(session.fins_acknowledged());
    assert_eq!(
        table.apply(id, Input::FinsAcknowledged, NOW),
        Outcome::Moved(State::Draining, None)
    );
}

#[test]
fn each_state_waits_its_own_time() {
    let timeouts = Timeouts {
        setup: Duration::from_secs(15),
        idle: Duration::from_secs(100),
        linger: Duration::from_secs(10),
    };
    let mut table = table(8);
    let opening = table.insert(&flow(1), isn(1), seconds(0)).unwrap();
    let keyed = table.insert(&flow(2), isn(2), seconds(0)).unwrap();
    assert_eq!(table.install(keyed, &keys(1), seconds(14)), Outcome::Moved(State::Keyed, None));
    let busy = synced(&mut table, &flow(3), 3, seconds(0));
    let silent = synced(&mut table, &flow(4), 4, seconds(0));
    // Nothing prolongs the set-up.
    table.get_mut(opening).unwrap().touch(seconds(14));
    table.get_mut(busy).unwrap().touch(seconds(90));

    let mut expired_at = |s| {
        let mut all = Vec::new();
        let mut budget = 8;
        while let Some(found) = table.next_expired(&timeouts, seconds(s), &mut budget) {
            all.push(found);
        }
        all
    };
    assert_eq!(expired_at(15), []);
    assert_eq!(expired_at(16), [(opening, Input::SetupExpired), (keyed, Input::SetupExpired)]);
    assert_eq!(expired_at(102)[2..], [(silent, Input::IdleExpired)]);
    assert_eq!(expired_at(192)[2..], [(busy, Input::IdleExpired), (silent, Input::IdleExpired)]);
}

#[test]
fn the_scan_is_bounded_and_comes_round() {
    let mut table = table(100);
    for n in 0..100 {
        table.insert(&flow(n), isn(n), NOW).unwrap();
    }
    let timeouts = Timeouts::default();
    let late = seconds(1000);
    let mut rounds = 0;
    while !table.is_empty() {
        let mut budget = 10;
        while let Some((id, input)) = table.next_expired(&timeouts, late, &mut budget) {
            assert!(matches!(table.apply(id, input, late), Outcome::Gone(_)));
        }
        assert_eq!(budget, 0);
        rounds += 1;
    }
    assert_eq!(rounds, 10);
    let mut nothing = self::table(0);
    assert_eq!(nothing.next_expired(&timeouts, late, &mut 5), None);
    assert_eq!(nothing.insert(&flow(1), isn(1), NOW), Err(InsertError::Full));
}

#[test]
fn layer_two_comes_from_either_direction() {
    let mut table = table(1);
    let id = table.insert(&flow(1), isn(1), NOW).unwrap();
    let session = table.get_mut(id).unwrap();
    let up = L2Header::new([1; 6], [2; 6]).with_ip(IpKind::V4);
    session.set_l2(UP, &up);
    assert_eq!(session.l2(UP), Some(up));
    assert_eq!(session.l2(DOWN), Some(up.swapped()));
    let down = L2Header::new([3; 6], [4; 6]).with_ip(IpKind::V4);
    session.set_l2(DOWN, &down);
    assert_eq!((session.l2(UP), session.l2(DOWN)), (Some(up), Some(down)));
}

#[test]
fn listing_goes_by_pages() {
    let mut table = table(10);
    let ids: Vec<_> = (0..10).map(|n| table.insert(&flow(n), isn(n), NOW).unwrap()).collect();
    table.remove(ids[4]).unwrap();
    let page =
        |first, slots| table.page(first, slots).map(|(id, _)| id.index()).collect::<Vec<_>>();
    assert_eq!(page(0, 4), [0, 1, 2, 3]);
    assert_eq!(page(4, 4), [5, 6, 7]);
    assert_eq!(page(8, 4), [8, 9]);
    assert_eq!(page(12, 4), [0; 0]);
}

#[test]
fn a_session_costs_256_octets() {
    for capacity in [4096, 57_344, 60_000, 65_536, 100_000] {
        let table = table(capacity);
        let each = table.memory() as f64 / f64::from(capacity);
        assert!(each <= 256.0, "{capacity}: {each} octets each");
    }
}

#[test]
fn churn_on_a_full_table_allocates_nothing() {
    // The most that an index of 2^12 buckets is used for: the worst case for tombstones.
    let capacity = 2864;
    let mut table = table(capacity);
    let memory = table.memory();
    let mut ids: Vec<_> =
        (0..capacity).map(|n| table.insert(&flow(n), isn(n), NOW).unwrap()).collect();
    for n in capacity..capacity * 40 {
        // Slots in an order that has nothing to do with their hashes.
        let victim = (n.wrapping_mul(2_654_435_761) % capacity) as usize;
        table.remove(ids[victim]).unwrap();
        ids[victim] = table.insert(&flow(n), isn(n), NOW).unwrap();
    }
    assert_eq!(table.memory(), memory);
    assert_eq!(table.len(), capacity);
    for id in ids {
        let flow = *table.get(id).unwrap().flow();
        assert_eq!(table.lookup(&flow), Some(id));
    }
}

proptest! {
    /// Random lives against a plain model: who is live, who is candidate, counts by state.
    #[test]
    fn agrees_with_a_model(steps in prop::collection::vec((0..4u32, 0..3u32, 0..15usize), 1..200)) {
        let mut table = table(6);
        let mut model: Vec<(u32, u32, SessionId)> = Vec::new(); // (flow, isn, id), live first
        for (f, i, action) in steps {
            let named = model.iter().position(|(mf, mi, _)| (*mf, *mi) == (f, i));
            match (action, named) {
                (0..=4, _) => {
                    let beside = model.iter().filter(|(mf, ..)| *mf == f).count();
                    match table.insert(&flow(f), isn(i), NOW) {
                        Ok(id) => {
                            prop_assert!(named.is_none() && beside < 2 && model.len() < 6);
                            prop_assert_eq!(table.get(id).unwrap().is_candidate(), beside == 1);
                            model.push((f, i, id));
                        }
                        Err(InsertError::Exists(id)) => {
                            prop_assert_eq!(Some(id), named.map(|at| model[at].2));
                        }
                        Err(InsertError::CandidateExists(_)) => prop_assert_eq!(beside, 2),
                        Err(InsertError::Full) => prop_assert_eq!(model.len(), 6),
                    }
                }
                (_, Some(at)) => {
                    let id = model[at].2;
                    let input = Input::ALL[action % Input::ALL.len()];
                    let outcome = match input {
                        Input::Keyed => table.install(id, &keys(1), NOW),
                        other => table.apply(id, other, NOW),
                    };
                    match outcome {
                        Outcome::Gone(removed) => {
                            prop_assert_eq!(removed.id, id);
                            model.remove(at);
                        }
                        Outcome::Moved(_, Some(removed)) => {
                            prop_assert_eq!(removed.successor, Some(id));
                            model.retain(|(.., other)| *other != removed.id);
                        }
                        Outcome::Moved(..) | Outcome::Stayed | Outcome::Refused => {}
                    }
                }
                (_, None) => {}
            }
            for f in 0..4 {
                let mut ids = model.iter().filter(|(mf, ..)| *mf == f).map(|(.., id)| *id);
                let (live, candidate) = (ids.next(), ids.next());
                prop_assert_eq!(table.lookup(&flow(f)), live);
                prop_assert_eq!(table.candidate(&flow(f)), candidate);
                if let Some(live) = live {
                    let session = table.get(live).unwrap();
                    prop_assert_eq!(session.has_candidate(), candidate.is_some());
                }
            }
            let mut counts = [0; State::COUNT];
            for (.., id) in &model {
                counts[table.get(*id).unwrap().state().index()] += 1;
            }
            prop_assert_eq!(table.by_state(), counts);
        }
    }
}
