//! What whoever asks can see, from where it stands, of the processes that a lease and a journal
//! speak of. Pure: `controller::process_sight` looks.
//!
//! A journal and a lease say what was so when they were written. A process of this host, seen under
//! the same boot and in the same PID namespace, says what is so now.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use reconciler_model::ids::BuildId;
use reconciler_model::inventory::Lease;

/// What can be seen of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Process {
    /// Nothing: it is, or was, somewhere else.
    #[default]
    Unknown,
    /// It runs.
    Runs,
    /// It is there and does nothing: a signal (SIGSTOP) or a debugger has stopped it.
    Stopped,
    /// It has ended and cannot come back.
    Ended,
}

/// What can be seen of a build that the journal does not say to be over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BuildProcess {
    /// Nothing: it is, or was, somewhere else.
    #[default]
    Unknown,
    /// Its folder is laid out; its supervisor has not begun.
    Starting,
    /// Its supervisor runs, and Packer under it.
    Runs,
    /// Its supervisor or Packer is stopped by a signal.
    Stopped,
    /// Its supervisor has ended; Packer runs without it.
    Unsupervised,
    /// Packer has ended, and how is written down.
    Ended,
    /// Nothing of it runs any more, and nobody wrote down how it ended.
    Gone,
    /// It was given up before it began.
    NeverStarted,
}

/// A build as it is seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BuildSight {
    /// What can be seen of it.
    pub seen: BuildProcess,
    /// When Packer ended, where that is written down.
    pub ended_at: Option<Timestamp>,
    /// When its supervisor, on another host, gave its last sign of life, by that host's clock.
    pub last_sign_at: Option<Timestamp>,
}

/// Whether somebody is there who acts on a workflow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Attended {
    /// Nobody knows.
    #[default]
    Unknown,
    /// Somebody, as far as can be seen.
    Yes,
    /// Nobody: what waits for a time waits for a person first.
    No,
}

/// All that can be seen of one workflow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sights {
    /// The holder of the lease.
    pub holder: Process,
    /// Builds that are not over.
    pub builds: HashMap<BuildId, BuildSight>,
}

impl Sights {
    /// What is seen of one build.
    #[must_use]
    pub fn of(&self, build: &BuildId) -> BuildSight {
        self.builds.get(build).copied().unwrap_or_default()
    }

    /// Whether somebody acts on the workflow that has this lease.
    #[must_use]
    pub fn attended(&self, lease: Option<&Lease>) -> Attended {
        match (lease.and_then(|lease| lease.holder.as_ref()), self.holder) {
            (None, _) | (_, Process::Ended | Process::Stopped) => Attended::No,
            (Some(_), Process::Runs | Process::Unknown) => Attended::Yes,
        }
    }
}

/// A holder, `host/pid/start-mark`, as people read it: `reconciler on build-1, pid 4242`; another
/// form as it is.
#[must_use]
pub fn holder_words(holder: &str) -> String {
    match parts(holder) {
        Some((host, pid)) => format!("reconciler on {host}, pid {pid}"),
        None => holder.to_owned(),
    }
}

/// The host and the process id that a holder names.
#[must_use]
pub fn parts(holder: &str) -> Option<(&str, &str)> {
    let mut parts = holder.rsplitn(3, '/');
    let (_, pid, host) = (parts.next()?, parts.next()?, parts.next()?);
    Some((host, pid))
}

#[cfg(test)]
mod tests {
    use super::*;
    use reconciler_model::ids::WorkflowId;

    #[test]
    fn nobody_acts_where_the_lease_is_free_or_its_holder_is_seen_to_have_ended_or_to_stand_still() {
        let lease = |holder: Option<&str>| Lease {
            workflow_id: WorkflowId::new("w"),
            holder: holder.map(str::to_owned),
            token: 1,
            version: "v".into(),
            duration_seconds: 30,
            renewed_at: Timestamp::UNIX_EPOCH,
            journal_seq: 0,
            applied: std::collections::BTreeMap::default(),
        };
        let attended = |holder, lease: Option<&Lease>| {
            let sights = Sights { holder, ..Sights::default() };
            sights.attended(lease)
        };
        let held = lease(Some("h/1/2-m"));
        assert_eq!(attended(Process::Unknown, None), Attended::No);
        assert_eq!(attended(Process::Unknown, Some(&lease(None))), Attended::No);
        assert_eq!(attended(Process::Unknown, Some(&held)), Attended::Yes);
        assert_eq!(attended(Process::Runs, Some(&held)), Attended::Yes);
        assert_eq!(attended(Process::Stopped, Some(&held)), Attended::No);
        assert_eq!(attended(Process::Ended, Some(&held)), Attended::No);
    }

    #[test]
    fn a_holder_is_named_by_its_host_and_process() {
        let words = holder_words("a/b/4242/98765-0123456789abcdef");
        assert_eq!(words, "reconciler on a/b, pid 4242");
        assert_eq!(holder_words("words"), "words");
    }
}
