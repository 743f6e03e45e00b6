//! A repository of this host, bare or with a work tree, followed by one of its branches or tags.
//!
//! Opening it is all that is done here; `store` reads it, `watch` says when it changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use git2::{Repository, RepositoryOpenFlags};

use crate::ids::Revision;
use crate::source::error::{reftable, refused};
use crate::source::named::Named;
use crate::source::store::Store;
use crate::source::tree::CommitTree;
use crate::source::{CommitFacts, GitSource, GitTree, SourceError};

/// A repository of this host.
pub struct LocalRepository {
    store: Arc<Store>,
}

impl LocalRepository {
    /// Opens the repository that `path` is, or is in. `reference` is the branch or tag to follow; none: what `HEAD` names.
    pub fn open(path: &Path, reference: Option<String>) -> Result<Self, SourceError> {
        let place = path.display().to_string();
        let repository =
            Repository::discover(path).map_err(|error| refused(&place, path, &error))?;
        let folder = repository.workdir().unwrap_or_else(|| repository.path());
        let place = folder.display().to_string();
        let place = place.trim_end_matches('/').to_owned();
        if repository.commondir().join("reftable").is_dir() {
            return Err(SourceError::Person(reftable(&place)));
        }
        Ok(Self {
            store: Arc::new(Store::new(repository, again, place, reference)),
        })
    }

    /// The folder that holds `HEAD`, and mostly `refs/` and `objects/`.
    #[must_use]
    pub fn git_dir(&self) -> &Path {
        self.store.git_dir()
    }
}

impl GitSource for LocalRepository {
    fn place(&self) -> String {
        self.store.place().to_owned()
    }

    fn resolve(&self, rev: Option<&str>) -> Result<Revision, SourceError> {
        self.store.resolve(rev)
    }

    fn reference(&self) -> String {
        self.store.reference()
    }

    fn at(&self, revision: &Revision) -> Result<Box<dyn GitTree>, SourceError> {
        Ok(Box::new(CommitTree::open(&self.store, revision)?))
    }

    fn fetch(&self) -> Result<(), SourceError> {
        Ok(())
    }

    fn descends(&self, new: &Revision, old: &Revision) -> Result<bool, SourceError> {
        self.store.descends(new, old)
    }

    fn describe(&self, revision: &Revision) -> Result<CommitFacts, SourceError> {
        self.store.describe(revision)
    }

    fn named(&self, rev: Option<&str>) -> Result<Named, SourceError> {
        self.store.named(rev)
    }

    fn git_dir(&self) -> PathBuf {
        self.store.git_dir().to_owned()
    }

    fn watched(&self) -> Option<&Path> {
        Some(self.store.git_dir())
    }
}

fn again(git_dir: &Path) -> Result<Repository, git2::Error> {
    let nothing: [&Path; 0] = [];
    Repository::open_ext(git_dir, RepositoryOpenFlags::NO_SEARCH, nothing)
}
