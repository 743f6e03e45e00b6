//! A builder with failpoints around the start of a build and the wait for its end: `build.start`,
//! `build.wait`. Between the two parts of a start, the folder and the process, stands
//! `build.spawn`, which the builder calls itself.

use std::sync::Arc;

use async_trait::async_trait;

use crate::failpoint::around;
use reconciler_core::build::job::{BuildJob, ImageBuilder, StartDeadline};
use reconciler_model::build::{BuildError, BuildOutcome, RunningBuild, Sighting};
use reconciler_model::ids::{BuildId, WorkflowId};
use reconciler_model::inventory::IntentWritten;

pub(super) struct Failing(pub(super) Arc<dyn ImageBuilder>);

fn error(what: String) -> BuildError {
    BuildError::Io { what, source: std::io::Error::other("ordered by a test") }
}

#[async_trait]
impl ImageBuilder for Failing {
    async fn start(
        &self,
        intent: IntentWritten,
        job: &BuildJob,
        lease: Arc<dyn StartDeadline>,
    ) -> Result<RunningBuild, BuildError> {
        around("build.start", self.0.start(intent, job, lease), error).await
    }

    async fn find(&self, build: &BuildId) -> Result<Sighting, BuildError> {
        self.0.find(build).await
    }

    async fn wait(&self, build: &RunningBuild) -> Result<BuildOutcome, BuildError> {
        around("build.wait", self.0.wait(build), error).await
    }

    async fn unaccounted(&self, workflow: &WorkflowId) -> Result<Vec<RunningBuild>, BuildError> {
        self.0.unaccounted(workflow).await
    }

    async fn account_for(&self, build: &BuildId) -> Result<(), BuildError> {
        self.0.account_for(build).await
    }

    async fn cancel(&self, build: &RunningBuild) -> Result<(), BuildError> {
        around("build.cancel", self.0.cancel(build), error).await
    }
}
