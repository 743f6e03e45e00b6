//! The small process that runs Packer and outlives the daemon: `reconciler supervise FOLDER`.
//!
//! It leads a session of its own, runs `init`, `validate` and `build` one after the other with output to files, ends them at the
//! time limit or on request, takes secrets out of the logs and writes how it went to `exit.json`. Its environment is the build's;
//! no secret is in an argument list. It reads the build's folder and needs nothing else: no configuration and no daemon.
//! Its signs of life go to the inventory (`heartbeat`), if they can; the build never waits for that.

pub mod files;
mod heartbeat;

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use rustix::process::Signal;
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::build::packer::{outcome, redact};
use crate::build::process::{ProcessId, Session, signal_group};
use crate::build::{BuildOutcome, Exit, PackerStage};
use crate::clock;
use crate::failpoint::reach;
use files::{Ended, Job, JobCommand, Supervisor, append, write_atomically};

/// How often a request to end is looked for, beside SIGTERM, which may come before it can be heard; and whether a log has grown too long.
const LOOK: Duration = Duration::from_millis(250);

/// A shell's exit code for a command that cannot be run.
const NOT_STARTED: Exit = Exit::Code(127);

/// Runs the job of a folder to its end. Does nothing if the build was given up before.
pub fn run(folder: &Path) -> io::Result<()> {
    // Fails only for a group leader, which a process that was just spawned is not unless a shell started it by hand.
    let _ = rustix::process::setsid();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // From here on SIGTERM cancels; before, it ends a process that has started nothing.
    let terminate = {
        let _entered = runtime.enter();
        signal(SignalKind::terminate())?
    };
    let job: Job = files::read(folder, files::JOB)
        .ok_or_else(|| io::Error::other(format!("no job in {}", folder.display())))?;
    let own = ProcessId::own().ok_or_else(|| io::Error::other("/proc is not mounted"))?;
    let started_at = Timestamp::now();
    let supervisor = Supervisor {
        pid: own.pid,
        pid_start: own.start,
        started_at,
    };
    reach("supervisor.claim:before").map_err(io::Error::other)?;
    if !files::claim(folder, &supervisor)? {
        return Ok(());
    }
    reach("supervisor.claim:after").map_err(io::Error::other)?;
    let watch = Watch {
        folder,
        job: &job,
        own,
        deadline: Instant::now() + Duration::from_secs(job.timeout_seconds),
        terminate,
    };
    runtime.block_on(supervise(watch, started_at))
}

/// Runs the job, and keeps what is to be known of it: redacted logs first, then how it ended.
async fn supervise(watch: Watch<'_>, started_at: Timestamp) -> io::Result<()> {
    let (folder, job) = (watch.folder, watch.job);
    if watch.is_too_late() {
        watch.note("reconciler: Packer was not started: the lease under which the build was decided has ended");
        // Whoever holds it now decides anew; nobody waits for a sign of life.
        let never = (PackerStage::Validate, Exit::TooLate);
        return finish(folder, job, never, started_at).await.map(drop);
    }
    let (over, ended) = oneshot::channel();
    let heart = match &job.heartbeat {
        Some(heartbeat) => heartbeat::beat(folder.to_owned(), heartbeat.clone(), ended),
        None => {
            return finish(folder, job, watch.run(None).await, started_at)
                .await
                .map(drop);
        }
    };
    let (begun, running) = oneshot::channel::<()>();
    let heart = tokio::spawn(async move {
        // Packer comes first: connecting takes a while.
        let _ = running.await;
        heart.await;
    });
    let end = watch.run(Some(begun)).await;
    let outcome = finish(folder, job, end, started_at).await;
    if let Ok(Some(outcome)) = &outcome {
        let _ = over.send(outcome.clone());
        // It gives up by itself; whoever waits for the build has its end already.
        let _ = heart.await;
    }
    outcome.map(drop)
}

/// Signs of life go on meanwhile: a log may have gigabytes, and a full disk is waited for.
async fn finish(
    folder: &Path,
    job: &Job,
    (stage, exit): (PackerStage, Exit),
    started_at: Timestamp,
) -> io::Result<Option<BuildOutcome>> {
    let ended = Ended {
        stage,
        exit,
        started_at,
        ended_at: Timestamp::now(),
    };
    reach("supervisor.exit:before").map_err(io::Error::other)?;
    let (folder, job) = (folder.to_owned(), job.clone());
    let written = tokio::task::spawn_blocking(move || {
        for log in job.logs(&folder) {
            // On a full disk it stays as it is; whoever reads it tries again.
            let _ = log.close();
        }
        let redacted = redact::of_build(&folder, &job, environment())
            .and_then(|secrets| redact::build(&folder, &job, &secrets));
        let written = write_when_possible(&folder.join(files::ENDED), &serde_json::to_vec(&ended)?);
        reach("supervisor.exit:after").map_err(io::Error::other)?;
        redacted.and(written)?;
        // Only for other hosts.
        Ok(outcome::tell(&folder, ended).ok())
    });
    written.await.map_err(io::Error::other)?
}

