//! What the loop knows of the host that it runs on, and what it shows there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::config::Config;
use crate::controller::main_loop::host_fitness::HostFitness;
use crate::controller::main_loop::retry_queue::{Circumstances, RetryKey};
use crate::controller::main_loop::{Controller, PassReport};
use crate::controller::old_build_folders::OldBuildFolders;
use crate::controller::status_file::StatusFile;
use reconciler_model::host_cause::HostCause;

/// How often it is looked for folders of old builds that can go.
const HOUSEKEEPING: Duration = Duration::from_hours(1);

/// This host.
pub(super) struct Host {
    /// Which workflows it can do nothing for.
    pub(super) fitness: HostFitness,
    /// Which repositories cannot be fetched on it.
    pub(super) fetching: Arc<Fetching>,
    /// Where it is shown what does not work.
    pub(super) status_file: Arc<StatusFile>,
    old_build_folders: OldBuildFolders,
}

impl Host {
    /// A host of which nothing is known yet.
    pub(super) fn of(config: &Config) -> Self {
        Self {
            fitness: HostFitness::default(),
            fetching: Arc::default(),
            status_file: Arc::new(StatusFile::of(&config.state_dir)),
            old_build_folders: OldBuildFolders::new(config.state_dir.join("builds"), config.builds),
        }
    }
}

/// Which repositories cannot be fetched because of what this host lacks. Whoever fetches writes it,
/// the loop reads it.
#[derive(Debug, Default)]
pub struct Fetching {
    lacking: Mutex<BTreeMap<String, HostCause>>,
    fetched: Mutex<BTreeMap<String, Timestamp>>,
}

impl Fetching {
    /// The repository at this place was fetched, or not.
    pub fn note(&self, place: &str, lacks: Option<HostCause>) {
        let mut lacking = self.lacking.lock().unwrap_or_else(PoisonError::into_inner);
        match lacks {
            Some(cause) => lacking.insert(place.to_owned(), cause),
            None => lacking.remove(place),
        };
    }

    /// The repository at this place was fetched, or read where it is local.
    pub fn fetched(&self, place: &str, at: Timestamp) {
        let mut fetched = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
        fetched.insert(place.to_owned(), at);
    }

    /// When a repository was last fetched or read; none: not since the start.
    #[must_use]
    pub fn fetched_at(&self, place: &str) -> Option<Timestamp> {
        let fetched = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
        fetched.get(place).copied()
    }

    pub(super) fn of(&self, place: &str) -> Option<HostCause> {
        let lacking = self.lacking.lock().unwrap_or_else(PoisonError::into_inner);
        lacking.get(place).copied()
    }
}

impl Controller {
    /// Old builds' folders go, once everything could be looked at: what a workflow still needs is
    /// known then.
    pub(super) fn remove_old_build_folders(&mut self, report: &PassReport) {
        let Some(mut needed) = self.workflows.newest_builds().filter(|_| report.errors == 0) else {
            return;
        };
        let (key, now) = (RetryKey::OldBuildFolders, self.services.context.now());
        if self.queue.waits(&key, &Circumstances::Any, now).is_some() {
            return;
        }
        needed.extend(self.builds.ids().cloned());
        self.host.old_build_folders.remove(&self.services.context, needed);
        self.queue.schedule(key, Circumstances::Any, now, now + HOUSEKEEPING);
    }
}
