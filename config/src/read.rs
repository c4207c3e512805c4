//! Reading one section: typed values by key, each error noted with its place, reading goes on.
//!
//! A value that is wrong or missing is noted and replaced by a placeholder of its type; whoever noted anything
//! returns the report and never the values.

use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::Diagnostic;
use crate::schema::{Fallback, Key, Kind, Section};
use crate::suggest::nearest;

/// Where errors are noted.
pub(crate) struct Notes<'t> {
    text: &'t str,
    diagnostics: Vec<Diagnostic>,
}

impl<'t> Notes<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self { text, diagnostics: Vec::new() }
    }

    /// Notes an error without a hint.
    pub(crate) fn error(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.diagnostics.push(Diagnostic::at(self.text, span, message, None));
    }

    /// Notes an error with a hint.
    pub(crate) fn error_hint(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.diagnostics.push(Diagnostic::at(self.text, span, message, Some(hint.into())));
    }

    /// What was noted, in the order of the file, each place and message once.
    pub(crate) fn finish(mut self) -> Vec<Diagnostic> {
        self.diagnostics.sort_by_key(|diagnostic| (diagnostic.line, diagnostic.column));
        self.diagnostics.dedup();
        self.diagnostics
    }
}

/// A value with its place.
#[derive(Clone, Copy)]
pub(crate) struct Item<'d> {
    pub(crate) value: &'d DeValue<'d>,
    start: usize,
    end: usize,
}

impl<'d> Item<'d> {
    pub(crate) fn new(spanned: &'d Spanned<DeValue<'d>>) -> Self {
        let span = spanned.span();
        Self { value: spanned.get_ref(), start: span.start, end: span.end }
    }

    pub(crate) fn span(&self) -> Range<usize> {
        self.start..self.end
    }
}

/// One section of the file, or an empty stand-in for one that is not there.
pub(crate) struct Table<'d> {
    pub(crate) schema: &'static Section,
    span: Range<usize>,
    entries: Vec<(&'d str, Item<'d>)>,
}

impl<'d> Table<'d> {
    /// Opens a section and notes the keys that do not belong there.
    pub(crate) fn open(
        schema: &'static Section,
        table: &'d DeTable<'d>,
        span: Range<usize>,
        notes: &mut Notes<'_>,
    ) -> Self {
        let mut entries = Vec::new();
        for (key, value) in table {
            let name: &str = key.get_ref();
            if schema.key(name).is_none() {
                let known = schema.keys.iter().map(|key| key.name);
                let hint = match nearest(name, known.clone()) {
                    Some(known) => format!("did you mean `{known}`?"),
                    None => format!("it has {}", listed(known)),
                };
                notes.error_hint(
                    key.span(),
                    format!("unknown key `{name}` in {}", schema.title()),
                    hint,
                );
            }
            entries.push((name, Item::new(value)));
        }
        Self { schema, span, entries }
    }

    /// The stand-in for a section that is not there: every key falls back.
    pub(crate) fn absent(schema: &'static Section) -> Self {
        Self { schema, span: 0..0, entries: Vec::new() }
    }

