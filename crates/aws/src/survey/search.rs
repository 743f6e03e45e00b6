//! `DescribeImages` by what a person says of a base image. The filters are those of the Python
//! library (`find_root_base_ami`), which sees public images only.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Filter, Image};
use jiff::Timestamp;

use crate::ec2::describe::{self, Extent};
use crate::ec2::error::fail;
use reconciler_model::ids::{AmiId, AmiName, WorkflowId};
use reconciler_model::images::{CatalogError, WORKFLOW_ID_TAG};
use reconciler_model::survey::{FoundImage, ImageSearch, MOST_NAMESAKES};

/// The images that are meant.
pub(super) async fn images(
    client: &Client,
    search: &ImageSearch,
) -> Result<Vec<FoundImage>, CatalogError> {
    let filters = vec![
        filter("name", &search.pattern),
        filter("state", "available"),
        filter("architecture", search.architecture.as_str()),
        filter("root-device-type", "ebs"),
        filter("virtualization-type", "hvm"),
    ];
    let found = describe::of_owner(client, &search.owner, filters, Extent::Current).await?;
    Ok(found.iter().map(found_image).collect())
}

/// Images of these names, whosever they are: no more than are looked at.
pub(super) async fn namesakes(
    client: &Client,
    pattern: &str,
) -> Result<Vec<FoundImage>, CatalogError> {
    let mut pages = client
        .describe_images()
        .filters(filter("name", pattern))
        .filters(filter("state", "available"))
        .into_paginator()
        .items()
        .send();
    let mut found = Vec::new();
    while found.len() < MOST_NAMESAKES
        && let Some(image) = pages.next().await
    {
        found.push(found_image(&image.map_err(|error| fail("ec2:DescribeImages", &error))?));
    }
    Ok(found)
}

fn filter(name: &str, value: &str) -> Filter {
    Filter::builder().name(name).values(value).build()
}

fn found_image(image: &Image) -> FoundImage {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let workflow = image.tags().iter().find(|tag| tag.key.as_deref() == Some(WORKFLOW_ID_TAG));
    FoundImage {
        id: AmiId::new(text(&image.image_id)),
        name: AmiName::new(text(&image.name)),
        owner_id: text(&image.owner_id),
        owner_alias: image.image_owner_alias.clone(),
        created_at: text(&image.creation_date).parse().unwrap_or(Timestamp::UNIX_EPOCH),
        architecture: image.architecture.as_ref().map_or_else(String::new, |a| a.as_str().into()),
        is_public: image.public.unwrap_or_default(),
        workflow_id: workflow.and_then(|tag| tag.value.as_deref()).map(WorkflowId::new),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ec2::scripted::{Answer, Ec2, image_xml};
    use reconciler_model::survey::Architecture;

    #[tokio::test]
    async fn the_filters_are_the_librarys_and_own_and_shared_images_are_not_left_out() {
        let ec2 = Ec2::answering(|_| Answer::images([image_xml("ami-1", "u-1", "available")]));
        let search = ImageSearch {
            pattern: "u-*".to_owned(),
            owner: "self".to_owned(),
            architecture: Architecture::Arm64,
        };
        let found = images(&ec2.client(), &search).await.unwrap();
        assert_eq!((found.len(), found[0].id.as_str()), (1, "ami-1"));
        let call = &ec2.calls()[0];
        assert_eq!(call.list("Owner"), ["self"]);
        assert!(call.list("ExecutableBy").is_empty());
        let filters: Vec<_> = (1..=5)
            .map(|at| {
                let of = |what: &str| call.get(&format!("Filter.{at}.{what}")).unwrap().to_owned();
                (of("Name"), of("Value.1"))
            })
            .collect();
        let wanted = [
            ("name", "u-*"),
            ("state", "available"),
            ("architecture", "arm64"),
            ("root-device-type", "ebs"),
            ("virtualization-type", "hvm"),
        ];
        assert_eq!(filters, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[tokio::test]
    async fn of_namesakes_no_more_are_looked_at_than_say_what_there_is() {
        let ec2 = Ec2::answering(|_| {
            let images: String = (0..700).map(|_| image_xml("ami-1", "u", "available")).collect();
            Answer::ok(&format!("<imagesSet>{images}</imagesSet><nextToken>more</nextToken>"))
        });
        let found = namesakes(&ec2.client(), "u*").await.unwrap();
        assert_eq!(found.len(), MOST_NAMESAKES);
        assert!(ec2.calls().len() <= 3, "{}", ec2.calls().len());
    }
}
