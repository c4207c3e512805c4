//! Nothing crosses the cipher side in clear: every segment with content that a station of a
//! ciphered session sends verifies under a key that this station was given, and no frame, errors
//! with their quotations included, shows the canary. Owns the keys of the run, so that it needs
//! nobody's word for what is in a segment.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use sekisho_cipher::{Associated, EpochKeys, KeyContext, Payload, SegmentFlags};
use sekisho_session::{FlowKey, RST_ANSWER_OFFSET};
use sekisho_wire::{FrameView, SekishoOption, TcpFlags, TcpOptionsSummary, TcpView};

use super::Finding;
use super::keystream::{Keystream, Sealed};
use crate::sim::frame;
use crate::sim::pattern::has_canary;

const IN_CLEAR: &str = "nothing in clear on the cipher side";
const UNKNOWN_KEY: &str = "what is sealed opens under the session's key";
const DEAD_KEY: &str = "no key outlives its session";

/// Client and server.
type Ends = (SocketAddr, SocketAddr);

/// A session at one station.
struct Held {
    key: usize,
    client_isn: u32,
    server_isn: Option<u32>,
    is_closed: bool,
}

struct Epoch {
    keys: EpochKeys,
    contexts: [KeyContext; 2],
}

/// The keys of a run and what was sealed with them.
#[derive(Default)]
pub(in crate::sim) struct CipherSide {
    epochs: Vec<Epoch>,
    held: BTreeMap<(usize, Ends), Vec<Held>>,
    /// ISN of the SYN-ACK that a station sent or let through, by its session.
    answers: BTreeMap<(usize, Ends, u32), u32>,
    keystream: Keystream,
    scratch: Vec<u8>,
    verified: u64,
    wire_waits: bool,
}

impl CipherSide {
    /// Nothing seen yet. Where the wire may be blocked a segment can leave after the end of the
    /// session that sealed it.
    pub(in crate::sim) fn new(wire_waits: bool) -> Self {
        Self { wire_waits, ..Self::default() }
    }

    /// Segments looked into so far.
    pub(in crate::sim) fn verified(&self) -> u64 {
        self.verified
    }

    /// Control gives keys to a session of `station`.
    pub(in crate::sim) fn install(
        &mut self,
        station: usize,
        (flow, client_isn): (&FlowKey, u32),
        keys: &EpochKeys,
    ) {
        let up = keys.client_to_server();
        let known =
            self.epochs.iter().position(|epoch| epoch.keys.client_to_server().ct_eq(up).into());
        let key = known.unwrap_or_else(|| {
            let mut copy = EpochKeys::vacant();
            copy.copy_from(keys);
            let contexts = [KeyContext::new(up), KeyContext::new(keys.server_to_client())];
            self.epochs.push(Epoch { keys: copy, contexts });
            self.epochs.len() - 1
        });
        let held = Held { key, client_isn, server_isn: None, is_closed: false };
        self.held.entry((station, flow.to_socket_addrs())).or_default().push(held);
    }

    /// A worker of `station` says that a session is gone.
    pub(in crate::sim) fn close(&mut self, station: usize, flow: &FlowKey, client_isn: u32) {
        // A later session of the same client ISN has another answer.
        self.answers.remove(&(station, flow.to_socket_addrs(), client_isn));
        let held = self.held.get_mut(&(station, flow.to_socket_addrs()));
        for session in held.into_iter().flatten() {
            session.is_closed |= session.client_isn == client_isn;
        }
    }

    /// A station forgot everything.
    pub(in crate::sim) fn crash(&mut self, station: usize) {
        self.held.retain(|(at, _), _| *at != station);
        self.answers.retain(|(at, ..), _| *at != station);
    }

