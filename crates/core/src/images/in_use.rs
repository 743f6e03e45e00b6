//! Whether an image is in use, in words. Unknown, denied or unreadable counts as in use. Pure.

use reconciler_model::ids::AmiId;
use reconciler_model::uses::{ImageUser, Look, Unread, UserKind, Uses};

/// Why an image counts as in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InUse {
    /// Something refers to it.
    By(ImageUser),
    /// It may be: something could not be looked at.
    Unknown(Look, Unread),
}

impl InUse {
    /// It in words: `instance i-1`, `unknown whether a fleet names it: …`.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::By(user) => user_words(user),
            Self::Unknown(look, unread) => {
                format!("unknown whether {}: {}", look_words(*look), unread_words(unread))
            }
        }
    }
}

/// Every reason for which an image counts as in use; none: EC2 knows of no use.
#[must_use]
pub fn in_use(uses: &Uses, image: &AmiId) -> Vec<InUse> {
    let known = uses.of(image);
    let by = known.users.into_iter().map(InUse::By);
    by.chain(known.unread.into_iter().map(|(look, unread)| InUse::Unknown(look, unread))).collect()
}

/// A thing that refers to an image, in words.
#[must_use]
pub fn user_words(user: &ImageUser) -> String {
    let name = &user.name;
    match &user.kind {
        UserKind::Instance => format!("instance {name}"),
        UserKind::LaunchTemplate => format!("launch template {name}"),
        UserKind::Parameter => format!("parameter {name}"),
        UserKind::ImageRecipe => format!("image recipe {name}"),
        UserKind::ContainerRecipe => format!("container recipe {name}"),
        UserKind::LaunchConfiguration => format!("launch configuration {name}"),
        UserKind::AutoScalingGroup => format!("auto-scaling group {name}"),
        UserKind::Fleet => format!("fleet {name}"),
        UserKind::SpotFleet => format!("Spot fleet {name}"),
        UserKind::SpotRequest => format!("Spot request {name}"),
        UserKind::Account => format!("shared with account {name}"),
        UserKind::Organization => format!("shared with organization {name}"),
        UserKind::OrganizationalUnit => format!("shared with organizational unit {name}"),
        UserKind::Everybody => "shared with everybody".to_owned(),
        UserKind::Other(kind) => format!("{kind} {name}"),
    }
}

/// What a look is about, after *whether*.
#[must_use]
pub fn look_words(look: Look) -> &'static str {
    match look {
        Look::References => "an instance, a launch template, a parameter or a recipe names it",
        Look::LaunchTemplates => "a launch template names it by a parameter",
        Look::LaunchConfigurations => "a launch configuration names it",
        Look::AutoScalingGroups => "an auto-scaling group names it",
        Look::Fleets => "a fleet names it",
        Look::SpotFleets => "a Spot fleet names it",
        Look::SpotRequests => "a Spot request names it",
        Look::LaunchPermissions => "it is shared",
    }
}

/// Why something could not be looked at, and what would help.
#[must_use]
pub fn unread_words(unread: &Unread) -> String {
    match &unread.permission {
        Some(permission) => format!("{} (needs the permission {permission})", unread.why),
        None => unread.why.clone(),
    }
}

#[cfg(test)]
mod tests {
    use reconciler_model::uses::Sightings;

    use super::*;

    fn looked(images: &[AmiId]) -> Uses {
        let mut uses = Uses::nobody_looked(images.iter().cloned());
        for look in Look::ALL {
            uses.saw(look, Sightings::default());
        }
        uses
    }

    #[test]
    fn an_image_is_in_use_by_what_refers_to_it_and_by_what_nobody_could_see() {
        let image = AmiId::new("ami-1");
        let mut uses = looked(std::slice::from_ref(&image));
        assert_eq!(in_use(&uses, &image), []);
        let mut seen = Sightings::default();
        seen.add(&image, ImageUser::new(UserKind::Instance, "i-1"));
        uses.saw(Look::References, seen);
        let denied =
            Unread { why: "access denied".into(), permission: Some("ec2:DescribeFleets".into()) };
        uses.saw(Look::Fleets, Sightings::failed(denied));
        let words: Vec<_> = in_use(&uses, &image).iter().map(InUse::words).collect();
        assert_eq!(
            words,
            [
                "instance i-1",
                "unknown whether a fleet names it: access denied (needs the permission ec2:DescribeFleets)",
            ]
        );
        let other = AmiId::new("ami-2");
        assert_eq!(in_use(&uses, &other).len(), Look::ALL.len(), "nobody looked for it");
    }
}
