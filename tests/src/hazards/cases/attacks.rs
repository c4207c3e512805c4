//! Cases about what others send into a session: rows 10, 15, 17, 20, 29, 32, 35.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde_json::json;

use super::peer::{Live, begin};
use crate::expect_that;
use crate::hazards::context::SOON;
use crate::hazards::raw::{End, Pair, Seg};
use crate::hazards::{Case, Context, Evidence, Lab};
use crate::lab::LabResult;
use crate::lab::capture::CANARY;
use crate::lab::chain::Node;
use crate::lab::config::{ECHO, REDIS};
use crate::lab::forge::{Flow, Segment, flag};
use crate::lab::guests::hex;
use crate::lab::inject::Injector;
use crate::lab::peers::{Server, dial, exchange};
use crate::lab::process::wait_until;
use crate::lab::programs::canary_text;
use crate::lab::topology::{Family, Host, TO_AGENT, TO_GATEWAY};

/// Row 10: the flag set by an attacker on a sealed segment.
pub const URGENT: Case = Case::new("urg_is_zeroed_at_open", Lab::Ordinary, urgent);
/// Row 15.
pub const SPOOFED: Case = Case::new("a_spoofed_syn_ends_nothing", Lab::Ordinary, spoofed);
/// Row 15.
pub const REUSED: Case = Case::new("a_reused_tuple_gets_its_own_key", Lab::Ordinary, reused);
/// Row 17.
pub const INJECTED: Case = Case::new("forged_fin_and_rst_end_nothing", Lab::Ordinary, injected);
/// Row 20.
pub const FLOOD: Case = Case::new("a_request_flood_starves_nobody", Lab::Ordinary, flood);
/// Row 29.
pub const EARLY_DATA: Case = Case::new("data_before_the_key_is_dropped", Lab::Ordinary, early_data);
/// Row 32.
pub const OPTIONS: Case = Case::new("our_options_never_pass", Lab::Ordinary, options);
/// Row 35.
pub const FORGED: Case = Case::new("forged_segments_move_nothing", Lab::Ordinary, forged);

fn urgent(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let live = Live::open(ctx, family, json!({}))?;
    let set = json!({"tcp": {"flags": "PAU", "urgptr": 3}});
    let cleared = (Node::Gateway, "events", "urgent_cleared", 1);
    ctx.counted(cleared, || live.sealed(0, ("PA", CANARY), set))?;
    let seen = live.server.expect("PA")?;
    expect_that!(seen.number("urgptr") == 0 && seen.payload() == CANARY, "{}", seen.0);
    Ok("URG set on a sealed segment: the server reads every octet".to_owned())
}

/// The independent agent's client end, as an attacker who can write its address sends for it.
fn impostor(live: &Live, ctx: &mut Context) -> LabResult<End> {
    Ok(End {
        scapy: ctx.guests()?.stranger.clone(),
        interface: crate::hazards::raw::ETH,
        local: live.server.remote,
        remote: live.server.local,
    })
}

fn request(id: u8) -> Vec<u8> {
    let mut option = vec![253, 13, 0x5E, 0x50, 0x10];
    option.extend([id; 8]);
    option.extend([1; 3]);
    option
}

fn spoofed(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let mut live = Live::open(ctx, family, json!({}))?;
    live.says(0, CANARY)?;
    let impostor = impostor(&live, ctx)?;
    for (n, options) in [(1, request(9)), (2, request(8)), (3, Vec::new())] {
        let syn = Seg { flags: "S", seq: live.c.wrapping_add(n << 20), options, ..Seg::default() };
        impostor.send(&syn)?;
    }
    live.says(CANARY.len() as u64, CANARY)?;
    live.hears(CANARY)?;
    live.server.expect_nothing()?;
    let sessions = ctx.chain.sessions(Node::Gateway)?;
    let port = live.server.remote.port().to_string();
    let alive = sessions.iter().any(|session| {
        session["state"] == "synced" && session["client"].to_string().contains(&port)
    });
    expect_that!(alive, "{sessions:?}");
    Ok("three SYNs with other ISNs: the session goes on in both directions".to_owned())
}

