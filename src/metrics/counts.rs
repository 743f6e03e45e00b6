//! What happened, counted. Whoever tells it only sends it into a channel: the loop waits for
//! nobody, and a scrape holds up nobody but the task that counts.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedSender;

use crate::controller::main_loop::{EndedPass, Event, Observer, Origin};
use crate::metrics::samples::{Distribution, Sample, Samples};
use crate::metrics::table::{self, Kind, Metric};
use reconciler_aws::calls::{Call, CallCounter};
use reconciler_core::view::View;
use reconciler_model::inventory::journal::{Attempt, Progress};

/// Repository and folder of a workflow.
type Place = (String, String);

/// The words of the label `class` of a build that has not failed.
const NO_CLASS: &str = "none";

/// Every word of the label `outcome` of builds, with each of `class`.
const ENDS: [(&str, &str); 6] = [
    ("recorded", NO_CLASS),
    ("taken_over", NO_CLASS),
    ("failed", "transient"),
    ("failed", "step"),
    ("failed", "person"),
    ("failed", "cancelled"),
];

/// The words of the label `outcome` of passes.
const PASSES: [&str; 3] = ["idle", "acted", "failed"];

/// An answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Requested {
    /// The route as the program knows it, never what was typed.
    pub route: &'static str,
    /// The status.
    pub code: u16,
}

/// What happened.
#[derive(Debug)]
pub(super) enum Happened {
    Passed(EndedPass),
    Started(Place),
    Ended { place: Place, end: (&'static str, &'static str), took: Duration },
    Updated(Place),
    Called(Call),
    Requested(Requested),
}

/// Tells what happened to whoever counts.
#[derive(Clone)]
pub struct Recorder(UnboundedSender<Happened>);

impl Recorder {
    pub(super) fn new(sender: UnboundedSender<Happened>) -> Self {
        Self(sender)
    }

    /// A request was answered.
    pub fn requested(&self, answer: Requested) {
        self.tell(Happened::Requested(answer));
    }

    /// If nobody counts any more, the daemon ends.
    fn tell(&self, happened: Happened) {
        let _ = self.0.send(happened);
    }
}

impl Observer for Recorder {
    fn notice(&self, origin: &Origin<'_>, event: &Event<'_>) {
        let Some(folder) = origin.folder else {
            return;
        };
        let place = (origin.repository.to_owned(), folder.to_owned());
        match event {
            Event::Started(_) => self.tell(Happened::Started(place)),
            Event::Updated(_) => self.tell(Happened::Updated(place)),
            Event::Ended(attempt) => {
                if let Some(end) = end_of(attempt) {
                    self.tell(Happened::Ended { place, end, took: length(attempt) });
                }
            }
            Event::TakenOver(attempt) => {
                let end = ("taken_over", NO_CLASS);
                self.tell(Happened::Ended { place, end, took: length(attempt) });
            }
            _ => {}
        }
    }

    fn passed(&self, pass: &EndedPass) {
        self.tell(Happened::Passed(*pass));
    }
}

impl CallCounter for Recorder {
    fn count(&self, call: Call) {
        self.tell(Happened::Called(call));
    }
}

/// How a build ended; none: it has not.
fn end_of(attempt: &Attempt) -> Option<(&'static str, &'static str)> {
    match &attempt.progress {
        Progress::Recorded { .. } => Some(("recorded", NO_CLASS)),
        Progress::Failed(failure) => Some(("failed", failure.class.name())),
        _ => None,
    }
}

fn length(attempt: &Attempt) -> Duration {
    Duration::try_from(attempt.updated_at.duration_since(attempt.started_at)).unwrap_or_default()
}

/// What happened since the process began.
#[derive(Debug)]
pub(super) struct Counts {
    passes: BTreeMap<&'static str, u64>,
    pass_duration: Distribution,
    /// Of the workflows that the newest view has.
    workflows: BTreeMap<Place, OfWorkflow>,
    calls: BTreeMap<(String, String, &'static str), u64>,
    call_duration: BTreeMap<String, Distribution>,
    requests: BTreeMap<Requested, u64>,
}

/// What happened to a workflow.
#[derive(Debug)]
struct OfWorkflow {
    started: u64,
    ended: BTreeMap<(&'static str, &'static str), u64>,
    updated: u64,
    build_duration: BTreeMap<&'static str, Distribution>,
    rollout_duration: Distribution,
    /// When the rollout began that was counted last.
    counted_rollout: Option<Timestamp>,
}

impl Default for OfWorkflow {
    /// Every count is there from the start: Prometheus sees no increase where nothing was before.
    fn default() -> Self {
        Self {
            started: 0,
            ended: ENDS.into_iter().map(|end| (end, 0)).collect(),
            updated: 0,
            build_duration: BTreeMap::new(),
            rollout_duration: empty(table::ROLLOUT_DURATION),
            counted_rollout: None,
        }
    }
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            passes: PASSES.into_iter().map(|outcome| (outcome, 0)).collect(),
            pass_duration: empty(table::PASS_DURATION),
            workflows: BTreeMap::new(),
            calls: BTreeMap::new(),
            call_duration: BTreeMap::new(),
            requests: BTreeMap::new(),
        }
    }
}

