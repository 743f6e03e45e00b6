//! Ports that act at AWS only while the lease holds.
//!
//! Writes to the inventory are conditioned on the fencing token by the inventory itself. EC2 knows
//! no token, so the lease's own time is looked at right before each outside effect: a daemon that
//! was frozen past it does nothing when it wakes. What slips through the moment between look and
//! effect is harmless (docs/lost-builds.md, "What a fence cannot stop").

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::controller::connect::Ports;
use crate::controller::lease::LeaseToken;
use reconciler_model::build::{
    BuildError, BuildJob, BuildOutcome, ImageBuilder, RunningBuild, Sighting, StartBefore,
};
use reconciler_model::build_resources::{OwnedResource, ResourceSearch, VisibleResources};
use reconciler_model::ids::{AmiId, AmiName, BuildId, Region, WorkflowId};
use reconciler_model::images::{CatalogError, Image, ImageCatalog, TagChange};

/// The same ports; what they change at AWS or start on this host they do under the mandate only.
#[must_use]
pub fn guarded(ports: &Ports, lease_token: &LeaseToken) -> Ports {
    let mut guarded = ports.clone();
    if let Some(inner) = guarded.catalog.take() {
        guarded.catalog =
            Some(Arc::new(GuardedCatalog { inner, lease_token: lease_token.clone() }));
    }
    guarded.builder =
        Arc::new(GuardedBuilder { inner: guarded.builder, lease_token: lease_token.clone() });
    guarded
}

/// Ports to act through under one mandate, in whatever region a build is.
#[derive(Clone)]
pub struct Everywhere {
    ports: Ports,
    lease_token: LeaseToken,
}

impl Everywhere {
    /// Through these ports, which are not guarded yet.
    #[must_use]
    pub fn new(ports: Ports, lease_token: LeaseToken) -> Self {
        Self { ports, lease_token }
    }

    /// In the region of the ports.
    #[must_use]
    pub fn here(&self) -> Ports {
        guarded(&self.ports, &self.lease_token)
    }

    /// In another region; none: it is not known, and is taken for the same.
    #[must_use]
    pub fn in_region(&self, region: Option<&Region>) -> Ports {
        match region {
            Some(region) => guarded(&self.ports.in_region(region), &self.lease_token),
            None => self.here(),
        }
    }
}

struct GuardedCatalog {
    inner: Arc<dyn ImageCatalog>,
    lease_token: LeaseToken,
}

impl GuardedCatalog {
    fn check(&self, action: &str) -> Result<(), CatalogError> {
        if self.lease_token.until().is_some() {
            return Ok(());
        }
        Err(CatalogError::LeaseLost { action: action.to_owned() })
    }
}

#[async_trait]
impl ImageCatalog for GuardedCatalog {
    async fn images(&self, ids: &[AmiId]) -> Result<BTreeMap<AmiId, Image>, CatalogError> {
        self.inner.images(ids).await
    }

    async fn image(&self, id: &AmiId) -> Result<Option<Image>, CatalogError> {
        self.inner.image(id).await
    }

    async fn own_image_named(&self, name: &AmiName) -> Result<Option<Image>, CatalogError> {
        self.inner.own_image_named(name).await
    }

    async fn own_images_named(
        &self,
        names: &[AmiName],
    ) -> Result<BTreeMap<AmiName, Image>, CatalogError> {
        self.inner.own_images_named(names).await
    }

    async fn newest_image(
        &self,
        pattern: &str,
        owner: &str,
    ) -> Result<Option<Image>, CatalogError> {
        self.inner.newest_image(pattern, owner).await
    }

    async fn wait_available(&self, id: &AmiId, deadline: Timestamp) -> Result<Image, CatalogError> {
        self.inner.wait_available(id, deadline).await
    }

    async fn tag(&self, image: &Image, change: &TagChange) -> Result<(), CatalogError> {
        self.check("ec2:CreateTags")?;
        self.inner.tag(image, change).await
    }

    async fn visible_resources(
        &self,
        search: &ResourceSearch<'_>,
    ) -> Result<VisibleResources, CatalogError> {
        self.inner.visible_resources(search).await
    }

    async fn remove(&self, resource: &OwnedResource) -> Result<bool, CatalogError> {
        self.check("removing what a build left")?;
        self.inner.remove(resource).await
    }
}

struct GuardedBuilder {
    inner: Arc<dyn ImageBuilder>,
    lease_token: LeaseToken,
}

#[async_trait]
impl ImageBuilder for GuardedBuilder {
    /// The time is asked for once more when the folder is laid out, which takes a while, and looked
    /// at by the supervisor before it starts Packer.
    async fn start(&self, job: &BuildJob) -> Result<RunningBuild, BuildError> {
        if self.lease_token.until().is_none() {
            return Err(BuildError::LeaseLost);
        }
        let lease_token = self.lease_token.clone();
        let job = BuildJob {
            start_before: Some(StartBefore::new(move || lease_token.until())),
            ..job.clone()
        };
        self.inner.start(&job).await
    }

    async fn find(&self, build: &BuildId) -> Result<Sighting, BuildError> {
        self.inner.find(build).await
    }

    async fn wait(&self, build: &RunningBuild) -> Result<BuildOutcome, BuildError> {
        self.inner.wait(build).await
    }

    async fn unaccounted(&self, workflow: &WorkflowId) -> Result<Vec<RunningBuild>, BuildError> {
        self.inner.unaccounted(workflow).await
    }

    async fn account_for(&self, build: &BuildId) -> Result<(), BuildError> {
        self.inner.account_for(build).await
    }

    async fn cancel(&self, build: &RunningBuild) -> Result<(), BuildError> {
        match self.lease_token.until() {
            Some(_) => self.inner.cancel(build).await,
            None => Err(BuildError::LeaseLost),
        }
    }
}
