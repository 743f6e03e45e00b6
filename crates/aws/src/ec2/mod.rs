//! Images and leftovers at EC2: the adapter of the catalog. With `survey` the only folders that use
//! the EC2 SDK.

mod clean;
mod convert;
mod deregister;
pub(crate) mod describe;
mod details;
pub(crate) mod error;
mod instances;
mod leftovers;
#[cfg(any(test, feature = "test-support"))]
pub mod scripted;
mod wait;
pub(crate) mod whole;

use std::collections::BTreeMap;

use async_trait::async_trait;
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Filter, Tag};
use jiff::Timestamp;

use describe::Extent;
use error::fail;
use reconciler_core::name_pattern;
use reconciler_model::build_resources::{OwnedResource, ResourceSearch, VisibleResources};
use reconciler_model::ids::{AmiId, AmiName};
use reconciler_model::images::{
    CatalogError, Image, ImageReader, ImageState, ImageWriter, PreparedInstance, TagChange,
};
use wait::Pace;

/// The images of one account in one region, by EC2's API.
pub struct Ec2Catalog {
    client: Client,
    pace: Pace,
    /// Where it is, for people.
    place: String,
}

impl Ec2Catalog {
    /// Over a client.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "the catalog is what the client is made for")]
    pub fn new(client: Client) -> Self {
        Self {
            client: whole::believing_whole_answers(&client),
            pace: Pace::default(),
            place: String::new(),
        }
    }

    /// Said to be there where it does not answer.
    #[must_use]
    pub fn at(mut self, place: String) -> Self {
        self.place = place;
        self
    }

    fn placed(&self, error: CatalogError) -> CatalogError {
        error.in_place(&self.place)
    }
}

impl Ec2Catalog {
    /// Our own images of these names, of each the one that can be used where there are several.
    async fn named(
        &self,
        names: &[AmiName],
        with_details: bool,
    ) -> Result<BTreeMap<AmiName, Image>, CatalogError> {
        let patterns = names.iter().map(|name| name_pattern::literal(name.as_str()));
        let named = Filter::builder().name("name").set_values(Some(patterns.collect())).build();
        let found = describe::of_owner(&self.client, "self", vec![named], Extent::All).await;
        let found = found.map_err(|error| self.placed(error))?;
        let mut images: Vec<_> = found
            .iter()
            .map(|image| convert::image(image, with_details))
            // EC2 shows an image that was just deregistered for a while; its name is free.
            .filter(|image| names.contains(&image.name) && !image.state.is_gone())
            .collect();
        images.sort_by_key(|image| (image.state != ImageState::Available, image.id.clone()));
        let mut first = BTreeMap::new();
        for image in images {
            first.entry(image.name.clone()).or_insert(image);
        }
        Ok(first)
    }
}

#[async_trait]
impl ImageReader for Ec2Catalog {
    async fn instance(&self, id: &str) -> Result<Option<PreparedInstance>, CatalogError> {
        instances::by_id(&self.client, id).await.map_err(|error| self.placed(error))
    }

    async fn images(&self, ids: &[AmiId]) -> Result<BTreeMap<AmiId, Image>, CatalogError> {
        let mut images = BTreeMap::new();
        for ids in ids.chunks(describe::IDS_A_CALL) {
            let found = describe::by_ids(&self.client, ids).await;
            for image in found.map_err(|error| self.placed(error))? {
                let image = convert::image(&image, false);
                images.insert(image.id.clone(), image);
            }
        }
        Ok(images)
    }

    async fn image(&self, id: &AmiId) -> Result<Option<Image>, CatalogError> {
        let found = describe::by_ids(&self.client, std::slice::from_ref(id)).await;
        let found = found.map_err(|error| self.placed(error))?;
        Ok(found.first().map(|image| convert::image(image, true)))
    }

    async fn own_image_named(&self, name: &AmiName) -> Result<Option<Image>, CatalogError> {
        let found = self.named(std::slice::from_ref(name), true).await?;
        Ok(found.into_values().next())
    }

