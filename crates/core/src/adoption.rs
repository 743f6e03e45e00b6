//! Whether an image can become the current one of a step by a person's word. Pure.
//!
//! What is known of the image is handed in. What cannot be so is refused; what may be so, and
//! hangs on what only the person can know, is a doubt, which the person's word settles.

use serde_json::Value;

use crate::desired::step::SourceImage;
use crate::plan::Plan;
use crate::plan::decision::{Decision, Reason};
use crate::plan::planner::PlannedStep;
use crate::plan::sentences::reason_words;
use reconciler_model::components::Fingerprint;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::{AmiId, StepId, WorkflowId};
use reconciler_model::images::{Image, ImageState};
use reconciler_model::inventory::record::RecordHead;
use reconciler_model::inventory::request::ImageToAdopt;

/// The tag by which the Python library and this program note what an image was built on.
const BASE_TAG: &str = "packer:base_ami_id";

/// What is known of an image that is to be adopted.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// What EC2 says of it, with `details`.
    pub image: &'a Image,
    /// Whether this account owns it.
    pub is_own: bool,
    /// Whether EC2 has no more the image that the step's record names.
    pub recorded_is_gone: bool,
    /// Another record that names it.
    pub named_by: Option<&'a RecordHead>,
    /// The record of the earlier run that it is taken from.
    pub earlier: Option<&'a RecordHead>,
    /// In what git says other of it than that run was made from.
    pub differs: &'a [Reason],
    /// What git wants.
    pub desired: Fingerprint,
}

/// The step, and the image that it starts from: the one that its parent has.
pub fn starts_from<'a>(
    plan: &'a Plan,
    step: &StepId,
    parents: &dyn Fn(&StepId) -> Option<SourceImage>,
) -> Result<(&'a PlannedStep, SourceImage), Diagnostic> {
    let Some(planned) = plan.steps.iter().find(|planned| planned.id == *step) else {
        return Err(Diagnostic::new(format!(
            "workflow {} has no step {step} at {}",
            plan.workflow_id,
            plan.revision.short()
        )));
    };
    if let Decision::Broken(why) = &planned.decision {
        let broken = || Diagnostic::new(format!("{step} is broken"));
        return Err(why.first().cloned().unwrap_or_else(broken));
    }
    let Some(parent) = &planned.parent else {
        return Ok((planned, plan.root_base.clone()));
    };
    let recorded = || {
        let of = plan.steps.iter().find(|planned| planned.id == *parent)?.record.as_ref()?;
        Some(SourceImage { id: of.ami_id.clone(), name: of.ami_name.clone() })
    };
    let source = parents(parent).or_else(recorded).ok_or_else(|| {
        Diagnostic::new(format!("{step}: its parent {parent} has no image yet"))
            .hint(format!("adopt or build {parent} first"))
    })?;
    Ok((planned, source))
}

/// What an image was made from, as far as EC2 tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MadeFrom {
    /// This image.
    Image(AmiId),
    /// It cannot be told: EC2 says nothing, or another thing than the image's own tag.
    Untold,
}

/// What EC2 tells of what an image was made from. For a copy it names the copied image, of which
/// the tags may tell more.
#[must_use]
pub fn made_from(image: &Image) -> MadeFrom {
    let details: Value = serde_json::from_str(&image.details).unwrap_or_default();
    let told = details["data"]["SourceImageId"].as_str();
    let tagged = image.tags.get(BASE_TAG).map(String::as_str);
    match (told, tagged) {
        (Some(told), Some(tagged)) if told != tagged => MadeFrom::Untold,
        (Some(one), _) | (None, Some(one)) => MadeFrom::Image(AmiId::new(one)),
        (None, None) => MadeFrom::Untold,
    }
}

/// Whether an image can become the current one of a step that starts from `source`; what is in
/// doubt has to be settled by the person's word.
pub fn may_adopt_image(
    planned: &PlannedStep,
    source: &SourceImage,
    wanted: &ImageToAdopt,
    known: &Known<'_>,
) -> Result<(), Diagnostic> {
    can_be_used(wanted, known)?;
    let mut doubts = Vec::new();
    doubts.extend(built_on(source, wanted, known)?);
    doubts.extend(replaces(planned, wanted, known)?);
    if !known.differs.is_empty() {
        let run = wanted.from.as_ref().map(WorkflowId::as_str).unwrap_or_default();
        let words = known.differs.iter().map(|reason| reason_words(&planned.id, reason, None));
        let words: Vec<_> = words.collect();
        doubts.push(format!("git has changed since {run} made it: {}", words.join("; ")));
    }
    // Seeded bug: doubts-are-passed-over
    if doubts.is_empty() || wanted.sure {
        return Ok(());
    }
    Err(Diagnostic::new(format!("{}: {}", wanted.step, doubts.join("; and "))).hint(format!(
        "with `--yes` {} becomes the image of {} all the same",
        wanted.image, wanted.step
    )))
}

