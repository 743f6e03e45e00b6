//! What a template asks Packer to do once its image exists: an image whose Packer did not come to
//! its end may lack that, though EC2 shows it as available.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// What has to be done to an image after it exists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostImageSteps {
    /// What cannot be told from the image, by the names of the template.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub steps: BTreeSet<String>,
    /// Tags in plain text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

impl PostImageSteps {
    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.tags.is_empty()
    }

    /// What an image with these tags lacks, or may lack.
    #[must_use]
    pub fn lacking(&self, tags: &BTreeMap<String, String>) -> Vec<&str> {
        let untagged = self.tags.iter().any(|(key, value)| tags.get(key) != Some(value));
        let steps = self.steps.iter().map(String::as_str);
        steps.chain(untagged.then_some("tags")).collect()
    }
}
