//! Logs: one line each on standard error, with a level that a reload can change.

use std::sync::OnceLock;

use sekisho_config::LogLevel;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt, reload};

static LEVEL: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();

/// Starts logging at `level`. A second call only changes the level.
pub fn start(level: LogLevel) {
    let (filter, handle) = reload::Layer::new(filter(level));
    let lines = fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(false);
    if tracing_subscriber::registry().with(filter).with(lines).try_init().is_ok() {
        // Set once: a second subscriber is refused above.
        let _ = LEVEL.set(handle);
    } else {
        set_level(level);
    }
}

/// Changes the level of a process that logs.
pub fn set_level(level: LogLevel) {
    if let Some(handle) = LEVEL.get() {
        // Fails only when the subscriber is gone, which is at the end of the process.
        let _ = handle.reload(filter(level));
    }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::{Level, enabled};

    #[test]
    fn the_level_can_be_changed() {
        start(LogLevel::Warn);
        assert!(enabled!(Level::WARN) && !enabled!(Level::INFO));
        set_level(LogLevel::Debug);
        assert!(enabled!(Level::DEBUG) && !enabled!(Level::TRACE));
        start(LogLevel::Error);
        assert!(enabled!(Level::ERROR) && !enabled!(Level::WARN));
    }
}
