//! Cases of paths that change or fail for a while: rows 6, 15, 16, 31.

use std::time::Duration;

use crate::expect_that;
use crate::hazards::{Case, Context, Evidence, Lab};
use crate::impair::spec::Way;
use crate::lab::chain::Node;
use crate::lab::config::{ECHO, STREAM};
use crate::lab::impaired::{Cable, Impairer};
use crate::lab::peers::{Server, dial, exchange};
use crate::lab::process::wait_until;
use crate::lab::programs::canary_text;
use crate::lab::streams::{carry, run, serve};
use crate::lab::topology::{Family, Host, TO_AGENT, TO_GATEWAY};
use crate::lab::{LabError, LabResult};

/// Octets of a stream that is changed in its middle.
const LONG: u64 = 16 << 20;
/// A black hole shows as a stream that stands still.
const STALL: Duration = Duration::from_secs(10);
/// Above IPv6's least MTU even after the tag's share.
const MTU: u16 = 1350;

/// A host sends a SYN again after a second: by now it has.
const TWO_SYNS: Duration = Duration::from_millis(1500);

/// Row 6: the network narrows in mid-stream, both ways.
pub const NARROWED: Case = Case::new("path_mtu_falls_in_mid_stream", Lab::Impaired, narrowed);
/// Row 16: SYNs lost and sent again.
pub const SYN_AGAIN: Case = Case::new("syn_sent_again_asks_once", Lab::Impaired, syn_again);
/// Row 15: the same ports again and again, at once.
pub const REUSED: Case = Case::new("ports_used_again_at_once", Lab::Impaired, reused);
/// Row 31: hosts without timestamps, SACK and window scaling.
pub const BARE: Case = Case::new("hosts_without_options", Lab::Impaired, bare);

fn narrowed(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let chain = &ctx.chain;
    let _server = serve(chain.host(Host::Server1), STREAM)?;
    let lowered = |node| chain.count(node, "events", "mtu_lowered");
    let mut seen = Vec::new();
    for (way, host, interface, teller) in [
        (Way::Up, Host::Server1, TO_GATEWAY, Node::Agent),
        (Way::Down, Host::Client1, TO_AGENT, Node::Gateway),
    ] {
        let before = lowered(teller)?;
        let stream = dial(chain.host(Host::Client1), Host::Server1.address(family), STREAM)?;
        let moved = if way == Way::Up { "opened_bytes" } else { "sealed_bytes" };
        let start = chain.count(Node::Gateway, "events", moved)?;
        let carrying = std::thread::spawn(move || run(stream, way, LONG, STALL));
        wait_until("the stream is under way", STALL, || {
            Ok(chain.count(Node::Gateway, "events", moved)? > start + (1 << 20))
        })?;
        let address = host.address(family);
        let route = format!("route replace {address} dev {interface} mtu lock {MTU}");
        chain.topology.router.ip(&route)?;
        let carried = carrying.join().unwrap_or(Ok(()));
        chain.topology.router.ip(&format!("route del {address} dev {interface}"))?;
        for host in [Host::Client1, Host::Server1] {
            for version in ["-4", "-6"] {
                chain.host(host).ip(&format!("{version} route flush cache"))?;
            }
        }
        carried.map_err(LabError::io(format!("{} after the path had narrowed", way.label())))?;
        let rise = lowered(teller)? - before;
        expect_that!(rise > 0, "{teller:?} told no lower MTU {}", way.label());
        seen.push(format!("{} {rise}", way.label()));
    }
    Ok(format!("MTU {MTU} in mid-stream, errors told lower by 16: {}", seen.join(", ")))
}

fn syn_again(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let chain = &ctx.chain;
    let _server = Server::echo(chain.host(Host::Server1), ECHO)?;
    let (asked, opened) =
        (chain.audit().len(), chain.count(Node::Agent, "events", "sessions_opened")?);
    // The answers are lost: both boxes hear the SYN, and hear it again a second later.
    let words = ["--down", "loss=100"];
    let mut impairer = Impairer::start(&chain.topology, Cable::GatewayPlain, &words)?;
    let address = Host::Server1.address(family);
    let dialled = std::thread::scope(|scope| {
        let dialling = scope.spawn(|| dial(chain.host(Host::Client1), address, ECHO));
        std::thread::sleep(TWO_SYNS);
        let mended = impairer.control("both");
        let dialled = dialling.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        mended.and(dialled)
    });
    exchange(&mut dialled?, canary_text(5000).as_bytes())?;
    let did = impairer.finish()?;
    let asked = chain.audit().len() - asked;
    let opened = chain.count(Node::Agent, "events", "sessions_opened")? - opened;
    let lost = did.count(Way::Down, "lost");
    expect_that!(lost >= 2, "only {lost} answers lost: no SYN came twice");
    expect_that!(asked == 1 && opened == 1, "{asked} key requests, {opened} sessions");
    Ok(format!("{lost} answers lost, SYN sent again, one session, one key request"))
}

fn reused(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    const ROUNDS: u64 = 40;
    let client = ctx.chain.host(Host::Client1);
    let _server = serve(ctx.chain.host(Host::Server1), STREAM)?;
    client.sysctl("net.ipv4.ip_local_port_range", "39000 39001")?;
    client.sysctl("net.ipv4.tcp_tw_reuse", "1")?;
    client.sysctl("net.ipv4.tcp_tw_reuse_delay", "10")?;
    let opened = ctx.chain.count(Node::Gateway, "events", "sessions_opened")?;
    let outcome = (0..ROUNDS).try_for_each(|round| {
        // What stays in TIME_WAIT may be used again after ten milliseconds.
        std::thread::sleep(Duration::from_millis(12));
        let way = Way::BOTH[(round % 2) as usize];
        carry(client, Host::Server1.address(family), STREAM, way, 20_000).map(drop)
    });
    client.sysctl("net.ipv4.ip_local_port_range", "32768 60999")?;
    outcome?;
    let opened = ctx.chain.count(Node::Gateway, "events", "sessions_opened")? - opened;
    expect_that!(opened == ROUNDS, "{opened} sessions for {ROUNDS} connections");
    Ok(format!("{ROUNDS} connections from two ports, each a session with a key of its own"))
}

fn bare(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let dress = |value: &str| -> LabResult {
        for host in [Host::Client1, Host::Server1] {
            for option in ["timestamps", "sack", "window_scaling"] {
                ctx.chain.host(host).sysctl(&format!("net.ipv4.tcp_{option}"), value)?;
            }
        }
        Ok(())
    };
    let _server = serve(ctx.chain.host(Host::Server1), STREAM)?;
    let words = ["--both", "loss=1,reorder=2"];
    let impairer = Impairer::start(&ctx.chain.topology, Cable::GatewayCipher, &words)?;
    dress("0")?;
    let outcome = Way::BOTH.into_iter().try_for_each(|way| {
        let address = Host::Server1.address(family);
        carry(ctx.chain.host(Host::Client1), address, STREAM, way, 512 << 10).map(drop)
    });
    dress("1")?;
    outcome?;
    let did = impairer.finish()?;
    Ok(format!("MSS alone in the SYN, {} frames lost", did.both("lost")))
}
