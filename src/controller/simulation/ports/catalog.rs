//! EC2 as a simulated host reaches it.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::controller::simulation::world::{Handle, Lost, ModelImage, World};
use reconciler_model::build_resources::{
    Instance, OwnedResource, ResourceKind, ResourceSearch, VisibleResources,
};
use reconciler_model::ids::{AmiId, AmiName, BuildId};
use reconciler_model::images::{
    CatalogError, Image, ImageReader, ImageState, ImageWriter, NOT_YET_KNOWN, PreparedInstance,
    TagChange,
};

pub(in crate::controller::simulation) struct SimulatedCatalog(
    pub(in crate::controller::simulation) Handle,
);

impl From<Lost> for CatalogError {
    fn from(_: Lost) -> Self {
        Self::Unavailable { detail: "lost".to_owned() }
    }
}

fn shown(world: &World, name: &AmiName, image: &ModelImage) -> Image {
    let available = image.ready_at <= world.now();
    Image {
        id: image.id.clone(),
        name: name.clone(),
        state: if available { ImageState::Available } else { ImageState::Pending },
        owner_id: "self".to_owned(),
        created_at: World::time(image.created_at),
        tags: image.shown_tags(world.now()).clone(),
        snapshots: Vec::new(),
        details: "{}".to_owned(),
    }
}

fn named(world: &mut World, name: &AmiName) -> Option<Image> {
    world.asked_for(name);
    let image = world.images.get(name).filter(|image| is_shown(world, image));
    image.map(|image| shown(world, name, image))
}

/// Whether EC2 shows it by now, by whatever it is looked for.
fn is_shown(world: &World, image: &ModelImage) -> bool {
    image.shown_at <= world.now()
}

fn by_id(world: &World, id: &AmiId) -> Option<Image> {
    if id.as_str() == super::git::BASE {
        return Some(shown(world, &AmiName::new("base"), &ModelImage::base(id)));
    }
    let image = world.image(id).filter(|(_, image)| is_shown(world, image));
    image.map(|(name, image)| shown(world, name, image))
}

/// The key pair of a build: Packer draws a UUID for it.
pub(super) fn key_pair(build: &BuildId) -> String {
    format!("packer_{build}")
}

#[async_trait]
impl ImageReader for SimulatedCatalog {
    /// Nobody has an instance of their own in the model.
    async fn instance(&self, _: &str) -> Result<Option<PreparedInstance>, CatalogError> {
        Ok(None)
    }

    async fn images(&self, ids: &[AmiId]) -> Result<BTreeMap<AmiId, Image>, CatalogError> {
        Ok(self
            .0
            .call(|world| {
                let found = ids.iter().filter_map(|id| Some((id.clone(), by_id(world, id)?)));
                found.collect()
            })
            .await?)
    }

    async fn image(&self, id: &AmiId) -> Result<Option<Image>, CatalogError> {
        Ok(self.0.call(|world| by_id(world, id)).await?)
    }

    async fn own_image_named(&self, name: &AmiName) -> Result<Option<Image>, CatalogError> {
        Ok(self.0.call(|world| named(world, name)).await?)
    }

    async fn own_images_named(
        &self,
        names: &[AmiName],
    ) -> Result<BTreeMap<AmiName, Image>, CatalogError> {
        let found = |world: &mut World| {
            let found = names.iter().filter_map(|name| Some((name.clone(), named(world, name)?)));
            found.collect()
        };
        Ok(self.0.call(found).await?)
    }

    async fn newest_image(&self, _: &str, _: &str) -> Result<Option<Image>, CatalogError> {
        Ok(None)
    }

    /// As the real one: what EC2 does not know is waited for as long as EC2 may be late.
    async fn wait_available(&self, id: &AmiId, _: Timestamp) -> Result<Image, CatalogError> {
        let mut known_until = self.0.executor.now();
        loop {
            let found = self.0.call(|world| by_id(world, id)).await?;
            let now = self.0.executor.now();
            let unknown = Duration::from_millis(now - known_until);
            match found {
                Some(image) if image.state == ImageState::Available => return Ok(image),
                Some(_) => known_until = now,
                None if unknown < NOT_YET_KNOWN => {}
                None => {
                    return Err(CatalogError::ImageFailed {
                        id: id.clone(),
                        reason: "EC2 does not know it".to_owned(),
                    });
                }
            }
            self.0.sleep(10_000).await;
        }
    }

    async fn visible_resources(
        &self,
        search: &ResourceSearch<'_>,
    ) -> Result<VisibleResources, CatalogError> {
        let found = |world: &mut World| {
            let builds = world.builds.iter().filter(|(id, build)| {
                build.instance && search.claimed.key_pairs.contains(&key_pair(id))
            });
            let instances = builds.map(|(id, build)| Instance {
                id: instance(id),
                key: Some(key_pair(id)),
                groups: Vec::new(),
                launched: build.launched_at.map(World::time),
            });
            let instances = instances.collect();
            let claimed = |image: &ModelImage| {
                let mut ids = search.claimed.all_images().chain(search.unwanted_images());
                ids.any(|id| *id == image.id)
            };
            let images = world.images.iter();
            let images = images.filter(|(_, one)| is_shown(world, one));
            let images =
                images.filter(|(name, one)| search.image_name == Some(name) || claimed(one));
            let images = images.map(|(name, image)| shown(world, name, image)).collect();
            VisibleResources { instances, images, ..VisibleResources::default() }
        };
        Ok(self.0.call(found).await?)
    }
}

fn instance(build: &BuildId) -> String {
    format!("i-{build}")
}

#[async_trait]
impl ImageWriter for SimulatedCatalog {
    async fn tag(&self, image: &Image, change: &TagChange) -> Result<(), CatalogError> {
        self.0.world().acts(self.0.host());
        let there = self.0.call(|world| world.tag(&image.id, &change.set, &change.remove)).await?;
        if there {
            return Ok(());
        }
        Err(CatalogError::Refused {
            action: "ec2:CreateTags".to_owned(),
            detail: "gone".to_owned(),
        })
    }

    async fn remove(&self, resource: &OwnedResource) -> Result<bool, CatalogError> {
        self.0.world().acts(self.0.host());
        let remove = |world: &mut World| match resource.kind() {
            ResourceKind::Instance if world.is_denied() => Err(CatalogError::Denied {
                action: "ec2:TerminateInstances".to_owned(),
                detail: "not now".to_owned(),
            }),
            ResourceKind::Instance => {
                let id = BuildId::new(resource.id().trim_start_matches("i-"));
                let build = world.builds.get_mut(&id);
                Ok(build.is_some_and(|build| std::mem::take(&mut build.instance)))
            }
            ResourceKind::Image => {
                world.remove_image(&AmiId::new(resource.id()), "a clean-up");
                Ok(true)
            }
            _ => Ok(false),
        };
        self.0.call(remove).await?
    }
}
