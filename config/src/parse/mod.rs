//! From text to a checked [`Config`]: role, sections, then the file of that role.

mod kdc;
mod node;

use std::ops::Range;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use crate::error::{ConfigError, Diagnostic, Report};
use crate::net::Endpoint;
use crate::read::{Item, Notes, Table, listed, text_of, word_within, wrong_type};
use crate::schema::{SECTIONS, Section, section};
use crate::suggest::nearest;
use crate::types::{AdminConfig, Config, LogConfig, LogLevel, MetricsConfig, Role};

/// Syntax errors that are shown of one file: the later ones are mostly echoes of the first.
const MAX_SYNTAX_ERRORS: usize = 4;

impl Config {
    /// Reads and checks a file.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse_named(&text, &path.display().to_string())
    }

    /// Checks a text; its errors name the file `config`.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        Self::parse_named(text, "config")
    }

    /// Checks a text; its errors name the given file.
    pub fn parse_named(text: &str, file: &str) -> Result<Self, ConfigError> {
        parse(text).map_err(|diagnostics| {
            ConfigError::Invalid(Report { file: file.to_owned(), diagnostics })
        })
    }
}

fn parse(text: &str) -> Result<Config, Vec<Diagnostic>> {
    let (root, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(errors
            .iter()
            .take(MAX_SYNTAX_ERRORS)
            .map(|error| syntax_error(text, error))
            .collect());
    }
    let mut notes = Notes::new(text);
    let root = root.get_ref();
    let config = match role(root, &mut notes) {
        None => None,
        Some(role) => {
            let file = File::open(role, root, &mut notes);
            match role {
                Role::Gateway => node::gateway(&file, &mut notes).map(Config::Gateway),
                Role::Client => node::client(&file, &mut notes).map(Config::Client),
                Role::Kdc => kdc::kdc(&file, &mut notes).map(Config::Kdc),
            }
        }
    };
    let diagnostics = notes.finish();
    match config {
        Some(config) if diagnostics.is_empty() => Ok(config),
        _ => Err(diagnostics),
    }
}

fn syntax_error(text: &str, error: &toml::de::Error) -> Diagnostic {
    let span = error.span().unwrap_or(text.len()..text.len());
    let message = error.message();
    let hint = if message.contains("quoted") || message.contains("string values must") {
        Some("text goes in double quotes: key = \"value\"".to_owned())
    } else {
        None
    };
    Diagnostic::at(text, span, message, hint)
}

fn role(root: &DeTable<'_>, notes: &mut Notes<'_>) -> Option<Role> {
    let Some((_, value)) = root.iter().find(|(key, _)| key.get_ref() == "role") else {
        let hint = "start the file with role = \"gateway\", \"client\" or \"kdc\"";
        notes.error_hint(0..0, "the file does not say its role", hint);
        return None;
    };
    let item = Item::new(value);
    let text = text_of(item, notes)?;
    word_within(text, item.span(), Role::WORDS, Role::from_word, notes)
}

/// The sections of one file, by the schema of its role.
struct File<'d> {
    role: Role,
    sections: Vec<Table<'d>>,
}

impl<'d> File<'d> {
    fn open(role: Role, root: &'d DeTable<'d>, notes: &mut Notes<'_>) -> Self {
        let mut sections = Vec::new();
        for (key, value) in root {
            let name: &str = key.get_ref();
            if name == "role" {
                continue;
            }
            match section(role, name) {
                None => unknown_section(role, name, key.span(), value.get_ref(), notes),
                Some(schema) => open_section(schema, Item::new(value), &mut sections, notes),
            }
        }
        for schema in
            SECTIONS.iter().filter(|schema| schema.required && schema.roles.contains(&role))
        {
            if !schema.name.is_empty()
                && !root.iter().any(|(key, _)| stands_for(role, key.get_ref(), schema.name))
            {
                let message = format!("a {role} needs a section {}", schema.title());
                notes.error_hint(0..0, message, schema.help);
            }
        }
        Self { role, sections }
    }

