//! Makes one image: the step's folder laid out from the commit, Packer under a supervisor, its
//! outcome read.
//!
//! This file is the port; `packer` of the root package is its adapter. What to build was decided by
//! the plan; what the outcome means for the record is decided by `reconciler_core::build::verdict`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::build_resources::ClaimedResources;
use crate::clock::Moment;
use crate::diagnostic::Diagnostic;
use crate::ids::{AmiId, AmiName, BuildId, Region, Revision, StepId, WorkflowId};
use crate::inventory::IntentWritten;
use crate::secret_text::SecretText;

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
    pub rendered: BTreeMap<String, String>,
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
            .field("rendered", &self.rendered.keys())
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

/// A build that was started, now or by an earlier process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningBuild {
    /// The build.
    pub build_id: BuildId,
    /// Its own folder: log, exit status, job.
    pub folder: PathBuf,
    /// The supervisor's process id.
    pub pid: u32,
    /// The supervisor's start time in clock ticks since boot (`/proc/PID/stat`, field 22), so that
    /// a reused pid is not taken for it.
    pub pid_start: u64,
    /// When it started.
    pub started_at: Timestamp,
}

/// What a host knows of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sighting {
    /// It was started here; it runs or is over.
    Here(RunningBuild),
    /// It was prepared here and given up before its supervisor began: it never ran and never will.
    NeverRan,
    /// It was never here, or its folder is gone.
    Unknown,
}

/// How Packer ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// With this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// The time limit passed; it was ended.
    TimedOut,
    /// It was cancelled on request.
    Cancelled,
    /// The supervisor died before it could say (power loss, `kill -9`).
    Unknown,
    /// It was not started: the lease under which the build was decided had ended.
    TooLate,
}

/// The commands of Packer that make up a build, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PackerStage {
    /// `packer init`: plugins. Its failure is a warning as long as `validate` passes.
    Init,
    /// `packer validate`
    Validate,
    /// `packer build`
    Build,
}

/// What a finished build says of itself. Not yet a verdict: EC2 has to show the image first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildOutcome {
    /// The last command that ran.
    pub stage: PackerStage,
    /// How Packer ended.
    pub exit: Exit,
    /// The images that it names, region by region, in the order of its artifact lines, without
    /// repetitions.
    pub artifacts: Vec<(Region, AmiId)>,
    /// What ended it, in Packer's own words, redacted; empty if Packer did not come to say.
    pub failures: Vec<String>,
    /// Packer's error lines, redacted, oldest first; what provisioners write to standard error is
    /// among them.
    pub errors: Vec<String>,
    /// What its log says it made.
    pub traces: ClaimedResources,
    /// The images that it started from, as Packer found them; empty if it did not come to say.
    #[serde(default)]
    pub sources: Vec<AmiId>,
    /// What it made instead of images: volumes and snapshots by region.
    #[serde(default)]
    pub others: Vec<(Region, String)>,
    /// Whether Packer came to its last word: what it has not told by then, it has not made.
    #[serde(default)]
    pub finished: bool,
    /// The last lines that the provisioner that ran last wrote to standard error, redacted.
    #[serde(default)]
    pub last_words: Vec<String>,
    /// What of the build was lost on its host while it ran, in words: a process of Packer's, or its
    /// folder. Never the step's doing.
    #[serde(default)]
    pub lost: Option<String>,
    /// How long it ran.
    pub duration: Duration,
    /// The kept, redacted log.
    pub log: PathBuf,
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

/// Why a build could not be started or followed.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The step's own fault: the template does not validate, asks for a plugin that is not here,
    /// makes no image or two.
    #[error("{0}")]
    Step(Diagnostic),
    /// The host's fault, to be mended by a person: Packer missing or too old.
    #[error("{0}")]
    Host(Diagnostic),
    /// Nothing was done: whoever asked holds the workflow's lease no longer.
    #[error("the build was left to another reconciler: the lease was lost")]
    LeaseLost,
    /// Files or processes.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
}