    async fn own_images_named(
        &self,
        names: &[AmiName],
    ) -> Result<BTreeMap<AmiName, Image>, CatalogError> {
        let mut images = BTreeMap::new();
        for names in names.chunks(describe::VALUES_A_FILTER) {
            images.extend(self.named(names, false).await?);
        }
        Ok(images)
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
                    "the pattern `{pattern}` without an owner could match anybody's image"
                ),
            });
        }
        let filters = vec![
            Filter::builder().name("name").values(pattern).build(),
            Filter::builder().name("state").values("available").build(),
        ];
        let found = describe::of_owner(&self.client, owner, filters, Extent::Current).await;
        let found = found.map_err(|error| self.placed(error))?;
        let images = found.iter().map(|image| convert::image(image, true));
        Ok(images.max_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id))))
    }

    async fn wait_available(&self, id: &AmiId, deadline: Timestamp) -> Result<Image, CatalogError> {
        wait::available(self, id, deadline).await
    }

    async fn visible_resources(
        &self,
        search: &ResourceSearch<'_>,
    ) -> Result<VisibleResources, CatalogError> {
        leftovers::find(&self.client, search).await.map_err(|error| self.placed(error))
    }
}

#[async_trait]
impl ImageWriter for Ec2Catalog {
    /// What goes is taken off first: an image never carries more than it is to carry in the end.
    async fn tag(&self, image: &Image, change: &TagChange) -> Result<(), CatalogError> {
        let resources: Vec<String> =
            std::iter::once(image.id.to_string()).chain(image.snapshots.iter().cloned()).collect();
        if !change.remove.is_empty() {
            let tags = change.remove.iter();
            self.client
                .delete_tags()
                .set_resources(Some(resources.clone()))
                .set_tags(Some(tags.map(|key| Tag::builder().key(key).build()).collect()))
                .send()
                .await
                .map_err(|error| fail("ec2:DeleteTags", &error))?;
        }
        if !change.set.is_empty() {
            let tags = change.set.iter();
            let tags = tags.map(|(key, value)| Tag::builder().key(key).value(value).build());
            self.client
                .create_tags()
                .set_resources(Some(resources))
                .set_tags(Some(tags.collect()))
                .send()
                .await
                .map_err(|error| fail("ec2:CreateTags", &error))?;
        }
        Ok(())
    }

    async fn remove(&self, resource: &OwnedResource) -> Result<bool, CatalogError> {
        clean::remove(&self.client, resource).await.map_err(|error| self.placed(error))
    }
}

#[cfg(test)]
mod tests {
    use super::scripted::{Answer, Ec2, image_xml};
    use super::*;

    #[tokio::test]
    async fn known_images_take_one_call_for_each_thousand() {
        let ec2 = Ec2::answering(|call| {
            let ids = call.list("ImageId");
            Answer::images(ids.iter().map(|id| image_xml(id, "x", "available")))
        });
        let catalog = Ec2Catalog::new(ec2.client());
        for (images, calls) in [(1000, 1), (2500, 3), (0, 0)] {
            let before = ec2.calls().len();
            let ids: Vec<_> = (0..images).map(|n| AmiId::new(format!("ami-{n}"))).collect();
            assert_eq!(catalog.images(&ids).await.unwrap().len(), images);
            assert_eq!(ec2.calls().len() - before, calls, "{images} images");
        }
    }

    #[tokio::test]
    async fn an_image_that_was_just_deregistered_holds_no_name() {
        let named = |shown: Vec<(&'static str, &'static str)>| async move {
            let ec2 = Ec2::answering(move |_| {
                let images = shown.iter();
                Answer::images(images.map(|(id, state)| image_xml(id, "n", state)))
            });
            let catalog = Ec2Catalog::new(ec2.client());
            let found = catalog.own_image_named(&AmiName::new("n")).await.unwrap();
            found.map(|image| image.id.to_string())
        };
        let gone = ("ami-1", "deregistered");
        assert_eq!(named(vec![gone]).await, None);
        for state in ["available", "pending", "failed", "disabled"] {
            assert_eq!(
                named(vec![gone, ("ami-2", state)]).await.as_deref(),
                Some("ami-2"),
                "{state}"
            );
        }
    }

    #[tokio::test]
    async fn a_pattern_without_an_owner_asks_nobody() {
        let ec2 = Ec2::answering(|_| Answer::images([]));
        let refused = Ec2Catalog::new(ec2.client()).newest_image("ubuntu-*", " ").await;
        assert!(matches!(refused, Err(CatalogError::Refused { .. })));
        assert!(ec2.calls().is_empty());
    }
}
