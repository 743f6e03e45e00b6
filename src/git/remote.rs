//! A repository behind an URL, followed through a bare mirror in the state directory.
//!
//! `fetch` brings the mirror up to date; everything else reads the mirror, so a plan does not wait
//! for the network. Only where the mirror turns out to be damaged is it fetched anew at once: it is
//! derived. Several processes may use one mirror (see `mirror`). What must not be lost with it, the
//! last applied commit, is kept elsewhere (`applied`).

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use git2::Repository;
use sha2::{Digest, Sha256};

use crate::git::access::{Access, Keys};
use crate::git::fetch::{Fetch, Fetched};
use crate::git::named::NamedRevision;
use crate::git::store::{LazyStore, Store};
use crate::git::tree::CommitTree;
use crate::git::{CommitFacts, GitSource, fetcher, mirror};
use reconciler_core::secrets::shown_url::without_password;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::Revision;
use reconciler_model::source::{GitTree, SourceError};

/// A damaged mirror is fetched anew at most once in this time: where that does not help, the remote
/// is damaged.
const ANEW_AGAIN: Duration = Duration::from_mins(10);

/// A repository behind an URL.
pub struct RemoteRepository {
    store: Arc<Store>,
    remote: Arc<Remote>,
}

/// The remote, and where its mirror is.
struct Remote {
    url: String,
    place: String,
    mirror: PathBuf,
    access: Access,
    /// When the mirror was last fetched anew for what a reader found.
    renewed: Mutex<Option<Instant>>,
}

impl Remote {
    fn fetch(&self, damage: Option<String>) -> Result<(), SourceError> {
        let keys = Keys::find(&self.access, &self.url).map_err(SourceError::Person)?;
        let fetch = Fetch {
            mirror: self.mirror.clone(),
            url: self.url.clone(),
            place: self.place.clone(),
            keys,
            most_bytes: self.access.most_bytes,
            damage,
        };
        let fetched = fetcher::run(&self.access.program, fetch, self.access.timeout)?;
        if let Fetched::Anew(wrong) = fetched {
            tracing::warn!(
                repository = self.place,
                mirror = %self.mirror.display(),
                "the copy that is kept here was damaged ({wrong}) and was fetched anew"
            );
        }
        Ok(())
    }

    /// Fetches all of it again, for something in the mirror is damaged.
    fn renew(&self, why: &Diagnostic) -> Result<(), SourceError> {
        let mut renewed = self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        if renewed.is_some_and(|at| at.elapsed() < ANEW_AGAIN) {
            return Ok(());
        }
        *renewed = Some(Instant::now());
        let told = |error: SourceError| match error {
            SourceError::Transient { place, detail } => SourceError::Transient {
                place,
                detail: format!(
                    "the copy that is kept here is damaged ({}), and it cannot be fetched anew: {detail}",
                    why.message
                ),
            },
            other => other,
        };
        self.fetch(Some(why.message.clone())).map_err(told)
    }
}

impl RemoteRepository {
    /// The mirror of `url` below `folder`. Touches and fetches nothing. `name` is for people who
    /// look into the folder; the mirror's name holds a hash of the URL as well.
    #[must_use]
    pub fn open(
        url: &str,
        name: &str,
        reference: Option<String>,
        folder: &Path,
        access: Access,
    ) -> Self {
        let place = without_password(url);
        let remote = Arc::new(Remote {
            url: url.to_owned(),
            mirror: folder.join(mirror_name(name, &place)),
            place,
            access,
            renewed: Mutex::default(),
        });
        let open: fn(&Path) -> _ = |mirror| Repository::open_bare(mirror);
        let derived = Arc::clone(&remote);
        let store = Store::derived(
            remote.mirror.clone(),
            open,
            remote.place.clone(),
            reference,
            Box::new(move |why| derived.renew(why)),
        );
        Self { store: Arc::new(store), remote }
    }

    /// The mirror's folder.
    #[must_use]
    pub fn mirror(&self) -> PathBuf {
        self.remote.mirror.clone()
    }

    fn was_fetched(&self) -> bool {
        let mirror = &self.remote.mirror;
        mirror::exists(mirror) && (mirror.join("FETCH_HEAD").exists() || !self.store.is_empty())
    }
}

impl GitSource for RemoteRepository {
    fn place(&self) -> String {
        self.remote.place.clone()
    }

    fn resolve(&self, rev: Option<&str>) -> Result<Revision, SourceError> {
        if self.was_fetched() {
            return self.store.resolve(rev);
        }
        Err(SourceError::Person(
            Diagnostic::new(format!("{} has not been fetched yet", self.remote.place))
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
        self.remote.fetch(None)
    }

    fn descends(&self, new: &Revision, old: &Revision) -> Result<bool, SourceError> {
        self.store.descends(new, old)
    }

    fn describe(&self, revision: &Revision) -> Result<CommitFacts, SourceError> {
        self.store.describe(revision)
    }

    fn touched_since(
        &self,
        old: &Revision,
        new: &Revision,
        paths: &[String],
        most: usize,
    ) -> Result<Vec<Revision>, SourceError> {
        self.store.touched_since(old, new, paths, most)
    }

    fn named(&self, rev: Option<&str>) -> Result<NamedRevision, SourceError> {
        self.resolve(rev)?;
        self.store.named(rev)
    }

    fn ambiguity(&self, rev: Option<&str>) -> Option<Diagnostic> {
        let name = rev.or(self.store.followed_name())?;
        self.store.ambiguity(name)
    }

    fn git_dir(&self) -> PathBuf {
        self.mirror()
    }
}

/// The folder of a mirror: the name as far as a file system likes it, and a hash, because two URLs
/// may share a name.
fn mirror_name(name: &str, place: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '-' }
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
        let (one, other) = (mirror_name("a/b", "ssh://x/a"), mirror_name("a/b", "ssh://y/a"));
        assert!(one.starts_with("a-b-"), "{one}");
        assert_ne!(one, other);
    }
}
