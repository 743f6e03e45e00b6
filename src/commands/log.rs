//! Writes the daemon's log: what the loop tells of, once for each change, in fields that a program
//! can filter by; and the last of it to systemd's status line. Its fields are described in
//! `docs/output.md`.

use jiff::Timestamp;
use reconciler::controller::main_loop::{Event, Failing, Observer, Origin};
use reconciler_core::build::phase_comparison::line;
use reconciler_core::plan::Plan;
use reconciler_core::plan::changes::{Change, changes};
use reconciler_core::plan::decision::Decision;
use reconciler_core::plan::planner::PlannedStep;
use reconciler_core::plan::sentences::{Context, printable, sentence};
use reconciler_core::plan::sight::holder_words;
use reconciler_core::plan::text::summary;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::{AmiId, BuildId, Revision, StepId, WorkflowId};
use reconciler_model::inventory::journal::{Attempt, Failure, FailureClass, Progress};
use tracing::{error, info, warn};

/// Writes what happens to the log.
pub(crate) struct Logger;

impl Observer for Logger {
    fn notice(&self, origin: &Origin<'_>, event: &Event<'_>) {
        match event {
            Event::Planned { plan, before } => planned(origin, plan, *before),
            Event::Failing(failing) => failing_now(origin, failing),
            Event::Started(attempt) | Event::Resumed(attempt) => {
                let what = match event {
                    Event::Started(_) => "build started",
                    _ => "build followed: an earlier process or another host started it",
                };
                begun(origin, attempt, what);
            }
            Event::Ended(attempt) => ended(origin, attempt),
            Event::TakenOver(attempt) => taken_over(origin, attempt),
            other => about_the_workflow(origin, other),
        }
    }
}

fn workflow<'a>(origin: &Origin<'a>) -> Option<&'a str> {
    origin.workflow.map(WorkflowId::as_str)
}

fn planned(origin: &Origin<'_>, plan: &Plan, before: Option<&Plan>) {
    let (repository, workflow) = (origin.repository, plan.workflow_id.as_str());
    let (folder, revision) = (plan.folder.as_str(), plan.revision.as_str());
    let summary = summary(plan, &Context::at(plan.at));
    info!(repository, workflow, folder, revision, "{summary}");
    let status = format!("{workflow}: {summary}");
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Status(&status)]);
    for change in changes(before, plan) {
        match change {
            Change::Troubled(step) => troubled(origin, plan, step, before.is_none()),
            Change::Mended(step) => {
                let said = sentence(step, &Context::at(plan.at));
                info!(
                    repository,
                    workflow,
                    step = step.id.as_str(),
                    revision,
                    "step mended: {said}"
                );
            }
            Change::Remaining(step) => {
                info!(repository, workflow, step = step.as_str(), revision, "step has left git");
            }
        }
    }
}

/// A step that somebody has to look at. That a build has just failed is told by its end already; of
/// the first plan it is news.
fn troubled(origin: &Origin<'_>, plan: &Plan, step: &PlannedStep, is_first: bool) {
    let repository = origin.repository;
    let (workflow, revision) = (plan.workflow_id.as_str(), plan.revision.as_str());
    let id = step.id.as_str();
    match &step.decision {
        Decision::Broken(why) => {
            for wrong in why {
                let file = wrong.place.as_ref().map(|place| place.path.as_str());
                let hint = hint_of(wrong);
                let line = wrong.line_column().map(|(line, _)| line);
                error!(
                    repository,
                    workflow,
                    step = id,
                    revision,
                    file,
                    line,
                    hint,
                    "step is broken: {}",
                    printable(&wrong.one_line())
                );
            }
        }
        Decision::Quarantined(failure) => {
            let (class, log) = (failure.class.name(), failure.log.as_deref());
            let hint = format!("`reconciler retry {id}`, or a changed input, has it built again");
            warn!(
                repository,
                workflow,
                step = id,
                revision,
                class,
                log,
                hint,
                "step is quarantined: {}",
                printable(&failure.cause)
            );
        }
        Decision::BackingOff { until, failure, .. } if is_first => {
            let class = failure.class.name();
            let hint = format!("`reconciler retry {id}` tries it at once");
            warn!(
                repository, workflow, step = id, revision, class, hint, next_try = %until,
                "step waits to be tried again: {}", printable(&failure.cause)
            );
        }
        Decision::BackingOff { .. } => {}
        _ => {
            let said = sentence(step, &Context::at(plan.at));
            info!(repository, workflow, step = id, revision, "{said}");
        }
    }
}

fn begun(origin: &Origin<'_>, attempt: &Attempt, what: &str) {
    info!(
        repository = origin.repository,
        workflow = workflow(origin),
        step = attempt.step_id.as_str(),
        build = attempt.build_id.as_str(),
        revision = attempt.intent.revision.as_str(),
        image_name = attempt.intent.ami_name.as_str(),
        host = attempt.intent.host,
        attempt = attempt.intent.attempt + 1,
        "{what}"
    );
}

fn ended(origin: &Origin<'_>, attempt: &Attempt) {
    match &attempt.progress {
        Progress::Failed(failure) => failed(origin, attempt, failure),
        Progress::Recorded { build_seconds } => info!(
            repository = origin.repository,
            workflow = workflow(origin),
            step = attempt.step_id.as_str(),
            build = attempt.build_id.as_str(),
            revision = attempt.intent.revision.as_str(),
            image = attempt.ami_id.as_ref().map(AmiId::as_str),
            image_name = attempt.intent.ami_name.as_str(),
            build_seconds,
            "image recorded"
        ),
        // The next pass takes it up again, and says so.
        _ => {}
    }
}

