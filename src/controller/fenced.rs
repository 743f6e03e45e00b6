//! Ports that act at AWS only while the lease holds.
//!
//! Writes to the inventory are conditioned on the fencing token by the inventory itself. EC2 knows
//! no token, so what changes images is to be had from a held lease only, and the lease's own time
//! is looked at right before each outside effect: a daemon that was frozen past it does nothing
//! when it wakes. What slips through the moment between look and effect is harmless
//! (docs/lost-builds.md, "What a fence cannot stop").

use std::ops::Deref;
use std::sync::Arc;

use async_trait::async_trait;

use crate::controller::connect::Ports;
use crate::controller::error::PassError;
use crate::controller::lease::LeaseToken;
use reconciler_core::build::job::{BuildJob, ImageBuilder, StartDeadline};
use reconciler_model::build::{BuildError, BuildOutcome, RunningBuild, Sighting};
use reconciler_model::build_resources::OwnedResource;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::{BuildId, Region, WorkflowId};
use reconciler_model::images::{CatalogError, Image, ImageReader, ImageWriter, TagChange};
use reconciler_model::inventory::IntentWritten;

/// What changes images, out of reach of everybody but a [`LeasedPorts`].
#[derive(Clone)]
pub struct BehindLease(Arc<dyn ImageWriter>);

impl BehindLease {
    /// Puts it there.
    #[must_use]
    pub fn new(writer: Arc<dyn ImageWriter>) -> Self {
        Self(writer)
    }
}

/// Ports to act through under a held lease: what they change at AWS or start on this host they do
/// while it holds only.
#[derive(Clone)]
pub struct LeasedPorts {
    ports: Ports,
    lease_token: LeaseToken,
}

impl Deref for LeasedPorts {
    type Target = Ports;

    fn deref(&self) -> &Ports {
        &self.ports
    }
}

impl LeasedPorts {
    /// These ports, under this lease.
    #[must_use]
    pub fn new(mut ports: Ports, lease_token: LeaseToken) -> Self {
        ports.builder =
            Arc::new(GuardedBuilder { inner: ports.builder, lease_token: lease_token.clone() });
        Self { ports, lease_token }
    }

    /// The same in another region, where a build may be; none: it is not known, and is taken for
    /// the same.
    #[must_use]
    pub fn in_region(&self, region: Option<&Region>) -> Self {
        match region {
            Some(region) => Self { ports: self.ports.in_region(region), ..self.clone() },
            None => self.clone(),
        }
    }

    /// The same, with credentials for builds that are as fresh as can be had.
    pub async fn with_fresh_credentials(&self) -> Result<Self, PassError> {
        let ports = self.ports.with_fresh_credentials().await?;
        Ok(Self::new(ports, self.lease_token.clone()))
    }

    /// The lease, which a build that starts is to ask for its end.
    #[must_use]
    pub fn start_deadline(&self) -> Arc<dyn StartDeadline> {
        Arc::new(self.lease_token.clone())
    }

    /// What looks at images.
    pub fn image_reader(&self) -> Result<&dyn ImageReader, PassError> {
        self.catalog.as_deref().ok_or_else(not_connected)
    }

    /// What changes images.
    pub fn image_writer(&self) -> Result<impl ImageWriter, PassError> {
        let BehindLease(inner) = self.ports.image_writer.clone().ok_or_else(not_connected)?;
        Ok(GuardedWriter { inner, lease_token: self.lease_token.clone() })
    }
}

fn not_connected() -> PassError {
    PassError::Person(Diagnostic::new("EC2 is not connected"))
}

struct GuardedWriter {
    inner: Arc<dyn ImageWriter>,
    lease_token: LeaseToken,
}

impl GuardedWriter {
    fn check(&self, action: &str) -> Result<(), CatalogError> {
        // Seeded bug: ec2-is-changed-without-a-lease
        if self.lease_token.until().is_some() {
            return Ok(());
        }
        Err(CatalogError::LeaseLost { action: action.to_owned() })
    }
}

#[async_trait]
impl ImageWriter for GuardedWriter {
    async fn tag(&self, image: &Image, change: &TagChange) -> Result<(), CatalogError> {
        self.check("ec2:CreateTags")?;
        self.inner.tag(image, change).await
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
    async fn start(
        &self,
        intent: IntentWritten,
        job: &BuildJob,
        lease: Arc<dyn StartDeadline>,
    ) -> Result<RunningBuild, BuildError> {
        if lease.until().is_none() {
            return Err(BuildError::LeaseLost);
        }
        self.inner.start(intent, job, lease).await
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
