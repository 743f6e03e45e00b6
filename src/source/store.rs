//! One repository on this host, opened: its references and objects. A local repository and a remote's mirror are both read through it.
//!
//! A `git2::Repository` may move between threads but not be shared, so readers borrow handles from a pool: one reader never
//! waits for another, and as many handles exist as ever read at once. It writes nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once, OnceLock, PoisonError};

use git2::{ErrorCode, ObjectType, Oid, Repository};

use crate::diagnostic::Diagnostic;
use crate::ids::Revision;
use crate::source::error::{listed, no_such, refused, unreadable};
use crate::source::named::full_names;
use crate::source::{CommitFacts, SourceError};

/// A store that is opened when it is first needed.
pub(super) struct LazyStore {
    open: Box<dyn Fn() -> Result<Arc<Store>, SourceError> + Send + Sync>,
    store: OnceLock<Arc<Store>>,
}

impl LazyStore {
    /// `open` is called until it succeeds once.
    pub(super) fn new(
        open: impl Fn() -> Result<Store, SourceError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            open: Box::new(move || open().map(Arc::new)),
            store: OnceLock::new(),
        }
    }

    /// One that is open already.
    pub(super) fn opened(store: Arc<Store>) -> Self {
        let again = Arc::clone(&store);
        Self {
            open: Box::new(move || Ok(Arc::clone(&again))),
            store: OnceLock::from(store),
        }
    }

    /// The store.
    pub(super) fn get(&self) -> Result<&Store, SourceError> {
        if let Some(store) = self.store.get() {
            return Ok(store);
        }
        let store = (self.open)()?;
        Ok(self.store.get_or_init(|| store))
    }
}

/// How further handles are opened.
pub(super) type Open = fn(&Path) -> Result<Repository, git2::Error>;

/// A repository's references and objects.
pub(super) struct Store {
    git_dir: PathBuf,
    place: String,
    reference: Option<String>,
    open: Open,
    idle: Mutex<Vec<Repository>>,
}

impl Store {
    /// Takes an open repository. `place` is its name for people, `reference` the branch or tag that is followed.
    pub(super) fn new(
        repository: Repository,
        open: Open,
        place: String,
        reference: Option<String>,
    ) -> Self {
        trust_the_object_database();
        Self {
            git_dir: repository.path().to_owned(),
            place,
            reference,
            open,
            idle: Mutex::new(vec![repository]),
        }
    }

    /// The folder that holds `HEAD`.
    pub(super) fn git_dir(&self) -> &Path {
        &self.git_dir
    }

