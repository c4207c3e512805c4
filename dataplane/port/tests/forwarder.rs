//! AF_XDP end to end on veth: a forwarder that changes nothing stands where the gateway's workers
//! will. Needs root. The topology is drawn at `lab::Lab`.
#![allow(clippy::unwrap_used, reason = "tests, and their helpers")]

mod forward;
mod lab;

use std::net::{IpAddr, UdpSocket};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use forward::*;
use lab::{Lab, privileged, until};
use sekisho_port::{
    AfXdpIo, Frame, FrameAccounting, ModeChoice, PacketIo, PortPair, PortSide, XdpCounter, XdpMode,
};

#[test]
fn tcp_crosses_two_queues_and_every_frame_comes_back() {
    if !privileged("tcp_crosses_two_queues_and_every_frame_comes_back") {
        return;
    }
    let lab = Lab::new(2);
    let (workers, control) = open(&lab, 2);
    let before: Vec<FrameAccounting> = workers.iter().map(PacketIo::accounting).collect();
    for side in PortSide::BOTH {
        assert_eq!(control.report(side).mode, XdpMode::Native);
        assert!(!control.report(side).taken_over);
    }
    let forwarder = Forwarder::start(workers);
    echo_server(&lab, PROTECTED);

    std::thread::scope(|scope| {
        for n in 0..16 {
            let (lab, address) = (&lab, if n % 2 == 0 { SERVER4 } else { SERVER6 });
            scope.spawn(move || exchange(lab, address, PROTECTED, 1 << 20).unwrap());
        }
    });

    let mut workers = forwarder.stop();
    until("frames come back", Duration::from_secs(5), || settled(&mut workers));
    let after: Vec<FrameAccounting> = workers.iter().map(PacketIo::accounting).collect();
    assert_eq!(before, after);
    for io in &workers {
        for side in PortSide::BOTH {
            let counters = io.counters(side);
            assert!(counters.rx_frames > 100, "an idle queue: {counters:?}");
            assert_eq!((counters.tx_dropped, counters.rx_misplaced), (0, 0));
        }
    }
    for side in PortSide::BOTH {
        assert_eq!(control.socket_statistics(side).invalid_descriptors, 0);
        assert_eq!(counter(&control, side, XdpCounter::NoSocket), 0);
    }
    drop(workers);
    control.detach().unwrap();
    assert!(lab.pins.names().is_empty(), "pins left: {:?}", lab.pins.names());
}

#[test]
fn skb_mode_carries_tcp_too() {
    if !privileged("skb_mode_carries_tcp_too") {
        return;
    }
    let lab = Lab::new(1);
    let mut config = config(&lab, 1);
    config.mode = ModeChoice::Skb;
    let (workers, control) = lab.gateway.run(|| PortPair::open(&config)).unwrap();
    assert_eq!(control.report(PortSide::Plain).mode, XdpMode::Skb);
    let forwarder = Forwarder::start(workers);
    echo_server(&lab, PROTECTED);
    exchange(&lab, SERVER4, PROTECTED, 1 << 20).unwrap();
    exchange(&lab, SERVER6, PROTECTED, 1 << 20).unwrap();
    let mut workers = forwarder.stop();
    until("frames come back", Duration::from_secs(5), || settled(&mut workers));
    drop(workers);
    control.detach().unwrap();
}

/// Frames received by one worker leave by the other, which gives a free frame back for each: what
/// the exchange between workers does.
#[test]
fn frames_may_leave_by_the_other_worker_in_exchange_for_free_ones() {
    if !privileged("frames_may_leave_by_the_other_worker_in_exchange_for_free_ones") {
        return;
    }
    let lab = Lab::new(2);
    let (workers, control) = open(&lab, 2);
    let before: Vec<_> = workers.iter().map(PacketIo::accounting).collect();
    let (stop_sender, stop) = mpsc::channel::<()>();
    let forwarder = std::thread::spawn(move || {
        let mut workers = workers;
        let mut burst = Vec::with_capacity(64);
        let mut crossed = 0_u64;
        while stop.try_recv().is_err() {
            for from in 0..2 {
                for side in PortSide::BOTH {
                    workers[from].receive(side, &mut burst, 64);
                    for frame in burst.drain(..) {
                        crossed += u64::from(swap(&mut workers, from, side.other(), frame));
                    }
                }
            }
            workers.iter_mut().for_each(PacketIo::flush);
            std::thread::yield_now();
        }
        (workers, crossed)
    });
    echo_server(&lab, PROTECTED);
    std::thread::scope(|scope| {
        for n in 0..8 {
            let (lab, address) = (&lab, if n % 2 == 0 { SERVER4 } else { SERVER6 });
            scope.spawn(move || exchange(lab, address, PROTECTED, 1 << 19).unwrap());
        }
    });
    stop_sender.send(()).unwrap();
    let (mut workers, crossed) = forwarder.join().unwrap();
    assert!(crossed > 2000, "only {crossed} frames crossed");
    until("frames come back", Duration::from_secs(5), || settled(&mut workers));
    let after: Vec<_> = workers.iter().map(PacketIo::accounting).collect();
    assert_eq!(before, after);
    drop(workers);
    control.detach().unwrap();
}

