//! Raw TCP ends on both sides of the boxes: a client and a server that send exactly what a case says and
//! see exactly what came. Owns their state of a connection (the next sequence numbers) and nothing more.

use std::net::SocketAddr;
use std::rc::Rc;

use serde_json::{Value, json};

use super::context::Context;
use crate::lab::guests::{hex, unhex};
use crate::lab::scapy::Scapy;
use crate::lab::topology::{Family, Host};
use crate::lab::{LabError, LabResult};

/// How long a frame may take, in milliseconds: the machine may be busy.
pub const PATIENCE: u64 = 5000;
/// Interface of hosts.
pub const ETH: &str = "eth0";

/// A received segment.
#[derive(Clone, Debug)]
pub struct View(pub Value);

impl View {
    /// A number of the segment: `seq`, `ack`, `window`, `urgptr`, `tos` …
    pub fn number(&self, name: &str) -> u32 {
        self.0[name].as_u64().unwrap_or(0) as u32
    }

    /// Its option list.
    pub fn options(&self) -> Vec<u8> {
        unhex(&self.0["options"])
    }

    /// Its payload.
    pub fn payload(&self) -> Vec<u8> {
        unhex(&self.0["payload"])
    }

    /// Its flags in the order FSRPAUECN.
    pub fn flags(&self) -> &str {
        self.0["flags"].as_str().unwrap_or_default()
    }

    /// The first option of a kind.
    pub fn option(&self, kind: u8) -> Option<Vec<u8>> {
        let options = self.options();
        let mut rest = options.as_slice();
        while let Some(&first) = rest.first() {
            let length = match (first, rest.get(1)) {
                (0, _) => return None,
                (1, _) => 1,
                (_, Some(&length)) if length >= 2 => usize::from(length),
                _ => return None,
            };
            let (option, behind) = rest.split_at_checked(length)?;
            if first == kind {
                return Some(option.to_vec());
            }
            rest = behind;
        }
        None
    }

    /// Whether an option of ours is in it.
    pub fn is_marked(&self) -> bool {
        self.option(253).is_some_and(|option| option.starts_with(&[253]) && option[2..3] == [0x5E])
    }
}

/// What a raw end sends. `tcp` and `packet` add to the description of the TCP header and of the packet
/// (tests/interop, `craft`).
#[derive(Clone, Default)]
pub struct Seg {
    /// Flags, in letters.
    pub flags: &'static str,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Option list, a multiple of four octets.
    pub options: Vec<u8>,
    /// Payload.
    pub payload: Vec<u8>,
    /// More of the TCP header.
    pub tcp: Value,
    /// More of the packet.
    pub packet: Value,
}

fn merge(into: &mut Value, more: &Value) {
    for (name, value) in more.as_object().into_iter().flatten() {
        into[name] = value.clone();
    }
}

/// One end of a connection.
#[derive(Clone)]
pub struct End {
    /// The process that sends and sees for it.
    pub scapy: Rc<Scapy>,
    /// Its interface.
    pub interface: &'static str,
    /// Its own address.
    pub local: SocketAddr,
    /// The other end's.
    pub remote: SocketAddr,
}

impl End {
    /// The description of a segment.
    pub fn describe(&self, seg: &Seg) -> Value {
        let mut packet =
            json!({"src": self.local.ip().to_string(), "dst": self.remote.ip().to_string()});
        let mut tcp = json!({
            "sport": self.local.port(), "dport": self.remote.port(), "flags": seg.flags,
            "seq": seg.seq, "ack": seg.ack, "options": hex(&seg.options),
            "payload": hex(&seg.payload),
        });
        merge(&mut tcp, &seg.tcp);
        packet["tcp"] = tcp;
        merge(&mut packet, &seg.packet);
        packet
    }

    /// Sends one segment.
    pub fn send(&self, seg: &Seg) -> LabResult {
        self.scapy.send(self.interface, &[self.describe(seg)]).map(drop)
    }

    /// Sends segments in one go.
    pub fn send_all(&self, segs: &[Seg]) -> LabResult {
        let all: Vec<Value> = segs.iter().map(|seg| self.describe(seg)).collect();
        self.scapy.send(self.interface, &all).map(drop)
    }

    fn wanted(&self, flags: Option<&str>) -> Value {
        let mut wanted = json!({
            "kind": "tcp", "src": self.remote.ip().to_string(), "dst": self.local.ip().to_string(),
            "sport": self.remote.port(), "dport": self.local.port(),
        });
        if let Some(flags) = flags {
            wanted["flags"] = flags.into();
        }
        wanted
    }

    /// The next segment with these flags from the other end; its checksum must be right.
    pub fn expect(&self, flags: &str) -> LabResult<View> {
        self.expect_where(flags, &json!({}))
    }

    /// The same with more to match.
    pub fn expect_where(&self, flags: &str, more: &Value) -> LabResult<View> {
        let mut wanted = self.wanted(Some(flags));
        merge(&mut wanted, more);
        match self.scapy.expect(self.interface, &wanted, PATIENCE)? {
            Some(view) if view["checksum_ok"] == true => Ok(View(view)),
            Some(view) => Err(LabError::Expectation(format!("wrong checksum: {view}"))),
            None => {
                let seen = self.drain()?;
                let seen: Vec<&str> = seen.iter().map(View::flags).collect();
                Err(LabError::Expectation(format!("{wanted} never came, but {seen:?}")))
            }
        }
    }

    /// Everything that came from the other end and was not asked for.
    pub fn drain(&self) -> LabResult<Vec<View>> {
        let all = self.scapy.drain(self.interface, &self.wanted(None))?;
        Ok(all.into_iter().map(View).collect())
    }

