//! Frames that no honest host sends, at both ports of the gateway and of the agent: mangled ones, and the
//! canary in every wrapping that once slipped past a filter. Never a panic, a lost frame, or a clear byte.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use sekisho_tests::expect_that;
use sekisho_tests::lab::chain::{Chain, Node, on_chain, on_silent_chain};
use sekisho_tests::lab::config::{ECHO, Setup};
use sekisho_tests::lab::forge::{
    Flow, Segment, behind_extension, flag, fragments, mangled, tagged,
};
use sekisho_tests::lab::inject::Injector;
use sekisho_tests::lab::peers::{Server, dial, exchange};
use sekisho_tests::lab::process::{run, wait_until};
use sekisho_tests::lab::programs::canary_text;
use sekisho_tests::lab::topology::{Family, Host, TO_AGENT, TO_BOX, TO_GATEWAY};
use sekisho_tests::lab::{LabError, LabResult};

const SOON: Duration = Duration::from_secs(10);
/// Where the forged client end lives: no program uses this port.
const FORGED_PORT: u16 = 40_000;

/// A way into a box from outside.
struct Door {
    name: &'static str,
    node: Node,
    injector: Injector,
    /// Whether what enters here comes from the server's end.
    from_server: bool,
}

fn doors(chain: &Chain) -> LabResult<Vec<Door>> {
    let network = &chain.topology;
    let door = |name, node, namespace, interface, from_server| -> LabResult<Door> {
        Ok(Door { name, node, injector: Injector::open(namespace, interface)?, from_server })
    };
    Ok(vec![
        door("gateway, cipher side", Node::Gateway, &network.router, TO_GATEWAY, false)?,
        door("gateway, plain side", Node::Gateway, &network.lan, TO_BOX, true)?,
        door("agent, cipher side", Node::Agent, &network.router, TO_AGENT, true)?,
        door("agent, plain side", Node::Agent, &network.office, TO_BOX, false)?,
    ])
}

/// A flow through a door towards the far end, in the direction that belongs there.
fn flow(chain: &Chain, door: &Door, family: Family) -> LabResult<Flow> {
    let client = SocketAddr::new(Host::Client1.address(family), FORGED_PORT);
    let server = SocketAddr::new(Host::Server1.address(family), ECHO);
    let (src, dst) = if door.from_server { (server, client) } else { (client, server) };
    // The router's addresses are what hosts on either side would send to.
    let interface = if door.node == Node::Gateway { TO_GATEWAY } else { TO_AGENT };
    let router = Injector::open(&chain.topology.router, interface)?.mac();
    Ok(Flow { macs: (door.injector.mac(), router), src, dst })
}

/// An ordinary exchange still works, after everything.
fn still_works(chain: &Chain) -> LabResult {
    for family in Family::BOTH {
        let address = Host::Server1.address(family);
        let mut stream = dial(chain.host(Host::Client1), address, ECHO)?;
        exchange(&mut stream, canary_text(20_000).as_bytes())?;
    }
    Ok(())
}

fn settled(chain: &Chain, node: Node, frames: u64) -> LabResult {
    wait_until(&format!("{node:?} has all its frames back"), SOON, || {
        Ok(chain.frames_at_rest(node)? == frames)
    })
}

#[test]
fn truncated_and_mangled_frames_are_counted_and_nothing_is_lost() -> LabResult {
    on_chain("mangled", Setup::default(), |chain| {
        let _server = Server::echo(chain.host(Host::Server1), ECHO)?;
        still_works(chain)?;
        for node in [Node::Gateway, Node::Agent] {
            wait_until("sessions end", SOON, || Ok(chain.keys_held(node)? == 0))?;
        }
        let rest = [chain.frames_at_rest(Node::Gateway)?, chain.frames_at_rest(Node::Agent)?];
        for door in doors(chain)? {
            for family in Family::BOTH {
                let before = chain.all_drops(door.node)?;
                let header = if family == Family::V4 { 54 } else { 74 };
                let payload = vec![b'.'; 118 - header];
                let segment = Segment {
                    flags: flag::ACK | flag::PSH,
                    payload: &payload,
                    ..Segment::default()
                };
                let frames = mangled(&flow(chain, &door, family)?.segment(&segment));
                for frame in &frames {
                    door.injector.send(frame)?;
                }
                // A cut address or port is not a protected one: those frames pass the box by.
                wait_until(&format!("{}: mangled frames counted", door.name), SOON, || {
                    Ok(chain.all_drops(door.node)? >= before + frames.len() as u64 / 3)
                })?;
            }
        }
        settled(chain, Node::Gateway, rest[0])?;
        settled(chain, Node::Agent, rest[1])?;
        still_works(chain)
    })
}

