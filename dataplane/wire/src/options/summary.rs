//! The one bounded walk over the option bytes of a segment, and what it found.
//! Owns reading; rewriting is in [`super::rewrite`].

use super::{OptionCodes, SekishoOption, TAG_OPTION_LEN, kind};
use crate::bytes::{be16, chunk};
use crate::error::OptionError;
use crate::tcp::MAX_OPTIONS_LEN;

/// One step of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A NOP at this offset.
    Nop(usize),
    /// An option at `at` of `len >= 2` bytes, all within the list.
    Option { at: usize, len: usize },
}

/// Walks an option list. Each step consumes at least one byte of at most 40, so it ends; it stops
/// at End-of-List, at the end, or at a length that cannot be.
#[derive(Clone, Debug)]
pub(crate) struct Walk<'a> {
    options: &'a [u8],
    at: usize,
    malformed: bool,
}

impl<'a> Walk<'a> {
    #[inline]
    pub(crate) fn new(options: &'a [u8]) -> Self {
        let options = options.get(..MAX_OPTIONS_LEN).unwrap_or(options);
        Self { options, at: 0, malformed: false }
    }

    /// Where the walk stands: after the last step, where the list ends.
    #[inline]
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// The walk stopped at a length below 2 or beyond the list.
    #[inline]
    pub(crate) fn malformed(&self) -> bool {
        self.malformed
    }
}

impl Iterator for Walk<'_> {
    type Item = Step;

    #[inline]
    fn next(&mut self) -> Option<Step> {
        let at = self.at;
        match *self.options.get(at)? {
            kind::END => None,
            kind::NOP => {
                self.at += 1;
                Some(Step::Nop(at))
            }
            _ => match self.options.get(at + 1) {
                Some(&len) if len >= 2 && at + usize::from(len) <= self.options.len() => {
                    self.at += usize::from(len);
                    Some(Step::Option { at, len: usize::from(len) })
                }
                _ => {
                    self.malformed = true;
                    None
                }
            },
        }
    }
}

/// What the options of a segment say. Made by one walk, `Copy`, without reference to the frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpOptionsSummary {
    /// First well-formed MSS option: value, and offset of its kind octet in the option bytes.
    pub mss: Option<(u16, u8)>,
    /// Window scale.
    pub window_scale: Option<u8>,
    /// Timestamps: value, echo.
    pub timestamps: Option<(u32, u32)>,
    /// SACK permitted.
    pub sack_permitted: bool,
    /// Number of SACK blocks.
    pub sack_blocks: u8,
    /// TCP Fast Open, kind 34 or experimental.
    pub fast_open: bool,
    /// Multipath TCP.
    pub mptcp: bool,
    /// TCP-MD5 or TCP-AO: refuse (hazard 40).
    pub md5_or_ao: bool,
    /// AccECN, either kind or experimental.
    pub acc_ecn: bool,
    /// The first well-formed option of ours.
    pub ours: Option<SekishoOption>,
    /// Offset and length of the first option with our kind and ExID, well-formed or not.
    pub ours_span: Option<(u8, u8)>,
    /// More than one option with our kind and ExID.
    pub ours_duplicated: bool,
    /// An option with our kind and ExID is malformed.
    pub ours_malformed: bool,
    /// The list has a length that cannot be; what follows it was not read.
    pub malformed: bool,
    /// Bytes read: up to End-of-List, the malformed length or the end.
    pub end: u8,
    /// See [`TcpOptionsSummary::splice_point`].
    splice: Option<u8>,
}

impl TcpOptionsSummary {
    /// Walks the options of a segment (at most 40 bytes are read; M2.4).
    #[inline]
    pub fn walk(options: &[u8], codes: &OptionCodes) -> Self {
        let mut summary = Self::default();
        summary.read(options, codes);
        summary
    }

    /// [`TcpOptionsSummary::walk`] in place, which leaves nothing to copy.
    #[inline(always)]
    pub fn read(&mut self, options: &[u8], codes: &OptionCodes) {
        // An empty list may end where it is.
        *self = Self { splice: Some(0), ..Self::default() };
        let mut at = 0;
        // What nearly every segment in mid-stream begins with: NOP, NOP, timestamps. Nothing, or
        // a tag, follows.
        if let Some((&[1, 1, kind::TIMESTAMPS, 10, a, b, c, d, e, f, g, h], rest)) =
            options.split_first_chunk::<12>()
        {
            let value = u32::from_be_bytes([a, b, c, d]);
            self.timestamps = Some((value, u32::from_be_bytes([e, f, g, h])));
            self.splice = Some(12);
            if rest.is_empty() {
                self.end = 12;
                return;
            }
            if let Ok(option) = <&[u8; TAG_OPTION_LEN]>::try_from(rest)
                && let Some(Ok(tag)) = SekishoOption::parse(option, codes)
            {
                self.ours = Some(tag);
                self.ours_span = Some((12, TAG_OPTION_LEN as u8));
                self.end = 12 + TAG_OPTION_LEN as u8;
                return;
            }
            at = 12;
        }
        if at < options.len() {
            self.walk_from(options, at, codes);
        }
    }

