//! Cases about paths that change or lose what they carry: rows 6, 14, 18, 19, 23, 27, 37, and the
//! independent agent's count beyond 4 GiB (row 12).

use std::rc::Rc;

use serde_json::{Value, json};

use super::peer::{Live, begin};
use crate::expect_that;
use crate::hazards::context::SOON;
use crate::hazards::raw::{ETH, End, Pair, Seg, View};
use crate::hazards::{Case, Context, Evidence, Lab};
use crate::lab::LabResult;
use crate::lab::capture::CANARY;
use crate::lab::chain::Node;
use crate::lab::config::{ECHO, REDIS};
use crate::lab::guests::{hex, unhex};
use crate::lab::peers::{Server, dial, exchange};
use crate::lab::process::{run, wait_until};
use crate::lab::programs::canary_text;
use crate::lab::topology::{Family, Host, TO_AGENT, TO_GATEWAY};

/// Row 6.
pub const TOO_BIG: Case = Case::new("too_big_leaves_room_for_the_tag", Lab::Ordinary, too_big);
/// Row 12.
pub const BEYOND: Case = Case::new("an_independent_count_beyond_4_gib", Lab::Ordinary, beyond);
/// Row 14.
pub const CUT: Case = Case::new("a_resegmented_stream_is_named", Lab::Ordinary, cut);
/// Row 18.
pub const NAT: Case = Case::new("nat_of_address_and_ports", Lab::Ordinary, nat);
/// Row 19.
pub const SHIFTED: Case = Case::new("rewritten_isns_change_nothing", Lab::Ordinary, shifted);
/// Row 23.
pub const STRIPPED: Case = Case::new("stripped_options_fail_closed", Lab::Ordinary, stripped);
/// Row 27.
pub const ONE_WAY: Case = Case::new("data_without_syn_ack_is_named", Lab::Ordinary, one_way);
/// Row 37.
pub const UNKNOWN: Case = Case::new("unknown_mid_stream_never_passes", Lab::Prefer, unknown);
/// Row 37.
pub const RESTARTED: Case = Case::new("a_restart_lets_nothing_pass", Lab::Prefer, restarted);

/// The router's end of a cable, sending in the name of the far side of a pair.
fn in_the_middle(
    ctx: &mut Context,
    interface: &'static str,
    local: &End,
    remote: &End,
) -> LabResult<End> {
    let scapy = Rc::clone(&ctx.guests()?.router);
    Ok(End { scapy, interface, local: local.local, remote: remote.local })
}

/// An ICMP error from the network about a packet.
fn icmp_error(towards: &End, (kind, code, mtu): (u8, u8, u32), quoted: &[u8]) -> Value {
    let local = if towards.remote.is_ipv4() { "10.0.3.1" } else { "fd00:3::1" };
    json!({
        "src": local, "dst": towards.remote.ip().to_string(),
        "icmp": {"type": kind, "code": code, "mtu": mtu, "quote": hex(quoted)},
    })
}

/// Type and code of "too big" and of "administratively prohibited".
fn icmp_kinds(family: Family) -> [(u8, u8); 2] {
    if family == Family::V4 { [(3, 4), (3, 13)] } else { [(2, 0), (1, 1)] }
}

fn too_big(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let pair = Pair::open(ctx, family, REDIS)?;
    let taps = pair.taps(ctx)?;
    let [(kind, code), hard] = icmp_kinds(family);
    pair.client.send(&pair.from_client("PA", CANARY))?;
    pair.server.send(&pair.from_server("PA", CANARY))?;
    let (up, down) = (taps.from_agent.expect("PA")?, taps.from_gateway.expect("PA")?);
    let towards_agent = in_the_middle(ctx, TO_AGENT, &pair.server, &pair.client)?;
    let towards_gateway = in_the_middle(ctx, TO_GATEWAY, &pair.client, &pair.server)?;
    let floor = if family == Family::V4 { 576 } else { 1280 };
    let told = json!({"kind": "icmp", "type": kind, "code": code, "checksum_ok": true});
    for (wire, router, host) in
        [(&up, &towards_agent, &pair.client), (&down, &towards_gateway, &pair.server)]
    {
        let packet = unhex(&wire.0["ip"]);
        for (mtu, heard) in [(1400, 1384), (floor + 3, floor)] {
            let error = icmp_error(router, (kind, code, mtu), &packet);
            router.scapy.send(router.interface, &[error])?;
            let seen = host.scapy.expect(ETH, &told, 5000)?.unwrap_or_default();
            expect_that!(seen["mtu"] == heard, "{mtu} heard as {seen}");
        }
        // About a sequence number that is not under way, and a hard error about it: nobody sent those.
        let mut other = packet;
        let at = if family == Family::V4 { 24 } else { 44 };
        other[at] ^= 0x20;
        let before = ctx.chain.all_drops(Node::Gateway)? + ctx.chain.all_drops(Node::Agent)?;
        for (kind, code) in [(kind, code), hard] {
            let error = icmp_error(router, (kind, code, 1400), &other);
            router.scapy.send(router.interface, &[error])?;
        }
        wait_until("forged errors are dropped", SOON, || {
            let now = ctx.chain.all_drops(Node::Gateway)? + ctx.chain.all_drops(Node::Agent)?;
            Ok(now >= before + 2)
        })?;
        let own = host.local.ip().to_string();
        let through = host.scapy.drain(ETH, &json!({"kind": "icmp", "dst": own, "mtu": 1384}))?;
        expect_that!(through.is_empty(), "{through:?}");
    }
    Ok(format!("1400 heard as 1384, {} as {floor} at both ends; forged ones dropped", floor + 3))
}

