//! Options of ours in the TCP header (spec §2): codes, types, encoding.
//! The walk over all options is in [`summary`], blocks in [`block`], rewriting in
//! [`rewrite`] and `ladder`.

pub mod block;
mod ladder;
pub mod rewrite;
pub mod summary;

pub use block::OptionBlock;
pub use rewrite::{Changes, MssChange, MssRule, Rewrite, Rewritten};
pub use summary::TcpOptionsSummary;

use crate::bytes::chunk;
use crate::error::OptionError;

/// Version of the options (spec §2).
pub const OPTION_VERSION: u8 = 1;
/// Length of Request, Accept and Resync, without padding.
pub const REQUEST_LEN: usize = 13;
/// Length of Tag.
pub const TAG_OPTION_LEN: usize = 16;
/// Length of the authentication tag within it.
pub const TAG_LEN: usize = 12;
/// Kind, length, ExID.
pub const OURS_HEAD_LEN: usize = 4;

const TYPE_REQUEST: u8 = 0;
const TYPE_ACCEPT: u8 = 1;
const TYPE_RESYNC: u8 = 2;

/// Option kinds of others that we act on.
pub mod kind {
    /// End of option list.
    pub const END: u8 = 0;
    /// No operation.
    pub const NOP: u8 = 1;
    /// Maximum segment size.
    pub const MSS: u8 = 2;
    /// Window scale.
    pub const WINDOW_SCALE: u8 = 3;
    /// SACK permitted.
    pub const SACK_PERMITTED: u8 = 4;
    /// SACK blocks.
    pub const SACK: u8 = 5;
    /// Timestamps.
    pub const TIMESTAMPS: u8 = 8;
    /// TCP-MD5 (RFC 2385).
    pub const MD5: u8 = 19;
    /// TCP-AO (RFC 5925).
    pub const AO: u8 = 29;
    /// Multipath TCP (RFC 8684).
    pub const MPTCP: u8 = 30;
    /// TCP Fast Open (RFC 7413).
    pub const FAST_OPEN: u8 = 34;
    /// AccECN, order 0.
    pub const ACC_ECN0: u8 = 172;
    /// AccECN, order 1.
    pub const ACC_ECN1: u8 = 174;
    /// Shared experimental kinds (RFC 6994).
    pub const EXPERIMENTAL: [u8; 2] = [253, 254];
    /// ExID of TCP Fast Open before it had a kind.
    pub const EXID_FAST_OPEN: u16 = 0xF989;
    /// ExIDs of AccECN before it had kinds.
    pub const EXID_ACC_ECN: [u16; 3] = [0xACCE, 0xACC0, 0xACC1];
}

/// How our options are marked (RFC 6994): a kind, and two ExIDs that differ in the last bit, which
/// is the key phase of a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OptionCodes {
    /// Option kind: one that hosts do not use (253, 254, or one assigned to this protocol).
    pub kind: u8,
    /// ExID of phase 0; its last bit is ignored.
    pub exid: u16,
}

impl Default for OptionCodes {
    fn default() -> Self {
        Self { kind: 253, exid: 0x5E50 }
    }
}

impl OptionCodes {
    /// The ExID of a phase; only the last bit of `phase` counts.
    #[inline]
    pub const fn exid_of_phase(&self, phase: u8) -> u16 {
        (self.exid & !1) | (phase & 1) as u16
    }

    /// The phase, if `option` (kind octet first) bears our kind and one of our ExIDs.
    #[inline]
    pub fn phase_of(&self, option: &[u8]) -> Option<u8> {
        let head = chunk::<OURS_HEAD_LEN>(option, 0)?;
        let exid = u16::from_be_bytes([head[2], head[3]]);
        (head[0] == self.kind && exid & !1 == self.exid & !1).then_some((exid & 1) as u8)
    }

    fn head(&self, len: usize, phase: u8) -> [u8; OURS_HEAD_LEN] {
        let exid = self.exid_of_phase(phase).to_be_bytes();
        [self.kind, len as u8, exid[0], exid[1]]
    }

    fn encode_short(&self, kind: u8, request_id: u64) -> [u8; REQUEST_LEN] {
        let mut out = [0; REQUEST_LEN];
        out[..OURS_HEAD_LEN].copy_from_slice(&self.head(REQUEST_LEN, 0));
        out[OURS_HEAD_LEN] = OPTION_VERSION << 4 | kind;
        out[OURS_HEAD_LEN + 1..].copy_from_slice(&request_id.to_be_bytes());
        out
    }
}

/// The cipher request in a SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestOption {
    /// Random id that names the session in key delivery.
    pub request_id: u64,
}

impl RequestOption {
    /// The 13 bytes as sent, without padding.
    pub fn encode(&self, codes: &OptionCodes) -> [u8; REQUEST_LEN] {
        codes.encode_short(TYPE_REQUEST, self.request_id)
    }
}

