//! What a reference names, as raw objects: the annotated tags on the way, and the commit. For those who verify signatures.

use git2::{ObjectType, Oid, Repository};

use crate::ids::Revision;
use crate::source::SourceError;
use crate::source::error::unreadable;
use crate::source::store::Store;

/// What a reference names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The commit.
    pub revision: Revision,
    /// The commit's own bytes.
    pub commit: Vec<u8>,
    /// Annotated tags, from the reference to the commit; mostly none.
    pub tags: Vec<Tag>,
}

/// An annotated tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Its object's id.
    pub id: String,
    /// The name below `refs/tags/` that led to it; none if a person gave its id, or another tag names it.
    pub reference: Option<String>,
    /// Its own bytes.
    pub raw: Vec<u8>,
}

impl Store {
    /// What the followed reference, or `rev`, names now.
    pub(super) fn named(&self, rev: Option<&str>) -> Result<Named, SourceError> {
        let revision = self.resolve(rev)?;
        let named = self.with(|repository| {
            let failed = |error: git2::Error| {
                let what = format!("what {} stands for", revision.short());
                unreadable(self.place(), &what, &error)
            };
            let (start, reference) = self.pointed(repository, rev).map_err(failed)?;
            chain(repository, start, reference).map_err(failed)
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
            (Some(rev), _) => repository.revparse_ext(rev)?,
            (None, None) => return Ok((repository.head()?.peel_to_commit()?.id(), None)),
            (None, Some(name)) => {
                let reference = ["refs/heads/", "refs/tags/", ""]
                    .iter()
                    .find_map(|folder| repository.find_reference(&format!("{folder}{name}")).ok());
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

fn chain(
    repository: &Repository,
    start: Oid,
    mut reference: Option<String>,
) -> Result<Named, git2::Error> {
    let odb = repository.odb()?;
    let mut tags = Vec::new();
    let mut at = start;
    loop {
        let object = odb.read(at)?;
        let raw = object.data().to_vec();
        if object.kind() != ObjectType::Tag {
            return Ok(Named {
                revision: Revision::new(at.to_string()),
                commit: raw,
                tags,
            });
        }
        tags.push(Tag {
            id: at.to_string(),
            reference: reference.take(),
            raw,
        });
        at = repository.find_tag(at)?.target_id();
    }
}
