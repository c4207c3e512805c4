//! The lab's directory under /run: configurations, keys, logs, and a bpffs for pinned programs.
//! The bpffs is mounted from the outer mount namespace, where all processes of the lab live.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::namespace::sweep;
use super::process::run;
use super::{LabError, LabResult};

const ROOT: &str = "/run";
const STEM: &str = "sekisho-lab-";
const LIMIT: Duration = Duration::from_secs(10);
/// Present in the directory of a lab that was kept: the next run leaves that lab alone.
const KEPT: &str = "kept";

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// The directory of one lab; removed on drop.
pub struct Site {
    directory: PathBuf,
    detached: bool,
}

impl Site {
    /// Makes the directory and mounts its bpffs; first removes what killed runs left behind.
    pub fn create() -> LabResult<Self> {
        remove_stale()?;
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let directory = PathBuf::from(ROOT).join(format!("{STEM}{}-{number}", std::process::id()));
        let bpf = directory.join("bpf");
        std::fs::create_dir_all(&bpf).map_err(LabError::file("make", &bpf))?;
        let site = Self { directory, detached: false };
        run(Command::new("mount").args(["-t", "bpf", "bpf"]).arg(&bpf), LIMIT)?;
        Ok(site)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// A file or directory in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Makes a subdirectory.
    pub fn subdirectory(&self, name: &str) -> LabResult<PathBuf> {
        let path = self.file(name);
        std::fs::create_dir_all(&path).map_err(LabError::file("make", &path))?;
        Ok(path)
    }

    /// Writes a file readable by its owner only.
    pub fn write(&self, name: &str, content: &str) -> LabResult<PathBuf> {
        use std::os::unix::fs::PermissionsExt;
        let path = self.file(name);
        std::fs::write(&path, content).map_err(LabError::file("write", &path))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))
            .map_err(LabError::file("chmod", &path))?;
        Ok(path)
    }

    /// The contents of every log of the lab, for a failed test.
    pub fn logs(&self) -> Vec<(String, String)> {
        let mut logs: Vec<(String, String)> = std::fs::read_dir(&self.directory)
            .into_iter()
            .flatten()
            .filter_map(|entry| {
                let path = entry.ok()?.path();
                let name = path.file_name()?.to_str()?.to_owned();
                name.ends_with(".log").then(|| (name, std::fs::read_to_string(&path)))
            })
            .filter_map(|(name, text)| Some((name, text.ok()?)))
            .collect();
        logs.sort();
        logs
    }

    /// Leaves the directory in place after this value is gone and marks it as kept.
    pub fn detach(&mut self) -> LabResult {
        self.detached = true;
        self.write(KEPT, "").map(drop)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if !self.detached {
            let _ = remove(&self.directory);
        }
    }
}

fn remove(directory: &Path) -> LabResult {
    let bpf = directory.join("bpf");
    // Not mounted is as good as unmounted: the removal below tells if it was not.
    let _ = run(Command::new("umount").arg(&bpf), LIMIT);
    std::fs::remove_dir_all(directory).map_err(LabError::file("remove", directory))
}

/// Directories of labs with the process id in their names.
fn directories() -> Vec<(u32, PathBuf)> {
    let entries = std::fs::read_dir(ROOT).into_iter().flatten();
    entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let rest = path.file_name()?.to_str()?.strip_prefix(STEM)?;
            let owner = rest.split('-').next()?.parse().ok()?;
            Some((owner, path))
        })
        .collect()
}

/// Removes labs whose process is gone and that nobody asked to keep.
fn remove_stale() -> LabResult {
    let mut kept = Vec::new();
    for (owner, directory) in directories() {
        if directory.join(KEPT).exists() {
            kept.push(owner);
        } else if !alive(owner) {
            sweep(|pid| pid == owner)?;
            remove(&directory)?;
        }
    }
    sweep(|pid| !alive(pid) && !kept.contains(&pid)).map(drop)
}

/// Takes down every lab that was kept; the number of namespaces removed.
pub fn take_down() -> LabResult<usize> {
    let mut removed = 0;
    for (owner, directory) in directories() {
        if directory.join(KEPT).exists() || !alive(owner) {
            removed += sweep(|pid| pid == owner)?;
            remove(&directory)?;
        }
    }
    Ok(removed)
}

fn alive(pid: u32) -> bool {
    PathBuf::from(format!("/proc/{pid}")).exists()
}
