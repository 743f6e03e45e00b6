//! Which image the first steps of a workflow start from. Pure: what EC2 has is handed in.
//!
//! A base given by id is that image. One given by pattern and owner is resolved once; from then on
//! the records that stand on it pin it. A newer match is reported, and taken only under
//! `base_ami_policy: follow`. Without an owner a pattern never gets here (`workflow::params`
//! refuses it): anybody can publish an image of any name.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::desired::step::SourceImage;
use crate::name_pattern::matches;
use crate::workflow::RootBase;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::{AmiId, AmiName, Region};
use reconciler_model::images::{Image, ImageState};
use reconciler_model::inventory::record::RecordHead;
use reconciler_model::policy::BaseAmiPolicy;

/// How long the newest match of a pattern is believed: publishers of base images take days between
/// two.
const LOOK_AGAIN: Duration = Duration::from_hours(1);

/// Where the first steps start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedBase {
    /// The image.
    pub image: SourceImage,
    /// A newer match of the pattern that is not used.
    pub newer: Option<SourceImage>,
    /// Why nothing can be built on the image now. What was built on it before stands as it is.
    pub unusable: Option<Diagnostic>,
    /// What is worth a word but stops nothing.
    pub warnings: Vec<Diagnostic>,
}

/// What is known when a base is resolved.
#[derive(Clone, Copy, Debug)]
pub struct BaseQuestion<'a> {
    /// What `workflow_param.json` says.
    pub base: &'a RootBase,
    /// That file, as the user names it.
    pub path: &'a str,
    /// What happens when a newer image appears.
    pub policy: BaseAmiPolicy,
    /// Where images are made.
    pub region: &'a Region,
    /// The image that the records stand on, of [`pin`].
    pub pinned: Option<&'a SourceImage>,
    /// What EC2 has; none when it was not asked. Holds the images of [`ids_to_describe`] that
    /// exist.
    pub images: Option<&'a BTreeMap<AmiId, Image>>,
    /// The newest match of the pattern, of [`search_is_due`]; none where it was not looked for or
    /// there is none.
    pub newest: Option<&'a SourceImage>,
}

/// The image that the records of a workflow stand on, where its base is a pattern: that of the
/// newest record whose base still fits. The library's older records carry the pattern itself as the
/// base's name.
#[must_use]
pub fn pin<'a>(
    base: &RootBase,
    records: impl IntoIterator<Item = &'a RecordHead>,
) -> Option<SourceImage> {
    let RootBase::Pattern { pattern, .. } = base else {
        return None;
    };
    records
        .into_iter()
        .filter(|record| {
            let name = record.root_base_ami_name.as_str();
            name == pattern || matches(pattern, name)
        })
        .max_by_key(|record| (record.create_at, &record.step_id))
        .map(|record| SourceImage {
            id: record.root_base_ami_id.clone(),
            name: record.root_base_ami_name.clone(),
        })
}

/// The images whose sight [`resolve`] and [`search_is_due`] need; they belong into the batch in
/// which the recorded images are looked up.
pub fn ids_to_describe<'a>(
    base: &'a RootBase,
    pinned: Option<&'a SourceImage>,
    last: Option<&'a BaseSearch>,
) -> impl Iterator<Item = &'a AmiId> {
    let (first, second) = match base {
        RootBase::Image { id, .. } => (Some(id), None),
        RootBase::Pattern { .. } => (
            pinned.map(|image| &image.id),
            last.and_then(|last| last.newest.as_ref()).map(|newest| &newest.id),
        ),
    };
    first.into_iter().chain(second)
}

/// What EC2 said when it was asked for the newest match of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseSearch {
    /// The pattern and its owner.
    pub base: RootBase,
    /// When it was asked.
    pub at: Timestamp,
    /// The newest match; none if there was none.
    pub newest: Option<SourceImage>,
}

/// Whether EC2 is to be asked for the newest match of a pattern: at once while nothing is pinned
/// and where the last match is not there any more (`images` holds it if it is), from time to time
/// later.
#[must_use]
pub fn search_is_due(
    base: &RootBase,
    pinned: Option<&SourceImage>,
    last: Option<&BaseSearch>,
    images: &BTreeMap<AmiId, Image>,
    now: Timestamp,
) -> bool {
    let RootBase::Pattern { .. } = base else {
        return false;
    };
    let (Some(_), Some(last)) = (pinned, last.filter(|last| last.base == *base)) else {
        return true;
    };
    let stands = last.newest.as_ref().is_none_or(|newest| {
        images.get(&newest.id).is_some_and(|image| image.state == ImageState::Available)
    });
    !stands || now.duration_since(last.at).unsigned_abs() >= LOOK_AGAIN
}

