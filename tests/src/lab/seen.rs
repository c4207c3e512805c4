//! Captured frames as a test reads them: TCP segments with our option, key-delivery messages by name.
//! Owns the reading only; the bytes come from `capture`.

use std::net::SocketAddr;

use sekisho_wire::{FrameView, OptionCodes, SekishoOption, TcpOptionsSummary, parse_frame};

use super::capture::CapturedFrame;
use super::config::KEY_DELIVERY;

/// Names of key-delivery messages by their type octet (spec, messages).
const MESSAGES: [&str; 7] = ["EARLY", "INVITE", "IDENTIFY", "DELIVER", "SYNC", "SYNCED", "REFUSE"];

/// A captured frame that parses.
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    /// The frame.
    pub frame: &'a CapturedFrame,
    /// Its parse.
    pub view: FrameView,
}

/// The captured frames that parse, in order.
pub fn parse(frames: &[CapturedFrame]) -> Vec<Seen<'_>> {
    frames
        .iter()
        .filter_map(|frame| Some(Seen { frame, view: parse_frame(&frame.bytes).ok()? }))
        .collect()
}

impl Seen<'_> {
    /// Source and destination of TCP or UDP.
    pub fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        Some((self.view.source()?, self.view.destination()?))
    }

    /// Whether the frame goes either way between these two.
    pub fn between(&self, a: SocketAddr, b: SocketAddr) -> bool {
        self.ends() == Some((a, b)) || self.ends() == Some((b, a))
    }

    /// TCP payload, empty for all else.
    pub fn payload(&self) -> &[u8] {
        self.view.tcp().map_or(&[], |tcp| tcp.payload.slice(&self.frame.bytes))
    }

    /// Our option, if it has one of default codes.
    pub fn option(&self) -> Option<SekishoOption> {
        let options = self.view.tcp()?.options(&self.frame.bytes);
        TcpOptionsSummary::walk(options, &OptionCodes::default()).sekisho().ok().flatten()
    }

    /// The name of a key-delivery message.
    pub fn message(&self) -> Option<&'static str> {
        let udp = self.view.udp()?;
        if udp.src_port != KEY_DELIVERY && udp.dst_port != KEY_DELIVERY {
            return None;
        }
        // Version, then type.
        let kind = *udp.payload.slice(&self.frame.bytes).get(1)?;
        MESSAGES.get(usize::from(kind)).copied()
    }

    /// What it is, for a time line: `SYN + request`, `data 512 B + tag`, `INVITE` …
    pub fn describe(&self) -> String {
        if let Some(message) = self.message() {
            return format!("key delivery {message}");
        }
        if let Some(udp) = self.view.udp() {
            return format!("UDP {} B", udp.payload.len);
        }
        let Some(tcp) = self.view.tcp() else { return "other".to_owned() };
        let flags = tcp.flags;
        let mut text = match (flags.syn(), flags.ack(), flags.rst(), flags.fin()) {
            (true, false, ..) => "SYN".to_owned(),
            (true, true, ..) => "SYN-ACK".to_owned(),
            (_, _, true, _) => "RST".to_owned(),
            (_, _, _, true) => "FIN".to_owned(),
            _ if tcp.payload.is_empty() => "ACK".to_owned(),
            _ => "data".to_owned(),
        };
        if !tcp.payload.is_empty() {
            text.push_str(&format!(" {} B", tcp.payload.len));
        }
        text.push_str(match self.option() {
            Some(SekishoOption::Request(_)) => " + cipher request",
            Some(SekishoOption::Accept(_)) => " + accept",
            Some(SekishoOption::Tag(_)) => " + tag",
            Some(SekishoOption::Resync(_)) => " + resync",
            None => "",
        });
        text
    }
}
