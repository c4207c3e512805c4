//! An attacker who sees all that crosses the cipher side, and what a host of the plain side can
//! send: forged, replayed and reflected segments, resets, SYNs, key delivery, and errors that quote
//! what was opened. Owns what was seen; a forged frame is one that must not be believed.

use std::collections::VecDeque;
use std::net::SocketAddr;

use sekisho_port::PortSide;
use sekisho_wire::{AcceptOption, OptionCodes, RequestOption, TcpFlags, checksum, parse_frame};

use super::alter;
use super::dice::Dice;
use super::frame::{self, ETHERNET, Segment, ip_header, with_ethernet};
use super::plan::Plan;

/// Frames remembered of each place.
const SEEN: usize = 24;
/// Octets of a packet that an error quotes at most.
const QUOTED: usize = 500;

/// A frame of the attacker's, and where it goes in.
pub(super) struct Strike {
    pub(super) station: usize,
    pub(super) side: PortSide,
    pub(super) frame: Vec<u8>,
    pub(super) is_forged: bool,
}

/// The attacker.
pub(super) struct Attacker {
    /// By the station that the frames came to.
    crossed: [VecDeque<Vec<u8>>; 2],
    /// Frames that the gateway opened.
    opened: VecDeque<Vec<u8>>,
    dice: Dice,
}

impl Attacker {
    /// The attacker of a plan.
    pub(super) fn new(plan: &Plan) -> Self {
        let dice = Dice::new(plan.seed, "attacker");
        Self { crossed: [VecDeque::new(), VecDeque::new()], opened: VecDeque::new(), dice }
    }

    /// A frame crosses the cipher side on its way to `station`.
    pub(super) fn see(&mut self, station: usize, frame: &[u8]) {
        remember(&mut self.crossed[station], frame);
    }

    /// The gateway opened a frame for the server.
    pub(super) fn see_opened(&mut self, frame: &[u8]) {
        remember(&mut self.opened, frame);
    }

    /// The next strike, if what was seen allows it. `stations` are agent and gateway.
    pub(super) fn strike(&mut self, gateway: usize) -> Option<Strike> {
        let station = self.dice.below(2) as usize;
        let side = PortSide::Cipher;
        let strike = |frame, is_forged| Strike { station, side, frame, is_forged };
        match self.dice.below(9) {
            0 | 1 => {
                let mut frame = self.recall(station)?;
                alter::forge(&mut frame, &mut self.dice).then_some(())?;
                Some(strike(frame, true))
            }
            2 => Some(strike(self.recall(station)?, false)),
            3 => self.reflect(station),
            4 | 5 => self.untagged(station).map(|frame| strike(frame, true)),
            6 => self.handshake(station, gateway).map(|frame| strike(frame, false)),
            7 => self.quotation(gateway),
            _ => self.plain_delivery(gateway),
        }
    }

    fn recall(&mut self, station: usize) -> Option<Vec<u8>> {
        let seen = &self.crossed[station];
        seen.get(self.dice.below(seen.len() as u64) as usize).cloned()
    }

    /// A sealed segment goes back to who sealed it.
    fn reflect(&mut self, station: usize) -> Option<Strike> {
        let mut frame = self.recall(station)?;
        alter::tagged(&frame)?;
        let view = parse_frame(&frame).ok()?;
        frame::readdress(&mut frame, view.destination(), view.source());
        let station = 1 - station;
        Some(Strike { station, side: PortSide::Cipher, frame, is_forged: true })
    }

    /// RST, FIN or data without a tag, at the very place where the receiver would take it.
    fn untagged(&mut self, station: usize) -> Option<Vec<u8>> {
        let (src, dst, tcp) = self.segment(station)?;
        let flags = self.dice.pick(&[
            TcpFlags::RST,
            TcpFlags::RST | TcpFlags::ACK,
            TcpFlags::FIN | TcpFlags::ACK,
            TcpFlags::PSH | TcpFlags::ACK,
        ]);
        let payload: &[u8] = if flags.contains(TcpFlags::PSH) { b"injected" } else { &[] };
        let (seq, ack) = (tcp.seq.get().wrapping_add(tcp.sequence_len()), tcp.ack.get());
        let segment = Segment { src, dst, seq, ack, flags, urgent: 0, options: &[], payload };
        Some(segment.build())
    }

    /// A SYN on a live tuple, or a SYN-ACK with another ISN, with our option as it should be.
    fn handshake(&mut self, station: usize, gateway: usize) -> Option<Vec<u8>> {
        let (src, dst, tcp) = self.segment(station)?;
        let codes = OptionCodes::default();
        let request_id = u64::from(self.dice.word()) + 1;
        let (flags, option) = if station == gateway {
            (TcpFlags::SYN, RequestOption { request_id }.encode(&codes))
        } else {
            (TcpFlags::SYN | TcpFlags::ACK, AcceptOption { request_id }.encode(&codes))
        };
        let mut options = vec![2, 4, 5, 0xb4];
        options.extend_from_slice(&option);
        options.resize(20, 1);
        let (seq, ack) = (self.dice.word(), tcp.ack.get());
        let segment =
            Segment { src, dst, seq, ack, flags, urgent: 0, options: &options, payload: &[] };
        Some(segment.build())
    }

    fn segment(
        &mut self,
        station: usize,
    ) -> Option<(SocketAddr, SocketAddr, sekisho_wire::TcpView)> {
        let frame = self.recall(station)?;
        let (view, tcp) = frame::tcp(&frame)?;
        Some((view.source()?, view.destination()?, tcp))
    }

    /// A router of the plain side complains of an opened packet and quotes it.
    fn quotation(&mut self, gateway: usize) -> Option<Strike> {
        let seen = self.opened.get(self.dice.below(self.opened.len() as u64) as usize)?;
        let view = parse_frame(seen).ok()?;
        let quoted = seen.get(ETHERNET..seen.len().min(ETHERNET + QUOTED))?;
        let is_v4 = view.src.is_ipv4();
        let (protocol, kind) = if is_v4 { (1, 3) } else { (58, 1) };
        let mut packet = ip_header(view.dst, view.src, protocol, 8 + quoted.len());
        packet.extend_from_slice(&[kind, 1, 0, 0, 0, 0, 0, 0]);
        packet.extend_from_slice(quoted);
        let mut frame = with_ethernet(&packet);
        let view = parse_frame(&frame).ok()?;
        checksum::fill_transport(&mut frame, &view);
        Some(Strike { station: gateway, side: PortSide::Plain, frame, is_forged: false })
    }

    /// A host of the plain side sends key delivery.
    fn plain_delivery(&mut self, gateway: usize) -> Option<Strike> {
        // What goes down comes from the server's address, as the plain side's frames do.
        let frame = self.recall(1 - gateway)?;
        parse_frame(&frame).ok()?.udp()?;
        Some(Strike { station: gateway, side: PortSide::Plain, frame, is_forged: true })
    }
}

fn remember(seen: &mut VecDeque<Vec<u8>>, frame: &[u8]) {
    if seen.len() == SEEN {
        seen.pop_front();
    }
    seen.push_back(frame.to_vec());
}