    /// A frame leaves `station` by its cipher side; `upwards`: towards the server.
    pub(in crate::sim) fn take(
        &mut self,
        station: usize,
        upwards: bool,
        bytes: &[u8],
        may_be_clear: bool,
    ) -> Result<(), Finding> {
        let shown = has_canary(bytes);
        let Some((view, tcp)) = frame::tcp(bytes) else {
            return if shown {
                Err((IN_CLEAR, "a frame that is no TCP".to_owned()))
            } else {
                Ok(())
            };
        };
        let (Some(src), Some(dst)) = (view.source(), view.destination()) else { return Ok(()) };
        let ends = if upwards { (src, dst) } else { (dst, src) };
        if tcp.flags.syn() {
            if tcp.flags.ack() {
                let key = (station, ends, tcp.ack.get().wrapping_sub(1));
                self.answers.entry(key).or_insert(tcp.seq.get());
            }
            return if shown { Err((IN_CLEAR, "a SYN".to_owned())) } else { Ok(()) };
        }
        let summary = TcpOptionsSummary::walk(tcp.options(bytes), &Default::default());
        match summary.sekisho() {
            Ok(Some(SekishoOption::Tag(tag))) => {
                if shown {
                    return Err((IN_CLEAR, format!("a tagged segment at {}", tcp.seq.get())));
                }
                self.verify((station, ends, upwards), bytes, (&view, &tcp), &tag.tag)
            }
            _ if tcp.is_pure_ack() || refuses_syn(&tcp) => Ok(()),
            _ if may_be_clear && !self.is_ciphered(station, &ends) => Ok(()),
            _ => Err((IN_CLEAR, format!("{:?} at {} without a tag", tcp.flags, tcp.seq.get()))),
        }
    }

    /// Whether a session of these ends has keys at `station`.
    fn is_ciphered(&self, station: usize, ends: &Ends) -> bool {
        let sessions = self.held.get(&(station, *ends));
        sessions.is_some_and(|sessions| sessions.iter().any(|session| !session.is_closed))
    }

    fn verify(
        &mut self,
        (station, ends, upwards): (usize, Ends, bool),
        bytes: &[u8],
        (_, tcp): (&FrameView, &TcpView),
        tag: &[u8; 12],
    ) -> Result<(), Finding> {
        let direction = usize::from(!upwards);
        let flags = SegmentFlags { fin: tcp.flags.fin(), rst: tcp.flags.rst() };
        let ciphertext = tcp.payload.slice(bytes);
        let Self { epochs, held, answers, scratch, wire_waits, .. } = self;
        for session in held.get_mut(&(station, ends)).into_iter().flatten().rev() {
            session.server_isn = session
                .server_isn
                .or_else(|| answers.get(&(station, ends, session.client_isn)).copied());
            let isn = if upwards { Some(session.client_isn) } else { session.server_isn };
            let counted = isn.map(|isn| u64::from(tcp.seq.get().wrapping_sub(isn.wrapping_add(1))));
            let answer = (flags.rst && tcp.payload.len == 0).then_some(RST_ANSWER_OFFSET);
            for offset in counted.into_iter().chain(answer) {
                let associated = Associated { offset, flags, phase: 0 };
                let context = &epochs[session.key].contexts[direction];
                scratch.clear();
                scratch.extend_from_slice(ciphertext);
                let at = Payload { src: 0, dst: 0, len: tcp.payload.len };
                if sekisho_cipher::open(context, &associated, scratch, at, tag).is_err() {
                    continue;
                }
                if session.is_closed && !*wire_waits {
                    return Err((DEAD_KEY, format!("{ends:?} at offset {offset}")));
                }
                self.verified += 1;
                let key = (session.key, direction as u8);
                let (tag, flags, plaintext) = (*tag, flags.bits(), scratch.as_slice());
                return self.keystream.take(&Sealed {
                    key,
                    tag,
                    offset,
                    flags,
                    plaintext,
                    ciphertext,
                });
            }
        }
        Err((UNKNOWN_KEY, format!("{ends:?} {:?} at {}", tcp.flags, tcp.seq.get())))
    }
}

/// A RST in answer to a SYN without request: nobody has a key that could protect it.
fn refuses_syn(tcp: &TcpView) -> bool {
    tcp.flags == TcpFlags::RST | TcpFlags::ACK && tcp.seq.get() == 0 && tcp.payload.len == 0
}
