//! Cases about segments of a living session: rows 2, 4, 8, 9, 10, 12, 13, 22, 31, 33, 34, 36.

use rustix::process::Signal;
use serde_json::json;

use crate::expect_that;
use crate::hazards::context::SOON;
use crate::hazards::raw::{Pair, Seg, timestamps};
use crate::hazards::{Case, Context, Evidence, Lab};
use crate::lab::LabResult;
use crate::lab::capture::CANARY;
use crate::lab::chain::Node;
use crate::lab::config::REDIS;
use crate::lab::process::wait_until;
use crate::lab::programs::canary_text;
use crate::lab::topology::Family;

/// Row 2.
pub const SACK: Case = Case::new("sack_blocks_give_way_to_the_tag", Lab::Ordinary, sack);
/// Row 4.
pub const TRACELESS: Case = Case::new("tag_and_padding_leave_no_trace", Lab::Ordinary, traceless);
/// Row 8.
pub const KEEP_ALIVE: Case = Case::new("a_keep_alive_loses_its_octet", Lab::Ordinary, keep_alive);
/// Row 9.
pub const PROBE: Case = Case::new("a_zero_window_probe_is_ciphered", Lab::Ordinary, probe);
/// Row 10.
pub const URGENT: Case = Case::new("urg_is_zeroed_at_seal", Lab::Ordinary, urgent);
/// Row 12.
pub const LONG: Case = Case::new("both_boxes_count_beyond_4_gib", Lab::Ordinary, long);
/// Row 13.
pub const BORDERS: Case = Case::new("retransmission_in_other_borders", Lab::Ordinary, borders);
/// Row 22.
pub const ECN: Case = Case::new("ecn_bits_and_flags_survive", Lab::Ordinary, ecn);
/// Row 31.
pub const LAYOUTS: Case = Case::new("every_data_offset_survives", Lab::Ordinary, layouts);
/// Row 33.
pub const LATE: Case = Case::new("half_close_and_late_segments", Lab::Ordinary, late);
/// Row 34.
pub const BURST: Case = Case::new("a_burst_drains_by_itself", Lab::Ordinary, burst);
/// Row 34: where a worker sleeps the kernel sends as well; here it does not.
pub const BURST_AWAKE: Case = Case::new("a_burst_drains_without_sleep", Lab::Busy, burst);
/// Row 36.
pub const CHANGED: Case = Case::new("other_octets_get_another_keystream", Lab::Ordinary, changed);

/// A SACK option of `blocks` blocks behind two NOPs.
fn sack_option(blocks: u8) -> Vec<u8> {
    let mut option = vec![1, 1, 5, 2 + 8 * blocks];
    option.extend((0..8 * blocks).map(|at| at + 1));
    option
}

fn sack(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let mut pair = Pair::open(ctx, family, REDIS)?;
    let taps = pair.taps(ctx)?;
    let options = [timestamps(), sack_option(3)].concat();
    let data = Seg { options: options.clone(), ..pair.from_client("PA", &CANARY.repeat(4)) };
    let trimmed = (Node::Agent, "events", "options_trimmed", 1);
    ctx.counted(trimmed, || pair.client.send(&data))?;
    let (wire, seen) = (taps.from_agent.expect("PA")?, pair.server.expect("PA")?);
    let blocks = seen.option(5).map_or(0, |option| (option.len() - 2) / 8);
    expect_that!(wire.is_marked() && wire.options().len() <= 40, "{}", wire.0);
    expect_that!(blocks == 1 && seen.option(8).is_some(), "{}", seen.0);
    expect_that!(seen.payload() == data.payload, "another payload");
    pair.c = pair.c.wrapping_add(data.payload.len() as u32);
    // A bare acknowledgement carries no tag and keeps all its blocks.
    pair.client.send(&Seg { options: options.clone(), ..pair.from_client("A", b"") })?;
    let bare = pair.server.expect("A")?;
    expect_that!(bare.options() == options, "{}", bare.0);
    Ok(format!("with data {blocks} of 3 blocks and the timestamps arrive, without data all"))
}

fn traceless(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let mut pair = Pair::open(ctx, family, REDIS)?;
    let taps = pair.taps(ctx)?;
    let lists = [vec![], timestamps(), vec![8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 1]];
    for options in &lists {
        let data = Seg { options: options.clone(), ..pair.from_client("PA", CANARY) };
        pair.client.send(&data)?;
        let (wire, seen) = (taps.from_agent.expect("PA")?, pair.server.expect("PA")?);
        expect_that!(wire.is_marked(), "no tag on the wire: {}", wire.0);
        expect_that!(wire.options().len() == options.len() + 16, "{}", wire.0);
        expect_that!(&seen.options() == options, "{} instead of {options:?}", seen.0);
        pair.c = pair.c.wrapping_add(data.payload.len() as u32);
    }
    Ok(format!("{} option lists arrive as they were sent, 16 octets more between", lists.len()))
}

