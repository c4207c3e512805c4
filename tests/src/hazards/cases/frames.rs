//! Cases about frames that are not what they seem: rows 3, 5, 24, 25, 26.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::peer::{Live, begin_at};
use crate::expect_that;
use crate::hazards::raw::{End, Pair, Seg, host_mss};
use crate::hazards::{Case, Context, Evidence, Lab};
use crate::lab::LabResult;
use crate::lab::capture::CANARY;
use crate::lab::chain::Node;
use crate::lab::config::REDIS;
use crate::lab::forge::{Flow, Segment, flag, tagged};
use crate::lab::inject::Injector;
use crate::lab::programs::canary_text;
use crate::lab::topology::{Family, TO_BOX, TO_GATEWAY};

/// Row 3.
pub const OVERSIZE: Case = Case::new("frames_beyond_the_mtu_never_pass", Lab::Ordinary, oversize);
/// Row 5.
pub const CORRUPT: Case = Case::new("a_corrupt_segment_stays_corrupt", Lab::Ordinary, corrupt);
/// Row 24.
pub const HEADERS: Case = Case::new("what_cannot_be_walked_is_dropped", Lab::Ordinary, headers);
/// Row 25.
pub const FRAGMENTS: Case = Case::new("fragments_are_dropped", Lab::Ordinary, fragments);
/// Row 26.
pub const QINQ: Case = Case::new("two_tags_are_kept", Lab::Ordinary, qinq);
/// Row 26.
pub const DEEP: Case = Case::new("a_third_tag_is_dropped", Lab::Ordinary, deep);

fn oversize(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let mut pair = Pair::open(ctx, family, REDIS)?;
    // A full segment of the old size: with the tag it would exceed the MTU.
    let full = vec![b'.'; usize::from(host_mss(family))];
    let grown = (Node::Agent, "grown_beyond_mtu", 1);
    ctx.dropped(grown, || pair.client.send(&pair.from_client("PA", &full)))?;
    pair.server.expect_nothing()?;
    // A frame longer than the port's MTU, as a stack with segmentation offload hands over. A cable
    // takes four octets more than the MTU, for a VLAN tag.
    let lan = &ctx.chain.topology.lan;
    lan.ip(&format!("link set {TO_BOX} mtu 1504"))?;
    let injector = Injector::open(lan, TO_BOX)?;
    let router = Injector::open(&ctx.chain.topology.router, TO_GATEWAY)?.mac();
    let flow =
        Flow { macs: (injector.mac(), router), src: pair.server.local, dst: pair.client.local };
    let text = canary_text(usize::from(host_mss(family)) + 4);
    let segment = Segment {
        seq: pair.s,
        ack: pair.c,
        flags: flag::ACK | flag::PSH,
        payload: text.as_bytes(),
        ..Segment::default()
    };
    let longer = (Node::Gateway, "mtu_exceeded", 1);
    let sent = ctx.dropped(longer, || injector.send(&flow.segment(&segment)));
    lan.ip(&format!("link set {TO_BOX} mtu 1500"))?;
    sent?;
    pair.client.expect_nothing()?;
    pair.exchange(CANARY)?;
    Ok("a segment without room for its tag and a frame of 1504 octets went no further".to_owned())
}

fn corrupt(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let mut pair = Pair::open(ctx, family, REDIS)?;
    let bad = Seg { tcp: json!({"corrupt": true}), ..pair.from_client("PA", CANARY) };
    ctx.dropped((Node::Agent, "bad_checksum", 1), || pair.client.send(&bad))?;
    pair.exchange(CANARY)?;
    pair.server.expect_nothing()?;
    // On the wire between the boxes, after sealing.
    let live = Live::open(ctx, family, json!({}))?;
    let corrupt = json!({"tcp": {"corrupt": true}});
    let counted = (Node::Gateway, "bad_checksum", 1);
    ctx.dropped(counted, || live.sealed(0, ("PA", CANARY), corrupt))?;
    live.says(0, CANARY)?;
    live.server.expect_nothing()?;
    Ok("a wrong TCP checksum was dropped before sealing and before opening".to_owned())
}

/// Packets that nobody can classify safely, as additions to a description.
fn unwalkable(family: Family) -> Vec<Value> {
    match family {
        Family::V4 => vec![
            // Loose and strict source routing; an option that runs over the header.
            json!({"ip_options": "8307040a00030100"}),
            json!({"ip_options": "8907040a00030100"}),
            json!({"ip_options": "07ff0400"}),
        ],
        Family::V6 => vec![
            // Routing with a segment left, an authentication header, destination options that run over
            // the packet.
            json!({"extension": [43, format!("020201{}", "00".repeat(20))]}),
            json!({"extension": [51, format!("04{}", "00".repeat(22))]}),
            json!({"extension": [60, format!("c8{}", "00".repeat(6))]}),
        ],
    }
}

