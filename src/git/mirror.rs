//! The folder of a mirror. It is derived: whatever is wrong with it, it is thrown away and fetched
//! again.
//!
//! A lock beside the folder, which the kernel takes back from a process that dies, keeps those that
//! fetch apart. Whoever holds it knows that git's own locks and half-written files in the mirror
//! are of nobody who lives. Those who read take no lock: a new mirror takes the place of the old
//! one in one step, packs are joined before the parts go, and libgit2 looks again for what it does
//! not find.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use git2::{Oid, Repository};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::git::packs;

/// How often the lock is asked for.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// A mirror that nobody else writes to while this is held.
pub(super) struct Held {
    mirror: PathBuf,
    _lock: File,
}

/// The lock of a mirror; none if another process had it for all of `patience`.
pub(super) fn hold(mirror: &Path, patience: Duration) -> io::Result<Option<Held>> {
    if let Some(folder) = mirror.parent() {
        fs::create_dir_all(folder)?;
    }
    let lock = File::options().create(true).append(true).open(mirror.with_extension("lock"))?;
    let start = Instant::now();
    loop {
        match lock.try_lock() {
            Ok(()) => {
                let mirror = mirror.to_owned();
                return Ok(Some(Held { mirror, _lock: lock }));
            }
            Err(TryLockError::WouldBlock) if start.elapsed() < patience => {
                std::thread::sleep(ASK_AGAIN);
            }
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// Takes away what a fetch left that was ended from outside, unless another one is under way.
pub(super) fn tidy_up(mirror: &Path) {
    // What cannot be removed now is removed before the next fetch.
    if let Ok(Some(held)) = hold(mirror, Duration::ZERO) {
        held.tidy();
    }
}

impl Held {
    /// The mirror's folder.
    pub(super) fn mirror(&self) -> &Path {
        &self.mirror
    }

    /// Where a new mirror is made, beside the old one.
    pub(super) fn new_folder(&self) -> PathBuf {
        self.mirror.with_extension("new")
    }

    /// Where packs are joined.
    pub(super) fn joining_folder(&self) -> PathBuf {
        self.mirror.with_extension("joining")
    }

    /// Removes what those left who held the lock before and died.
    pub(super) fn tidy(&self) {
        remove(&self.new_folder());
        remove(&self.joining_folder());
        remove(&self.old_folder());
        remove_locks(&self.mirror, 0);
        for folder in ["objects", "objects/pack"] {
            for path in files(&self.mirror.join(folder)) {
                if is_temporary(&path) {
                    remove(&path);
                }
            }
        }
    }

    /// Puts the new mirror in place of the old one, which goes.
    pub(super) fn replace(&self) -> io::Result<()> {
        let (new, old) = (self.new_folder(), self.old_folder());
        match renameat_with(CWD, &new, CWD, &self.mirror, RenameFlags::EXCHANGE) {
            Ok(()) => remove(&new),
            Err(_) if fs::symlink_metadata(&self.mirror).is_ok() => {
                // A file system that cannot exchange: for a moment there is none, which readers
                // take for one that was not fetched yet.
                fs::rename(&self.mirror, &old)?;
                fs::rename(&new, &self.mirror)?;
                remove(&old);
            }
            Err(_) => fs::rename(&new, &self.mirror)?,
        }
        Ok(())
    }

    fn old_folder(&self) -> PathBuf {
        self.mirror.with_extension("old")
    }
}

/// Whether there is anything at a mirror's place.
pub(super) fn exists(mirror: &Path) -> bool {
    fs::symlink_metadata(mirror).is_ok()
}

/// What is wrong with a mirror, as far as it can be told without reading its objects.
pub(super) fn damage(mirror: &Path) -> Option<String> {
    let repository = match Repository::open_bare(mirror) {
        Ok(repository) => repository,
        Err(error) => return Some(error.message().to_owned()),
    };
    if let Some(pack) = packs::all(mirror).iter().find(|pack| !pack.is_whole()) {
        return Some(format!("{} is cut", pack.name()));
    }
    if let Some(path) = loose_references(&mirror.join("refs"), 0).find(|path| !is_reference(path)) {
        return Some(format!("{} is no reference", path.display()));
    }
    broken_reference(&repository).unwrap_or_else(|error| Some(error.message().to_owned()))
}

fn broken_reference(repository: &Repository) -> Result<Option<String>, git2::Error> {
    repository.find_reference("HEAD")?;
    let odb = repository.odb()?;
    for reference in repository.references()? {
        let reference = reference?;
        if let Some(target) = reference.target()
            && !odb.exists(target)
        {
            let name = String::from_utf8_lossy(reference.name_bytes()).into_owned();
            return Ok(Some(format!("{name} names {target}, which is missing")));
        }
    }
    Ok(None)
}

/// Folders below `refs/` are looked at as deep as this.
const DEEPEST: usize = 64;

fn loose_references(folder: &Path, depth: usize) -> Box<dyn Iterator<Item = PathBuf>> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    Box::new(entries.flat_map(move |entry| -> Box<dyn Iterator<Item = _>> {
        let path = entry.path();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder && depth < DEEPEST {
            loose_references(&path, depth + 1)
        } else {
            Box::new(std::iter::once(path))
        }
    }))
}

fn is_reference(file: &Path) -> bool {
    let Ok(text) = fs::read_to_string(file) else {
        return false;
    };
    let text = text.trim_end();
    text.starts_with("ref: ") || (text.len() == 40 && Oid::from_str(text).is_ok())
}

/// Git's own locks, of whatever date: nobody holds them.
fn remove_locks(folder: &Path, depth: usize) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if path.extension().is_some_and(|end| end == "lock") {
            remove(&path);
        } else if is_folder && depth < DEEPEST && entry.file_name() != "objects" {
            remove_locks(&path, depth + 1);
        }
    }
}

/// Files that libgit2 or git write before they rename them, and packs without an index: nobody
/// finds them.
fn is_temporary(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_orphan = || {
        let is_pack = path.extension().is_some_and(|end| end == "pack");
        is_pack && !path.with_extension("idx").exists()
    };
    name.contains("_git2_") || name.starts_with("tmp_") || is_orphan()
}

pub(super) fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let files = entries.filter(|entry| !entry.file_type().is_ok_and(|kind| kind.is_dir()));
    files.map(|entry| entry.path()).collect()
}

/// Removes a file or a folder. What stays is tried again at the next fetch.
pub(super) fn remove(path: &Path) {
    let is_folder = fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
    let _ = if is_folder { fs::remove_dir_all(path) } else { fs::remove_file(path) };
}

/// The last bytes of a file.
pub(super) fn tail<const N: usize>(file: &Path, before_end: u64) -> io::Result<(u64, [u8; N])> {
    let file = File::open(file)?;
    let length = file.metadata()?.len();
    let mut bytes = [0; N];
    let at = length.checked_sub(before_end);
    file.read_exact_at(&mut bytes, at.ok_or(io::ErrorKind::UnexpectedEof)?)?;
    Ok((length, bytes))
}
