//! The digests that a fingerprint is made of, kept on the record so that *why* can be answered by
//! component and by file.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Encoder, NotADigest};
use crate::ids::AmiId;

/// The digest of everything that can change a step's image, and of nothing else.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(Digest);

impl Fingerprint {
    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The first eight hex digits: what image names carry.
    #[must_use]
    pub fn short(&self) -> String {
        self.0.short()
    }
}

/// Takes a digest that is known to be one: of [`Components`], or as it was stored.
impl From<Digest> for Fingerprint {
    fn from(digest: Digest) -> Self {
        Self(digest)
    }
}

impl FromStr for Fingerprint {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        text.parse().map(Self)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// One digest for each input of a step's image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Components {
    /// Workflow id, step id, region, and the image name without its fingerprint part.
    pub identity: Digest,
    /// The step's own parameters, one digest for each top-level key, less `metadata` and
    /// `reconciler`.
    pub params: BTreeMap<String, Digest>,
    /// Every rendered file, by the name that it is written under.
    pub templates: BTreeMap<String, Digest>,
    /// Every other file that counts (mode and content), by its path from the repository's root.
    pub files: BTreeMap<String, Digest>,
    /// The image that the step starts from.
    pub source_ami: AmiId,
    /// Every secret that the rendered files ask for, by its digest under the fingerprint key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, Digest>,
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
        // Seeded bug: source-image-does-not-count
        encoder.field(self.source_ami.as_str().as_bytes());
        // Came later: a step that asks for no secret keeps its fingerprint. Nothing else stands
        // behind the source image.
        if !self.secrets.is_empty() {
            encoder.number(self.secrets.len() as u64);
            for (name, digest) in &self.secrets {
                encoder.field(name.as_bytes()).field(digest.as_bytes());
            }
        }
        Fingerprint(encoder.finish())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn components(files: &[(String, String)]) -> Components {
        let digests = |(name, text): &(String, String)| (name.clone(), Digest::of(text.as_bytes()));
        Components {
            identity: Digest::of(b"identity"),
            params: BTreeMap::new(),
            templates: BTreeMap::new(),
            files: files.iter().map(digests).collect(),
            source_ami: AmiId::new("ami-1"),
            secrets: BTreeMap::new(),
        }
    }

    #[test]
    fn the_encoding_stays_as_it_is() {
        let one = components(&[("a".into(), "b".into())]);
        assert_eq!(
            one.fingerprint().to_string(),
            "f049af2ad65b7e8ed1f85607f62574ecc1eae80e401cf7ba78b44f9682b8b623",
            "a new encoding rebuilds every image of every user: raise the version in the domain text and say so in the changelog"
        );
    }

    #[test]
    fn the_same_entry_in_another_component_is_another_fingerprint() {
        let files = components(&[("a".into(), "b".into())]);
        let mut templates = files.clone();
        templates.templates = std::mem::take(&mut templates.files);
        assert_ne!(files.fingerprint(), templates.fingerprint());
    }

    #[test]
    fn another_source_image_is_another_fingerprint_though_no_template_names_it() {
        let one = components(&[]);
        let other = Components { source_ami: AmiId::new("ami-2"), ..one.clone() };
        assert_ne!(one.fingerprint(), other.fingerprint());
    }

    proptest! {
        #[test]
        fn different_inputs_never_share_a_fingerprint(a in proptest::collection::vec(("[ab/]{0,3}", "[ab]{0,3}"), 0..3), b in proptest::collection::vec(("[ab/]{0,3}", "[ab]{0,3}"), 0..3)) {
            let (a, b) = (components(&a), components(&b));
            prop_assert_eq!(a == b, a.fingerprint() == b.fingerprint());
        }
    }
}
