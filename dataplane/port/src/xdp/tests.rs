//! The XDP program, one rule at a time, by BPF_PROG_TEST_RUN: no device is needed, root is.

mod frames;
mod hidden;
mod icmp;

use std::os::fd::OwnedFd;

use aya::maps::XskMap;
use aya::programs::{TestRun, TestRunOptions};
use rustix::net::sockopt::set_xdp_rx_ring_size;
use rustix::net::{AddressFamily, SocketType, socket};

use super::*;
use crate::service::{PortSet, ServiceEntry};
use frames::*;

const XDP_DROP: u32 = 1;
const XDP_REDIRECT: u32 = 4;
const LOOPBACK: u32 = 1;

/// The program of one port with an unbound socket in its map.
struct Bench {
    filter: Filter,
    services: ServiceMaps,
    sockets: XskMap<MapData>,
    socket: OwnedFd,
    policy: FilterPolicy,
}

impl Bench {
    /// The port of `side` at a gateway: servers are behind the plain port.
    fn new(side: PortSide) -> Self {
        let mut bench = Self::unconfigured(side);
        bench.services.update(&protected()).unwrap();
        bench.filter.set_peer(LOOPBACK).unwrap();
        bench.set_policy(FilterPolicy::default());
        bench.bind(true);
        bench
    }

    fn unconfigured(side: PortSide) -> Self {
        let mut filter = Filter::load(side, PortSide::Plain, None).unwrap();
        let services = ServiceMaps::take(&mut filter.object).unwrap();
        let sockets = take_map(&mut filter.object, "xsks_map").unwrap();
        let socket = socket(AddressFamily::XDP, SocketType::RAW, None).unwrap();
        set_xdp_rx_ring_size(&socket, 64).unwrap();
        Self { filter, services, sockets, socket, policy: FilterPolicy::default() }
    }

    fn set_policy(&mut self, policy: FilterPolicy) {
        self.policy = policy;
        self.filter.set_policy(&policy).unwrap();
    }

    /// From now on the same maps see what comes in by the other port.
    fn be(&mut self, side: PortSide) {
        self.filter.protected_is_destination = side != PortSide::Plain;
        self.filter.plain = side == PortSide::Plain;
        self.set_policy(self.policy);
    }

    fn bind(&mut self, bound: bool) {
        use std::os::fd::AsRawFd;
        if bound {
            self.sockets.set(0, self.socket.as_raw_fd(), 0).unwrap();
        } else {
            self.sockets.unset(0).unwrap();
        }
    }

    /// Runs the program on a frame; the one counter that moved, which must fit the verdict.
    fn run(&mut self, frame: &[u8]) -> XdpCounter {
        let before = self.filter.counters().unwrap();
        let options = TestRunOptions { data_in: Some(frame), ..TestRunOptions::new() };
        let result = self.filter.program().unwrap().test_run(options).unwrap();
        let after = self.filter.counters().unwrap();
        let mut moved = after.iter().filter(|&(c, n)| n != before.get(c));
        let (counter, count) = moved.next().expect("nothing was counted");
        assert_eq!(count, before.get(counter) + 1);
        assert!(moved.next().is_none(), "counted twice");
        let verdict = if counter.is_drop() { XDP_DROP } else { XDP_REDIRECT };
        assert_eq!(result.return_value, verdict, "{counter:?}");
        counter
    }
}

/// 10.0.2.10 and fd00::10, TCP ports 80 and 8000 to 8100.
fn protected() -> Vec<ServiceEntry> {
    [("10.0.2.10", 32), ("fd00::10", 128)]
        .map(|(prefix, prefix_len)| ServiceEntry {
            prefix: prefix.parse().unwrap(),
            prefix_len,
            ports: PortSet::from_ranges([(80, 80), (8000, 8100)]),
        })
        .to_vec()
}

/// Skips visibly without root, which CI counts as failure.
fn privileged(test: &str) -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    println!("SKIPPED (needs root): {test}");
    assert!(std::env::var_os("CI").is_none(), "{test} needs root, which CI must give");
    false
}

