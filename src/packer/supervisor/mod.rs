//! The small process that runs Packer and outlives the daemon: `reconciler supervise FOLDER`.
//!
//! It leads a session of its own, runs `init`, `validate` and `build` one after the other with
//! output to files, ends them at the time limit or on request, takes secrets out of the logs and
//! writes how it went to `exit.json`. Its environment is the build's; no secret is in an argument
//! list. It reads the build's folder and needs nothing else: no configuration and no daemon. Its
//! signs of life go to the inventory (`heartbeat`), if they can; the build never waits for that.
//! How it went is told there before it is written down here: its folder may be gone.

pub mod files;
mod heartbeat;

use std::fs::File;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use rustix::process::Signal;
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::atomic_file::write_durably;
use crate::clock;
use crate::failpoint::reach;
use crate::packer::process::{ProcessId, Session, signal_group};
use crate::packer::process_tree::Watcher;
use crate::packer::{outcome, redact};
use files::{Ended, Job, JobCommand, Supervisor, append};
use reconciler_core::secrets::redactor::Redactor;
use reconciler_model::build::{BuildOutcome, Exit, PackerStage};

/// How often a request to end is looked for, beside SIGTERM, which may come before it can be heard;
/// and whether a log has grown too long.
const LOOK: Duration = Duration::from_millis(250);

/// A shell's exit code for a command that cannot be run.
const NOT_STARTED: Exit = Exit::Code(127);

