//! Images as EC2 has them.
//!
//! This file has the ports; `reconciler_aws::ec2` is its adapter.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::build_resources::{OwnedResource, OwnedResources, ResourceSearch, VisibleResources};
use crate::ids::{AmiId, AmiName};

/// The tag of every recorded image with its fingerprint (docs/contract.md §4).
pub const FINGERPRINT_TAG: &str = "reconciler:fingerprint";

/// The tag of every recorded image with the build that made it (docs/contract.md §4).
pub const BUILD_ID_TAG: &str = "reconciler:build-id";

/// The tag of every recorded image with the workflow that made it (docs/contract.md §4).
pub const WORKFLOW_ID_TAG: &str = "reconciler:workflow-id";

/// How long EC2 may not know what it has just made (docs/packer.md: 2.5 minutes).
pub const NOT_YET_KNOWN: Duration = Duration::from_secs(150);

/// An image, or what EC2 still says of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its id.
    pub id: AmiId,
    /// Its name.
    pub name: AmiName,
    /// Whether it can be used.
    pub state: ImageState,
    /// The account that owns it.
    pub owner_id: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// The snapshots of its block devices.
    pub snapshots: Vec<String>,
    /// EC2's description as JSON text in the Python library's form (boto3's answer stands under
    /// `data`): what the record keeps as `details`. Empty where an image was asked for by
    /// [`ImageReader::images`] (see there).
    pub details: String,
}

/// Whether an image can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageState {
    /// Being made.
    Pending,
    /// Ready.
    Available,
    /// Will never be ready; with EC2's reason.
    Failed(String),
    /// Any other state that EC2 names (`deregistered`, `disabled`, `error`, `invalid`,
    /// `transient`).
    Other(String),
}

impl fmt::Display for ImageState {
    /// In EC2's words: `available`, `failed: no space`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pending => f.write_str("pending"),
            Self::Available => f.write_str("available"),
            Self::Failed(reason) => write!(f, "failed: {reason}"),
            Self::Other(state) => f.write_str(state),
        }
    }
}

impl ImageState {
    /// Whether it exists no more: EC2 shows it for a while after it was deregistered, though its
    /// name is free.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Other(state) if state == "deregistered")
    }

    /// Whether somebody has taken it out of use, and can put it back (`DisableImage`,
    /// `EnableImage`).
    #[must_use]
    pub fn is_disabled(&self) -> bool {
        matches!(self, Self::Other(state) if state == "disabled")
    }
}

/// Which tags to put on and take off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagChange {
    /// Put on, over an older value.
    pub set: BTreeMap<String, String>,
    /// Taken off.
    pub remove: Vec<String>,
}

/// A person's instance, as far as its image is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedInstance {
    /// Its id.
    pub id: String,
    /// Its state in EC2's words: `running`, `stopped`.
    pub state: String,
    /// What EC2 says of why and when it came into its state (`StateTransitionReason`). Each stop
    /// has a text of its own, with its time; one that starts has none.
    pub transition: String,
    /// The image that it was started from.
    pub image_id: AmiId,
}

impl PreparedInstance {
    /// Whether it is stopped, and has been since EC2 said this of it.
    #[must_use]
    pub fn is_stopped_since(&self, transition: &str) -> bool {
        self.is_stopped() && self.transition == transition
    }

    /// Whether it is stopped.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.state == "stopped"
    }
}

/// Has images made of instances. Only the process of a person has it, and asks with that person's
/// credentials.
#[async_trait]
pub trait ImageMaker: Send + Sync {
    /// Asks EC2 for an image of an instance, without a reboot whatever the instance does
    /// meanwhile. The image and its snapshots bear the tags from birth.
    async fn create_image(
        &self,
        instance: &str,
        name: &AmiName,
        tags: &BTreeMap<String, String>,
    ) -> Result<AmiId, CatalogError>;
}

/// Looks at the images of one account in one region.
#[async_trait]
pub trait ImageReader: Send + Sync {
    /// An instance of the account in this region; none: EC2 knows none of this id there.
    async fn instance(&self, id: &str) -> Result<Option<PreparedInstance>, CatalogError>;

    /// The images of these ids, without `details`; an id that EC2 does not know is absent. One call
    /// per 1,000 ids.
    async fn images(&self, ids: &[AmiId]) -> Result<BTreeMap<AmiId, Image>, CatalogError>;

    /// One image with `details`.
    async fn image(&self, id: &AmiId) -> Result<Option<Image>, CatalogError>;

    /// The image of this name among our own, in whatever state.
    async fn own_image_named(&self, name: &AmiName) -> Result<Option<Image>, CatalogError>;

    /// The images of these names among our own, in whatever state, without `details`; a name that
    /// nobody holds is absent. One call per 200 names.
    async fn own_images_named(
        &self,
        names: &[AmiName],
    ) -> Result<BTreeMap<AmiName, Image>, CatalogError>;

