//! The folders of a farm's builds, and the processes that run in them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use reconciler::packer::process::{ProcessId, Session};
use reconciler::packer::supervisor::files::{self, Ended, Job, Supervisor};
use rustix::process::Signal;

use super::Farm;

/// The folder of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Build(pub(crate) PathBuf);

impl Build {
    /// One of its files.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// What is to be run; none if the folder is not laid out yet.
    pub(crate) fn job(&self) -> Option<Job> {
        files::read(&self.0, files::JOB)
    }

    /// How it ended; none if it has not.
    pub(crate) fn ended(&self) -> Option<Ended> {
        files::read(&self.0, files::ENDED)
    }

    /// Its supervisor; none if that has not begun.
    pub(crate) fn supervisor(&self) -> Option<ProcessId> {
        let known: Supervisor = files::read(&self.0, files::SUPERVISOR)?;
        Some(ProcessId { pid: known.pid, start: known.pid_start })
    }

    /// What its supervisor started.
    pub(crate) fn processes(&self) -> Option<Session> {
        Some(Session::of(self.supervisor()?, &self.job()?.temporary))
    }

    /// Sends a signal to its supervisor and to Packer.
    fn signal(&self, signal: Signal) {
        if let (Some(supervisor), Some(session)) = (self.supervisor(), self.processes()) {
            supervisor.signal(signal);
            session.signal(signal);
        }
    }
}

/// The folders of builds below a state folder.
pub(crate) fn builds_below(state: &Path) -> Vec<Build> {
    let entries = std::fs::read_dir(state.join("builds")).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).map(Build).collect()
}

impl Farm {
    /// Its builds.
    pub(crate) fn builds(&self) -> Vec<Build> {
        builds_below(&self.state())
    }

    /// The builds of a host.
    pub(crate) fn builds_on(&self, host: &str) -> Vec<Build> {
        builds_below(&self.state_of_host(host))
    }

    /// Its only build.
    #[track_caller]
    pub(crate) fn only_build(&self) -> Build {
        let mut builds = self.builds();
        assert_eq!(builds.len(), 1, "{builds:?}");
        builds.remove(0)
    }

    /// The supervisor of its only build.
    #[track_caller]
    pub(crate) fn supervisor(&self) -> ProcessId {
        self.only_build().supervisor().unwrap()
    }

    /// What the supervisor of its only build started.
    #[track_caller]
    pub(crate) fn packer_processes(&self) -> Session {
        self.only_build().processes().unwrap()
    }

    /// Sends a signal to every build of a host: supervisor and Packer.
    pub(crate) fn signal_builds(&self, host: &str, signal: Signal) {
        self.builds_on(host).iter().for_each(|build| build.signal(signal));
    }

    /// What Packer said in the builds of a host.
    pub(crate) fn said_by_packer(&self, host: &str) -> String {
        said(&self.builds_on(host), files::LOG)
    }

    /// What the supervisors of a host could not do, and which failpoints they came to.
    pub(crate) fn said_by_supervisors(&self, host: &str) -> String {
        said(&self.builds_on(host), files::SUPERVISOR_LOG)
    }

    /// What a log holds, and what its supervisors said.
    pub(crate) fn said(&self, log: &str) -> String {
        self.log(log) + &said(&self.builds(), files::SUPERVISOR_LOG)
    }

    /// Waits until a log, or a supervisor, says something.
    pub(crate) fn wait_for_words(&self, log: &str, words: &str) -> Result<(), String> {
        let end = Instant::now() + Duration::from_mins(1);
        while Instant::now() < end {
            if self.said(log).contains(words) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(30));
        }
        Err(format!("`{words}` never happened: {}", self.said(log)))
    }
}

fn said(builds: &[Build], file: &str) -> String {
    builds.iter().filter_map(|build| std::fs::read_to_string(build.file(file)).ok()).collect()
}

/// Builds outlive their daemon by design; those of a test end with its farm. They are found by their
/// argument, a folder below this one: one that a test has frozen before it began has left no word of
/// itself.
pub(super) fn end_supervisors(folder: &Path) {
    let supervised = |pid: u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0).skip(1);
        words.next() == Some(b"supervise")
            && words.next().is_some_and(|of| Path::new(OsStr::from_bytes(of)).starts_with(folder))
    };
    let processes: Vec<_> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| supervised(*pid))
        .filter_map(ProcessId::of)
        .collect();
    for process in &processes {
        // One that a test has frozen hears nothing else, before or after.
        process.signal(Signal::CONT);
        process.signal(Signal::TERM);
        process.signal(Signal::CONT);
    }
    let end = Instant::now() + Duration::from_secs(10);
    for process in processes {
        while process.is_alive() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
