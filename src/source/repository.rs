//! A repository of this host, bare or not, followed by one of its branches or tags.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use git2::{ErrorClass, ErrorCode, Oid, Repository};

use crate::diagnostic::Diagnostic;
use crate::ids::Revision;
use crate::source::tree::CommitTree;
use crate::source::{GitSource, GitTree, SourceError};

/// A repository of this host.
pub struct LocalRepository {
    repository: Arc<Mutex<Repository>>,
    place: String,
    git_dir: PathBuf,
    reference: Option<String>,
}

impl LocalRepository {
    /// Opens the repository that `path` is, or is in.
    pub fn open(path: &Path, reference: Option<String>) -> Result<Self, SourceError> {
        let place = path.display().to_string();
        let repository =
            Repository::discover(path).map_err(|error| refused(&place, path, &error))?;
        let git_dir = repository.path().to_owned();
        refuse_reftable(&place, &git_dir)?;
        let place = repository
            .workdir()
            .unwrap_or(&git_dir)
            .display()
            .to_string();
        Ok(Self {
            repository: Arc::new(Mutex::new(repository)),
            place: place.trim_end_matches('/').to_owned(),
            git_dir,
            reference,
        })
    }

    /// The folder that holds `HEAD`, `refs/` and `objects/`.
    #[must_use]
    pub fn git_dir(&self) -> &Path {
        &self.git_dir
    }

    fn with<T>(&self, read: impl FnOnce(&Repository) -> T) -> T {
        read(
            &self
                .repository
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    fn followed(&self, repository: &Repository) -> Result<Oid, SourceError> {
        let Some(name) = &self.reference else {
            let head = repository.head().and_then(|head| head.peel_to_commit());
            return head
                .map(|commit| commit.id())
                .map_err(|error| self.no_head(repository, &error));
        };
        let found = [
            format!("refs/heads/{name}"),
            format!("refs/tags/{name}"),
            name.clone(),
        ]
        .iter()
        .find_map(|full| repository.find_reference(full).ok());
        match found {
            Some(reference) => reference
                .peel_to_commit()
                .map(|commit| commit.id())
                .map_err(|error| self.failed(&error)),
            None => Err(self.no_such_reference(repository, name)),
        }
    }

    fn no_head(&self, repository: &Repository, error: &git2::Error) -> SourceError {
        let names = reference_names(repository);
        let wrong = if names.is_empty() {
            Diagnostic::new(format!("{} has no commit yet", self.place))
                .hint("commit something, then try again")
        } else {
            Diagnostic::new(format!(
                "HEAD of {} names no commit ({})",
                self.place,
                error.message()
            ))
            .hint(format!(
                "name a branch in `reference`; there are: {}",
                names.join(", ")
            ))
        };
        SourceError::Person(wrong)
    }

    fn no_such_reference(&self, repository: &Repository, name: &str) -> SourceError {
        let names = reference_names(repository);
        let wrong = Diagnostic::new(format!("{} has no branch or tag `{name}`", self.place));
        SourceError::Person(if names.is_empty() {
            wrong.hint("it has no commit yet")
        } else {
            let near = names.iter().max_by(|a, b| {
                strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name))
            });
            let meant = near
                .filter(|near| strsim::jaro_winkler(near, name) > 0.8)
                .map(|near| format!("did you mean `{near}`? "))
                .unwrap_or_default();
            wrong.hint(format!("{meant}there are: {}", names.join(", ")))
        })
    }

    fn failed(&self, error: &git2::Error) -> SourceError {
        SourceError::Transient {
            place: self.place.clone(),
            detail: error.message().to_owned(),
        }
    }
}

impl GitSource for LocalRepository {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn reference(&self) -> String {
        self.reference.clone().unwrap_or_else(|| {
            self.with(|repository| {
                let head = repository.find_reference("HEAD").ok();
                let target = head
                    .as_ref()
                    .and_then(|head| head.symbolic_target().ok().flatten());
                target
                    .map_or("HEAD", |name| name.trim_start_matches("refs/heads/"))
                    .to_owned()
            })
        })
    }

    fn resolve(&self, rev: Option<&str>) -> Result<Revision, SourceError> {
        self.with(|repository| {
            let Some(rev) = rev else {
                return self
                    .followed(repository)
                    .map(|oid| Revision::new(oid.to_string()));
            };
            let object = repository
                .revparse_single(rev)
                .and_then(|object| object.peel_to_commit());
            object
                .map(|commit| Revision::new(commit.id().to_string()))
                .map_err(|error| match error.code() {
                    ErrorCode::NotFound => self.no_such_reference(repository, rev),
                    _ => SourceError::Person(Diagnostic::new(format!(
                        "`{rev}` names no commit of {}: {}",
                        self.place,
                        error.message()
                    ))),
                })
        })
    }

    fn at(&self, revision: &Revision) -> Result<Box<dyn GitTree>, SourceError> {
        Ok(Box::new(CommitTree::open(
            &self.repository,
            revision,
            &self.place,
        )?))
    }

    fn fetch(&self) -> Result<(), SourceError> {
        Ok(())
    }

    fn descends(&self, new: &Revision, old: &Revision) -> Result<bool, SourceError> {
        if new == old {
            return Ok(true);
        }
        self.with(|repository| {
            let (Ok(new), Ok(old)) = (Oid::from_str(new.as_str()), Oid::from_str(old.as_str()))
            else {
                return Ok(false);
            };
            match repository.graph_descendant_of(new, old) {
                Ok(descends) => Ok(descends),
                Err(error) if error.code() == ErrorCode::NotFound => Ok(false),
                Err(error) => Err(self.failed(&error)),
            }
        })
    }
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

fn refuse_reftable(place: &str, git_dir: &Path) -> Result<(), SourceError> {
    if !git_dir.join("reftable").is_dir() {
        return Ok(());
    }
    Err(SourceError::Person(
        Diagnostic::new(format!(
            "{place} keeps its references in the reftable format, which is not supported"
        ))
        .hint("convert it with `git refs migrate --ref-format=files`"),
    ))
}

fn refused(place: &str, path: &Path, error: &git2::Error) -> SourceError {
    let wrong = match (error.code(), error.class()) {
        (ErrorCode::Owner, _) => Diagnostic::new(format!("{place} belongs to another user, so git does not trust it"))
            .hint(format!("if you do: git config --global --add safe.directory {place}")),
        (ErrorCode::NotFound, _) if !path.exists() => Diagnostic::new(format!("{place} does not exist")),
        (ErrorCode::NotFound, _) => Diagnostic::new(format!("{place} is not a git repository"))
            .hint("run in a folder of one, or name it under `repositories` in the configuration"),
        (_, ErrorClass::Repository) if error.message().contains("extension") => {
            Diagnostic::new(format!("{place} uses a git format that is not supported: {}", error.message()))
                .hint("references in the reftable format are converted by `git refs migrate --ref-format=files`")
        }
        _ => Diagnostic::new(format!("{place} cannot be opened: {}", error.message())),
    };
    SourceError::Person(wrong)
}
