//! The reference of all keys, generated from the schema: `docs/config.md`.

use std::fmt::Write;

use crate::read::kind_text;
use crate::schema::{Fallback, Key, SECTIONS, Section};
use crate::types::Role;

/// The complete text of `docs/config.md`.
pub fn reference_markdown() -> String {
    let mut text = String::from(INTRODUCTION);
    for section in SECTIONS {
        section_into(section, &mut text);
    }
    text
}

const INTRODUCTION: &str = "\
# Configuration reference

Generated from `config/src/schema.rs`; `SEKISHO_BLESS=1 cargo test -p sekisho-config` writes it anew.

One TOML file for each process. Unknown keys are errors, and `sekisho check FILE` shows every error with its line,
column and a hint. On SIGHUP the file is read again: keys marked *live* are applied at once; if any other key differs,
or the file is wrong, nothing is changed and the reason is logged. Complete examples: `config/examples/`.
";

fn section_into(section: &Section, text: &mut String) {
    let title = if section.name.is_empty() {
        "Top of the file".to_owned()
    } else {
        format!("`{}`", section.title())
    };
    let roles = section.roles.iter().map(|role| role.word()).collect::<Vec<_>>().join(", ");
    let presence = match (section.required, section.repeated) {
        (true, true) => "required, repeatable",
        (true, false) => "required",
        (false, true) => "optional, repeatable",
        (false, false) => "optional",
    };
    let everywhere = section.roles.len() == Role::WORDS.len();
    let roles = if everywhere { "every file".to_owned() } else { format!("file of: {roles}") };
    // Writing to a String cannot fail.
    let _ = write!(text, "\n## {title}\n\n{} *({roles}; {presence})*\n\n", section.help);
    text.push_str("| key | values | default | live | meaning |\n|---|---|---|---|---|\n");
    for key in section.keys {
        row_into(key, text);
    }
}

fn row_into(key: &Key, text: &mut String) {
    let fallback = match key.fallback {
        Fallback::Required => "required".to_owned(),
        Fallback::Absent => "–".to_owned(),
        Fallback::Value(value) => format!("`{value}`"),
    };
    let live = if key.live { "yes" } else { "" };
    let _ = writeln!(
        text,
        "| `{}` | {} | {fallback} | {live} | {} |",
        key.name,
        kind_text(key.kind),
        key.help
    );
}
