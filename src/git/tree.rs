//! A commit's trees and blobs, read from the object database through libgit2.
//!
//! It reads what it is asked for and no more: an entry costs the trees on its path, a listing one
//! tree.

use std::sync::{Arc, OnceLock};

use git2::{ObjectType, Odb, Oid, Repository, Tree};

use crate::git::error::{no_commit, unreadable};
use crate::git::store::LazyStore;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::Revision;
use reconciler_model::source::{
    Entry, EntryKind, Files, GitTree, MAX_FILE_BYTES, ObjectId, SourceError, SourceFile,
};

/// One commit of a repository.
pub(super) struct CommitTree {
    store: Arc<LazyStore>,
    root: OnceLock<Oid>,
    revision: Revision,
}

impl CommitTree {
    /// A commit that is looked at when something of it is asked.
    pub(super) fn new(store: &Arc<LazyStore>, revision: &Revision) -> Self {
        Self { store: Arc::clone(store), root: OnceLock::new(), revision: revision.clone() }
    }

    /// The commit's root; an error if there is no such commit.
    pub(super) fn look(&self) -> Result<Oid, SourceError> {
        if let Some(root) = self.root.get() {
            return Ok(*root);
        }
        let (store, revision) = (self.store.get()?, &self.revision);
        let root = store.with(|repository| {
            Oid::from_str(revision.as_str())
                .and_then(|id| repository.find_commit(id))
                .map(|commit| commit.tree_id())
                .map_err(|error| {
                    no_commit(store.place(), &format!("commit {}", revision.short()), &error)
                })
        })?;
        Ok(*self.root.get_or_init(|| root))
    }

    fn read<T>(
        &self,
        mut read: impl FnMut(&Reader<'_>) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        let store = self.store.get()?;
        let place = store.place();
        store.with(|repository| read(&Reader::new(repository, place)?))
    }
}

impl GitTree for CommitTree {
    fn revision(&self) -> &Revision {
        &self.revision
    }

    fn entry(&self, path: &str) -> Result<Option<Entry>, SourceError> {
        let root = Entry { name: String::new(), kind: EntryKind::Tree, id: id(self.look()?) };
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

/// The entry at a path below another.
pub(super) fn child(
    reader: &Reader<'_>,
    root: &Entry,
    path: &str,
) -> Result<Option<Entry>, SourceError> {
    let mut here = root.clone();
    for name in path.split('/').filter(|name| !name.is_empty()) {
        if here.kind != EntryKind::Tree || is_no_name(name) {
            return Ok(None);
        }
        let tree = reader.tree(oid(here.id), path)?;
        let Some(entry) = tree.get_name(name) else {
            return Ok(None);
        };
        here = Entry { name: name.to_owned(), kind: kind(entry.filemode()), id: id(entry.id()) };
    }
    Ok(Some(here))
}

/// The object database under one handle, for as long as one question takes.
pub(super) struct Reader<'r> {
    repository: &'r Repository,
    odb: Odb<'r>,
    place: &'r str,
}

impl<'r> Reader<'r> {
    /// Reads from this repository; `place` is its name for people.
    pub(super) fn new(repository: &'r Repository, place: &'r str) -> Result<Self, SourceError> {
        let odb =
            repository.odb().map_err(|error| unreadable(place, "the object database", &error))?;
        Ok(Self { repository, odb, place })
    }

    fn tree(&self, tree: Oid, path: &str) -> Result<Tree<'_>, SourceError> {
        self.repository.find_tree(tree).map_err(|error| {
            let what = if path.is_empty() {
                format!("tree {tree}")
            } else {
                format!("tree {tree} of {path}")
            };
            unreadable(self.place, &what, &error)
        })
    }

    pub(super) fn entries(&self, tree: Oid, folder: &str) -> Result<Vec<Entry>, SourceError> {
        let tree = self.tree(tree, folder)?;
        tree.iter()
            .map(|entry| {
                let name = std::str::from_utf8(entry.name_bytes())
                    .map_err(|_| not_utf8(entry.name_bytes(), folder))?;
                if is_no_name(name) {
                    return Err(forged(name, folder));
                }
                Ok(Entry {
                    name: name.to_owned(),
                    kind: kind(entry.filemode()),
                    id: id(entry.id()),
                })
            })
            .collect()
    }

    /// How large a file is; refuses what is none, or is too large.
    fn size(&self, blob: Oid, path: &str) -> Result<u64, SourceError> {
        let (size, kind) = self.odb.read_header(blob).map_err(|error| {
            let what = if path.is_empty() { "a file" } else { path };
            unreadable(self.place, what, &error)
        })?;
        if size as u64 > MAX_FILE_BYTES {
            return Err(too_large(size, path));
        }
        if kind != ObjectType::Blob {
            return Err(SourceError::Person(
                Diagnostic::new(format!("is a {}, not a file", kind.str())).in_file(path),
            ));
        }
        Ok(size as u64)
    }

