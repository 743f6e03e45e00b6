//! EC2 as a simulated host reaches it.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::controller::simulation::world::{Handle, Lost, ModelImage, World};
use reconciler_model::clock;
use reconciler_model::ids::{AmiId, AmiName, BuildId};
use reconciler_model::images::{
    BUILD_ID_TAG, CatalogError, Image, ImageCatalog, ImageState, Leftovers, TagChange,
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
        tags: image.tags.clone(),
        snapshots: Vec::new(),
        details: "{}".to_owned(),
    }
}

fn named(world: &mut World, name: &AmiName) -> Option<Image> {
    world.asked_for(name);
    world.images.get(name).map(|image| shown(world, name, image))
}

fn by_id(world: &World, id: &AmiId) -> Option<Image> {
    if id.as_str() == super::git::BASE {
        let created_at = 0;
        let base =
            ModelImage { id: id.clone(), created_at, ready_at: 0, tags: BTreeMap::new(), by: None };
        return Some(shown(world, &AmiName::new("base"), &base));
    }
    world.image(id).map(|(name, image)| shown(world, name, image))
}

/// The key pair of a build.
pub(super) fn key_pair(build: &BuildId) -> String {
    format!("packer_{build}")
}

#[async_trait]
impl ImageCatalog for SimulatedCatalog {
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

    async fn wait_available(&self, id: &AmiId, _: Timestamp) -> Result<Image, CatalogError> {
        loop {
            let found = self.0.call(|world| by_id(world, id)).await?;
            match found {
                Some(image) if image.state == ImageState::Available => return Ok(image),
                Some(_) => self.0.sleep(10_000).await,
                None => {
                    return Err(CatalogError::ImageFailed {
                        id: id.clone(),
                        reason: "it is gone".to_owned(),
                    });
                }
            }
        }
    }

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

    async fn find_leftovers(
        &self,
        build: &BuildId,
        name: &AmiName,
        told: &Leftovers,
    ) -> Result<Leftovers, CatalogError> {
        let found = |world: &mut World| {
            let mut found = Leftovers::default();
            let instance = world.builds.get(build).is_some_and(|build| build.instance);
            if instance && told.key_pairs.contains(&key_pair(build)) {
                found.instances.push(build.to_string());
            }
            let recent = |image: &ModelImage| {
                let made = World::time(image.created_at) + clock::OF_AWS;
                build.made_at().is_none_or(|began| made >= began)
            };
            let owns = |(of, image): &(&AmiName, &ModelImage)| {
                let of_another =
                    image.tags.get(BUILD_ID_TAG).is_some_and(|tag| tag != build.as_str());
                let unfinished = *of == name && image.ready_at > world.now();
                !of_another && recent(image) && (told.images.contains(&image.id) || unfinished)
            };
            let images = world.images.iter().filter(owns).map(|(_, image)| image.id.clone());
            found.images = images.collect();
            found
        };
        Ok(self.0.call(found).await?)
    }

    async fn clean(&self, leftovers: &Leftovers) -> Result<Vec<String>, CatalogError> {
        if leftovers == &Leftovers::default() {
            return Ok(Vec::new());
        }
        self.0.world().acts(self.0.host());
        let clean = |world: &mut World| {
            for id in &leftovers.instances {
                if world.is_denied() {
                    return Err(CatalogError::Denied {
                        action: "ec2:TerminateInstances".to_owned(),
                        detail: "not now".to_owned(),
                    });
                }
                if let Some(build) = world.builds.get_mut(&BuildId::new(id.as_str())) {
                    build.instance = false;
                }
            }
            for id in &leftovers.images {
                world.remove_image(id, "a clean-up");
            }
            Ok(leftovers.instances.clone())
        };
        self.0.call(clean).await?
    }
}
