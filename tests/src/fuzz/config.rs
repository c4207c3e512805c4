//! Configuration files: any text is accepted or told what is wrong where; reloads are differences.

use sekisho_config::{Change, Config, ConfigError};

/// Between two files of one input.
pub(super) const NEXT_FILE: char = '\0';

/// One file or two; the second is what the first is reloaded with.
///
/// # Panics
/// Where an error points outside its text, or a difference is not what differs.
pub fn config(data: &[u8]) {
    let _ = run(data);
}

/// How many of the files are accepted, and what a reload changes.
pub(super) fn run(data: &[u8]) -> (usize, Option<usize>) {
    let Ok(text) = std::str::from_utf8(data) else { return (0, None) };
    let (live, new) = text.split_once(NEXT_FILE).unwrap_or((text, ""));
    let (Some(live), new) = (parsed(live), parsed(new)) else { return (0, None) };
    assert_eq!(live.changes_to(&live), Ok(Vec::new()));
    let Some(new) = new else { return (1, None) };
    (2, reload(&live, &new))
}

fn parsed(text: &str) -> Option<Config> {
    match Config::parse(text) {
        Ok(config) => {
            assert_eq!(Config::parse(text).ok().as_ref(), Some(&config));
            Some(config)
        }
        Err(ConfigError::Invalid(report)) => {
            assert!(!report.diagnostics.is_empty());
            for diagnostic in &report.diagnostics {
                let line = text.split('\n').nth(diagnostic.line - 1);
                let line = line.map(|line| line.trim_end_matches('\r'));
                assert_eq!(line, Some(diagnostic.source_line.as_str()), "{diagnostic:?}");
                assert!(diagnostic.column >= 1 && diagnostic.width >= 1, "{diagnostic:?}");
                assert!(!diagnostic.message.is_empty());
            }
            assert!(report.to_string().contains("error"));
            None
        }
        Err(ConfigError::Read { .. }) => None,
    }
}

fn reload(live: &Config, new: &Config) -> Option<usize> {
    match live.changes_to(new) {
        Ok(changes) => {
            assert_eq!(changes.is_empty(), live == new, "{changes:?}");
            // Back is a difference as well.
            assert_eq!(new.changes_to(live).map(|back| back.len()), Ok(changes.len()));
            for change in &changes {
                if let Change::Services { changes, now } = change {
                    assert!(!changes.is_empty() || now.len() > 1, "services in another order");
                }
                assert!(!change.to_string().is_empty());
            }
            Some(changes.len())
        }
        Err(restart) => {
            assert!(!restart.items.is_empty());
            assert!(restart.items.iter().all(|item| item.live != item.new), "{restart}");
            None
        }
    }
}