#[test]
fn protected_tcp_goes_to_user_space_and_other_ports_to_the_peer() {
    if !privileged("protected_tcp_goes_to_user_space_and_other_ports_to_the_peer") {
        return;
    }
    for ip in [Ip::V4, Ip::V6] {
        let mut cipher = Bench::new(PortSide::Cipher);
        let mut plain = Bench::new(PortSide::Plain);
        for (port, expected) in [
            (80, XdpCounter::ToUser),
            (8000, XdpCounter::ToUser),
            (8063, XdpCounter::ToUser),
            (8064, XdpCounter::ToUser),
            (8100, XdpCounter::ToUser),
            (79, XdpCounter::ToPeer),
            (81, XdpCounter::ToPeer),
            (7999, XdpCounter::ToPeer),
            (8101, XdpCounter::ToPeer),
            (0, XdpCounter::ToPeer),
            (65535, XdpCounter::ToPeer),
        ] {
            assert_eq!(cipher.run(&to_server(ip).tcp(40000, port)), expected, "{ip:?} {port}");
            assert_eq!(plain.run(&to_client(ip).tcp(port, 40000)), expected, "{ip:?} {port}");
        }
        assert_eq!(cipher.run(&foreign(ip).tcp(40000, 80)), XdpCounter::ToPeer);
        assert_eq!(plain.run(&foreign(ip).tcp(80, 40000)), XdpCounter::ToPeer);
    }
}

#[test]
fn arp_and_other_ethertypes_go_to_the_peer() {
    if !privileged("arp_and_other_ethertypes_go_to_the_peer") {
        return;
    }
    let mut bench = Bench::new(PortSide::Cipher);
    for ethertype in [0x0806, 0x88cc, 0x8847, 0x0000, 0x002e, 0xffff] {
        assert_eq!(bench.run(&raw(ethertype, &[0; 46])), XdpCounter::ToPeer, "{ethertype:04x}");
        assert_eq!(bench.run(&raw(ethertype, &[])), XdpCounter::ToPeer, "{ethertype:04x}");
    }
}

#[test]
fn a_segment_of_a_protected_service_from_its_clients_side_is_dropped() {
    if !privileged("a_segment_of_a_protected_service_from_its_clients_side_is_dropped") {
        return;
    }
    for ip in [Ip::V4, Ip::V6] {
        let mut cipher = Bench::new(PortSide::Cipher);
        assert_eq!(cipher.run(&to_client(ip).tcp(80, 40000)), XdpCounter::WrongSide);
        assert_eq!(cipher.run(&to_client(ip).tcp(81, 40000)), XdpCounter::ToPeer);
        let mut plain = Bench::new(PortSide::Plain);
        assert_eq!(plain.run(&to_server(ip).tcp(40000, 80)), XdpCounter::WrongSide);
        // Both ends protected: the one in its place decides.
        let mut both = to_server(ip);
        both.source = both.destination;
        assert_eq!(cipher.run(&both.tcp(80, 8000)), XdpCounter::ToUser);
    }
}

#[test]
fn up_to_two_tags_are_looked_through_and_a_third_is_dropped() {
    if !privileged("up_to_two_tags_are_looked_through_and_a_third_is_dropped") {
        return;
    }
    let mut bench = Bench::new(PortSide::Cipher);
    for ip in [Ip::V4, Ip::V6] {
        for tag in [0x8100, 0x88a8, 0x9100, 0x9200] {
            for (depth, expected, foreign_expected) in [
                (0, XdpCounter::ToUser, XdpCounter::ToPeer),
                (1, XdpCounter::ToUser, XdpCounter::ToPeer),
                (2, XdpCounter::ToUser, XdpCounter::ToPeer),
                (3, XdpCounter::VlanDepth, XdpCounter::VlanDepth),
                (4, XdpCounter::VlanDepth, XdpCounter::VlanDepth),
            ] {
                let tags = vec![tag; depth];
                let tagged = to_server(ip).tagged(&tags);
                assert_eq!(bench.run(&tagged.tcp(40000, 80)), expected, "{tag:04x} × {depth}");
                let tagged = foreign(ip).tagged(&tags);
                assert_eq!(bench.run(&tagged.tcp(40000, 80)), foreign_expected);
            }
        }
    }
}

