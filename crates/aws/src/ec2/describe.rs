//! `DescribeImages`: by id, with ids among them that EC2 does not know, and by name.
//!
//! Deprecated and disabled images are asked for too: they exist, whatever EC2 leaves out by
//! default.

use std::collections::BTreeSet;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Filter, Image};
use aws_smithy_types::error::metadata::ProvideErrorMetadata as _;

use crate::ec2::error::fail;
use reconciler_model::ids::AmiId;
use reconciler_model::images::CatalogError;

const ACTION: &str = "ec2:DescribeImages";

/// How many ids one call takes (EC2 API reference: 1,000 results a page).
pub(super) const IDS_A_CALL: usize = 1000;

/// How many values one filter takes (EC2 API reference).
pub(crate) const VALUES_A_FILTER: usize = 200;

/// The images of at most [`IDS_A_CALL`] ids; unknown ones are absent. One call if EC2 knows all of
/// them: it answers with the unknown ids alone, and is asked again without them.
pub(super) async fn by_ids(client: &Client, ids: &[AmiId]) -> Result<Vec<Image>, CatalogError> {
    let mut wanted: BTreeSet<&str> =
        ids.iter().map(AmiId::as_str).filter(|id| is_image_id(id)).collect();
    while !wanted.is_empty() {
        let asked = wanted.iter().map(ToString::to_string).collect();
        let answer = client
            .describe_images()
            .set_image_ids(Some(asked))
            .include_deprecated(true)
            .include_disabled(true)
            .send()
            .await;
        let error = match answer {
            Ok(answer) => return Ok(answer.images.unwrap_or_default()),
            Err(error) => error,
        };
        let code = error.code().unwrap_or_default();
        if !code.starts_with("InvalidAMIID.") {
            return Err(fail(ACTION, &error));
        }
        let before = wanted.len();
        drop_named(&mut wanted, error.message().unwrap_or_default());
        if wanted.len() == before {
            return by_id_filter(client, &wanted).await;
        }
    }
    Ok(Vec::new())
}

/// Filters never complain about ids; they take fewer at once.
async fn by_id_filter(
    client: &Client,
    wanted: &BTreeSet<&str>,
) -> Result<Vec<Image>, CatalogError> {
    let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
    let mut images = Vec::new();
    for some in wanted.chunks(VALUES_A_FILTER) {
        let filter = Filter::builder().name("image-id").set_values(Some(some.to_vec())).build();
        let answer = client
            .describe_images()
            .filters(filter)
            .include_deprecated(true)
            .include_disabled(true)
            .send()
            .await
            .map_err(|error| fail(ACTION, &error))?;
        images.extend(answer.images.unwrap_or_default());
    }
    Ok(images)
}

/// Which images a search takes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// What can be launched and is not deprecated.
    Current,
    /// Deprecated and disabled ones too.
    All,
}

/// The images of an owner that pass the filters.
pub(crate) async fn of_owner(
    client: &Client,
    owner: &str,
    filters: Vec<Filter>,
    extent: Extent,
) -> Result<Vec<Image>, CatalogError> {
    let all = extent == Extent::All;
    let mut pages = client
        .describe_images()
        .owners(owner)
        .set_filters(Some(filters))
        .include_deprecated(all)
        .include_disabled(all)
        .into_paginator()
        .items()
        .send();
    let mut images = Vec::new();
    while let Some(image) = pages.next().await {
        images.push(image.map_err(|error| fail(ACTION, &error))?);
    }
    Ok(images)
}

/// What is no id at all would only make EC2 refuse the call.
fn is_image_id(id: &str) -> bool {
    id.strip_prefix("ami-")
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric()))
}

/// Takes out the ids that EC2 names: `The image ids '[ami-1, ami-2]' do not exist`,
/// `Invalid id: "ami-x" (expecting "ami-...")`.
fn drop_named(wanted: &mut BTreeSet<&str>, message: &str) {
    for word in message.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')) {
        wanted.remove(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ec2::scripted::{Answer, Ec2, image_xml};

    fn ids(ids: &[&str]) -> Vec<AmiId> {
        ids.iter().map(|id| AmiId::new(*id)).collect()
    }

    /// Knows `ami-1` and `ami-2`, and complains about others as EC2 does.
    fn knows_two() -> Ec2 {
        Ec2::answering(|call| {
            let asked = call.list("ImageId");
            let (known, unknown): (Vec<_>, Vec<_>) =
                asked.iter().partition(|id| ["ami-1", "ami-2"].contains(&id.as_str()));
            if unknown.is_empty() {
                return Answer::images(known.iter().map(|id| image_xml(id, "x", "available")));
            }
            let named = unknown.iter().map(|id| id.as_str()).collect::<Vec<_>>().join(", ");
            Answer::error(
                "InvalidAMIID.NotFound",
                &format!("The image ids '[{named}]' do not exist"),
            )
        })
    }

    #[tokio::test]
    async fn known_ids_take_one_call_and_unknown_ones_one_more() {
        let ec2 = knows_two();
        let images = by_ids(&ec2.client(), &ids(&["ami-2", "ami-1"])).await.unwrap();
        assert_eq!((images.len(), ec2.calls().len()), (2, 1));
        let images = by_ids(&ec2.client(), &ids(&["ami-8", "ami-1", "ami-9"])).await.unwrap();
        assert_eq!((images.len(), ec2.calls().len()), (1, 3));
    }

    #[tokio::test]
    async fn what_is_no_id_is_absent_without_a_call() {
        let ec2 = knows_two();
        let images = by_ids(&ec2.client(), &ids(&["", "ami-", "ami 1", "snap-1"])).await.unwrap();
        assert_eq!((images.len(), ec2.calls().len()), (0, 0));
    }

    #[tokio::test]
    async fn a_complaint_that_names_no_id_is_gone_around_by_a_filter() {
        let ec2 = Ec2::answering(|call| {
            if call.list("ImageId").is_empty() {
                assert_eq!(call.get("Filter.1.Name"), Some("image-id"));
                Answer::images([image_xml("ami-1", "x", "available")])
            } else {
                Answer::error("InvalidAMIID.NotFound", "some images do not exist")
            }
        });
        let images = by_ids(&ec2.client(), &ids(&["ami-1", "ami-2"])).await.unwrap();
        assert_eq!(images.len(), 1);
    }

    #[tokio::test]
    async fn an_image_that_is_deprecated_is_asked_for_as_well() {
        let ec2 = knows_two();
        by_ids(&ec2.client(), &ids(&["ami-1"])).await.unwrap();
        assert_eq!(ec2.calls()[0].get("IncludeDeprecated"), Some("true"));
    }
}
