//! Cases shown by unchanged programs alone: rows 5, 28, 29, 30, 39.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use sekisho_wire::TcpOptionsSummary;

use crate::expect_that;
use crate::hazards::raw::ETH;
use crate::hazards::{Case, Context, Evidence, Lab};
use crate::lab::chain::{Node, binary};
use crate::lab::config::{BANNER, CLOSED, ECHO, UNPROTECTED};
use crate::lab::peers::{Server, banner_delay, connect, dial, exchange};
use crate::lab::process::run_any;
use crate::lab::programs::canary_text;
use crate::lab::seen;
use crate::lab::topology::{CIPHER, Family, Host, PLAIN, TO_BOX};
use crate::lab::unbind::unbind;
use crate::lab::veth::End;
use crate::lab::{LabError, LabResult};

/// A connect that must fail is given this long.
const REFUSED: Duration = Duration::from_secs(2);

/// A host sends a SYN-ACK, and octets that nobody acknowledges, again after this time at first.
const REPEATED: Duration = Duration::from_secs(1);

/// A stream whose frames are dropped is watched for this long.
const STUCK: Duration = Duration::from_millis(300);

/// Row 39: nobody listens, and the program is told at once.
pub const CLOSED_PORT: Case = Case::new("closed_port_refused_at_once", Lab::Ordinary, closed_port);
/// Row 29: SYN-ACK and ACK that come before the key are held, not repeated by their hosts.
pub const HELD: Case =
    Case::new("a_server_that_speaks_first_waits_for_nobody", Lab::Ordinary, held);
/// Row 28: two queues hash the two directions to different workers.
pub const TWO_WORKERS: Case = Case::new("two_workers_hand_over", Lab::TwoQueues, two_workers);
/// Row 28: a living gateway whose ports have a queue without a socket.
pub const UNBOUND: Case = Case::new("an_unbound_queue_fails_closed", Lab::TwoQueues, unbound);
/// Rows 28 and 30: a gateway killed under load.
pub const KILLED: Case = Case::new("killed_gateway_fails_closed", Lab::Crash, killed);
/// Row 30: the same under `fail = open`.
pub const KILLED_OPEN: Case = Case::new("killed_gateway_fails_open", Lab::FailOpen, killed_open);

/// Row 5: hosts leave checksums to devices, as veth and virtio let them.
pub const PARTIAL: Case = Case::new("partial_checksums_are_completed", Lab::Offloaded, partial);
/// Row 5: where they are not expected, `doctor` says what to switch off.
pub const DOCTOR: Case = Case::new("doctor_names_the_ethtool_line", Lab::Ordinary, doctor);

fn partial(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let _server = Server::echo(ctx.chain.host(Host::Server1), ECHO)?;
    talk(ctx, family)?;
    // In front of boxes that verify, the same hosts cannot even connect.
    for node in [Node::Gateway, Node::Agent] {
        expect_that!(ctx.chain.drops(node, "bad_checksum")? == 0, "{node:?} verified");
    }
    let reports = ctx.chain.watch.recent_at_gateway()?;
    let ciphered = seen::parse(&reports)
        .iter()
        .filter(|seen| seen.view.tcp().is_some())
        .map(|seen| sekisho_wire::checksum::verify_transport(&seen.frame.bytes, &seen.view))
        .collect::<Vec<bool>>();
    expect_that!(ciphered.len() > 10 && ciphered.iter().all(|&right| right), "{ciphered:?}");
    Ok(format!("{} segments on the cipher side, every checksum complete", ciphered.len()))
}

