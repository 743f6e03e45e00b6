//! Takes old builds' folders away, now and then; see `build::retention` for the rule.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::build::retention::{Retention, compute, delete, survey};
use crate::ids::BuildId;

/// How often it is looked for what can go.
const PAUSE: Duration = Duration::from_hours(1);

/// What has to be done now and then.
#[derive(Debug)]
pub(super) struct Housekeeping {
    builds_dir: PathBuf,
    policy: Retention,
    last: Option<Instant>,
}

impl Housekeeping {
    pub(super) fn new(builds_dir: PathBuf, policy: Retention) -> Self {
        Self {
            builds_dir,
            policy,
            last: None,
        }
    }

    /// Whether it is time again.
    pub(super) fn is_due(&self) -> bool {
        self.last.is_none_or(|last| last.elapsed() > PAUSE)
    }

    /// Deletes what the policy does not keep, but for what is needed. A folder that cannot be deleted is tried again the next time.
    pub(super) async fn run(&mut self, needed: BTreeSet<BuildId>) {
        self.last = Some(Instant::now());
        let (builds_dir, policy) = (self.builds_dir.clone(), self.policy);
        let done = tokio::task::spawn_blocking(move || {
            let now = Timestamp::now();
            let gone = compute(&survey(&builds_dir, now)?, &needed, &policy, now);
            let failed = delete(&builds_dir, &gone);
            Ok::<_, std::io::Error>((gone.len() - failed.len(), failed))
        });
        match done.await {
            Ok(Ok((0, failed))) if failed.is_empty() => {}
            Ok(Ok((gone, failed))) => {
                tracing::info!(gone, "folders of old builds removed");
                for (build, error) in failed {
                    tracing::warn!(%build, "the folder of an old build cannot be removed: {error}");
                }
            }
            Ok(Err(error)) => tracing::warn!("the folders of old builds cannot be read: {error}"),
            Err(died) => tracing::warn!("looking for old builds died: {died}"),
        }
    }
}
