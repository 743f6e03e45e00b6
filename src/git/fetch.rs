//! One fetch of a remote into its mirror, given up when nothing arrives any more.
//!
//! A mirror in which something is wrong is fetched anew beside itself and takes its own place
//! (`mirror`): a remote is blamed for what the remote did only (`refusal`). libgit2 blocks, and its
//! own time limits cannot be set without `unsafe`: the fetch runs on a thread of its own that is
//! left behind when it hangs, and ends with the process (see `fetcher`).

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use git2::{
    AutotagOption, Direction, ErrorClass, ErrorCode, FetchOptions, ProxyOptions, RemoteCallbacks,
    RemoteUpdateFlags, Repository, RepositoryInitOptions,
};

use crate::git::access::{Keys, Offered};
use crate::git::mirror;
use crate::git::mirror::Held;
use crate::git::{packs, refusal};
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::host_cause::HostCause;
use reconciler_model::source::SourceError;

/// Branches and tags only, and always what the remote says, a forced push as well.
const REFSPECS: [&str; 2] = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"];

/// What one fetch needs.
pub(super) struct Fetch {
    /// The mirror.
    pub(super) mirror: PathBuf,
    /// The URL, with whatever password it has.
    pub(super) url: String,
    /// The URL for people.
    pub(super) place: String,
    /// What is offered to the server.
    pub(super) keys: Keys,
    /// More bytes than this are not taken.
    pub(super) most_bytes: usize,
    /// What somebody who read the mirror found to be wrong with it.
    pub(super) damage: Option<String>,
}

/// How far a fetch has come, for the one who waits.
struct Progress {
    start: Instant,
    last_millis: AtomicU64,
    given_up: AtomicBool,
    too_much: AtomicBool,
}

impl Progress {
    /// Notes that something arrived; false tells libgit2 to stop.
    fn arrived(&self) -> bool {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_millis.store(now, Ordering::Relaxed);
        !self.given_up.load(Ordering::Relaxed)
    }

    fn silent_for(&self) -> Duration {
        let last = Duration::from_millis(self.last_millis.load(Ordering::Relaxed));
        self.start.elapsed().saturating_sub(last)
    }
}

impl Fetch {
    /// Fetches; an error when nothing arrives for `patience`.
    pub(super) fn run(self, patience: Duration) -> Result<Fetched, SourceError> {
        let place = self.place.clone();
        let transient = |detail: String| SourceError::Transient { place: place.clone(), detail };
        let held = match mirror::hold(&self.mirror, patience) {
            Ok(Some(held)) => held,
            Ok(None) => {
                let detail = "another process of this host is fetching it".to_owned();
                return Err(transient(detail));
            }
            Err(error) => return Err(self.not_kept(&error.to_string())),
        };
        let progress = Arc::new(Progress {
            start: Instant::now(),
            last_millis: AtomicU64::new(0),
            given_up: AtomicBool::new(false),
            too_much: AtomicBool::new(false),
        });
        let (done, result) = mpsc::channel();
        let seen = Arc::clone(&progress);
        std::thread::Builder::new()
            .name("git-fetch".to_owned())
            .spawn(move || {
                let _ = done.send(self.work(&held, &seen));
            })
            .map_err(|error| transient(format!("no thread for the fetch: {error}")))?;
        loop {
            let left = patience.saturating_sub(progress.silent_for());
            match result.recv_timeout(left) {
                Ok(result) => return result,
                Err(RecvTimeoutError::Timeout) if progress.silent_for() < patience => {}
                Err(RecvTimeoutError::Timeout) => {
                    progress.given_up.store(true, Ordering::Relaxed);
                    return Err(transient(format!("no answer for {patience:?}")));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(transient("the fetch ended without a result".to_owned()));
                }
            }
        }
    }

