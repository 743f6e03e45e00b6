//! What is not committed yet, read as if it were a commit: the index, or the work tree. For `check`
//! and `base find` only: nothing of it is ever planned or built.
//!
//! libgit2 makes a tree of it. The objects of that tree stay in memory: the repository and its
//! index are left as they are.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use git2::{Index, IndexAddOption, IndexEntryExtendedFlag, Oid, Repository};

use crate::git::error::refused;
use crate::git::tree::{Reader, child, id, oid};
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::Revision;
use reconciler_model::source::{Entry, EntryKind, Files, GitTree, ObjectId, SourceError};

/// What is looked at in place of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Snapshot {
    /// What would be committed: the index, or the one that git names to a hook.
    Index(Option<PathBuf>),
    /// The files as they lie there, tracked or not, less the ignored ones.
    WorkTree,
}

/// The objects of the snapshot go here before any other place.
const FIRST: i32 = 1_000;

/// A tree that was made in memory.
struct SnapshotTree {
    repository: Mutex<Repository>,
    place: String,
    root: Oid,
    revision: Revision,
}

/// Reads what is not committed yet of the repository at `path`; none if it has no work tree.
pub(super) fn read(
    path: &Path,
    place: &str,
    what: &Snapshot,
) -> Result<Option<Box<dyn GitTree>>, SourceError> {
    let repository = Repository::open(path).map_err(|error| refused(place, path, &error))?;
    if repository.is_bare() {
        return Ok(None);
    }
    let root = tree_of(&repository, place, what)?;
    Ok(Some(Box::new(SnapshotTree {
        repository: Mutex::new(repository),
        place: place.to_owned(),
        root,
        revision: Revision::new(root.to_string()),
    })))
}

fn tree_of(repository: &Repository, place: &str, what: &Snapshot) -> Result<Oid, SourceError> {
    let failed = |error: git2::Error| failed(place, what, &error);
    let odb = repository.odb().map_err(failed)?;
    odb.add_new_mempack_backend(FIRST).map_err(failed)?;
    let mut index = match what {
        Snapshot::Index(Some(file)) => Index::open(file),
        _ => repository.index(),
    }
    .map_err(failed)?;
    if *what == Snapshot::WorkTree {
        index.add_all(["*"], IndexAddOption::DEFAULT, None).map_err(failed)?;
    }
    if index.has_conflicts() {
        return Err(SourceError::Person(
            Diagnostic::new(format!("{place} has files that are not merged yet"))
                .hint("`git status` names them"),
        ));
    }
    // `git add --intent-to-add` says that a file will be added; git commits nothing of it.
    for path in intended(&index) {
        index.remove(&path, 0).map_err(failed)?;
    }
    index.write_tree_to(repository).map_err(failed)
}

fn intended(index: &Index) -> Vec<PathBuf> {
    let flag = IndexEntryExtendedFlag::INTENT_TO_ADD.bits();
    let entries = index.iter().filter(|entry| entry.flags_extended & flag != 0);
    entries.map(|entry| PathBuf::from(String::from_utf8_lossy(&entry.path).into_owned())).collect()
}

fn failed(place: &str, what: &Snapshot, error: &git2::Error) -> SourceError {
    let said = error.message();
    let what = match what {
        Snapshot::Index(_) => "the index",
        Snapshot::WorkTree => "the work tree",
    };
    let wrong = Diagnostic::new(format!("{what} of {place} cannot be read: {said}"));
    SourceError::Person(if said.contains("extension") {
        wrong.hint("write it in git's plain format: git update-index --no-split-index; git sparse-checkout reapply --no-sparse-index")
    } else {
        wrong.hint("`git status` in it may say more")
    })
}

impl SnapshotTree {
    fn read<T>(
        &self,
        read: impl FnOnce(&Reader<'_>) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        let repository = self.repository.lock().unwrap_or_else(PoisonError::into_inner);
        read(&Reader::new(&repository, &self.place)?).map_err(SourceError::final_word)
    }
}

impl GitTree for SnapshotTree {
    fn revision(&self) -> &Revision {
        &self.revision
    }

    fn entry(&self, path: &str) -> Result<Option<Entry>, SourceError> {
        let root = Entry { name: String::new(), kind: EntryKind::Tree, id: id(self.root) };
        self.read(|reader| child(reader, &root, path))
    }

    fn list(&self, tree: ObjectId) -> Result<Vec<Entry>, SourceError> {
        self.read(|reader| reader.entries(oid(tree), ""))
    }

    fn blob(&self, blob: ObjectId, path: &str) -> Result<Arc<[u8]>, SourceError> {
        self.read(|reader| reader.blob(oid(blob), path))
    }

    fn files(&self, tree: ObjectId, path: &str) -> Result<Files, SourceError> {
        let mut files = Files::new();
        self.read(|reader| reader.walk(oid(tree), path, &mut files))?;
        Ok(files)
    }
}