    /// Options of any kind, from `at` on.
    #[inline(never)]
    fn walk_from(&mut self, options: &[u8], at: usize, codes: &OptionCodes) {
        let mut walk = Walk::new(options);
        walk.at = at;
        self.splice = None;
        for step in walk.by_ref() {
            if let Step::Option { at, len } = step
                && let Some(option) = options.get(at..at + len)
            {
                self.note(option, at as u8, codes);
            }
        }
        self.malformed = walk.malformed();
        self.end = walk.position() as u8;
        let keep = match self.ours_span {
            None => self.end,
            Some((at, len)) if at + len == self.end => at,
            Some(_) => return,
        };
        let changes = self.malformed || self.fast_open || self.mptcp || self.ours_duplicated;
        let whole = usize::from(self.end) == options.len() && keep.is_multiple_of(4);
        self.splice = (whole && !changes).then_some(keep);
    }

    /// Where our option stands, or would be put, if all that it takes to have it off or on is to
    /// end the list there or to append it: what is in front stays as it is.
    #[inline]
    pub fn splice_point(&self) -> Option<u8> {
        self.splice
    }

    /// The one option of ours, none, or the reason to drop the segment.
    #[inline]
    pub fn sekisho(&self) -> Result<Option<SekishoOption>, OptionError> {
        if self.malformed {
            Err(OptionError::MalformedList)
        } else if self.ours_malformed {
            Err(OptionError::MalformedOurs)
        } else if self.ours_duplicated {
            Err(OptionError::DuplicateOurs)
        } else {
            Ok(self.ours)
        }
    }

    #[inline]
    fn note(&mut self, option: &[u8], at: u8, codes: &OptionCodes) {
        if let Some(parsed) = SekishoOption::parse(option, codes) {
            self.ours_duplicated |= self.ours_span.is_some();
            self.ours_malformed |= parsed.is_err();
            // At most 40, from the walk.
            self.ours_span = self.ours_span.or(Some((at, option.len() as u8)));
            self.ours = self.ours.or(parsed.ok());
            return;
        }
        match (option[0], option.len()) {
            (kind::MSS, 4) => {
                self.mss = self.mss.or_else(|| be16(option, 2).map(|value| (value, at)));
            }
            (kind::WINDOW_SCALE, 3) => self.window_scale = self.window_scale.or(Some(option[2])),
            (kind::SACK_PERMITTED, 2) => self.sack_permitted = true,
            (kind::SACK, len) if len >= 10 && (len - 2) % 8 == 0 => {
                self.sack_blocks = self.sack_blocks.saturating_add(((len - 2) / 8) as u8);
            }
            (kind::TIMESTAMPS, 10) => {
                if let Some([a, b, c, d, e, f, g, h]) = chunk::<8>(option, 2).copied() {
                    let value = u32::from_be_bytes([a, b, c, d]);
                    let echo = u32::from_be_bytes([e, f, g, h]);
                    self.timestamps = self.timestamps.or(Some((value, echo)));
                }
            }
            (kind::MD5 | kind::AO, _) => self.md5_or_ao = true,
            _ => {
                self.fast_open |= is_fast_open(option);
                self.mptcp |= is_mptcp(option);
                self.acc_ecn |= is_acc_ecn(option);
            }
        }
    }
}

fn experiment(option: &[u8]) -> Option<u16> {
    if kind::EXPERIMENTAL.contains(option.first()?) { be16(option, 2) } else { None }
}

/// TCP Fast Open by its kind or by its ExID.
pub(crate) fn is_fast_open(option: &[u8]) -> bool {
    option.first() == Some(&kind::FAST_OPEN) || experiment(option) == Some(kind::EXID_FAST_OPEN)
}

/// Multipath TCP, any subtype.
pub(crate) fn is_mptcp(option: &[u8]) -> bool {
    option.first() == Some(&kind::MPTCP)
}

/// AccECN by its kinds or by its ExIDs.
pub(crate) fn is_acc_ecn(option: &[u8]) -> bool {
    matches!(option.first(), Some(&(kind::ACC_ECN0 | kind::ACC_ECN1)))
        || experiment(option).is_some_and(|exid| kind::EXID_ACC_ECN.contains(&exid))
}