    fn work(&self, held: &Held, progress: &Arc<Progress>) -> Result<Fetched, SourceError> {
        held.tidy();
        let known = self.damage.clone().or_else(|| {
            mirror::exists(held.mirror()).then(|| mirror::damage(held.mirror())).flatten()
        });
        let wrong = match known {
            Some(wrong) => Some(wrong),
            None if mirror::exists(held.mirror()) => {
                match self.update(held.mirror(), held, progress) {
                    Ok(()) => return Ok(Fetched::Updated),
                    Err(failed) if !Self::is_in_the_mirror(&failed, progress) => {
                        return Err(self.told(&failed, progress));
                    }
                    Err(failed) => Some(failed.error.message().to_owned()),
                }
            }
            None => None,
        };
        self.anew(held, progress).map_err(|failed| self.told(&failed, progress))?;
        Ok(wrong.map_or(Fetched::Updated, Fetched::Anew))
    }

    /// Fetches into a new mirror, which then takes the place of whatever is there.
    fn anew(&self, held: &Held, progress: &Arc<Progress>) -> Result<(), Failed> {
        let folder = held.new_folder();
        let mut options = RepositoryInitOptions::new();
        options.bare(true).mkpath(true).external_template(false);
        Repository::init_opts(&folder, &options).map_err(Failed::here)?;
        let made = self.update(&folder, held, progress).and_then(|()| {
            let replaced = held.replace();
            replaced.map_err(|error| Failed::here(packs::io_error(&error)))
        });
        mirror::remove(&folder);
        made
    }

    fn update(&self, folder: &Path, held: &Held, progress: &Arc<Progress>) -> Result<(), Failed> {
        let offered = Rc::default();
        self.transfer(folder, progress, &offered)
            .map_err(|failed| Failed { offered: offered.take(), ..failed })?;
        packs::join(folder, &held.joining_folder(), &|| {
            progress.arrived();
        })
        .map_err(Failed::here)
    }

    fn transfer(
        &self,
        folder: &Path,
        progress: &Arc<Progress>,
        offered: &Rc<RefCell<Offered>>,
    ) -> Result<(), Failed> {
        let repository = Repository::open_bare(folder).map_err(Failed::here)?;
        let mut remote = repository.remote_anonymous(self.url.as_str()).map_err(Failed::there)?;
        let callbacks = self.keys.callbacks(offered);
        let mut connection = remote
            .connect_auth(Direction::Fetch, Some(callbacks), Some(proxy()))
            .map_err(Failed::there)?;
        progress.arrived();
        let head = connection.default_branch().ok();
        let mut options = FetchOptions::new();
        options
            .remote_callbacks(self.watched(progress, offered))
            .proxy_options(proxy())
            .download_tags(AutotagOption::None);
        let remote = connection.remote();
        remote.download(&REFSPECS, Some(&mut options)).map_err(Failed::between)?;
        // As git does: what is gone first, or a branch `a` that is gone would be in the way of a
        // new one `a/b`.
        remote.prune(None).map_err(Failed::here)?;
        let flags = RemoteUpdateFlags::UPDATE_FETCHHEAD;
        remote.update_tips(None, flags, AutotagOption::None, None).map_err(Failed::here)?;
        if let Some(head) = head
            && let Ok(branch) = std::str::from_utf8(&head)
        {
            repository.set_head(branch).map_err(Failed::here)?;
        }
        Ok(())
    }