#[test]
fn fragments_of_protected_addresses_are_dropped_whatever_they_carry() {
    if !privileged("fragments_of_protected_addresses_are_dropped_whatever_they_carry") {
        return;
    }
    for ip in [Ip::V4, Ip::V6] {
        for (side, protected) in
            [(PortSide::Cipher, to_server(ip)), (PortSide::Plain, to_client(ip))]
        {
            let mut bench = Bench::new(side);
            // (offset in 8 bytes, more fragments): first, middle, last.
            for fragment in [(0, true), (5, true), (5, false)] {
                let cut = protected.clone().fragment(fragment);
                assert_eq!(bench.run(&cut.tcp(80, 80)), XdpCounter::Fragment, "{fragment:?}");
                assert_eq!(bench.run(&cut.udp(53, 53)), XdpCounter::Fragment);
                assert_eq!(bench.run(&cut.other(50)), XdpCounter::Fragment);
                let tagged = cut.tagged(&[0x8100, 0x8100]);
                assert_eq!(bench.run(&tagged.tcp(80, 80)), XdpCounter::Fragment);
                let foreign = foreign(ip).fragment(fragment);
                assert_eq!(bench.run(&foreign.tcp(80, 80)), XdpCounter::ToPeer);
            }
        }
    }
    // "Do not fragment" is no fragment; an IPv6 fragment header on a whole packet is one.
    let mut bench = Bench::new(PortSide::Cipher);
    let mut whole = to_server(Ip::V4);
    whole.flags = 0x4000;
    assert_eq!(bench.run(&whole.tcp(40000, 80)), XdpCounter::ToUser);
    let atomic = to_server(Ip::V6).fragment((0, false));
    assert_eq!(bench.run(&atomic.tcp(40000, 80)), XdpCounter::Fragment);
}

#[test]
fn extension_headers_are_walked_within_bounds() {
    if !privileged("extension_headers_are_walked_within_bounds") {
        return;
    }
    let mut bench = Bench::new(PortSide::Cipher);
    let walked = |list: &[(u8, usize)]| to_server(Ip::V6).extensions(list);
    for list in [
        &[(0, 8)][..],
        &[(60, 8)],
        &[(60, 2048)],
        &[(0, 16), (60, 24), (43, 8)],
        &[(60, 8), (60, 8), (60, 8), (60, 8), (60, 8), (60, 8)],
    ] {
        assert_eq!(bench.run(&walked(list).tcp(40000, 80)), XdpCounter::ToUser, "{list:?}");
        assert_eq!(bench.run(&walked(list).tcp(40000, 81)), XdpCounter::ToPeer, "{list:?}");
        assert_eq!(bench.run(&walked(list).udp(1088, 1088)), XdpCounter::KeyDelivery);
        assert_eq!(bench.run(&walked(list).udp(5, 5)), XdpCounter::OtherPassed, "{list:?}");
    }
    for list in [
        &[(60, 8), (60, 8), (60, 8), (60, 8), (60, 8), (60, 8), (60, 8)][..],
        &[(51, 16)],
        &[(135, 8)],
        &[(139, 8)],
        &[(140, 8)],
        &[(0, 8), (51, 16)],
    ] {
        let verdict = bench.run(&walked(list).tcp(40000, 80));
        assert_eq!(verdict, XdpCounter::ExtensionHeader, "{list:?}");
        let foreign = foreign(Ip::V6).extensions(list);
        assert_eq!(bench.run(&foreign.tcp(40000, 80)), XdpCounter::ToPeer, "{list:?}");
    }
    // A fragment header behind another header; segments left in a routing header.
    assert_eq!(bench.run(&walked(&[(60, 8), (44, 8)]).tcp(1, 80)), XdpCounter::Fragment);
    let mut routed = walked(&[(43, 8)]).tcp(40000, 80);
    routed[14 + 40 + 3] = 1;
    assert_eq!(bench.run(&routed), XdpCounter::ExtensionHeader);
}

