//! What a reference names, as raw objects: the annotated tags on the way, and the commit. For those
//! who verify signatures.

use git2::{ObjectType, Oid, Repository};

use crate::git::error::unreadable;
use crate::git::store::Store;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::Revision;
use reconciler_model::source::SourceError;

/// What a reference names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedRevision {
    /// The commit.
    pub revision: Revision,
    /// The commit's own bytes.
    pub commit: Vec<u8>,
    /// Annotated tags, from the reference to the commit; mostly none.
    pub tags: Vec<Tag>,
    /// Whether the name that led there is a branch's and a tag's at once, so that whoever may push
    /// decides which of them is meant.
    pub is_ambiguous: bool,
}

/// An annotated tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Its object's id.
    pub id: String,
    /// The name below `refs/tags/` that led to it; none if a person gave its id, or another tag
    /// names it.
    pub reference: Option<String>,
    /// Its own bytes.
    pub raw: Vec<u8>,
}

impl Store {
    /// What the followed reference, or `rev`, names now.
    pub(super) fn named(&self, rev: Option<&str>) -> Result<NamedRevision, SourceError> {
        let revision = self.resolve(rev)?;
        let named = self.with(|repository| {
            let failed = |error: git2::Error| {
                let what = format!("what {} stands for", revision.short());
                unreadable(self.place(), &what, &error)
            };
            let (start, reference) = self.pointed(repository, rev).map_err(failed)?;
            let name = rev.or(self.followed_name());
            let named = chain(repository, start, reference).map_err(failed)?;
            Ok(NamedRevision {
                is_ambiguous: name.is_some_and(|name| is_ambiguous(repository, name)),
                ..named
            })
        })?;
        if named.revision != revision {
            return Err(SourceError::Transient {
                place: self.place().to_owned(),
                detail: "the reference moved while it was read".to_owned(),
            });
        }
        Ok(named)
    }

    /// The object that is named, tag or commit, and the name of the tag that leads to it.
    fn pointed(
        &self,
        repository: &Repository,
        rev: Option<&str>,
    ) -> Result<(Oid, Option<String>), git2::Error> {
        let (object, reference) = match (rev, self.followed_name()) {
            (Some(rev), _) => repository.revparse_ext(&meant(repository, rev))?,
            (None, None) => return Ok((repository.head()?.peel_to_commit()?.id(), None)),
            (None, Some(name)) => {
                let reference = full_names(name)
                    .into_iter()
                    .find_map(|full| repository.find_reference(&full).ok());
                let reference = reference.ok_or_else(|| git2::Error::from_str("it is gone"))?;
                let gone = || git2::Error::from_str("it names nothing");
                let target = reference.resolve()?.target().ok_or_else(gone)?;
                (repository.find_object(target, None)?, Some(reference))
            }
        };
        let name = reference.and_then(|reference| {
            let full = reference.name().ok()?.to_owned();
            full.strip_prefix("refs/tags/").map(str::to_owned)
        });
        Ok((object.id(), name))
    }
}

/// A revision that a person names. Git takes a tag for it before a branch of the same name; what is
/// followed is taken the other way round, and so is this.
pub(super) fn meant(repository: &Repository, rev: &str) -> String {
    if is_ambiguous(repository, rev) { format!("refs/heads/{rev}") } else { rev.to_owned() }
}

/// Where a followed name is looked for. One that is written out is what it says: whoever may push
/// could make a branch `refs/tags/v1`.
pub(super) fn full_names(name: &str) -> Vec<String> {
    if name.starts_with("refs/") {
        return vec![name.to_owned()];
    }
    ["refs/heads/", "refs/tags/", ""].map(|folder| format!("{folder}{name}")).to_vec()
}

impl Store {
    /// The word that a name is a branch's and a tag's at once, and which of them it is taken for.
    pub(super) fn ambiguity(&self, name: &str) -> Option<Diagnostic> {
        let found = self.with(|repository| Ok(is_ambiguous(repository, name)));
        found.is_ok_and(|is_ambiguous| is_ambiguous).then(|| {
            Diagnostic::new(format!(
                "`{name}` is a branch and a tag of {}; the branch is taken",
                self.place()
            ))
            .hint(format!(
                "write refs/tags/{name} for the tag, or refs/heads/{name} for the branch"
            ))
        })
    }
}

fn is_ambiguous(repository: &Repository, name: &str) -> bool {
    let is_there = |folder: &str| repository.find_reference(&format!("{folder}{name}")).is_ok();
    is_there("refs/heads/") && is_there("refs/tags/")
}

fn chain(
    repository: &Repository,
    start: Oid,
    mut reference: Option<String>,
) -> Result<NamedRevision, git2::Error> {
    let odb = repository.odb()?;
    let mut tags = Vec::new();
    let mut at = start;
    loop {
        let object = odb.read(at)?;
        let raw = object.data().to_vec();
        if object.kind() != ObjectType::Tag {
            return Ok(NamedRevision {
                revision: Revision::new(at.to_string()),
                commit: raw,
                tags,
                is_ambiguous: false,
            });
        }
        tags.push(Tag { id: at.to_string(), reference: reference.take(), raw });
        at = repository.find_tag(at)?.target_id();
    }
}
