//! Images with failpoints around what it changes and around the wait for an image: `image.create`,
//! `image.deregister`, `image.wait`, `image.tag`, `leftovers.find`, `leftovers.clean`.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::failpoint::around;
use reconciler_model::build_resources::{OwnedResource, ResourceSearch, VisibleResources};
use reconciler_model::ids::{AmiId, AmiName};
use reconciler_model::images::{
    AssociatedSnapshots, CatalogError, Deregistered, Image, ImageMaker, ImageReader, ImageRemover,
    ImageWriter, PreparedInstance, TagChange,
};

pub(super) struct Failing<Port: ?Sized>(pub(super) Arc<Port>);

fn error(detail: String) -> CatalogError {
    CatalogError::Unavailable { detail }
}

#[async_trait]
impl ImageMaker for Failing<dyn ImageMaker> {
    async fn create_image(
        &self,
        instance: &str,
        name: &AmiName,
        tags: &BTreeMap<String, String>,
    ) -> Result<AmiId, CatalogError> {
        around("image.create", self.0.create_image(instance, name, tags), error).await
    }
}

#[async_trait]
impl ImageRemover for Failing<dyn ImageRemover> {
    async fn deregister(
        &self,
        id: &AmiId,
        snapshots: AssociatedSnapshots,
    ) -> Result<Deregistered, CatalogError> {
        around("image.deregister", self.0.deregister(id, snapshots), error).await
    }
}

#[async_trait]
impl ImageReader for Failing<dyn ImageReader> {
    async fn instance(&self, id: &str) -> Result<Option<PreparedInstance>, CatalogError> {
        self.0.instance(id).await
    }

    async fn images(&self, ids: &[AmiId]) -> Result<BTreeMap<AmiId, Image>, CatalogError> {
        self.0.images(ids).await
    }

    async fn image(&self, id: &AmiId) -> Result<Option<Image>, CatalogError> {
        self.0.image(id).await
    }

    async fn own_image_named(&self, name: &AmiName) -> Result<Option<Image>, CatalogError> {
        self.0.own_image_named(name).await
    }

    async fn own_images_named(
        &self,
        names: &[AmiName],
    ) -> Result<BTreeMap<AmiName, Image>, CatalogError> {
        self.0.own_images_named(names).await
    }

    async fn newest_image(
        &self,
        pattern: &str,
        owner: &str,
    ) -> Result<Option<Image>, CatalogError> {
        self.0.newest_image(pattern, owner).await
    }

    async fn wait_available(&self, id: &AmiId, deadline: Timestamp) -> Result<Image, CatalogError> {
        around("image.wait", self.0.wait_available(id, deadline), error).await
    }

    async fn visible_resources(
        &self,
        search: &ResourceSearch<'_>,
    ) -> Result<VisibleResources, CatalogError> {
        around("leftovers.find", self.0.visible_resources(search), error).await
    }
}

#[async_trait]
impl ImageWriter for Failing<dyn ImageWriter> {
    async fn tag(&self, image: &Image, change: &TagChange) -> Result<(), CatalogError> {
        around("image.tag", self.0.tag(image, change), error).await
    }

    async fn remove(&self, resource: &OwnedResource) -> Result<bool, CatalogError> {
        around("leftovers.clean", self.0.remove(resource), error).await
    }
}
