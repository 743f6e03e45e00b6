//! Looks at images beyond what a pass needs, for a person who asks.
//!
//! This file has the port; `reconciler_aws::survey` is its adapter. Nothing here changes anything.

use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Serialize;

use crate::ids::{AmiId, AmiName, Region, WorkflowId};
use crate::images::CatalogError;
use crate::uses::Uses;

/// Looks at the images of one region, whosever they are, and at what is said of them.
#[async_trait]
pub trait ImageSurvey: Send + Sync {
    /// The available images that are meant, in no order.
    async fn search(&self, search: &ImageSearch) -> Result<Vec<FoundImage>, CatalogError>;

    /// Some available images whose names match, of whatever owner and kind: to say what else there
    /// is where nothing was found. At most [`MOST_NAMESAKES`] are looked at.
    async fn namesakes(&self, pattern: &str) -> Result<Vec<FoundImage>, CatalogError>;

    /// What refers to these images at AWS. Never an error: what could not be looked at is told
    /// beside what was seen, and counts as a use.
    async fn uses(&self, images: &[AmiId]) -> Uses;

    /// Where an image comes from by EC2's own word: itself, what it was made from, and so on to the
    /// image of which EC2 knows no source.
    async fn ancestry(&self, image: &AmiId) -> Result<Vec<SourceOf>, CatalogError>;
}

/// How many images of any owner are looked at: anybody may publish as many as he likes.
pub const MOST_NAMESAKES: usize = 1000;

/// Which images a person looks for: available ones on EBS with hardware virtualization, public ones
/// and those that this account owns or that are shared with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSearch {
    /// What their names match, by EC2's `*` and `?`.
    pub pattern: String,
    /// Who owns them: an account id, or an alias such as `self` or `amazon`.
    pub owner: String,
    /// What they run on.
    pub architecture: Architecture,
}

/// What an image runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// Intel and AMD, 64 bits.
    X86_64,
    /// ARM, 64 bits.
    Arm64,
    /// Intel and AMD, 32 bits.
    I386,
    /// A Mac with an Intel processor.
    X86_64Mac,
    /// A Mac with a processor of Apple's own.
    Arm64Mac,
}

impl Architecture {
    /// Its name at EC2.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Arm64 => "arm64",
            Self::I386 => "i386",
            Self::X86_64Mac => "x86_64_mac",
            Self::Arm64Mac => "arm64_mac",
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an image was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceOf {
    /// The image.
    #[serde(rename = "ami_id")]
    pub image: AmiId,
    /// What it was made from; null where EC2 knows of nothing.
    #[serde(rename = "source_ami_id")]
    pub source: Option<AmiId>,
    /// Where that is.
    pub region: Option<Region>,
}

/// An image that a search has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundImage {
    /// Its id.
    pub id: AmiId,
    /// Its name.
    pub name: AmiName,
    /// The account that owns it.
    pub owner_id: String,
    /// That account's alias, if it is one of AWS's own.
    pub owner_alias: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// What it runs on, in EC2's word.
    pub architecture: String,
    /// Whether everybody may use it.
    pub is_public: bool,
    /// The workflow that made it, by its tag `reconciler:workflow-id`.
    pub workflow_id: Option<WorkflowId>,
}
