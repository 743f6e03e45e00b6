//! The digests that a fingerprint is made of, kept on the record so that *why* can be answered by component and by file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::desired::digest::{Digest, Encoder};
use crate::ids::AmiId;

/// The digest of everything that can change a step's image, and of nothing else.
pub type Fingerprint = Digest;

/// One digest for each input of a step's image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Components {
    /// Workflow id, step id, region, and the image name without its fingerprint part.
    pub identity: Digest,
    /// The step's own parameters, one digest for each top-level key, less `metadata` and `reconciler`.
    pub params: BTreeMap<String, Digest>,
    /// Every rendered file, by the name that it is written under.
    pub templates: BTreeMap<String, Digest>,
    /// Every other file that counts (mode and content), by its path from the repository's root.
    pub files: BTreeMap<String, Digest>,
    /// The image that the step starts from.
    pub source_ami: AmiId,
}

impl Components {
    /// The fingerprint: every component in the order of the fields.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let mut encoder =
            Encoder::new("reconciler fingerprint 1: identity params templates files source_ami");
        encoder.field(self.identity.as_bytes());
        for map in [&self.params, &self.templates, &self.files] {
            encoder.number(map.len() as u64);
            for (name, digest) in map {
                encoder.field(name.as_bytes()).field(digest.as_bytes());
            }
        }
        encoder.field(self.source_ami.as_str().as_bytes());
        encoder.finish()
    }
}
