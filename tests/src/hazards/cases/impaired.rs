//! Cases shown by an impairment box in the path: rows 1, 2, 12, 13, 14, 18, 19, 22, 23, 33.

use std::time::Duration;

use crate::expect_that;
use crate::hazards::{Case, Context, Evidence, Lab};
use crate::impair::spec::Way;
use crate::lab::chain::Node;
use crate::lab::config::{ECHO, STREAM};
use crate::lab::impaired::{Cable, Did, Impairer};
use crate::lab::peers::{Server, connect, dial, exchange};
use crate::lab::programs::canary_text;
use crate::lab::seen;
use crate::lab::streams::{STALL, carry, carry_from, run, serve};
use crate::lab::topology::{Family, Host};
use crate::lab::{LabError, LabResult};

/// Octets of a stream.
const LENGTH: u64 = 512 << 10;
/// A stream that must stand still is watched for so long.
const STANDSTILL: Duration = Duration::from_secs(3);

/// Row 1: full segments both ways over a path that takes 1500 octets and no more.
pub const FULL_SEGMENTS: Case =
    Case::new("full_segments_fit_the_mtu", Lab::Impaired, full_segments);
/// Row 2: timestamps, SACK blocks and tag in the same segments.
pub const NO_ROOM: Case = Case::new("sack_gives_way_to_the_tag", Lab::Impaired, no_room);
/// Row 12: both directions wrap.
pub const WRAP: Case = Case::new("sequence_numbers_wrap_under_loss", Lab::Impaired, wrap);
/// Row 13: what is lost comes again with other borders.
pub const BORDERS: Case = Case::new("resent_with_other_borders", Lab::Impaired, borders);
/// Row 14: a path that cuts every segment.
pub const RESEGMENTED: Case = Case::new("cut_segments_are_refused", Lab::Impaired, resegmented);
/// Row 18: other ports at the gateway than at the agent.
pub const NAT: Case = Case::new("ports_translated_on_the_way", Lab::Impaired, nat);
/// Row 19: other initial sequence numbers.
pub const ISN: Case = Case::new("isns_rewritten_on_the_way", Lab::Impaired, isn);
/// Row 22: congestion marked on the way, answered with ECE and CWR.
pub const ECN: Case = Case::new("congestion_marks_cross", Lab::Impaired, ecn);
/// Row 23: tags overwritten in mid-flow.
pub const TAGS_STRIPPED: Case = Case::new("tags_stripped_in_mid_flow", Lab::Impaired, stripped);
/// Row 23: requests overwritten in SYNs.
pub const REQUEST_STRIPPED: Case =
    Case::new("request_stripped_from_the_syn", Lab::Impaired, no_request);
/// Row 33: half closes, and duplicates of everything long after.
pub const LATE: Case = Case::new("half_close_and_late_duplicates", Lab::Impaired, late);

/// Streams both ways while the box in `cable` does what `words` say.
fn streams(ctx: &Context, family: Family, cable: Cable, words: &[&str]) -> LabResult<Did> {
    let topology = &ctx.chain.topology;
    let _server = serve(ctx.chain.host(Host::Server1), STREAM)?;
    let impairer = Impairer::start(topology, cable, words)?;
    for way in Way::BOTH {
        let address = Host::Server1.address(family);
        carry(ctx.chain.host(Host::Client1), address, STREAM, way, LENGTH)?;
    }
    impairer.finish()
}

/// Drops of both boxes for one reason.
fn drops(ctx: &Context, reason: &str) -> LabResult<u64> {
    Ok(ctx.chain.drops(Node::Gateway, reason)? + ctx.chain.drops(Node::Agent, reason)?)
}

fn full_segments(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let lowered = |ctx: &Context| -> LabResult<u64> {
        let at = |node| ctx.chain.count(node, "events", "mss_lowered");
        Ok(at(Node::Gateway)? + at(Node::Agent)?)
    };
    let before = lowered(ctx)?;
    let did = streams(ctx, family, Cable::GatewayCipher, &["--both", "mtu=1500"])?;
    let rise = lowered(ctx)? - before;
    expect_that!(did.both("too_big") == 0, "packets beyond the MTU: {did}");
    expect_that!(rise == 4, "{rise} MSS lowered for two connections, each once at either box");
    let (bytes, frames) = (did.both("bytes"), did.both("frames"));
    Ok(format!("{frames} frames, {bytes} octets, none longer than 1500; each MSS lowered once"))
}