    /// The newest available image whose name matches `pattern` (EC2's `*` and `?`) and that `owner`
    /// (account id or alias such as `amazon`) owns.
    async fn newest_image(&self, pattern: &str, owner: &str)
    -> Result<Option<Image>, CatalogError>;

    /// Waits until the image is available, patiently (big disks take an hour) and with few calls; a
    /// failed image is [`CatalogError::ImageFailed`], `deadline` passing is
    /// [`CatalogError::StillPending`].
    async fn wait_available(&self, id: &AmiId, deadline: Timestamp) -> Result<Image, CatalogError>;

    /// What EC2 shows of what a build may have left: what its log claims, instances of its key or
    /// group, its image by name, and the snapshots of that.
    async fn visible_resources(
        &self,
        search: &ResourceSearch<'_>,
    ) -> Result<VisibleResources, CatalogError>;
}

/// Changes the images of one account in one region. The main loop has it from a held lease only.
#[async_trait]
pub trait ImageWriter: Send + Sync {
    /// Changes tags on the image and its snapshots.
    async fn tag(&self, image: &Image, change: &TagChange) -> Result<(), CatalogError>;

    /// Removes it; whether it was there. A group waits for its instances, and a snapshot that
    /// another image holds stays.
    async fn remove(&self, resource: &OwnedResource) -> Result<bool, CatalogError>;

    /// Removes all; returns the ids that are gone. One that cannot be removed does not keep the
    /// others: the first failure is told at the end, and the next look finds what is still there.
    async fn remove_all(&self, owned: &OwnedResources) -> Result<Vec<String>, CatalogError> {
        let (mut gone, mut failure) = (Vec::new(), None);
        for resource in owned.iter() {
            match self.remove(resource).await {
                Ok(true) => gone.push(resource.id().to_owned()),
                Ok(false) => {}
                Err(lost @ CatalogError::LeaseLost { .. }) => return Err(lost),
                Err(error) => {
                    failure.get_or_insert(error);
                }
            }
        }
        failure.map_or(Ok(gone), Err)
    }
}

/// Takes images away for a person, with the person's credentials. It is no part of [`ImageWriter`]:
/// the main loop never holds one.
#[async_trait]
pub trait ImageRemover: Send + Sync {
    /// Deregisters an image. A snapshot that another image uses stays, whatever is asked for.
    async fn deregister(
        &self,
        id: &AmiId,
        snapshots: AssociatedSnapshots,
    ) -> Result<Deregistered, CatalogError>;
}

/// What becomes of the snapshots of an image that goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssociatedSnapshots {
    /// They stay.
    Kept,
    /// They go as well, but for those that another image uses.
    Deleted,
}

/// What became of an image that was to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deregistered {
    /// It was gone already.
    WasGone,
    /// It is gone, with this result for each of the snapshots that were to go.
    Done(Vec<(String, SnapshotResult)>),
}

/// What became of a snapshot that was to go with its image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotResult {
    /// It is gone.
    Deleted,
    /// It stays: another image uses it.
    UsedByAnother,
    /// It stays: there is no permission to delete it.
    Denied,
    /// It stays, by EC2's word.
    Failed(String),
}

/// What the catalog answers instead.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// No credentials, or expired ones.
    #[error("no valid AWS credentials: {detail}")]
    Credentials {
        /// What the SDK or AWS said.
        detail: String,
    },
    /// No permission; names the action.
    #[error("access denied: {action}: {detail}")]
    Denied {
        /// For example `ec2:DescribeImages`.
        action: String,
        /// What AWS said.
        detail: String,
    },
    /// The image failed.
    #[error("image {id} has failed: {reason}")]
    ImageFailed {
        /// Which.
        id: AmiId,
        /// EC2's reason.
        reason: String,
    },
    /// The image is not available in time.
    #[error("image {id} was still pending at its deadline")]
    StillPending {
        /// Which.
        id: AmiId,
    },
    /// It may work later (throttling, 5xx, network).
    #[error("EC2 did not answer: {detail}")]
    Unavailable {
        /// What happened.
        detail: String,
    },
    /// Nothing was done: whoever asked holds the workflow's lease no longer.
    #[error("{action} was left to another reconciler: the lease was lost")]
    LeaseLost {
        /// What was to be done.
        action: String,
    },
    /// It will not work by itself.
    #[error("EC2 refused {action}: {detail}")]
    Refused {
        /// For example `ec2:CreateTags`.
        action: String,
        /// Code and message of AWS.
        detail: String,
    },
}

impl CatalogError {
    /// The same with the place where EC2 was asked, where that is what a person asks first.
    #[must_use]
    pub fn in_place(self, place: &str) -> Self {
        match self {
            Self::Unavailable { detail } if !place.is_empty() => {
                Self::Unavailable { detail: format!("{detail} ({place})") }
            }
            other => other,
        }
    }
}
