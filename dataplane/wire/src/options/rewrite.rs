//! What a rewrite of TCP options is to do, what it did, and the common case done by splicing.
//! Every other case is worked out in [`super::ladder`].

use super::ladder::List;
use super::summary::TcpOptionsSummary;
use super::{OptionBlock, OptionCodes, SekishoOption, TAG_OPTION_LEN, TagOption};
use crate::error::OptionError;
use crate::ip::{IPV4_HEADER_LEN, IPV6_HEADER_LEN, IpKind};
use crate::tcp::TCP_HEADER_LEN;

/// Bytes that sealing adds to a segment, hence what the MSS is lowered by (hazard 1).
pub const MSS_REDUCTION: u16 = TAG_OPTION_LEN as u16;
/// MSS of a SYN without the option, IPv4 (RFC 9293 §3.7.1).
pub const DEFAULT_MSS_V4: u16 = 536;
/// MSS of a SYN without the option, IPv6.
pub const DEFAULT_MSS_V6: u16 = 1220;
/// An MSS is never lowered below this (Linux takes no less either); one already below stays.
pub const MIN_MSS: u16 = 48;

/// What happens to the MSS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum MssRule {
    /// Left alone: not a SYN, or the other box lowers it.
    #[default]
    Keep,
    /// Lowered by `by`, and to `most`; where there is none, an option of `absent - by` is added.
    Lower {
        /// Bytes to take off.
        by: u16,
        /// The MSS that applies when the option is absent.
        absent: u16,
        /// What the path has room for at most.
        most: u16,
    },
}

impl MssRule {
    /// Lowered by 16, with the default of that IP version (M2.9, M2.10).
    pub const fn for_ip(ip: IpKind) -> Self {
        Self::for_path(ip, u16::MAX)
    }

    /// The same, and no more than leaves room for the tag in packets of `mtu` bytes: a host with a
    /// larger MTU of its own announces an MSS that its peer never comes to (M2.8).
    pub const fn for_path(ip: IpKind, mtu: u16) -> Self {
        let (absent, headers) = match ip {
            IpKind::V4 => (DEFAULT_MSS_V4, IPV4_HEADER_LEN + TCP_HEADER_LEN),
            IpKind::V6 => (DEFAULT_MSS_V6, IPV6_HEADER_LEN + TCP_HEADER_LEN),
        };
        let most = mtu.saturating_sub(headers as u16 + MSS_REDUCTION);
        Self::Lower { by: MSS_REDUCTION, absent, most }
    }

    pub(super) fn lower(self, value: u16) -> Option<u16> {
        match self {
            Self::Keep => None,
            Self::Lower { by, most, .. } => {
                Some(value.saturating_sub(by).min(most).max(value.min(MIN_MSS)))
            }
        }
    }
}

/// What became of the MSS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum MssChange {
    /// Nothing.
    #[default]
    None,
    /// An option was lowered to this.
    Lowered(u16),
    /// An option of this value was added.
    Inserted(u16),
}

/// What a rewrite did beyond the tag itself, for counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Changes {
    /// The MSS.
    pub mss: MssChange,
    /// SACK blocks cut for room.
    pub sack_blocks_trimmed: u8,
    /// Unknown options dropped for room.
    pub unknown_dropped: u8,
    /// AccECN dropped for room.
    pub acc_ecn_dropped: bool,
    /// NOP padding dropped for room.
    pub padding_dropped: bool,
    /// TCP Fast Open removed (hazard 7, M2.11).
    pub fast_open_removed: bool,
    /// MPTCP removed (hazard 21, M2.12).
    pub mptcp_removed: bool,
}

impl Changes {
    /// SACK blocks, AccECN or unknown options were left out for room.
    #[inline]
    pub const fn gave_way(&self) -> bool {
        self.sack_blocks_trimmed > 0 || self.acc_ecn_dropped || self.unknown_dropped > 0
    }
}

/// A block ready for [`crate::apply_options`], and what was done to make it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// The new options, a multiple of 4 bytes.
    pub block: OptionBlock,
    /// What changed.
    pub changes: Changes,
}

/// A rewrite. Options of ours, TCP Fast Open and MPTCP are always removed; the rest stays in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// How ours are marked.
    pub codes: OptionCodes,
    /// The option of ours to put at the end.
    pub insert: Option<SekishoOption>,
    /// What happens to the MSS.
    pub mss: MssRule,
}

impl Rewrite {
    /// Takes ours off: towards the plain side (M2.7).
    pub const fn strip(codes: OptionCodes) -> Self {
        Self { codes, insert: None, mss: MssRule::Keep }
    }

    /// Takes ours off and puts `option` on, behind all others: towards the cipher side (M2.6).
    pub const fn insert(codes: OptionCodes, option: SekishoOption) -> Self {
        Self { codes, insert: Some(option), mss: MssRule::Keep }
    }

    /// Puts on a tag of that phase, all zero until [`OptionBlock::set_tag`].
    pub const fn blank_tag(codes: OptionCodes, phase: u8) -> Self {
        Self::insert(codes, SekishoOption::Tag(TagOption { phase, tag: [0; 12] }))
    }

    /// The same with an MSS rule.
    #[must_use]
    pub const fn with_mss(mut self, mss: MssRule) -> Self {
        self.mss = mss;
        self
    }

    /// Rewrites `options`, of which `summary` is the walk with the same codes.
    ///
    /// Fails with [`OptionError::MalformedList`] on a list that a host would read otherwise than we
    /// do; [`OptionError::NoRoom`] cannot happen to a well-formed list (see the ladder).
    #[inline]
    pub fn apply(
        &self,
        options: &[u8],
        summary: &TcpOptionsSummary,
    ) -> Result<Rewritten, OptionError> {
        if summary.malformed {
            return Err(OptionError::MalformedList);
        }
        match self.splice(options, summary) {
            Some(block) => Ok(Rewritten { block, changes: Changes::default() }),
            None => self.apply_slow(options),
        }
    }

    /// Walks and rewrites in one go.
    pub fn apply_to(&self, options: &[u8]) -> Result<Rewritten, OptionError> {
        self.apply(options, &TcpOptionsSummary::walk(options, &self.codes))
    }

    /// The common case: nothing to change but ours, which stands (or comes to stand) at the end on a
    /// 4-byte border.
    #[inline]
    fn splice(&self, options: &[u8], summary: &TcpOptionsSummary) -> Option<OptionBlock> {
        if self.mss != MssRule::Keep {
            return None;
        }
        let keep = usize::from(summary.splice_point()?);
        let mut block = OptionBlock::new();
        block.push(options.get(..keep)?)?;
        if let Some(ours) = &self.insert {
            block.push_sekisho(ours, &self.codes)?;
            block.pad();
        }
        Some(block)
    }

    #[cold]
    fn apply_slow(&self, options: &[u8]) -> Result<Rewritten, OptionError> {
        List::read(options, self)?.rewrite(self)
    }
}

#[cfg(test)]
mod tests;