#[test]
fn ipv4_options_are_stepped_over() {
    if !privileged("ipv4_options_are_stepped_over") {
        return;
    }
    let mut bench = Bench::new(PortSide::Cipher);
    for words in 0..=10 {
        let mut packet = to_server(Ip::V4);
        packet.option_words = words;
        assert_eq!(bench.run(&packet.tcp(40000, 80)), XdpCounter::ToUser, "{words}");
        assert_eq!(bench.run(&packet.tcp(40000, 81)), XdpCounter::ToPeer, "{words}");
    }
}

#[test]
fn frames_cut_at_every_length_are_dropped() {
    if !privileged("frames_cut_at_every_length_are_dropped") {
        return;
    }
    for ip in [Ip::V4, Ip::V6] {
        for (side, packet, ports) in [
            (PortSide::Cipher, to_server(ip), (40000, 80)),
            (PortSide::Plain, to_client(ip), (80, 40000)),
        ] {
            let mut bench = Bench::new(side);
            for tags in [&[][..], &[0x8100], &[0x88a8, 0x8100]] {
                let packet = packet.clone().tagged(tags);
                let whole = packet.tcp(ports.0, ports.1);
                for len in 14..whole.len() {
                    let verdict = bench.run(&whole[..len]);
                    assert_eq!(verdict, XdpCounter::Truncated, "{ip:?} {tags:?} {len}");
                }
                assert_eq!(bench.run(&whole), XdpCounter::ToUser);
                let whole = packet.udp(1088, 1088);
                for len in 14..whole.len() {
                    assert_eq!(bench.run(&whole[..len]), XdpCounter::Truncated, "{len}");
                }
                // Padding behind the packet is nobody's.
                let padded = [whole, vec![0; 60]].concat();
                assert_eq!(bench.run(&padded), XdpCounter::KeyDelivery);
            }
            let whole = foreign(ip).tcp(1, 80);
            let addresses_end = 14 + if ip == Ip::V4 { 20 } else { 40 };
            for len in 14..whole.len() {
                let expected =
                    if len < addresses_end { XdpCounter::Truncated } else { XdpCounter::ToPeer };
                assert_eq!(bench.run(&whole[..len]), expected, "{len}");
            }
        }
    }
}

#[test]
fn lengths_that_lie_are_dropped() {
    if !privileged("lengths_that_lie_are_dropped") {
        return;
    }
    let mut bench = Bench::new(PortSide::Cipher);
    let whole = to_server(Ip::V4).tcp(40000, 80);
    let ip_len = (whole.len() - 14) as u16;
    for lie in (0..40).chain([ip_len + 1, 65535]) {
        let mut frame = whole.clone();
        frame[16..18].copy_from_slice(&lie.to_be_bytes());
        assert_eq!(bench.run(&frame), XdpCounter::Truncated, "{lie}");
    }
    for first in [0x00, 0x44, 0x55, 0x65, 0xf5] {
        let mut frame = whole.clone();
        frame[14] = first;
        assert_eq!(bench.run(&frame), XdpCounter::BadHeader, "{first:02x}");
    }
    let whole = to_server(Ip::V6).tcp(40000, 80);
    for lie in (0..20).chain([whole.len() as u16 - 54 + 1, 65535]) {
        let mut frame = whole.clone();
        frame[18..20].copy_from_slice(&lie.to_be_bytes());
        assert_eq!(bench.run(&frame), XdpCounter::Truncated, "{lie}");
    }
    let mut frame = whole;
    frame[14] = 0x45;
    assert_eq!(bench.run(&frame), XdpCounter::BadHeader);
}