fn headers(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let pair = Pair::open(ctx, family, REDIS)?;
    let taps = pair.taps(ctx)?;
    let packets = unwalkable(family);
    let segs: Vec<Seg> = packets
        .into_iter()
        .map(|packet| Seg { packet, ..pair.from_server("PA", CANARY) })
        .collect();
    let before = ctx.chain.all_drops(Node::Gateway)?;
    pair.server.send_all(&segs)?;
    wait_drops(ctx, Node::Gateway, before + segs.len() as u64)?;
    taps.from_gateway.drain()?.iter().try_for_each(|view| {
        expect_that!(view.payload().is_empty(), "on the wire: {}", view.0);
        Ok(())
    })?;
    pair.client.expect_nothing()?;
    Ok(format!("{} kinds of header went no further, none with a byte in clear", segs.len()))
}

fn wait_drops(ctx: &Context, node: Node, count: u64) -> LabResult {
    let what = format!("{node:?} drops all");
    crate::lab::process::wait_until(&what, crate::hazards::context::SOON, || {
        Ok(ctx.chain.all_drops(node)? >= count)
    })
}

fn fragments(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let pair = Pair::open(ctx, family, REDIS)?;
    let taps = pair.taps(ctx)?;
    let payload = CANARY.repeat(8);
    let piece = |seg: Seg, start: u32, more: bool| Seg {
        packet: json!({"fragment": [start, more]}),
        ..seg
    };
    for (node, end) in [(Node::Gateway, &pair.server), (Node::Agent, &pair.client)] {
        let whole = match node {
            Node::Gateway => pair.from_server("PA", &payload),
            Node::Agent => pair.from_client("PA", &payload),
        };
        let pieces = [piece(whole.clone(), 0, true), piece(whole, 64, false)];
        ctx.dropped((node, "fragment", 2), || end.send_all(&pieces))?;
    }
    for tap in [&taps.from_agent, &taps.from_gateway] {
        let seen = tap.drain()?;
        expect_that!(seen.iter().all(|view| view.payload().is_empty()), "{seen:?}");
    }
    Ok("first and later fragments dropped at both plain ports".to_owned())
}

/// An address of the stranger's net that nobody has.
fn nobody(family: Family) -> std::net::IpAddr {
    let text = if family == Family::V4 { "10.0.3.77" } else { "fd00:3::77" };
    text.parse().expect("invariant: a literal address")
}

fn qinq(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let tags = json!([100, 200]);
    // The independent agent sits on the gateway's own cable: routers in between take tags off.
    let local = SocketAddr::new(nobody(family), ctx.port());
    let settings = json!({"interface": TO_GATEWAY, "common": {"vlan": tags}});
    let (agent, server) = begin_at(ctx, local, settings)?;
    let syn = server.expect("S")?;
    expect_that!(syn.0["vlan"] == tags, "the SYN lost its tags: {}", syn.0);
    let ack = syn.number("seq").wrapping_add(1);
    let answer = Seg { flags: "SA", seq: 7, ack, packet: json!({"vlan": tags}), ..Seg::default() };
    server.send(&answer)?;
    let seen = agent.ask("established", json!({"ms": 5000}))?;
    expect_that!(seen["established"] == true, "not established with two tags: {seen}");
    server.expect("A")?;
    let live = Live { agent, server, c: ack, s: 8 };
    live.sealed(0, ("PA", CANARY), json!({}))?;
    let data = live.server.expect("PA")?;
    expect_that!(data.0["vlan"] == tags && data.payload() == CANARY, "{}", data.0);
    Ok("handshake, key delivery and data under two tags, kept to the server".to_owned())
}

fn deep(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let pair = Pair::open(ctx, family, REDIS)?;
    let taps = pair.taps(ctx)?;
    let lan = &ctx.chain.topology.lan;
    let injector = Injector::open(lan, TO_BOX)?;
    let router = Injector::open(&ctx.chain.topology.router, TO_GATEWAY)?.mac();
    let flow =
        Flow { macs: (injector.mac(), router), src: pair.server.local, dst: pair.client.local };
    let segment = Segment {
        seq: pair.s,
        ack: pair.c,
        flags: flag::ACK | flag::PSH,
        payload: CANARY,
        ..Segment::default()
    };
    let frame = flow.segment(&segment);
    let before = ctx.chain.all_drops(Node::Gateway)?;
    for tags in [&[1, 2, 3][..], &[1, 2, 3, 4]] {
        injector.send(&tagged(&frame, tags))?;
    }
    wait_drops(ctx, Node::Gateway, before + 2)?;
    let End { scapy, interface, .. } = &taps.from_gateway;
    let seen = scapy.drain(interface, &json!({"sport": REDIS}))?;
    let leaked = seen.iter().any(|view| view["frame"].as_str().is_some_and(has_canary));
    expect_that!(!leaked, "in clear on the wire");
    Ok("three and four tags dropped".to_owned())
}

fn has_canary(frame: &str) -> bool {
    frame.contains(&crate::lab::guests::hex(CANARY))
}