fn doctor(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let _server = Server::echo(ctx.chain.host(Host::Server1), ECHO)?;
    // The switch between would complete what the host leaves undone.
    let ends = [
        End::new(ctx.chain.host(Host::Client1), ETH),
        End::new(&ctx.chain.topology.office, TO_BOX),
    ];
    ends.iter().try_for_each(|end| end.features("tx on"))?;
    let client = ctx.chain.host(Host::Client1);
    let dropped = (Node::Agent, "bad_checksum", 1);
    let address = Host::Server1.address(family);
    let outcome = ctx.dropped(dropped, || connect(client, address, ECHO, Duration::from_secs(1)));
    ends.iter().try_for_each(|end| end.features("tx off"))?;
    expect_that!(outcome?.is_err(), "connected with a partial checksum");
    let mut command = ctx.chain.namespace(Node::Agent).command(binary()?);
    command.args(["doctor", "--config"]).arg(ctx.chain.config_file(Node::Agent));
    let said = run_any(&mut command, "", Duration::from_secs(20))?.stdout;
    let line = said.lines().find(|line| line.contains("ethtool -K") && line.contains("tx off"));
    let line = line.ok_or_else(|| LabError::Expectation(format!("doctor said:\n{said}")))?;
    Ok(format!("a partial checksum is dropped; doctor: {}", line.trim()))
}

fn closed_port(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let started = Instant::now();
    let client = ctx.chain.host(Host::Client1);
    let address = Host::Server1.address(family);
    let outcome = connect(client, address, CLOSED, Duration::from_secs(10))?;
    let took = started.elapsed();
    let Err(error) = outcome else {
        return Err(LabError::Expectation("connected to nobody".to_owned()));
    };
    let refused = error.kind() == std::io::ErrorKind::ConnectionRefused;
    expect_that!(refused && took < Duration::from_secs(1), "{error} after {took:?}");
    Ok(format!("connect to a closed port refused after {} ms", took.as_millis()))
}

fn held(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    /// Not every segment comes before its key.
    const CONNECTIONS: usize = 21;
    /// So many may be slow for the machine's sake.
    const LATE: usize = 3;
    let _server = Server::banner(ctx.chain.host(Host::Server1), BANNER)?;
    let (client, address) = (ctx.chain.host(Host::Client1), Host::Server1.address(family));
    let mut delays = (0..CONNECTIONS)
        .map(|_| banner_delay(client, address, BANNER))
        .collect::<LabResult<Vec<Duration>>>()?;
    delays.sort();
    let in_time = delays[CONNECTIONS - 1 - LATE] < REPEATED / 2;
    expect_that!(in_time, "{delays:?}: hosts had to send again");
    let median = delays[CONNECTIONS / 2].as_micros();
    Ok(format!("{CONNECTIONS} connections: the server's first octets after {median} us"))
}

fn two_workers(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let _server = Server::echo(ctx.chain.host(Host::Server1), ECHO)?;
    let handed = |ctx: &Context| -> LabResult<u64> {
        let status = ctx.chain.status(Node::Gateway)?;
        let workers = status["workers"].as_array().cloned().unwrap_or_default();
        Ok(workers.iter().filter_map(|worker| worker["exchange_out"].as_u64()).sum())
    };
    let before = handed(ctx)?;
    for _ in 0..8 {
        talk(ctx, family)?;
    }
    let rise = handed(ctx)? - before;
    expect_that!(rise > 0, "no frame came to the other worker: nothing was shown");
    Ok(format!("8 connections unharmed, {rise} frames handed to their owner"))
}

