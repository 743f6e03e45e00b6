//! Whether images may be reserved for deletion, by all that the holder of a lease knows. Pure.
//!
//! What EC2 and others know of them is for whoever deletes them to look at (`deletion`). Here it is
//! looked at what only the holder of the lease can say, and can keep so: that none of them is
//! current, and that nothing is going to be begun with one.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::plan::Plan;
use crate::plan::decision::{BuildSource, Decision};
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::{AmiId, WorkflowId};
use reconciler_model::images::Image;
use reconciler_model::inventory::journal::Attempt;
use reconciler_model::inventory::reservation::Reservation;
use reconciler_model::inventory::{Heads, Many};

/// What is to be reserved, and what is known.
#[derive(Clone, Copy, Debug)]
pub struct ReserveQuestion<'a> {
    /// The workflow.
    pub workflow: &'a WorkflowId,
    /// The images.
    pub images: &'a [AmiId],
    /// Whether the workflow goes as a whole, with its records.
    pub run: bool,
    /// Its records.
    pub heads: &'a Heads,
    /// The newest attempt at each of its steps.
    pub attempts: &'a Many<Attempt>,
    /// What is reserved already.
    pub reservations: &'a [Reservation],
    /// What EC2 shows of the images.
    pub seen: &'a BTreeMap<AmiId, Image>,
    /// What is to be done; none where git has no such workflow.
    pub plan: Option<&'a Plan>,
    /// Now.
    pub now: Timestamp,
}

/// Whether the images may be reserved.
pub fn may_reserve(question: &ReserveQuestion<'_>) -> Result<(), Diagnostic> {
    let asked: BTreeSet<&AmiId> = question.images.iter().collect();
    free_of_others(question, &asked)?;
    readable(question)?;
    if question.run {
        whole_run(question, &asked)?;
    } else if let Some(head) =
        question.heads.records.iter().find(|head| asked.contains(&head.ami_id))
    {
        return Err(Diagnostic::new(format!(
            "{} is the current image of step {}",
            head.ami_id, head.step_id
        )));
    }
    unneeded_by_builds(question, &asked)?;
    question.plan.map_or(Ok(()), |plan| unneeded_by_plan(plan, &asked))
}

/// That images are reserved, and what can be done about that.
#[must_use]
pub fn reserved(image: &AmiId, by: &Reservation) -> Diagnostic {
    Diagnostic::new(format!(
        "{image} is reserved for deletion by {} since {:.0}",
        by.by, by.at
    ))
    .hint(format!(
        "whoever does that may be at work; if not, end it: reconciler image release {image} (by itself it ends at {:.0})",
        by.ends_at()
    ))
}

/// The first of these images that is reserved, with its reservation.
#[must_use]
pub fn first_reserved<'a>(
    reservations: &'a [Reservation],
    images: &BTreeSet<&'a AmiId>,
    now: Timestamp,
) -> Option<(&'a AmiId, &'a Reservation)> {
    let standing = reservations.iter().filter(|one| !one.has_ended(now));
    let mut found = standing.filter_map(|one| {
        let image = one.images.iter().find(|image| images.contains(image))?;
        Some((image, one))
    });
    found.next()
}

fn free_of_others(
    question: &ReserveQuestion<'_>,
    asked: &BTreeSet<&AmiId>,
) -> Result<(), Diagnostic> {
    match first_reserved(question.reservations, asked, question.now) {
        Some((image, by)) => Err(reserved(image, by)),
        None => Ok(()),
    }
}

/// What cannot be read may name any of the images.
fn readable(question: &ReserveQuestion<'_>) -> Result<(), Diagnostic> {
    let record = question.heads.malformed.iter().map(|(step, wrong)| (step.to_string(), wrong));
    let attempt = question.attempts.malformed.iter().map(|one| (one.key.clone(), &one.detail));
    match record.chain(attempt).next() {
        Some((what, wrong)) => Err(Diagnostic::new(format!(
            "what is kept of {what} cannot be read, and may name one of the images: {wrong}"
        ))
        .hint("mend it, and ask again")),
        None => Ok(()),
    }
}

fn whole_run(question: &ReserveQuestion<'_>, asked: &BTreeSet<&AmiId>) -> Result<(), Diagnostic> {
    let workflow = question.workflow;
    if question.plan.is_some() {
        return Err(Diagnostic::new(format!(
            "workflow {workflow} is in git: only an earlier run goes as a whole"
        )));
    }
    match question.heads.records.iter().find(|head| !asked.contains(&head.ami_id)) {
        Some(other) => Err(Diagnostic::new(format!(
            "the record of {} names {} by now, which was not to go",
            other.step_id, other.ami_id
        ))
        .hint("ask again")),
        None => Ok(()),
    }
}

/// A build that is not settled needs what it starts from, and what it makes or takes over; of a run
/// that goes as a whole nothing may be under way.
fn unneeded_by_builds(
    question: &ReserveQuestion<'_>,
    asked: &BTreeSet<&AmiId>,
) -> Result<(), Diagnostic> {
    let names: BTreeSet<_> = question.seen.values().map(|image| &image.name).collect();
    let needs = |attempt: &&Attempt| {
        question.run
            || asked.contains(&attempt.intent.source_ami)
            || attempt.ami_id.as_ref().is_some_and(|image| asked.contains(image))
            || names.contains(&attempt.intent.ami_name)
    };
    let mut open = question.attempts.iter().filter(|attempt| !attempt.is_settled());
    match open.find(needs) {
        Some(attempt) => Err(Diagnostic::new(format!(
            "build {} of {} is not settled, and needs one of the images",
            attempt.build_id, attempt.step_id
        ))
        .hint("wait until it is: reconciler status")),
        None => Ok(()),
    }
}

fn unneeded_by_plan(plan: &Plan, asked: &BTreeSet<&AmiId>) -> Result<(), Diagnostic> {
    if asked.contains(&plan.root_base.id) {
        return Err(Diagnostic::new(format!("the workflow starts from {}", plan.root_base.id)));
    }
    for step in &plan.steps {
        let needed = match &step.decision {
            Decision::Build(build) => match &build.source {
                BuildSource::Known { source, .. } => vec![&source.id],
                BuildSource::AfterBuild(_) => Vec::new(),
            },
            Decision::TakeOver(taken) => vec![&taken.image, &taken.source.id],
            Decision::AwaitingManual(manual) => {
                manual.source.iter().map(|source| &source.id).collect()
            }
            _ => Vec::new(),
        };
        if let Some(image) = needed.into_iter().find(|image| asked.contains(image)) {
            return Err(Diagnostic::new(format!(
                "step {} is going to be built on {image}, or to take it over",
                step.id
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
