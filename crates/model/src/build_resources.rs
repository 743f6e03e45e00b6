//! What a build made at AWS besides its image: what its log claims ([`ClaimedResources`]), what is
//! looked for ([`ResourceSearch`]), what EC2 shows ([`VisibleResources`]), and what may be removed
//! ([`OwnedResources`]). Pure.
//!
//! # Guarantees
//!
//! [`ResourceSearch::owned`] is the only function that makes something removable, and the port
//! removes nothing else. Nothing that another build or a person made is named, and no image that
//! was recorded. A log tells what to look for, but a log can be forged by what a provisioner
//! prints, so EC2's own word is needed as well: a key or group of the form that Packer gives for
//! one run, a launch after the build began, an image without another build's tag.
//!
//! ```compile_fail
//! use reconciler_model::build_resources::{OwnedResource, ResourceKind};
//! // The fields are private: nobody else can say that something may be removed.
//! let image = OwnedResource { kind: ResourceKind::Image, id: "ami-1".to_owned() };
//! ```
//!
//! ```compile_fail
//! use reconciler_model::build_resources::{ClaimedResources, OwnedResources};
//! fn forget_to_ask(claimed: ClaimedResources) -> OwnedResources {
//!     claimed.into()
//! }
//! ```

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::ids::{AmiId, AmiName, BuildId};
use crate::images::{BUILD_ID_TAG, Image, ImageState};

/// What a build's log claims to have made at AWS. A provisioner can print such lines too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimedResources {
    /// `i-…`
    pub instances: Vec<String>,
    /// Key pair names (`packer_…`), unique to one run of Packer.
    pub key_pairs: Vec<String>,
    /// Security group names (`packer_…`), unique to one run of Packer.
    pub security_groups: Vec<String>,
    /// Images, as an earlier version kept them.
    pub images: Vec<AmiId>,
    /// Images.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub told_images: Vec<AmiId>,
    /// `snap-…`
    pub snapshots: Vec<String>,
}

impl ClaimedResources {
    /// All images.
    pub fn all_images(&self) -> impl Iterator<Item = &AmiId> {
        self.images.iter().chain(&self.told_images)
    }
}

/// Whether images of a build may be removed.
#[derive(Clone, Debug)]
pub enum RemovableImages {
    /// None, nor any snapshot.
    None,
    /// Those of the build that were never finished or that are not to stay, with their snapshots.
    ButRecorded {
        /// Its finished images that nobody wants.
        unwanted: Vec<AmiId>,
        /// Those that are recorded, or ever were: they stay, whatever else is so.
        recorded: BTreeSet<AmiId>,
    },
}

/// What is looked for of one build.
#[derive(Clone, Debug)]
pub struct ResourceSearch<'a> {
    /// The build.
    pub build: &'a BuildId,
    /// The unique name of its image; none if another has that name, or nobody knows it.
    pub image_name: Option<&'a AmiName>,
    /// What its log claims.
    pub claimed: ClaimedResources,
    /// Whether images are to go.
    pub images: RemovableImages,
}

/// An instance that is not terminated.
#[derive(Clone, Debug, Default)]
pub struct Instance {
    /// `i-…`
    pub id: String,
    /// The name of its key pair.
    pub key: Option<String>,
    /// The names of its security groups.
    pub groups: Vec<String>,
    /// When it was launched.
    pub launched: Option<Timestamp>,
}

/// A key pair.
#[derive(Clone, Debug)]
pub struct KeyPair {
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: Option<Timestamp>,
}

/// A snapshot of our own whose description names an instance or an image of the build.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// `snap-…`
    pub id: String,
    /// What EC2 says that it was made for.
    pub description: String,
    /// When it was begun.
    pub started: Option<Timestamp>,
    /// Whether it has tags.
    pub tagged: bool,
}

/// What EC2 shows of what is looked for.
#[derive(Clone, Debug, Default)]
pub struct VisibleResources {
    /// The instances.
    pub instances: Vec<Instance>,
    /// The key pairs.
    pub key_pairs: Vec<KeyPair>,
    /// The names of the security groups.
    pub security_groups: Vec<String>,
    /// Our own images of the build's name, of the ids that are looked for, and those that the
    /// snapshots were made for.
    pub images: Vec<Image>,
    /// The snapshots.
    pub snapshots: Vec<Snapshot>,
}

