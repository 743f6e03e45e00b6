//! The small process that runs Packer and outlives the daemon: `reconciler supervise FOLDER`.
//!
//! It leads a session of its own, runs `init`, `validate` and `build` one after the other with output to files, ends them at the time limit
//! or on SIGTERM, and writes how it went to `exit.json` atomically. Its environment is the build's: the secrets in it are on no disk
//! and in no argument list. It reads `job.json` and needs nothing else: no configuration, no inventory, no network.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use crate::build::process::{ProcessId, signal_group};
use crate::build::{Exit, PackerStage};

/// What is to be run; no secrets.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// The Packer binary.
    pub packer: PathBuf,
    /// The folder to run in.
    pub folder: PathBuf,
    /// The commands, in order.
    pub commands: Vec<JobCommand>,
    /// From the first command's start to SIGTERM, in seconds.
    pub timeout_seconds: u64,
    /// From SIGTERM to SIGKILL, in seconds.
    pub grace_seconds: u64,
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
    /// The supervisor.
    pub pid: u32,
    /// Its start time.
    pub pid_start: u64,
    /// When it started.
    pub started_at: Timestamp,
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
}

/// The files of a build's folder.
pub mod files {
    /// What is to be run.
    pub const JOB: &str = "job.json";
    /// Who supervises.
    pub const SUPERVISOR: &str = "supervisor.json";
    /// The process group of the command that runs.
    pub const GROUP: &str = "group";
    /// How it went.
    pub const ENDED: &str = "exit.json";
    /// Standard output of all commands.
    pub const LOG: &str = "packer.log";
    /// Standard error of all commands.
    pub const ERRORS: &str = "packer.err";
}

/// Runs the job of a folder to its end.
pub fn run(folder: &Path) -> std::io::Result<()> {
    // Fails only for a group leader, which a process that was just spawned is not unless a shell started it by hand.
    let _ = rustix::process::setsid();
    let job: Job = serde_json::from_slice(&std::fs::read(folder.join(files::JOB))?)?;
    let own = ProcessId::own().ok_or_else(|| std::io::Error::other("/proc is not mounted"))?;
    let started_at = Timestamp::now();
    let supervisor = Supervisor {
        pid: own.pid,
        pid_start: own.start,
        started_at,
    };
    write_atomically(
        &folder.join(files::SUPERVISOR),
        &serde_json::to_vec(&supervisor)?,
    )?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (stage, exit) = runtime.block_on(supervise(folder, &job))?;
    let ended = Ended {
        stage,
        exit,
        started_at,
        ended_at: Timestamp::now(),
    };
    write_when_possible(&folder.join(files::ENDED), &serde_json::to_vec(&ended)?)
}

async fn supervise(folder: &Path, job: &Job) -> std::io::Result<(PackerStage, Exit)> {
    let mut terminate = signal(SignalKind::terminate())?;
    let deadline = Instant::now() + Duration::from_secs(job.timeout_seconds);
    let mut last = (PackerStage::Validate, Exit::Unknown);
    for command in &job.commands {
        let mut child = start(folder, job, command)?;
        let group = child.id().unwrap_or(0);
        write_atomically(&folder.join(files::GROUP), group.to_string().as_bytes())?;
        let exit = tokio::select! {
            status = child.wait() => exit_of(status?),
            () = tokio::time::sleep_until(deadline) => { end(&mut child, group, job).await?; Exit::TimedOut }
            _ = terminate.recv() => { end(&mut child, group, job).await?; Exit::Cancelled }
        };
        // A plugin that Packer left behind is of no use to anybody.
        signal_group(group, Signal::KILL);
        let _ = std::fs::remove_file(folder.join(files::GROUP));
        let passed = exit == Exit::Code(0)
            || (command.stage == PackerStage::Init && matches!(exit, Exit::Code(_)));
        last = (command.stage, exit);
        if !passed {
            break;
        }
    }
    Ok(last)
}

fn start(folder: &Path, job: &Job, command: &JobCommand) -> std::io::Result<Child> {
    Command::new(&job.packer)
        .args(&command.arguments)
        .current_dir(&job.folder)
        .stdin(Stdio::null())
        .stdout(append(&folder.join(files::LOG))?)
        .stderr(append(&folder.join(files::ERRORS))?)
        .process_group(0)
        .spawn()
}

async fn end(child: &mut Child, group: u32, job: &Job) -> std::io::Result<()> {
    signal_group(group, Signal::TERM);
    let grace = Duration::from_secs(job.grace_seconds);
    if tokio::time::timeout(grace, child.wait()).await.is_err() {
        signal_group(group, Signal::KILL);
        child.wait().await?;
    }
    Ok(())
}

fn exit_of(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Unknown,
    }
}

fn append(path: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
}

/// Writes a file so that a reader sees all of it or none, even after a power loss.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let beside = path.with_extension("tmp");
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)
}

/// A full disk must not lose how a build ended: tries again for an hour.
fn write_when_possible(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    for _ in 0..3600 {
        if write_atomically(path, bytes).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    write_atomically(path, bytes)
}
