//! What a view comes to as values.

use std::time::Duration;

use jiff::SignedDuration;
use reconciler_core::plan::{RecordsFrom, Standing as Records};
use reconciler_core::view::rollout::Rollout;
use reconciler_core::view::{RepositoryView, Slots};
use reconciler_model::ids::{Revision, StepId, WorkflowId};

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn settings(max_steps: usize) -> Settings {
    Settings {
        max_steps,
        interval: Duration::from_mins(5),
        state_dir: "/nowhere".into(),
        started_at: at(7),
    }
}

fn step(id: &str, state: &'static str) -> StepReport {
    StepReport {
        step_id: StepId::new(id),
        parent: None,
        indent: String::new(),
        asked_for: true,
        state: state.into(),
        reason: String::new(),
        ami_id: None,
        ami_name: None,
        created_at: Some(at(50)),
        revision: None,
        build: None,
        next_try: None,
        in_sync_at: None,
        place_in_line: None,
    }
}

fn report(steps: Vec<StepReport>) -> Report {
    Report {
        workflow_id: WorkflowId::new("wf"),
        repository: "images".to_owned(),
        folder: "a".to_owned(),
        reference: "main".to_owned(),
        revision: Revision::new("one"),
        at: at(100),
        held_by: None,
        lease: None,
        looked_at_ec2: true,
        records_from: RecordsFrom { place: String::new(), standing: Records::Recorded },
        steps,
        forecast: None,
    }
}

fn workflow(folder: &str, standing: Standing, report: Option<Report>) -> WorkflowView {
    WorkflowView {
        repository: "images".to_owned(),
        folder: folder.to_owned(),
        workflow_id: WorkflowId::new("wf"),
        standing,
        report,
        reaches_inventory: true,
        plan: None,
        rollout: Some(Rollout {
            revision: Revision::new("one"),
            began_at: at(60),
            ended_at: None,
            steps_left: 2,
            most_left: 3,
            need_a_person: 1,
        }),
        error: None,
    }
}

fn values(view: &View, max_steps: usize) -> Samples {
    let mut samples = Samples::default();
    add(&mut samples, view, &settings(max_steps), view.at + SignedDuration::from_secs(30));
    samples
}

fn repository(name: &str, fetched_at: Option<Timestamp>) -> RepositoryView {
    let poll_interval = Duration::from_mins(1);
    RepositoryView { name: name.to_owned(), fetched_at, poll_interval }
}

fn view() -> View {
    let steps = vec![step("s1", "in-sync"), step("s2", "quarantined"), step("s3", "orphaned")];
    View {
        sequence: 3,
        repositories: vec![repository("images", Some(at(90))), repository("new", None)],
        workflows: vec![
            workflow("a", Standing::Holds, Some(report(steps))),
            workflow("b", Standing::StandsBy("other/1/2".to_owned()), None),
        ],
        slots: Slots { limit: 2, running: 1, waiting: 3 },
        ..View::of_nothing(at(100))
    }
}

fn named(values: &[(&str, f64)]) -> Vec<(String, f64)> {
    values.iter().map(|(labels, value)| ((*labels).to_owned(), *value)).collect()
}

#[test]
fn each_step_has_a_series_and_each_workflow_its_sums() {
    let samples = values(&view(), 2000);
    let states = named(&[("images a s1 in-sync", 1.0), ("images a s2 quarantined", 1.0)]);
    assert_eq!(samples.of(table::STEP_STATE), states);
    let sums = samples.of(table::STEPS);
    assert_eq!(sums.len(), STATES.len(), "zeros too");
    assert!(sums.contains(&("images a quarantined".to_owned(), 1.0)));
    assert!(sums.contains(&("images a broken".to_owned(), 0.0)));
    assert!(sums.contains(&("images a orphaned".to_owned(), 1.0)));
    assert_eq!(samples.of(table::STEPS_NEED_A_PERSON), named(&[("images a", 1.0)]));
    assert_eq!(samples.of(table::LEASE_HELD), named(&[("images a", 1.0), ("images b", 0.0)]));
    assert_eq!(samples.of(table::ROLLOUT_STEPS_LEFT), named(&[("images a", 2.0)]));
    assert_eq!(samples.of(table::LAST_FETCH), named(&[("images", 90.0), ("new", 7.0)]));
    let polled = named(&[("images", 60.0), ("new", 60.0)]);
    assert_eq!(samples.of(table::POLL_INTERVAL), polled);
    assert_eq!(samples.of(table::SERIES_DROPPED), named(&[("", 0.0)]));
}

#[test]
fn above_the_limit_no_step_has_a_series_and_one_says_how_many_are_left_out() {
    let samples = values(&view(), 2);
    assert!(samples.of(table::STEP_STATE).is_empty());
    assert!(samples.of(table::STEP_IMAGE_CREATED).is_empty());
    assert_eq!(samples.of(table::SERIES_DROPPED), named(&[("", 4.0)]));
    assert_eq!(samples.of(table::STEPS_NEED_A_PERSON), named(&[("images a", 1.0)]));
}

#[test]
fn what_leaves_the_view_takes_its_series_along() {
    let mut view = view();
    view.workflows.remove(1);
    if let Some(report) = &mut view.workflows[0].report {
        report.steps.remove(0);
    }
    let samples = values(&view, 2000);
    assert_eq!(samples.of(table::STEP_STATE).len(), 1);
    assert_eq!(samples.of(table::LEASE_HELD), named(&[("images a", 1.0)]));
}

#[test]
fn every_state_that_is_named_is_a_state() {
    for state in OF_A_PERSON.into_iter().chain([ORPHANED]) {
        assert!(STATES.contains(&state), "{state}");
    }
}