/// What no word of a person can mend.
fn can_be_used(wanted: &ImageToAdopt, known: &Known<'_>) -> Result<(), Diagnostic> {
    let ImageToAdopt { step, image: id, .. } = wanted;
    let image = known.image;
    if !known.is_own {
        return Err(Diagnostic::new(format!(
            "{step}: {id} is of another account, {}, which may take it away at any time",
            image.owner_id
        ))
        .hint("copy it into this account (aws ec2 copy-image), and adopt the copy"));
    }
    match &image.state {
        ImageState::Available => {}
        state if state.is_disabled() => {
            return Err(Diagnostic::new(format!("{step}: {id} is disabled"))
                .hint(format!("enable it first: aws ec2 enable-image --image-id {id}")));
        }
        state => {
            return Err(Diagnostic::new(format!("{step}: {id} is not available: {state}"))
                .hint("an image is adopted once it can be used"));
        }
    }
    let Some(other) = known.named_by else {
        return Ok(());
    };
    let whose = format!("{step}: {id} is recorded for step {}", other.step_id);
    Err(Diagnostic::new(format!("{whose} of workflow {}, whose tags it bears", other.workflow_id))
        .hint(format!(
            "the images of an earlier run are adopted by `reconciler adopt --from {}`",
            other.workflow_id
        )))
}

/// An image that was built on another image than its parent's now is not what git says, whoever
/// vouches; a doubt if it cannot be told.
fn built_on(
    source: &SourceImage,
    wanted: &ImageToAdopt,
    known: &Known<'_>,
) -> Result<Option<String>, Diagnostic> {
    let made_from = match known.earlier {
        Some(earlier) => MadeFrom::Image(earlier.base_ami_id.clone()),
        None => made_from(known.image),
    };
    let (step, id) = (&wanted.step, &wanted.image);
    match made_from {
        MadeFrom::Image(of) if of == source.id => Ok(None),
        MadeFrom::Image(of) => Err(Diagnostic::new(format!(
            "{step}: {id} was built on {of}, but git asks for one on {} ({})",
            source.id, source.name
        ))
        .hint(format!("`reconciler apply {step}` makes one on that"))),
        MadeFrom::Untold => Ok(Some(format!(
            "EC2 does not tell which image {id} was made from, and git asks for one on {} ({})",
            source.id, source.name
        ))),
    }
}

/// What an adoption would put in the place of what: a doubt where that is an image which can be
/// used.
fn replaces(
    planned: &PlannedStep,
    wanted: &ImageToAdopt,
    known: &Known<'_>,
) -> Result<Option<String>, Diagnostic> {
    let step = &wanted.step;
    let record = planned.record.as_deref();
    let built = record.and_then(|one| Some((one, one.built.as_ref()?)));
    // Somebody else may have asked for the same meanwhile.
    if built.is_some_and(|(record, built)| {
        record.ami_id == wanted.image && built.fingerprint == known.desired
    }) {
        return Err(Diagnostic::new(format!(
            "{step}: {} is its recorded image already, and is what git says",
            wanted.image
        )));
    }
    let now = record.map(|record| &record.ami_id);
    if now != wanted.replaces.as_ref() {
        let now = now.map_or("no image".to_owned(), ToString::to_string);
        return Err(Diagnostic::new(format!("{step}: the record names {now} by now"))
            .hint("look at it, and ask again"));
    }
    let Some((record, _)) = built else {
        return Ok(None);
    };
    match record.ami_id == wanted.image {
        true => Ok(Some(format!("{} is recorded as made from other inputs", wanted.image))),
        false if known.recorded_is_gone => Ok(None),
        false => Ok(Some(format!(
            "{} would be replaced, which is its recorded image and is there",
            record.ami_id
        ))),
    }
}

#[cfg(test)]
mod tests;
