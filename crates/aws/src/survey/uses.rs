//! Every look for what refers to images, one after the other; what one cannot see hides nothing that
//! another sees.

use std::collections::BTreeSet;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::Filter;

use super::{fleets, permissions, references, scaling, templates};
use crate::ec2::describe::{self, Extent, VALUES_A_FILTER};
use reconciler_model::ids::AmiId;
use reconciler_model::images::CatalogError;
use reconciler_model::uses::{ImageUser, Look, Sightings, Unread, Uses};

/// What one look answers.
pub(super) type Looked = Result<Sightings, CatalogError>;

/// Makes every look.
pub(super) async fn of(
    client: &Client,
    scaling: &aws_sdk_autoscaling::Client,
    images: &[AmiId],
) -> Uses {
    let asked: BTreeSet<AmiId> = images.iter().cloned().collect();
    let mut uses = Uses::nobody_looked(asked.iter().cloned());
    let own = own(client, images).await.map_err(|error| unread(&error));
    for look in Look::ALL {
        let looked = match look {
            Look::References => references::find(client, &asked).await,
            Look::LaunchTemplates => templates::find(client, &asked).await,
            Look::LaunchConfigurations => scaling::configurations(scaling, &asked).await,
            Look::AutoScalingGroups => scaling::groups(scaling, &asked).await,
            Look::Fleets => fleets::fleets(client, &asked).await,
            Look::SpotFleets => fleets::spot_fleets(client, &asked).await,
            Look::SpotRequests => fleets::spot_requests(client, &asked).await,
            Look::LaunchPermissions => match &own {
                Ok(own) => Ok(permissions::find(client, &asked, own).await),
                Err(why) => Ok(Sightings::failed(why.clone())),
            },
        };
        uses.saw(look, looked.unwrap_or_else(|error| Sightings::failed(unread(&error))));
    }
    uses.saw_own(own);
    uses
}

/// Which of the images are this account's.
async fn own(client: &Client, images: &[AmiId]) -> Result<BTreeSet<AmiId>, CatalogError> {
    let mut own = BTreeSet::new();
    for some in images.chunks(VALUES_A_FILTER) {
        let ids = some.iter().map(ToString::to_string).collect();
        let meant = Filter::builder().name("image-id").set_values(Some(ids)).build();
        let found = describe::of_owner(client, "self", vec![meant], Extent::All).await?;
        own.extend(found.into_iter().filter_map(|image| image.image_id.map(AmiId::new)));
    }
    Ok(own)
}

/// Why something could not be seen, with the permission that AWS says is missing: for some calls AWS
/// makes others with the caller's permissions.
pub(super) fn unread(error: &CatalogError) -> Unread {
    let permission = match error {
        CatalogError::Denied { action, detail } => {
            Some(named_permission(detail).unwrap_or(action).to_owned())
        }
        _ => None,
    };
    Unread { why: error.to_string(), permission }
}

/// `ssm:GetParameters`, where AWS says that somebody `is not authorized to perform:
/// ssm:GetParameters on resource …`.
fn named_permission(detail: &str) -> Option<&str> {
    let (_, rest) = detail.split_once("perform: ")?;
    let action = rest.split_whitespace().next()?;
    action.contains(':').then_some(action)
}

/// How the name of a parameter begins that stands in the place of an image's id.
const ALIAS: &str = "resolve:ssm:";

/// Takes in what a user names as its image; `said` is that user for people.
pub(super) fn note(
    seen: &mut Sightings,
    images: &BTreeSet<AmiId>,
    user: ImageUser,
    said: &str,
    image: &str,
) {
    seen.unread.extend(unresolved(said, image));
    if images.contains(image) {
        seen.add(&AmiId::new(image), user);
    }
}

/// Why it is not known which image a text means that stands in the place of an id: it names a
/// parameter, which is resolved at the launch only.
pub(super) fn unresolved(user: &str, image: &str) -> Option<Unread> {
    image.starts_with(ALIAS).then(|| {
        Unread::because(format!("{user} names {image}, and EC2 does not say which image that is"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ec2::scripted::{Answer, Ec2, Scaling};
    use reconciler_model::uses::{ImageUser, Ownership, UserKind};

    async fn uses(ec2: &Ec2, scaling: &Scaling) -> Uses {
        of(&ec2.client(), &scaling.client(), &[AmiId::new("ami-1")]).await
    }

    #[tokio::test]
    async fn what_one_look_cannot_see_hides_nothing_that_another_sees() {
        let ec2 = Ec2::answering(|call| match call.action() {
            "DescribeImageReferences" => Answer::error(
                "UnauthorizedOperation",
                "User: arn:aws:iam::1:user/ada is not authorized to perform: ssm:GetParameters on resource: *",
            ),
            "DescribeFleets" => Answer::error("UnauthorizedOperation", "no"),
            "DescribeSpotInstanceRequests" => Answer::ok(
                "<spotInstanceRequestSet><item><spotInstanceRequestId>sir-1</spotInstanceRequestId><state>open</state>\
                 <launchSpecification><imageId>ami-1</imageId></launchSpecification></item></spotInstanceRequestSet>",
            ),
            "DescribeSpotFleetRequests" => Answer::error("InternalError", "oops"),
            _ => Answer::ok(""),
        });
        let scaling = Scaling::answering(|call| {
            Answer::ok(&format!("<{0}Result></{0}Result>", call.action()))
        });
        let known = uses(&ec2, &scaling).await.of(&AmiId::new("ami-1"));
        assert_eq!(known.users, [ImageUser::new(UserKind::SpotRequest, "sir-1")].into());
        let unread: Vec<_> = known
            .unread
            .iter()
            .map(|(look, unread)| (*look, unread.permission.as_deref()))
            .collect();
        assert_eq!(
            unread,
            [
                (Look::References, Some("ssm:GetParameters")),
                (Look::Fleets, Some("ec2:DescribeFleets")),
                (Look::SpotFleets, None),
                (Look::LaunchPermissions, None),
            ]
        );
    }

    #[tokio::test]
    async fn an_ec2_that_refuses_everything_leaves_everything_unknown() {
        let ec2 = Ec2::answering(|_| Answer::error("UnauthorizedOperation", "no"));
        let scaling = Scaling::answering(|_| Answer::error("AccessDenied", "no"));
        let uses = uses(&ec2, &scaling).await;
        let image = AmiId::new("ami-1");
        let looks: Vec<_> = uses.of(&image).unread.into_iter().map(|(look, _)| look).collect();
        assert_eq!(looks, Look::ALL);
        assert!(matches!(uses.ownership(&image), Ownership::Unknown(_)));
    }
}
