//! With whom images are shared: only their owner is told.

use std::collections::BTreeSet;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{ImageAttributeName, LaunchPermission};

use super::uses::unread;
use crate::ec2::error::fail;
use reconciler_model::ids::AmiId;
use reconciler_model::images::CatalogError;
use reconciler_model::uses::{ImageUser, Sightings, Unread, UserKind};

/// Whom the images are shared with, of those that are this account's own. One call for each.
pub(super) async fn find(
    client: &Client,
    images: &BTreeSet<AmiId>,
    own: &BTreeSet<AmiId>,
) -> Sightings {
    let mut seen = Sightings::default();
    for image in images {
        let permissions = if own.contains(image) {
            of(client, image).await.map_err(|error| unread(&error))
        } else {
            Err(Unread::because("only the account that owns it is told"))
        };
        match permissions {
            Ok(permissions) => permissions.iter().for_each(|one| seen.add(image, user(one))),
            Err(why) => seen.unread_of.entry(image.clone()).or_default().push(why),
        }
    }
    seen
}

async fn of(client: &Client, image: &AmiId) -> Result<Vec<LaunchPermission>, CatalogError> {
    let answer = client
        .describe_image_attribute()
        .image_id(image.as_str())
        .attribute(ImageAttributeName::LaunchPermission)
        .send()
        .await
        .map_err(|error| fail("ec2:DescribeImageAttribute", &error))?;
    Ok(answer.launch_permissions.unwrap_or_default())
}

fn user(permission: &LaunchPermission) -> ImageUser {
    if let Some(account) = &permission.user_id {
        return ImageUser::new(UserKind::Account, account);
    }
    if let Some(arn) = &permission.organization_arn {
        return ImageUser::new(UserKind::Organization, arn);
    }
    if let Some(arn) = &permission.organizational_unit_arn {
        return ImageUser::new(UserKind::OrganizationalUnit, arn);
    }
    // The only group that there is.
    ImageUser::new(UserKind::Everybody, "")
}
