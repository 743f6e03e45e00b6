//! One repository on this host, opened: its references and objects. A local repository and a
//! remote's mirror are both read through it.
//!
//! A `git2::Repository` may move between threads but not be shared, so readers borrow handles from
//! a pool: one reader never waits for another, and as many handles exist as ever read at once. A
//! handle keeps a file open for each pack that it has read from, also when git has long removed it,
//! so it is let go when packs come or go, and after a minute in any case. It writes nothing.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use git2::{ErrorCode, ObjectType, Oid, Repository};

use crate::git::CommitFacts;
use crate::git::error::{listed, no_commit, no_such, refused, unreadable};
use crate::git::named::{full_names, meant};
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::Revision;
use reconciler_model::source::SourceError;

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
        Self { open: Box::new(move || open().map(Arc::new)), store: OnceLock::new() }
    }

    /// One that is open already.
    pub(super) fn opened(store: Arc<Store>) -> Self {
        let again = Arc::clone(&store);
        Self { open: Box::new(move || Ok(Arc::clone(&again))), store: OnceLock::from(store) }
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

/// Makes anew what is damaged, so that it can be read again; an error if that cannot be done.
pub(super) type Renew = Box<dyn Fn(&Diagnostic) -> Result<(), SourceError> + Send + Sync>;

/// A handle is let go at this age.
const OLDEST: Duration = Duration::from_mins(1);

/// A repository's references and objects.
pub(super) struct Store {
    git_dir: PathBuf,
    place: String,
    reference: Option<String>,
    open: Open,
    renew: Option<Renew>,
    idle: Mutex<Vec<Handle>>,
}

/// An open repository.
struct Handle {
    repository: Repository,
    opened: Instant,
    packs: Option<PackFolder>,
}

/// The folder of packs, as it was: which it is, and when something came or went.
type PackFolder = (u64, Option<SystemTime>);

impl Handle {
    fn new(repository: Repository) -> Self {
        Self { packs: pack_folder(&repository), opened: Instant::now(), repository }
    }

    fn is_current(&self) -> bool {
        // Seeded bug: handles-kept-for-ever
        self.opened.elapsed() < OLDEST && self.packs == pack_folder(&self.repository)
    }
}

fn pack_folder(repository: &Repository) -> Option<PackFolder> {
    let found = std::fs::metadata(repository.commondir().join("objects/pack")).ok()?;
    Some((found.ino(), found.modified().ok()))
}

impl Store {
    /// Takes an open repository. `place` is its name for people, `reference` the branch or tag that
    /// is followed.
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
            renew: None,
            idle: Mutex::new(vec![Handle::new(repository)]),
        }
    }

    /// A repository in this folder that is opened when it is read, and made anew when it is
    /// damaged.
    pub(super) fn derived(
        git_dir: PathBuf,
        open: Open,
        place: String,
        reference: Option<String>,
        renew: Renew,
    ) -> Self {
        trust_the_object_database();
        Self { git_dir, place, reference, open, renew: Some(renew), idle: Mutex::default() }
    }

    /// The folder that holds `HEAD`.
    pub(super) fn git_dir(&self) -> &Path {
        &self.git_dir
    }

    /// Where it is, for people.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Reads with a handle of the pool. What is damaged and derived is made anew, once, and read
    /// again.
    pub(super) fn with<T>(
        &self,
        mut read: impl FnMut(&Repository) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        let result = match (self.read(&mut read), &self.renew) {
            (Err(SourceError::Damaged(why)), Some(renew)) => {
                renew(&why)?;
                self.read(&mut read)
            }
            (result, _) => result,
        };
        result.map_err(SourceError::final_word)
    }

    fn read<T>(
        &self,
        read: &mut impl FnMut(&Repository) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        let idle = self.lock().pop();
        let handle = match idle.filter(Handle::is_current) {
            Some(handle) => handle,
            None => self.reopen()?,
        };
        let result = read(&handle.repository);
        // One that has met with something odd may hold on to it.
        if result.is_ok() {
            self.lock().push(handle);
        }
        result
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Handle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reopen(&self) -> Result<Handle, SourceError> {
        let opened = (self.open)(&self.git_dir);
        opened.map(Handle::new).map_err(|error| match refused(&self.place, &self.git_dir, &error) {
            SourceError::Person(why) if self.renew.is_some() => SourceError::Damaged(why),
            other => other,
        })
    }

    /// The branch or tag that is followed; none: what `HEAD` names.
    pub(super) fn followed_name(&self) -> Option<&str> {
        self.reference.as_deref()
    }

    /// Whether it has no branch and no tag.
    pub(super) fn is_empty(&self) -> bool {
        self.with(|repository| Ok(reference_names(repository).is_empty())).unwrap_or(false)
    }

    /// The name of what is followed.
    pub(super) fn reference(&self) -> String {
        if let Some(name) = &self.reference {
            return name.clone();
        }
        let head = self.with(|repository| {
            let head = repository.find_reference("HEAD").ok();
            let target = head.as_ref().and_then(|head| head.symbolic_target().ok().flatten());
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
            // One that is there and cannot be opened, on a host that is short of files, says
            // nothing of what it holds.
            let known = matches!(error.code(), ErrorCode::UnbornBranch | ErrorCode::NotFound);
            SourceError::Person(if names.is_empty() && known {
                Diagnostic::new(format!("{place} has no commit yet"))
                    .hint("commit something, then try again")
            } else if error.code() == ErrorCode::UnbornBranch {
                Diagnostic::new(format!(
                    "HEAD of {place} names the branch `{}`, which does not exist",
                    unborn(repository)
                ))
                .hint(format!("name a branch in `reference`; there are: {}", listed(&names)))
            } else {
                return unreadable(place, "the commit that HEAD names", &error);
            })
        })
    }

    fn followed(&self, repository: &Repository, name: &str) -> Result<Oid, SourceError> {
        for full in full_names(name) {
            match repository.find_reference(&full) {
                Ok(reference) => {
                    return reference.peel_to_commit().map(|commit| commit.id()).map_err(|error| {
                        unreadable(&self.place, &format!("the commit of `{name}`"), &error)
                    });
                }
                Err(error)
                    if matches!(error.code(), ErrorCode::NotFound | ErrorCode::InvalidSpec) => {}
                Err(error) => {
                    return Err(unreadable(&self.place, &format!("the reference {full}"), &error));
                }
            }
        }
        let names = reference_names(repository);
        Err(SourceError::Person(no_such(&self.place, "branch or tag", name, &names)))
    }

    fn any(&self, repository: &Repository, rev: &str) -> Result<Oid, SourceError> {
        let place = &self.place;
        let object = repository.revparse_single(&meant(repository, rev)).map_err(|error| {
            match error.code() {
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
            }
        })?;
        object.peel_to_commit().map(|commit| commit.id()).map_err(|error| {
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

    /// The commits that `new` has and `old` has not, and that touched one of these paths, newest
    /// first, among the newest `most`.
    pub(super) fn touched_since(
        &self,
        old: &Revision,
        new: &Revision,
        paths: &[String],
        most: usize,
    ) -> Result<Vec<Revision>, SourceError> {
        self.with(|repository| {
            let history = |error: git2::Error| unreadable(&self.place, "the history", &error);
            let mut walk = repository.revwalk().map_err(history)?;
            walk.set_sorting(git2::Sort::TOPOLOGICAL | git2::Sort::TIME).map_err(history)?;
            walk.push(Oid::from_str(new.as_str()).map_err(history)?).map_err(history)?;
            walk.hide(Oid::from_str(old.as_str()).map_err(history)?).map_err(history)?;
            let mut found = Vec::new();
            for id in walk.take(most) {
                let commit = id.and_then(|id| repository.find_commit(id)).map_err(history)?;
                if touches(&commit, paths).map_err(history)? {
                    found.push(Revision::new(commit.id().to_string()));
                }
            }
            Ok(found)
        })
    }

    /// Who made a commit, when, and its first line.
    pub(super) fn describe(&self, revision: &Revision) -> Result<CommitFacts, SourceError> {
        self.with(|repository| {
            let commit = Oid::from_str(revision.as_str())
                .and_then(|id| repository.find_commit(id))
                .map_err(|error| {
                    no_commit(&self.place, &format!("commit {}", revision.short()), &error)
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

/// Git verified every object when it was written; hashing each again on every read triples what a
/// read costs. Where signatures are asked for it is done all the same.
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

/// Whether `old` is found from `new` in a history that is cut, where libgit2's own search fails.
/// Such histories are short.
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

/// Whether a commit has something else at one of these paths than each of its parents.
fn touches(commit: &git2::Commit<'_>, paths: &[String]) -> Result<bool, git2::Error> {
    let states = |commit: &git2::Commit<'_>| -> Result<Vec<_>, git2::Error> {
        let tree = commit.tree()?;
        let state = |path: &String| tree.get_path(Path::new(path)).ok();
        Ok(paths.iter().map(|path| state(path).map(|at| (at.id(), at.filemode()))).collect())
    };
    let own = states(commit)?;
    for parent in commit.parents() {
        if states(&parent)? == own {
            return Ok(false);
        }
    }
    Ok(commit.parent_count() > 0 || own.iter().any(Option::is_some))
}

fn unborn(repository: &Repository) -> String {
    let head = repository.find_reference("HEAD").ok();
    let target = head.as_ref().and_then(|head| head.symbolic_target().ok().flatten());
    target.unwrap_or("?").trim_start_matches("refs/heads/").to_owned()
}

fn reference_names(repository: &Repository) -> Vec<String> {
    let Ok(references) = repository.references() else {
        return Vec::new();
    };
    references
        .flatten()
        .filter_map(|reference| {
            let name = reference.name().ok()?;
            let short =
                name.strip_prefix("refs/heads/").or_else(|| name.strip_prefix("refs/tags/"))?;
            Some(short.to_owned())
        })
        .collect()
}
