//! Builds with Packer, each under a supervisor that outlives this process.
//!
//! A build has a folder of its own below the state folder: `job.json`, `packer.log`, `exit.json` and, until it has succeeded,
//! `work/`, the part of the repository that it may read. Nothing here judges an outcome; see [`super::verdict`].

pub mod adapt;
mod layout;
pub mod log;
pub mod output;
pub mod redact;
pub mod version;

use std::collections::BTreeMap;
use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use rustix::process::Signal;

use crate::aws::session::PackerEnvironment;
use crate::build::process::{ProcessId, signal_group};
use crate::build::supervisor::{Ended, Supervisor, files};
use crate::build::{
    BuildError, BuildJob, BuildOutcome, Exit, ImageBuilder, PackerStage, RunningBuild,
};
use crate::config::PackerConfig;
use crate::ids::BuildId;
use redact::Secrets;

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

    fn secrets(&self) -> Secrets {
        Secrets::new(&self.settings.environment.secrets())
    }

    /// A build gets this and nothing else of the daemon's environment (packer.md, "Environment and versions").
    fn environment(&self, job: &BuildJob, folder: &Path) -> Vec<(String, String)> {
        let own = |name: &str| {
            std::env::var(name)
                .ok()
                .map(|value| (name.to_owned(), value))
        };
        let mut variables: Vec<_> = [
            "PATH",
            "HOME",
            "USER",
            "LANG",
            "LD_LIBRARY_PATH",
            "PACKER_PLUGIN_PATH",
        ]
        .into_iter()
        .filter_map(own)
        .collect();
        variables.extend(
            self.settings
                .packer
                .pass_env
                .iter()
                .filter_map(|name| own(name)),
        );
        variables.retain(|(name, _)| !name.starts_with("HCP_PACKER_"));
        if let Some(plugins) = &self.settings.packer.plugin_path {
            variables.push((
                "PACKER_PLUGIN_PATH".to_owned(),
                plugins.display().to_string(),
            ));
        }
        let emulated = !self.settings.source_overrides.is_empty();
        let delay = if emulated { 1 } else { 10 };
        let attempts = job.timeout.as_secs().div_ceil(delay).max(1);
        variables.extend([
            ("CHECKPOINT_DISABLE".to_owned(), "1".to_owned()),
            (
                "TMPDIR".to_owned(),
                layout::temporary_folder(folder).display().to_string(),
            ),
            ("AWS_POLL_DELAY_SECONDS".to_owned(), delay.to_string()),
            ("AWS_MAX_ATTEMPTS".to_owned(), attempts.to_string()),
        ]);
        variables.extend(self.settings.environment.variables.clone());
        variables
    }

    fn read_supervisor(folder: &Path) -> Option<Supervisor> {
        serde_json::from_slice(&fs::read(folder.join(files::SUPERVISOR)).ok()?).ok()
    }

    fn read_end(folder: &Path) -> Option<Ended> {
        serde_json::from_slice(&fs::read(folder.join(files::ENDED)).ok()?).ok()
    }

    fn outcome(
        &self,
        build: &RunningBuild,
        ended: Option<Ended>,
    ) -> Result<BuildOutcome, BuildError> {
        let log = build.folder.join(files::LOG);
        let secrets = self.secrets();
        let mut reading = output::Reading::default();
        for name in [files::ERRORS, files::LOG] {
            let path = build.folder.join(name);
            if path.is_file() {
                redact::file(&path, &secrets).map_err(io("redacting the log"))?;
                let file = fs::File::open(&path).map_err(io("reading the log"))?;
                let part =
                    output::read(&mut BufReader::new(file)).map_err(io("reading the log"))?;
                reading.artifacts.extend(part.artifacts);
                reading.errors.extend(part.errors);
                reading.traces.instances.extend(part.traces.instances);
                reading.traces.key_pairs.extend(part.traces.key_pairs);
                reading
                    .traces
                    .security_groups
                    .extend(part.traces.security_groups);
            }
        }
        let ended = ended.unwrap_or(Ended {
            stage: PackerStage::Build,
            exit: Exit::Unknown,
            started_at: build.started_at,
            ended_at: jiff::Timestamp::now(),
        });
        let duration = ended
            .ended_at
            .duration_since(ended.started_at)
            .unsigned_abs();
        layout::remove_temporary_folder(&build.folder);
        if ended.exit == Exit::Code(0) {
            layout::remove_work(&build.folder);
        }
        let Ended { stage, exit, .. } = ended;
        Ok(BuildOutcome {
            stage,
            exit,
            artifacts: reading.artifacts,
            errors: reading.errors,
            traces: reading.traces,
            duration,
            log,
        })
    }
}