fn beyond(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let mut live = Live::open(ctx, family, json!({"acknowledge": false}))?;
    let stride = (1u64 << 30) - 70_000;
    for n in 0..6 {
        live.says(n * stride, CANARY)?;
        live.hears(CANARY)?;
        live.agent.ask("acknowledge", json!({"ack": live.s}))?;
        live.server.expect_where("A", &json!({"ack": live.s}))?;
        live.s = live.s.wrapping_add(stride as u32 - CANARY.len() as u32);
    }
    live.hears(CANARY)?;
    Ok(format!("an independent end agrees on offsets up to {}", 6 * stride))
}

fn cut(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let live = Live::open(ctx, family, json!({}))?;
    let text = hex(canary_text(1000).as_bytes());
    let named = (Node::Gateway, "resegmented", 1);
    ctx.dropped(named, || {
        for _ in 0..20 {
            live.agent.ask("resegmented", json!({"offset": 0, "payload": text}))?;
        }
        Ok(())
    })?;
    live.server.expect_nothing()?;
    Ok("halves of a sealed segment are dropped under a name of their own".to_owned())
}

/// An nftables table of the router that goes when the case ends.
struct Rules<'a>(&'a Context);

impl<'a> Rules<'a> {
    fn add(ctx: &'a Context, chain: &str) -> LabResult<Self> {
        let table = format!("table inet case {{ chain c {{ {chain} }}; }}");
        run(ctx.chain.topology.router.command("nft").arg(table), SOON)?;
        Ok(Self(ctx))
    }
}

impl Drop for Rules<'_> {
    fn drop(&mut self) {
        let mut command = self.0.chain.topology.router.command("nft");
        let _ = run(command.args(["delete", "table", "inet", "case"]), SOON);
    }
}

fn nat(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let _server = Server::echo(ctx.chain.host(Host::Server1), ECHO)?;
    let rules =
        format!("type nat hook postrouting priority 100; oifname {TO_GATEWAY} masquerade random;");
    let rules = Rules::add(ctx, &rules)?;
    let address = Host::Server1.address(family);
    let mut stream = dial(ctx.chain.host(Host::Client1), address, ECHO)?;
    exchange(&mut stream, canary_text(50_000).as_bytes())?;
    let own = stream.local_addr().map_err(crate::lab::LabError::io("ask for the local address"))?;
    let sessions = ctx.chain.sessions(Node::Gateway)?;
    let seen = sessions.iter().find(|session| {
        session["state"] == "synced" && {
            session["client"].as_str().is_some_and(|client| client.contains(&router_text(family)))
        }
    });
    let seen = seen.map(|session| session["client"].to_string()).unwrap_or_default();
    drop(rules);
    expect_that!(!seen.is_empty() && !seen.contains(&own.to_string()), "{sessions:?}");
    Ok(format!("the client's {own} is {seen} at the gateway"))
}

/// The router's address towards the gateway.
fn router_text(family: Family) -> String {
    if family == Family::V4 { "10.0.2.1" } else { "[fd00:2::1]" }.to_owned()
}

