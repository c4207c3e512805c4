//! Frames of other workers' sessions, and worker threads.

use std::time::{Duration, Instant};

use sekisho_port::{MemoryConfig, MemoryIo, MemoryWire, PacketIo, PortSide, Waiter};
use sekisho_session::{Direction, FlowHasher, FlowKey, Time};

use super::harness::*;
use super::quotation::icmp;
use super::segments::*;
use crate::exchange::{EXCHANGE_DEPTH, PATIENCE, exchange};
use crate::runtime::{Clock, PollMode, WorkerHandle, WorkerSpec, spawn};
use crate::{
    CloseCause, Command, DropReason, Event, Policy, Role, SpawnError, Worker, WorkerConfig, rings,
};

const FRAMES: MemoryConfig = MemoryConfig { frames: 1024, fill: 128, ring: 128 };

/// A client port whose flow belongs to worker `owner` of two.
fn port_of(owner: usize) -> u16 {
    let hasher = FlowHasher::new(&[7; 16]);
    let (client, server) = v4();
    (1024..)
        .find(|&port| {
            let mut client = client;
            client.set_port(port);
            let flow = FlowKey::new(client, server).unwrap();
            FlowHasher::shard(hasher.hash(&flow), 2) == owner
        })
        .unwrap()
}

const LARGE: MemoryConfig = MemoryConfig { frames: 4096, fill: 512, ring: 1024 };

fn two_workers(config: &WorkerConfig) -> Vec<(Worker, crate::ControlEnd, MemoryIo, MemoryWire)> {
    two_workers_with(config, FRAMES)
}

fn two_workers_with(
    config: &WorkerConfig,
    sizes: MemoryConfig,
) -> Vec<(Worker, crate::ControlEnd, MemoryIo, MemoryWire)> {
    exchange(2, &[])
        .into_iter()
        .zip(0..)
        .map(|(port, index)| {
            let (worker_end, control_end) = rings(256, None, None);
            let config = WorkerConfig { index, ..config.clone() };
            let (io, wire) = MemoryIo::new(sizes).unwrap();
            (Worker::new(config, worker_end, port), control_end, io, wire)
        })
        .collect()
}

#[test]
fn a_million_frames_of_the_other_worker_in_both_directions() {
    const EACH: u64 = 500_000;
    let mut workers = two_workers(&config(Role::Gateway, Policy::Off));
    let pools: Vec<_> = workers.iter().map(|(_, _, io, _)| io.accounting()).collect();
    // Worker 0 receives what belongs to worker 1, and the other way round.
    let frames: Vec<_> = (0..2)
        .map(|me| {
            let mut seg = Pair::new().client_data(0, 0, b"x");
            seg.src.set_port(port_of(1 - me));
            seg.build()
        })
        .collect();
    for (_, _, _, wire) in &workers {
        wire.set_sink(PortSide::Plain, true);
    }
    let mut pushed = 0;
    let now = Time(1);
    while pushed < EACH {
        for ((_, _, _, wire), frame) in workers.iter().zip(&frames) {
            for _ in 0..64 {
                wire.push(PortSide::Cipher, frame);
            }
        }
        pushed += 64;
        for (worker, _, io, _) in &mut workers {
            worker.turn(io, now);
        }
    }
    for _ in 0..8 {
        for (worker, _, io, _) in &mut workers {
            worker.turn(io, now);
        }
    }
    for ((worker, _, io, _), before) in workers.iter().zip(&pools) {
        let counted = worker.counters().snapshot();
        assert_eq!(counted.sides[PortSide::Cipher.index()].rx_packets, pushed);
        assert_eq!(counted.tallies.exchange_out, pushed);
        assert_eq!(counted.tallies.exchange_in, pushed);
        assert_eq!(counted.sides[PortSide::Plain.index()].tx_packets, pushed);
        assert_eq!(counted.dropped_total(), 0);
        assert_eq!(counted.balance(), 0);
        assert_eq!((io.accounting().pool, io.accounting().in_hand()), (before.pool, 0));
    }
}

