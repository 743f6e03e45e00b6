//! Builds with Packer, each under a supervisor that outlives this process.
//!
//! A build has a folder of its own below the state folder: `job.json`, `packer.log`, `exit.json`
//! and, until it has succeeded, `work/`, the part of the repository that it may read (kept after a
//! failure, for whoever looks into it). Nothing here judges an outcome; see
//! [`reconciler_core::build::verdict`].

pub mod adapt;
pub mod bounded;
pub mod install;
pub mod last_lines;
mod layout;
pub mod log;
mod made_resources;
mod outcome;
pub mod plugins;
pub mod process;
mod process_tree;
pub mod redact;
pub mod retention;
pub mod silence;
pub mod supervisor;
pub mod validate;
pub mod version;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::atomic_file::make_folder;
use crate::config::PackerConfig;
use crate::failpoint;
use crate::packer::process::{ProcessId, Session};
use crate::packer::supervisor::files;
use crate::packer::supervisor::files::{InventoryPlace, Job, Supervisor};
use layout::Layout;
use reconciler_aws::session::PackerEnvironment;
use reconciler_core::build::job::{BuildJob, ImageBuilder, StartDeadline};
use reconciler_model::build::{BuildError, BuildOutcome, RunningBuild, Sighting};
use reconciler_model::ids::{BuildId, WorkflowId};
use reconciler_model::inventory::IntentWritten;
use reconciler_model::secret_text::is_telling;

/// How builds are run on this host.
#[derive(Clone, Debug)]
pub struct PackerSettings {
    /// The configuration's part.
    pub packer: PackerConfig,
    /// Below it, a folder for each build.
    pub builds_dir: PathBuf,
    /// Attributes for every source while an emulator is used.
    pub source_overrides: BTreeMap<String, serde_json::Value>,
    /// How a build reaches AWS.
    pub environment: PackerEnvironment,
    /// This program, to be run as supervisor.
    pub own_binary: PathBuf,
    /// How its signs of life reach the inventory; none: they do not.
    pub heartbeat: Option<HeartbeatSettings>,
}

/// How a build's signs of life reach the inventory.
#[derive(Clone, Debug)]
pub struct HeartbeatSettings {
    /// Where it is.
    pub inventory: InventoryPlace,
    /// This host.
    pub host: String,
    /// How long a build may be silent before another host takes it for dead.
    pub silence: Duration,
}

/// Runs Packer on this host.
#[derive(Clone, Debug)]
pub struct PackerBuilder {
    settings: PackerSettings,
}

impl PackerBuilder {
    /// With these settings; nothing is touched yet.
    #[must_use]
    pub fn new(settings: PackerSettings) -> Self {
        Self { settings }
    }

    /// The folder of a build.
    #[must_use]
    pub fn folder(&self, build: &BuildId) -> PathBuf {
        self.settings.builds_dir.join(build.as_str())
    }

    /// The variables of a build whose values must not stay in a log: credentials, and what is
    /// passed on under a telling name.
    fn secret_variables(&self) -> Vec<String> {
        let values = self.settings.environment.secrets();
        let credentials = self.settings.environment.variables.iter();
        let credentials = credentials.filter(|(_, value)| values.contains(value));
        let passed = self.settings.packer.pass_env.iter();
        let passed = passed.filter(|name| is_telling(name));
        credentials.map(|(name, _)| name.clone()).chain(passed.cloned()).collect()
    }

    /// What this process knows of the environment of its builds, for their redaction.
    fn known_variables(&self) -> Vec<(String, String)> {
        let passed = self.settings.packer.pass_env.iter();
        passed
            .filter_map(|name| Some((name.clone(), std::env::var(name).ok()?)))
            .chain(self.settings.environment.variables.clone())
            .collect()
    }

