//! A repository of this host, bare or with a work tree, followed by one of its branches or tags.
//!
//! `plain` says what its branch names where that is simple; else, and for everything that has to be
//! read, `store` opens it, once. `watch` says when it changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use git2::{Repository, RepositoryOpenFlags};

use crate::git::error::{reftable, refused};
use crate::git::named::NamedRevision;
use crate::git::plain::PlainRepository;
use crate::git::snapshot::Snapshot;
use crate::git::store::{LazyStore, Store};
use crate::git::tree::CommitTree;
use crate::git::uncommitted::{Glance, compared, glance};
use crate::git::{CommitFacts, GitSource, snapshot};
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::Revision;
use reconciler_model::source::{GitTree, SourceError};

/// A repository of this host.
pub struct LocalRepository {
    /// What can be told without libgit2; none if anything about it is unusual.
    plain: Option<PlainRepository>,
    reference: Option<String>,
    place: String,
    git_dir: PathBuf,
    store: Arc<LazyStore>,
}

impl LocalRepository {
    /// Opens the repository that `path` is, or is in. `reference` is the branch or tag to follow;
    /// none: what `HEAD` names.
    pub fn open(path: &Path, reference: Option<String>) -> Result<Self, SourceError> {
        let (from, follows) = (path.to_owned(), reference.clone());
        let store = LazyStore::new(move || opened(&from, follows.clone()));
        let plain = PlainRepository::find(path);
        let (place, git_dir) = if let Some(plain) = &plain {
            (plain.folder.display().to_string(), plain.git_dir.clone())
        } else {
            let store = store.get()?;
            (store.place().to_owned(), store.git_dir().to_owned())
        };
        Ok(Self { plain, reference, place, git_dir, store: Arc::new(store) })
    }

    /// The folder that holds `HEAD`, and mostly `refs/` and `objects/`.
    #[must_use]
    pub fn git_dir(&self) -> &Path {
        &self.git_dir
    }

    /// The commit of the branch that is followed, where it can be told without libgit2.
    fn plain_tip(&self) -> Option<Revision> {
        let plain = self.plain.as_ref()?;
        match &self.reference {
            Some(name) => plain.tip(name),
            None => plain.tip(&plain.head()?),
        }
    }
}

fn opened(path: &Path, reference: Option<String>) -> Result<Store, SourceError> {
    let place = path.display().to_string();
    let repository = Repository::discover(path).map_err(|error| refused(&place, path, &error))?;
    let folder = repository.workdir().unwrap_or_else(|| repository.path());
    let place = folder.display().to_string();
    let place = place.trim_end_matches('/').to_owned();
    if repository.commondir().join("reftable").is_dir() {
        return Err(SourceError::Person(reftable(&place)));
    }
    let repository = with_quarantine(repository);
    Ok(Store::new(repository, again, place, reference))
}

/// While git runs a hook that may refuse a push, what was pushed is kept apart from the
/// repository's own objects.
fn with_quarantine(repository: Repository) -> Repository {
    if let Some(folder) = std::env::var_os("GIT_QUARANTINE_PATH").filter(|path| !path.is_empty())
        && let (Ok(odb), Some(folder)) = (repository.odb(), folder.to_str())
    {
        // Without it the pushed commit is not found, which is told.
        let _ = odb.add_disk_alternate(folder);
    }
    repository
}

impl GitSource for LocalRepository {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn resolve(&self, rev: Option<&str>) -> Result<Revision, SourceError> {
        if rev.is_none()
            && let Some(revision) = self.plain_tip()
        {
            return Ok(revision);
        }
        self.store.get()?.resolve(rev)
    }

    fn reference(&self) -> String {
        let plain = || {
            let head = self.plain.as_ref().and_then(PlainRepository::head);
            self.reference.clone().or(head)
        };
        plain().unwrap_or_else(|| match self.store.get() {
            Ok(store) => store.reference(),
            Err(_) => "HEAD".to_owned(),
        })
    }

    fn at(&self, revision: &Revision) -> Result<Box<dyn GitTree>, SourceError> {
        let tree = CommitTree::new(&self.store, revision);
        // What was told without libgit2 is opened when something is read of it that is not
        // remembered.
        if self.plain_tip().as_ref() != Some(revision) {
            tree.look()?;
        }
        Ok(Box::new(tree))
    }

    fn fetch(&self) -> Result<(), SourceError> {
        Ok(())
    }

    fn descends(&self, new: &Revision, old: &Revision) -> Result<bool, SourceError> {
        if new == old {
            return Ok(true);
        }
        self.store.get()?.descends(new, old)
    }

    fn describe(&self, revision: &Revision) -> Result<CommitFacts, SourceError> {
        self.store.get()?.describe(revision)
    }

    fn touched_since(
        &self,
        old: &Revision,
        new: &Revision,
        paths: &[String],
        most: usize,
    ) -> Result<Vec<Revision>, SourceError> {
        self.store.get()?.touched_since(old, new, paths, most)
    }

    fn named(&self, rev: Option<&str>) -> Result<NamedRevision, SourceError> {
        self.store.get()?.named(rev)
    }

    fn git_dir(&self) -> PathBuf {
        self.git_dir.clone()
    }

    fn snapshot(&self, what: &Snapshot) -> Result<Option<Box<dyn GitTree>>, SourceError> {
        snapshot::read(&self.git_dir, &self.place, what)
    }

    fn work_tree(&self) -> Option<PathBuf> {
        Repository::open(&self.git_dir).ok()?.workdir().map(Path::to_owned)
    }

    fn uncommitted(&self, tree: &dyn GitTree, roots: &[String], most: usize) -> Vec<String> {
        if let Some(plain) = &self.plain {
            let is_bare = plain.folder == plain.git_dir;
            if is_bare || glance(plain, tree, roots, most) != Glance::Unsure {
                return Vec::new();
            }
        }
        let store = self.store.get();
        let found = store.and_then(|store| {
            store.with(|repository| {
                if repository.is_bare() {
                    return Ok(Vec::new());
                }
                // What cannot be compared is no reason to say nothing else.
                Ok(compared(repository, roots).unwrap_or_default())
            })
        });
        found.unwrap_or_default()
    }

    fn ambiguity(&self, rev: Option<&str>) -> Option<Diagnostic> {
        let name = rev.or(self.reference.as_deref())?;
        match &self.plain {
            Some(plain) if !plain.may_have_tag(name) => None,
            _ => self.store.get().ok()?.ambiguity(name),
        }
    }

    fn watched(&self) -> Option<&Path> {
        Some(&self.git_dir)
    }
}

fn again(git_dir: &Path) -> Result<Repository, git2::Error> {
    let nothing: [&Path; 0] = [];
    Repository::open_ext(git_dir, RepositoryOpenFlags::NO_SEARCH, nothing).map(with_quarantine)
}