    /// Fails if anything came from the other end that was not asked for, bare acknowledgements aside.
    pub fn expect_nothing(&self) -> LabResult {
        let bare = |view: &View| view.flags() == "A" && view.payload().is_empty();
        match self.drain()?.iter().find(|view| !bare(view)) {
            None => Ok(()),
            Some(view) => Err(LabError::Expectation(format!("{} came through", view.0))),
        }
    }
}

/// A raw client at client1 and a raw server at server2, with the agent and the gateway between them.
pub struct Pair {
    /// The client.
    pub client: End,
    /// The server.
    pub server: End,
    /// Next sequence number of the client.
    pub c: u32,
    /// Next sequence number of the server.
    pub s: u32,
}

/// Frames of both cables as the network sees them: from the agent, and from the gateway.
pub struct Taps {
    /// From the agent towards the network.
    pub from_agent: End,
    /// From the gateway towards the network.
    pub from_gateway: End,
}

/// Initial sequence numbers of raw ends: near the wrap, so that every case crosses it.
pub const CLIENT_ISN: u32 = 0xFFFF_FFC0;
/// See [`CLIENT_ISN`].
pub const SERVER_ISN: u32 = 0xFFFF_FFE0;

impl Pair {
    /// Two ends that have sent nothing yet.
    pub fn new(ctx: &mut Context, family: Family, service: u16) -> LabResult<Self> {
        let port = ctx.port();
        let guests = ctx.guests()?;
        let client = SocketAddr::new(Host::Client1.address(family), port);
        let server = SocketAddr::new(Host::Server2.address(family), service);
        let end = |scapy: &Rc<Scapy>, local, remote| End {
            scapy: Rc::clone(scapy),
            interface: ETH,
            local,
            remote,
        };
        Ok(Self {
            client: end(&guests.client, client, server),
            server: end(&guests.server, server, client),
            c: CLIENT_ISN,
            s: SERVER_ISN,
        })
    }

    /// The same after the handshake, with plain options.
    pub fn open(ctx: &mut Context, family: Family, service: u16) -> LabResult<Self> {
        let mut pair = Self::new(ctx, family, service)?;
        pair.handshake(&[])?;
        Ok(pair)
    }

    /// The handshake with these options in SYN and SYN-ACK; how the other side saw them.
    pub fn handshake(&mut self, options: &[u8]) -> LabResult<(View, View)> {
        let options = options.to_vec();
        self.client.send(&Seg {
            flags: "S",
            seq: self.c,
            options: options.clone(),
            ..Seg::default()
        })?;
        self.c = self.c.wrapping_add(1);
        let syn = self.server.expect("S")?;
        self.server.send(&Seg {
            flags: "SA",
            seq: self.s,
            ack: self.c,
            options,
            ..Seg::default()
        })?;
        self.s = self.s.wrapping_add(1);
        let syn_ack = self.client.expect("SA")?;
        self.client.send(&self.from_client("A", b""))?;
        self.server.expect("A")?;
        Ok((syn, syn_ack))
    }

    /// The client's next segment; `c` stays.
    pub fn from_client(&self, flags: &'static str, payload: &[u8]) -> Seg {
        Seg { flags, seq: self.c, ack: self.s, payload: payload.to_vec(), ..Seg::default() }
    }

    /// The server's next segment; `s` stays.
    pub fn from_server(&self, flags: &'static str, payload: &[u8]) -> Seg {
        Seg { flags, seq: self.s, ack: self.c, payload: payload.to_vec(), ..Seg::default() }
    }

    /// Sends the client's next octets and the server's acknowledgement, both seen at the other end.
    pub fn exchange(&mut self, payload: &[u8]) -> LabResult<View> {
        self.client.send(&self.from_client("PA", payload))?;
        let view = self.server.expect_where("PA", &json!({"seq": self.c}))?;
        if view.payload() != payload {
            return Err(LabError::Expectation("the server sees another payload".to_owned()));
        }
        self.c = self.c.wrapping_add(payload.len() as u32);
        self.server.send(&self.from_server("A", b""))?;
        self.client.expect_where("A", &json!({"ack": self.c}))?;
        Ok(view)
    }

    /// The same from the server to the client.
    pub fn answer(&mut self, payload: &[u8]) -> LabResult<View> {
        self.server.send(&self.from_server("PA", payload))?;
        let view = self.client.expect_where("PA", &json!({"seq": self.s}))?;
        if view.payload() != payload {
            return Err(LabError::Expectation("the client sees another payload".to_owned()));
        }
        self.s = self.s.wrapping_add(payload.len() as u32);
        self.client.send(&self.from_client("A", b""))?;
        self.server.expect_where("A", &json!({"ack": self.s}))?;
        Ok(view)
    }

    /// Taps on both cables for this connection.
    pub fn taps(&self, ctx: &mut Context) -> LabResult<Taps> {
        use crate::lab::topology::{TO_AGENT, TO_GATEWAY};
        let router = Rc::clone(&ctx.guests()?.router);
        let tap = |interface, like: &End| End {
            scapy: Rc::clone(&router),
            interface,
            local: like.local,
            remote: like.remote,
        };
        Ok(Taps {
            from_agent: tap(TO_AGENT, &self.server),
            from_gateway: tap(TO_GATEWAY, &self.client),
        })
    }
}

/// A maximum segment size option.
pub fn mss(size: u16) -> Vec<u8> {
    let mut option = vec![2, 4];
    option.extend(size.to_be_bytes());
    option
}

/// The MSS that a host announces on Ethernet.
pub fn host_mss(family: Family) -> u16 {
    if family == Family::V4 { 1460 } else { 1440 }
}

/// A timestamps option behind two NOPs.
pub fn timestamps() -> Vec<u8> {
    vec![1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]
}
