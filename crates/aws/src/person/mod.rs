//! What only the process of a person asks of EC2, with that person's credentials: no daemon has the
//! permissions for it (`deploy/iam/create.json`).

use std::collections::BTreeMap;

use async_trait::async_trait;
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{ResourceType, Tag, TagSpecification};

use crate::ec2::error::fail;
use reconciler_model::ids::{AmiId, AmiName};
use reconciler_model::images::{CatalogError, ImageMaker};

/// Makes images of instances in one account and region.
pub struct PersonalEc2 {
    client: Client,
}

impl PersonalEc2 {
    /// Over a client.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client }
    }
}

#[async_trait]
impl ImageMaker for PersonalEc2 {
    async fn create_image(
        &self,
        instance: &str,
        name: &AmiName,
        tags: &BTreeMap<String, String>,
    ) -> Result<AmiId, CatalogError> {
        const ACTION: &str = "ec2:CreateImage";
        let tags: Vec<_> =
            tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect();
        let of = |kind| {
            TagSpecification::builder().resource_type(kind).set_tags(Some(tags.clone())).build()
        };
        let answer = self
            .client
            .create_image()
            .instance_id(instance)
            .name(name.as_str())
            // Seeded bug: an-instance-may-be-rebooted
            .no_reboot(true)
            .tag_specifications(of(ResourceType::Image))
            .tag_specifications(of(ResourceType::Snapshot))
            .send()
            .await
            .map_err(|error| fail(ACTION, &error))?;
        answer.image_id.map(AmiId::new).ok_or_else(|| CatalogError::Unavailable {
            detail: "EC2 made an image and did not say which".to_owned(),
        })
    }
}
