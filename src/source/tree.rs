//! A commit's trees and blobs, read from the object database through libgit2.
//!
//! `git2::Repository` may move between threads but not be shared, so it stands behind a lock; a lock taken once an object costs
//! tens of nanoseconds beside the microseconds of inflating it.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use git2::{ObjectType, Oid, Repository};

use crate::diagnostic::Diagnostic;
use crate::ids::Revision;
use crate::source::{
    Entry, EntryKind, Files, GitTree, MAX_FILE_BYTES, ObjectId, SourceError, SourceFile,
};

/// One commit of a repository.
pub(super) struct CommitTree {
    repository: Arc<Mutex<Repository>>,
    root: Oid,
    revision: Revision,
    place: String,
}

impl CommitTree {
    /// Opens a commit.
    pub(super) fn open(
        repository: &Arc<Mutex<Repository>>,
        revision: &Revision,
        place: &str,
    ) -> Result<Self, SourceError> {
        let locked = lock(repository);
        let read = || {
            locked
                .find_commit(Oid::from_str(revision.as_str())?)
                .map(|commit| commit.tree_id())
        };
        let root = read()
            .map_err(|error| missing(place, &format!("commit {}", revision.short()), &error))?;
        drop(locked);
        Ok(Self {
            repository: Arc::clone(repository),
            root,
            revision: revision.clone(),
            place: place.to_owned(),
        })
    }

    fn repository(&self) -> MutexGuard<'_, Repository> {
        lock(&self.repository)
    }

    fn walk(
        &self,
        tree: Oid,
        folder: &str,
        prefix: &str,
        files: &mut Files,
    ) -> Result<(), SourceError> {
        for entry in self.entries(tree, folder)? {
            let path = format!("{prefix}{}", entry.name);
            if entry.kind == EntryKind::Tree {
                self.walk(oid(entry.id), folder, &format!("{path}/"), files)?;
                continue;
            }
            let content = match entry.kind {
                EntryKind::Submodule => Arc::from([].as_slice()),
                _ => self.blob(entry.id, &format!("{folder}/{path}"))?,
            };
            files.insert(
                path,
                SourceFile {
                    kind: entry.kind,
                    id: entry.id,
                    content,
                },
            );
        }
        Ok(())
    }

    fn entries(&self, tree: Oid, folder: &str) -> Result<Vec<Entry>, SourceError> {
        let repository = self.repository();
        let tree = repository
            .find_tree(tree)
            .map_err(|error| missing(&self.place, &format!("tree {tree} of {folder}"), &error))?;
        tree.iter()
            .map(|entry| {
                let name = std::str::from_utf8(entry.name_bytes()).map_err(|_| {
                    let shown = String::from_utf8_lossy(entry.name_bytes()).into_owned();
                    SourceError::Person(
                        Diagnostic::new(format!("the file name {shown:?} is not UTF-8"))
                            .in_file(folder)
                            .hint("rename the file"),
                    )
                })?;
                Ok(Entry {
                    name: name.to_owned(),
                    kind: kind(entry.filemode()),
                    id: id(entry.id()),
                })
            })
            .collect()
    }
}

impl GitTree for CommitTree {
    fn revision(&self) -> &Revision {
        &self.revision
    }

    fn entry(&self, path: &str) -> Result<Option<Entry>, SourceError> {
        let root = Entry {
            name: String::new(),
            kind: EntryKind::Tree,
            id: id(self.root),
        };
        if path.is_empty() {
            return Ok(Some(root));
        }
        let repository = self.repository();
        let tree = repository
            .find_tree(self.root)
            .map_err(|error| missing(&self.place, "the root tree", &error))?;
        match tree.get_path(Path::new(path)) {
            Ok(entry) => Ok(Some(Entry {
                name: path.rsplit('/').next().unwrap_or(path).to_owned(),
                kind: kind(entry.filemode()),
                id: id(entry.id()),
            })),
            Err(error) if error.code() == git2::ErrorCode::NotFound => Ok(None),
            Err(error) => Err(missing(&self.place, path, &error)),
        }
    }

    fn list(&self, tree: ObjectId) -> Result<Vec<Entry>, SourceError> {
        self.entries(oid(tree), "")
    }

    fn blob(&self, blob: ObjectId, path: &str) -> Result<Arc<[u8]>, SourceError> {
        let repository = self.repository();
        let unreadable = |error: git2::Error| missing(&self.place, path, &error);
        let odb = repository.odb().map_err(unreadable)?;
        let object = oid(blob);
        let (size, kind) = odb.read_header(object).map_err(unreadable)?;
        if size as u64 > MAX_FILE_BYTES {
            return Err(SourceError::Person(
                Diagnostic::new(format!(
                    "has {} MB; files above {} MB are not read",
                    size / (1024 * 1024),
                    MAX_FILE_BYTES / (1024 * 1024)
                ))
                .in_file(path)
                .hint("keep large files in S3 and fetch them in a provisioner, or name it in `reconciler.ignore`"),
            ));
        }
        if kind != ObjectType::Blob {
            return Err(SourceError::Person(
                Diagnostic::new("is no file").in_file(path),
            ));
        }
        let object = odb.read(object).map_err(unreadable)?;
        Ok(Arc::from(object.data()))
    }

    fn files(&self, tree: ObjectId, path: &str) -> Result<Files, SourceError> {
        let mut files = Files::new();
        self.walk(oid(tree), path, "", &mut files)?;
        Ok(files)
    }
}

fn lock(repository: &Mutex<Repository>) -> MutexGuard<'_, Repository> {
    repository.lock().unwrap_or_else(PoisonError::into_inner)
}

fn id(oid: Oid) -> ObjectId {
    let mut bytes = [0; 20];
    bytes.copy_from_slice(&oid.as_bytes()[..20]);
    ObjectId(bytes)
}

fn oid(id: ObjectId) -> Oid {
    Oid::from_bytes(&id.0).unwrap_or(Oid::ZERO_SHA1)
}

fn kind(mode: i32) -> EntryKind {
    match mode {
        0o040_000 => EntryKind::Tree,
        0o100_755 => EntryKind::Executable,
        0o120_000 => EntryKind::Symlink,
        0o160_000 => EntryKind::Submodule,
        _ => EntryKind::File,
    }
}

fn missing(place: &str, what: &str, error: &git2::Error) -> SourceError {
    SourceError::Person(
        Diagnostic::new(format!("{what} cannot be read from {place}: {}", error.message())).hint(
            "the repository may be a partial or damaged clone: try `git fsck`, or `git fetch --refetch`",
        ),
    )
}