impl VisibleResources {
    /// Adds those images that are not in sight yet.
    pub fn add_images(&mut self, found: impl IntoIterator<Item = Image>) {
        for image in found {
            if !self.images.iter().any(|seen| seen.id == image.id) {
                self.images.push(image);
            }
        }
    }
}

/// What kind of thing can be removed, in the order that EC2 needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceKind {
    /// An instance, by its id.
    Instance,
    /// A key pair, by its name.
    KeyPair,
    /// A security group, by its name.
    SecurityGroup,
    /// An image, by its id.
    Image,
    /// A snapshot, by its id.
    Snapshot,
}

/// One thing that is one build's own and is not to stay: it may be removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedResource {
    kind: ResourceKind,
    id: String,
}

impl OwnedResource {
    /// What it is.
    #[must_use]
    pub fn kind(&self) -> ResourceKind {
        self.kind
    }

    /// Its id or name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// What is one build's own and is not to stay, in the order in which it can go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnedResources(Vec<OwnedResource>);

impl OwnedResources {
    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = &OwnedResource> {
        self.0.iter()
    }

    /// The ids or names of one kind.
    #[must_use]
    pub fn ids(&self, kind: ResourceKind) -> Vec<&str> {
        self.iter().filter(|one| one.kind == kind).map(OwnedResource::id).collect()
    }

    fn add(&mut self, kind: ResourceKind, ids: impl IntoIterator<Item = String>) {
        self.0.extend(ids.into_iter().map(|id| OwnedResource { kind, id }));
    }
}

impl ResourceSearch<'_> {
    /// Finished images that are looked for by their ids.
    #[must_use]
    pub fn unwanted_images(&self) -> &[AmiId] {
        match &self.images {
            RemovableImages::None => &[],
            RemovableImages::ButRecorded { unwanted, .. } => unwanted,
        }
    }

    /// What of it is the build's own and is not to stay.
    #[must_use]
    pub fn owned(&self, visible: &VisibleResources) -> OwnedResources {
        let instances: BTreeSet<String> = visible
            .instances
            .iter()
            .filter(|instance| self.owns_instance(instance))
            .map(|instance| instance.id.clone())
            .collect();
        let keys = visible.key_pairs.iter();
        let keys = keys.filter(|key| {
            is_claimed(&self.claimed.key_pairs, &key.name) && self.is_recent(key.created)
        });
        let groups = visible.security_groups.iter();
        let groups = groups.filter(|name| is_claimed(&self.claimed.security_groups, name));
        let mut owned = OwnedResources::default();
        owned.add(ResourceKind::Instance, instances);
        owned.add(ResourceKind::KeyPair, keys.map(|key| key.name.clone()));
        owned.add(ResourceKind::SecurityGroup, groups.cloned());
        self.add_images(visible, &mut owned);
        owned
    }

    /// Images and snapshots, unless all stay. What an image stands on that stays does not go.
    fn add_images(&self, visible: &VisibleResources, owned: &mut OwnedResources) {
        let RemovableImages::ButRecorded { recorded, .. } = &self.images else {
            return;
        };
        let (go, stay): (Vec<&Image>, Vec<&Image>) = visible.images.iter().partition(|image| {
            // Seeded bug: sweep-takes-a-recorded-image
            !recorded.contains(&image.id)
                && (self.owns_image(image) || self.is_on_the_way(image, visible))
        });
        let stays = |id: &str| stay.iter().any(|image| image.id.as_str() == id);
        let found = visible.snapshots.iter().filter(|snapshot| {
            let is_of_an_image = made_for(&snapshot.description).is_some_and(|id| !stays(id));
            self.is_recent(snapshot.started)
                && (self.claimed.snapshots.contains(&snapshot.id)
                    || (is_of_an_image && !snapshot.tagged))
        });
        let mut snapshots: BTreeSet<&String> = found.map(|snapshot| &snapshot.id).collect();
        snapshots.extend(go.iter().flat_map(|image| &image.snapshots));
        for snapshot in stay.iter().flat_map(|image| &image.snapshots) {
            snapshots.remove(snapshot);
        }
        owned.add(ResourceKind::Image, go.iter().map(|image| image.id.to_string()));
        owned.add(ResourceKind::Snapshot, snapshots.into_iter().cloned());
    }

