//! Images and leftovers at EC2: the adapter of the catalog, and the only folder that uses the EC2 SDK.

mod clean;
mod convert;
mod details;
mod leftovers;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_ec2::Client;
use aws_sdk_ec2::error::SdkError;
use aws_sdk_ec2::types::{Filter, Tag};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use jiff::Timestamp;

use crate::aws::error::{AwsFailure, classify};
use crate::catalog::name_pattern;
use crate::catalog::{CatalogError, Image, ImageCatalog, ImageState, Leftovers, TagChange};
use crate::ids::{AmiId, AmiName, BuildId};

/// How many ids one `DescribeImages` takes (EC2 API reference: 1,000 results a page).
const IDS_A_CALL: usize = 1000;

/// How long EC2 may not know what it has just made (packer.md: 2.5 minutes).
const NOT_YET_KNOWN: Duration = Duration::from_secs(150);

/// The images of one account in one region, by EC2's API.
pub struct Ec2Catalog {
    client: Client,
}

impl Ec2Catalog {
    /// Over a client.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    async fn describe(
        &self,
        ids: &[AmiId],
    ) -> Result<Vec<aws_sdk_ec2::types::Image>, CatalogError> {
        let mut wanted: Vec<String> = ids.iter().map(ToString::to_string).collect();
        loop {
            if wanted.is_empty() {
                return Ok(Vec::new());
            }
            let answer = self
                .client
                .describe_images()
                .set_image_ids(Some(wanted.clone()))
                .send()
                .await;
            let error = match answer {
                Ok(answer) => return Ok(answer.images.unwrap_or_default()),
                Err(error) => error,
            };
            let unknown = unknown_ids(
                error.code().unwrap_or_default(),
                error.message().unwrap_or_default(),
            );
            let before = wanted.len();
            wanted.retain(|id| !unknown.contains(id));
            if wanted.len() == before {
                return Err(fail("ec2:DescribeImages", &error));
            }
        }
    }

    async fn search(
        &self,
        owner: &str,
        filters: Vec<Filter>,
    ) -> Result<Vec<aws_sdk_ec2::types::Image>, CatalogError> {
        let mut pages = self
            .client
            .describe_images()
            .owners(owner)
            .set_filters(Some(filters))
            .into_paginator()
            .items()
            .send();
        let mut images = Vec::new();
        while let Some(image) = pages.next().await {
            images.push(image.map_err(|error| fail("ec2:DescribeImages", &error))?);
        }
        Ok(images)
    }
}

#[async_trait]
impl ImageCatalog for Ec2Catalog {
    async fn images(&self, ids: &[AmiId]) -> Result<BTreeMap<AmiId, Image>, CatalogError> {
        let mut images = BTreeMap::new();
        for ids in ids.chunks(IDS_A_CALL) {
            for image in self.describe(ids).await? {
                let image = convert::image(&image, false);
                images.insert(image.id.clone(), image);
            }
        }
        Ok(images)
    }

    async fn image(&self, id: &AmiId) -> Result<Option<Image>, CatalogError> {
        Ok(self
            .describe(std::slice::from_ref(id))
            .await?
            .first()
            .map(|image| convert::image(image, true)))
    }

    async fn own_image_named(&self, name: &AmiName) -> Result<Option<Image>, CatalogError> {
        let named = Filter::builder()
            .name("name")
            .values(name_pattern::literal(name.as_str()))
            .build();
        let found = self.search("self", vec![named]).await?;
        Ok(found
            .iter()
            .map(|image| convert::image(image, true))
            .find(|image| image.name == *name))
    }

