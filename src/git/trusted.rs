//! A repository whose commits are believed only if they are signed. Whether they follow what was
//! applied before is asked where that is known: under the lease of a workflow
//! ([`refuse_rewrite`]).
//!
//! It stands between the loop and the repository: a commit that is refused is never named to
//! anybody, so nothing of it can be read, planned or built. Who may push is not who may sign;
//! SECURITY.md says against whom this helps.

use std::path::{Path, PathBuf};

use crate::config::{SignaturePolicy, TrustConfig};
use crate::git::named::NamedRevision;
use crate::git::signature;
use crate::git::snapshot::Snapshot;
use crate::git::store::verify_the_object_database;
use crate::git::{CommitFacts, GitSource};
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::Revision;
use reconciler_model::source::{GitTree, SourceError};

/// What somebody wants of a repository's commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To say whether files are sound: any commit will do, signed or not.
    Check,
    /// To do it, or to say what would be done.
    Follow,
}

/// Refuses a commit that does not descend from the one that was applied last.
pub fn refuse_rewrite(
    source: &dyn GitSource,
    new: &Revision,
    applied: &Revision,
) -> Result<(), SourceError> {
    // Seeded bug: rewritten-history-is-followed
    if new == applied || source.descends(new, applied)? {
        return Ok(());
    }
    Err(SourceError::Person(
        Diagnostic::new(format!(
            "{} of {} in {} does not descend from {}, which was applied last: history was rewritten; nothing of it is planned or built",
            new.short(),
            source.reference(),
            source.place(),
            applied.short(),
        ))
        .hint(format!(
            "if this is meant: reconciler allow-rewrite {}; to go back to an earlier state without rewriting: git revert",
            new.short()
        )),
    ))
}

/// A repository, and what is asked of its commits.
pub struct TrustedSource {
    inner: Box<dyn GitSource>,
    signatures: Option<SignaturePolicy>,
    purpose: Purpose,
}

impl TrustedSource {
    /// Puts a repository behind what the configuration asks of it.
    #[must_use]
    pub fn new(inner: Box<dyn GitSource>, trust: &TrustConfig, purpose: Purpose) -> Self {
        if trust.signatures.is_some() {
            // A signature vouches for ids: what is read under an id has to be what it names.
            verify_the_object_database();
        }
        Self { signatures: trust.signatures.clone(), inner, purpose }
    }

    /// The commit that is named, if it is signed by somebody who may.
    fn signed(&self, rev: Option<&str>) -> Result<Revision, SourceError> {
        let Some(policy) = &self.signatures else {
            return self.inner.resolve(rev);
        };
        let named = self.inner.named(rev)?;
        match signature::verify(policy, &self.inner.git_dir(), &named) {
            Ok(signer) => {
                tracing::debug!(revision = %named.revision, %signer, "signature verified");
                Ok(named.revision)
            }
            // Seeded bug: unsigned-commits-are-believed
            Err(refusal) => Err(SourceError::Person(
                Diagnostic::new(format!(
                    "{} of {} in {} {refusal}; nothing of it is planned or built",
                    named.revision.short(),
                    rev.map_or_else(|| self.inner.reference(), str::to_owned),
                    self.inner.place(),
                ))
                .hint(refusal.hint()),
            )),
        }
    }
}

impl GitSource for TrustedSource {
    fn resolve(&self, rev: Option<&str>) -> Result<Revision, SourceError> {
        if self.purpose == Purpose::Check {
            return self.inner.resolve(rev);
        }
        self.signed(rev)
    }

    fn place(&self) -> String {
        self.inner.place()
    }

    /// What was read before signatures were asked for was not held to its ids.
    fn cache_scope(&self) -> String {
        let place = self.inner.cache_scope();
        match self.signatures {
            Some(_) => format!("{place}, verified"),
            None => place,
        }
    }

    fn reference(&self) -> String {
        self.inner.reference()
    }

    fn at(&self, revision: &Revision) -> Result<Box<dyn GitTree>, SourceError> {
        self.inner.at(revision)
    }

    fn fetch(&self) -> Result<(), SourceError> {
        self.inner.fetch()
    }

    fn descends(&self, new: &Revision, old: &Revision) -> Result<bool, SourceError> {
        self.inner.descends(new, old)
    }

    fn describe(&self, revision: &Revision) -> Result<CommitFacts, SourceError> {
        self.inner.describe(revision)
    }

    fn touched_since(
        &self,
        old: &Revision,
        new: &Revision,
        paths: &[String],
        most: usize,
    ) -> Result<Vec<Revision>, SourceError> {
        self.inner.touched_since(old, new, paths, most)
    }

    fn named(&self, rev: Option<&str>) -> Result<NamedRevision, SourceError> {
        self.inner.named(rev)
    }

    fn git_dir(&self) -> PathBuf {
        self.inner.git_dir()
    }

    fn snapshot(&self, what: &Snapshot) -> Result<Option<Box<dyn GitTree>>, SourceError> {
        self.inner.snapshot(what)
    }

    fn work_tree(&self) -> Option<PathBuf> {
        self.inner.work_tree()
    }

    fn uncommitted(&self, tree: &dyn GitTree, roots: &[String], most: usize) -> Vec<String> {
        self.inner.uncommitted(tree, roots, most)
    }

    fn ambiguity(&self, rev: Option<&str>) -> Option<Diagnostic> {
        self.inner.ambiguity(rev)
    }

    fn watched(&self) -> Option<&Path> {
        self.inner.watched()
    }
}