fn no_room(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let _server = Server::echo(ctx.chain.host(Host::Server1), ECHO)?;
    let words = ["--both", "loss=4,delay=3"];
    let impairer = Impairer::start(&ctx.chain.topology, Cable::GatewayCipher, &words)?;
    let trimmed = |node| ctx.chain.count(node, "events", "options_trimmed");
    let before = [trimmed(Node::Gateway)?, trimmed(Node::Agent)?];
    let mut stream = dial(ctx.chain.host(Host::Client1), Host::Server1.address(family), ECHO)?;
    exchange(&mut stream, canary_text(1 << 20).as_bytes())?;
    let did = impairer.finish()?;
    let [gateway, agent] = [trimmed(Node::Gateway)? - before[0], trimmed(Node::Agent)? - before[1]];
    expect_that!(gateway > 0 && agent > 0, "no segment was short of room: {did}");
    expect_that!(drops(ctx, "option_room")? == 0, "dropped for room");
    Ok(format!("{} frames lost, {gateway} and {agent} segments gave SACK blocks", did.both("lost")))
}

fn wrap(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    /// The wrap comes in mid-stream.
    const ISN: u32 = u32::MAX - 199_999;
    let topology = &ctx.chain.topology;
    let _server = serve(ctx.chain.host(Host::Server1), STREAM)?;
    let words = ["--server-isn", &ISN.to_string()];
    let shifter = Impairer::start(topology, Cable::GatewayPlain, &words)?;
    let lossy = Impairer::start(topology, Cable::GatewayCipher, &["--both", "loss=3,reorder=5"])?;
    let before = drops(ctx, "bad_tag")?;
    for way in Way::BOTH {
        carry_from(topology, Host::Server1.address(family), way, LENGTH, ISN)?;
    }
    let did = lossy.finish()?;
    shifter.finish()?;
    expect_that!(drops(ctx, "bad_tag")? == before, "a wrapped number reached a tag");
    Ok(format!("both ISNs at 2^32 - 200000, {} frames lost around the wrap", did.both("lost")))
}

fn borders(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let topology = &ctx.chain.topology;
    let lossy = Impairer::start(topology, Cable::GatewayCipher, &["--both", "loss=3"])?;
    let before = drops(ctx, "bad_tag")?;
    let did = streams(ctx, family, Cable::GatewayPlain, &["--both", "split=50"])?;
    let lost = lossy.finish()?.both("lost");
    expect_that!(did.both("split") > 100 && lost > 10, "{did}; {lost} lost");
    expect_that!(drops(ctx, "bad_tag")? == before, "other borders reached a tag");
    Ok(format!("{} segments cut anew on the plain side, {lost} lost", did.both("split")))
}

fn resegmented(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let topology = &ctx.chain.topology;
    let _server = serve(ctx.chain.host(Host::Server1), STREAM)?;
    let before = drops(ctx, "resegmented")?;
    let impairer = Impairer::start(topology, Cable::GatewayCipher, &["--both", "split=100"])?;
    let stream = dial(ctx.chain.host(Host::Client1), Host::Server1.address(family), STREAM)?;
    let outcome = run(stream, Way::Up, LENGTH, STANDSTILL);
    let did = impairer.finish()?;
    expect_that!(outcome.is_err(), "the stream arrived although every segment was cut");
    let seen = drops(ctx, "resegmented")? - before;
    expect_that!(seen > 0, "no drop says that segments were cut: {did}");
    Ok(format!("{} segments cut, {seen} dropped as such, nothing delivered", did.both("split")))
}

fn nat(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let did = streams(ctx, family, Cable::AgentCipher, &["--nat", "--both", "loss=1"])?;
    expect_that!(did.both("translated") > 500, "{did}");
    Ok(format!("{} packets translated, key delivery among them", did.both("translated")))
}