fn reused(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let first = Live::open(ctx, family, json!({}))?;
    first.says(0, CANARY)?;
    let local = first.server.remote;
    let replaced = |ctx: &Context| ctx.chain.count(Node::Gateway, "closed", "replaced");
    let before = replaced(ctx)?;
    // The same port again with another ISN, as after a reboot; its key delivery is its own.
    let isn = first.c.wrapping_add(1 << 24);
    let ends = super::peer::begin_at(ctx, local, json!({"isn": isn}))?;
    let mut second = Live::establish(ends)?;
    expect_that!(second.c == isn.wrapping_add(1), "the server saw another SYN");
    second.says(0, CANARY)?;
    second.hears(CANARY)?;
    let old = (Node::Gateway, "bad_tag", 0);
    ctx.dropped(old, || first.sealed(CANARY.len() as u64, ("PA", CANARY), json!({})))?;
    second.says(CANARY.len() as u64, CANARY)?;
    second.server.expect_nothing()?;
    let rise = replaced(ctx)? - before;
    Ok(format!("a new session on the same 4-tuple took over with its own key ({rise} replaced)"))
}

fn injected(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    const EACH: u64 = 50;
    let mut live = Live::open(ctx, family, json!({}))?;
    // After a first verified segment a wrong tag is a forgery; before it might be the path's doing.
    live.says(0, CANARY)?;
    let next = CANARY.len() as u64;
    let at = u64::from(live.c) + next;
    let bare = (Node::Gateway, "tag_missing", 2 * EACH);
    ctx.dropped(bare, || {
        for _ in 0..EACH {
            for flags in ["R", "FA"] {
                live.agent.ask("plain", json!({"flags": flags, "seq": at}))?;
            }
        }
        Ok(())
    })?;
    let tagged = (Node::Gateway, "bad_tag", 2 * EACH);
    ctx.dropped(tagged, || {
        for _ in 0..EACH {
            for flags in ["RA", "FA"] {
                live.sealed(next, (flags, b""), json!({"forge": "tag"}))?;
            }
        }
        Ok(())
    })?;
    live.says(next, CANARY)?;
    live.hears(CANARY)?;
    live.server.expect_nothing()?;
    // Towards the client: the same at the agent, forged in the network.
    let mut pair = Pair::open(ctx, family, REDIS)?;
    let network =
        End { scapy: ctx.guests()?.router.clone(), interface: TO_AGENT, ..pair.server.clone() };
    let missing = (Node::Agent, "tag_missing", 2);
    ctx.dropped(missing, || {
        network.send_all(&[pair.from_server("RA", b""), pair.from_server("FA", b"")])
    })?;
    pair.client.expect_nothing()?;
    pair.exchange(CANARY)?;
    Ok(format!("{EACH} each of RST and FIN, bare and with a wrong tag: both streams go on"))
}

/// A source that nobody answers for, one of many.
fn source(family: Family, n: u32) -> SocketAddr {
    let port = 1024 + (n % 60_000) as u16;
    let address: IpAddr = match family {
        Family::V4 => Ipv4Addr::from_bits(0x0A00_0340 + n % 64).into(),
        Family::V6 => Ipv6Addr::new(0xfd00, 3, 0, 0, 0, 0, 7, (n % 60_000) as u16).into(),
    };
    SocketAddr::new(address, port)
}

fn flood(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    const SYNS: u32 = 30_000;
    let _server = Server::echo(ctx.chain.host(Host::Server1), ECHO)?;
    let address = Host::Server1.address(family);
    let mut living = dial(ctx.chain.host(Host::Client1), address, ECHO)?;
    exchange(&mut living, canary_text(20_000).as_bytes())?;
    let asked = ctx.chain.count(Node::Gateway, "kdc_requests", "replied")?;
    let injector = Injector::open(&ctx.chain.topology.router, TO_GATEWAY)?;
    let server = Injector::open(ctx.chain.host(Host::Server1), crate::hazards::raw::ETH)?.mac();
    let options = request(0);
    let text = canary_text(20_000);
    for n in 0..SYNS {
        let dst = SocketAddr::new(address, ECHO);
        let flow = Flow { macs: (injector.mac(), server), src: source(family, n), dst };
        let syn = Segment { seq: n, flags: flag::SYN, options: &options, ..Segment::default() };
        injector.send(&flow.segment(&syn))?;
        if n % 3000 == 0 {
            exchange(&mut living, text.as_bytes())?;
        }
    }
    exchange(&mut living, text.as_bytes())?;
    let mut fresh = dial(ctx.chain.host(Host::Client1), address, ECHO)?;
    exchange(&mut fresh, text.as_bytes())?;
    let status = ctx.chain.status(Node::Gateway)?;
    let sessions = status["sessions"]["requested"].as_u64().unwrap_or(0);
    let capacity = status["workers"][0]["session_capacity"].as_u64().unwrap_or(0);
    let rise = ctx.chain.count(Node::Gateway, "kdc_requests", "replied")? - asked;
    expect_that!(rise == 1, "the KDC was asked {rise} times: once for the fresh connection");
    expect_that!(sessions <= capacity, "{sessions} sessions in a table of {capacity}");
    // Raw ends repeat no SYN: the cases behind this one want an empty hold.
    wait_until("what the flood left is gone", SOON, || {
        Ok(ctx.chain.count(Node::Gateway, "sessions", "requested")? == 0)
    })?;
    exchange(&mut dial(ctx.chain.host(Host::Client1), address, ECHO)?, text.as_bytes())?;
    Ok(format!(
        "{SYNS} SYNs with requests: {sessions} of {capacity} slots, streams go on, a new one opens"
    ))
}