fn keep_alive(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let mut pair = Pair::open(ctx, family, REDIS)?;
    for sent in 0..2u32 {
        if sent > 0 {
            pair.exchange(b"ten octets")?;
        }
        let below = pair.c.wrapping_sub(1);
        let probe = Seg { seq: below, ..pair.from_client("A", b"\0") };
        let cut = (Node::Agent, "events", "keepalives_cut", 1);
        ctx.counted(cut, || pair.client.send(&probe))?;
        let seen = pair.server.expect_where("A", &json!({"seq": below}))?;
        expect_that!(seen.payload().is_empty() && !seen.is_marked(), "{}", seen.0);
    }
    pair.exchange(b"goes on")?;
    Ok("at offset -1 and below una it arrives as a bare ACK".to_owned())
}

fn probe(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let pair = Pair::open(ctx, family, REDIS)?;
    let taps = pair.taps(ctx)?;
    let closed = Seg { tcp: json!({"window": 0}), ..pair.from_server("A", b"") };
    pair.server.send(&closed)?;
    let seen = pair.client.expect_where("A", &json!({"window": 0}))?;
    expect_that!(seen.number("ack") == pair.c, "{}", seen.0);
    pair.client.send(&pair.from_client("A", b"p"))?;
    let wire = taps.from_agent.expect_where("A", &json!({"seq": pair.c, "ack": pair.s}));
    let seen = pair.server.expect_where("A", &json!({"payload": "70"}))?;
    expect_that!(seen.number("seq") == pair.c, "{}", seen.0);
    // The handshake's own ACK has the same numbers and came first.
    let mut wire = wire?;
    if wire.payload().is_empty() {
        wire = taps.from_agent.expect_where("A", &json!({"seq": pair.c, "ack": pair.s}))?;
    }
    expect_that!(wire.payload().len() == 1 && wire.is_marked(), "{}", wire.0);
    Ok("one new octet against a closed window: tagged on the wire, opened at the end".to_owned())
}

fn urgent(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let pair = Pair::open(ctx, family, REDIS)?;
    let taps = pair.taps(ctx)?;
    let data = Seg { tcp: json!({"urgptr": 3}), ..pair.from_client("PAU", CANARY) };
    let cleared = (Node::Agent, "events", "urgent_cleared", 1);
    ctx.counted(cleared, || pair.client.send(&data))?;
    for view in [taps.from_agent.expect("PA")?, pair.server.expect("PA")?] {
        expect_that!(view.number("urgptr") == 0, "{}", view.0);
    }
    Ok("URG and pointer are gone on the wire and at the server".to_owned())
}

fn long(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let mut pair = Pair::open(ctx, family, REDIS)?;
    // The raw ends skip what lies between: the boxes see a stream of which they miss segments.
    let stride = (1u32 << 30) - 70_000;
    for _ in 0..5 {
        pair.exchange(CANARY)?;
        pair.answer(CANARY)?;
        pair.c = pair.c.wrapping_add(stride);
        pair.s = pair.s.wrapping_add(stride);
        // Both basis and una follow: una by an acknowledgement of what is sealed next.
    }
    let passed = 5 * (u64::from(stride) + CANARY.len() as u64);
    pair.exchange(CANARY)?;
    pair.answer(CANARY)?;
    Ok(format!("segments at offset {passed} in both directions"))
}

fn borders(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let pair = Pair::open(ctx, family, REDIS)?;
    let text = canary_text(900);
    let cuts = [(0, 300, "PA"), (150, 600, "A"), (0, 900, "PA"), (599, 601, "A"), (300, 900, "PA")];
    for (from, to, flags) in cuts {
        let octets = &text.as_bytes()[from..to];
        let seq = pair.c.wrapping_add(from as u32);
        let seg = Seg { seq, ack: pair.s, ..pair.from_client(flags, octets) };
        pair.client.send(&seg)?;
        let seen = pair.server.expect_where(flags, &json!({"seq": seq}))?;
        expect_that!(seen.payload() == octets, "{from}..{to} differs");
    }
    Ok(format!("{} overlapping cuts of one stream all open to its octets", cuts.len()))
}

fn ecn(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let mut pair = Pair::new(ctx, family, REDIS)?;
    let syn = Seg { flags: "SEC", seq: pair.c, ..Seg::default() };
    pair.client.send(&syn)?;
    pair.server.expect("SEC")?;
    pair.c = pair.c.wrapping_add(1);
    let answer = Seg { flags: "SAE", seq: pair.s, ack: pair.c, ..Seg::default() };
    pair.server.send(&answer)?;
    pair.s = pair.s.wrapping_add(1);
    pair.client.expect("SAE")?;
    pair.client.send(&pair.from_client("A", b""))?;
    let marks = [("PAE", 1), ("PAC", 2), ("PAECN", 3), ("PAN", 0)];
    for (flags, tos) in marks {
        let data = Seg { packet: json!({"tos": tos}), ..pair.from_client(flags, CANARY) };
        pair.client.send(&data)?;
        let seen = pair.server.expect_where(flags, &json!({"seq": pair.c}))?;
        let kept = seen.number("tos") == tos && seen.payload() == CANARY;
        expect_that!(kept, "{flags} with {tos}: {}", seen.0);
        pair.c = pair.c.wrapping_add(CANARY.len() as u32);
    }
    Ok(format!("{} combinations of ECE, CWR, AE and IP's ECN bits unchanged", marks.len()))
}