/// A distribution with the bounds of the table.
fn empty(metric: &Metric) -> Distribution {
    match metric.kind {
        Kind::Histogram { bounds } => Distribution::new(bounds),
        Kind::Counter | Kind::Gauge => Distribution::new(&[]),
    }
}

impl Counts {
    /// Counts.
    pub(super) fn take_in(&mut self, happened: Happened) {
        match happened {
            Happened::Passed(pass) => {
                let outcome = match pass {
                    EndedPass { errors: 1.., .. } => "failed",
                    EndedPass { acted: true, .. } => "acted",
                    EndedPass { .. } => "idle",
                };
                *self.passes.entry(outcome).or_default() += 1;
                self.pass_duration.observe(pass.took.as_secs_f64());
            }
            Happened::Started(place) => self.workflows.entry(place).or_default().started += 1,
            Happened::Updated(place) => self.workflows.entry(place).or_default().updated += 1,
            Happened::Ended { place, end, took } => {
                let workflow = self.workflows.entry(place).or_default();
                *workflow.ended.entry(end).or_default() += 1;
                let durations = workflow.build_duration.entry(end.0);
                durations
                    .or_insert_with(|| empty(table::BUILD_DURATION))
                    .observe(took.as_secs_f64());
            }
            Happened::Called(call) => {
                let durations = self.call_duration.entry(call.service.clone());
                durations
                    .or_insert_with(|| empty(table::AWS_CALL_DURATION))
                    .observe(call.took.as_secs_f64());
                let key = (call.service, call.operation, call.outcome.name());
                *self.calls.entry(key).or_default() += 1;
            }
            Happened::Requested(answer) => *self.requests.entry(answer).or_default() += 1,
        }
    }

    /// A workflow that git has no more takes its counts along; one that is new has them from 0.
    pub(super) fn follow(&mut self, view: &View) {
        let named = view.workflows.iter().filter(|workflow| !workflow.repository.is_empty());
        let mut there: BTreeMap<Place, _> = BTreeMap::new();
        for workflow in named {
            let place = (workflow.repository.clone(), workflow.folder.clone());
            there.insert(place, workflow.rollout.as_ref());
        }
        // Seeded bug: counts-outlive-their-workflow
        self.workflows.retain(|place, _| there.contains_key(place));
        for (place, rollout) in there {
            let workflow = self.workflows.entry(place).or_default();
            let Some(rollout) = rollout else {
                continue;
            };
            if let Some(ended_at) = rollout.ended_at
                && workflow.counted_rollout != Some(rollout.began_at)
            {
                workflow.counted_rollout = Some(rollout.began_at);
                let took = ended_at.duration_since(rollout.began_at).as_secs_f64();
                workflow.rollout_duration.observe(took);
            }
        }
    }

    /// Adds all counts.
    pub(super) fn add(&self, samples: &mut Samples) {
        let counter = |samples: &mut Samples, metric, labels: &[&str], count: u64| {
            samples.add(metric, owned(labels), Sample::Counter(count));
        };
        let histogram = |samples: &mut Samples, metric, labels: &[&str], of: &Distribution| {
            samples.add(metric, owned(labels), Sample::Histogram(of.clone()));
        };
        for (outcome, count) in &self.passes {
            counter(samples, table::PASSES, &[outcome], *count);
        }
        histogram(samples, table::PASS_DURATION, &[], &self.pass_duration);
        for ((repository, folder), workflow) in &self.workflows {
            let place = [repository.as_str(), folder];
            counter(samples, table::BUILDS_STARTED, &place, workflow.started);
            counter(samples, table::UPDATES, &place, workflow.updated);
            for ((outcome, class), count) in &workflow.ended {
                let labels = [repository, folder, *outcome, class];
                counter(samples, table::BUILDS_ENDED, &labels, *count);
            }
            for (outcome, durations) in &workflow.build_duration {
                let labels = [repository, folder, *outcome];
                histogram(samples, table::BUILD_DURATION, &labels, durations);
            }
            histogram(samples, table::ROLLOUT_DURATION, &place, &workflow.rollout_duration);
        }
        for ((service, operation, outcome), count) in &self.calls {
            counter(samples, table::AWS_CALLS, &[service, operation, outcome], *count);
        }
        for (service, durations) in &self.call_duration {
            histogram(samples, table::AWS_CALL_DURATION, &[service], durations);
        }
        for (Requested { route, code }, count) in &self.requests {
            counter(samples, table::HTTP_REQUESTS, &[route, &code.to_string()], *count);
        }
    }
}