fn isn(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let words = ["--client-isn", "random", "--server-isn", "random", "--both", "loss=1"];
    let did = streams(ctx, family, Cable::AgentCipher, &words)?;
    for way in Way::BOTH {
        expect_that!(did.count(way, "shifted") > 100, "{did}");
    }
    Ok(format!("{} segments shifted, SACK blocks too", did.both("shifted")))
}

fn ecn(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let sysctl = |value| -> LabResult {
        for host in [Host::Client1, Host::Server1] {
            ctx.chain.host(host).sysctl("net.ipv4.tcp_ecn", value)?;
        }
        Ok(())
    };
    sysctl("1")?;
    let bad = drops(ctx, "bad_tag")?;
    let did = streams(ctx, family, Cable::GatewayCipher, &["--both", "mark=2"]);
    sysctl("2")?;
    let did = did?;
    expect_that!(did.both("marked") > 5, "{did}");
    expect_that!(drops(ctx, "bad_tag")? == bad, "a mark reached a tag");
    let frames = ctx.chain.watch.recent_plain()?;
    let segments = seen::parse(&frames);
    let flags = segments.iter().filter_map(|segment| Some(segment.view.tcp()?.flags));
    // Behind the SYN: the echo of a mark, and the answer to it on a data segment.
    let (mut echoed, mut reduced) = (0, 0);
    for flags in flags.filter(|flags| !flags.syn()) {
        echoed += u32::from(flags.contains(sekisho_wire::TcpFlags::ECE));
        reduced += u32::from(flags.contains(sekisho_wire::TcpFlags::CWR));
    }
    expect_that!(echoed > 0 && reduced > 0, "{echoed} ECE, {reduced} CWR on the plain side");
    Ok(format!("{} packets marked; {echoed} ECE, {reduced} CWR arrived", did.both("marked")))
}

fn stripped(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let topology = &ctx.chain.topology;
    let _server = serve(ctx.chain.host(Host::Server1), STREAM)?;
    let mut impairer = Impairer::start(topology, Cable::GatewayCipher, &[])?;
    let before = drops(ctx, "tag_missing")?;
    for way in Way::BOTH {
        impairer.control("both")?;
        let stream = dial(ctx.chain.host(Host::Client1), Host::Server1.address(family), STREAM)?;
        impairer.control("both strip=5,kinds=253")?;
        run(stream, way, LENGTH, STALL).map_err(LabError::io("a stream with tags stripped"))?;
    }
    let did = impairer.finish()?;
    let seen = drops(ctx, "tag_missing")? - before;
    expect_that!(seen > 10 && seen <= did.both("stripped"), "{seen} drops, {did}");
    Ok(format!("{} tags stripped, {seen} segments dropped as such, resent", did.both("stripped")))
}

fn no_request(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let topology = &ctx.chain.topology;
    let _server = serve(ctx.chain.host(Host::Server1), STREAM)?;
    let before = ctx.chain.drops(Node::Gateway, "no_request")?;
    let words = ["--both", "strip=100,kinds=253"];
    let impairer = Impairer::start(topology, Cable::GatewayCipher, &words)?;
    let address = Host::Server1.address(family);
    let outcome = connect(ctx.chain.host(Host::Client1), address, STREAM, STANDSTILL)?;
    let did = impairer.finish()?;
    expect_that!(outcome.is_err(), "connected without a request");
    let seen = ctx.chain.drops(Node::Gateway, "no_request")? - before;
    expect_that!(seen > 0, "no drop says that the request was missing: {did}");
    Ok(format!("{} requests stripped, {seen} SYNs dropped, no connection", did.both("stripped")))
}

fn late(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let words = ["--both", "duplicate=20,jitter=40,loss=1"];
    let did = streams(ctx, family, Cable::GatewayCipher, &words)?;
    expect_that!(did.both("duplicated") > 50, "{did}");
    let held = ctx.chain.keys_held(Node::Gateway)?;
    Ok(format!(
        "{} duplicates up to 40 ms late around the half closes, {held} sessions drain",
        did.both("duplicated")
    ))
}