fn unbound(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    const STREAMS: usize = 24;
    let _server = Server::echo(ctx.chain.host(Host::Server1), ECHO)?;
    let address = Host::Server1.address(family);
    let text = canary_text(5000);
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        let mut stream = dial(ctx.chain.host(Host::Client1), address, ECHO)?;
        exchange(&mut stream, text.as_bytes())?;
        streams.push(stream);
    }
    let before = ctx.chain.drops(Node::Gateway, "no_socket")?;
    for name in [PLAIN, CIPHER] {
        unbind(End::new(ctx.chain.namespace(Node::Gateway), name), 1)?;
    }
    let stuck = |stream: &mut TcpStream| -> LabResult<bool> {
        stream.set_read_timeout(Some(STUCK)).map_err(LabError::io("set a limit"))?;
        Ok(exchange(stream, text.as_bytes()).is_err())
    };
    let stood = streams.iter_mut().map(stuck).collect::<LabResult<Vec<bool>>>()?;
    let stood = stood.iter().filter(|&&stood| stood).count();
    let rise = ctx.chain.drops(Node::Gateway, "no_socket")? - before;
    expect_that!(rise > 0 && stood > 0, "{stood} streams stood still, {rise} without a socket");
    expect_that!(stood < STREAMS, "the queues with sockets serve nobody");
    drop(streams);
    ctx.chain.process(Node::Gateway)?.crash()?;
    ctx.chain.start_node(Node::Gateway)?;
    talk(ctx, family)?;
    Ok(format!("{rise} frames of {stood} in {STREAMS} streams dropped in XDP, the others served"))
}

/// An exchange over a fresh connection.
fn talk(ctx: &Context, family: Family) -> LabResult {
    let mut stream = dial(ctx.chain.host(Host::Client1), Host::Server1.address(family), ECHO)?;
    exchange(&mut stream, canary_text(20_000).as_bytes())
}

fn killed(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let _echo = Server::echo(ctx.chain.host(Host::Server1), ECHO)?;
    let _other = Server::echo(ctx.chain.host(Host::Server1), UNPROTECTED)?;
    talk(ctx, family)?;
    ctx.chain.process(Node::Gateway)?.crash()?;
    let address = Host::Server1.address(family);
    for host in [Host::Client1, Host::Stranger] {
        let outcome = connect(ctx.chain.host(host), address, ECHO, REFUSED)?;
        expect_that!(outcome.is_err(), "{host:?} reached a service without the gateway");
    }
    let mut other = dial(ctx.chain.host(Host::Stranger), address, UNPROTECTED)?;
    exchange(&mut other, &[b'.'; 50_000])?;
    ctx.chain.start_node(Node::Gateway)?;
    talk(ctx, family)?;
    Ok("killed: the service times out, other traffic flows; restarted: it serves".to_owned())
}

fn killed_open(ctx: &mut Context, family: Family) -> LabResult<Evidence> {
    let _echo = Server::echo(ctx.chain.host(Host::Server1), ECHO)?;
    let address = Host::Server1.address(family);
    let mut living = dial(ctx.chain.host(Host::Client1), address, ECHO)?;
    exchange(&mut living, canary_text(5000).as_bytes())?;
    ctx.chain.process(Node::Gateway)?.crash()?;
    // In clear by policy: no canary in it.
    let mut stranger = dial(ctx.chain.host(Host::Stranger), address, ECHO)?;
    exchange(&mut stranger, &[b'.'; 5000])?;
    living.set_read_timeout(Some(Duration::from_secs(1))).map_err(LabError::io("set a limit"))?;
    let in_clear = ctx.chain.drops(Node::Agent, "tag_missing")?;
    let stuck = exchange(&mut living, canary_text(500).as_bytes());
    expect_that!(stuck.is_err(), "a live ciphered session went on without a gateway");
    let in_clear = ctx.chain.drops(Node::Agent, "tag_missing")? - in_clear;
    let tagged = seen::parse(&ctx.chain.watch.recent_plain()?)
        .iter()
        .filter_map(|seen| seen.view.tcp().map(|tcp| tcp.options(&seen.frame.bytes).to_vec()))
        .filter(|options| TcpOptionsSummary::walk(options, &Default::default()).ours_span.is_some())
        .count();
    expect_that!(
        in_clear == 0 && tagged == 0,
        "of a live ciphered session {tagged} segments came to the server, {in_clear} back in clear"
    );
    ctx.chain.start_node(Node::Gateway)?;
    talk(ctx, family)?;
    Ok("killed: a plain client is served in clear, the live ciphered session stays silent"
        .to_owned())
}
