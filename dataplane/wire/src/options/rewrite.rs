//! Rewriting the options of a segment: ours out, ours in, MSS, what cannot go with protection, and
//! the ladder of hazard 2 where 40 bytes are not enough.
//!
//! Ladder: NOP padding → SACK blocks from the tail, the first kept → AccECN → options unknown to us
//! from the tail → the last SACK block. With MSS, window scale, SACK-permitted and timestamps
//! (19 bytes) a tag always fits, so no segment is ever dropped for lack of room.

use super::summary::{Step, TcpOptionsSummary, Walk, is_acc_ecn, is_fast_open, is_mptcp};
use super::{OptionBlock, OptionCodes, SekishoOption, TAG_OPTION_LEN, TagOption, kind};
use crate::bytes::be16;
use crate::error::OptionError;
use crate::ip::IpKind;
use crate::tcp::MAX_OPTIONS_LEN;

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
    /// Lowered by `by`; where there is none, an option of `absent - by` is added.
    Lower {
        /// Bytes to take off.
        by: u16,
        /// The MSS that applies when the option is absent.
        absent: u16,
    },
}

impl MssRule {
    /// Lowered by 16, with the default of that IP version.
    pub const fn for_ip(ip: IpKind) -> Self {
        let absent = match ip {
            IpKind::V4 => DEFAULT_MSS_V4,
            IpKind::V6 => DEFAULT_MSS_V6,
        };
        Self::Lower { by: MSS_REDUCTION, absent }
    }

    fn lower(self, value: u16) -> Option<u16> {
        match self {
            Self::Keep => None,
            Self::Lower { by, .. } => Some(value.saturating_sub(by).max(value.min(MIN_MSS))),
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
    /// TCP Fast Open removed (hazard 7).
    pub fast_open_removed: bool,
    /// MPTCP removed (hazard 21).
    pub mptcp_removed: bool,
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
    /// Takes ours off: towards the plain side.
    pub const fn strip(codes: OptionCodes) -> Self {
        Self { codes, insert: None, mss: MssRule::Keep }
    }

    /// Takes ours off and puts `option` on: towards the cipher side.
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
        if summary.fast_open || summary.mptcp || self.mss != MssRule::Keep {
            return None;
        }
        if usize::from(summary.end) != options.len() {
            return None;
        }
        let keep = match summary.ours_span {
            None => options.len(),
            Some((at, len)) => {
                let end = usize::from(at) + usize::from(len);
                if summary.ours_duplicated || end != options.len() {
                    return None;
                }
                usize::from(at)
            }
        };
        if !keep.is_multiple_of(4) {
            return None;
        }
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
        let mut list = List::read(options, self)?;
        if let Some(block) = list.verbatim(self) {
            return Ok(Rewritten { block, changes: list.changes });
        }
        list.changes.padding_dropped = true;
        list.make_room(self.insert.map_or(0, |ours| ours.len()))?;
        let block = list.compact(self).ok_or(OptionError::NoRoom)?;
        Ok(Rewritten { block, changes: list.changes })
    }
}

/// How dear an option is when room is short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Padding,
    Essential,
    Sack,
    AccEcn,
    Unknown,
}

/// One option or NOP that stays, in list order.
#[derive(Clone, Copy, Debug)]
struct Item {
    class: Class,
    at: u8,
    len: u8,
}

/// The options that stay, and what was done to them.
struct List<'a> {
    options: &'a [u8],
    items: [Item; MAX_OPTIONS_LEN],
    count: usize,
    /// An MSS option to put in front.
    mss: Option<u16>,
    changes: Changes,
}

impl<'a> List<'a> {
    /// Sorts a list into what stays. Padding behind a removed option, up to the next 4-byte border,
    /// goes with it (hazard 4).
    fn read(options: &'a [u8], plan: &Rewrite) -> Result<Self, OptionError> {
        let empty = Item { class: Class::Padding, at: 0, len: 0 };
        let mut list = List {
            options,
            items: [empty; MAX_OPTIONS_LEN],
            count: 0,
            mss: None,
            changes: Changes::default(),
        };
        let mut walk = Walk::new(options);
        let mut padding_of_removed = 0..0;
        for step in walk.by_ref() {
            match step {
                Step::Nop(at) if padding_of_removed.contains(&at) => {}
                Step::Nop(at) => list.keep(Class::Padding, at, 1),
                Step::Option { at, len } => {
                    let option = options.get(at..at + len).unwrap_or(&[]);
                    padding_of_removed = 0..0;
                    if list.removes(option, plan) {
                        padding_of_removed = at + len..(at + len).next_multiple_of(4);
                    } else {
                        let class = list.classify(option);
                        list.keep(class, at, len);
                    }
                }
            }
        }
        if walk.malformed() {
            return Err(OptionError::MalformedList);
        }
        list.settle_mss(plan.mss);
        Ok(list)
    }

    fn keep(&mut self, class: Class, at: usize, len: usize) {
        if let Some(item) = self.items.get_mut(self.count) {
            // Offsets and lengths in a list of at most 40 bytes.
            *item = Item { class, at: at as u8, len: len as u8 };
            self.count += 1;
        }
    }

