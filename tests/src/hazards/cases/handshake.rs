//! Cases about SYN and SYN-ACK: rows 1, 7, 11, 16, 21, 38, 39, 40.

use serde_json::json;

use crate::expect_that;
use crate::hazards::context::SOON;
use crate::hazards::raw::{Pair, Seg, View, host_mss, mss};
use crate::hazards::{Case, Context, Evidence, Lab};
use crate::lab::LabResult;
use crate::lab::chain::Node;
use crate::lab::config::REDIS;
use crate::lab::process::wait_until;
use crate::lab::topology::Family;

/// Row 1.
pub const MSS: Case = Case::new("each_box_lowers_the_mss_its_side_hears", Lab::Ordinary, sizes);
/// Row 1.
pub const NO_MSS: Case = Case::new("a_missing_mss_is_added", Lab::Ordinary, no_size);
/// Row 7.
pub const FAST_OPEN: Case =
    Case::new("fast_open_loses_option_and_payload", Lab::Ordinary, fast_open);
/// Row 11.
pub const CROSSED: Case = Case::new("simultaneous_open_is_refused", Lab::Ordinary, crossed);
/// Row 16.
pub const REPEATED: Case = Case::new("a_repeated_syn_is_one_session", Lab::Ordinary, repeated);
/// Row 21.
pub const MULTIPATH: Case = Case::new("mp_capable_is_removed", Lab::Ordinary, multipath);
/// Row 38.
pub const ORIGIN: Case = Case::new("a_second_syn_ack_moves_no_origin", Lab::Ordinary, origin);
/// Row 40.
pub const SIGNED: Case = Case::new("signed_connections_are_refused", Lab::Ordinary, signed);

fn announced(view: &View) -> u16 {
    view.option(2).map_or(0, |option| u16::from_be_bytes([option[2], option[3]]))
}

fn sizes(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let mut pair = Pair::new(ctx, family, REDIS)?;
    let taps = pair.taps(ctx)?;
    let own = host_mss(family);
    let (syn, syn_ack) = pair.handshake(&mss(own))?;
    let wire = [taps.from_agent.expect("S")?, taps.from_gateway.expect("SA")?];
    let seen = [&syn, &syn_ack, &wire[0], &wire[1]].map(announced);
    expect_that!(seen == [own - 16, own - 16, own, own], "{own} became {seen:?}");
    // The largest segments that either end may send now fill the MTU exactly.
    let full = vec![b'm'; usize::from(own - 16)];
    pair.exchange(&full)?;
    pair.answer(&full)?;
    let sealed = taps.from_agent.expect("PA")?;
    let length = sealed.0["ip"].as_str().unwrap_or_default().len() / 2;
    expect_that!(length <= 1500, "{length} octets on the wire");
    Ok(format!("{own} heard as {}, on the wire {own}; full segments of {length}", seen[0]))
}

fn no_size(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let mut pair = Pair::new(ctx, family, REDIS)?;
    let (syn, syn_ack) = pair.handshake(&[])?;
    let least = if family == Family::V4 { 536 } else { 1220 } - 16;
    let seen = [announced(&syn), announced(&syn_ack)];
    expect_that!(seen == [least; 2], "{seen:?} instead of {least}");
    Ok(format!("without an MSS both hosts hear {least}"))
}

fn fast_open(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let mut pair = Pair::new(ctx, family, REDIS)?;
    let mut options = mss(host_mss(family));
    options.extend([34, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1]);
    let payload = crate::lab::capture::CANARY.repeat(2);
    let syn = Seg { flags: "S", seq: pair.c, options, payload, ..Seg::default() };
    let lost = (Node::Agent, "events", "handshake_stripped", 1);
    ctx.counted(lost, || pair.client.send(&syn))?;
    let seen = pair.server.expect("S")?;
    expect_that!(seen.option(34).is_none() && seen.payload().is_empty(), "{}", seen.0);
    let kinds = seen.options().len();
    // The server acknowledges the SYN alone; the client sends its octets again, ciphered.
    pair.c = pair.c.wrapping_add(1);
    let answer = Seg { flags: "SA", seq: pair.s, ack: pair.c, ..Seg::default() };
    pair.server.send(&answer)?;
    pair.s = pair.s.wrapping_add(1);
    pair.client.expect("SA")?;
    pair.client.send(&pair.from_client("A", b""))?;
    pair.exchange(&crate::lab::capture::CANARY.repeat(2))?;
    Ok(format!("the server saw a SYN with {kinds} option octets, no cookie, no payload"))
}

fn crossed(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let pair = Pair::new(ctx, family, REDIS)?;
    let syn = Seg { flags: "S", seq: pair.c, ..Seg::default() };
    pair.client.send(&syn)?;
    pair.server.expect("S")?;
    let other = Seg { flags: "S", seq: pair.s, ..Seg::default() };
    let refused = (Node::Gateway, "simultaneous_open", 1);
    ctx.dropped(refused, || pair.server.send(&other))?;
    pair.client.expect_nothing()?;
    Ok("the server's own SYN went no further".to_owned())
}

