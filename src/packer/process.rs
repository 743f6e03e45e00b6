//! Processes by id and start time, so that a reused id is never taken for the process that had it
//! before.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal};

use crate::clock;
use reconciler_core::plan::sight::Process as Seen;

/// A process that cannot be mistaken for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessId {
    /// Its id.
    pub pid: u32,
    /// When it started, in clock ticks since boot (`proc(5)`, `/proc/PID/stat`, field 22).
    pub start: u64,
}

impl ProcessId {
    /// The process that has this id now; none if there is none, or if it has ended and only waits
    /// to be reaped.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        stat(pid).map(|stat| stat.process)
    }

    /// This process.
    #[must_use]
    pub fn own() -> Option<Self> {
        Self::of(std::process::id())
    }

    /// Whether it still runs.
    #[must_use]
    pub fn is_alive(self) -> bool {
        // Seeded bug: process-by-id-only
        Self::of(self.pid) == Some(self)
    }

    /// Whether it is sure to have ended. A process of another user may be hidden from this one:
    /// that it cannot be seen says nothing.
    #[must_use]
    pub fn is_gone(self) -> bool {
        if fs::read(format!("/proc/{}/stat", self.pid)).is_ok() {
            return !self.is_alive();
        }
        raw(self.pid).is_some_and(|pid| {
            rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH)
        })
    }

    /// What can be seen of it.
    #[must_use]
    pub fn seen(self) -> Seen {
        match fs::read(format!("/proc/{}/stat", self.pid)) {
            Ok(stat) => match parse(self.pid, &stat) {
                Some(found) if found.process == self && found.stopped => Seen::Stopped,
                Some(found) if found.process == self => Seen::Runs,
                _ => Seen::Ended,
            },
            Err(_) if self.is_gone() => Seen::Ended,
            Err(_) => Seen::Unknown,
        }
    }

    /// How long ago it started, running or not: by the clock that goes on while the machine sleeps,
    /// and that nobody sets.
    #[must_use]
    pub fn age(self) -> Duration {
        let ticks = rustix::param::clock_ticks_per_second().max(1);
        let started = Duration::from_millis(self.start.saturating_mul(1000) / ticks);
        clock::now().saturating_sub(started)
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

/// A process that has not ended.
#[derive(Clone, Copy, Debug)]
struct Stat {
    process: ProcessId,
    parent: u32,
    group: u32,
    session: u32,
    /// Whether a signal or a debugger keeps it from running.
    stopped: bool,
}

fn stat(pid: u32) -> Option<Stat> {
    parse(pid, &fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// `/proc/PID/stat`; none of a process that has ended.
fn parse(pid: u32, stat: &[u8]) -> Option<Stat> {
    let stat = String::from_utf8_lossy(stat);
    // The name in brackets may contain anything, so count from the last bracket: state, parent,
    // group, session, …
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let state = *fields.first()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    let number = |at: usize| fields.get(at)?.parse().ok();
    Some(Stat {
        process: ProcessId { pid, start: fields.get(19)?.parse().ok()? },
        parent: number(1)?,
        group: number(2)?,
        session: number(3)?,
        stopped: matches!(state, "T" | "t"),
    })
}

/// One of the processes that a supervisor started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Which.
    pub process: ProcessId,
    parent: u32,
    group: u32,
}

impl Member {
    /// Whether it is the one that was started: it leads its group, which those below it are in.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.process.pid == self.group
    }

    /// Whether the other one started it, and still runs.
    #[must_use]
    pub fn is_child_of(&self, other: &Self) -> bool {
        self.parent == other.process.pid
    }
}

/// The processes that a supervisor started, whether it still lives or not.
#[derive(Clone, Debug)]
pub struct Session {
    leader: ProcessId,
    temporary: PathBuf,
}

impl Session {
    /// Those in the session of this supervisor whose `TMPDIR` is the build's own: a session id that
    /// is used again later is not taken for it.
    #[must_use]
    pub fn of(leader: ProcessId, temporary: &Path) -> Self {
        Self { leader, temporary: temporary.to_owned() }
    }

    /// Those that run now, without the supervisor.
    #[must_use]
    pub fn processes(&self) -> Vec<ProcessId> {
        let members = self.members().into_iter();
        members.map(|member| member.process).collect()
    }

    /// The same, with their places in the tree.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        let mark = format!("TMPDIR={}", self.temporary.display());
        let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
        pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter_map(stat)
            .filter(|stat| {
                stat.session == self.leader.pid
                    && stat.process.pid != self.leader.pid
                    && stat.process.start >= self.leader.start
                    && fs::read(format!("/proc/{}/environ", stat.process.pid)).is_ok_and(|all| {
                        all.split(|byte| *byte == 0).any(|one| one == mark.as_bytes())
                    })
            })
            .map(|stat| Member { process: stat.process, parent: stat.parent, group: stat.group })
            .collect()
    }

    /// Sends a signal to all of them.
    pub fn signal(&self, signal: Signal) {
        for process in self.processes() {
            process.signal(signal);
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

pub(super) fn raw(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().filter(|pid| *pid > 1).and_then(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processes_of_a_build_are_those_of_its_session_with_its_temporary_folder() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .env("TMPDIR", "/one/tmp")
            .spawn()
            .unwrap();
        let Stat { process, session, .. } = stat(child.id()).unwrap();
        let leader = ProcessId { pid: session, start: 0 };
        let of = |temporary: &str| Session::of(leader, Path::new(temporary)).processes();
        // Between fork and exec the child still shows the environment of this process.
        for _ in 0..100 {
            if !of("/one/tmp").is_empty() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        assert_eq!(of("/one/tmp"), [process]);
        assert_eq!(of("/other/tmp"), []);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn the_age_of_a_process_is_told_by_no_clock_that_can_be_set() {
        let young = ProcessId::own().unwrap();
        assert!(young.age() < Duration::from_mins(30), "{:?}", young.age());
        let old = ProcessId { start: 0, ..young };
        assert!(old.age() >= young.age());
        assert!(clock::now().abs_diff(old.age()) < Duration::from_secs(5));
    }

    #[test]
    fn a_process_is_known_by_its_start_and_an_ended_one_is_not_alive() {
        let own = ProcessId::own().unwrap();
        assert!(own.is_alive());
        assert!(!ProcessId { start: own.start + 1, ..own }.is_alive());
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        std::thread::sleep(std::time::Duration::from_millis(200));
        assert_eq!(ProcessId::of(pid), None, "a process that waits to be reaped has ended");
        let ended = ProcessId { pid, start: own.start };
        assert!(ended.is_gone() && !own.is_gone());
        child.wait().unwrap();
        assert!(ended.is_gone());
    }

    #[test]
    fn a_process_is_seen_to_run_to_be_stopped_and_to_have_ended() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let process = ProcessId::of(child.id()).unwrap();
        let becomes = |wanted: Seen| {
            (0..200).any(|_| {
                std::thread::sleep(std::time::Duration::from_millis(10));
                process.seen() == wanted
            })
        };
        assert_eq!(process.seen(), Seen::Runs);
        process.signal(Signal::STOP);
        assert!(becomes(Seen::Stopped));
        process.signal(Signal::CONT);
        assert!(becomes(Seen::Runs));
        let reused = ProcessId { start: process.start + 1, ..process };
        assert_eq!(reused.seen(), Seen::Ended);
        child.kill().unwrap();
        assert!(becomes(Seen::Ended), "it waits to be reaped");
        child.wait().unwrap();
        assert_eq!(process.seen(), Seen::Ended);
    }
}