fn failed(origin: &Origin<'_>, attempt: &Attempt, failure: &Failure) {
    let step = attempt.step_id.as_str();
    let hint = match (failure.class, &failure.log) {
        (FailureClass::Cancelled, _) => format!("`reconciler retry {step}` has it built again"),
        (_, Some(_)) => format!("`reconciler logs {step}` shows what Packer said"),
        (_, None) => format!("`reconciler history {step}` tells more"),
    };
    warn!(
        repository = origin.repository,
        workflow = workflow(origin),
        step,
        build = attempt.build_id.as_str(),
        revision = attempt.intent.revision.as_str(),
        class = failure.class.name(),
        cause = &*printable(&failure.cause),
        details = (!failure.details.is_empty()).then_some(failure.details.as_str()),
        next_try = failure.retry_at.map(tracing::field::display),
        log = failure.log.as_deref(),
        changed = (!failure.changed.is_empty()).then_some(failure.changed.as_str()),
        phases = (!failure.phases.is_empty()).then(|| line(&failure.phases)),
        hint,
        "build failed"
    );
}

fn taken_over(origin: &Origin<'_>, attempt: &Attempt) {
    info!(
        repository = origin.repository,
        workflow = workflow(origin),
        step = attempt.step_id.as_str(),
        build = attempt.build_id.as_str(),
        revision = attempt.intent.revision.as_str(),
        image = attempt.ami_id.as_ref().map(AmiId::as_str),
        image_name = attempt.intent.ami_name.as_str(),
        "image of an earlier build taken over"
    );
}

fn about_the_workflow(origin: &Origin<'_>, event: &Event<'_>) {
    let (repository, workflow) = (origin.repository, workflow(origin));
    match event {
        Event::Updated(step) => {
            let step = step.id.as_str();
            info!(repository, workflow, step, "tags and record updated, no build");
        }
        Event::Rewritten { old, new } => warn!(
            repository,
            revision = new.as_str(),
            before = old.as_str(),
            "history was rewritten: the new commit does not descend from the one before"
        ),
        Event::Superseded(step) => {
            let step = step.as_str();
            info!(repository, workflow, step, "build is ended: git says something else by now");
        }
        Event::CancelRequested { step, by } => {
            let step = step.as_str();
            info!(repository, workflow, step, by, "build is ended on request");
        }
        Event::Unknown { step, build } => {
            let (step, build) = (step.as_str(), build.as_str());
            warn!(
                repository,
                workflow,
                step,
                build,
                "build is ended: the inventory that took the place of another knows nothing of it"
            );
        }
        Event::Standby(lease) | Event::Waiting(lease) => {
            let holder = holder_words(lease.holder.as_deref().unwrap_or_default());
            info!(repository, workflow, holder, "standing by: another reconciler holds the lease");
        }
        Event::Holding { after: Some(before) } => {
            let before = holder_words(before);
            warn!(repository, workflow, before, "lease taken over: this reconciler acts now");
        }
        Event::Holding { after: None } => {
            info!(repository, workflow, "lease taken: this reconciler acts");
        }
        Event::Lost => warn!(
            repository,
            workflow, "lease lost: this reconciler acts on the workflow no longer, another may"
        ),
        Event::GivenBack(cause) => {
            let status = format!("{}: lease given back: {cause}", workflow.unwrap_or_default());
            let _ = sd_notify::notify(&[sd_notify::NotifyState::Status(&status)]);
            let hint = cause.hint();
            error!(
                repository,
                workflow,
                hint,
                "lease given back to other hosts: {cause} on this one, for three lease durations in a row"
            );
        }
        Event::TakenAgain => {
            info!(repository, workflow, "lease taken again: this host can act again");
        }
        Event::Recovered { what, times, since } => {
            info!(repository, workflow, times, %since, "{what} works again");
        }
        _ => {}
    }
}

/// What a person can mend is an error; what mends itself, a warning.
fn failing_now(origin: &Origin<'_>, failing: &Failing<'_>) {
    let why = failing.error.diagnostic();
    let (repository, workflow, folder) = (origin.repository, workflow(origin), origin.folder);
    let step = failing.step.map(StepId::as_str);
    let build = failing.build.map(BuildId::as_str);
    let revision = failing.revision.map(Revision::as_str);
    let file = why.place.as_ref().map(|place| place.path.as_str());
    let line = why.line_column().map(|(line, _)| line);
    let (hint, times) = (hint_of(&why), failing.times);
    let next_try: Timestamp = failing.next_try;
    let class = failing.error.class();
    let said = format!("{} does not work: {}", failing.what, printable(&why.one_line()));
    if class == FailureClass::Transient {
        warn!(
            repository, workflow, folder, step, build, revision, file, line, class = class.name(),
            hint, times, %next_try, "{said}"
        );
    } else {
        error!(
            repository, workflow, folder, step, build, revision, file, line, class = class.name(),
            hint, times, %next_try, "{said}"
        );
    }
}

fn hint_of(why: &Diagnostic) -> Option<String> {
    why.hint.as_deref().map(|hint| printable(hint).into_owned())
}
