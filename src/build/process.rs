//! Processes by id and start time, so that a reused id is never taken for the process that had it before.

use std::fs;

use rustix::process::{Pid, Signal};

/// A process that cannot be mistaken for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessId {
    /// Its id.
    pub pid: u32,
    /// When it started, in clock ticks since boot (`proc(5)`, `/proc/PID/stat`, field 22).
    pub start: u64,
}

impl ProcessId {
    /// The process that has this id now; none if there is none, or if it has ended and only waits to be reaped.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in brackets may contain anything, so count from the last bracket.
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        if matches!(fields.next()?, "Z" | "X") {
            return None;
        }
        let start = fields.nth(18)?.parse().ok()?;
        Some(Self { pid, start })
    }

    /// This process.
    #[must_use]
    pub fn own() -> Option<Self> {
        Self::of(std::process::id())
    }

    /// Whether it still runs.
    #[must_use]
    pub fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Sends a signal if it still runs.
    pub fn signal(self, signal: Signal) {
        if self.is_alive()
            && let Some(pid) = raw(self.pid)
        {
            // It may have ended a moment ago, which is what was wanted.
            let _ = rustix::process::kill_process(pid, signal);
        }
    }
}

/// Sends a signal to all of a process group.
pub fn signal_group(group: u32, signal: Signal) {
    if let Some(pid) = raw(group) {
        // The group may be gone already, which is what was wanted.
        let _ = rustix::process::kill_process_group(pid, signal);
    }
}

fn raw(pid: u32) -> Option<Pid> {
    i32::try_from(pid)
        .ok()
        .filter(|pid| *pid > 1)
        .and_then(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start_and_an_ended_one_is_not_alive() {
        let own = ProcessId::own().unwrap();
        assert!(own.is_alive());
        assert!(
            !ProcessId {
                start: own.start + 1,
                ..own
            }
            .is_alive()
        );
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        std::thread::sleep(std::time::Duration::from_millis(200));
        assert_eq!(
            ProcessId::of(pid),
            None,
            "a process that waits to be reaped has ended"
        );
        child.wait().unwrap();
    }
}
