//! Takes old builds' folders away, now and then; see `packer::retention` for the rule.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use crate::controller::context::Context;
use crate::packer::retention::{compute, delete, survey};
use reconciler_model::clock::Moment;
use reconciler_model::ids::BuildId;
use reconciler_model::policy::Retention;

/// How often it is looked for what can go.
const PAUSE: Duration = Duration::from_hours(1);

/// What has to be done now and then.
#[derive(Debug)]
pub(super) struct Housekeeping {
    builds_dir: PathBuf,
    policy: Retention,
    last: Option<Moment>,
}

impl Housekeeping {
    pub(super) fn new(builds_dir: PathBuf, policy: Retention) -> Self {
        Self { builds_dir, policy, last: None }
    }

    /// Whether it is time again.
    pub(super) fn is_due(&self, now: Moment) -> bool {
        self.last.is_none_or(|last| now.saturating_sub(last) > PAUSE)
    }

    /// Deletes what the policy does not keep, but for what is needed, while other things go on. A
    /// folder that cannot be deleted is tried again the next time.
    pub(super) fn begin(&mut self, context: &Context, needed: BTreeSet<BuildId>) {
        self.last = Some(context.moment());
        let (builds_dir, policy) = (self.builds_dir.clone(), self.policy);
        let now = context.now();
        context.spawn_blocking(Box::new(move || keep_house(&builds_dir, &needed, &policy, now)));
    }
}

/// A build that began after `needed` was gathered is not over, or is the newest of all: it stays
/// either way.
fn keep_house(builds_dir: &Path, needed: &BTreeSet<BuildId>, policy: &Retention, now: Timestamp) {
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