#[test]
fn other_protocols_follow_the_policy_and_key_delivery_does_not() {
    if !privileged("other_protocols_follow_the_policy_and_key_delivery_does_not") {
        return;
    }
    for ip in [Ip::V4, Ip::V6] {
        for (other, expected) in [
            (OtherTraffic::Pass, XdpCounter::OtherPassed),
            (OtherTraffic::Drop, XdpCounter::OtherDropped),
        ] {
            for (side, packet) in [
                (PortSide::Cipher, to_server(ip)),
                (PortSide::Cipher, to_client(ip)),
                (PortSide::Plain, to_client(ip)),
                (PortSide::Plain, to_server(ip)),
            ] {
                let mut bench = Bench::new(side);
                bench.set_policy(FilterPolicy { other, ..FilterPolicy::default() });
                assert_eq!(bench.run(&packet.udp(40000, 80)), expected);
                for protocol in [1, 4, 41, 47, 50, 59, 132, 136, 253, 255] {
                    assert_eq!(bench.run(&packet.other(protocol)), expected, "{protocol}");
                }
                assert_eq!(bench.run(&packet.udp(1088, 9)), XdpCounter::KeyDelivery);
                assert_eq!(bench.run(&packet.udp(9, 1088)), XdpCounter::KeyDelivery);
                bench.set_policy(FilterPolicy { key_delivery_port: 9, ..bench.policy });
                assert_eq!(bench.run(&packet.udp(1088, 10)), expected);
                assert_eq!(bench.run(&packet.udp(9, 10)), XdpCounter::KeyDelivery);
                assert_eq!(bench.run(&foreign(ip).udp(9, 9)), XdpCounter::ToPeer);
            }
        }
    }
}

#[test]
fn neighbour_discovery_passes_even_where_others_are_dropped() {
    if !privileged("neighbour_discovery_passes_even_where_others_are_dropped") {
        return;
    }
    let mut bench = Bench::new(PortSide::Cipher);
    bench.set_policy(FilterPolicy { other: OtherTraffic::Drop, ..FilterPolicy::default() });
    for (kind, expected) in [
        (132, XdpCounter::OtherDropped),
        (133, XdpCounter::OtherPassed),
        (135, XdpCounter::OtherPassed),
        (136, XdpCounter::OtherPassed),
        (138, XdpCounter::OtherDropped),
        (128, XdpCounter::OtherDropped),
    ] {
        assert_eq!(bench.run(&to_server(Ip::V6).icmp(kind, 0, &[])), expected, "{kind}");
    }
}

#[test]
fn an_empty_service_map_drops_ip_and_an_unconfigured_program_everything() {
    if !privileged("an_empty_service_map_drops_ip_and_an_unconfigured_program_everything") {
        return;
    }
    let mut bench = Bench::unconfigured(PortSide::Cipher);
    assert_eq!(bench.run(&raw(0x0806, &[0; 46])), XdpCounter::NoSettings);
    assert_eq!(bench.run(&foreign(Ip::V4).tcp(1, 2)), XdpCounter::NoSettings);

    bench.set_policy(FilterPolicy::default());
    assert_eq!(bench.run(&raw(0x0806, &[0; 46])), XdpCounter::NoPeer);
    bench.filter.set_peer(LOOPBACK).unwrap();
    assert_eq!(bench.run(&raw(0x0806, &[0; 46])), XdpCounter::ToPeer);
    for ip in [Ip::V4, Ip::V6] {
        for tags in [&[][..], &[0x8100]] {
            for packet in [to_server(ip), foreign(ip)] {
                let packet = packet.tagged(tags);
                assert_eq!(bench.run(&packet.tcp(40000, 80)), XdpCounter::NoServices);
                assert_eq!(bench.run(&packet.udp(1, 1088)), XdpCounter::NoServices);
            }
        }
    }
    bench.services.update(&protected()).unwrap();
    assert_eq!(bench.run(&foreign(Ip::V4).tcp(40000, 80)), XdpCounter::ToPeer);
    bench.services.update(&[]).unwrap();
    assert_eq!(bench.run(&foreign(Ip::V4).tcp(40000, 80)), XdpCounter::NoServices);
}

