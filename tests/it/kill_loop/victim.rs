//! Who can be killed, and how it is found.

use reconciler::packer::process::ProcessId;

use crate::harness::farm::Build;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Victim {
    Daemon,
    Supervisor,
    /// The process that the supervisor started.
    Wrapper,
    /// `packer build`, which that one runs once more.
    Inner,
    /// `packer plugin …`
    Plugin,
    Emulator,
}

impl Victim {
    pub(super) const ALL: [Self; 6] =
        [Self::Daemon, Self::Supervisor, Self::Wrapper, Self::Inner, Self::Plugin, Self::Emulator];

    /// Whether a build runs it, so that it has to be waited for.
    pub(super) fn is_of_a_build(self) -> bool {
        !matches!(self, Self::Daemon | Self::Emulator)
    }

    /// Its process, of a build that runs.
    pub(super) fn find(self, builds: &[Build]) -> Option<ProcessId> {
        builds.iter().filter(|build| build.ended().is_none()).find_map(|build| self.of_build(build))
    }

    fn of_build(self, build: &Build) -> Option<ProcessId> {
        let (supervisor, session) = (build.supervisor()?, build.processes()?);
        if self == Self::Supervisor {
            return supervisor.is_alive().then_some(supervisor);
        }
        let processes = session.processes();
        processes.into_iter().find(|process| kind(process.pid, supervisor.pid) == Some(self))
    }
}

/// Whether anything of a build runs.
pub(super) fn runs(build: &Build) -> bool {
    build.supervisor().is_some_and(ProcessId::is_alive)
        || build.processes().is_some_and(|session| !session.processes().is_empty())
}

/// What a process of a build is.
fn kind(pid: u32, supervisor: u32) -> Option<Victim> {
    let words = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let mut words = words.split(|byte| *byte == 0).skip(1);
    let word = words.next()?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let parent: u32 = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
    match word {
        b"plugin" | b"start" | b"execute" => Some(Victim::Plugin),
        _ if parent == supervisor => Some(Victim::Wrapper),
        b"build" => Some(Victim::Inner),
        _ => None,
    }
}