fn swap(workers: &mut [AfXdpIo], from: usize, out: PortSide, frame: Frame) -> bool {
    let other = 1 - from;
    match workers[other].alloc() {
        Some(free) => {
            workers[from].free(free);
            workers[other].transmit(out, frame);
            true
        }
        None => {
            workers[from].transmit(out, frame);
            false
        }
    }
}

/// More datagrams at once than the kernel's wake-up budget of 32: none may stay in a ring.
#[test]
fn a_burst_of_key_delivery_datagrams_leaves_no_frame_in_a_ring() {
    if !privileged("a_burst_of_key_delivery_datagrams_leaves_no_frame_in_a_ring") {
        return;
    }
    const BURST: usize = 200;
    let lab = Lab::new(1);
    let (mut workers, control) = open(&lab, 1);
    for address in [SERVER4, SERVER6] {
        let address: IpAddr = address.parse().unwrap();
        let receiver = lab.server.run(|| UdpSocket::bind((address, KEY_DELIVERY)).unwrap());
        receiver.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let any: IpAddr = if address.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
        let sender = lab.client.run(|| UdpSocket::bind((any, 0)).unwrap());
        sender.connect((address, KEY_DELIVERY)).unwrap();
        // The neighbour is found by ARP or ND, which pass in the kernel.
        assert!(ping(&lab, &address.to_string()));
        for n in 0..BURST {
            sender.send(&[n as u8; 100]).unwrap();
        }
        // All of them wait in the receive ring now: one turn takes and sends them at once.
        let io = &mut workers[0];
        let mut burst = Vec::new();
        until("the burst arrives", Duration::from_secs(2), || {
            io.receive(PortSide::Cipher, &mut burst, 1024);
            burst.len() == BURST
        });
        burst.drain(..).for_each(|frame| io.transmit(PortSide::Plain, frame));
        io.flush();
        let mut buffer = [0; 200];
        for n in 0..BURST {
            assert_eq!(receiver.recv(&mut buffer).unwrap(), 100, "{n} of {BURST} arrived");
            assert_eq!(buffer[0], n as u8);
        }
        assert_eq!(io.backlog(), 0);
        until("frames come back", Duration::from_secs(5), || settled(&mut workers));
    }
    let seen = counter(&control, PortSide::Cipher, XdpCounter::KeyDelivery);
    assert_eq!(seen, 2 * BURST as u64);
    drop(workers);
    control.detach().unwrap();
}

/// Traffic that is not protected needs no worker at all.
#[test]
fn foreign_traffic_flows_in_the_kernel_while_no_worker_turns() {
    if !privileged("foreign_traffic_flows_in_the_kernel_while_no_worker_turns") {
        return;
    }
    let lab = Lab::new(2);
    let (workers, control) = open(&lab, 2);
    echo_server(&lab, UNPROTECTED);
    for address in [SERVER4, SERVER6] {
        assert!(ping(&lab, address), "{address}");
        exchange(&lab, address, UNPROTECTED, 1 << 20).unwrap();
    }
    assert!(counter(&control, PortSide::Cipher, XdpCounter::ToPeer) > 100);
    assert!(counter(&control, PortSide::Cipher, XdpCounter::OtherPassed) >= 6);
    assert_eq!(counter(&control, PortSide::Cipher, XdpCounter::ToUser), 0);
    assert_eq!(workers[0].counters(PortSide::Cipher).rx_frames, 0);
    drop(workers);
    control.detach().unwrap();
    // With nothing attached the kernel forwards nothing at all.
    assert!(!ping(&lab, SERVER4));
}

#[test]
fn without_sockets_protected_tcp_stops_and_the_rest_flows() {
    if !privileged("without_sockets_protected_tcp_stops_and_the_rest_flows") {
        return;
    }
    let lab = Lab::new(1);
    let (workers, control) = open(&lab, 1);
    let forwarder = Forwarder::start(workers);
    echo_server(&lab, PROTECTED);
    exchange(&lab, SERVER4, PROTECTED, 1000).unwrap();
    drop(forwarder.stop());

    let started = Instant::now();
    assert!(exchange(&lab, SERVER4, PROTECTED, 1000).is_err());
    assert!(started.elapsed() > Duration::from_secs(1), "refused instead of dropped");
    assert!(ping(&lab, SERVER4) && ping(&lab, SERVER6));

    // The control's duplicates keep the socket alive, so frames go to a ring nobody reads; with
    // control gone too the queue is empty and XDP itself drops.
    drop(control);
    assert_eq!(lab.pins.names(), ["cipher", "plain"]);
    assert!(exchange(&lab, SERVER4, PROTECTED, 1000).is_err());
    assert!(ping(&lab, SERVER4) && ping(&lab, SERVER6));

    // A successor takes the links over.
    let (workers, control) = open(&lab, 1);
    assert!(control.report(PortSide::Cipher).taken_over);
    assert!(control.report(PortSide::Plain).taken_over);
    let forwarder = Forwarder::start(workers);
    exchange(&lab, SERVER4, PROTECTED, 1000).unwrap();
    drop(forwarder.stop());
    control.detach().unwrap();
    assert!(lab.pins.names().is_empty());
}