#[test]
fn the_canary_never_crosses_in_any_wrapping() -> LabResult {
    // UDP crosses only where the policy says so: here it does not.
    let setup = Setup { other: "drop", ..Setup::default() };
    on_chain("wrappings", setup, |chain| {
        let _server = Server::echo(chain.host(Host::Server1), ECHO)?;
        still_works(chain)?;
        let payload = canary_text(600);
        for door in doors(chain)? {
            // From the cipher side nothing has to be hidden: the capture would see the test itself.
            if door.name.contains("cipher") {
                continue;
            }
            for family in Family::BOTH {
                let flow = flow(chain, &door, family)?;
                let before = chain.all_drops(door.node)?;
                let frames = wrappings(&flow, payload.as_bytes(), family);
                for (name, frame) in &frames {
                    println!("{}: {} {name}", door.name, family.label());
                    door.injector.send(frame)?;
                }
                wait_until(&format!("{}: all wrappings dropped", door.name), SOON, || {
                    Ok(chain.all_drops(door.node)? >= before + frames.len() as u64)
                })?;
            }
        }
        still_works(chain)
    })
}

/// The payload in everything that once slipped past a filter.
fn wrappings(flow: &Flow, payload: &[u8], family: Family) -> Vec<(&'static str, Vec<u8>)> {
    let segment =
        Segment { seq: 7, ack: 9, flags: flag::ACK | flag::PSH, payload, ..Segment::default() };
    let plain = flow.segment(&segment);
    let [first, second] = fragments(&plain, 64);
    let mut frames = vec![
        ("segment without session", plain.clone()),
        ("one VLAN tag", tagged(&plain, &[100])),
        ("two VLAN tags", tagged(&plain, &[100, 200])),
        ("three VLAN tags", tagged(&plain, &[100, 200, 300])),
        ("first fragment", first),
        ("second fragment", second.clone()),
        ("second fragment with a VLAN tag", tagged(&second, &[100])),
        ("UDP", flow.datagram(payload)),
        ("UDP with a VLAN tag", tagged(&flow.datagram(payload), &[100])),
    ];
    if family == Family::V6 {
        let extended = behind_extension(&plain);
        frames.push(("destination options with a VLAN tag", tagged(&extended, &[100])));
        frames.push(("destination options", extended));
    }
    frames
}

/// An address of the door's own side or of the stranger's net that no service has: a router's.
fn beside(host: Host, family: Family) -> SocketAddr {
    let mut address = host.address(family);
    match &mut address {
        IpAddr::V4(v4) => *v4 = Ipv4Addr::from_bits(v4.to_bits() | 0x80),
        IpAddr::V6(v6) => *v6 = Ipv6Addr::from_bits(v6.to_bits() | 0xF000),
    }
    SocketAddr::new(address, 0)
}

/// Errors (type, code), those that a worker judges first, then one that nobody can.
fn icmp_errors(family: Family) -> [(u8, u8); 6] {
    match family {
        Family::V4 => [(3, 4), (3, 3), (5, 1), (11, 0), (12, 0), (40, 0)],
        Family::V6 => [(2, 0), (1, 4), (3, 0), (4, 1), (100, 0), (137, 0)],
    }
}

/// ICMP errors through a door: from the host it is about, and between addresses that nothing
/// protects; with and without VLAN tags.
fn complaints(
    chain: &Chain,
    door: &Door,
    family: Family,
    payload: &[u8],
) -> LabResult<Vec<Vec<u8>>> {
    let own = flow(chain, door, family)?;
    let side = if door.from_server { Host::Server1 } else { Host::Client1 };
    let router = Flow { src: beside(side, family), ..own };
    let foreign = Flow { dst: beside(Host::Stranger, family), ..router };
    let segment =
        Segment { seq: 7, ack: 9, flags: flag::ACK | flag::PSH, payload, ..Segment::default() };
    let about = own.reversed().segment(&segment);
    let mut frames = Vec::new();
    for outer in [own, router, foreign] {
        for error in icmp_errors(family) {
            let frame = outer.icmp_error(error, &about);
            frames.extend([tagged(&frame, &[100]), tagged(&frame, &[100, 200]), frame]);
        }
    }
    Ok(frames)
}

