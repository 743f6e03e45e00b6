//! The files of a build's folder, by which a supervisor and whoever waits for it know of each
//! other. Those of [`CLEAN`] never hold a secret; the others are scrubbed once the build is over,
//! and [`SECRETS`] is gone then.
//!
//! Each is written whole or not at all, and survives a power loss once it is there.

use crate::atomic_file::{UNFINISHED, write_new};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::packer::bounded::BoundedLog;
use crate::packer::process::ProcessId;
use reconciler_model::build::{Exit, PackerStage, RunningBuild};
use reconciler_model::build_phases::PlannedProvisioner;
use reconciler_model::ids::{BuildId, StepId, WorkflowId};

/// What is to be run: a [`Job`].
pub const JOB: &str = "job.json";
/// Who supervises: a [`Supervisor`].
pub const SUPERVISOR: &str = "supervisor.json";
/// There once somebody has asked for the build to end.
pub const CANCEL: &str = "cancel";
/// There once the build was given up and its image is another's to record: Packer is killed, for
/// ended it would take the image away.
pub const KILL: &str = "kill";
/// How it went: an [`Ended`].
pub const ENDED: &str = "exit.json";
/// Standard output of all commands.
pub const LOG: &str = "packer.log";
/// Standard error of all commands.
pub const ERRORS: &str = "packer.err";
/// Values that are to be taken out of all that is kept: a list of
/// [`reconciler_model::secret_text::SecretText`]. Removed when that is done.
pub const SECRETS: &str = "secrets.json";
/// What the log says was made.
pub const SAID: &str = "made.json";
/// There once what the build left at AWS is known to be gone: nobody has to look into the folder
/// for that any more.
pub const ACCOUNTED: &str = "accounted";
/// What the supervisor itself could not do.
pub const SUPERVISOR_LOG: &str = "supervisor.log";

/// Those in which no secret can be, and which lose their meaning if a part of them is taken for
/// one.
pub const CLEAN: [&str; 5] = [JOB, SUPERVISOR, CANCEL, ENDED, SAID];

/// The ends of the names of files that are being written beside the one that they are to be. Nobody
/// reads one that was left behind.
pub const HALF_WRITTEN: [&str; 3] = [UNFINISHED, ".redacted", ".bounded"];

/// What is to be run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// The Packer binary.
    pub packer: PathBuf,
    /// The folder to run in: the step's, as it was laid out.
    pub folder: PathBuf,
    /// The build's own folder for temporary files; its path in `TMPDIR` marks the processes of this
    /// build.
    pub temporary: PathBuf,
    /// The commands, in order.
    pub commands: Vec<JobCommand>,
    /// From the supervisor's start to SIGTERM, in seconds.
    pub timeout_seconds: u64,
    /// From SIGTERM to SIGKILL, in seconds.
    pub grace_seconds: u64,
    /// Names of the variables of the build's environment whose values must not stay in a log.
    pub secret_variables: Vec<String>,
    /// How signs of life reach the inventory; none: nobody asked for them.
    pub heartbeat: Option<HeartbeatJob>,
    /// Packer is not started after this time since boot, in milliseconds: the lease of whoever
    /// decided the build ends then.
    pub start_before: Option<u64>,
    /// How many bytes of each log are kept, more or less.
    pub log_limit: u64,
    /// The provisioners of its template, by which its log is told apart; none where only Packer can
    /// tell which there are. Their names hold no secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisioners: Option<Vec<PlannedProvisioner>>,
}

impl Job {
    /// The logs of the build in this folder.
    #[must_use]
    pub fn logs(&self, folder: &Path) -> [BoundedLog; 2] {
        [LOG, ERRORS].map(|name| BoundedLog::new(&folder.join(name), self.log_limit))
    }
}

/// How signs of life reach the inventory. Credentials, and the endpoint of an emulator, are in the
/// environment only; of lasting keys it is told where they were read, for these may be replaced
/// there before the build is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatJob {
    /// Where it is.
    pub inventory: InventoryPlace,
    /// The workflow.
    pub workflow_id: WorkflowId,
    /// The step.
    pub step_id: StepId,
    /// The build.
    pub build_id: BuildId,
    /// This host.
    pub host: String,
    /// How long the build may be silent before another host takes it for dead.
    pub silence_seconds: u64,
    /// The profile that the environment's keys were read from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
}

/// Where an inventory is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InventoryPlace {
    /// A file.
    Sqlite {
        /// The file.
        path: PathBuf,
    },
    /// A table.
    DynamoDb {
        /// The table of images; beats go to the one beside it.
        table: String,
        /// Its region; none: that of the build.
        region: Option<String>,
    },
}

/// One run of Packer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JobCommand {
    /// Which.
    pub stage: PackerStage,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// Who supervises; written before anything is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Supervisor {
    /// The supervisor, which is the id of its session too; 0: nobody, and nobody ever will.
    pub pid: u32,
    /// Its start time.
    pub pid_start: u64,
    /// When it started.
    pub started_at: Timestamp,
}

impl Supervisor {
    /// Its process.
    #[must_use]
    pub fn process(&self) -> ProcessId {
        ProcessId { pid: self.pid, start: self.pid_start }
    }

