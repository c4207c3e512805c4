//! From bytes to a classified frame: parse, lengths, checksums, direction, flow. Reads only; owns
//! the decision of what a frame *is*, not of what happens to it.
//!
//! Of a TCP segment with payload only the headers are summed here: the cipher pass reads the
//! payload anyway and says what it sums to.

use sekisho_port::PortSide;
use sekisho_session::{Direction, FlowKey};
use sekisho_wire::checksum::{self, Sum};
use sekisho_wire::ip::PROTO_TCP;
use sekisho_wire::{
    FrameView, Layers, OptionError, ParseError, SekishoOption, TcpOptionsSummary, TcpView,
    Transport, UdpView,
};

use crate::config::WorkerConfig;
use crate::drop_reason::DropReason;
use crate::packet::Kind;

/// A TCP segment, read and named. `Copy` and without reference to the frame.
#[derive(Clone, Copy)]
pub(crate) struct Segment {
    /// Side it came in on.
    pub(crate) side: PortSide,
    /// Where its layers begin.
    pub(crate) layers: Layers,
    /// Offsets and fields of TCP.
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
    /// The port promises nothing; this is the sum of the headers with what stands in its place.
    Offloaded(Sum),
}

impl Received {
    /// The sum of the headers as they came, checksum included, where it was kept.
    pub(crate) fn header_sum(self) -> Option<Sum> {
        match self {
            Self::Good => None,
            Self::Headers(sum) | Self::Offloaded(sum) => Some(sum),
        }
    }

    /// Whether it holds for a payload of that sum (hazard 5, M3.10).
    pub(crate) fn holds(self, payload: u16) -> bool {
        match self {
            Self::Good | Self::Offloaded(_) => true,
            Self::Headers(sum) => sum.word(payload).fold() == 0xFFFF,
        }
    }
}

impl Segment {
    /// A place for a segment.
    pub(crate) fn vacant(side: PortSide) -> Self {
        Self {
            side,
            layers: Layers::NONE,
            tcp: TcpView::NONE,
            direction: Direction::ClientToServer,
            flow: FlowKey::UNSPECIFIED,
            options: TcpOptionsSummary::default(),
            received: Received::Good,
        }
    }

    /// The whole view of its frame, for what is no step of the hot path.
    pub(crate) fn view(&self, frame: &[u8]) -> Result<FrameView, DropReason> {
        let view = FrameView::of(frame, self.layers, Transport::Tcp(self.tcp));
        view.ok_or(DropReason::Truncated)
    }

    /// Reads the payload for its sum, where that is not known yet.
    #[inline(never)]
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

/// Reads a frame that came in on `side`: says what it is and fills `segment` in.
#[inline(always)]
pub(crate) fn classify(
    config: &WorkerConfig,
    side: PortSide,
    frame: &[u8],
    segment: &mut Segment,
) -> Kind {
    segment.side = side;
    let read = match segment.layers.read(frame) {
        Ok(()) if segment.layers.protocol == PROTO_TCP => tcp(config, frame, segment),
        Ok(()) => return other(config, side, frame, segment.layers).unwrap_or_else(Kind::Bad),
        Err(error) => Err(parse_reason(error)),
    };
    read.map_or_else(Kind::Bad, |()| Kind::Tcp)
}

#[inline(always)]
fn tcp(config: &WorkerConfig, frame: &[u8], segment: &mut Segment) -> Result<(), DropReason> {
    segment.tcp.read(frame, &segment.layers).map_err(parse_reason)?;
    fits(config, &segment.layers)?;
    headers(frame, segment, config.verifies(segment.side))?;
    name(config, frame, segment)
}

fn fits(config: &WorkerConfig, layers: &Layers) -> Result<(), DropReason> {
    let packet = layers.l4_end - layers.l3;
    if packet <= config.mtu { Ok(()) } else { Err(DropReason::MtuExceeded) }
}

/// What is not TCP.
#[inline(never)]
fn other(
    config: &WorkerConfig,
    side: PortSide,
    frame: &[u8],
    layers: Layers,
) -> Result<Kind, DropReason> {
    let transport = Transport::parse(frame, &layers).map_err(parse_reason)?;
    fits(config, &layers)?;
    let is_ours = |udp: UdpView| [udp.src_port, udp.dst_port].contains(&config.kdp_port);
    let kind = match transport {
        // M4.1.
        Transport::Udp(udp) if is_ours(udp) && side == PortSide::Plain => {
            return Err(DropReason::KdpFromPlain);
        }
        Transport::Udp(udp) if is_ours(udp) => Kind::Datagram,
        Transport::Icmp(_) => Kind::Icmp,
        Transport::Tcp(_) | Transport::Udp(_) | Transport::Other(_) => {
            return Err(DropReason::UnexpectedProtocol);
        }
    };
    let view = FrameView::of(frame, layers, transport).ok_or(DropReason::Truncated)?;
    let holds =
        checksum::verify_ipv4_header(frame, &view) && checksum::verify_transport(frame, &view);
    if holds || !config.verifies(side) { Ok(kind) } else { Err(DropReason::BadChecksum) }
}

/// The sum of a segment's headers, which is its whole checksum where there is no payload.
#[inline(always)]
fn headers(frame: &[u8], segment: &mut Segment, verify: bool) -> Result<(), DropReason> {
    let Segment { layers, tcp, received, .. } = segment;
    let sum = checksum::tcp_header_sum(frame, layers, tcp).ok_or(DropReason::TcpHeader)?;
    if !verify {
        *received = Received::Offloaded(sum);
        return Ok(());
    }
    *received = Received::Headers(sum);
    if !checksum::verify_ipv4_header(frame, layers) {
        return Err(DropReason::BadChecksum);
    }
    if tcp.payload.is_empty() {
        segment.verify(frame)?;
    }
    Ok(())
}

/// Which way a segment goes, whose it is, what its options say.
#[inline(always)]
fn name(config: &WorkerConfig, frame: &[u8], segment: &mut Segment) -> Result<(), DropReason> {
    let flags = segment.tcp.flags;
    let ends = u8::from(flags.syn()) + u8::from(flags.fin()) + u8::from(flags.rst());
    segment.direction = config.role.direction(segment.side);
    // A segment is one of SYN, FIN, RST at most, and without ACK only SYN or RST.
    let fault = if ends > 1 || !(flags.ack() || flags.syn() || flags.rst()) {
        Some(DropReason::BadFlags)
    } else if !segment.flow.read(frame, &segment.layers, &segment.tcp, segment.direction) {
        // Addresses that cannot be named (IPv4-mapped IPv6) are on no honest wire.
        Some(DropReason::Ipv6Header)
    } else {
        None
    };
    if let Some(fault) = fault {
        // A corrupt one is that and nothing else.
        segment.verify(frame)?;
        return Err(fault);
    }
    segment.options.read(segment.tcp.options(frame), &config.options);
    Ok(())
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
