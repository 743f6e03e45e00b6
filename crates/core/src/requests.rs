//! Whether what a person asks for can be done, by what is known when it is looked at. Pure.

use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::{AmiId, BuildId, StepId};
use reconciler_model::inventory::journal::Attempt;
use reconciler_model::inventory::record::RecordHead;

use crate::desired::step::SourceImage;
use crate::plan::Plan;
use crate::plan::decision::{Decision, Manual};
use crate::plan::planner::PlannedStep;

/// Whether the step's newest build is one that may be tried again. `attempts` are the newest
/// builds of all steps.
pub fn may_retry<'a>(attempts: &'a [Attempt], step: &StepId) -> Result<&'a Attempt, Diagnostic> {
    let Some(newest) = attempts.iter().find(|attempt| attempt.step_id == *step) else {
        return Err(Diagnostic::new(format!("no build of {step} is known")));
    };
    if newest.is_over() {
        // What was recorded may be held back as well: an image that vanishes again and again.
        return Ok(newest);
    }
    Err(Diagnostic::new(format!(
        "there is nothing to retry: build {} of {step} runs",
        newest.build_id
    ))
    .hint(format!("`reconciler logs --follow {step}` shows it")))
}

/// Whether this build of a step is one that can be asked to end.
pub fn may_cancel<'a>(
    attempts: &'a [Attempt],
    step: &StepId,
    build: &BuildId,
) -> Result<&'a Attempt, Diagnostic> {
    attempts
        .iter()
        .find(|attempt| attempt.build_id == *build && !attempt.is_over())
        .ok_or_else(|| nothing_to_cancel(step))
}

/// That no build of a step runs.
#[must_use]
pub fn nothing_to_cancel(step: &StepId) -> Diagnostic {
    Diagnostic::new(format!("there is nothing to cancel: no build of {step} runs"))
        .hint(format!("`reconciler history {step}` shows how its builds ended"))
}

/// Whether a record says nothing of what its image was made of, so that a person may vouch for it:
/// the record, in that case.
#[must_use]
pub fn adoptable(step: &PlannedStep) -> Option<&RecordHead> {
    step.record.as_deref().filter(|record| record.built.is_none())
}

/// Whether the image that a step's record names can be adopted. It is told by EC2 whether the
/// image exists.
pub fn may_adopt<'a>(
    plan: &'a Plan,
    step: &StepId,
    image: &AmiId,
    newest: Option<&Attempt>,
) -> Result<(&'a PlannedStep, &'a RecordHead), Diagnostic> {
    let Some(planned) = plan.steps.iter().find(|planned| planned.id == *step) else {
        return Err(no_such_step(plan, step));
    };
    let Some(head) = adoptable(planned) else {
        return Err(Diagnostic::new(format!(
            "{step}: there is no record of the Python library to adopt"
        )));
    };
    if head.ami_id != *image {
        return Err(names_another(step, &head.ami_id, image));
    }
    if let Decision::Broken(why) = &planned.decision {
        let broken = || Diagnostic::new(format!("{step} is broken"));
        return Err(why.first().cloned().unwrap_or_else(broken));
    }
    settled(step, newest)?;
    stands_on_its_parent(plan, planned, head)?;
    Ok((planned, head))
}

/// Whether the image of a step may be made out of a person's instance: the image that the instance
/// is to be started from, in that case.
pub fn may_make_image<'a>(
    plan: &'a Plan,
    step: &StepId,
    newest: Option<&Attempt>,
) -> Result<(&'a PlannedStep, &'a SourceImage), Diagnostic> {
    let Some(planned) = plan.steps.iter().find(|planned| planned.id == *step) else {
        return Err(no_such_step(plan, step));
    };
    let refused =
        |why: &str, hint: String| Err(Diagnostic::new(format!("{step} {why}")).hint(hint));
    let source = match &planned.decision {
        Decision::AwaitingManual(Manual { source: Some(source), .. }) => source,
        Decision::AwaitingManual(Manual { source: None, .. }) => {
            return refused(
                "stands on an image that is not built yet",
                "`reconciler status` shows it; its instance is to be started from that".to_owned(),
            );
        }
        Decision::Building(building) => {
            return refused(
                &format!("has build {} under way", building.build_id),
                format!(
                    "wait for it (`reconciler status --watch`), or end it: reconciler cancel {step}"
                ),
            );
        }
        _ => {
            return refused(
                "does not wait for an image that a person makes",
                format!(
                    "reconciler status {step} says what it waits for; a step without a template, or with `\"manual\": true` in reconciler.json, is made by a person"
                ),
            );
        }
    };
    if let Some(newest) = newest.filter(|newest| !newest.is_settled()) {
        return Err(Diagnostic::new(format!(
            "{step}: build {} is not settled yet",
            newest.build_id
        ))
        .hint("wait until it is: reconciler status"));
    }
    Ok((planned, source))
}