struct Watch<'a> {
    folder: &'a Path,
    job: &'a Job,
    own: ProcessId,
    deadline: Instant,
    terminate: Signals,
}

impl Watch<'_> {
    /// Whether the lease under which the build was decided has ended.
    fn is_too_late(&self) -> bool {
        let now = u64::try_from(clock::now().as_millis()).unwrap_or(u64::MAX);
        self.job.start_before.is_some_and(|end| end <= now)
    }

    /// Says through `begun` when Packer runs.
    async fn run(mut self, mut begun: Option<oneshot::Sender<()>>) -> (PackerStage, Exit) {
        let mut last = (PackerStage::Validate, Exit::Unknown);
        for command in &self.job.commands {
            let exit = match self.start(command) {
                Ok(child) => {
                    begun.take().map(|begun| begun.send(()));
                    self.follow(child).await
                }
                Err(error) => {
                    let packer = self.job.packer.display();
                    self.note(&format!("Error: cannot start {packer}: {error}"));
                    NOT_STARTED
                }
            };
            // What Packer left behind is of no use to anybody.
            Session::of(self.own, &self.job.temporary).signal(Signal::KILL);
            let passed = exit == Exit::Code(0);
            last = (command.stage, exit);
            match (command.stage, &last.1) {
                (PackerStage::Init, Exit::Code(code)) if !passed => self.note(&format!(
                    "reconciler: warning: `packer init` failed with status {code}; `packer validate` will tell whether it matters"
                )),
                _ if !passed => break,
                _ => {}
            }
        }
        last
    }

    fn start(&self, command: &JobCommand) -> io::Result<Child> {
        self.note(&format!(
            "reconciler: packer {}",
            command.arguments.join(" ")
        ));
        reach("supervisor.packer:before").map_err(io::Error::other)?;
        let child = Command::new(&self.job.packer)
            .args(&command.arguments)
            .current_dir(&self.job.folder)
            .stdin(Stdio::null())
            .stdout(append(&self.folder.join(files::LOG))?)
            .stderr(append(&self.folder.join(files::ERRORS))?)
            .process_group(0)
            .spawn()?;
        reach("supervisor.packer:after").map_err(io::Error::other)?;
        Ok(child)
    }

    async fn follow(&mut self, mut child: Child) -> Exit {
        let mut look = tokio::time::interval(LOOK);
        let mut logs = self.job.logs(self.folder);
        loop {
            tokio::select! {
                status = child.wait() => return status.map_or(Exit::Unknown, exit_of),
                () = tokio::time::sleep_until(self.deadline) => {
                    return self.end(&mut child, Exit::TimedOut).await;
                }
                _ = self.terminate.recv() => {
                    let exit = self.asked();
                    return self.end(&mut child, exit).await;
                }
                _ = look.tick() => {
                    for log in &mut logs {
                        // Tried again at the next look; at the end the log is cut in any case.
                        let _ = log.trim();
                    }
                    if self.folder.join(files::KILL).exists() {
                        return self.kill(&mut child).await;
                    }
                    if self.folder.join(files::CANCEL).exists() {
                        return self.end(&mut child, Exit::Cancelled).await;
                    }
                }
            }
        }
    }

    /// What SIGTERM means: who cancels writes the file first; without it the host ends everything, and the build is to be made again.
    fn asked(&self) -> Exit {
        if self.folder.join(files::CANCEL).exists() {
            Exit::Cancelled
        } else {
            Exit::Signal(Signal::TERM.as_raw())
        }
    }

    /// Without a word to Packer, which would take its image away: what it leaves is removed by who has given the build up.
    async fn kill(&self, child: &mut Child) -> Exit {
        self.note("reconciler: Packer is killed, for its image may be recorded by now");
        signal_group(child.id().unwrap_or(0), Signal::KILL);
        // It cannot refuse; an error could only say that it is gone.
        let _ = child.wait().await;
        Exit::Cancelled
    }

    async fn end(&self, child: &mut Child, exit: Exit) -> Exit {
        self.note(&format!("reconciler: ending Packer: {exit:?}"));
        // The child is not reaped yet, so its id, which is its group's, belongs to nobody else.
        let group = child.id().unwrap_or(0);
        signal_group(group, Signal::TERM);
        let grace = Duration::from_secs(self.job.grace_seconds);
        if tokio::time::timeout(grace, child.wait()).await.is_err() {
            self.note("reconciler: Packer did not end by itself and is killed");
            signal_group(group, Signal::KILL);
            // It cannot refuse; an error could only say that it is gone.
            let _ = child.wait().await;
        }
        exit
    }

    fn note(&self, text: &str) {
        heartbeat::note(self.folder, text);
    }
}

fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

fn exit_of(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Unknown,
    }
}

/// A full disk must not lose how a build ended: tries again for an hour.
fn write_when_possible(path: &Path, bytes: &[u8]) -> io::Result<()> {
    for _ in 0..3600 {
        if write_atomically(path, bytes).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    write_atomically(path, bytes)
}
