//! Rewriting an option list that cannot be spliced: removals with their padding, the MSS, and the
//! ladder of hazard 2 where 40 bytes are not enough (spec M2.14).
//!
//! Ladder: NOP padding → SACK blocks from the tail, the first kept → AccECN → options unknown to us
//! from the tail → the last SACK block. With MSS, window scale, SACK-permitted and timestamps
//! (19 bytes) a tag always fits, so no segment is ever dropped for lack of room.

use super::rewrite::{Changes, MssChange, MssRule, Rewrite, Rewritten};
use super::summary::{Step, Walk, is_acc_ecn, is_fast_open, is_mptcp};
use super::{OptionBlock, kind};
use crate::bytes::be16;
use crate::error::OptionError;
use crate::tcp::MAX_OPTIONS_LEN;

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
pub(super) struct List<'a> {
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
    pub(super) fn read(options: &'a [u8], plan: &Rewrite) -> Result<Self, OptionError> {
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

    /// The new block: with the padding as it was, else without and by the ladder.
    pub(super) fn rewrite(mut self, plan: &Rewrite) -> Result<Rewritten, OptionError> {
        if let Some(block) = self.verbatim(plan) {
            return Ok(Rewritten { block, changes: self.changes });
        }
        self.changes.padding_dropped = true;
        self.make_room(plan.insert.map_or(0, |ours| ours.len()))?;
        let block = self.compact(plan).ok_or(OptionError::NoRoom)?;
        Ok(Rewritten { block, changes: self.changes })
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
        // One of a length that cannot be is ignored by hosts: the next one of its kind counts.
        let counts = |item: &&Item| matches!(item.class, Class::Essential | Class::Sack);
        let first =
            !self.items().iter().filter(counts).any(|item| self.bytes(item).first() == Some(&kind));
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