    /// The place of the section's head.
    pub(crate) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    fn key(&self, name: &str) -> &'static Key {
        self.schema.key(name).expect(
            "invariant: only keys of the schema are asked for; every parse asks for all of them",
        )
    }

    /// The value of a key, if the file has one; notes a missing one that is required.
    pub(crate) fn item(&self, name: &str, notes: &mut Notes<'_>) -> Option<Item<'d>> {
        let key = self.key(name);
        let found = self.entries.iter().find(|(entry, _)| *entry == name).map(|(_, item)| *item);
        if found.is_none() && matches!(key.fallback, Fallback::Required) && !self.slipped(name) {
            let message = format!("{} needs `{name}`", self.schema.title());
            notes.error_hint(
                self.span(),
                message,
                format!("{}: {}", kind_text(key.kind), key.help),
            );
        }
        found
    }

    /// Whether an unknown key was taken for a slip of this one: then it is not missed as well.
    fn slipped(&self, name: &str) -> bool {
        let known = || self.schema.keys.iter().map(|key| key.name);
        let mut unknown = self
            .entries
            .iter()
            .map(|(entry, _)| *entry)
            .filter(|entry| self.schema.key(entry).is_none());
        unknown.any(|entry| nearest(entry, known()) == Some(name))
    }

    /// The place of a key's value, or of the section.
    pub(crate) fn place(&self, name: &str) -> Range<usize> {
        let found = self.entries.iter().find(|(entry, _)| *entry == name);
        found.map_or(self.span(), |(_, item)| item.span())
    }

    /// A whole number within the bounds of the schema.
    pub(crate) fn integer<T: TryFrom<i64> + Default>(
        &self,
        name: &str,
        notes: &mut Notes<'_>,
    ) -> T {
        let key = self.key(name);
        let Kind::Integer(min, max) = key.kind else { return T::default() };
        let number = match (self.item(name, notes), key.fallback) {
            (Some(item), _) => integer_within(item, min, max, name, notes),
            (None, Fallback::Value(text)) => number_in(text),
            (None, _) => None,
        };
        number.and_then(|number| T::try_from(number).ok()).unwrap_or_default()
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&self, name: &str, notes: &mut Notes<'_>) -> bool {
        let fallback = matches!(self.key(name).fallback, Fallback::Value("true"));
        let Some(item) = self.item(name, notes) else { return fallback };
        item.value.as_bool().unwrap_or_else(|| {
            wrong_type(item, "`true` or `false`", notes);
            fallback
        })
    }

    /// A string, as it is.
    pub(crate) fn text(
        &self,
        name: &str,
        notes: &mut Notes<'_>,
    ) -> Option<(&'d str, Range<usize>)> {
        match self.item(name, notes) {
            Some(item) => text_of(item, notes).map(|text| (text, item.span())),
            None => match self.key(name).fallback {
                Fallback::Value(text) => Some((text, self.span())),
                _ => None,
            },
        }
    }

    /// A string that parses as `T`.
    pub(crate) fn parsed<T: FromStr>(&self, name: &str, notes: &mut Notes<'_>) -> Option<T>
    where
        T::Err: std::fmt::Display,
    {
        let (text, span) = self.text(name, notes)?;
        text.parse().map_err(|error: T::Err| notes.error(span, error.to_string())).ok()
    }

    /// One of the words of the schema, turned into its variant.
    pub(crate) fn word<T>(
        &self,
        name: &str,
        from: fn(&str) -> Option<T>,
        notes: &mut Notes<'_>,
    ) -> Option<T> {
        let Kind::Words(words) = self.key(name).kind else { return None };
        let (text, span) = self.text(name, notes)?;
        word_within(text, span, words, from, notes)
    }

    /// A path; relative ones are refused, since a service has no directory of its own.
    pub(crate) fn path(&self, name: &str, notes: &mut Notes<'_>) -> Option<PathBuf> {
        let (text, span) = self.text(name, notes)?;
        if !text.starts_with('/') {
            notes.error_hint(span, format!("`{name}` is no absolute path"), "start it with `/`");
            return None;
        }
        Some(PathBuf::from(text))
    }

    /// The elements of a list.
    pub(crate) fn list(&self, name: &str, notes: &mut Notes<'_>) -> Option<Vec<Item<'d>>> {
        let item = self.item(name, notes)?;
        match item.value.as_array() {
            Some(array) => Some(array.iter().map(Item::new).collect()),
            None => {
                wrong_type(item, "a list, written `[…]`", notes);
                None
            }
        }
    }

    /// The elements of a list of strings that parse as `T`; none if any of them does not.
    pub(crate) fn parsed_list<T: FromStr>(
        &self,
        name: &str,
        notes: &mut Notes<'_>,
    ) -> Option<Vec<(T, Range<usize>)>>
    where
        T::Err: std::fmt::Display,
    {
        let items = self.list(name, notes)?;
        let mut parsed = Some(Vec::with_capacity(items.len()));
        for item in items {
            let value = text_of(item, notes).and_then(|text| {
                text.parse()
                    .map_err(|error: T::Err| notes.error(item.span(), error.to_string()))
                    .ok()
            });
            // One wrong element makes the list wrong, yet the others are still looked at.
            match (value, &mut parsed) {
                (Some(value), Some(parsed)) => parsed.push((value, item.span())),
                (Some(_), None) => {}
                (None, _) => parsed = None,
            }
        }
        parsed
    }
}

/// The string of a value.
pub(crate) fn text_of<'d>(item: Item<'d>, notes: &mut Notes<'_>) -> Option<&'d str> {
    let text = item.value.as_str();
    if text.is_none() {
        wrong_type(item, "a string in quotes", notes);
    }
    text
}

/// The number of a value, within bounds.
pub(crate) fn integer_within(
    item: Item<'_>,
    min: i64,
    max: i64,
    name: &str,
    notes: &mut Notes<'_>,
) -> Option<i64> {
    let Some(integer) = item.value.as_integer() else {
        wrong_type(item, "a whole number", notes);
        return None;
    };
    let number = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
    let within = number.filter(|number| (min..=max).contains(number));
    if within.is_none() {
        notes.error_hint(
            item.span(),
            format!("`{name}` is out of range"),
            format!("it goes from {min} to {max}"),
        );
    }
    within
}

/// The variant of a word, or a note that lists the words.
pub(crate) fn word_within<T>(
    text: &str,
    span: Range<usize>,
    words: &[&'static str],
    from: fn(&str) -> Option<T>,
    notes: &mut Notes<'_>,
) -> Option<T> {
    let value = from(text);
    if value.is_none() {
        let hint = match nearest(text, words.iter().copied()) {
            Some(word) => format!("did you mean `{word}`?"),
            None => format!("it is one of {}", listed(words.iter().copied())),
        };
        notes.error_hint(span, format!("`{text}` is not known here"), hint);
    }
    value
}

/// Notes that a value has the wrong type.
pub(crate) fn wrong_type(item: Item<'_>, wanted: &str, notes: &mut Notes<'_>) {
    notes.error(item.span(), format!("expected {wanted}, found {}", kind_of(item.value)));
}

fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// `a`, `b` and `c`.
pub(crate) fn listed<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = words.map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => "nothing".to_owned(),
    }
}

/// What a value of a kind looks like, for people.
pub(crate) fn kind_text(kind: Kind) -> String {
    match kind {
        Kind::Integer(min, max) => format!("{min} to {max}"),
        Kind::Boolean => "`true` or `false`".to_owned(),
        Kind::Words(words) => {
            words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
        }
        Kind::Text(what) | Kind::Other(what) => what.to_owned(),
    }
}

/// A number of the schema, decimal or `0x`.
fn number_in(text: &str) -> Option<i64> {
    match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}