fn layouts(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let mut pair = Pair::open(ctx, family, REDIS)?;
    for words in 0..=10u8 {
        for unknown in [false, true] {
            let mut options = vec![1; usize::from(words) * 4];
            if unknown && words > 0 {
                // One option of an unassigned kind fills the list.
                options[..2].copy_from_slice(&[200, words * 4]);
            }
            let data = Seg { options: options.clone(), ..pair.from_client("PA", CANARY) };
            pair.client.send(&data)?;
            let seen = pair.server.expect_where("PA", &json!({"seq": pair.c}))?;
            expect_that!(seen.payload() == CANARY && !seen.is_marked(), "{words}: {}", seen.0);
            let fits = words <= 6;
            expect_that!(!fits || seen.options() == options, "{words} words: {}", seen.0);
            pair.c = pair.c.wrapping_add(CANARY.len() as u32);
        }
    }
    Ok("data offsets 20 to 60, padding and unknown options: every payload arrives".to_owned())
}

fn late(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let mut pair = Pair::open(ctx, family, REDIS)?;
    let first = pair.from_client("PA", CANARY);
    pair.exchange(CANARY)?;
    let fin = pair.from_client("FA", b"");
    pair.client.send(&fin)?;
    pair.server.expect("FA")?;
    pair.c = pair.c.wrapping_add(1);
    // Half closed: the server goes on.
    pair.answer(CANARY)?;
    pair.server.send(&pair.from_server("FA", b""))?;
    pair.client.expect("FA")?;
    pair.s = pair.s.wrapping_add(1);
    pair.client.send(&pair.from_client("A", b""))?;
    pair.server.expect_where("A", &json!({"ack": pair.s}))?;
    // TIME_WAIT: what was lost comes again, and still opens.
    for seg in [&first, &fin] {
        pair.client.send(seg)?;
        let seen = pair.server.expect_where(seg.flags, &json!({"seq": seg.seq}))?;
        expect_that!(seen.payload() == seg.payload, "{}", seen.0);
    }
    let port = format!(":{}", pair.client.local.port());
    for node in [Node::Gateway, Node::Agent] {
        wait_until("the linger is over", SOON, || {
            let sessions = ctx.chain.sessions(node)?;
            Ok(!sessions.iter().any(|session| session["client"].to_string().contains(&port)))
        })?;
    }
    ctx.dropped((Node::Agent, "no_session", 1), || pair.client.send(&first))?;
    pair.server.expect_nothing()?;
    Ok("data after one FIN, retransmits after both; after the linger nothing".to_owned())
}

fn burst(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    const SEGMENTS: u32 = 200;
    let pair = Pair::open(ctx, family, REDIS)?;
    let size = CANARY.len() as u32;
    let ways =
        [(Node::Agent, &pair.client, &pair.server), (Node::Gateway, &pair.server, &pair.client)];
    for (node, from, to) in ways {
        let first = if node == Node::Agent {
            pair.from_client("PA", CANARY)
        } else {
            pair.from_server("PA", CANARY)
        };
        let segs: Vec<Seg> = (0..SEGMENTS)
            .map(|n| Seg { seq: first.seq.wrapping_add(n * size), ..first.clone() })
            .collect();
        // The box finds them all at once, more than one wake-up of its transmit ring sends; nothing
        // comes after them that would push them out.
        ctx.chain.process(node)?.signal(Signal::STOP)?;
        let sent = from.send_all(&segs);
        ctx.chain.process(node)?.signal(Signal::CONT)?;
        sent?;
        for seg in &segs {
            to.expect_where("PA", &json!({"seq": seg.seq}))?;
        }
    }
    Ok(format!("{SEGMENTS} segments that waited for each box, all out of it"))
}

fn changed(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let pair = Pair::open(ctx, family, REDIS)?;
    let taps = pair.taps(ctx)?;
    let texts = [canary_text(200).into_bytes(), canary_text(200).replace('0', "1").into_bytes()];
    let mut streams = Vec::new();
    for text in &texts {
        pair.client.send(&pair.from_client("PA", text))?;
        let (wire, seen) = (taps.from_agent.expect("PA")?, pair.server.expect("PA")?);
        expect_that!(&seen.payload() == text, "the server sees another payload");
        let stream: Vec<u8> = wire.payload().iter().zip(text).map(|(c, p)| c ^ p).collect();
        streams.push((stream, wire.option(253)));
    }
    let equal = streams[0].0.iter().zip(&streams[1].0).filter(|(a, b)| a == b).count();
    expect_that!(equal < 20, "{equal} of 200 octets of both keystreams are equal");
    expect_that!(streams[0].1 != streams[1].1, "both have the same tag");
    // Equal octets again: an equal segment, which tells nothing new.
    pair.client.send(&pair.from_client("PA", &texts[0]))?;
    let again = taps.from_agent.expect("PA")?;
    expect_that!(again.option(253) == streams[0].1, "the same segment got another tag");
    Ok(format!("same offset, other octets: other tag, {equal} of 200 keystream octets equal"))
}
