//! What git says in the model: two steps, the second on the first, and one number that every change
//! counts up.

use reconciler_core::desired::step::SourceImage;
use reconciler_core::plan::planner::{Desires, Outline};
use reconciler_model::components::{Components, Fingerprint};
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::digest::Digest;
use reconciler_model::ids::{AmiId, AmiName, StepId};
use reconciler_model::images::Image;

/// What git says, as one look saw it.
pub(in crate::controller::simulation) struct Git(pub(in crate::controller::simulation) u8);

impl Git {
    pub(in crate::controller::simulation) fn wants(
        &self,
        step: &str,
        source: &AmiId,
    ) -> Fingerprint {
        let mut bytes = [self.0; 32];
        bytes[1..=step.len()].copy_from_slice(step.as_bytes());
        let source = source.as_str().as_bytes();
        bytes[4..4 + source.len()].copy_from_slice(source);
        Digest::from_bytes(bytes).into()
    }
}

impl Desires for Git {
    fn fingerprint(
        &mut self,
        step: &Outline,
        source: &SourceImage,
    ) -> Result<Fingerprint, Vec<Diagnostic>> {
        Ok(self.wants(step.id.as_str(), &source.id))
    }

    fn components(&mut self, _: &Outline, _: &SourceImage) -> Result<Components, Vec<Diagnostic>> {
        Err(Vec::new())
    }

    fn recorded_components(&mut self, _: &Outline) -> Option<Components> {
        None
    }

    fn ami_name(&mut self, _: &Outline, is: &Fingerprint, _: u32) -> Result<AmiName, Diagnostic> {
        Ok(image_name(is))
    }

    fn lacks(&mut self, _: &Outline, _: &SourceImage, _: &Image) -> Option<String> {
        None
    }

    fn rebuild_of(&mut self, _: &Outline, _: &Fingerprint, _: &AmiName) -> Option<u32> {
        None
    }
}

pub(super) fn outlines() -> [Outline; 2] {
    ["a", "b"].map(|id| Outline {
        id: StepId::new(id),
        folder: id.to_owned(),
        parent: (id == "b").then(|| StepId::new("a")),
        manual: false,
        suspend: false,
        metadata_digest: Digest::from_bytes([0; 32]),
    })
}

pub(in crate::controller::simulation) fn base() -> SourceImage {
    SourceImage { id: AmiId::new("ami-base"), name: AmiName::new("base") }
}

/// The name of a desired state's image.
pub(in crate::controller::simulation) fn image_name(is: &Fingerprint) -> AmiName {
    AmiName::new(is.to_string())
}