    /// The build that it supervises, in this folder.
    #[must_use]
    pub fn build(&self, build_id: BuildId, folder: PathBuf) -> RunningBuild {
        let Self { pid, pid_start, started_at } = *self;
        RunningBuild { build_id, folder, pid, pid_start, started_at }
    }
}

/// How it went; written last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The last command that ran.
    pub stage: PackerStage,
    /// How it ended.
    pub exit: Exit,
    /// When the supervisor started.
    pub started_at: Timestamp,
    /// When the last command ended.
    pub ended_at: Timestamp,
    /// What was lost meanwhile on this host, in words: a process of Packer's, or the folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<String>,
}

/// Reads one of the files; none if it is not there or not whole.
#[must_use]
pub fn read<T: DeserializeOwned>(folder: &Path, name: &str) -> Option<T> {
    serde_json::from_slice(&fs::read(folder.join(name)).ok()?).ok()
}

/// Makes a folder's build the caller's to supervise. False if somebody was first: of a supervisor
/// that starts late and a daemon that has given it up, exactly one wins.
pub fn claim(folder: &Path, supervisor: &Supervisor) -> io::Result<bool> {
    let beside = folder.join(format!("supervisor.{}", std::process::id()));
    write_new(&beside, &serde_json::to_vec(supervisor)?)?;
    let claimed = fs::hard_link(&beside, folder.join(SUPERVISOR));
    fs::remove_file(&beside)?;
    match claimed {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// The path with this behind its whole name.
pub(in crate::packer) fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Opens a log of the build to write behind what it holds.
pub fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use reconciler_model::format_stability::stays_readable;

    /// See `format_stability`.
    #[test]
    fn a_build_that_was_begun_is_carried_on() {
        stays_readable::<Job>(
            &[],
            r#"{
                "packer": "/usr/bin/packer", "folder": "/s/builds/1/work/a", "temporary": "/s/builds/1/tmp",
                "commands": [
                    { "stage": "init", "arguments": ["init", "."] },
                    { "stage": "validate", "arguments": ["validate", "."] },
                    { "stage": "build", "arguments": ["build", "."] }
                ],
                "timeout_seconds": 7200, "grace_seconds": 300, "secret_variables": ["AWS_SECRET_ACCESS_KEY"],
                "heartbeat": {
                    "inventory": { "dynamo_db": { "table": "images", "region": null } },
                    "workflow_id": "wf", "step_id": "a", "build_id": "1", "host": "one", "silence_seconds": 120, "profile": "ops"
                },
                "start_before": 123456, "log_limit": 1048576
            }"#,
        );
        stays_readable::<Job>(
            &[],
            r#"{
                "packer": "/usr/bin/packer", "folder": "/s/builds/1/work/a", "temporary": "/s/builds/1/tmp",
                "commands": [], "timeout_seconds": 7200, "grace_seconds": 300, "secret_variables": [], "heartbeat": null,
                "start_before": null, "log_limit": 1048576,
                "provisioners": [{ "place": 1, "kind": "shell", "runs": [{ "script": "a.sh" }], "sources": ["amazon-ebs.x"] }]
            }"#,
        );
        stays_readable::<HeartbeatJob>(
            &[],
            r#"{
                "inventory": { "sqlite": { "path": "/s/inventory.sqlite" } },
                "workflow_id": "wf", "step_id": "a", "build_id": "1", "host": "one", "silence_seconds": 120
            }"#,
        );
        stays_readable::<Supervisor>(
            &[],
            r#"{ "pid": 4242, "pid_start": 98765, "started_at": "2026-11-25T00:00:00.5Z" }"#,
        );
        for exit in [
            r#"{ "code": 1 }"#,
            r#"{ "signal": 15 }"#,
            r#""timed_out""#,
            r#""cancelled""#,
            r#""unknown""#,
        ] {
            let ended = format!(
                r#"{{ "stage": "build", "exit": {exit}, "started_at": "2026-11-25T00:00:00Z", "ended_at": "2026-11-25T01:00:00Z" }}"#
            );
            stays_readable::<Ended>(&[], &ended);
        }
        stays_readable::<Ended>(
            &[],
            r#"{
                "stage": "build", "exit": { "code": 1 }, "started_at": "2026-11-25T00:00:00Z", "ended_at": "2026-11-25T01:00:00Z",
                "lost": "a process of Packer's"
            }"#,
        );
        stays_readable::<Vec<reconciler_model::secret_text::SecretText>>(&[], r#"["hunter2"]"#);
    }

    #[test]
    fn what_cannot_be_written_whole_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(SECRETS);
        // In the place of a file that cannot be replaced.
        fs::create_dir_all(path.join("x")).unwrap();
        assert!(crate::atomic_file::write_durably(&path, b"hush").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn of_two_that_claim_a_build_the_first_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let supervisor = |pid| Supervisor { pid, pid_start: 7, started_at: Timestamp::UNIX_EPOCH };
        assert!(claim(folder.path(), &supervisor(0)).unwrap());
        assert!(!claim(folder.path(), &supervisor(5)).unwrap());
        let kept: Supervisor = read(folder.path(), SUPERVISOR).unwrap();
        assert_eq!(kept.pid, 0);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