    /// Callbacks that note what arrives, and end the transfer when it is too much or was given up.
    fn watched(
        &self,
        progress: &Arc<Progress>,
        offered: &Rc<RefCell<Offered>>,
    ) -> RemoteCallbacks<'static> {
        let mut callbacks = self.keys.callbacks(offered);
        let (text, objects) = (Arc::clone(progress), Arc::clone(progress));
        callbacks.sideband_progress(move |_| text.arrived());
        let most = self.most_bytes;
        callbacks.transfer_progress(move |so_far| {
            if so_far.received_bytes() > most {
                objects.too_much.store(true, Ordering::Relaxed);
            }
            objects.arrived() && !objects.too_much.load(Ordering::Relaxed)
        });
        callbacks
    }

    fn is_in_the_mirror(failed: &Failed, progress: &Progress) -> bool {
        !progress.too_much.load(Ordering::Relaxed) && may_be_mended(failed.stage, &failed.error)
    }

    fn told(&self, failed: &Failed, progress: &Progress) -> SourceError {
        if progress.too_much.load(Ordering::Relaxed) {
            return SourceError::Person(
                Diagnostic::new(format!(
                    "{} sends more than {} MiB; the fetch was ended, and nothing of it is kept",
                    self.place,
                    self.most_bytes >> 20
                ))
                .hint("find out who pushed what; large files belong into S3"),
            );
        }
        match failed.stage {
            Stage::Here => self.not_kept(failed.error.message()),
            // What libgit2 says of files while it fetches, it says of this host's.
            Stage::Between if failed.error.class() == ErrorClass::Os => {
                self.not_kept(failed.error.message())
            }
            stage => refusal::told(
                &self.url,
                &self.place,
                &failed.error,
                &failed.offered,
                stage == Stage::Between,
            ),
        }
    }

    fn not_kept(&self, said: &str) -> SourceError {
        let place = self.place.clone();
        let mirror = self.mirror.display();
        let detail = format!("the copy of it in {mirror} cannot be written: {said}");
        match HostCause::of(said) {
            Some(cause) => SourceError::Host { place, cause, detail },
            None => SourceError::Transient { place, detail },
        }
    }
}

/// What became of a fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fetched {
    /// The mirror says what the remote says.
    Updated,
    /// The same, but something was wrong with the mirror, so all of it was fetched again.
    Anew(String),
}

/// Where a fetch failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// At the remote.
    There,
    /// While the remote was asked by what is here.
    Between,
    /// In the mirror.
    Here,
}

struct Failed {
    error: git2::Error,
    stage: Stage,
    offered: Offered,
}

impl Failed {
    fn at(stage: Stage, error: git2::Error) -> Self {
        Self { error, stage, offered: Offered::Nothing }
    }

    fn there(error: git2::Error) -> Self {
        Self::at(Stage::There, error)
    }

    fn between(error: git2::Error) -> Self {
        Self::at(Stage::Between, error)
    }

    fn here(error: git2::Error) -> Self {
        Self::at(Stage::Here, error)
    }
}

/// Whether a fetch into a new mirror may work where this one failed: not if the network, the remote
/// or this host kept it from working.
fn may_be_mended(stage: Stage, error: &git2::Error) -> bool {
    let said = error.message();
    let is_host = HostCause::of(said).is_some() || said.contains("ermission denied");
    let of_objects = matches!(
        error.class(),
        ErrorClass::Odb
            | ErrorClass::Reference
            | ErrorClass::Object
            | ErrorClass::Indexer
            | ErrorClass::Zlib
            | ErrorClass::Config
            | ErrorClass::Repository
            | ErrorClass::Tree
            | ErrorClass::Tag
            | ErrorClass::Os
    );
    !is_host
        && match stage {
            Stage::There => false,
            Stage::Between => of_objects && error.code() != ErrorCode::Auth,
            Stage::Here => true,
        }
}

/// The proxy that git would use: of its configuration, or `https_proxy` and `no_proxy` of the
/// environment.
fn proxy() -> ProxyOptions<'static> {
    let mut proxy = ProxyOptions::new();
    proxy.auto();
    proxy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_mirror_is_made_for_what_is_wrong_here_and_not_for_what_the_remote_or_this_host_did() {
        let error = |class, said: &str| git2::Error::new(ErrorCode::GenericError, class, said);
        let odb = || error(ErrorClass::Odb, "object not found");
        assert!(may_be_mended(Stage::Here, &odb()));
        assert!(may_be_mended(Stage::Between, &odb()));
        assert!(!may_be_mended(Stage::There, &odb()));
        let net = || error(ErrorClass::Net, "early EOF");
        assert!(!may_be_mended(Stage::Between, &net()));
        let full = || error(ErrorClass::Os, "could not write: No space left on device");
        assert!(!may_be_mended(Stage::Here, &full()));
        let denied = || error(ErrorClass::Os, "failed to open: Permission denied");
        assert!(!may_be_mended(Stage::Here, &denied()));
    }
}