    pub(super) fn blob(&self, blob: Oid, path: &str) -> Result<Arc<[u8]>, SourceError> {
        self.size(blob, path)?;
        let failed = |error: git2::Error| {
            let what = if path.is_empty() { "a file" } else { path };
            unreadable(self.place, what, &error)
        };
        let object = self.odb.read(blob).map_err(failed)?;
        Ok(Arc::from(object.data()))
    }

    /// Takes in all files below a tree, as far as [`MOST_FILES`], [`DEEPEST_FOLDER`] and
    /// [`MOST_BYTES`] allow. A tree costs nothing to make that is deeper than any stack, or that
    /// names one subtree again and again.
    pub(super) fn walk(
        &self,
        tree: Oid,
        folder: &str,
        files: &mut Files,
    ) -> Result<(), SourceError> {
        let mut waiting = vec![(tree, String::new(), 0)];
        let (mut folders, mut bytes) = (0, 0);
        while let Some((tree, prefix, depth)) = waiting.pop() {
            folders += 1;
            for entry in self.entries(tree, &format!("{folder}/{prefix}"))? {
                let path = format!("{prefix}{}", entry.name);
                if entry.kind == EntryKind::Tree {
                    if depth == DEEPEST_FOLDER {
                        let said = format!("folders are more than {DEEPEST_FOLDER} deep");
                        return Err(too_much(&said, folder));
                    }
                    waiting.push((oid(entry.id), format!("{path}/"), depth + 1));
                    continue;
                }
                let content = if entry.kind == EntryKind::Submodule {
                    Arc::from([].as_slice())
                } else {
                    let at = format!("{folder}/{path}");
                    bytes += self.size(oid(entry.id), &at)?;
                    if bytes > MOST_BYTES {
                        let said = format!("files have more than {} MB", MOST_BYTES >> 20);
                        return Err(too_much(&said, folder));
                    }
                    self.blob(oid(entry.id), &at)?
                };
                let file = SourceFile { kind: entry.kind, id: entry.id, content };
                files.insert(path, file);
            }
            if files.len() + folders + waiting.len() > MOST_FILES {
                let said = format!("there are more than {MOST_FILES} files and folders");
                return Err(too_much(&said, folder));
            }
        }
        Ok(())
    }
}

/// Folders below a step's are read as deep as this.
pub(super) const DEEPEST_FOLDER: usize = 64;

/// So many files and folders are read below one folder.
pub(super) const MOST_FILES: usize = 100_000;

/// So many bytes are read below one folder: they are held in memory while a step is looked at.
pub(super) const MOST_BYTES: u64 = 1 << 30;

fn too_much(said: &str, folder: &str) -> SourceError {
    SourceError::Person(
        Diagnostic::new(format!("is not read: {said}"))
            .in_file(folder)
            .hint("keep what a step does not need out of its folder and of what it includes; large files belong into S3"),
    )
}

/// What git never writes as a name and `git fsck` refuses, but a tree made by hand can hold: it
/// would lead somewhere else when the files are laid out.
fn is_no_name(name: &str) -> bool {
    name.contains('/') || matches!(name, "" | "." | "..") || name.eq_ignore_ascii_case(".git")
}

fn forged(name: &str, folder: &str) -> SourceError {
    SourceError::Person(
        Diagnostic::new(format!("the tree holds the name {name:?}, which git never writes"))
            .in_file(if folder.is_empty() { "/" } else { folder.trim_end_matches('/') })
            .hint("somebody made this tree by hand: find out who pushed it"),
    )
}

fn not_utf8(name: &[u8], folder: &str) -> SourceError {
    let shown = name.escape_ascii();
    SourceError::Person(
        Diagnostic::new(format!("the file name `{shown}` is not UTF-8"))
            .in_file(if folder.is_empty() { "/" } else { folder.trim_end_matches('/') })
            .hint("rename the file, and commit"),
    )
}

fn too_large(size: usize, path: &str) -> SourceError {
    const MEGABYTE: u64 = 1024 * 1024;
    SourceError::Person(
        Diagnostic::new(format!(
            "has {} MB; files above {} MB are not read",
            size as u64 / MEGABYTE,
            MAX_FILE_BYTES / MEGABYTE
        ))
        .in_file(path)
        .hint("keep large files in S3 and fetch them in a provisioner"),
    )
}

pub(super) fn id(oid: Oid) -> ObjectId {
    let mut bytes = [0; 20];
    bytes.copy_from_slice(&oid.as_bytes()[..20]);
    ObjectId(bytes)
}

pub(super) fn oid(id: ObjectId) -> Oid {
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
