//! A repository behind an URL, followed through a bare mirror in the state directory.
//!
//! `fetch` brings the mirror up to date; everything else reads the mirror, so a plan never waits for the network. Several processes may use
//! one mirror: git's own locks keep them apart.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use git2::{Repository, RepositoryInitOptions};
use sha2::{Digest, Sha256};

use crate::diagnostic::Diagnostic;
use crate::ids::Revision;
use crate::source::access::{Access, Keys, without_password};
use crate::source::error::refused;
use crate::source::fetch::Fetch;
use crate::source::named::Named;
use crate::source::store::{LazyStore, Store};
use crate::source::tree::CommitTree;
use crate::source::{CommitFacts, GitSource, GitTree, SourceError, fetcher};

/// A repository behind an URL.
pub struct RemoteRepository {
    store: Arc<Store>,
    url: String,
    access: Access,
}

impl RemoteRepository {
    /// Opens the mirror of `url` below `folder`, and makes it if it is not there. Fetches nothing. `name` is for people who look
    /// into the folder; the mirror's name holds a hash of the URL as well.
    pub fn open(
        url: &str,
        name: &str,
        reference: Option<String>,
        folder: &Path,
        access: Access,
    ) -> Result<Self, SourceError> {
        let place = without_password(url);
        let mirror = folder.join(mirror_name(name, &place));
        let repository = Repository::open_bare(&mirror)
            .or_else(|_| {
                let mut options = RepositoryInitOptions::new();
                options.bare(true).mkpath(true).external_template(false);
                Repository::init_opts(&mirror, &options)
            })
            .map_err(|error| refused(&mirror.display().to_string(), &mirror, &error))?;
        let open: fn(&Path) -> _ = |mirror| Repository::open_bare(mirror);
        Ok(Self {
            store: Arc::new(Store::new(repository, open, place, reference)),
            url: url.to_owned(),
            access,
        })
    }

    /// The mirror's folder.
    #[must_use]
    pub fn mirror(&self) -> PathBuf {
        self.store.git_dir().to_owned()
    }

    fn was_fetched(&self) -> bool {
        self.store.git_dir().join("FETCH_HEAD").exists() || !self.store.is_empty()
    }
}

impl GitSource for RemoteRepository {
    fn place(&self) -> String {
        self.store.place().to_owned()
    }

    fn resolve(&self, rev: Option<&str>) -> Result<Revision, SourceError> {
        if self.was_fetched() {
            return self.store.resolve(rev);
        }
        Err(SourceError::Person(
            Diagnostic::new(format!("{} has not been fetched yet", self.store.place()))
                .hint("the daemon fetches it, and so do `reconciler plan` and `reconciler apply`"),
        ))
    }

    fn reference(&self) -> String {
        self.store.reference()
    }

    fn at(&self, revision: &Revision) -> Result<Box<dyn GitTree>, SourceError> {
        let opened = LazyStore::opened(Arc::clone(&self.store));
        let tree = CommitTree::new(&Arc::new(opened), revision);
        tree.look()?;
        Ok(Box::new(tree))
    }

    fn fetch(&self) -> Result<(), SourceError> {
        let keys = Keys::find(&self.access, &self.url).map_err(SourceError::Person)?;
        let fetch = Fetch {
            mirror: self.mirror(),
            url: self.url.clone(),
            place: self.place(),
            keys,
            most_bytes: self.access.most_bytes,
        };
        fetcher::run(&self.access.program, fetch, self.access.timeout)
    }

    fn descends(&self, new: &Revision, old: &Revision) -> Result<bool, SourceError> {
        self.store.descends(new, old)
    }

    fn describe(&self, revision: &Revision) -> Result<CommitFacts, SourceError> {
        self.store.describe(revision)
    }

    fn named(&self, rev: Option<&str>) -> Result<Named, SourceError> {
        self.resolve(rev)?;
        self.store.named(rev)
    }

    fn git_dir(&self) -> PathBuf {
        self.store.git_dir().to_owned()
    }
}

/// The folder of a mirror: the name as far as a file system likes it, and a hash, because two URLs may share a name.
fn mirror_name(name: &str, place: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "-_".contains(c) {
            c
        } else {
            '-'
        }
    };
    let name: String = name.chars().map(plain).take(64).collect();
    let digest: [u8; 32] = Sha256::digest(place.as_bytes()).into();
    let [a, b, c, d, ..] = digest;
    let hash = u32::from_be_bytes([a, b, c, d]);
    format!("{name}-{hash:08x}.git")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_urls_of_one_name_have_two_mirrors() {
        let (one, other) = (
            mirror_name("a/b", "ssh://x/a"),
            mirror_name("a/b", "ssh://y/a"),
        );
        assert!(one.starts_with("a-b-"), "{one}");
        assert_ne!(one, other);
    }
}