/// Sends on what the router's kernel was kept from forwarding, changed.
fn relay(view: &View, onto: &End, change: impl FnOnce(&mut Seg)) -> LabResult {
    let mut seg = Seg {
        flags: match view.flags() {
            "S" => "S",
            "SA" => "SA",
            "PA" => "PA",
            _ => "A",
        },
        seq: view.number("seq"),
        ack: view.number("ack"),
        options: view.options(),
        payload: view.payload(),
        tcp: json!({"window": view.number("window")}),
        packet: Value::Null,
    };
    change(&mut seg);
    onto.send(&seg)
}

/// A pair whose segments the router's kernel does not forward.
struct Held {
    pair: Pair,
    from: crate::hazards::raw::Taps,
    to_agent: End,
    to_gateway: End,
}

impl Held {
    fn prepare(ctx: &mut Context, family: Family) -> LabResult<Self> {
        let pair = Pair::new(ctx, family, REDIS)?;
        let from = pair.taps(ctx)?;
        let to_agent = in_the_middle(ctx, TO_AGENT, &pair.server, &pair.client)?;
        let to_gateway = in_the_middle(ctx, TO_GATEWAY, &pair.client, &pair.server)?;
        Ok(Self { pair, from, to_agent, to_gateway })
    }

    fn rules(&self) -> String {
        let port = self.pair.client.local.port();
        format!(
            "type filter hook forward priority 0; tcp sport {port} drop; tcp dport {port} drop;"
        )
    }
}

fn shifted(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    const BY: [u32; 2] = [0x1234_5678, 0x8765_4321];
    let held = Held::prepare(ctx, family)?;
    let _rules = Rules::add(ctx, &held.rules())?;
    let Held { mut pair, from, to_agent, to_gateway } = held;
    let up = |view: &View| {
        relay(view, &to_gateway, |seg| {
            seg.seq = seg.seq.wrapping_add(BY[0]);
            if seg.flags != "S" {
                seg.ack = seg.ack.wrapping_sub(BY[1]);
            }
        })
    };
    let down = |view: &View| {
        relay(view, &to_agent, |seg| {
            seg.seq = seg.seq.wrapping_add(BY[1]);
            seg.ack = seg.ack.wrapping_sub(BY[0]);
        })
    };
    pair.client.send(&Seg { flags: "S", seq: pair.c, ..Seg::default() })?;
    up(&from.from_agent.expect("S")?)?;
    let syn = pair.server.expect("S")?;
    expect_that!(syn.number("seq") == pair.c.wrapping_add(BY[0]), "{}", syn.0);
    let seen_c = syn.number("seq").wrapping_add(1);
    pair.server.send(&Seg { flags: "SA", seq: pair.s, ack: seen_c, ..Seg::default() })?;
    down(&from.from_gateway.expect("SA")?)?;
    let syn_ack = pair.client.expect("SA")?;
    pair.c = pair.c.wrapping_add(1);
    expect_that!(syn_ack.number("ack") == pair.c, "{}", syn_ack.0);
    let seen_s = syn_ack.number("seq").wrapping_add(1);
    let up_data = Seg { ack: seen_s, ..pair.from_client("PA", CANARY) };
    pair.client.send(&up_data)?;
    up(&from.from_agent.expect("PA")?)?;
    let data = pair.server.expect("PA")?;
    expect_that!(data.payload() == CANARY && data.number("seq") == seen_c, "{}", data.0);
    pair.s = pair.s.wrapping_add(1);
    let ack = seen_c.wrapping_add(CANARY.len() as u32);
    pair.server.send(&Seg { ack, ..pair.from_server("PA", CANARY) })?;
    down(&from.from_gateway.expect("PA")?)?;
    let answer = pair.client.expect("PA")?;
    expect_that!(answer.payload() == CANARY, "{}", answer.0);
    Ok(format!("ISNs shifted by {:#x} and {:#x}: data opens both ways", BY[0], BY[1]))
}

/// Puts NOPs in place of our options.
fn strip(options: &mut [u8]) {
    let at = options.windows(3).position(|three| three[0] == 253 && three[2] == 0x5E);
    if let Some(at) = at {
        let length = usize::from(options[at + 1]);
        options[at..at + length].fill(1);
    }
}