#[test]
fn icmp_errors_quote_no_canary_to_the_network() -> LabResult {
    // Everything else of the protected addresses passes: the quotation alone is in the way.
    on_chain("icmp-quotes", Setup::default(), |chain| {
        let _server = Server::echo(chain.host(Host::Server1), ECHO)?;
        still_works(chain)?;
        let canary = canary_text(400);
        for door in doors(chain)? {
            let inside = door.name.contains("plain");
            // What the network quotes was sealed: no canary there.
            let payload = if inside { canary.clone().into_bytes() } else { vec![b'.'; 400] };
            for family in Family::BOTH {
                let frames = complaints(chain, &door, family, &payload)?;
                let count = |chain: &Chain| -> LabResult<u64> {
                    if inside {
                        Ok(chain.count(door.node, "events", "quotations_cut")?
                            + chain.drops(door.node, "icmp_quote")?)
                    } else {
                        let reasons = ["icmp_hard", "icmp_unrelated", "icmp_window"];
                        reasons.iter().map(|reason| chain.drops(door.node, reason)).sum()
                    }
                };
                let before = count(chain)?;
                for frame in &frames {
                    door.injector.send(frame)?;
                }
                // From the network's side none is about a segment under way.
                let expected = before + frames.len() as u64;
                let what = format!("{}: {} errors counted", door.name, family.label());
                wait_until(&what, SOON, || Ok(count(chain)? == expected))?;
            }
        }
        still_works(chain)
    })
}

#[test]
fn a_server_that_rejects_segments_does_not_tell_them_to_the_network() -> LabResult {
    on_chain("rejecting-server", Setup::default(), |chain| {
        let server = chain.host(Host::Server1);
        let _server = Server::echo(server, ECHO)?;
        for family in Family::BOTH {
            let mut stream = dial(chain.host(Host::Client1), Host::Server1.address(family), ECHO)?;
            exchange(&mut stream, b"before")?;
            // The kernel's own errors, which quote the segment with its payload.
            let rules = "table inet lab { chain in { type filter hook input priority 0; \
                         tcp dport 7 tcp flags & psh == psh reject with icmpx type admin-prohibited; }; }";
            run(server.command("nft").arg(rules), SOON)?;
            let before = chain.count(Node::Gateway, "events", "quotations_cut")?;
            let sent = stream.write_all(canary_text(500).as_bytes());
            sent.map_err(LabError::io("send what is rejected"))?;
            wait_until(&format!("{}: an error is cut", family.label()), SOON, || {
                Ok(chain.count(Node::Gateway, "events", "quotations_cut")? > before)
            })?;
            run(server.command("nft").args(["delete", "table", "inet", "lab"]), SOON)?;
        }
        still_works(chain)
    })
}

#[test]
fn other_protocols_pass_where_the_policy_says_so() -> LabResult {
    on_silent_chain("other-pass", Setup::default(), |chain| {
        let payload = [b'.'; 100];
        for family in Family::BOTH {
            let server = SocketAddr::new(Host::Server1.address(family), 9999);
            let socket = chain
                .host(Host::Server1)
                .enter(|| std::net::UdpSocket::bind(server))?
                .map_err(LabError::io("bind UDP"))?;
            socket.set_read_timeout(Some(SOON)).map_err(LabError::io("set a time limit"))?;
            let from = SocketAddr::new(Host::Client1.address(family), 0);
            let sent = chain
                .host(Host::Client1)
                .enter(|| std::net::UdpSocket::bind(from)?.send_to(&payload, server))?;
            sent.map_err(LabError::io("send UDP"))?;
            let mut buffer = [0; 200];
            let got = socket.recv(&mut buffer).map_err(LabError::io("UDP"))?;
            expect_that!(got == payload.len(), "{got} bytes of UDP");
        }
        Ok(())
    })
}
