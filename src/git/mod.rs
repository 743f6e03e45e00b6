//! Commits and trees. Everything is read from git's object database: never from a work tree.
//!
//! This file is the port. Its adapter over libgit2 is `repository` for a repository of this host
//! and `remote` for one that is fetched; both read through `store` and `tree`. `watch` wakes when
//! references move. `trusted` stands before either and believes only commits that are signed, or
//! that follow what was applied before.

pub mod access;
pub mod commit_cache;
pub mod diff;
pub mod discover;
mod error;
mod fetch;
pub mod fetcher;
pub(crate) mod fuzz;
mod mirror;
pub mod named;
mod packs;
mod plain;
mod refusal;
pub mod remote;
pub mod repository;
pub mod signature;
pub mod snapshot;
mod store;
mod tree;
pub mod trusted;
mod uncommitted;
pub mod watch;

use std::path::{Path, PathBuf};

use access::Access;
use named::NamedRevision;
use remote::RemoteRepository;
use repository::LocalRepository;
use snapshot::Snapshot;
use trusted::{Purpose, TrustedSource};

use crate::config::{Location, RepositoryConfig};
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::Revision;
use reconciler_model::source::{GitTree, SourceError};

/// What is told about a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitFacts {
    /// The author's name.
    pub author: String,
    /// When it was committed.
    pub time: jiff::Timestamp,
    /// The first line of its message.
    pub subject: String,
}

/// A repository that is followed.
pub trait GitSource: Send + Sync {
    /// Where it is, for people, without a password.
    fn place(&self) -> String;

    /// Under what name answers about it are remembered from one process to the next.
    fn cache_scope(&self) -> String {
        self.place()
    }

    /// The commit that the followed branch or tag (or `rev`, anything `git rev-parse` takes) names
    /// now.
    fn resolve(&self, rev: Option<&str>) -> Result<Revision, SourceError>;

    /// The name of what is followed (`main`), for people.
    fn reference(&self) -> String;

    /// Opens a commit.
    fn at(&self, revision: &Revision) -> Result<Box<dyn GitTree>, SourceError>;

    /// Brings a remote repository up to date; does nothing on a local one.
    fn fetch(&self) -> Result<(), SourceError>;

    /// Whether `old` is an ancestor of `new`; false says that history was rewritten. False too if
    /// `old` is not there.
    fn descends(&self, new: &Revision, old: &Revision) -> Result<bool, SourceError>;

    /// Who made a commit, when, and what for.
    fn describe(&self, revision: &Revision) -> Result<CommitFacts, SourceError>;

    /// The commits that `new` has and `old` has not, and that touched one of these paths, newest
    /// first. Only so many are looked at.
    fn touched_since(
        &self,
        old: &Revision,
        new: &Revision,
        paths: &[String],
        most: usize,
    ) -> Result<Vec<Revision>, SourceError>;

    /// What the followed reference, or `rev`, names now, as raw objects.
    fn named(&self, rev: Option<&str>) -> Result<NamedRevision, SourceError>;

    /// The folder on this host that holds the objects and `HEAD`.
    fn git_dir(&self) -> PathBuf;

    /// What is not committed yet, as if it were a commit; none if the repository has no work tree
    /// of this host.
    fn snapshot(&self, _what: &Snapshot) -> Result<Option<Box<dyn GitTree>>, SourceError> {
        Ok(None)
    }

    /// The folder of the work tree; none if the repository has none of this host.
    fn work_tree(&self) -> Option<PathBuf> {
        None
    }

    /// Of these folders those of the work tree that hold what `tree` does not, where there is a
    /// work tree of at most so many files and `tree` is what is checked out.
    fn uncommitted(&self, _tree: &dyn GitTree, _roots: &[String], _most: usize) -> Vec<String> {
        Vec::new()
    }

    /// The word that what is followed, or `rev`, is the name of a branch and of a tag.
    fn ambiguity(&self, _rev: Option<&str>) -> Option<Diagnostic> {
        None
    }

    /// The folder to give to a [`watch`] on this host; none for a repository that has to be
    /// fetched.
    fn watched(&self) -> Option<&Path> {
        None
    }
}

/// Opens a repository of the configuration; mirrors of remote ones are kept below `state_dir`.
/// Fetches nothing.
pub fn open(
    config: &RepositoryConfig,
    state_dir: &Path,
) -> Result<Box<dyn GitSource>, SourceError> {
    let reference = config.reference.clone();
    Ok(match &config.location {
        Location::Local(path) => Box::new(LocalRepository::open(path, reference)?),
        Location::Remote(url) => Box::new(RemoteRepository::open(
            url,
            &config.name,
            reference,
            &state_dir.join("repositories"),
            Access {
                ssh_key: config.ssh_key.clone(),
                token_env: config.token_env.clone(),
                ..Access::default()
            },
        )),
    })
}

/// Opens a repository behind what the configuration asks of its commits.
pub fn open_trusted(
    config: &RepositoryConfig,
    state_dir: &Path,
    purpose: Purpose,
) -> Result<TrustedSource, SourceError> {
    let inner = open(config, state_dir)?;
    Ok(TrustedSource::new(inner, &config.trust, purpose))
}