    fn owns_instance(&self, instance: &Instance) -> bool {
        if !self.is_recent(instance.launched) {
            return false;
        }
        if let Some(key) = &instance.key
            && is_packers(key)
        {
            // Seeded bug: clean-up-takes-what-is-anothers
            return is_claimed(&self.claimed.key_pairs, key);
        }
        let mut groups = instance.groups.iter().filter(|group| is_packers(group)).peekable();
        if groups.peek().is_some() {
            return groups.any(|group| is_claimed(&self.claimed.security_groups, group));
        }
        // A template with a key and a group of its own: only the log tells.
        self.claimed.instances.contains(&instance.id)
    }

    /// An image of the build's unique name that was never finished, or whose removal was asked for
    /// by its id.
    fn owns_image(&self, image: &Image) -> bool {
        let of_another =
            image.tags.get(BUILD_ID_TAG).is_some_and(|build| build != self.build.as_str());
        let unwanted = self.unwanted_images().contains(&image.id);
        let is_named = self.image_name.is_some_and(|name| image.name == *name);
        let unfinished = is_named && image.state != ImageState::Available;
        !of_another && self.is_recent(Some(image.created_at)) && (unwanted || unfinished)
    }

    /// An image that Packer makes on the way to the wanted one (`encrypt_boot`): its log names it,
    /// it has the kind of name that Packer draws, nobody has tagged it for another build, and EC2
    /// says that it was made from an instance of the log.
    fn is_on_the_way(&self, image: &Image, visible: &VisibleResources) -> bool {
        let own_instance = |snapshot: &Snapshot| {
            made_for(&snapshot.description) == Some(image.id.as_str())
                && made_from(&snapshot.description)
                    .is_some_and(|id| self.claimed.instances.iter().any(|claimed| claimed == id))
        };
        self.claimed.all_images().any(|id| *id == image.id)
            && is_drawn(image.name.as_str())
            && !image.tags.contains_key(BUILD_ID_TAG)
            && self.is_recent(Some(image.created_at))
            && visible.snapshots.iter().any(own_instance)
    }

    /// Whether it can have been made by this build, as far as EC2 says when it was made.
    fn is_recent(&self, made: Option<Timestamp>) -> bool {
        match (self.build.made_at(), made) {
            (Some(began), Some(made)) => {
                made.saturating_add(clock::OF_AWS).unwrap_or(Timestamp::MAX) >= began
            }
            _ => true,
        }
    }
}

/// Whether a key or a group has a name that Packer gives for one run: `packer_` and a UUID.
#[must_use]
pub fn is_packers(name: &str) -> bool {
    name.strip_prefix("packer_").is_some_and(|id| uuid::Uuid::try_parse(id).is_ok())
}

fn is_claimed(names: &[String], name: &str) -> bool {
    is_packers(name) && names.iter().any(|claimed| claimed == name)
}

/// The name that Packer draws for an image that is not to stay: seven letters and digits.
fn is_drawn(name: &str) -> bool {
    name.len() == 7 && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The instance that a snapshot was made from, in the same words.
fn made_from(description: &str) -> Option<&str> {
    let (id, _) = description.strip_prefix("Created by CreateImage(")?.split_once(')')?;
    id.starts_with("i-").then_some(id)
}

/// The image that a snapshot was made for: `Created by CreateImage(i-…) for ami-…`.
#[must_use]
pub fn made_for(description: &str) -> Option<&str> {
    let (_, rest) = description.strip_prefix("Created by CreateImage(")?.split_once(") for ")?;
    let id = rest.split_whitespace().next()?;
    id.starts_with("ami-").then_some(id)
}

#[cfg(test)]
mod tests;
