//! A repository whose commits are believed only if they are signed, or only if they follow what was
//! applied before.
//!
//! It stands between the loop and the repository: a commit that is refused is never named to
//! anybody, so nothing of it can be read, planned or built. Who may push is not who may sign;
//! SECURITY.md says against whom this helps.

use std::path::{Path, PathBuf};

use crate::config::{Rewrite, SignaturePolicy, TrustConfig};
use crate::git::applied::LastApplied;
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
    /// To say what would be done.
    Look,
    /// To do it; the commit becomes the last one that was applied.
    Act,
}

/// A repository, and what is asked of its commits.
pub struct TrustedSource {
    inner: Box<dyn GitSource>,
    signatures: Option<SignaturePolicy>,
    rewrite: Rewrite,
    applied: LastApplied,
    purpose: Purpose,
}

impl TrustedSource {
    /// Puts a repository behind what the configuration asks of it. `reference` is the branch or tag
    /// that it names.
    ///
    /// Where it names none, another branch that `HEAD` moves to has to follow the one before as
    /// well.
    #[must_use]
    pub fn new(
        inner: Box<dyn GitSource>,
        trust: &TrustConfig,
        reference: Option<&str>,
        state_dir: &Path,
        purpose: Purpose,
    ) -> Self {
        if trust.signatures.is_some() {
            // A signature vouches for ids: what is read under an id has to be what it names.
            verify_the_object_database();
        }
        Self {
            applied: LastApplied::of(state_dir, &inner.place(), reference.unwrap_or("HEAD")),
            signatures: trust.signatures.clone(),
            rewrite: trust.rewrite,
            inner,
            purpose,
        }
    }

    /// Accepts a commit in place of the last applied one, whatever was before.
    pub fn accept(&self, rev: &str) -> Result<Revision, SourceError> {
        let revision = self.signed(Some(rev))?;
        self.applied.write(&revision).map_err(SourceError::Person)?;
        Ok(revision)
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

    fn follows(&self, new: &Revision) -> Result<(), SourceError> {
        let Some(old) = self.applied.read().map_err(SourceError::Person)? else {
            return Ok(());
        };
        // Seeded bug: rewritten-history-is-followed
        if self.inner.descends(new, &old)? {
            return Ok(());
        }
        Err(SourceError::Person(
            Diagnostic::new(format!(
                "{} of {} in {} does not descend from {}, which was applied last: history was rewritten; nothing of it is planned or built",
                new.short(),
                self.inner.reference(),
                self.inner.place(),
                old.short(),
            ))
            .hint(format!(
                "if this is meant: reconciler allow-rewrite {}; to go back to an earlier state without rewriting: git revert",
                new.short()
            )),
        ))
    }
}

impl GitSource for TrustedSource {
    fn resolve(&self, rev: Option<&str>) -> Result<Revision, SourceError> {
        if self.purpose == Purpose::Check {
            return self.inner.resolve(rev);
        }
        let revision = self.signed(rev)?;
        // A commit that a person names is that person's decision; what is followed has to follow.
        if rev.is_none() && self.rewrite == Rewrite::Refused {
            self.follows(&revision)?;
            if self.purpose == Purpose::Act
                && self.applied.read().ok().flatten().as_ref() != Some(&revision)
            {
                self.applied.write(&revision).map_err(SourceError::Person)?;
            }
        }
        Ok(revision)
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

    fn named(&self, rev: Option<&str>) -> Result<NamedRevision, SourceError> {
        self.inner.named(rev)
    }

    fn git_dir(&self) -> PathBuf {
        self.inner.git_dir()
    }

    fn snapshot(&self, what: &Snapshot) -> Result<Option<Box<dyn GitTree>>, SourceError> {
        self.inner.snapshot(what)
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