/// Runs the job of a folder to its end. Does nothing if the build was given up before.
pub fn run(folder: &Path) -> io::Result<()> {
    // Fails only for a group leader, which a process that was just spawned is not unless a shell
    // started it by hand.
    // Seeded bug: no-session-of-its-own
    let _ = rustix::process::setsid();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // From here on SIGTERM cancels; before, it ends a process that has started nothing.
    let terminate = {
        let _entered = runtime.enter();
        signal(SignalKind::terminate())?
    };
    let job: Job = files::read(folder, files::JOB)
        .ok_or_else(|| io::Error::other(format!("no job in {}", folder.display())))?;
    let own = ProcessId::own().ok_or_else(|| io::Error::other("/proc is not mounted"))?;
    let started_at = Timestamp::now();
    let supervisor = Supervisor { pid: own.pid, pid_start: own.start, started_at };
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
async fn supervise(mut watch: Watch<'_>, started_at: Timestamp) -> io::Result<()> {
    let (folder, job) = (watch.folder, watch.job);
    let too_late = watch.is_too_late();
    if too_late {
        watch.note("reconciler: Packer was not started: the lease under which the build was decided has ended");
    }
    let keep = Keep::of(folder, job);
    // Whoever holds the lease now decides anew; nobody waits for a sign of life of what never ran.
    let heartbeat = job.heartbeat.clone().filter(|_| !too_late);
    let (over, ended) = oneshot::channel();
    let (written, is_written) = oneshot::channel();
    let (begun, running) = oneshot::channel::<()>();
    let mut heart = heartbeat.map(|heartbeat| {
        let heart = heartbeat::beat(folder.to_owned(), heartbeat, ended, is_written);
        tokio::spawn(async move {
            // Packer comes first: connecting takes a while.
            let _ = running.await;
            heart.await;
        })
    });
    let ran = if too_late {
        JobRun::new(PackerStage::Validate, Exit::TooLate)
    } else {
        watch.run(begun).await
    };
    let (ended, outcome) = keep.prepare(ran, started_at).await?;
    match &outcome {
        // Nobody hears it where there are no signs of life.
        Ok(outcome) => drop(over.send(outcome.clone())),
        Err(_) => drop(over),
    }
    let kept = write_down(folder, &ended, &mut watch.terminate).await;
    let _ = written.send(kept.is_ok());
    if let Some(heart) = heart.as_mut().filter(|_| outcome.is_ok()) {
        if kept.is_ok() {
            // It gives up by itself; whoever waits for the build has its end already.
            let _ = heart.await;
        } else {
            // This is the only word of it.
            tokio::select! {
                _ = heart => {}
                _ = watch.terminate.recv() => {}
            }
        }
    }
    outcome.and(kept)
}

/// How the commands of a job went.
struct JobRun {
    stage: PackerStage,
    exit: Exit,
    /// What was lost meanwhile on this host, in words.
    lost: Option<String>,
}

impl JobRun {
    fn new(stage: PackerStage, exit: Exit) -> Self {
        Self { stage, exit, lost: None }
    }
}

/// What it takes to tell how a build went, though its folder be gone by then.
struct Keep {
    folder: PathBuf,
    job: Job,
    logs: Option<[File; 2]>,
    secrets: io::Result<Redactor>,
}

impl Keep {
    fn of(folder: &Path, job: &Job) -> Self {
        let open = |name: &str| {
            let path = folder.join(name);
            append(&path).and_then(|_| File::open(&path)).ok()
        };
        Self {
            folder: folder.to_owned(),
            job: job.clone(),
            logs: open(files::LOG).zip(open(files::ERRORS)).map(Into::into),
            secrets: redact::of_build(folder, job, environment()),
        }
    }

    /// Takes the secrets out of what is kept, and tells how it went: nothing, if they could not be
    /// taken out. Signs of life go on meanwhile: a log may have gigabytes.
    async fn prepare(
        self,
        ran: JobRun,
        started_at: Timestamp,
    ) -> io::Result<(Ended, io::Result<BuildOutcome>)> {
        let mut ended = Ended {
            stage: ran.stage,
            exit: ran.exit,
            started_at,
            ended_at: Timestamp::now(),
            lost: ran.lost,
        };
        reach("supervisor.exit:before").map_err(io::Error::other)?;
        let told = tokio::task::spawn_blocking(move || {
            let outcome = if self.folder.join(files::JOB).exists() {
                self.clean().and_then(|()| outcome::tell(&self.folder, ended.clone()))
            } else {
                let folder = self.folder.display();
                ended.lost = Some(format!(
                    "the folder of the build ({folder}) was removed while Packer ran"
                ));
                self.tell_of_open(&ended)
            };
            (ended, outcome)
        });
        told.await.map_err(io::Error::other)
    }

    fn clean(&self) -> io::Result<()> {
        for log in self.job.logs(&self.folder) {
            // On a full disk it stays as it is; whoever reads it tries again.
            let _ = log.close();
        }
        let secrets = redact::of_build(&self.folder, &self.job, environment())?;
        redact::build(&self.folder, &self.job, &secrets)
    }

    /// What Packer wrote into files that nobody can open any more.
    fn tell_of_open(self, ended: &Ended) -> io::Result<BuildOutcome> {
        let secrets = self.secrets?;
        let log = self.folder.join(files::LOG);
        outcome::tell_of_open(self.logs, ended.clone(), log, &secrets)
    }
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
    async fn run(&mut self, begun: oneshot::Sender<()>) -> JobRun {
        let mut begun = Some(begun);
        let mut last = JobRun::new(PackerStage::Validate, Exit::Unknown);
        for command in &self.job.commands {
            let (exit, lost) = match self.start(command) {
                Ok(child) => {
                    begun.take().map(|begun| begun.send(()));
                    self.follow(child).await
                }
                Err(error) => {
                    let packer = self.job.packer.display();
                    self.note(&format!("Error: cannot start {packer}: {error}"));
                    (NOT_STARTED, None)
                }
            };
            // What Packer left behind is of no use to anybody.
            Session::of(self.own, &self.job.temporary).signal(Signal::KILL);
            let passed = exit == Exit::Code(0);
            last = JobRun { stage: command.stage, exit, lost };
            match (command.stage, &last.exit) {
                // Seeded bug: failed-init-is-fatal
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
        self.note(&format!("reconciler: packer {}", command.arguments.join(" ")));
        reach("supervisor.packer:before").map_err(io::Error::other)?;
        let child = Command::new(&self.job.packer)
            .args(&command.arguments)
            .current_dir(&self.job.folder)
            .stdin(Stdio::null())
            // Seeded bug: output-through-a-pipe
            .stdout(append(&self.folder.join(files::LOG))?)
            .stderr(append(&self.folder.join(files::ERRORS))?)
            .process_group(0)
            .spawn()?;
        reach("supervisor.packer:after").map_err(io::Error::other)?;
        Ok(child)
    }

    /// Until it has ended, by itself or not; and what of it ended before its time.
    async fn follow(&mut self, mut child: Child) -> (Exit, Option<String>) {
        let log = self.folder.join(files::LOG);
        let wrapper = child.id().and_then(ProcessId::of);
        let watcher = wrapper.map(|wrapper| Watcher::start(wrapper, &log));
        let exit = self.until_it_ends(&mut child, watcher.as_ref()).await;
        (exit, watcher.and_then(|watcher| watcher.lost()))
    }

    async fn until_it_ends(&mut self, child: &mut Child, watcher: Option<&Watcher>) -> Exit {
        let mut look = tokio::time::interval(LOOK);
        let mut logs = self.job.logs(self.folder);
        let grace = Duration::from_secs(self.job.grace_seconds);
        loop {
            tokio::select! {
                status = child.wait() => return status.map_or(Exit::Unknown, exit_of),
                () = tokio::time::sleep_until(self.deadline) => {
                    // Seeded bug: time-limit-ignored
                    return self.end(child, Exit::TimedOut).await;
                }
                _ = self.terminate.recv() => {
                    let exit = self.asked();
                    return self.end(child, exit).await;
                }
                _ = look.tick() => {
                    for log in &mut logs {
                        // Tried again at the next look; at the end the log is cut in any case.
                        let _ = log.trim();
                    }
                    if self.folder.join(files::KILL).exists() {
                        return self.kill(child).await;
                    }
                    if self.folder.join(files::CANCEL).exists() {
                        return self.end(child, Exit::Cancelled).await;
                    }
                    // It cleans up and ends by itself, if it can.
                    if watcher.and_then(Watcher::partly_gone_for).is_some_and(|since| since > grace) {
                        self.note("reconciler: a process of Packer's is gone, and Packer does not end");
                        return self.end(child, Exit::Signal(Signal::KILL.as_raw())).await;
                    }
                }
            }
        }
    }

    /// What SIGTERM means: who cancels writes the file first; without it the host ends everything,
    /// and the build is to be made again.
    fn asked(&self) -> Exit {
        if self.folder.join(files::CANCEL).exists() {
            Exit::Cancelled
        } else {
            Exit::Signal(Signal::TERM.as_raw())
        }
    }

    /// Without a word to Packer, which would take its image away: what it leaves is removed by who
    /// has given the build up.
    async fn kill(&self, child: &mut Child) -> Exit {
        self.note("reconciler: Packer is killed, for its image may be recorded by now");
        signal_group(child.id().unwrap_or(0), Signal::KILL);
        // It cannot refuse; an error could only say that it is gone.
        let _ = child.wait().await;
        Exit::Cancelled
    }

    async fn end(&self, child: &mut Child, exit: Exit) -> Exit {
        self.note(&format!("reconciler: ending Packer: {}", why_ended(&exit)));
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

/// Why Packer is ended before it has ended by itself, for the build's log.
fn why_ended(exit: &Exit) -> &'static str {
    match exit {
        Exit::TimedOut => "its time limit has passed",
        Exit::Cancelled => "the build was cancelled",
        Exit::Signal(_) => "the supervisor was told to end, or a process of Packer's is gone",
        Exit::Code(_) | Exit::TooLate | Exit::Unknown => "nobody waits for it",
    }
}

fn exit_of(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Unknown,
    }
}

/// Writes down how it went. A full disk must not lose that: it is tried again for an hour, or until
/// SIGTERM comes. What cannot pass, such as a folder that is gone, is not waited for.
async fn write_down(folder: &Path, ended: &Ended, terminate: &mut Signals) -> io::Result<()> {
    let bytes = serde_json::to_vec(ended)?;
    let path = folder.join(files::ENDED);
    let mut tries = 0;
    loop {
        let written = write_durably(&path, &bytes);
        match &written {
            Err(error) if passes(error) && tries < LONGEST_TRIES => tries += 1,
            _ => {
                reach("supervisor.exit:after").map_err(io::Error::other)?;
                return written;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            _ = terminate.recv() => return written,
        }
    }
}

/// For so many seconds is tried again what may pass.
const LONGEST_TRIES: u32 = 3600;

/// Whether what kept a file from being written may pass by itself: a disk or a quota that is full,
/// and what the system is short of.
fn passes(error: &io::Error) -> bool {
    use io::ErrorKind::{
        Interrupted, OutOfMemory, QuotaExceeded, ResourceBusy, StorageFull, TimedOut, WouldBlock,
    };
    let files = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE];
    let too_many = files.map(rustix::io::Errno::raw_os_error);
    matches!(
        error.kind(),
        StorageFull
            | QuotaExceeded
            | Interrupted
            | OutOfMemory
            | ResourceBusy
            | TimedOut
            | WouldBlock
    ) || error.raw_os_error().is_some_and(|code| too_many.contains(&code))
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    fn ended() -> Ended {
        Ended {
            stage: PackerStage::Build,
            exit: Exit::Code(0),
            started_at: Timestamp::UNIX_EPOCH,
            ended_at: Timestamp::UNIX_EPOCH,
            lost: None,
        }
    }

    #[tokio::test]
    async fn an_end_is_not_written_again_and_again_into_a_folder_that_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let mut terminate = signal(SignalKind::user_defined1()).unwrap();
        write_down(folder.path(), &ended(), &mut terminate).await.unwrap();
        assert!(folder.path().join(files::ENDED).exists());
        let gone = folder.path().join("gone");
        let ended = ended();
        let tried = write_down(&gone, &ended, &mut terminate);
        let written = tokio::time::timeout(Duration::from_millis(900), tried).await;
        let error = written.expect("it does not wait").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_may_pass_is_told_from_what_stays() {
        let of = |errno: Errno| passes(&io::Error::from(errno));
        for errno in [Errno::NOSPC, Errno::DQUOT, Errno::MFILE, Errno::INTR, Errno::NOMEM] {
            assert!(of(errno), "{errno}");
        }
        for errno in [Errno::NOENT, Errno::NOTDIR, Errno::ACCESS, Errno::ROFS, Errno::PERM] {
            assert!(!of(errno), "{errno}");
        }
    }
}
