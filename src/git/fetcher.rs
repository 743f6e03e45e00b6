//! A fetch in a process of its own: this program again, which is gone when the fetch is over or
//! given up.
//!
//! libgit2 blocks, and its own time limits cannot be set without `unsafe`; a thread that hangs in
//! it can be left behind but not ended, a process can. What it needs, a token too, goes through its
//! standard input, and what became of it comes back through its standard output: neither stands in
//! a list of processes.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::git::access::Keys;
use crate::git::fetch::{Fetch, Fetched};
use crate::git::mirror::tidy_up;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::host_cause::HostCause;
use reconciler_model::source::SourceError;

/// The hidden command that makes this program a fetcher.
pub const COMMAND: &str = "fetch";

/// What the process is told.
#[derive(Serialize, Deserialize)]
struct Job {
    mirror: PathBuf,
    url: String,
    place: String,
    keys: Keys,
    most_bytes: usize,
    patience_millis: u64,
    /// What is wrong with the mirror, if something is.
    #[serde(default)]
    damage: Option<String>,
    /// Whether whoever asks understands all answers: after an upgrade in place it may be of another
    /// version.
    #[serde(default)]
    knows_all_answers: bool,
}

/// What it answers.
#[derive(Serialize, Deserialize)]
enum Answer {
    Done,
    /// Something was wrong with the mirror, so all of it was fetched again.
    Anew {
        wrong: String,
    },
    Host {
        cause: HostCause,
        detail: String,
    },
    Person {
        message: String,
        hint: Option<String>,
    },
    Transient {
        detail: String,
    },
}

/// Fetches in a process of its own.
pub(super) fn run(
    program: &Path,
    fetch: Fetch,
    patience: Duration,
) -> Result<Fetched, SourceError> {
    let (place, mirror) = (fetch.place.clone(), fetch.mirror.clone());
    let answer = ask(program, fetch, patience).unwrap_or_else(|error| {
        let detail = format!("{} could not fetch: {error}", program.display());
        match HostCause::of(&detail) {
            Some(cause) => Answer::Host { cause, detail },
            None => Answer::Transient { detail },
        }
    });
    if !matches!(answer, Answer::Done | Answer::Anew { .. }) {
        tidy_up(&mirror);
    }
    match answer {
        Answer::Done => Ok(Fetched::Updated),
        Answer::Anew { wrong } => Ok(Fetched::Anew(wrong)),
        Answer::Host { cause, detail } => Err(SourceError::Host { place, cause, detail }),
        Answer::Person { message, hint } => {
            Err(SourceError::Person(Diagnostic { message, place: None, hint }))
        }
        Answer::Transient { detail } => Err(SourceError::Transient { place, detail }),
    }
}

fn ask(program: &Path, fetch: Fetch, patience: Duration) -> std::io::Result<Answer> {
    let job = serde_json::to_vec(&Job {
        mirror: fetch.mirror,
        url: fetch.url,
        place: fetch.place,
        keys: fetch.keys,
        most_bytes: fetch.most_bytes,
        patience_millis: u64::try_from(patience.as_millis()).unwrap_or(u64::MAX),
        damage: fetch.damage,
        knows_all_answers: true,
    })?;
    let mut child = Command::new(program)
        .arg(COMMAND)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut answer = Vec::new();
    let told = match (child.stdin.take(), child.stdout.take()) {
        (Some(mut stdin), Some(mut stdout)) => {
            // One that does not take its job says so by its answer, or by none.
            let _ = stdin.write_all(&job);
            drop(stdin);
            stdout.read_to_end(&mut answer)
        }
        _ => Ok(0),
    };
    // It has answered or closed its output; nothing is left to wait for.
    let _ = child.kill();
    let status = child.wait()?;
    told?;
    serde_json::from_slice(&answer)
        .map_err(|_| std::io::Error::other(format!("it ended without an answer ({status})")))
}

/// The process's whole work: a job from standard input, an answer to standard output.
pub fn serve() -> std::io::Result<()> {
    let mut text = Vec::new();
    std::io::stdin().read_to_end(&mut text)?;
    let job: Job = serde_json::from_slice(&text)?;
    let fetch = Fetch {
        mirror: job.mirror,
        url: job.url,
        place: job.place,
        keys: job.keys,
        most_bytes: job.most_bytes,
        damage: job.damage,
    };
    let answer = match fetch.run(Duration::from_millis(job.patience_millis)) {
        Ok(Fetched::Anew(wrong)) if job.knows_all_answers => Answer::Anew { wrong },
        Ok(_) => Answer::Done,
        Err(
            SourceError::Person(Diagnostic { message, hint, .. })
            | SourceError::Damaged(Diagnostic { message, hint, .. }),
        ) => Answer::Person { message, hint },
        Err(SourceError::Host { cause, detail, .. }) if job.knows_all_answers => {
            Answer::Host { cause, detail }
        }
        Err(SourceError::Host { detail, .. } | SourceError::Transient { detail, .. }) => {
            Answer::Transient { detail }
        }
    };
    let mut out = std::io::stdout().lock();
    out.write_all(&serde_json::to_vec(&answer)?)?;
    out.flush()
}

/// This program as it stands on disk. After an upgrade in place Linux shows the old file as
/// deleted; the new one at the same path understands the same jobs.
#[must_use]
pub fn this_program() -> PathBuf {
    let path = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("reconciler"));
    match path.to_string_lossy().strip_suffix(" (deleted)") {
        Some(path) => PathBuf::from(path),
        None => path,
    }
}
