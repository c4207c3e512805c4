//! ICMP errors from the network about packets that left by the cipher port: which may reach the
//! plain side, and with which MTU (M7.21). Owns that decision; what the plain side's own errors may
//! quote is in `quotation`.
//!
//! Anybody can forge an error, and hosts believe it: only one who knows which octets are under way
//! (RFC 5927), or sits on the path, can forge one that passes.

use sekisho_port::{Frame, PortSide};
use sekisho_session::{FlowHasher, FlowKey, SessionId};
use sekisho_wire::options::TAG_OPTION_LEN;
use sekisho_wire::quote::{QUOTED_TRANSPORT_LEN, is_too_big, lower_mtu};
use sekisho_wire::{FrameView, IcmpView, IpKind, QuotedTcp, SeqNum};

use crate::drop_reason::DropReason;
use crate::quotation;
use crate::rewrite::{self, Checksum};
use crate::service::Policy;
use crate::verdict::Verdict;
use crate::worker::Worker;

/// Decides an ICMP error that came in by the cipher port.
pub(crate) fn decide(
    worker: &mut Worker,
    frame: &mut Frame,
    view: &FrameView,
    icmp: &IcmpView,
) -> Result<Verdict, DropReason> {
    if !may_tell(view.ip, icmp.kind) {
        return Err(DropReason::UnexpectedProtocol);
    }
    let quoted = QuotedTcp::read(frame.data(), view, icmp).ok_or(DropReason::IcmpHeader)?;
    // An error goes to who sent the packet that it is about.
    if quoted.source.ip() != view.dst {
        return Err(DropReason::IcmpUnrelated);
    }
    let flow = flow(worker, &quoted)?;
    let hash = worker.config.hasher.hash(&flow);
    let owner = FlowHasher::shard(hash, worker.exchange.workers());
    if owner != worker.exchange.own() {
        return Ok(Verdict::HandOff(owner as u32));
    }
    let Some(live) = worker.table.lookup_hashed(hash, &flow) else {
        return without_session(worker, frame, view, &flow).ok_or(DropReason::IcmpUnrelated);
    };
    let candidate = worker.table.candidate(&flow);
    if !is_under_way(worker, live, quoted.seq)
        && !candidate.is_some_and(|id| is_under_way(worker, id, quoted.seq))
    {
        // A spoofed request takes nothing from a connection in clear.
        let unkeyed = worker.table.get(live).is_some_and(|session| session.state().is_unkeyed());
        return unkeyed
            .then(|| without_session(worker, frame, view, &flow))
            .flatten()
            .ok_or(DropReason::IcmpWindow);
    }
    if is_too_big(view.ip, icmp) {
        // What the sender has to fit in is narrower by the tag (hazard 6, M7.22).
        if !lower_mtu(frame.data_mut(), view.ip, icmp, TAG_OPTION_LEN as u16) {
            return Err(DropReason::IcmpHeader);
        }
        worker.counters.tallies().mtu_lowered.add(1);
    }
    // The tag in a longer quotation is not the host's either (M2.5).
    quotation::cut_at(frame, view, icmp, quoted.transport + QUOTED_TRANSPORT_LEN)?;
    worker.counters.tallies().quotations_cut.add(1);
    Ok(Verdict::Forward)
}

/// Destination unreachable, time exceeded, parameter problem and, in IPv6, packet too big. Source
/// quench is obsolete (RFC 6633) and a redirect is the link's own affair.
fn may_tell(ip: IpKind, kind: u8) -> bool {
    match ip {
        IpKind::V4 => matches!(kind, 3 | 11 | 12),
        IpKind::V6 => matches!(kind, 1..=4),
    }
}

/// The flow of a packet that left by the cipher port: it came in by the other.
fn flow(worker: &Worker, quoted: &QuotedTcp) -> Result<FlowKey, DropReason> {
    let (client, server) = match worker.config.role.direction(PortSide::Plain) {
        sekisho_session::Direction::ClientToServer => (quoted.source, quoted.destination),
        sekisho_session::Direction::ServerToClient => (quoted.destination, quoted.source),
    };
    FlowKey::new(client, server).ok_or(DropReason::Ipv6Header)
}

fn is_under_way(worker: &Worker, id: SessionId, seq: SeqNum) -> bool {
    let direction = worker.config.role.direction(PortSide::Plain);
    worker.table.get(id).is_some_and(|session| session.half(direction).is_in_flight(seq))
}

/// What runs in clear by policy has no tag: its errors pass as they are.
fn without_session(
    worker: &mut Worker,
    frame: &mut Frame,
    view: &FrameView,
    flow: &FlowKey,
) -> Option<Verdict> {
    let server = flow.server();
    let passes = match worker.config.services.lookup(server.ip(), server.port()) {
        Some((_, Policy::Off)) => true,
        Some((_, Policy::Prefer)) => worker.clear.contains(flow),
        Some((_, Policy::Require)) | None => false,
    };
    if !passes {
        return None;
    }
    let stale = !worker.config.verifies(PortSide::Cipher);
    rewrite::pass(frame, view, if stale { Checksum::Stale } else { Checksum::Good });
    worker.counters.tallies().passed_clear.add(1);
    Some(Verdict::Forward)
}
