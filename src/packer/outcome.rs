//! How a build went, from what is left of it in its folder; and the wait for that.
//!
//! The supervisor says it in `exit.json`. Where it was killed, Packer goes on by itself (own
//! session, output to files): it is followed to its end in the supervisor's place, with the same
//! limits, and only its exit status is lost.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustix::process::Signal;

use crate::atomic_file::{if_there, write_durably};
use crate::packer::process::{Member, ProcessId, Session};
use crate::packer::process_tree::{Watcher, lost};
use crate::packer::supervisor::files;
use crate::packer::supervisor::files::{Ended, Job};
use crate::packer::{layout, made_resources, redact};
use reconciler_core::build::output;
use reconciler_core::build::output::{Line, Made, Reading};
use reconciler_core::build::phases::{PhaseReader, Unfinished};
use reconciler_core::secrets::redactor::Redactor;
use reconciler_model::build::{BuildOutcome, Exit, PackerStage, RunningBuild};

/// The longest pause between two looks.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// How long a process may need to end after SIGKILL.
const AFTER_KILL: Duration = Duration::from_secs(5);

/// How long a supervisor may need, once the build is over, to tell the inventory and to end.
const LAST_WORD: Duration = Duration::from_secs(2);

/// Waits until a build is over, whoever started it, and for a moment until its supervisor has given
/// its last sign of life: after that none comes that somebody would have to remove again.
pub(super) async fn wait(build: &RunningBuild) -> Ended {
    let ended = over(build).await;
    let supervisor = supervisor(build);
    let gone = async {
        while supervisor.is_alive() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let _ = tokio::time::timeout(LAST_WORD, gone).await;
    ended
}

async fn over(build: &RunningBuild) -> Ended {
    let supervisor = supervisor(build);
    let mut pause = Duration::from_millis(20);
    let longest = longest(build);
    loop {
        // In this order: it writes the file, then ends.
        let alive = supervisor.is_alive();
        if let Some(ended) = files::read(&build.folder, files::ENDED) {
            return ended;
        }
        if !alive {
            break;
        }
        if longest.is_some_and(|longest| supervisor.age() > longest) {
            // It would have ended Packer and itself by now, if it could.
            supervisor.signal(Signal::KILL);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 5 / 4).min(LONGEST_PAUSE);
    }
    let (exit, lost) = follow_orphans(build).await;
    let ended = Ended {
        stage: PackerStage::Build,
        exit,
        started_at: build.started_at,
        ended_at: Timestamp::now(),
        lost,
    };
    if let Ok(bytes) = serde_json::to_vec(&ended) {
        // For the next one who asks; who asks now has the answer.
        let _ = write_durably(&build.folder.join(files::ENDED), &bytes);
    }
    ended
}

/// After how long a supervisor that does its work has said how the build went.
fn longest(build: &RunningBuild) -> Option<Duration> {
    let job: Job = files::read(&build.folder, files::JOB)?;
    Some(Duration::from_secs(job.timeout_seconds + 2 * job.grace_seconds) + AFTER_KILL)
}

/// Asks a build to end.
pub(super) fn cancel(build: &RunningBuild) -> io::Result<()> {
    // First the file: a supervisor that SIGTERM comes too early for looks for it.
    files::append(&build.folder.join(files::CANCEL))?;
    supervisor(build).signal(Signal::TERM);
    Ok(())
}

fn supervisor(build: &RunningBuild) -> ProcessId {
    ProcessId { pid: build.pid, start: build.pid_start }
}

/// What is left of a build whose supervisor was killed: how it ended, and what of it ended before
/// its time.
async fn follow_orphans(build: &RunningBuild) -> (Exit, Option<String>) {
    // Seeded bug: cancel-file-ignored
    let cancelled = || build.folder.join(files::CANCEL).exists();
    let Some(job) = files::read::<Job>(&build.folder, files::JOB) else {
        return (Exit::Unknown, None);
    };
    let session = Session::of(supervisor(build), &job.temporary);
    let limit = Duration::from_secs(job.timeout_seconds);
    let grace = Duration::from_secs(job.grace_seconds);
    let mut logs = job.logs(&build.folder);
    let mut watched: Option<(ProcessId, Watcher)> = None;
    let partly_gone = lost("the one that was started");
    let (exit, gone) = loop {
        for log in &mut logs {
            // Tried again at the next look.
            let _ = log.trim();
        }
        let members = session.members();
        if members.is_empty() {
            let exit = if cancelled() { Exit::Cancelled } else { Exit::Unknown };
            return (exit, watched.and_then(|(_, watcher)| watcher.lost()));
        }
        if cancelled() {
            break (Exit::Cancelled, None);
        }
        let Some(wrapper) = members.iter().find(|member| member.leads()) else {
            // Nothing that these still do reaches anybody: they write into a pipe that nobody
            // reads, or wait for one who is gone.
            break (Exit::Unknown, Some(partly_gone));
        };
        if watched.as_ref().is_none_or(|(process, _)| *process != wrapper.process) {
            let log = build.folder.join(files::LOG);
            watched = Some((wrapper.process, Watcher::start(wrapper.process, &log)));
        }
        let partly = watched.as_ref().and_then(|(_, watcher)| watcher.partly_gone_for());
        if partly.is_some_and(|since| since > grace) {
            break (Exit::Unknown, Some(lost("a plugin")));
        }
        if supervisor(build).age() >= limit {
            break (Exit::TimedOut, None);
        }
        tokio::time::sleep(LONGEST_PAUSE).await;
    };
    session.signal(Signal::TERM);
    if !all_gone(&session, grace).await {
        session.signal(Signal::KILL);
        all_gone(&session, AFTER_KILL).await;
    }
    (exit, gone)
}

/// Waits until they are gone; those that nothing leads any more are killed: they wait for one who
/// is gone.
async fn all_gone(session: &Session, limit: Duration) -> bool {
    let looking = async {
        loop {
            let members = session.members();
            if members.is_empty() {
                return;
            }
            let is_led = |member: &Member| members.iter().any(|other| member.is_child_of(other));
            if !members.iter().any(|member| member.leads() || is_led(member)) {
                session.signal(Signal::KILL);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(limit, looking).await.is_ok()
}

/// Reads the logs of a build that is over. `environment` is what is known of the build's, to be
/// redacted where no supervisor did.
pub(super) fn read(
    build: &RunningBuild,
    ended: Ended,
    environment: &[(String, String)],
) -> io::Result<BuildOutcome> {
    let folder = &build.folder;
    if let Some(job) = files::read::<Job>(folder, files::JOB) {
        for log in job.logs(folder) {
            log.close()?;
        }
        let secrets = redact::of_build(folder, &job, environment.iter().cloned())?;
        redact::build(folder, &job, &secrets)?;
        if ended.exit == Exit::Code(0) {
            layout::remove(&folder.join(layout::WORK));
        }
    }
    tell(folder, ended)
}

/// What the logs say, as they are.
pub(in crate::packer) fn tell(folder: &Path, ended: Ended) -> io::Result<BuildOutcome> {
    let log = folder.join(files::LOG);
    let mut phases = phase_reader(folder);
    let mut said = reading(&log, |second, line| phases.take(second, line))?;
    let phases = phases.finish(Unfinished::Ended(ended.ended_at.as_second())).phases;
    if let Some(made) = made_resources::read(folder) {
        let finished = said.made.finished || made.finished;
        said.made = Made { finished, ..made };
    }
    let mut errors = reading(&folder.join(files::ERRORS), |_, _| ())?;
    if matches!(ended.exit, Exit::Unknown) {
        errors.errors.extend(supervisor_words(folder));
    }
    Ok(BuildOutcome { phases, ..told(said, errors, ended, log) })
}

/// Of a build in its folder, for its log.
pub(in crate::packer) fn phase_reader(folder: &Path) -> PhaseReader {
    let job = files::read::<Job>(folder, files::JOB);
    PhaseReader::new(job.and_then(|job| job.provisioners))
}

/// What logs say that were open when their folder went. Nothing of it was redacted where it lies,
/// so it is here.
pub(in crate::packer) fn tell_of_open(
    logs: Option<[File; 2]>,
    ended: Ended,
    log: PathBuf,
    secrets: &Redactor,
) -> io::Result<BuildOutcome> {
    let read = |file: File| output::read(&mut BufReader::new(file));
    let [said, errors] = match logs {
        Some([said, errors]) => [read(said)?, read(errors)?],
        None => Default::default(),
    };
    let mut outcome = told(said, errors, ended, log);
    for texts in [&mut outcome.failures, &mut outcome.errors, &mut outcome.last_words] {
        for text in texts {
            *text = secrets.text(text);
        }
    }
    Ok(outcome)
}

fn told(said: Reading, standard_error: Reading, ended: Ended, log: PathBuf) -> BuildOutcome {
    // Only for what went wrong: an image is made by what standard output says.
    let mut errors = standard_error.errors;
    errors.extend(said.errors);
    let duration = ended.ended_at.duration_since(ended.started_at);
    BuildOutcome {
        stage: ended.stage,
        exit: ended.exit,
        artifacts: said.made.artifacts,
        failures: said.failures,
        errors,
        traces: said.made.traces,
        sources: said.made.sources,
        others: said.made.others,
        finished: said.made.finished,
        last_words: said.last_words,
        lost: ended.lost,
        // Read with the log where the folder tells what the template has.
        phases: Vec::new(),
        // A clock that was set back meanwhile says nothing.
        duration: duration.max(SignedDuration::ZERO).unsigned_abs(),
        log,
    }
}

fn reading(path: &Path, show: impl FnMut(i64, &Line)) -> io::Result<Reading> {
    match if_there(File::open(path))? {
        Some(log) => output::read_with_times(&mut BufReader::new(log), show),
        None => Ok(Reading::default()),
    }
}

fn supervisor_words(folder: &Path) -> Option<String> {
    let said = fs::read_to_string(folder.join(files::SUPERVISOR_LOG)).ok()?;
    let last = said.lines().rfind(|line| !line.trim().is_empty())?;
    Some(format!("the supervisor said: {}", last.trim()))
}