    /// A build gets this and nothing else of the daemon's environment.
    fn environment(&self, job: &BuildJob, folder: &Path) -> Vec<(String, String)> {
        let mut variables = passed_on(&self.settings.packer);
        let emulated = !self.settings.source_overrides.is_empty();
        let delay = if emulated { 1 } else { 10 };
        variables.extend([
            ("TMPDIR".to_owned(), layout::temporary_folder(folder).display().to_string()),
            ("AWS_POLL_DELAY_SECONDS".to_owned(), delay.to_string()),
            // Not AWS_MAX_ATTEMPTS: the SDK in Packer's plugin takes that as a word about its
            // retries, and would repeat a call that fails for good until the build's time is over.
            ("AWS_TIMEOUT_SECONDS".to_owned(), job.timeout.as_secs().to_string()),
        ]);
        variables.extend(self.settings.environment.variables.clone());
        variables.extend(failpoint::passed_on());
        variables
    }
}

#[async_trait]
impl ImageBuilder for PackerBuilder {
    async fn start(
        &self,
        intent: IntentWritten,
        job: &BuildJob,
        lease: Arc<dyn StartDeadline>,
    ) -> Result<RunningBuild, BuildError> {
        let binary = version::locate(self.settings.packer.binary.as_deref())?;
        make_folder(&self.settings.builds_dir).map_err(io("making the folder of builds"))?;
        let version =
            version::ask(&binary, &self.settings.builds_dir.join("packer-version")).await?;
        let plan = Layout {
            build_id: intent.build_id().clone(),
            folder: self.folder(intent.build_id()),
            packer: binary,
            version,
            overrides: self.settings.source_overrides.clone(),
            grace: self.settings.packer.grace,
            secret_variables: self.secret_variables(),
            heartbeat: self.settings.heartbeat.clone(),
            profile: self.settings.environment.profile.clone(),
            log_limit: self.settings.packer.log_limit,
        };
        let laid = {
            let mut job = job.clone();
            // So that whoever redacts what is kept need not have this environment: it may be
            // another's by then.
            // Seeded bug: secrets-of-the-environment-are-forgotten
            job.secrets.hidden.extend(redact::of_environment(
                self.environment(&job, &plan.folder),
                &plan.secret_variables,
                job.template.sensitive(),
            ));
            blocking("laying out the build", move || {
                let laid = plan.lay_out(&job, lease.as_ref());
                laid.inspect_err(|_| redact::discard(&plan.folder)).map(|()| plan.folder)
            })
        };
        let folder = laid.await??;
        failpoint::reach("build.spawn")
            .map_err(std::io::Error::other)
            .map_err(io("starting the supervisor"))?;
        let child = tokio::process::Command::new(&self.settings.own_binary)
            .arg("supervise")
            .arg(&folder)
            // Seeded bug: environment-is-inherited
            .env_clear()
            .envs(self.environment(job, &folder))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(
                files::append(&folder.join(files::SUPERVISOR_LOG))
                    .map_err(io("opening the supervisor's log"))?,
            )
            .spawn()
            .map_err(io("starting the supervisor"))?;
        let pid = child.id().unwrap_or(0);
        Ok(RunningBuild {
            build_id: intent.build_id().clone(),
            folder,
            pid,
            pid_start: ProcessId::of(pid).map_or(0, |process| process.start),
            started_at: jiff::Timestamp::now(),
        })
    }

