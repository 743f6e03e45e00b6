//! File systems of a process's own, in a mount namespace.

use std::path::Path;
use std::process::{Command, Stdio};

/// Whether a process of ours may have a mount of its own.
pub(crate) fn may_mount(folder: &Path) -> bool {
    let mounts = Command::new("unshare")
        .args(["-rm", "mount", "-t", "tmpfs", "-o", "size=1m", "disk"])
        .arg(folder)
        .stderr(Stdio::null())
        .status();
    mounts.is_ok_and(|status| status.success())
}