#[test]
fn services_change_while_the_program_runs() {
    if !privileged("services_change_while_the_program_runs") {
        return;
    }
    let mut bench = Bench::new(PortSide::Cipher);
    let entry = |prefix: &str, prefix_len, ports: &[(u16, u16)]| ServiceEntry {
        prefix: prefix.parse().unwrap(),
        prefix_len,
        ports: PortSet::from_ranges(ports.iter().copied()),
    };
    let mut list = protected();
    assert_eq!(bench.services.update(&list).unwrap(), ServiceDiff::default());

    list[0].ports = PortSet::from_ranges([(22, 22)]);
    list.push(entry("10.0.2.0", 24, &[(7, 7)]));
    list.push(entry("10.9.0.0", 16, &[(0, 65535)]));
    let diff = bench.services.update(&list).unwrap();
    assert_eq!((diff.added, diff.changed, diff.removed), (2, 1, 0));
    let server = to_server(Ip::V4);
    assert_eq!(bench.run(&server.tcp(40000, 80)), XdpCounter::ToPeer);
    assert_eq!(bench.run(&server.tcp(40000, 22)), XdpCounter::ToUser);
    assert_eq!(bench.run(&server.tcp(40000, 7)), XdpCounter::ToUser, "the /24 around it");
    let mut near = to_server(Ip::V4);
    near.destination = "10.9.255.1".parse().unwrap();
    assert_eq!(bench.run(&near.tcp(40000, 65535)), XdpCounter::ToUser);
    assert_eq!(bench.run(&to_server(Ip::V6).tcp(40000, 80)), XdpCounter::ToUser);

    let diff = bench.services.update(&list[..1]).unwrap();
    assert_eq!((diff.added, diff.changed, diff.removed), (0, 1, 3));
    assert_eq!(bench.run(&near.tcp(40000, 65535)), XdpCounter::ToPeer);
    assert_eq!(bench.run(&server.tcp(40000, 7)), XdpCounter::ToPeer);

    // Many changes reuse the slots of port sets; an impossible list changes nothing.
    for n in 0..600 {
        list.truncate(1);
        list[0].ports = PortSet::from_ranges([(n, n)]);
        bench.services.update(&list).unwrap();
        assert_eq!(bench.run(&server.tcp(40000, n)), XdpCounter::ToUser);
        assert_eq!(bench.run(&server.tcp(40000, n + 1)), XdpCounter::ToPeer);
    }
    let many: Vec<_> = (0..300_u16)
        .map(|n| entry(&format!("10.1.{}.{}", n / 256, n % 256), 32, &[(n, n)]))
        .collect();
    assert!(bench.services.update(&many).is_err());
    assert_eq!(bench.run(&server.tcp(40000, 599)), XdpCounter::ToUser);
    bench.services.update(&many[..200]).unwrap();
}

#[test]
fn without_a_socket_protected_traffic_is_dropped() {
    if !privileged("without_a_socket_protected_traffic_is_dropped") {
        return;
    }
    for ip in [Ip::V4, Ip::V6] {
        let mut bench = Bench::new(PortSide::Cipher);
        bench.bind(false);
        assert_eq!(bench.run(&to_server(ip).tcp(40000, 80)), XdpCounter::NoSocket);
        assert_eq!(bench.run(&to_server(ip).udp(1088, 1088)), XdpCounter::NoSocket);
        assert_eq!(bench.run(&to_server(ip).tcp(40000, 81)), XdpCounter::ToPeer);
        assert_eq!(bench.run(&foreign(ip).tcp(40000, 80)), XdpCounter::ToPeer);
        bench.bind(true);
        assert_eq!(bench.run(&to_server(ip).tcp(40000, 80)), XdpCounter::ToUser);
    }
}

