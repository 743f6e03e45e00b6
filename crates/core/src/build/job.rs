//! Makes one image: the step's folder laid out from the commit, Packer under a supervisor, its
//! outcome read.
//!
//! This file is the port; `packer` of the root package is its adapter. What to build was decided by
//! the plan; what the outcome means for the record is decided by [`crate::build::verdict`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use reconciler_hcl::{Inspection, Template};
use reconciler_model::build::{BuildError, BuildOutcome, RunningBuild, Sighting};
use reconciler_model::clock::Moment;
use reconciler_model::ids::{AmiId, AmiName, BuildId, Region, Revision, StepId, WorkflowId};
use reconciler_model::inventory::IntentWritten;
use reconciler_model::secret_text::SecretText;

/// Everything that one build needs; nothing else of the repository reaches Packer.
#[derive(Clone)]
pub struct BuildJob {
    /// Its workflow.
    pub workflow_id: WorkflowId,
    /// Its step.
    pub step_id: StepId,
    /// The commit.
    pub revision: Revision,
    /// Where the image is made.
    pub region: Region,
    /// The name that the image must have.
    pub ami_name: AmiName,
    /// The image that it starts from.
    pub source_ami: AmiId,
    /// Path of the step folder from the repository's root.
    pub step_folder: String,
    /// Files of the step folder and of `include`, by path from the repository's root.
    pub files: BTreeMap<String, LaidFile>,
    /// The rendered files, by the name that they get in the step folder (docs/contract.md §3).
    pub template: Template,
    /// What they say of the image.
    pub inspection: Inspection,
    /// When the build is ended by force, from its start.
    pub timeout: Duration,
    /// What goes into the rendered files where they are laid out.
    pub secrets: JobSecrets,
}

/// The lease of whoever decided a build. It is asked for its end when the build is laid out, for
/// that may take longer than a lease that is renewed meanwhile.
pub trait StartDeadline: Send + Sync {
    /// Until when Packer may be started, as things stand now; none: the lease is lost.
    fn until(&self) -> Option<Moment>;
}

/// The secrets of a build.
#[derive(Clone, Debug, Default)]
pub struct JobSecrets {
    /// The values that the rendered files ask for, by name.
    pub asked: BTreeMap<String, SecretText>,
    /// All values that must not stay in anything that is kept.
    pub hidden: Vec<SecretText>,
}

/// Shows no content: parameters that are secret may stand in it.
impl fmt::Debug for BuildJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BuildJob")
            .field("step_id", &self.step_id)
            .field("revision", &self.revision)
            .field("files", &self.files.keys())
            .field("template", &self.template)
            .field("secrets", &self.secrets)
            .finish_non_exhaustive()
    }
}

/// A file as a build finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaidFile {
    /// Whether it can be executed (git mode 100755).
    pub executable: bool,
    /// Its bytes.
    pub content: Arc<[u8]>,
}

/// Runs builds that outlive the process that started them.
#[async_trait]
pub trait ImageBuilder: Send + Sync {
    /// Lays out the folder, starts Packer under its supervisor and returns at once; whether the
    /// template validates is told by the outcome.
    async fn start(
        &self,
        intent: IntentWritten,
        job: &BuildJob,
        lease: Arc<dyn StartDeadline>,
    ) -> Result<RunningBuild, BuildError>;

    /// What this host knows of a build. One that is not here will never start here: its supervisor
    /// is refused if it should come late.
    async fn find(&self, build: &BuildId) -> Result<Sighting, BuildError>;

    /// Waits until it is over.
    async fn wait(&self, build: &RunningBuild) -> Result<BuildOutcome, BuildError>;

    /// The builds of a workflow that are over and stand in this host's folders, whose account
    /// nobody of this host has taken yet: another may have given them up, and not know what they
    /// made last.
    async fn unaccounted(&self, workflow: &WorkflowId) -> Result<Vec<RunningBuild>, BuildError>;

    /// Notes that what a build of this host left is known to be gone.
    async fn account_for(&self, build: &BuildId) -> Result<(), BuildError>;

    /// Asks it to end (SIGTERM to its group, grace, SIGKILL); `wait` tells when it has.
    async fn cancel(&self, build: &RunningBuild) -> Result<(), BuildError>;
}
