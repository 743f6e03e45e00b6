//! Wakes when references of a repository may have moved: by inotify at once, and by the caller's
//! interval in any case.
//!
//! A wake is a hint: the receiver reads the reference again and compares. Nothing is said about
//! what moved. The watch itself survives what happens to git's folders (packed references, a
//! replaced `refs/`), and does without inotify where its limits are reached.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, CreateKind, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

/// One push moves several files; they make one wake.
const DEBOUNCE: Duration = Duration::from_millis(4);

/// A folder below `refs/` that just appeared may have been written before it was watched: look
/// again after this.
const SECOND_LOOK: Duration = Duration::from_millis(60);

/// The watch on one repository. Dropping it ends its thread.
pub struct RefWatch {
    folders: Vec<Folder>,
    signal: Arc<Signal>,
    watcher: Option<RecommendedWatcher>,
    warned: bool,
    pending: bool,
}

/// What the watching thread tells the waiting task.
#[derive(Default)]
struct Signal {
    wake: Notify,
    folder_appeared: AtomicBool,
}

/// A folder that is watched.
struct Folder {
    path: PathBuf,
    mode: RecursiveMode,
    /// Device and inode of what is watched now: a folder that was replaced has another one.
    armed: Option<(u64, u64)>,
}

impl RefWatch {
    /// Watches the repository whose `HEAD` is in `git_dir`. Never fails: what cannot be watched is
    /// polled.
    #[must_use]
    pub fn start(git_dir: &Path) -> Self {
        let common = common_dir(git_dir);
        let mut folders = vec![Folder::new(git_dir.to_owned(), RecursiveMode::NonRecursive)];
        if common != git_dir {
            folders.push(Folder::new(common.clone(), RecursiveMode::NonRecursive));
        }
        folders.push(Folder::new(common.join("refs"), RecursiveMode::Recursive));
        let mut watch =
            Self { folders, signal: Arc::default(), watcher: None, warned: false, pending: false };
        watch.arm();
        watch
    }

    /// Whether changes are seen at once; if not, only the interval given to [`Self::changed`] finds
    /// them.
    #[must_use]
    pub fn is_watching(&self) -> bool {
        self.watcher.is_some() && self.folders.iter().all(|folder| folder.armed.is_some())
    }

    /// Returns when references may have moved, at the latest after `poll`. No wake is lost when the
    /// future is dropped.
    pub async fn changed(&mut self, poll: Duration) {
        if !self.pending {
            let limit = if self.signal.folder_appeared.swap(false, Ordering::Relaxed) {
                SECOND_LOOK.min(poll)
            } else {
                poll
            };
            let woken = tokio::time::timeout(limit, self.signal.wake.notified()).await;
            self.pending = woken.is_ok();
        }
        if self.pending {
            tokio::time::sleep(DEBOUNCE).await;
            self.pending = false;
        }
        self.arm();
    }

    /// Watches each folder that is not watched, or is not any more the one that is.
    fn arm(&mut self) {
        let stale =
            |folder: &Folder| folder.armed.is_none() || folder.armed != identity(&folder.path);
        if self.watcher.is_some() && !self.folders.iter().any(stale) {
            return;
        }
        if let Err(error) = self.try_arm() {
            self.watcher = None;
            self.folders.iter_mut().for_each(|folder| folder.armed = None);
            if !self.warned {
                self.warned = true;
                warn(&self.folders[0].path, &error);
            }
        }
    }

    fn try_arm(&mut self) -> notify::Result<()> {
        let watcher = match &mut self.watcher {
            Some(watcher) => watcher,
            none => none.insert(watcher(&self.signal, &self.folders)?),
        };
        for folder in &mut self.folders {
            let now = identity(&folder.path);
            if now.is_some() && folder.armed == now {
                continue;
            }
            // The watch of a folder that is gone is gone as well; then there is nothing to take
            // back.
            let _ = watcher.unwatch(&folder.path);
            folder.armed = None;
            if now.is_some() {
                watcher.watch(&folder.path, folder.mode)?;
                folder.armed = now;
            }
        }
        Ok(())
    }
}

impl Folder {
    fn new(path: PathBuf, mode: RecursiveMode) -> Self {
        Self { path, mode, armed: None }
    }
}

/// A linked work tree keeps its own `HEAD`, and names the folder with everything else in a file
/// `commondir`.
#[must_use]
pub fn common_dir(git_dir: &Path) -> PathBuf {
    match std::fs::read_to_string(git_dir.join("commondir")) {
        Ok(common) => git_dir.join(common.trim()),
        Err(_) => git_dir.to_owned(),
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

fn watcher(signal: &Arc<Signal>, folders: &[Folder]) -> notify::Result<RecommendedWatcher> {
    let signal = Arc::clone(signal);
    let folders: Vec<_> = folders.iter().map(|folder| (folder.path.clone(), folder.mode)).collect();
    notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else {
            // A folder could not be watched: look.
            signal.wake.notify_one();
            return;
        };
        if matters(&event, &folders) {
            if event.kind == EventKind::Create(CreateKind::Folder) {
                signal.folder_appeared.store(true, Ordering::Relaxed);
            }
            signal.wake.notify_one();
        }
    })
}

/// Reading wakes nobody (the receiver reads), nor do the locks that git writes before it renames
/// them, nor the index.
fn matters(event: &notify::Event, folders: &[(PathBuf, RecursiveMode)]) -> bool {
    let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
    if event.kind.is_access() && event.kind != written {
        return false;
    }
    event.need_rescan() || event.paths.iter().any(|path| holds_references(path, folders))
}

fn holds_references(path: &Path, folders: &[(PathBuf, RecursiveMode)]) -> bool {
    if path.extension().is_some_and(|extension| extension == "lock") {
        return false;
    }
    let named = |name: &str| path.file_name().is_some_and(|file| file == name);
    ["HEAD", "packed-refs", "refs"].into_iter().any(named)
        || folders.iter().any(|(folder, mode)| match mode {
            RecursiveMode::Recursive => path.starts_with(folder),
            RecursiveMode::NonRecursive => path == folder,
        })
}

fn warn(git_dir: &Path, error: &notify::Error) {
    let hint = match &error.kind {
        notify::ErrorKind::MaxFilesWatch => "; raise fs.inotify.max_user_watches",
        notify::ErrorKind::Io(io) if io.raw_os_error() == Some(EMFILE) => {
            "; raise fs.inotify.max_user_instances"
        }
        _ => "",
    };
    tracing::warn!(
        repository = %git_dir.display(),
        "changes are not seen at once, only at each interval: {error}{hint}"
    );
}

/// The error number for "too many open files", which `inotify_init` gives at its limit of
/// instances.
const EMFILE: i32 = rustix::io::Errno::MFILE.raw_os_error();
