//! A record: the current image of one step of one workflow, as the Python library and this program
//! both read it.
//!
//! The fields and formats of the table stand in the documentation of the `dynamodb` adapter; here
//! are the values.

use jiff::Timestamp;

use crate::components::{Components, Fingerprint};
use crate::digest::Digest;
use crate::ids::{AmiId, AmiName, BuildId, Region, Revision, StepId, WorkflowId};
use crate::inventory::build_times::BuildTimes;
use crate::inventory::tags::Tags;

/// What a plan needs of a record: everything but the long texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordHead {
    /// Hash key.
    pub workflow_id: WorkflowId,
    /// Range key.
    pub step_id: StepId,
    /// The image.
    pub ami_id: AmiId,
    /// Its name.
    pub ami_name: AmiName,
    /// When EC2 created the image.
    pub create_at: Timestamp,
    /// The image that it was built on.
    pub base_ami_id: AmiId,
    /// That image's name.
    pub base_ami_name: AmiName,
    /// Where the workflow starts.
    pub root_base_ami_id: AmiId,
    /// That image's name.
    pub root_base_ami_name: AmiName,
    /// What this program knows of the build; none on a record that the Python library wrote.
    pub built: Option<Built>,
}

impl RecordHead {
    /// Which it is, in words.
    #[must_use]
    pub fn name(&self) -> String {
        format!("record {}/{}", self.workflow_id, self.step_id)
    }
}

/// What this program adds to a record. Absent on the Python library's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// The desired state that the image fulfils.
    pub fingerprint: Fingerprint,
    /// The build that made it; on an adopted record the id of the adoption.
    pub build_id: BuildId,
    /// The commit that it was built from.
    pub revision: Revision,
    /// Where the image is.
    pub region: Region,
    /// The tags that this program has put on the image, so that a tag that left git can be taken
    /// off. Those of another run, where the image is that run's as well: they are left alone.
    pub tags: Tags,
    /// The digest of the step's `metadata`.
    pub metadata_digest: Digest,
    /// How long Packer took, in seconds; 0 on an adopted record.
    pub build_seconds: u64,
    /// The same of the newest builds of the step that made an image, this one the last.
    pub build_times: BuildTimes,
    /// When the record was written.
    pub recorded_at: Timestamp,
    /// The fencing token under which it was written.
    pub fence: u64,
}

impl Built {
    /// The times of the newest builds; of one that an earlier version recorded, its own.
    #[must_use]
    pub fn times(&self) -> BuildTimes {
        if self.build_times.text().is_empty() {
            return BuildTimes::default().with(self.build_seconds);
        }
        self.build_times.clone()
    }
}

/// The whole record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// All that a plan needs.
    pub head: RecordHead,
    /// Link to the image in the AWS console.
    pub aws_console_url: String,
    /// JSON text of EC2's description of the image.
    pub details: String,
    /// JSON text of the step's metadata.
    pub metadata: String,
    /// The digests under the fingerprint, to say why a step differs; none on the Python library's
    /// records.
    pub components: Option<Components>,
}
