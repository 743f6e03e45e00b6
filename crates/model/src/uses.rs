//! What refers to images at AWS, as far as AWS tells.
//!
//! Where nobody has looked, or nobody could, an image is not known to be unused: [`Uses`] holds that
//! for every look that was not made. What follows from it is for `core::images` to say.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::ids::AmiId;

/// One look at one place where images are referred to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Look {
    /// EC2's own list: instances, launch templates, parameters, recipes of Image Builder.
    References,
    /// Launch templates, all their versions, with the parameters that they name instead.
    LaunchTemplates,
    /// Launch configurations of auto-scaling groups.
    LaunchConfigurations,
    /// Overrides of auto-scaling groups.
    AutoScalingGroups,
    /// Overrides of EC2 fleets.
    Fleets,
    /// Specifications of Spot fleets.
    SpotFleets,
    /// Requests for Spot instances.
    SpotRequests,
    /// With whom an image is shared.
    LaunchPermissions,
}

impl Look {
    /// Every look that there is.
    pub const ALL: [Self; 8] = [
        Self::References,
        Self::LaunchTemplates,
        Self::LaunchConfigurations,
        Self::AutoScalingGroups,
        Self::Fleets,
        Self::SpotFleets,
        Self::SpotRequests,
        Self::LaunchPermissions,
    ];
}

/// What kind of thing refers to an image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum UserKind {
    /// An instance that is not terminated.
    Instance,
    /// A launch template.
    LaunchTemplate,
    /// A parameter of Systems Manager.
    Parameter,
    /// A recipe for images of Image Builder.
    ImageRecipe,
    /// A recipe for containers of Image Builder.
    ContainerRecipe,
    /// A launch configuration.
    LaunchConfiguration,
    /// An auto-scaling group.
    AutoScalingGroup,
    /// An EC2 fleet.
    Fleet,
    /// A Spot fleet.
    SpotFleet,
    /// A request for a Spot instance.
    SpotRequest,
    /// An account that it is shared with.
    Account,
    /// An organization that it is shared with.
    Organization,
    /// An organizational unit that it is shared with.
    OrganizationalUnit,
    /// Everybody: it is public.
    Everybody,
    /// A kind that EC2 names and this program does not know.
    Other(String),
}

/// A thing that refers to an image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ImageUser {
    /// What it is.
    pub kind: UserKind,
    /// Its id or name; empty for everybody.
    pub name: String,
}

impl ImageUser {
    /// A thing of this kind and name.
    pub fn new(kind: UserKind, name: impl Into<String>) -> Self {
        Self { kind, name: name.into() }
    }
}

/// Something that could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Unread {
    /// Why, for people.
    pub why: String,
    /// The permission that is missing, where that is why: `ec2:DescribeLaunchTemplates`.
    pub permission: Option<String>,
}

impl Unread {
    /// For this reason, which is no missing permission.
    pub fn because(why: impl Into<String>) -> Self {
        Self { why: why.into(), permission: None }
    }
}

/// What one look has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sightings {
    /// What refers to each image.
    pub users: BTreeMap<AmiId, BTreeSet<ImageUser>>,
    /// What may refer to any image, for it could not be read.
    pub unread: Vec<Unread>,
    /// What may refer to one image.
    pub unread_of: BTreeMap<AmiId, Vec<Unread>>,
}

impl Sightings {
    /// Something refers to an image.
    pub fn add(&mut self, image: &AmiId, user: ImageUser) {
        self.users.entry(image.clone()).or_default().insert(user);
    }

    /// A look that could not be made.
    #[must_use]
    pub fn failed(why: Unread) -> Self {
        Self { unread: vec![why], ..Self::default() }
    }
}

/// Whose an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// This account's.
    Own,
    /// Another account's, or nobody's: there is none.
    NotOwn,
    /// Nobody could tell.
    Unknown(Unread),
}

/// What refers to some images, as far as was looked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uses {
    own: Result<BTreeSet<AmiId>, Unread>,
    looks: BTreeMap<Look, Sightings>,
    asked: BTreeSet<AmiId>,
}

