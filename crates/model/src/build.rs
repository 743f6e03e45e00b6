//! A build of one image, as it is known from its start to its end. What is built, and the port that
//! builds it, are in `reconciler_core::build::job`; what the outcome means for the record is decided
//! by `reconciler_core::build::verdict`.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::build_phases::BuildPhase;
use crate::build_resources::ClaimedResources;
use crate::diagnostic::Diagnostic;
use crate::ids::{AmiId, BuildId, Region};

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
    pub sources: Vec<AmiId>,
    /// What it made instead of images: volumes and snapshots by region.
    pub others: Vec<(Region, String)>,
    /// Whether Packer came to its last word: what it has not told by then, it has not made.
    pub finished: bool,
    /// The last lines that the provisioner that ran last wrote to standard error, redacted.
    pub last_words: Vec<String>,
    /// What of the build was lost on its host while it ran, in words: a process of Packer's, or its
    /// folder. Never the step's doing.
    pub lost: Option<String>,
    /// Where its time went, as far as its log told; its names are redacted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<BuildPhase>,
    /// How long it ran.
    pub duration: Duration,
    /// The kept, redacted log.
    pub log: PathBuf,
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