#[test]
fn fail_open_passes_new_connections_only() {
    if !privileged("fail_open_passes_new_connections_only") {
        return;
    }
    let open = FilterPolicy { fail: FailMode::Open, ..FilterPolicy::default() };
    let request = [253, 13, 0x5e, 0x50, 0x10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1, 1];
    let tag = [2, 4, 5, 180, 253, 16, 0x5e, 0x51, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
    let foreign_option = [253, 4, 0x12, 0x34, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 1];
    for ip in [Ip::V4, Ip::V6] {
        let mut bench = Bench::new(PortSide::Cipher);
        bench.set_policy(open);
        let server = to_server(ip);
        assert_eq!(bench.run(&server.tcp_with(1000, 80, ACK, &[])), XdpCounter::ToUser);
        bench.bind(false);
        let live = bench.run(&server.tcp_with(1000, 80, ACK, &[]));
        assert_eq!(live, XdpCounter::NoSocket, "began before");
        let asked = bench.run(&server.tcp_with(1001, 80, SYN, &request));
        assert_eq!(asked, XdpCounter::NoSocket, "asks for cipher");
        assert_eq!(bench.run(&server.tcp_with(1001, 80, ACK, &[])), XdpCounter::NoSocket);
        let new = bench.run(&server.tcp_with(1002, 80, SYN, &foreign_option));
        assert_eq!(new, XdpCounter::FailedOpen);
        let unanswered = bench.run(&server.tcp_with(1002, 80, ACK, &[]));
        assert_eq!(unanswered, XdpCounter::NoSocket, "the server has not agreed");
        let client = to_client(ip);
        bench.be(PortSide::Plain);
        // The SYN of 1002 may be forged, on a live ciphered connection: its server sends data and
        // ACKs, in clear, but no SYN-ACK. A RST refuses, and carries nothing.
        assert_eq!(bench.run(&client.tcp_with(80, 1002, ACK, &[])), XdpCounter::NoSocket);
        assert_eq!(bench.run(&client.tcp_with(80, 1002, RST | ACK, &[])), XdpCounter::NoSocket);
        assert_eq!(bench.run(&client.tcp_with(80, 1003, SYN | ACK, &[])), XdpCounter::NoSocket);
        let refused = bench.run(&client.bare_tcp(80, 1002, RST | ACK));
        assert_eq!(refused, XdpCounter::FailedOpen);
        let answer = bench.run(&client.tcp_with(80, 1002, SYN | ACK, &[]));
        assert_eq!(answer, XdpCounter::FailedOpen);
        assert_eq!(bench.run(&client.tcp_with(80, 1002, ACK, &[])), XdpCounter::FailedOpen);
        bench.be(PortSide::Cipher);
        let again = bench.run(&server.tcp_with(1002, 80, SYN, &[]));
        assert_eq!(again, XdpCounter::FailedOpen, "and a SYN changes nothing more");
        assert_eq!(bench.run(&server.tcp_with(1002, 80, ACK, &[])), XdpCounter::FailedOpen);
        assert_eq!(bench.run(&server.tcp_with(1002, 80, ACK, &tag)), XdpCounter::NoSocket);
        assert_eq!(bench.run(&server.udp(1088, 1088)), XdpCounter::NoSocket);
        bench.bind(true);
        assert_eq!(bench.run(&server.tcp_with(1002, 80, ACK, &[])), XdpCounter::ToUser);
    }
}

#[test]
fn no_mangled_frame_of_a_protected_service_reaches_the_peer() {
    if !privileged("no_mangled_frame_of_a_protected_service_reaches_the_peer") {
        return;
    }
    // Bytes whose change makes it another host's, another port's or another protocol's frame.
    let decisive4 = |n: usize| n < 15 || n == 23 || (26..38).contains(&n);
    let decisive6 = |n: usize| n < 14 || n == 20 || (22..58).contains(&n);
    let mut random = random_below(0x5EED);
    for (ip, decisive) in [(Ip::V4, &decisive4 as &dyn Fn(usize) -> bool), (Ip::V6, &decisive6)] {
        let mut bench = Bench::new(PortSide::Cipher);
        let whole = to_server(ip).tcp_with(40000, 80, ACK, &[1; 12]);
        safe_when_mangled(&mut bench, &whole, decisive, &mut random, XdpCounter::ToUser);
    }
}

/// Numbers below a bound, the same ones for the same seed.
fn random_below(mut state: u64) -> impl FnMut(usize) -> usize {
    move |below| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % below
    }
}

/// 4000 times: changes some bytes of `whole` that are not decisive, cuts it, and has it dropped or
/// counted as `allowed`.
fn safe_when_mangled(
    bench: &mut Bench,
    whole: &[u8],
    decisive: &dyn Fn(usize) -> bool,
    random: &mut dyn FnMut(usize) -> usize,
    allowed: XdpCounter,
) {
    for round in 0..4000 {
        let mut frame = whole.to_vec();
        for _ in 0..=random(4) {
            let at = random(frame.len());
            if !decisive(at) {
                frame[at] = random(256) as u8;
            }
        }
        frame.truncate(14 + random(whole.len() - 13));
        let verdict = bench.run(&frame);
        let safe = verdict == allowed || verdict.is_drop();
        assert!(safe, "round {round}: {verdict:?} {frame:02x?}");
    }
}
