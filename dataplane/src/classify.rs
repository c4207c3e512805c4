//! From bytes to a classified frame: parse, lengths, checksums, direction, flow. Reads only; owns
//! the decision of what a frame *is*, not of what happens to it.
//!
//! Of a TCP segment with payload only the headers are summed here: the cipher pass reads the
//! payload anyway and says what it sums to.

use sekisho_port::PortSide;
use sekisho_session::{Direction, FlowKey};
use sekisho_wire::{
    FrameView, IcmpView, OptionError, ParseError, SekishoOption, TcpOptionsSummary, TcpView,
    Transport, checksum, checksum::Sum, parse_frame,
};

use crate::config::WorkerConfig;
use crate::drop_reason::DropReason;

/// A TCP segment, read and named. `Copy` and without reference to the frame.
#[derive(Clone, Copy)]
pub(crate) struct Segment {
    /// Side it came in on.
    pub(crate) side: PortSide,
    /// Offsets of the whole frame.
    pub(crate) view: FrameView,
    /// Offsets and fields of TCP, as in `view`.
    pub(crate) tcp: TcpView,
    /// Which way it goes within its flow.
    pub(crate) direction: Direction,
    /// Client and server.
    pub(crate) flow: FlowKey,
    /// What its options say.
    pub(crate) options: TcpOptionsSummary,
    /// What is known of its checksum.
    pub(crate) received: Received,
}

/// What is known of the checksum that a segment came with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    /// It holds.
    Good,
    /// It holds if the payload's sum completes this one of the headers.
    Headers(Sum),
    /// The port promises nothing, so it was not looked at.
    Offloaded,
}

impl Received {
    /// Whether it holds for a payload of that sum (hazard 5, M3.10).
    pub(crate) fn holds(self, payload: u16) -> bool {
        match self {
            Self::Good | Self::Offloaded => true,
            Self::Headers(sum) => sum.word(payload).fold() == 0xFFFF,
        }
    }
}

impl Segment {
    /// Reads the payload for its sum, where that is not known yet.
    pub(crate) fn verify(&mut self, frame: &[u8]) -> Result<(), DropReason> {
        if let Received::Headers(_) = self.received {
            if !self.received.holds(Sum::of(self.tcp.payload.slice(frame)).fold()) {
                return Err(DropReason::BadChecksum);
            }
            self.received = Received::Good;
        }
        Ok(())
    }

    /// The one option of ours that it carries, or why it must not pass.
    pub(crate) fn ours(&self) -> Result<Option<SekishoOption>, DropReason> {
        self.options.sekisho().map_err(|error| match error {
            OptionError::MalformedList => DropReason::TcpOptions,
            OptionError::MalformedOurs | OptionError::DuplicateOurs | OptionError::NoRoom => {
                DropReason::OptionMalformed
            }
        })
    }

    /// Whether it carries what a tag protects: payload, FIN or RST (M2.2).
    pub(crate) fn has_content(&self) -> bool {
        self.tcp.payload.len > 0 || self.tcp.flags.fin() || self.tcp.flags.rst()
    }

    pub(crate) fn is_pure_ack(&self) -> bool {
        self.tcp.is_pure_ack()
    }
}

/// What a frame is.
#[allow(clippy::large_enum_variant)] // Lives on the stack for the time of one frame.
pub(crate) enum Class {
    /// A TCP segment.
    Tcp(Segment),
    /// A key-delivery datagram from the cipher side.
    Datagram(FrameView),
    /// An ICMP message that may be an error about protected TCP.
    Icmp(FrameView, IcmpView),
}

/// Reads a frame that came in on `side`.
pub(crate) fn classify(
    config: &WorkerConfig,
    side: PortSide,
    frame: &[u8],
) -> Result<Class, DropReason> {
    let view = parse_frame(frame).map_err(parse_reason)?;
    if view.l4_end - view.l2_len > config.mtu {
        return Err(DropReason::MtuExceeded);
    }
    let verify = config.verifies(side);
    match view.transport {
        Transport::Tcp(tcp) => {
            let received = if verify { headers(frame, &view, &tcp)? } else { Received::Offloaded };
            segment(config, side, frame, (view, tcp, received)).map(Class::Tcp)
        }
        Transport::Udp(udp) if [udp.src_port, udp.dst_port].contains(&config.kdp_port) => {
            // M4.1.
            if side == PortSide::Plain {
                return Err(DropReason::KdpFromPlain);
            }
            if verify && !checksums_hold(frame, &view) {
                return Err(DropReason::BadChecksum);
            }
            Ok(Class::Datagram(view))
        }
        Transport::Icmp(icmp) => {
            if verify && !checksums_hold(frame, &view) {
                return Err(DropReason::BadChecksum);
            }
            Ok(Class::Icmp(view, icmp))
        }
        Transport::Udp(_) | Transport::Other(_) => Err(DropReason::UnexpectedProtocol),
    }
}

fn checksums_hold(frame: &[u8], view: &FrameView) -> bool {
    checksum::verify_ipv4_header(frame, view) && checksum::verify_transport(frame, view)
}

/// The sum of a segment's headers; its whole checksum where there is no payload.
fn headers(frame: &[u8], view: &FrameView, tcp: &TcpView) -> Result<Received, DropReason> {
    let sum = checksum::tcp_header_sum(frame, view).ok_or(DropReason::TcpHeader)?;
    let received = Received::Headers(sum);
    let known_bad = tcp.payload.is_empty() && !received.holds(0);
    if known_bad || !checksum::verify_ipv4_header(frame, view) {
        return Err(DropReason::BadChecksum);
    }
    Ok(if tcp.payload.is_empty() { Received::Good } else { received })
}

fn segment(
    config: &WorkerConfig,
    side: PortSide,
    frame: &[u8],
    (view, tcp, received): (FrameView, TcpView, Received),
) -> Result<Segment, DropReason> {
    let flags = tcp.flags;
    let ends = u8::from(flags.syn()) + u8::from(flags.fin()) + u8::from(flags.rst());
    // A segment is one of SYN, FIN, RST at most, and without ACK only SYN or RST.
    if ends > 1 || !(flags.ack() || flags.syn() || flags.rst()) {
        return Err(DropReason::BadFlags);
    }
    let direction = config.role.direction(side);
    // Addresses that cannot be named (IPv4-mapped IPv6) are on no honest wire.
    let flow = FlowKey::from_view(&view, &tcp, direction).ok_or(DropReason::Ipv6Header)?;
    let options = TcpOptionsSummary::walk(tcp.options(frame), &config.options);
    Ok(Segment { side, view, tcp, direction, flow, options, received })
}

fn parse_reason(error: ParseError) -> DropReason {
    match error {
        ParseError::Truncated => DropReason::Truncated,
        ParseError::Oversized => DropReason::Oversized,
        ParseError::NotIp => DropReason::NotIp,
        ParseError::TooManyVlanTags => DropReason::VlanTags,
        ParseError::BadIpv4Header => DropReason::Ipv4Header,
        ParseError::Ipv4Options => DropReason::Ipv4Options,
        ParseError::BadIpv6Header => DropReason::Ipv6Header,
        ParseError::ExtensionHeader => DropReason::ExtensionHeader,
        ParseError::Fragment => DropReason::Fragment,
        ParseError::LengthMismatch => DropReason::LengthMismatch,
        ParseError::Jumbogram => DropReason::Jumbogram,
        ParseError::BadTcpHeader => DropReason::TcpHeader,
        ParseError::BadUdpHeader => DropReason::UdpHeader,
        ParseError::BadIcmpHeader => DropReason::IcmpHeader,
    }
}