    async fn newest_image(
        &self,
        pattern: &str,
        owner: &str,
    ) -> Result<Option<Image>, CatalogError> {
        if owner.trim().is_empty() {
            return Err(CatalogError::Refused {
                action: "ec2:DescribeImages".to_owned(),
                detail: format!(
                    "the pattern {pattern:?} without an owner could match anybody's image"
                ),
            });
        }
        let filters = vec![
            Filter::builder().name("name").values(pattern).build(),
            Filter::builder().name("state").values("available").build(),
        ];
        let found = self.search(owner, filters).await?;
        let images = found.iter().map(|image| convert::image(image, true));
        Ok(images.max_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id))))
    }

    async fn wait_available(&self, id: &AmiId, deadline: Timestamp) -> Result<Image, CatalogError> {
        let begin = Timestamp::now();
        let mut wait = Duration::from_millis(500);
        loop {
            match self.image(id).await {
                Ok(Some(image)) => match &image.state {
                    ImageState::Available => return Ok(image),
                    ImageState::Pending => {}
                    ImageState::Failed(reason) | ImageState::Other(reason) => {
                        return Err(CatalogError::ImageFailed {
                            id: id.clone(),
                            reason: reason.clone(),
                        });
                    }
                },
                Ok(None)
                    if Timestamp::now().duration_since(begin).unsigned_abs() > NOT_YET_KNOWN =>
                {
                    return Err(CatalogError::ImageFailed {
                        id: id.clone(),
                        reason: "EC2 does not know it".to_owned(),
                    });
                }
                Ok(None) | Err(CatalogError::Unavailable { .. }) => {}
                Err(error) => return Err(error),
            }
            if Timestamp::now() > deadline {
                return Err(CatalogError::StillPending { id: id.clone() });
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 3 / 2).min(Duration::from_secs(30));
        }
    }

    async fn tag(&self, image: &Image, change: &TagChange) -> Result<(), CatalogError> {
        let resources: Vec<String> = std::iter::once(image.id.to_string())
            .chain(image.snapshots.iter().cloned())
            .collect();
        if !change.set.is_empty() {
            let tags = change
                .set
                .iter()
                .map(|(key, value)| Tag::builder().key(key).value(value).build())
                .collect();
            self.client
                .create_tags()
                .set_resources(Some(resources.clone()))
                .set_tags(Some(tags))
                .send()
                .await
                .map_err(|error| fail("ec2:CreateTags", &error))?;
        }
        if !change.remove.is_empty() {
            let tags = change
                .remove
                .iter()
                .map(|key| Tag::builder().key(key).build())
                .collect();
            self.client
                .delete_tags()
                .set_resources(Some(resources))
                .set_tags(Some(tags))
                .send()
                .await
                .map_err(|error| fail("ec2:DeleteTags", &error))?;
        }
        Ok(())
    }

    async fn find_leftovers(
        &self,
        _build: &BuildId,
        name: &AmiName,
        told: &Leftovers,
    ) -> Result<Leftovers, CatalogError> {
        leftovers::find(self, name, told).await
    }

    async fn clean(&self, leftovers: &Leftovers) -> Result<Vec<String>, CatalogError> {
        clean::remove(&self.client, leftovers).await
    }
}

/// The ids that EC2 says it does not know: `The image ids '[ami-1, ami-2]' do not exist`.
fn unknown_ids(code: &str, message: &str) -> Vec<String> {
    if !matches!(
        code,
        "InvalidAMIID.NotFound" | "InvalidAMIID.Unavailable" | "InvalidAMIID.Malformed"
    ) {
        return Vec::new();
    }
    message
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
        .filter(|word| word.starts_with("ami-"))
        .map(str::to_owned)
        .collect()
}

/// An error of the SDK as the port has it.
fn fail<E>(action: &str, error: &SdkError<E, HttpResponse>) -> CatalogError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match classify(error) {
        AwsFailure::Credentials(detail) => CatalogError::Credentials { detail },
        AwsFailure::Denied(detail) => CatalogError::Denied {
            action: action.to_owned(),
            detail,
        },
        AwsFailure::Unavailable(detail) => CatalogError::Unavailable { detail },
        AwsFailure::Refused { code, message } => CatalogError::Refused {
            action: action.to_owned(),
            detail: format!("{code}: {message}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ids_that_ec2_does_not_know_are_read_from_its_words() {
        let said = "The image ids '[ami-0aa, ami-0bb]' do not exist";
        assert_eq!(
            unknown_ids("InvalidAMIID.NotFound", said),
            ["ami-0aa", "ami-0bb"]
        );
        assert!(unknown_ids("UnauthorizedOperation", said).is_empty());
    }
}