/// Decides. An error where no image can be named at all.
pub fn resolve(question: &BaseQuestion<'_>) -> Result<ResolvedBase, Diagnostic> {
    match question.base {
        RootBase::Image { id, name } => Ok(question.by_id(id, name)),
        RootBase::Pattern { pattern, owner } => question.by_pattern(pattern, owner),
    }
}

impl BaseQuestion<'_> {
    fn by_id(&self, id: &AmiId, name: &str) -> ResolvedBase {
        let image = SourceImage { id: id.clone(), name: AmiName::new(name) };
        let named_otherwise = self
            .sight_of(id)
            .filter(|seen| seen.name.as_str() != name)
            .map(|seen| {
                self.say(format!("the base image {id} is called `{}` at EC2, not `{name}`", seen.name))
                    .hint("images and tags carry the name of `root_base_ami_name`; check that the id is the one you mean")
            });
        ResolvedBase {
            unusable: self.why_unusable(id),
            image,
            newer: None,
            warnings: named_otherwise.into_iter().collect(),
        }
    }

    fn by_pattern(&self, pattern: &str, owner: &str) -> Result<ResolvedBase, Diagnostic> {
        // An image of the right name and the wrong owner is no match, whatever a record says.
        let pinned = self.pinned.filter(|image| {
            let seen = self.sight_of(&image.id);
            seen.is_none_or(|seen| !is_account(owner) || seen.owner_id == owner)
        });
        let newest = self.newest.cloned();
        let Some(pinned) = pinned else {
            let image = newest.ok_or_else(|| self.no_match(pattern, owner))?;
            return Ok(ResolvedBase { image, newer: None, unusable: None, warnings: Vec::new() });
        };
        let pinned = self.with_real_name(pinned);
        let newer = newest.filter(|newest| newest.id != pinned.id);
        match (self.policy, newer) {
            (BaseAmiPolicy::Follow, Some(image)) => Ok(ResolvedBase {
                image,
                newer: None,
                unusable: None,
                warnings: Vec::new(),
            }),
            (_, newer) => Ok(ResolvedBase {
                unusable: self.why_unusable(&pinned.id).map(|said| match &newer {
                    Some(newer) => said.hint(format!(
                        "set `base_ami_policy: follow` to build on the newest match, {}, or name an image by `root_base_ami_id`",
                        newer.id
                    )),
                    None => said,
                }),
                image: pinned,
                newer,
                warnings: Vec::new(),
            }),
        }
    }

    /// The library's older records carry the pattern as the name; EC2 knows the real one.
    fn with_real_name(&self, pinned: &SourceImage) -> SourceImage {
        SourceImage {
            id: pinned.id.clone(),
            name: match self.sight_of(&pinned.id) {
                Some(seen) if pinned.name.as_str().contains(['*', '?']) => seen.name.clone(),
                _ => pinned.name.clone(),
            },
        }
    }

    fn sight_of(&self, id: &AmiId) -> Option<&Image> {
        self.images?.get(id)
    }

    fn why_unusable(&self, id: &AmiId) -> Option<Diagnostic> {
        let region = self.region;
        match self.images?.get(id).map(|image| &image.state) {
            Some(ImageState::Available) => None,
            None => Some(
                self.say(format!(
                    "the base image {id} does not exist in {region}, or is not shared with this account"
                ))
                .hint("image ids differ from region to region; check the id, the region, and the image's launch permissions"),
            ),
            Some(ImageState::Pending) => Some(
                self.say(format!("the base image {id} is still being made"))
                    .hint("builds start when it is available"),
            ),
            Some(ImageState::Failed(state) | ImageState::Other(state)) => Some(
                self.say(format!("the base image {id} cannot be used: {state}"))
                    .hint("name another image by `root_base_ami_id`"),
            ),
        }
    }

    fn no_match(&self, pattern: &str, owner: &str) -> Diagnostic {
        if self.images.is_none() {
            return self
                .say(format!("the base image `{pattern}` is not known before EC2 was asked for it"))
                .hint("let this command look at EC2, or name the image by `root_base_ami_id`");
        }
        self.say(format!("no available image of {owner} in {} is called `{pattern}`", self.region))
            .hint("check the pattern, the owner's account id and the region")
    }

    fn say(&self, message: String) -> Diagnostic {
        Diagnostic::new(message).in_file(self.path)
    }
}

/// An owner may also be an alias (`amazon`), which no image carries as its owner's id.
fn is_account(owner: &str) -> bool {
    owner.len() == 12 && owner.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests;