fn no_such_step(plan: &Plan, step: &StepId) -> Diagnostic {
    Diagnostic::new(format!(
        "workflow {} has no step {step} at {}",
        plan.workflow_id,
        plan.revision.short()
    ))
}

/// Whether the record of a step may go: git has the step no more, and the record names this image.
pub fn may_forget(
    plan: &Plan,
    step: &StepId,
    image: &AmiId,
    newest: Option<&Attempt>,
) -> Result<(), Diagnostic> {
    match plan.steps.iter().find(|planned| planned.id == *step) {
        Some(PlannedStep { decision: Decision::Broken(why), folder, .. }) if folder.is_empty() => {
            let why = why.first().map(Diagnostic::one_line).unwrap_or_default();
            return Err(Diagnostic::new(format!("{step} is broken, so its record stays: {why}")));
        }
        Some(_) => {
            return Err(Diagnostic::new(format!(
                "{step} is in git at {}, so its record stays",
                plan.revision.short()
            ))
            .hint(
                "a step whose folder left git is forgotten; `reconciler status` calls it orphaned",
            ));
        }
        None => {}
    }
    let Some(orphan) = plan.orphans.iter().find(|orphan| orphan.step_id == *step) else {
        return Err(Diagnostic::new(format!(
            "there is no record of a step {step} in workflow {}",
            plan.workflow_id
        )));
    };
    if orphan.ami_id != *image {
        return Err(names_another(step, &orphan.ami_id, image));
    }
    settled(step, newest)
}

/// That a record is another than the one that was seen.
fn names_another(step: &StepId, now: &AmiId, seen: &AmiId) -> Diagnostic {
    Diagnostic::new(format!("{step}: the record names {now} by now, not {seen}"))
        .hint("look at it, and ask again")
}

/// That nothing more will happen to the newest build of a step by itself.
pub fn settled(step: &StepId, newest: Option<&Attempt>) -> Result<(), Diagnostic> {
    let Some(newest) = newest.filter(|newest| !newest.is_settled()) else {
        return Ok(());
    };
    Err(Diagnostic::new(format!(
        "{step}: build {} is not settled yet, and what it left would be forgotten",
        newest.build_id
    ))
    .hint(format!(
        "wait until it is (`reconciler status`), or end it first: reconciler cancel {step}"
    )))
}

/// An image that was built on another image than its parent's now is not what git says, whoever
/// vouches.
fn stands_on_its_parent(
    plan: &Plan,
    step: &PlannedStep,
    head: &RecordHead,
) -> Result<(), Diagnostic> {
    let of = |id: &StepId| {
        let parent = plan.steps.iter().find(|step| step.id == *id);
        parent.and_then(|step| step.record.as_ref()).map(|record| &record.ami_id)
    };
    let parent = match &step.parent {
        None => Some(&plan.root_base.id),
        Some(parent) => of(parent),
    };
    if parent == Some(&head.base_ami_id) {
        return Ok(());
    }
    let now = parent.map_or("none".to_owned(), ToString::to_string);
    Err(Diagnostic::new(format!(
        "{}: {} was built on {}, but its parent's image is {now}",
        step.id, head.ami_id, head.base_ami_id
    ))
    .hint(format!("`reconciler apply --rebuild {}` builds it on the present one", step.id)))
}

#[cfg(test)]
mod tests;