fn owned(labels: &[&str]) -> Vec<String> {
    labels.iter().map(|label| (*label).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use reconciler_aws::calls::CallOutcome;
    use reconciler_core::view::rollout::Rollout;
    use reconciler_core::view::{Standing, WorkflowView};
    use reconciler_model::ids::{Revision, WorkflowId};
    use reconciler_model::inventory::journal::FailureClass;

    fn place(folder: &str) -> Place {
        ("images".to_owned(), folder.to_owned())
    }

    fn workflow(folder: &str, rollout: Option<Rollout>) -> WorkflowView {
        WorkflowView {
            repository: "images".to_owned(),
            folder: folder.to_owned(),
            workflow_id: WorkflowId::new(folder),
            standing: Standing::Holds,
            report: None,
            reaches_inventory: true,
            plan: None,
            rollout,
            error: None,
        }
    }

    fn view(workflows: Vec<WorkflowView>) -> View {
        View { workflows, ..View::of_nothing(Timestamp::UNIX_EPOCH) }
    }

    fn samples(counts: &Counts) -> Samples {
        let mut samples = Samples::default();
        counts.add(&mut samples);
        samples
    }

    #[test]
    fn counts_begin_at_zero_and_go_with_their_workflow() {
        let mut counts = Counts::default();
        counts.follow(&view(vec![workflow("a", None), workflow("b", None)]));
        let started = samples(&counts).of(table::BUILDS_STARTED);
        assert_eq!(started, [("images a".to_owned(), 0.0), ("images b".to_owned(), 0.0)]);
        assert_eq!(samples(&counts).of(table::BUILDS_ENDED).len(), 2 * ENDS.len());
        counts.take_in(Happened::Started(place("a")));
        counts.take_in(Happened::Started(place("b")));
        counts.follow(&view(vec![workflow("b", None)]));
        let started = samples(&counts).of(table::BUILDS_STARTED);
        assert_eq!(started, [("images b".to_owned(), 1.0)]);
    }

    #[test]
    fn what_happens_is_counted_by_what_came_of_it() {
        let mut counts = Counts::default();
        for (errors, acted) in [(0, false), (0, true), (2, true)] {
            let took = Duration::from_millis(20);
            counts.take_in(Happened::Passed(EndedPass { took, acted, errors }));
        }
        let passes = samples(&counts).of(table::PASSES);
        assert_eq!(passes, ["acted", "failed", "idle"].map(|outcome| (outcome.to_owned(), 1.0)));
        let took = Duration::from_secs(90);
        let end = ("failed", "step");
        counts.take_in(Happened::Ended { place: place("a"), end, took });
        let durations = samples(&counts).of(table::BUILD_DURATION);
        assert_eq!(durations, [("images a failed".to_owned(), 90.0)]);
        counts.take_in(Happened::Called(Call {
            service: "EC2".to_owned(),
            operation: "DescribeImages".to_owned(),
            outcome: CallOutcome::Refused,
            took,
        }));
        let calls = samples(&counts).of(table::AWS_CALLS);
        assert_eq!(calls, [("EC2 DescribeImages refused".to_owned(), 1.0)]);
    }

    #[test]
    fn a_rollout_is_counted_once_it_has_ended() {
        let mut counts = Counts::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        let rollout = |ended_at| Rollout {
            revision: Revision::new("one"),
            began_at: at(100),
            ended_at,
            steps_left: 0,
            most_left: 2,
            need_a_person: 0,
        };
        for ended_at in [None, Some(at(400)), Some(at(400))] {
            counts.follow(&view(vec![workflow("a", Some(rollout(ended_at)))]));
        }
        let durations = samples(&counts).of(table::ROLLOUT_DURATION);
        assert_eq!(durations, [("images a".to_owned(), 300.0)]);
    }

    #[test]
    fn every_class_of_a_failure_is_there_from_the_start() {
        use FailureClass::{Cancelled, Person, Step, Transient};
        for of in [Transient, Step, Person, Cancelled] {
            assert!(ENDS.contains(&("failed", of.name())), "{}", of.name());
        }
    }
}