fn early_data(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    // The SYN asks for cipher, but no key delivery follows: the session never gets a key.
    let (agent, server) = begin(ctx, family, json!({"deliver": false}))?;
    let iss = agent.state["iss"].as_u64().unwrap_or(0);
    let wanted = (Node::Gateway, "unsynchronised", 3);
    ctx.dropped(wanted, || {
        for flags in ["PA", "FA", "RA"] {
            // No canary: the test itself sends in clear.
            let tcp = json!({"payload": hex(&[b'.'; 100])});
            let tcp = if flags == "PA" { tcp } else { json!({}) };
            agent.ask("plain", json!({"flags": flags, "seq": iss + 1, "tcp": tcp}))?;
        }
        Ok(())
    })?;
    server.expect_nothing()?;
    Ok("data, FIN and RST without a key were dropped, the server never saw the SYN".to_owned())
}

fn options(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let mut pair = Pair::open(ctx, family, REDIS)?;
    let mut tag = vec![253, 16, 0x5E, 0x50];
    tag.extend([7; 12]);
    let forged = [request(1), tag.clone()];
    // From the plain side: they go no further than the agent.
    for options in &forged {
        let data = Seg { options: options.clone(), ..pair.from_client("PA", CANARY) };
        pair.client.send(&data)?;
        let seen = pair.server.expect_where("PA", &json!({"seq": pair.c}))?;
        expect_that!(seen.options().is_empty() && seen.payload() == CANARY, "{}", seen.0);
        pair.c = pair.c.wrapping_add(CANARY.len() as u32);
    }
    let broken = vec![253, 6, 0x5E, 0x51, 0, 0, 1, 1];
    let broken = Seg { options: broken, ..pair.from_client("PA", CANARY) };
    ctx.dropped((Node::Agent, "option_malformed", 1), || pair.client.send(&broken))?;
    pair.exchange(CANARY)?;
    // From the cipher side, in a live session.
    let live = Live::open(ctx, family, json!({}))?;
    for (reason, by, fields) in [
        ("option_malformed", 1, json!({"tcp": {"options_before": hex(&tag)}})),
        (
            "option_malformed",
            1,
            json!({"tcp": {"options_before": "fd065e500000" .to_owned() + "0101"}}),
        ),
    ] {
        ctx.dropped((Node::Gateway, reason, by), || live.sealed(0, ("PA", CANARY), fields))?;
    }
    let bare = json!({"flags": "A", "seq": live.c, "tcp": {"options": hex(&tag)}});
    ctx.dropped((Node::Gateway, "tag_on_bare_ack", 1), || live.agent.ask("plain", bare))?;
    live.says(0, CANARY)?;
    live.server.expect_nothing()?;
    Ok("stripped from the plain side, dropped from the cipher side, none at a server".to_owned())
}

fn forged(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let mut live = Live::open(ctx, family, json!({}))?;
    live.says(0, CANARY)?;
    let far = [1u64 << 29, (1 << 30) - 1000, CANARY.len() as u64];
    let wrong = (Node::Gateway, "bad_tag", 2 * far.len() as u64);
    ctx.dropped(wrong, || {
        for offset in far {
            for forge in ["tag", "payload"] {
                live.sealed(offset, ("PA", CANARY), json!({"forge": forge}))?;
            }
        }
        Ok(())
    })?;
    let beyond = (Node::Gateway, "offset_range", 1);
    // Had the basis moved, this offset would be within reach.
    let outside = (1 << 30) + (1 << 29);
    ctx.dropped(beyond, || live.sealed(outside, ("PA", CANARY), json!({})))?;
    live.says(CANARY.len() as u64, CANARY)?;
    live.hears(CANARY)?;
    live.server.expect_nothing()?;
    Ok("segments with wrong tags moved no basis: the honest stream goes on where it was".to_owned())
}
