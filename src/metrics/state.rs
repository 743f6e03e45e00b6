//! What stands, as values: a function of the view and the time. So a series goes with what it is
//! about.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::metrics::Settings;
use crate::metrics::samples::Samples;
use crate::metrics::table;
use reconciler_core::plan::sentences::STATES;
use reconciler_core::status::report::{Report, StepReport};
use reconciler_core::view::{Standing, View, WorkflowView};

/// The state of a record whose step has left git: counted, and no step any more.
const ORPHANED: &str = "orphaned";

/// States of steps that only somebody ends; docs/output.md says how.
const OF_A_PERSON: [&str; 6] =
    ["awaiting-manual", "broken", "name-taken", "quarantined", "stopped", "unverified"];

/// Adds all values that a view has.
pub(super) fn add(samples: &mut Samples, view: &View, settings: &Settings, now: Timestamp) {
    samples.gauge(table::INFO, &[env!("CARGO_PKG_VERSION")], 1.0);
    samples.gauge(table::BUILDS_RUNNING, &[], size(view.slots.running));
    samples.gauge(table::BUILDS_WAITING, &[], size(view.slots.waiting));
    samples.gauge(table::BUILDS_LIMIT, &[], size(view.slots.limit));
    samples.gauge(table::TROUBLES, &[], size(view.troubles.len()));
    samples.gauge(table::LAST_PASS, &[], seconds(view.at));
    samples.gauge(table::PASS_INTERVAL, &[], settings.interval.as_secs_f64());
    samples.gauge(table::PROCESS_START, &[], seconds(settings.started_at));
    for repository in &view.repositories {
        // Seconds since 1970 would be an age of decades.
        let fetched = repository.fetched_at.unwrap_or(settings.started_at);
        samples.gauge(table::LAST_FETCH, &[&repository.name], seconds(fetched));
        let poll_interval = repository.poll_interval.as_secs_f64();
        samples.gauge(table::POLL_INTERVAL, &[&repository.name], poll_interval);
    }
    // What was begun under no known place is no workflow of git's.
    let named = view.workflows.iter().filter(|workflow| !workflow.repository.is_empty());
    let workflows: BTreeMap<_, _> = named.map(|workflow| (place(workflow), workflow)).collect();
    let steps: usize = view.reports().map(|report| report.steps.len()).sum();
    // Seeded bug: series-of-every-step
    let shows_steps = steps <= settings.max_steps;
    let mut of_steps = Samples::default();
    for (place, workflow) in workflows {
        add_workflow(samples, place, workflow);
        let Some(report) = &workflow.report else {
            continue;
        };
        add_sums(samples, place, report);
        // Seeded bug: a-step-that-left-git-is-shown
        for step in report.steps.iter().filter(|step| step.state != ORPHANED) {
            add_step(&mut of_steps, place, report, step, now);
        }
    }
    let dropped = if shows_steps { 0 } else { of_steps.len() };
    samples.gauge(table::SERIES_DROPPED, &[], size(dropped));
    if shows_steps {
        samples.append(of_steps);
    }
}

/// Where a workflow is, as its labels say it.
fn place(workflow: &WorkflowView) -> [&str; 2] {
    [&workflow.repository, &workflow.folder]
}

fn add_workflow(samples: &mut Samples, place: [&str; 2], workflow: &WorkflowView) {
    let yes_or_no = |is_so: bool| if is_so { 1.0 } else { 0.0 };
    let holds = workflow.standing == Standing::Holds;
    samples.gauge(table::LEASE_HELD, &place, yes_or_no(holds));
    samples.gauge(table::INVENTORY_REACHED, &place, yes_or_no(workflow.reaches_inventory));
    samples.gauge(table::WORKFLOW_FAILING, &place, yes_or_no(workflow.error.is_some()));
    // Who stands by does not know how far the other is.
    if let Some(rollout) = workflow.rollout.as_ref().filter(|_| holds) {
        samples.gauge(table::ROLLOUT_STEPS_LEFT, &place, size(rollout.steps_left));
        if rollout.ended_at.is_none() {
            samples.gauge(table::ROLLOUT_STARTED, &place, seconds(rollout.began_at));
        }
    }
}

/// The values of a workflow that do not name its steps.
fn add_sums(samples: &mut Samples, place: [&str; 2], report: &Report) {
    let [repository, folder] = place;
    for state in STATES {
        let those = report.steps.iter().filter(|step| step.state == state);
        samples.gauge(table::STEPS, &[repository, folder, state], size(those.count()));
    }
    let of_a_person = |step: &&StepReport| OF_A_PERSON.contains(&step.state.as_ref());
    let need = report.steps.iter().filter(of_a_person).count();
    samples.gauge(table::STEPS_NEED_A_PERSON, &place, size(need));
    if let Some(forecast) = &report.forecast {
        samples.gauge(table::ROLLOUT_EXPECTED_END, &place, seconds(forecast.in_sync_at));
    }
}

fn add_step(
    samples: &mut Samples,
    [repository, folder]: [&str; 2],
    report: &Report,
    step: &StepReport,
    now: Timestamp,
) {
    let labels = [repository, folder, step.step_id.as_str()];
    samples.gauge(
        table::STEP_STATE,
        &[repository, folder, step.step_id.as_str(), &step.state],
        1.0,
    );
    if let Some(created_at) = step.created_at {
        samples.gauge(table::STEP_IMAGE_CREATED, &labels, seconds(created_at));
    }
    if let Some(next_try) = step.next_try {
        samples.gauge(table::STEP_NEXT_TRY, &labels, seconds(next_try));
    }
    if let Some(build) = &step.build {
        let since = now.duration_since(report.at).as_secs_f64().max(0.0);
        let elapsed = whole(build.elapsed_seconds) + since;
        samples.gauge(table::BUILD_ELAPSED, &labels, elapsed);
        if let Some(last) = build.last_seconds {
            let last = i64::try_from(last).unwrap_or(i64::MAX);
            samples.gauge(table::BUILD_EXPECTED, &labels, whole(last));
        }
    }
}

/// Milliseconds are kept: a pass may be younger than a second.
pub(super) fn seconds(at: Timestamp) -> f64 {
    whole(at.as_millisecond()) / 1000.0
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
fn whole(value: i64) -> f64 {
    value as f64
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
fn size(value: usize) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests;