#[test]
fn a_peer_that_pauses_costs_no_frame_and_one_that_stands_still_not_the_pool() {
    let mut workers = two_workers_with(&config(Role::Gateway, Policy::Off), LARGE);
    let mut seg = Pair::new().client_data(0, 0, b"x");
    seg.src.set_port(port_of(1));
    let frame = seg.build();
    for (_, _, _, wire) in &workers {
        wire.set_sink(PortSide::Plain, true);
    }
    let mut now = Time(1);
    let turns = |workers: &mut Vec<(Worker, _, MemoryIo, MemoryWire)>, now, who: usize| {
        for (worker, _, io, _) in workers.iter_mut().take(who) {
            worker.turn(io, now);
        }
    };
    // The peer pauses: what its lane does not take waits in the receive ring.
    (0..1500).for_each(|_| workers[0].3.push(PortSide::Cipher, &frame));
    (0..40).for_each(|_| turns(&mut workers, now, 1));
    let counted = workers[0].0.counters().snapshot();
    assert!(counted.tallies.exchange_out <= EXCHANGE_DEPTH as u64);
    assert_eq!(counted.dropped_total(), 0);
    // It goes on, and all arrive.
    (0..40).for_each(|_| turns(&mut workers, now, 2));
    assert_eq!(workers[0].0.counters().snapshot().dropped_total(), 0);
    let arrived = workers[1].0.counters().snapshot();
    assert_eq!(arrived.sides[PortSide::Plain.index()].tx_packets, 1500);
    // It stands still for good: then others' frames go on, and the pool is not drained.
    (0..1500).for_each(|_| workers[0].3.push(PortSide::Cipher, &frame));
    for _ in 0..80 {
        now = now.after(PATIENCE / 20);
        turns(&mut workers, now, 1);
    }
    let counted = workers[0].0.counters().snapshot();
    let lost = counted.dropped(DropReason::ExchangeFull);
    assert_eq!(lost, 1500 - EXCHANGE_DEPTH as u64);
    seg.src.set_port(port_of(0));
    workers[0].3.push(PortSide::Cipher, &seg.build());
    workers[0].3.set_sink(PortSide::Plain, false);
    turns(&mut workers, now, 1);
    assert_eq!(workers[0].3.drain(PortSide::Plain).len(), 1);
    (0..20).for_each(|_| turns(&mut workers, now, 2));
    assert!(workers.iter().all(|(_, _, io, _)| io.accounting().in_hand() == 0));
}

#[test]
fn a_low_pool_drops_instead_of_handing_off() {
    let mut workers = two_workers(&config(Role::Gateway, Policy::Off));
    let (worker, _, io, wire) = &mut workers[0];
    let mut seg = Pair::new().client_data(0, 0, b"x");
    seg.src.set_port(port_of(1));
    let mut taken: Vec<_> = std::iter::from_fn(|| io.alloc()).collect();
    wire.push(PortSide::Cipher, &seg.build());
    let mut burst = Vec::new();
    io.receive(PortSide::Cipher, &mut burst, 1);
    crate::process_burst(worker, io, PortSide::Cipher, &mut burst, Time(1));
    assert_eq!(worker.counters().snapshot().dropped(DropReason::NoFrame), 1);
    taken.drain(..).for_each(|frame| io.free(frame));
    worker.turn(io, Time(1));
}

#[test]
fn a_session_works_whichever_worker_receives_its_frames() {
    let config = config(Role::Gateway, Policy::Require);
    let mut workers = two_workers(&config);
    let mut pair = Pair::new();
    pair.client.set_port(port_of(1));
    let syn = pair.seal_up(&pair.syn(CLIENT_ISN)).remove(0);
    workers[0].3.push(PortSide::Cipher, &syn.bytes);
    let turn = |workers: &mut Vec<(Worker, _, MemoryIo, MemoryWire)>| {
        for _ in 0..2 {
            for (worker, _, io, _) in workers.iter_mut() {
                worker.turn(io, Time(1));
            }
        }
    };
    turn(&mut workers);
    assert!(workers[0].1.poll_event().is_none());
    let Some(Event::Request { worker: 1, flow, client_isn, generation, .. }) =
        workers[1].1.poll_event()
    else {
        panic!("the owner announces the session")
    };
    let install = Command::Install {
        flow,
        client_isn,
        generation,
        keys: keys(1),
        synced: true,
        release_syn: true,
    };
    assert!(workers[1].1.send(install).is_ok());
    turn(&mut workers);
    assert_eq!(workers[1].3.drain(PortSide::Plain).len(), 1);
    workers[0].3.push(PortSide::Plain, &pair.syn_ack(CLIENT_ISN, SERVER_ISN).build());
    turn(&mut workers);
    workers[0].3.push(PortSide::Plain, &pair.server_data(0, 0, CANARY).build());
    turn(&mut workers);
    let sent = workers[1].3.drain(PortSide::Cipher);
    assert_eq!(sent.len(), 2);
    assert!(!contains(&sent[1], CANARY));
    // Who knows what is under way is the owner, wherever an error about it comes in (M7.21).
    let header = [3, 4, 0, 0, 0, 0, 5, 0x78];
    let router = "192.0.2.1:1".parse().unwrap();
    workers[0].3.push(PortSide::Cipher, &icmp(router, pair.server, header, &sent[1]));
    turn(&mut workers);
    assert_eq!(workers[1].3.drain(PortSide::Plain).len(), 1);
    let counts = [0, 1].map(|n: usize| workers[n].0.counters().snapshot().tallies.mtu_lowered);
    assert_eq!(counts, [0, 1]);
    assert!(workers.iter().all(|(_, _, io, _)| io.accounting().in_hand() == 0));
}

