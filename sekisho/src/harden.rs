//! What a process that holds keys does first: no core dump, no debugger, no page on a swap disk.

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{DumpableBehavior, Resource, getrlimit, set_dumpable_behavior};
use rustix::thread::{CapabilitySet, capabilities};

/// Keeps the process's memory to itself. What the system refuses is logged: the process can run
/// without, and `sekisho doctor` names what mends it.
pub fn process_memory() {
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "a core dump could hold keys: the process stays dumpable");
    }
    if !may_lock() {
        // Under a finite limit the call succeeds and a later allocation fails instead.
        tracing::warn!(
            "keys could be swapped to disk: give the process CAP_IPC_LOCK or LimitMEMLOCK=infinity"
        );
        return;
    }
    // On fault: the frames of the rings are locked by the kernel anyway, untouched tables cost nothing.
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    if let Err(error) = mlockall(flags) {
        tracing::warn!(%error, "keys could be swapped to disk: memory is not locked");
    }
}

/// Whether as much may be locked as the process will ever map.
fn may_lock() -> bool {
    let capable =
        capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK));
    capable || getrlimit(Resource::Memlock).current.is_none()
}

#[cfg(test)]
mod tests {
    use rustix::process::dumpable_behavior;

    use super::*;

    #[test]
    fn no_core_dump_is_written() {
        process_memory();
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    }
}
