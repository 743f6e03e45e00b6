//! What of the things that EC2 shows is one build's own. Pure: this is the only place that names
//! something to be removed.
//!
//! # Guarantees
//!
//! Nothing that another build or a person made is named. A log tells what to look for, but a log
//! can be forged by what a provisioner prints, so EC2's own word is needed as well: a key or group
//! of the form that Packer gives for one run, a launch after the build began, an image without
//! another build's tag.

use jiff::Timestamp;
use reconciler_model::clock;
use reconciler_model::images::BUILD_ID_TAG;
use std::collections::BTreeSet;

use reconciler_model::ids::{AmiName, BuildId};
use reconciler_model::images::{Image, ImageState, Leftovers};

/// An instance that is not terminated.
#[derive(Clone, Debug, Default)]
pub(super) struct Instance {
    pub(super) id: String,
    pub(super) key: Option<String>,
    pub(super) groups: Vec<String>,
    pub(super) launched: Option<Timestamp>,
}

/// A key pair.
#[derive(Clone, Debug)]
pub(super) struct KeyPair {
    pub(super) name: String,
    pub(super) created: Option<Timestamp>,
}

/// A snapshot of our own whose description names an instance or an image of the build.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) id: String,
    pub(super) description: String,
    pub(super) started: Option<Timestamp>,
    pub(super) tagged: bool,
}

/// What EC2 shows under what was told.
#[derive(Clone, Debug, Default)]
pub(super) struct Sight {
    pub(super) instances: Vec<Instance>,
    pub(super) key_pairs: Vec<KeyPair>,
    pub(super) security_groups: Vec<String>,
    /// Our own images of the build's name, of the told ids, and those that the snapshots were made
    /// for.
    pub(super) images: Vec<Image>,
    pub(super) snapshots: Vec<Snapshot>,
}

/// One build, and what its log told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Suspect<'a> {
    pub(super) build: &'a BuildId,
    pub(super) name: &'a AmiName,
    pub(super) told: &'a Leftovers,
}

impl Suspect<'_> {
    /// What of it is the build's own and is not to stay.
    pub(super) fn owns(&self, sight: &Sight) -> Leftovers {
        let images: Vec<&Image> = sight
            .images
            .iter()
            .filter(|image| self.owns_image(image) || self.is_on_the_way(image, sight))
            .collect();
        let mut snapshots: BTreeSet<String> =
            images.iter().flat_map(|image| image.snapshots.iter().cloned()).collect();
        let kept = |id: &str| {
            sight.images.iter().any(|image| image.id.as_str() == id)
                && !images.iter().any(|image| image.id.as_str() == id)
        };
        snapshots.extend(
            sight
                .snapshots
                .iter()
                .filter(|snapshot| self.is_recent(snapshot.started))
                .filter(|snapshot| {
                    let is_of_an_image =
                        made_for(&snapshot.description).is_some_and(|id| !kept(id));
                    self.told.snapshots.contains(&snapshot.id)
                        || (is_of_an_image && !snapshot.tagged)
                })
                .map(|snapshot| snapshot.id.clone()),
        );
        let instances: BTreeSet<String> = sight
            .instances
            .iter()
            .filter(|instance| self.owns_instance(instance))
            .map(|instance| instance.id.clone())
            .collect();
        Leftovers {
            instances: instances.into_iter().collect(),
            key_pairs: sight
                .key_pairs
                .iter()
                .filter(|key| told(&self.told.key_pairs, &key.name) && self.is_recent(key.created))
                .map(|key| key.name.clone())
                .collect(),
            security_groups: sight
                .security_groups
                .iter()
                .filter(|name| told(&self.told.security_groups, name))
                .cloned()
                .collect(),
            images: images.iter().map(|image| image.id.clone()).collect(),
            told_images: Vec::new(),
            snapshots: snapshots.into_iter().collect(),
        }
    }

    fn owns_instance(&self, instance: &Instance) -> bool {
        if !self.is_recent(instance.launched) {
            return false;
        }
        if let Some(key) = &instance.key
            && is_packers(key)
        {
            // Seeded bug: clean-up-takes-what-is-anothers
            return told(&self.told.key_pairs, key);
        }
        let mut groups = instance.groups.iter().filter(|group| is_packers(group)).peekable();
        if groups.peek().is_some() {
            return groups.any(|group| told(&self.told.security_groups, group));
        }
        // A template with a key and a group of its own: only the log tells.
        self.told.instances.contains(&instance.id)
    }

    /// An image of the build's unique name that was never finished, or whose removal was asked for
    /// by its id.
    fn owns_image(&self, image: &Image) -> bool {
        let of_another =
            image.tags.get(BUILD_ID_TAG).is_some_and(|build| build != self.build.as_str());
        let asked_for = self.told.images.contains(&image.id);
        let unfinished = image.name == *self.name && image.state != ImageState::Available;
        !of_another && self.is_recent(Some(image.created_at)) && (asked_for || unfinished)
    }

    /// An image that Packer makes on the way to the wanted one (`encrypt_boot`): its log names it,
    /// it has the kind of name that Packer draws, nobody has tagged it for another build, and EC2
    /// says that it was made from an instance of the log.
    fn is_on_the_way(&self, image: &Image, sight: &Sight) -> bool {
        let own_instance = |snapshot: &Snapshot| {
            made_for(&snapshot.description) == Some(image.id.as_str())
                && made_from(&snapshot.description)
                    .is_some_and(|id| self.told.instances.iter().any(|told| told == id))
        };
        self.told.told_images.contains(&image.id)
            && is_drawn(image.name.as_str())
            && !image.tags.contains_key(BUILD_ID_TAG)
            && self.is_recent(Some(image.created_at))
            && sight.snapshots.iter().any(own_instance)
    }

    /// Whether it can have been made by this build, as far as EC2 says when it was made.
    fn is_recent(&self, made: Option<Timestamp>) -> bool {
        match (self.build.made_at(), made) {
            (Some(began), Some(made)) => made + clock::OF_AWS >= began,
            _ => true,
        }
    }
}

/// Whether a key or a group has a name that Packer gives for one run: `packer_` and a UUID.
pub(super) fn is_packers(name: &str) -> bool {
    name.strip_prefix("packer_").is_some_and(|id| uuid::Uuid::try_parse(id).is_ok())
}

fn told(names: &[String], name: &str) -> bool {
    is_packers(name) && names.iter().any(|told| told == name)
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
pub(super) fn made_for(description: &str) -> Option<&str> {
    let (_, rest) = description.strip_prefix("Created by CreateImage(")?.split_once(") for ")?;
    let id = rest.split_whitespace().next()?;
    id.starts_with("ami-").then_some(id)
}

#[cfg(test)]
mod tests;