#[async_trait]
impl ImageBuilder for PackerBuilder {
    async fn start(&self, job: &BuildJob) -> Result<RunningBuild, BuildError> {
        let binary = version::locate(self.settings.packer.binary.as_deref())?;
        fs::create_dir_all(&self.settings.builds_dir).map_err(io("making the folder of builds"))?;
        let version =
            version::ask(&binary, &self.settings.builds_dir.join("packer-version")).await?;
        let host = adapt::Host {
            version,
            overrides: &self.settings.source_overrides,
        };
        let folder = self.folder(&job.build_id);
        layout::lay_out(job, &host, &binary, &self.settings.packer, &folder)?;
        let log = |name: &str| layout::create(&folder.join(name), false, &[]);
        log("supervisor.log")?;
        let errors = fs::OpenOptions::new()
            .append(true)
            .open(folder.join("supervisor.log"))
            .map_err(io("opening the supervisor's log"))?;
        let child = tokio::process::Command::new(&self.settings.own_binary)
            .arg("supervise")
            .arg(&folder)
            .env_clear()
            .envs(self.environment(job, &folder))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .map_err(io("starting the supervisor"))?;
        let pid = child.id().unwrap_or(0);
        let pid_start = ProcessId::of(pid).map_or(0, |process| process.start);
        let started_at = jiff::Timestamp::now();
        Ok(RunningBuild {
            build_id: job.build_id.clone(),
            folder,
            pid,
            pid_start,
            started_at,
        })
    }

    async fn find(&self, build: &BuildId) -> Result<Option<RunningBuild>, BuildError> {
        let folder = self.folder(build);
        Ok(
            Self::read_supervisor(&folder).map(|supervisor| RunningBuild {
                build_id: build.clone(),
                folder,
                pid: supervisor.pid,
                pid_start: supervisor.pid_start,
                started_at: supervisor.started_at,
            }),
        )
    }

    async fn wait(&self, build: &RunningBuild) -> Result<BuildOutcome, BuildError> {
        let process = ProcessId {
            pid: build.pid,
            start: build.pid_start,
        };
        let mut pause = Duration::from_millis(20);
        loop {
            let alive = process.is_alive();
            if let Some(ended) = Self::read_end(&build.folder) {
                return self.outcome(build, Some(ended));
            }
            if !alive {
                // The supervisor is gone without a word: what it watched must not go on unwatched.
                if let Some(group) = fs::read_to_string(build.folder.join(files::GROUP))
                    .ok()
                    .and_then(|text| text.trim().parse().ok())
                {
                    signal_group(group, Signal::TERM);
                    tokio::time::sleep(Duration::from_secs(2)).await;
                    signal_group(group, Signal::KILL);
                }
                return self.outcome(build, Self::read_end(&build.folder));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 5 / 4).min(Duration::from_millis(250));
        }
    }

    async fn cancel(&self, build: &RunningBuild) -> Result<(), BuildError> {
        ProcessId {
            pid: build.pid,
            start: build.pid_start,
        }
        .signal(Signal::TERM);
        Ok(())
    }
}

fn io(what: &'static str) -> impl Fn(std::io::Error) -> BuildError {
    move |source| BuildError::Io {
        what: what.to_owned(),
        source,
    }
}