    async fn find(&self, build: &BuildId) -> Result<Sighting, BuildError> {
        let folder = self.folder(build);
        let claimed_by = |supervisor: Supervisor| match supervisor.pid {
            0 => Sighting::NeverRan,
            _ => Sighting::Here(supervisor.build(build.clone(), folder.clone())),
        };
        if !folder.is_dir() {
            return Ok(Sighting::Unknown);
        }
        // Whoever started it may have died a moment ago, and its supervisor be on its way. Without
        // a job none is: it is being laid out, or was when that ended; who lays it out stops at the
        // claim.
        for _ in 0..100 {
            if let Some(supervisor) = files::read(&folder, files::SUPERVISOR) {
                return Ok(claimed_by(supervisor));
            }
            if !folder.join(files::JOB).is_file() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let nobody = Supervisor { pid: 0, pid_start: 0, started_at: jiff::Timestamp::now() };
        if files::claim(&folder, &nobody).map_err(io("giving up a build that never started"))? {
            redact::discard(&folder);
            return Ok(Sighting::NeverRan);
        }
        Ok(files::read(&folder, files::SUPERVISOR).map_or(Sighting::Unknown, claimed_by))
    }

    async fn wait(&self, build: &RunningBuild) -> Result<BuildOutcome, BuildError> {
        let ended = outcome::wait(build).await;
        let (build, environment) = (build.clone(), self.known_variables());
        let what = "reading the build's log";
        // A log may have gigabytes.
        let read = blocking(what, move || outcome::read(&build, ended, &environment)).await?;
        read.map_err(io(what))
    }

    async fn unaccounted(&self, workflow: &WorkflowId) -> Result<Vec<RunningBuild>, BuildError> {
        let (builds_dir, workflow) = (self.settings.builds_dir.clone(), workflow.clone());
        blocking("reading the folders of builds", move || unaccounted(&builds_dir, &workflow)).await
    }

    async fn account_for(&self, build: &BuildId) -> Result<(), BuildError> {
        let folder = self.folder(build);
        if !folder.is_dir() {
            return Ok(());
        }
        files::append(&folder.join(files::ACCOUNTED))
            .map(drop)
            .map_err(io("noting that a build is accounted for"))
    }

    async fn cancel(&self, build: &RunningBuild) -> Result<(), BuildError> {
        outcome::cancel(build).map_err(io("asking the build to end"))
    }
}

/// Reads what is there; a folder that cannot be read is another's to tell.
fn unaccounted(builds_dir: &Path, workflow: &WorkflowId) -> Vec<RunningBuild> {
    let entries = fs::read_dir(builds_dir).into_iter().flatten().flatten();
    let folders = entries.map(|entry| entry.path());
    let mut builds: Vec<_> = folders
        .filter_map(|folder| {
            if folder.join(files::ACCOUNTED).exists() {
                return None;
            }
            let job: Job = files::read(&folder, files::JOB)?;
            let heartbeat = job.heartbeat.filter(|heartbeat| heartbeat.workflow_id == *workflow)?;
            let supervisor: Supervisor = files::read(&folder, files::SUPERVISOR)?;
            let process = supervisor.process();
            let over = folder.join(files::ENDED).exists()
                || (!process.is_alive()
                    && Session::of(process, &job.temporary).processes().is_empty());
            (over && supervisor.pid != 0).then(|| supervisor.build(heartbeat.build_id, folder))
        })
        .collect();
    builds.sort_by(|one, other| one.build_id.cmp(&other.build_id));
    builds
}

/// Does something that takes long, on a thread of its own.
async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, BuildError> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other).map_err(io(what))
}

/// What an error of the system kept from being done.
fn io(what: &'static str) -> impl Fn(std::io::Error) -> BuildError {
    move |source| BuildError::Io { what: what.to_owned(), source }
}

/// What Packer gets of this process's environment, whether it builds or is only asked: some
/// variables by name and those that the configuration passes on (docs/packer.md, "Environment and
/// versions"). It asks nobody for a newer Packer.
fn passed_on(config: &PackerConfig) -> Vec<(String, String)> {
    let own = ["PATH", "HOME", "USER", "LANG", "LD_LIBRARY_PATH", "PACKER_PLUGIN_PATH"];
    let names = own.into_iter().chain(config.pass_env.iter().map(String::as_str));
    let mut variables: Vec<_> = names
        .filter(|name| !name.starts_with("HCP_PACKER_"))
        .filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)))
        .collect();
    if let Some(plugins) = &config.plugin_path {
        variables.push(("PACKER_PLUGIN_PATH".to_owned(), plugins.display().to_string()));
    }
    variables.push(("CHECKPOINT_DISABLE".to_owned(), "1".to_owned()));
    variables
}
