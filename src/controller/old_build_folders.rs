//! Takes old builds' folders away, now and then; see `packer::retention` for the rule.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::controller::context::Context;
use crate::packer::retention::{compute, delete, survey};
use reconciler_model::ids::BuildId;
use reconciler_model::policy::Retention;

/// The folders of builds on this host.
#[derive(Debug)]
pub(super) struct OldBuildFolders {
    builds_dir: PathBuf,
    policy: Retention,
}

impl OldBuildFolders {
    pub(super) fn new(builds_dir: PathBuf, policy: Retention) -> Self {
        Self { builds_dir, policy }
    }

    /// Deletes what the policy does not keep, but for what is needed, while other things go on. A
    /// folder that cannot be deleted is tried again the next time.
    pub(super) fn remove(&self, context: &Context, needed: BTreeSet<BuildId>) {
        let (builds_dir, policy) = (self.builds_dir.clone(), self.policy);
        let now = context.now();
        context.spawn_blocking(Box::new(move || remove(&builds_dir, &needed, &policy, now)));
    }
}

/// A build that began after `needed` was gathered is not over, or is the newest of all: it stays
/// either way.
fn remove(builds_dir: &Path, needed: &BTreeSet<BuildId>, policy: &Retention, now: Timestamp) {
    let gone = match survey(builds_dir, now) {
        Ok(found) => compute(&found, needed, policy, now),
        Err(error) => {
            tracing::warn!("the folders of old builds cannot be read: {error}");
            return;
        }
    };
    let failed = delete(builds_dir, &gone);
    let removed = gone.len() - failed.len();
    if removed > 0 {
        tracing::info!(removed, "folders of old builds removed");
    }
    for (build, error) in failed {
        tracing::warn!(%build, "the folder of an old build cannot be removed: {error}");
    }
}
