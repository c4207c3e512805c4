//! What a process that holds keys does first: no core dump, no debugger, no page on a swap disk.

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

/// Keeps the process's memory to itself. What the system refuses is logged: the process can run
/// without, and `sekisho doctor` names what mends it.
pub fn process_memory() {
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "a core dump could hold keys: the process stays dumpable");
    }
    // On fault: the frames of the rings are locked by the kernel anyway, untouched tables cost nothing.
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    if let Err(error) = mlockall(flags) {
        tracing::warn!(%error, "keys could be swapped to disk: memory is not locked (CAP_IPC_LOCK or LimitMEMLOCK)");
    }
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