    /// The one section of a name, or a stand-in in which every key falls back; a required one that is missing has
    /// been noted, and its stand-in must not be noted key by key.
    fn one(&self, name: &str) -> Option<&Table<'d>> {
        self.sections.iter().find(|table| table.schema.name == name)
    }

    /// All sections of a repeated name.
    fn all(&self, name: &'static str) -> impl Iterator<Item = &Table<'d>> {
        self.sections.iter().filter(move |table| table.schema.name == name)
    }

    /// An optional section: the one of the file, or one in which every key falls back.
    fn optional<T>(
        &self,
        name: &str,
        notes: &mut Notes<'_>,
        read: impl FnOnce(&Table<'_>, &mut Notes<'_>) -> T,
    ) -> T {
        match self.one(name) {
            Some(table) => read(table, notes),
            None => {
                let schema = section(self.role, name)
                    .expect("invariant: callers ask for sections of their own role; every parse asks for all of them");
                read(&Table::absent(schema), notes)
            }
        }
    }

    fn metrics(&self, notes: &mut Notes<'_>) -> MetricsConfig {
        self.optional("metrics", notes, |table, notes| {
            let listen = match table.text("listen", notes) {
                Some(("off", _)) | None => None,
                Some(_) => table.parsed("listen", notes).map(|Endpoint(address)| address),
            };
            MetricsConfig { listen }
        })
    }

    fn admin(&self, notes: &mut Notes<'_>) -> AdminConfig {
        self.optional("admin", notes, |table, notes| {
            let default = || format!("/run/sekisho/{}.sock", self.role).into();
            let socket: std::path::PathBuf = table.path("socket", notes).unwrap_or_else(default);
            // sun_path has 108 octets with its terminating zero.
            if socket.as_os_str().len() > 107 {
                notes.error(
                    table.place("socket"),
                    "the path of a Unix socket has at most 107 octets",
                );
            }
            AdminConfig { socket }
        })
    }

    fn log(&self, notes: &mut Notes<'_>) -> LogConfig {
        self.optional("log", notes, |table, notes| LogConfig {
            level: table.word("level", LogLevel::from_word, notes).unwrap_or(LogLevel::Info),
        })
    }
}

/// Whether a name in the file is a section's, or an unknown one that was taken for a slip of it.
fn stands_for(role: Role, name: &str, wanted: &str) -> bool {
    name == wanted
        || (section(role, name).is_none() && nearest(name, section_names(role)) == Some(wanted))
}

fn section_names(role: Role) -> impl Iterator<Item = &'static str> + Clone {
    SECTIONS
        .iter()
        .filter(move |section| section.roles.contains(&role) && !section.name.is_empty())
        .map(|section| section.name)
}

fn open_section<'d>(
    schema: &'static Section,
    item: Item<'d>,
    into: &mut Vec<Table<'d>>,
    notes: &mut Notes<'_>,
) {
    let tables = match (item.value, schema.repeated) {
        (DeValue::Table(table), false) => vec![(table, item.span())],
        (DeValue::Array(array), true)
            if array.iter().all(|element| element.get_ref().is_table()) =>
        {
            array
                .iter()
                .filter_map(|element| {
                    element.get_ref().as_table().map(|table| (table, element.span()))
                })
                .collect()
        }
        (DeValue::Table(_), true) => {
            let message = format!("`{}` may stand more than once and is a list", schema.name);
            notes.error_hint(
                item.span(),
                message,
                format!("write {} with two brackets", schema.title()),
            );
            return;
        }
        (DeValue::Array(_), false) => {
            let message = format!("`{}` stands once", schema.name);
            notes.error_hint(
                item.span(),
                message,
                format!("write {} with one bracket, and once", schema.title()),
            );
            return;
        }
        _ => return wrong_type(item, &format!("the section {}", schema.title()), notes),
    };
    for (table, span) in tables {
        into.push(Table::open(schema, table, span, notes));
    }
}

fn unknown_section(
    role: Role,
    name: &str,
    span: Range<usize>,
    value: &DeValue<'_>,
    notes: &mut Notes<'_>,
) {
    let own = || {
        SECTIONS.iter().filter(|section| section.roles.contains(&role) && !section.name.is_empty())
    };
    let home = own().find(|section| section.key(name).is_some());
    let elsewhere = SECTIONS.iter().find(|section| section.name == name);
    let is_section = matches!(value, DeValue::Table(_) | DeValue::Array(_));
    let kind = if is_section { "section" } else { "key" };
    let hint = match (elsewhere, home, nearest(name, section_names(role))) {
        (Some(section), _, _) => {
            let roles =
                section.roles.iter().map(|role| role.word()).collect::<Vec<_>>().join(" and ");
            format!("it belongs in the file of a {roles}")
        }
        (None, Some(home), _) if !is_section => format!("it belongs in {}", home.title()),
        (None, _, Some(near)) => format!("did you mean `{near}`?"),
        _ => format!("a {role} has the sections {}", listed(section_names(role))),
    };
    notes.error_hint(span, format!("unknown {kind} `{name}` in the file of a {role}"), hint);
}