/// What is known of the uses of one image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageUses {
    /// What refers to it.
    pub users: BTreeSet<ImageUser>,
    /// What could not be looked at: it may refer to it.
    pub unread: Vec<(Look, Unread)>,
}

impl Uses {
    /// Nobody has looked yet, for these images.
    pub fn nobody_looked(images: impl IntoIterator<Item = AmiId>) -> Self {
        Self {
            own: Err(Unread::because("nobody looked")),
            looks: BTreeMap::new(),
            asked: images.into_iter().collect(),
        }
    }

    /// Which of the images are this account's.
    pub fn saw_own(&mut self, own: Result<BTreeSet<AmiId>, Unread>) {
        self.own = own;
    }

    /// What one look over all the images has come to.
    pub fn saw(&mut self, look: Look, sightings: Sightings) {
        self.looks.insert(look, sightings);
    }

    /// Whose an image is.
    #[must_use]
    pub fn ownership(&self, image: &AmiId) -> Ownership {
        match &self.own {
            Ok(_) if !self.asked.contains(image) => {
                Ownership::Unknown(Unread::because("nobody looked"))
            }
            Ok(own) if own.contains(image) => Ownership::Own,
            Ok(_) => Ownership::NotOwn,
            Err(why) => Ownership::Unknown(why.clone()),
        }
    }

    /// What is known of one image.
    #[must_use]
    pub fn of(&self, image: &AmiId) -> ImageUses {
        let mut known = ImageUses::default();
        for look in Look::ALL {
            let Some(sightings) = self.looks.get(&look).filter(|_| self.asked.contains(image))
            else {
                known.unread.push((look, Unread::because("nobody looked")));
                continue;
            };
            known.users.extend(sightings.users.get(image).into_iter().flatten().cloned());
            let of_image = sightings.unread_of.get(image).into_iter().flatten();
            let unread = sightings.unread.iter().chain(of_image);
            known.unread.extend(unread.map(|why| (look, why.clone())));
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_looked_at_is_not_unused() {
        let (asked, other) = (AmiId::new("ami-1"), AmiId::new("ami-2"));
        let mut uses = Uses::nobody_looked([asked.clone()]);
        assert_eq!(uses.of(&asked).unread.len(), Look::ALL.len());
        assert!(matches!(uses.ownership(&asked), Ownership::Unknown(_)));
        for look in Look::ALL {
            uses.saw(look, Sightings::default());
        }
        uses.saw_own(Ok([asked.clone()].into()));
        assert_eq!(uses.of(&asked), ImageUses::default());
        assert_eq!(uses.ownership(&asked), Ownership::Own);
        assert_eq!(uses.of(&other).unread.len(), Look::ALL.len(), "nobody asked about it");
        assert!(matches!(uses.ownership(&other), Ownership::Unknown(_)));
    }

    #[test]
    fn what_could_not_be_read_may_refer_to_every_image_or_to_one() {
        let images = [AmiId::new("ami-1"), AmiId::new("ami-2")];
        let mut uses = Uses::nobody_looked(images.clone());
        for look in Look::ALL {
            uses.saw(look, Sightings::default());
        }
        uses.saw(Look::Fleets, Sightings::failed(Unread::because("denied")));
        let mut permissions = Sightings::default();
        permissions.unread_of.insert(images[1].clone(), vec![Unread::because("odd")]);
        permissions.add(&images[0], ImageUser::new(UserKind::Account, "1"));
        uses.saw(Look::LaunchPermissions, permissions);
        let looks = |image| uses.of(image).unread.into_iter().map(|(look, _)| look);
        assert_eq!(looks(&images[0]).collect::<Vec<_>>(), [Look::Fleets]);
        let both = [Look::Fleets, Look::LaunchPermissions];
        assert_eq!(looks(&images[1]).collect::<Vec<_>>(), both);
        assert_eq!(uses.of(&images[0]).users.len(), 1);
    }
}