fn stripped(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let held = Held::prepare(ctx, family)?;
    let rules = Rules::add(ctx, &held.rules())?;
    let Held { mut pair, from, to_agent, to_gateway } = held;
    pair.client.send(&Seg { flags: "S", seq: pair.c, ..Seg::default() })?;
    let syn = from.from_agent.expect("S")?;
    // Without its Request the SYN is refused.
    let bare = (Node::Gateway, "no_request", 1);
    ctx.dropped(bare, || relay(&syn, &to_gateway, |seg| strip(&mut seg.options)))?;
    pair.server.expect_nothing()?;
    relay(&syn, &to_gateway, |_| ())?;
    pair.server.expect("S")?;
    pair.c = pair.c.wrapping_add(1);
    pair.server.send(&Seg { flags: "SA", seq: pair.s, ack: pair.c, ..Seg::default() })?;
    pair.s = pair.s.wrapping_add(1);
    let syn_ack = from.from_gateway.expect("SA")?;
    // Without its Accept the SYN-ACK goes no further.
    let silent = (Node::Agent, "no_accept", 1);
    ctx.dropped(silent, || relay(&syn_ack, &to_agent, |seg| strip(&mut seg.options)))?;
    let seen = pair.client.drain()?;
    expect_that!(seen.iter().all(|view| view.flags() != "SA"), "{seen:?}");
    drop(rules);
    // In mid-flow: data whose tag is gone.
    let held = Held::prepare(ctx, family)?;
    let Held { mut pair, from, to_gateway, .. } = held;
    pair.handshake(&[])?;
    let port = pair.client.local.port();
    let rules = format!("type filter hook forward priority 0; tcp sport {port} drop;");
    let rules = Rules::add(ctx, &rules)?;
    pair.client.send(&pair.from_client("PA", CANARY))?;
    let data = from.from_agent.expect("PA")?;
    let naked = (Node::Gateway, "tag_missing", 1);
    ctx.dropped(naked, || relay(&data, &to_gateway, |seg| strip(&mut seg.options)))?;
    pair.server.expect_nothing()?;
    relay(&data, &to_gateway, |_| ())?;
    let seen = pair.server.expect("PA")?;
    expect_that!(seen.payload() == CANARY, "{}", seen.0);
    drop(rules);
    Ok("stripped Request, Accept and Tag: each a drop with a name of its own".to_owned())
}

fn one_way(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let (_agent, server) = begin(ctx, family, json!({}))?;
    let syn = server.expect("S")?;
    // The SYN-ACK took another way: the gateway sees the data behind it only.
    let ack = syn.number("seq").wrapping_add(1);
    let data = Seg { flags: "PA", seq: 5000, ack, payload: CANARY.to_vec(), ..Seg::default() };
    ctx.dropped((Node::Gateway, "no_syn_ack", 2), || {
        server.send(&data)?;
        server.send(&data)
    })?;
    Ok("data of a server whose SYN-ACK was never seen: dropped and named".to_owned())
}

fn unknown(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let pair = Pair::new(ctx, family, REDIS)?;
    let guests = ctx.guests()?;
    let stranger = End {
        scapy: Rc::clone(&guests.stranger),
        interface: ETH,
        local: std::net::SocketAddr::new(Host::Stranger.address(family), 29_999),
        remote: pair.server.local,
    };
    let server = End { remote: stranger.local, ..pair.server.clone() };
    // In clear, so no canary: it would be the test's own.
    let data = Seg { flags: "PA", seq: 99, ack: 77, payload: vec![b'.'; 100], ..Seg::default() };
    ctx.dropped((Node::Gateway, "no_session", 1), || stranger.send(&data))?;
    server.expect_nothing()?;
    let canary = Seg { payload: CANARY.to_vec(), ..data };
    ctx.dropped((Node::Gateway, "no_session", 1), || server.send(&canary))?;
    stranger.expect_nothing()?;
    Ok("mid-stream data of no known session passed in neither direction under prefer".to_owned())
}

fn restarted(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let mut pair = Pair::open(ctx, family, REDIS)?;
    let taps = pair.taps(ctx)?;
    pair.exchange(CANARY)?;
    ctx.chain.process(Node::Gateway)?.crash()?;
    ctx.chain.start_node(Node::Gateway)?;
    let up = (Node::Gateway, "no_session", 1);
    ctx.dropped(up, || pair.client.send(&pair.from_client("PA", CANARY)))?;
    let down = (Node::Gateway, "no_session", 1);
    ctx.dropped(down, || pair.server.send(&pair.from_server("PA", CANARY)))?;
    pair.server.expect_nothing()?;
    let seen = taps.from_gateway.drain()?;
    let clear = seen.iter().any(|view| view.payload() == CANARY);
    expect_that!(!clear, "{seen:?}");
    Ok("after the restart neither end's data passed, ciphered or in clear".to_owned())
}
