//! Notices that the registry's file has changed and reads it again.
//!
//! Owns the file's stamp. Whether and when to look is the caller's ([`RegistryWatch::poll`]).

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::store::{Registry, RegistryError};
use super::view::RegistryView;

/// What changes when a file is written or replaced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let m = fs::metadata(path).ok()?;
        Some(Self {
            device: m.dev(),
            inode: m.ino(),
            size: m.size(),
            modified: (m.mtime(), m.mtime_nsec()),
            changed: (m.ctime(), m.ctime_nsec()),
        })
    }

    /// Whether a write right after this stamp was taken could have left it as it is: clocks of
    /// file systems tick coarsely.
    fn is_fresh(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        i64::try_from(now).is_ok_and(|now| now - self.modified.0.max(self.changed.0) <= 2)
    }
}

/// Keeps a view of a registry up to date.
pub struct RegistryWatch {
    registry: Registry,
    derived: bool,
    /// The stamp before the last read; none to read at the next look in any case.
    seen: Option<Stamp>,
    /// Inode and generation of the view that the caller has.
    current: (u64, u64),
}

impl RegistryWatch {
    /// How often a server looks at the file.
    pub const INTERVAL: Duration = Duration::from_millis(100);

    /// Reads the first view and starts to watch from there.
    ///
    /// # Errors
    /// [`RegistryError`] if the registry cannot be read.
    pub fn start(registry: Registry, derived: bool) -> Result<(Self, RegistryView), RegistryError> {
        let mut watch = Self { registry, derived, seen: None, current: (0, 0) };
        let view = watch.read()?;
        Ok((watch, view))
    }

    /// A new view if the registry has changed since the last one.
    ///
    /// # Errors
    /// [`RegistryError`] if it has and cannot be read; the next look tries again, and the view
    /// that the caller has stays in force.
    pub fn poll(&mut self) -> Result<Option<RegistryView>, RegistryError> {
        let stamp = Stamp::of(self.registry.path());
        if stamp.is_some() && stamp == self.seen {
            return Ok(None);
        }
        let before = self.current;
        let view = self.read()?;
        Ok((self.current != before).then_some(view))
    }

    fn read(&mut self) -> Result<RegistryView, RegistryError> {
        self.seen = None;
        let stamp = Stamp::of(self.registry.path());
        let view = self.registry.view(self.derived)?;
        self.current = (stamp.map_or(0, |s| s.inode), view.generation());
        self.seen = stamp.filter(|s| !s.is_fresh());
        Ok(view)
    }
}