    /// Where it is, for people.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Reads with a handle of the pool.
    pub(super) fn with<T>(
        &self,
        read: impl FnOnce(&Repository) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        let idle = self.lock().pop();
        let repository = match idle {
            Some(repository) => repository,
            None => self.reopen()?,
        };
        let result = read(&repository);
        self.lock().push(repository);
        result
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Repository>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reopen(&self) -> Result<Repository, SourceError> {
        (self.open)(&self.git_dir).map_err(|error| refused(&self.place, &self.git_dir, &error))
    }

    /// The branch or tag that is followed; none: what `HEAD` names.
    pub(super) fn followed_name(&self) -> Option<&str> {
        self.reference.as_deref()
    }

    /// Whether it has no branch and no tag.
    pub(super) fn is_empty(&self) -> bool {
        self.with(|repository| Ok(reference_names(repository).is_empty()))
            .unwrap_or(false)
    }

    /// The name of what is followed.
    pub(super) fn reference(&self) -> String {
        if let Some(name) = &self.reference {
            return name.clone();
        }
        let head = self.with(|repository| {
            let head = repository.find_reference("HEAD").ok();
            let target = head
                .as_ref()
                .and_then(|head| head.symbolic_target().ok().flatten());
            Ok(target.map(|name| name.trim_start_matches("refs/heads/").to_owned()))
        });
        head.ok().flatten().unwrap_or_else(|| "HEAD".to_owned())
    }

    /// The commit that the followed reference, or `rev`, names now.
    pub(super) fn resolve(&self, rev: Option<&str>) -> Result<Revision, SourceError> {
        self.with(|repository| {
            let commit = match (rev, &self.reference) {
                (Some(rev), _) => self.any(repository, rev),
                (None, Some(name)) => self.followed(repository, name),
                (None, None) => self.head(repository),
            }?;
            Ok(Revision::new(commit.to_string()))
        })
    }

    fn head(&self, repository: &Repository) -> Result<Oid, SourceError> {
        let head = repository.head().and_then(|head| head.peel_to_commit());
        head.map(|commit| commit.id()).map_err(|error| {
            let names = reference_names(repository);
            let place = &self.place;
            SourceError::Person(if names.is_empty() {
                Diagnostic::new(format!("{place} has no commit yet"))
                    .hint("commit something, then try again")
            } else if error.code() == ErrorCode::UnbornBranch {
                Diagnostic::new(format!(
                    "HEAD of {place} names the branch `{}`, which does not exist",
                    unborn(repository)
                ))
                .hint(format!(
                    "name a branch in `reference`; there are: {}",
                    listed(&names)
                ))
            } else {
                return unreadable(place, "the commit that HEAD names", &error);
            })
        })
    }

    fn followed(&self, repository: &Repository, name: &str) -> Result<Oid, SourceError> {
        for full in full_names(name) {
            match repository.find_reference(&full) {
                Ok(reference) => {
                    return reference
                        .peel_to_commit()
                        .map(|commit| commit.id())
                        .map_err(|error| {
                            unreadable(&self.place, &format!("the commit of `{name}`"), &error)
                        });
                }
                Err(error)
                    if matches!(error.code(), ErrorCode::NotFound | ErrorCode::InvalidSpec) => {}
                Err(error) => {
                    return Err(unreadable(
                        &self.place,
                        &format!("the reference {full}"),
                        &error,
                    ));
                }
            }
        }
        let names = reference_names(repository);
        Err(SourceError::Person(no_such(
            &self.place,
            "branch or tag",
            name,
            &names,
        )))
    }

    fn any(&self, repository: &Repository, rev: &str) -> Result<Oid, SourceError> {
        let place = &self.place;
        let object = repository
            .revparse_single(rev)
            .map_err(|error| match error.code() {
                ErrorCode::NotFound => {
                    let names = reference_names(repository);
                    let wrong = no_such(place, "commit, branch or tag", rev, &names);
                    SourceError::Person(if repository.is_shallow() {
                        wrong.hint("its history is cut (a shallow clone): git fetch --unshallow")
                    } else {
                        wrong
                    })
                }
                ErrorCode::Ambiguous => SourceError::Person(
                    Diagnostic::new(format!("`{rev}` names more than one object of {place}"))
                        .hint("give more digits of the commit's id"),
                ),
                _ => SourceError::Person(
                    Diagnostic::new(format!("`{rev}` is not a revision: {}", error.message()))
                        .hint("give one commit, as `git rev-parse` would take it"),
                ),
            })?;
        object
            .peel_to_commit()
            .map(|commit| commit.id())
            .map_err(|error| {
                let kind = object.kind().unwrap_or(ObjectType::Any);
                match kind {
                    ObjectType::Tree | ObjectType::Blob => SourceError::Person(
                        Diagnostic::new(format!("`{rev}` is a {}, not a commit", kind.str()))
                            .hint("give a commit, a branch or a tag"),
                    ),
                    _ => unreadable(place, &format!("the commit of `{rev}`"), &error),
                }
            })
    }

    /// Whether `old` is an ancestor of `new`, or the same; false if one is not there.
    pub(super) fn descends(&self, new: &Revision, old: &Revision) -> Result<bool, SourceError> {
        if new == old {
            return Ok(true);
        }
        let (Ok(new), Ok(old)) = (Oid::from_str(new.as_str()), Oid::from_str(old.as_str())) else {
            return Ok(false);
        };
        self.with(|repository| {
            let odb = repository
                .odb()
                .map_err(|error| unreadable(&self.place, "the object database", &error))?;
            if !odb.exists(new) || !odb.exists(old) {
                return Ok(false);
            }
            if repository.is_shallow() {
                return Ok(reaches(repository, new, old));
            }
            repository
                .graph_descendant_of(new, old)
                .map_err(|error| unreadable(&self.place, "the history", &error))
        })
    }

    /// Who made a commit, when, and its first line.
    pub(super) fn describe(&self, revision: &Revision) -> Result<CommitFacts, SourceError> {
        self.with(|repository| {
            let commit = Oid::from_str(revision.as_str())
                .and_then(|id| repository.find_commit(id))
                .map_err(|error| {
                    unreadable(&self.place, &format!("commit {}", revision.short()), &error)
                })?;
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
            let message = text(commit.message_bytes());
            Ok(CommitFacts {
                author: text(commit.author().name_bytes()),
                time: jiff::Timestamp::from_second(commit.time().seconds()).unwrap_or_default(),
                subject: message.lines().next().unwrap_or_default().to_owned(),
            })
        })
    }
}

/// Whether somebody has asked for [`verify_the_object_database`].
static VERIFIED: AtomicBool = AtomicBool::new(false);

/// Git verified every object when it was written; hashing each again on every read triples what a read costs. Where signatures are
/// asked for it is done all the same.
fn trust_the_object_database() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| git2::opts::strict_hash_verification(VERIFIED.load(Ordering::SeqCst)));
}

/// Hashes every object that this process reads from now on, whichever repository it is in.
pub(super) fn verify_the_object_database() {
    VERIFIED.store(true, Ordering::SeqCst);
    trust_the_object_database();
    git2::opts::strict_hash_verification(true);
}

/// Whether `old` is found from `new` in a history that is cut, where libgit2's own search fails. Such histories are short.
fn reaches(repository: &Repository, new: Oid, old: Oid) -> bool {
    let mut seen = BTreeSet::new();
    let mut waiting = vec![new];
    while let Some(id) = waiting.pop() {
        if id == old {
            return true;
        }
        if seen.insert(id)
            && let Ok(commit) = repository.find_commit(id)
        {
            waiting.extend(commit.parent_ids());
        }
    }
    false
}

fn unborn(repository: &Repository) -> String {
    let head = repository.find_reference("HEAD").ok();
    let target = head
        .as_ref()
        .and_then(|head| head.symbolic_target().ok().flatten());
    target
        .unwrap_or("?")
        .trim_start_matches("refs/heads/")
        .to_owned()
}

fn reference_names(repository: &Repository) -> Vec<String> {
    let Ok(references) = repository.references() else {
        return Vec::new();
    };
    references
        .flatten()
        .filter_map(|reference| {
            let name = reference.name().ok()?;
            let short = name
                .strip_prefix("refs/heads/")
                .or_else(|| name.strip_prefix("refs/tags/"))?;
            Some(short.to_owned())
        })
        .collect()
}
