//! What cases share that let the independent client agent talk to the gateway: a live session of it, with a
//! raw server behind the gateway.

use std::net::SocketAddr;
use std::rc::Rc;

use serde_json::{Value, json};

use crate::expect_that;
use crate::hazards::Context;
use crate::hazards::raw::{ETH, End, SERVER_ISN, Seg};
use crate::lab::LabResult;
use crate::lab::config::REDIS;
use crate::lab::guests::PeerAgent;
use crate::lab::topology::{Family, Host};

/// An independent agent's live session.
pub struct Live {
    /// The agent with its client, at the stranger's.
    pub agent: PeerAgent,
    /// The raw server.
    pub server: End,
    /// Next sequence number of the client.
    pub c: u32,
    /// Next sequence number of the server.
    pub s: u32,
}

/// Lets the independent agent send its SYN and EARLY; the raw server that will see the SYN.
pub fn begin(ctx: &mut Context, family: Family, settings: Value) -> LabResult<(PeerAgent, End)> {
    let port = ctx.port();
    begin_at(ctx, SocketAddr::new(Host::Stranger.address(family), port), settings)
}

/// The same from a chosen address and port.
pub fn begin_at(
    ctx: &mut Context,
    local: SocketAddr,
    settings: Value,
) -> LabResult<(PeerAgent, End)> {
    let family = if local.is_ipv4() { Family::V4 } else { Family::V6 };
    let remote = SocketAddr::new(Host::Server2.address(family), REDIS);
    let guests = ctx.guests()?;
    let server =
        End { scapy: Rc::clone(&guests.server), interface: ETH, local: remote, remote: local };
    let scapy = if settings["interface"].is_null() { &guests.stranger } else { &guests.router };
    let scapy = Rc::clone(scapy);
    let agent = PeerAgent::connect(&ctx.chain, &scapy, (local, remote), (settings, 0))?;
    Ok((agent, server))
}

impl Live {
    /// Connects; `settings` as the helper's command `agent` takes them.
    pub fn open(ctx: &mut Context, family: Family, settings: Value) -> LabResult<Self> {
        let ends = begin(ctx, family, settings)?;
        Self::establish(ends)
    }

    /// Answers the SYN and waits for the end of the handshake.
    pub fn establish((agent, server): (PeerAgent, End)) -> LabResult<Self> {
        let syn = server.expect("S")?;
        let c = syn.number("seq").wrapping_add(1);
        server.send(&Seg { flags: "SA", seq: SERVER_ISN, ack: c, ..Seg::default() })?;
        let seen = agent.ask("established", json!({"ms": 5000}))?;
        expect_that!(seen["established"] == true, "not established: {seen}");
        server.expect("A")?;
        Ok(Self { agent, server, c, s: SERVER_ISN.wrapping_add(1) })
    }

    /// Sends a sealed segment at an offset; `more` are further fields of the helper's command `sealed`.
    pub fn sealed(
        &self,
        offset: u64,
        (flags, payload): (&str, &[u8]),
        more: Value,
    ) -> LabResult<Value> {
        let mut fields = json!({
            "offset": offset, "flags": flags, "payload": crate::lab::guests::hex(payload),
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            fields[name] = value.clone();
        }
        self.agent.ask("sealed", fields)
    }

    /// Sends an honest segment at an offset and sees it at the server.
    pub fn says(&self, offset: u64, payload: &[u8]) -> LabResult {
        self.sealed(offset, ("PA", payload), json!({}))?;
        let seq = self.c.wrapping_add(offset as u32);
        let seen = self.server.expect_where("PA", &json!({"seq": seq}))?;
        expect_that!(seen.payload() == payload, "the server sees another payload");
        Ok(())
    }

    /// The server's next octets, verified by the agent.
    pub fn hears(&mut self, payload: &[u8]) -> LabResult {
        let data = Seg { flags: "PA", seq: self.s, ack: self.c, ..Seg::default() };
        self.server.send(&Seg { payload: payload.to_vec(), ..data })?;
        let fields = json!({"count": 1, "ms": 5000, "hex": crate::lab::guests::hex(payload)});
        let seen = self.agent.ask("hears", fields)?;
        expect_that!(seen["heard"] == true, "not verified at the agent: {seen}");
        self.s = self.s.wrapping_add(payload.len() as u32);
        Ok(())
    }
}