/// The gateway's consent in a SYN-ACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AcceptOption {
    /// Echo of the request id.
    pub request_id: u64,
}

impl AcceptOption {
    /// The 13 bytes as sent, without padding.
    pub fn encode(&self, codes: &OptionCodes) -> [u8; REQUEST_LEN] {
        codes.encode_short(TYPE_ACCEPT, self.request_id)
    }
}

/// The gateway's plea, on a bare ACK, to synchronise anew (design §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ResyncOption {
    /// Request id of the session, 0 where unknown.
    pub request_id: u64,
}

impl ResyncOption {
    /// The 13 bytes as sent, without padding.
    pub fn encode(&self, codes: &OptionCodes) -> [u8; REQUEST_LEN] {
        codes.encode_short(TYPE_RESYNC, self.request_id)
    }
}

/// The tag of a protected segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TagOption {
    /// Key phase, 0 or 1.
    pub phase: u8,
    /// First 12 bytes of the synthetic IV (spec §3).
    pub tag: [u8; TAG_LEN],
}

impl TagOption {
    /// The 16 bytes as sent.
    #[inline]
    pub fn encode(&self, codes: &OptionCodes) -> [u8; TAG_OPTION_LEN] {
        let mut out = [0; TAG_OPTION_LEN];
        out[..OURS_HEAD_LEN].copy_from_slice(&codes.head(TAG_OPTION_LEN, self.phase));
        out[OURS_HEAD_LEN..].copy_from_slice(&self.tag);
        out
    }
}

/// Any option of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SekishoOption {
    /// In a SYN.
    Request(RequestOption),
    /// In a SYN-ACK.
    Accept(AcceptOption),
    /// On a segment with payload, FIN or RST.
    Tag(TagOption),
    /// On a bare ACK.
    Resync(ResyncOption),
}

impl SekishoOption {
    /// Reads one whole option, kind and length octets included. `None`: not ours (M2.3).
    #[inline]
    pub fn parse(option: &[u8], codes: &OptionCodes) -> Option<Result<Self, OptionError>> {
        let phase = codes.phase_of(option)?;
        Some(Self::parse_ours(option, phase))
    }

    #[inline]
    fn parse_ours(option: &[u8], phase: u8) -> Result<Self, OptionError> {
        // The length octet and the slice must agree: a caller may hand over more than the option.
        let len = option.get(1).copied().unwrap_or(0);
        match (usize::from(len), option.len()) {
            (TAG_OPTION_LEN, TAG_OPTION_LEN) => {
                let tag = chunk::<TAG_LEN>(option, OURS_HEAD_LEN);
                let tag = *tag.ok_or(OptionError::MalformedOurs)?;
                Ok(Self::Tag(TagOption { phase, tag }))
            }
            (REQUEST_LEN, REQUEST_LEN) if phase == 0 => Self::parse_short(option),
            _ => Err(OptionError::MalformedOurs),
        }
    }

    fn parse_short(option: &[u8]) -> Result<Self, OptionError> {
        let body = chunk::<9>(option, OURS_HEAD_LEN).ok_or(OptionError::MalformedOurs)?;
        let id = chunk::<8>(body, 1).ok_or(OptionError::MalformedOurs)?;
        let request_id = u64::from_be_bytes(*id);
        if body[0] >> 4 != OPTION_VERSION {
            return Err(OptionError::MalformedOurs);
        }
        match body[0] & 0x0F {
            TYPE_REQUEST => Ok(Self::Request(RequestOption { request_id })),
            TYPE_ACCEPT => Ok(Self::Accept(AcceptOption { request_id })),
            TYPE_RESYNC => Ok(Self::Resync(ResyncOption { request_id })),
            _ => Err(OptionError::MalformedOurs),
        }
    }

    /// Length in bytes without padding: 13 or 16.
    #[inline]
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        match self {
            Self::Tag(_) => TAG_OPTION_LEN,
            Self::Request(_) | Self::Accept(_) | Self::Resync(_) => REQUEST_LEN,
        }
    }

    /// The bytes as sent, in the first [`Self::len`] of the array.
    #[inline]
    pub fn encode(&self, codes: &OptionCodes) -> [u8; TAG_OPTION_LEN] {
        let short = match self {
            Self::Tag(tag) => return tag.encode(codes),
            Self::Request(request) => request.encode(codes),
            Self::Accept(accept) => accept.encode(codes),
            Self::Resync(resync) => resync.encode(codes),
        };
        let mut out = [kind::NOP; TAG_OPTION_LEN];
        out[..REQUEST_LEN].copy_from_slice(&short);
        out
    }
}

#[cfg(test)]
mod tests;
