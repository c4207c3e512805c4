//! The directory that links are pinned in: on a bpffs, which is mounted where there is none.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open, statfs};
use rustix::mount::{MountFlags, mount};

use super::FilterError;

const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

/// Where systemd and bpftool mount the bpffs.
const USUAL_MOUNT: &str = "/sys/fs/bpf";

/// Makes `directory` exist on a bpffs, mounting one at `/sys/fs/bpf` or at the directory itself.
pub(crate) fn prepare(directory: &Path) -> Result<(), FilterError> {
    make(directory).map_err(|error| FilterError::PinDirectory { path: directory.to_owned(), error })
}

fn make(directory: &Path) -> io::Result<()> {
    let usual = Path::new(USUAL_MOUNT);
    if directory.starts_with(usual) && usual.is_dir() {
        mount_bpffs(usual)?;
    }
    fs::create_dir_all(directory)?;
    mount_bpffs(directory)
}

/// Mounts a bpffs at `place` unless it is on one. Processes that start together must not mount
/// over each other, hence the lock.
fn mount_bpffs(place: &Path) -> io::Result<()> {
    if is_bpffs(place)? {
        return Ok(());
    }
    let lock = open(place, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    flock(&lock, FlockOperation::LockExclusive)?;
    if is_bpffs(place)? {
        return Ok(());
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::RELATIME;
    mount("bpf", place, "bpf", flags, Some(c"mode=0700"))?;
    Ok(())
}

fn is_bpffs(place: &Path) -> io::Result<bool> {
    Ok(statfs(place)?.f_type as u64 == BPF_FS_MAGIC)
}

/// A directory that is there only while two objects are loaded that share maps.
pub(super) struct ScratchDirectory {
    path: PathBuf,
}

impl ScratchDirectory {
    pub(super) fn create(inside: &Path) -> Result<Self, FilterError> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = inside.join(format!("load-{}-{number}", std::process::id()));
        // One left by a predecessor with our process number would hand us its maps.
        let scratch = Self { path };
        scratch.clear();
        fs::create_dir(&scratch.path)
            .map_err(|error| FilterError::PinDirectory { path: scratch.path.clone(), error })?;
        Ok(scratch)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Best effort: what stays behind is memory of the kernel, and `create` meets it again.
    fn clear(&self) {
        for name in super::SHARED_MAPS {
            let _ = fs::remove_file(self.path.join(name));
        }
        let _ = fs::remove_dir(&self.path);
    }
}

impl Drop for ScratchDirectory {
    fn drop(&mut self) {
        self.clear();
    }
}
