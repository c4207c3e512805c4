//! The fixed part of a TCP header: flags and the segment view. Options live in [`crate::options`].

use crate::bytes::chunk;
use crate::error::ParseError;
use crate::frame::Span;
use crate::layers::Layers;
use crate::seq::SeqNum;
use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// Length of the header without options.
pub const TCP_HEADER_LEN: usize = 20;
/// The most that a data offset of 15 words leaves for options.
pub const MAX_OPTIONS_LEN: usize = 40;

/// The nine flag bits, `AE` (once `NS`) as bit 8.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct TcpFlags(pub u16);

impl TcpFlags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// Sender has finished.
    pub const FIN: Self = Self(0x001);
    /// Synchronise sequence numbers.
    pub const SYN: Self = Self(0x002);
    /// Reset.
    pub const RST: Self = Self(0x004);
    /// Push.
    pub const PSH: Self = Self(0x008);
    /// The acknowledgement field counts.
    pub const ACK: Self = Self(0x010);
    /// The urgent pointer counts.
    pub const URG: Self = Self(0x020);
    /// ECN echo.
    pub const ECE: Self = Self(0x040);
    /// Congestion window reduced.
    pub const CWR: Self = Self(0x080);
    /// Accurate ECN.
    pub const AE: Self = Self(0x100);

    /// All bits of `other` are set.
    #[inline]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Any bit of `other` is set.
    #[inline]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// These flags less those of `other`.
    #[inline]
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// FIN is set.
    #[inline]
    pub const fn fin(self) -> bool {
        self.contains(Self::FIN)
    }

    /// SYN is set.
    #[inline]
    pub const fn syn(self) -> bool {
        self.contains(Self::SYN)
    }

    /// RST is set.
    #[inline]
    pub const fn rst(self) -> bool {
        self.contains(Self::RST)
    }

    /// ACK is set.
    #[inline]
    pub const fn ack(self) -> bool {
        self.contains(Self::ACK)
    }
}

impl BitOr for TcpFlags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for TcpFlags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl fmt::Debug for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 9] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR", "AE"];
        let mut names = f.debug_set();
        for (bit, name) in NAMES.iter().enumerate() {
            if self.0 & (1 << bit) != 0 {
                names.entry(&format_args!("{name}"));
            }
        }
        names.finish()
    }
}

/// One TCP segment: header fields in host order, and where its parts lie in the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpView {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Sequence number.
    pub seq: SeqNum,
    /// Acknowledgement number; meaningful only with ACK.
    pub ack: SeqNum,
    /// Flags.
    pub flags: TcpFlags,
    /// Window, unscaled.
    pub window: u16,
    /// Checksum field as received.
    pub checksum: u16,
    /// Urgent pointer; meaningful only with URG.
    pub urgent: u16,
    /// Offset of the TCP header in the frame.
    pub l4: u16,
    /// Length of header and options in bytes, 20 to 60.
    pub header_len: u8,
    /// Payload, Ethernet padding excluded.
    pub payload: Span,
}

impl TcpView {
    /// Of no segment.
    pub const NONE: Self = Self {
        src_port: 0,
        dst_port: 0,
        seq: SeqNum(0),
        ack: SeqNum(0),
        flags: TcpFlags::NONE,
        window: 0,
        checksum: 0,
        urgent: 0,
        l4: 0,
        header_len: 0,
        payload: Span { start: 0, len: 0 },
    };

    /// Reads the header of the frame that `layers` was read of, and that is TCP.
    ///
    /// # Errors
    /// [`ParseError::BadTcpHeader`]: the frame must not pass.
    #[inline]
    pub fn parse(frame: &[u8], layers: &Layers) -> Result<Self, ParseError> {
        let mut tcp = Self::NONE;
        tcp.read(frame, layers).map(|()| tcp)
    }

    /// [`TcpView::parse`] in place, which leaves nothing to copy.
    ///
    /// # Errors
    /// As [`TcpView::parse`].
    #[inline(always)]
    pub fn read(&mut self, frame: &[u8], layers: &Layers) -> Result<(), ParseError> {
        let Layers { l4, l4_end, .. } = *layers;
        let segment =
            frame.get(usize::from(l4)..usize::from(l4_end)).ok_or(ParseError::BadTcpHeader)?;
        let h = chunk::<TCP_HEADER_LEN>(segment, 0).ok_or(ParseError::BadTcpHeader)?;
        let header_len = (h[12] >> 4) * 4;
        if usize::from(header_len) < TCP_HEADER_LEN || usize::from(header_len) > segment.len() {
            return Err(ParseError::BadTcpHeader);
        }
        let start = l4 + u16::from(header_len);
        *self = Self {
            src_port: u16::from_be_bytes([h[0], h[1]]),
            dst_port: u16::from_be_bytes([h[2], h[3]]),
            seq: SeqNum(u32::from_be_bytes([h[4], h[5], h[6], h[7]])),
            ack: SeqNum(u32::from_be_bytes([h[8], h[9], h[10], h[11]])),
            flags: TcpFlags(u16::from_be_bytes([h[12] & 1, h[13]])),
            window: u16::from_be_bytes([h[14], h[15]]),
            checksum: u16::from_be_bytes([h[16], h[17]]),
            urgent: u16::from_be_bytes([h[18], h[19]]),
            l4,
            header_len,
            payload: Span { start, len: l4_end - start },
        };
        Ok(())
    }

    /// The option bytes of the frame that this view was made of (empty for any shorter slice).
    #[inline]
    pub fn options<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        let start = usize::from(self.l4) + TCP_HEADER_LEN;
        let end = usize::from(self.l4) + usize::from(self.header_len);
        frame.get(start..end).unwrap_or(&[])
    }

    /// Octets of sequence space: payload, SYN and FIN.
    #[inline]
    pub fn sequence_len(&self) -> u32 {
        u32::from(self.payload.len) + u32::from(self.flags.syn()) + u32::from(self.flags.fin())
    }

    /// Neither payload nor SYN, FIN, RST, and ACK set: the segment that carries no tag.
    #[inline]
    pub fn is_pure_ack(&self) -> bool {
        let marks = TcpFlags::SYN | TcpFlags::FIN | TcpFlags::RST;
        self.payload.len == 0 && self.flags.ack() && !self.flags.intersects(marks)
    }
}
