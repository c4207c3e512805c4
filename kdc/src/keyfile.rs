//! Key files: 64 hex digits and a newline, readable by their owner alone.
//!
//! Owns reading, checking and writing them; knows nothing of what a key is for.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// A 256-bit key that leaves no copy behind when it goes out of scope.
pub type KeyBytes = Zeroizing<[u8; 32]>;

/// Permission bits of a key file: read and write for the owner.
const MODE: u32 = 0o600;

/// Why a key file could not be used or made.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The operating system refused.
    #[error("key file {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is a file already, and keys are never overwritten.
    #[error("key file {0} exists already and is not overwritten; move it away first")]
    Exists(PathBuf),
    /// Others than the owner have access.
    #[error("key file {path} has mode {mode:04o}, others may read it; run: chmod 600 {path}")]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not a regular file.
    #[error("key file {0} is not a regular file")]
    NotRegular(PathBuf),
    /// Not 64 hex digits.
    #[error("key file {0} does not hold 64 hex digits and a newline")]
    Malformed(PathBuf),
}

/// Reads the key in `path`.
///
/// # Errors
/// [`KeyFileError`] if it cannot be read, is no regular file, is open to group or others, or does
/// not hold a key.
pub fn read(path: &Path) -> Result<KeyBytes, KeyFileError> {
    let io = |source| KeyFileError::Io { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(io)?;
    let meta = file.metadata().map_err(io)?;
    if !meta.is_file() {
        return Err(KeyFileError::NotRegular(path.to_owned()));
    }
    let mode = meta.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Mode { path: path.to_owned(), mode });
    }
    // One octet more than a key and its newline, so that a longer file is seen as such.
    let mut text = Zeroizing::new([0u8; 66]);
    let mut len = 0;
    while len < text.len() {
        match file.read(&mut text[len..]) {
            Ok(0) => break,
            Ok(n) => len += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(io(e)),
        }
    }
    let digits = match &text[..len] {
        [d @ .., b'\n'] => d,
        d => d,
    };
    let mut key = KeyBytes::default();
    hex::decode_to_slice(digits, key.as_mut_slice())
        .map_err(|_| KeyFileError::Malformed(path.to_owned()))?;
    Ok(key)
}

/// Writes `key` to the new file `path`, mode 0600, and makes it last over a crash.
///
/// # Errors
/// [`KeyFileError::Exists`] if there is such a file, [`KeyFileError::Io`] else.
pub fn write_new(path: &Path, key: &[u8; 32]) -> Result<(), KeyFileError> {
    let io = |source| KeyFileError::Io { path: path.to_owned(), source };
    let mut file = match OpenOptions::new().write(true).create_new(true).mode(MODE).open(path) {
        Ok(f) => f,
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            return Err(KeyFileError::Exists(path.to_owned()));
        }
        Err(e) => return Err(io(e)),
    };
    let text = to_hex_line(key);
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io)?;
    if let Some(dir) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
        File::open(dir).and_then(|d| d.sync_all()).map_err(io)?;
    }
    Ok(())
}

/// The content of a key file: 64 hex digits and a newline.
#[must_use]
pub fn to_hex_line(key: &[u8; 32]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(65));
    for b in key {
        for nibble in [b >> 4, b & 15] {
            text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn key() -> [u8; 32] {
        std::array::from_fn(|i| u8::try_from(i * 7 % 256).unwrap())
    }

    #[test]
    fn what_is_written_is_read_again_with_mode_0600() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k");
        write_new(&path, &key()).unwrap();
        assert_eq!(*read(&path).unwrap(), key());
        let meta = std::fs::metadata(&path).unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.len()), (0o600, 65));
        assert_eq!(std::fs::read_to_string(&path).unwrap().trim(), hex::encode(key()));
    }

    #[test]
    fn an_existing_file_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k");
        std::fs::write(&path, "mine").unwrap();
        assert!(matches!(write_new(&path, &key()), Err(KeyFileError::Exists(_))));
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    }

    #[test]
    fn open_modes_and_wrong_contents_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k");
        write_new(&path, &key()).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        let error = read(&path).unwrap_err();
        assert!(matches!(error, KeyFileError::Mode { mode: 0o640, .. }));
        assert!(error.to_string().contains("chmod 600"));

        for bad in ["", "\n", "zz", &"ab".repeat(31), &"ab".repeat(33), &"xy".repeat(32)] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
            std::fs::write(&path, bad).unwrap();
            assert!(matches!(read(&path), Err(KeyFileError::Malformed(_))), "{bad:?}");
        }
        assert!(matches!(read(dir.path()), Err(KeyFileError::NotRegular(_))));
        assert!(matches!(read(&dir.path().join("none")), Err(KeyFileError::Io { .. })));
    }
}
