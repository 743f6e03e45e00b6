//! The image that a step is shown to start from, where its rendered files are shown. Pure.

use crate::desired::step::SourceImage;
use crate::plan::Plan;
use crate::plan::decision::{BuildSource, Decision};
use reconciler_model::ids::{AmiId, AmiName, StepId};

/// An image to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownSource {
    /// The image.
    pub image: SourceImage,
    /// The name of the image that is to be built on it, where that is decided.
    pub next_name: Option<AmiName>,
    /// The step whose image is not there yet: something stands in its place.
    pub stands_for: Option<StepId>,
}

/// The image that a step starts from, as the plan knows it: the one that it is to be built on, else
/// its parent's, else one that stands for the image that its parent has not got yet.
#[must_use]
pub fn source_of(plan: &Plan, id: &StepId) -> ShownSource {
    let step = |id: &StepId| plan.steps.iter().find(|step| step.id == *id);
    let known = |image| ShownSource { image, next_name: None, stands_for: None };
    let step_itself = step(id);
    if let Some(Decision::Build(build)) = step_itself.map(|step| &step.decision)
        && let BuildSource::Known { source, ami_name, .. } = &build.source
    {
        return ShownSource { next_name: Some(ami_name.clone()), ..known(source.clone()) };
    }
    if let Some(Decision::TakeOver(taken)) = step_itself.map(|step| &step.decision) {
        return ShownSource {
            next_name: Some(taken.ami_name.clone()),
            ..known(taken.source.clone())
        };
    }
    let Some(parent) = step_itself.and_then(|step| step.parent.as_ref()) else {
        return known(plan.root_base.clone());
    };
    if let Some(Decision::TakeOver(taken)) = step(parent).map(|step| &step.decision) {
        return known(SourceImage { id: taken.image.clone(), name: taken.ami_name.clone() });
    }
    match step(parent).and_then(|step| step.record.as_ref()) {
        Some(record) => {
            known(SourceImage { id: record.ami_id.clone(), name: record.ami_name.clone() })
        }
        None => ShownSource {
            stands_for: Some(parent.clone()),
            ..known(SourceImage {
                id: AmiId::new("ami-known-after-build"),
                name: AmiName::new(format!("{parent}-known-after-build")),
            })
        },
    }
}