fn spawned(poll: PollMode) -> (Vec<WorkerHandle>, Vec<MemoryWire>, Waiter) {
    let config = config(Role::Gateway, Policy::Require);
    let control = Waiter::new().unwrap();
    let (specs, wires) = (0..2)
        .map(|_| {
            let (io, wire) = MemoryIo::new(FRAMES).unwrap();
            let waiter = Waiter::new().unwrap();
            let config = config.clone();
            (WorkerSpec { config, io, waiter, core: None, poll, ring: 64 }, wire)
        })
        .unzip();
    let handles = spawn(specs, Clock::start(), Some(control.doorbell())).unwrap();
    (handles, wires, control)
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "not within 10 s: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn threads_take_frames_exchange_them_and_stop() {
    for poll in [PollMode::Busy, PollMode::Adaptive] {
        let (handles, wires, mut control) = spawned(poll);
        let mut pair = Pair::new();
        pair.client.set_port(port_of(1));
        let syn = pair.seal_up(&pair.syn(CLIENT_ISN)).remove(0);
        wires[0].push(PortSide::Cipher, &syn.bytes);
        let wait = Duration::from_secs(10);
        until("the owner's event", || {
            control.wait(wait, || handles[1].has_events());
            handles[1].has_events()
        });
        let Some(Event::Request { flow, client_isn, generation, .. }) = handles[1].poll_event()
        else {
            panic!("request expected")
        };
        let cause = CloseCause::Operator;
        let abort = Command::Abort { flow, client_isn, generation, cause };
        assert!(handles[1].send(abort).is_ok());
        until("the end of the session", || handles[1].has_events());
        assert!(matches!(handles[1].poll_event(), Some(Event::Closed { .. })));
        until("time is accounted for", || {
            let tallies = handles[1].counters().snapshot().tallies;
            tallies.busy_ns > 0 && tallies.idle_ns > 0
        });
        for handle in handles {
            assert!(handle.is_alive());
            assert_eq!(handle.counters().snapshot().balance(), 0);
            assert!(handle.join(), "a worker panicked");
        }
    }
}

#[test]
fn a_core_that_is_not_there_is_an_error() {
    let (io, _wire) = MemoryIo::new(FRAMES).unwrap();
    let spec = WorkerSpec {
        config: config(Role::Client, Policy::Require),
        io,
        waiter: Waiter::new().unwrap(),
        core: Some(4096),
        poll: PollMode::Busy,
        ring: 8,
    };
    let result = spawn(vec![spec], Clock::start(), None);
    assert!(matches!(result, Err(SpawnError::Core { worker: 0, core: 4096 })));
}

#[test]
fn directions_follow_from_role_and_side() {
    for (role, side, direction) in [
        (Role::Gateway, PortSide::Cipher, Direction::ClientToServer),
        (Role::Gateway, PortSide::Plain, Direction::ServerToClient),
        (Role::Client, PortSide::Plain, Direction::ClientToServer),
        (Role::Client, PortSide::Cipher, Direction::ServerToClient),
    ] {
        assert_eq!(role.direction(side), direction);
    }
}