fn repeated(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let mut pair = Pair::new(ctx, family, REDIS)?;
    let count = |ctx: &Context| -> LabResult<[u64; 3]> {
        Ok([
            ctx.chain.count(Node::Gateway, "kdc_requests", "replied")?,
            ctx.chain.count(Node::Gateway, "events", "sessions_opened")?,
            ctx.chain.count(Node::Agent, "events", "sessions_opened")?,
        ])
    };
    let before = count(ctx)?;
    let syn = Seg { flags: "S", seq: pair.c, ..Seg::default() };
    pair.client.send_all(&[syn.clone(), syn.clone(), syn.clone()])?;
    pair.server.expect("S")?;
    pair.client.send(&syn)?;
    pair.server.expect("S")?;
    pair.c = pair.c.wrapping_add(1);
    let answer = Seg { flags: "SA", seq: pair.s, ack: pair.c, ..Seg::default() };
    pair.server.send(&answer)?;
    pair.s = pair.s.wrapping_add(1);
    pair.client.expect("SA")?;
    pair.client.send(&pair.from_client("A", b""))?;
    pair.exchange(b"after four SYNs")?;
    let after = count(ctx)?;
    let rise = [after[0] - before[0], after[1] - before[1], after[2] - before[2]];
    expect_that!(rise == [1; 3], "KDC answers and sessions rose by {rise:?}");
    Ok("four SYNs: one session at each box, one key from the KDC".to_owned())
}

fn multipath(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let mut pair = Pair::new(ctx, family, REDIS)?;
    let mut options = mss(host_mss(family));
    // MP_CAPABLE, version 1.
    options.extend([30, 12, 0x01, 0x81, 1, 2, 3, 4, 5, 6, 7, 8]);
    let lost = (Node::Agent, "events", "handshake_stripped", 1);
    let views = ctx.counted(lost, || pair.handshake(&options))?;
    for view in [&views.0, &views.1] {
        expect_that!(view.option(30).is_none(), "{}", view.0);
    }
    Ok("neither end saw MP_CAPABLE".to_owned())
}

fn origin(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let mut pair = Pair::new(ctx, family, REDIS)?;
    let taps = pair.taps(ctx)?;
    pair.handshake(&[])?;
    let other = pair.s.wrapping_add(1000);
    let second = Seg { flags: "SA", seq: other, ack: pair.c, ..Seg::default() };
    ctx.dropped((Node::Gateway, "isn_changed", 1), || pair.server.send(&second))?;
    // The same forged in the network, with the right Accept.
    let mut accept = taps.from_agent.expect("S")?.option(253).unwrap_or_default();
    expect_that!(accept.len() == 13, "no Request on the wire");
    accept[4] |= 1;
    accept.extend([1; 3]);
    let forged = Seg { options: accept, ..second };
    let towards_agent = crate::hazards::raw::End {
        interface: crate::lab::topology::TO_AGENT,
        local: pair.server.local,
        remote: pair.client.local,
        ..taps.from_agent
    };
    ctx.dropped((Node::Agent, "isn_changed", 1), || towards_agent.send(&forged))?;
    pair.client.expect_nothing()?;
    pair.answer(b"still counted from the first")?;
    pair.exchange(b"and back")?;
    Ok("a second SYN-ACK went no further at either box, the stream goes on".to_owned())
}

fn signed(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    for (name, mut option) in [("MD5", vec![19, 18]), ("AO", vec![29, 16])] {
        let pair = Pair::new(ctx, family, REDIS)?;
        option.resize(usize::from(option[1]), 7);
        let mut options = mss(host_mss(family));
        options.extend(option);
        options.resize(options.len().next_multiple_of(4), 1);
        let syn = Seg { flags: "S", seq: pair.c, options, ..Seg::default() };
        ctx.dropped((Node::Agent, "tcp_md5_ao", 1), || pair.client.send(&syn))?;
        let reset = pair.client.expect("RA")?;
        expect_that!(reset.number("ack") == pair.c.wrapping_add(1), "{name}: {}", reset.0);
        pair.server.expect_nothing()?;
    }
    Ok("SYNs with MD5 and with AO were answered by a RST, the server saw none".to_owned())
}

/// Row 39: the independent agent checks the tag of the RST by which a server refuses.
pub const REFUSED: Case = Case::new("a_refusal_carries_a_tag", Lab::Ordinary, refused);

fn refused(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let (agent, server) = super::peer::begin(ctx, family, json!({}))?;
    let syn = server.expect("S")?;
    let ack = syn.number("seq").wrapping_add(1);
    server.send(&Seg { flags: "RA", seq: 0, ack, ..Seg::default() })?;
    wait_until("the independent agent is refused", SOON, || Ok(agent.look()?["reset"] == true))?;
    let seen = agent.look()?;
    expect_that!(seen["verified"] == 1 && seen["bad_tags"] == 0, "{seen}");
    Ok("the RST verified at offset 2^64-1".to_owned())
}
