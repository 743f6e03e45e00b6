//! `DescribeImageReferences`: EC2's own list of what refers to images in this account. It looks with
//! the caller's permissions, at instances, launch templates, parameters and recipes.

use std::collections::BTreeSet;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{
    ImageReference, ImageReferenceOptionName, ImageReferenceResourceType, ResourceTypeOption,
    ResourceTypeRequest,
};

use super::uses::Looked;
use crate::ec2::error::fail;
use reconciler_model::ids::AmiId;
use reconciler_model::images::CatalogError;
use reconciler_model::uses::{ImageUser, Sightings, UserKind};

const ACTION: &str = "ec2:DescribeImageReferences";

/// How many images one call takes (EC2 API reference).
const IDS_A_CALL: usize = 10;

/// How many versions of a launch template are looked at: all that EC2 keeps. By default it is ten.
const ALL_VERSIONS: &str = "10000";

/// An instance that is terminated refers to nothing; by default EC2 names it.
const ALIVE: [&str; 5] = ["pending", "running", "shutting-down", "stopping", "stopped"];

/// What refers to the images.
pub(super) async fn find(client: &Client, images: &BTreeSet<AmiId>) -> Looked {
    let mut seen = Sightings::default();
    let ids: Vec<String> = images.iter().map(ToString::to_string).collect();
    for ids in ids.chunks(IDS_A_CALL) {
        let mut pages = client
            .describe_image_references()
            .set_image_ids(Some(ids.to_vec()))
            // Kinds that EC2 will know later too.
            .include_all_resource_types(true)
            .resource_types(kind(ImageReferenceResourceType::Ec2Instance, instances()))
            .resource_types(kind(ImageReferenceResourceType::Ec2LaunchTemplate, templates()))
            .into_paginator()
            .items()
            .send();
        while let Some(found) = pages.next().await {
            let found = found.map_err(|error| fail(ACTION, &error))?;
            let Some(image) = &found.image_id else {
                return Err(CatalogError::Refused {
                    action: ACTION.to_owned(),
                    detail: "EC2 names something without the image that it refers to".to_owned(),
                });
            };
            seen.add(&AmiId::new(image), user(&found));
        }
    }
    Ok(seen)
}

fn kind(of: ImageReferenceResourceType, option: ResourceTypeOption) -> ResourceTypeRequest {
    ResourceTypeRequest::builder().resource_type(of).resource_type_options(option).build()
}

fn instances() -> ResourceTypeOption {
    let alive = ALIVE.map(str::to_owned).to_vec();
    ResourceTypeOption::builder()
        .option_name(ImageReferenceOptionName::StateName)
        .set_option_values(Some(alive))
        .build()
}

fn templates() -> ResourceTypeOption {
    ResourceTypeOption::builder()
        .option_name(ImageReferenceOptionName::VersionDepth)
        .option_values(ALL_VERSIONS)
        .build()
}

fn user(found: &ImageReference) -> ImageUser {
    use ImageReferenceResourceType as Type;
    let arn = found.arn.as_deref().unwrap_or_default();
    let resource = arn.splitn(6, ':').nth(5).unwrap_or(arn);
    let name = resource.split_once('/').map_or(resource, |(_, name)| name);
    let kind = match &found.resource_type {
        Some(Type::Ec2Instance) => UserKind::Instance,
        Some(Type::Ec2LaunchTemplate) => UserKind::LaunchTemplate,
        Some(Type::SsmParameter) => {
            // Its name begins with a slash if it has any; of one that has none the ARN looks alike.
            let slash = if name.contains('/') { "/" } else { "" };
            return ImageUser::new(UserKind::Parameter, format!("{slash}{name}"));
        }
        Some(Type::ImageBuilderImageRecipe) => UserKind::ImageRecipe,
        Some(Type::ImageBuilderContainerRecipe) => UserKind::ContainerRecipe,
        Some(other) => UserKind::Other(other.as_str().to_owned()),
        None => UserKind::Other("resource".to_owned()),
    };
    ImageUser::new(kind, name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ec2::scripted::{Answer, Ec2};

    fn ids(count: usize) -> BTreeSet<AmiId> {
        (0..count).map(|n| AmiId::new(format!("ami-{n:03}"))).collect()
    }

    #[tokio::test]
    async fn ten_images_a_call_all_versions_and_no_terminated_instance() {
        let ec2 = Ec2::answering(|_| Answer::ok("<imageReferenceSet/>"));
        find(&ec2.client(), &ids(25)).await.unwrap();
        let calls = ec2.calls();
        let counts: Vec<_> = calls.iter().map(|call| call.list("ImageId").len()).collect();
        assert_eq!(counts, [10, 10, 5]);
        let of = |name: &str| calls[0].get(name).unwrap_or_default().to_owned();
        assert_eq!(of("IncludeAllResourceTypes"), "true");
        assert_eq!(of("ResourceType.1.ResourceTypeOption.1.OptionName"), "state-name");
        assert_eq!(calls[0].list("ResourceType.1.ResourceTypeOption.1.OptionValue"), ALIVE);
        assert_eq!(of("ResourceType.2.ResourceTypeOption.1.OptionName"), "version-depth");
        assert_eq!(of("ResourceType.2.ResourceTypeOption.1.OptionValue.1"), "10000");
        assert!(find(&ec2.client(), &ids(0)).await.unwrap().users.is_empty());
        assert_eq!(ec2.calls().len(), 3, "nothing asked, no call");
    }

    #[tokio::test]
    async fn whatever_ec2_names_is_a_use_known_kind_or_not() {
        let item = |kind: &str, arn: &str| {
            format!(
                "<item><imageId>ami-1</imageId><resourceType>{kind}</resourceType><arn>{arn}</arn></item>"
            )
        };
        let rows = [
            item("ec2:Instance", "arn:aws:ec2:us-east-1:1:instance/i-1"),
            item("ssm:Parameter", "arn:aws:ssm:us-east-1:1:parameter/golden/web"),
            item("ssm:Parameter", "arn:aws:ssm:us-east-1:1:parameter/plain"),
            item(
                "imagebuilder:ImageRecipe",
                "arn:aws:imagebuilder:us-east-1:1:image-recipe/web/1.0.0",
            ),
            item("batch:ComputeEnvironment", "arn:aws:batch:us-east-1:1:compute-environment/b"),
        ]
        .concat();
        let ec2 = Ec2::answering(move |_| {
            Answer::ok(&format!("<imageReferenceSet>{rows}</imageReferenceSet>"))
        });
        let image = AmiId::new("ami-1");
        let seen = find(&ec2.client(), &[image.clone()].into()).await.unwrap();
        let batch = UserKind::Other("batch:ComputeEnvironment".into());
        assert_eq!(
            seen.users[&image],
            [
                ImageUser::new(UserKind::Instance, "i-1"),
                ImageUser::new(UserKind::Parameter, "/golden/web"),
                ImageUser::new(UserKind::Parameter, "plain"),
                ImageUser::new(UserKind::ImageRecipe, "web/1.0.0"),
                ImageUser::new(batch, "b"),
            ]
            .into()
        );
    }
}