    fn removes(&mut self, option: &[u8], plan: &Rewrite) -> bool {
        let fast_open = is_fast_open(option);
        let mptcp = is_mptcp(option);
        self.changes.fast_open_removed |= fast_open;
        self.changes.mptcp_removed |= mptcp;
        // An MSS option of another length is ignored by hosts: the default applies, as if absent.
        let false_mss =
            plan.mss != MssRule::Keep && option.first() == Some(&kind::MSS) && option.len() != 4;
        fast_open || mptcp || false_mss || plan.codes.phase_of(option).is_some()
    }

    fn classify(&self, option: &[u8]) -> Class {
        let kind = option.first().copied().unwrap_or(kind::NOP);
        let first = !self
            .items()
            .iter()
            .any(|item| item.class != Class::Padding && self.bytes(item).first() == Some(&kind));
        match (kind, option.len()) {
            (kind::MSS, 4) | (kind::WINDOW_SCALE, 3) if first => Class::Essential,
            (kind::SACK_PERMITTED, 2) | (kind::TIMESTAMPS, 10) if first => Class::Essential,
            (kind::SACK, 10 | 18 | 26 | 34) if first => Class::Sack,
            _ if is_acc_ecn(option) => Class::AccEcn,
            _ => Class::Unknown,
        }
    }

    fn settle_mss(&mut self, rule: MssRule) {
        let MssRule::Lower { absent, .. } = rule else { return };
        let found = self.items().iter().find_map(|item| self.mss_of(item));
        let lowered = rule.lower(found.unwrap_or(absent)).unwrap_or(absent);
        self.changes.mss = match found {
            Some(_) => MssChange::Lowered(lowered),
            None => {
                self.mss = Some(lowered);
                MssChange::Inserted(lowered)
            }
        };
    }

    fn mss_of(&self, item: &Item) -> Option<u16> {
        match self.bytes(item) {
            option @ [kind::MSS, 4, ..] => be16(option, 2),
            _ => None,
        }
    }

    fn items(&self) -> &[Item] {
        self.items.get(..self.count).unwrap_or(&[])
    }

    fn bytes(&self, item: &Item) -> &'a [u8] {
        let at = usize::from(item.at);
        self.options.get(at..at + usize::from(item.len)).unwrap_or(&[])
    }

    /// Everything with its padding; `None` where that exceeds 40 bytes.
    fn verbatim(&self, plan: &Rewrite) -> Option<OptionBlock> {
        let mut block = self.emit(plan, true)?;
        block.pad();
        if let Some(ours) = &plan.insert {
            block.push_sekisho(ours, &plan.codes)?;
            block.pad();
        }
        Some(block)
    }

    /// Everything without padding but the last.
    fn compact(&self, plan: &Rewrite) -> Option<OptionBlock> {
        let mut block = self.emit(plan, false)?;
        if let Some(ours) = &plan.insert {
            block.push_sekisho(ours, &plan.codes)?;
        }
        block.pad();
        Some(block)
    }

    fn emit(&self, plan: &Rewrite, padding: bool) -> Option<OptionBlock> {
        let mut block = OptionBlock::new();
        if let Some(mss) = self.mss {
            let [high, low] = mss.to_be_bytes();
            block.push(&[kind::MSS, 4, high, low])?;
        }
        for item in self.items().iter().filter(|item| item.len > 0) {
            if let Some(lowered) = self.mss_of(item).and_then(|mss| plan.mss.lower(mss)) {
                let [high, low] = lowered.to_be_bytes();
                block.push(&[kind::MSS, 4, high, low])?;
            } else if item.class == Class::Sack {
                // The length octet follows the blocks that were trimmed.
                let bytes = self.bytes(item);
                block.push(&[kind::SACK, item.len])?;
                block.push(bytes.get(2..)?)?;
            } else if padding || item.class != Class::Padding {
                block.push(self.bytes(item))?;
            }
        }
        Some(block)
    }

    /// Bytes without padding.
    fn total(&self) -> usize {
        let mss = if self.mss.is_some() { 4 } else { 0 };
        let items = self.items().iter().filter(|item| item.class != Class::Padding);
        mss + items.map(|item| usize::from(item.len)).sum::<usize>()
    }

    /// Climbs the ladder until `extra` more bytes fit.
    fn make_room(&mut self, extra: usize) -> Result<(), OptionError> {
        while self.total() + extra > MAX_OPTIONS_LEN && self.trim_sack(10) {}
        while self.total() + extra > MAX_OPTIONS_LEN && self.drop_last(Class::AccEcn) {
            self.changes.acc_ecn_dropped = true;
        }
        while self.total() + extra > MAX_OPTIONS_LEN && self.drop_last(Class::Unknown) {
            self.changes.unknown_dropped += 1;
        }
        if self.total() + extra > MAX_OPTIONS_LEN && self.drop_last(Class::Sack) {
            self.changes.sack_blocks_trimmed += 1;
        }
        if self.total() + extra > MAX_OPTIONS_LEN { Err(OptionError::NoRoom) } else { Ok(()) }
    }

    /// Takes the last block off while more than `least` bytes remain.
    fn trim_sack(&mut self, least: u8) -> bool {
        let mut items = self.items.iter_mut().take(self.count);
        match items.find(|item| item.class == Class::Sack && item.len > least) {
            Some(item) => {
                item.len -= 8;
                self.changes.sack_blocks_trimmed += 1;
                true
            }
            None => false,
        }
    }

    fn drop_last(&mut self, class: Class) -> bool {
        let mut items = self.items.iter_mut().take(self.count).rev();
        match items.find(|item| item.class == class && item.len > 0) {
            Some(item) => {
                item.len = 0;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests;
