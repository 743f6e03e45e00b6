//! Tells a person what `apply` does: the plan once, then one line for each change, and on a
//! terminal what runs just now in the last line.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use reconciler::controller::main_loop::{Event, Observer, Origin};
use reconciler::controller::process_sight::holder_of;
use reconciler_core::build::phase_comparison::line;
use reconciler_core::plan::Plan;
use reconciler_core::plan::changes::{Change, changes};
use reconciler_core::plan::decision::Decision;
use reconciler_core::plan::planner::PlannedStep;
use reconciler_core::plan::progress::seconds;
use reconciler_core::plan::selection::Selection;
use reconciler_core::plan::sentences::{Context, cause, duration_words, printable, sentence};
use reconciler_core::plan::sight::{Process, holder_words};
use reconciler_core::plan::text;
use reconciler_model::ids::{AmiId, BuildId, Revision, StepId, WorkflowId};
use reconciler_model::inventory::Lease;
use reconciler_model::inventory::journal::{Attempt, FailureClass, Progress};
use serde_json::{Value, json};

use super::print;
use super::screen::{cut, width};
use crate::cli::Output;

/// How often somebody who reads a file, or the log of a CI, is told that builds go on.
const STILL: Duration = Duration::from_mins(5);

/// A step of a workflow.
type Place = (WorkflowId, StepId);

/// Tells a person what happens.
pub(crate) struct Teller {
    only: BTreeSet<StepId>,
    output: Output,
    on_terminal: bool,
    tally: Mutex<Tally>,
}

/// What was told so far.
struct Tally {
    /// The commit of each workflow whose plan was printed.
    plans: BTreeMap<WorkflowId, Revision>,
    /// What is to be done.
    left: BTreeSet<Place>,
    /// What was done, or was tried and has failed.
    done: BTreeSet<Place>,
    /// How many there are; never less than before.
    all: usize,
    recorded: usize,
    updated: usize,
    running: BTreeMap<BuildId, Running>,
    last: BTreeMap<Place, SignedDuration>,
    /// Workflows whose lease is waited for.
    waiting: BTreeSet<WorkflowId>,
    /// Builds that ended, for programs.
    ended: Vec<Value>,
    /// Steps whose last build here has failed.
    failed: BTreeSet<Place>,
    said_at: Instant,
    /// Why steps are not as git says, as far as that was told.
    causes: BTreeSet<(Place, String)>,
}

struct Running {
    place: Place,
    since: Timestamp,
}

impl Teller {
    /// For an `apply` of these steps, or of all. Where the result is JSON, what happens meanwhile
    /// goes to standard error.
    pub(crate) fn new(only: BTreeSet<StepId>, output: Output) -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|kind| kind == "dumb");
        Self {
            only,
            output,
            on_terminal: output == Output::Text
                && !print::is_quiet()
                && std::io::stdout().is_terminal()
                && !dumb,
            tally: Mutex::new(Tally {
                plans: BTreeMap::new(),
                left: BTreeSet::new(),
                done: BTreeSet::new(),
                all: 0,
                recorded: 0,
                updated: 0,
                running: BTreeMap::new(),
                last: BTreeMap::new(),
                waiting: BTreeSet::new(),
                ended: Vec::new(),
                failed: BTreeSet::new(),
                said_at: Instant::now(),
                causes: BTreeSet::new(),
            }),
        }
    }

    /// Keeps the last line of a terminal current, and breaks long silences elsewhere, as long as
    /// the loop runs.
    pub(crate) async fn keep_current(self: Arc<Self>) {
        loop {
            self.look_at_running();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Takes the live line away: nothing runs any more that this process follows.
    pub(crate) fn ends(&self) {
        if self.on_terminal {
            print::live(String::new());
        }
    }

    /// `2 images recorded, 1 updated`; none if nothing was done.
    pub(crate) fn done(&self) -> Option<String> {
        let tally = self.tally();
        let plural = if tally.recorded == 1 { "" } else { "s" };
        let parts = [
            (tally.recorded, format!("{} image{plural} recorded", tally.recorded)),
            (tally.updated, format!("{} updated", tally.updated)),
        ];
        let parts: Vec<_> =
            parts.into_iter().filter(|(count, _)| *count > 0).map(|(_, words)| words).collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    /// Whether it was told already why a step is not as git says.
    pub(crate) fn has_told(&self, workflow: &WorkflowId, step: &StepId, cause: &str) -> bool {
        let place = (workflow.clone(), step.clone());
        self.tally().causes.contains(&(place, cause.to_owned()))
    }

    /// The builds that ended, and images that were taken over, in their order.
    pub(crate) fn ended(&self) -> Vec<Value> {
        self.tally().ended.clone()
    }

    /// Whether the last build of some step has failed, though the step may be in sync with the image
    /// that it had before: it was to be built again though nothing changed.
    pub(crate) fn a_build_has_failed(&self) -> bool {
        !self.tally().failed.is_empty()
    }

    /// A terminal that went away does not stop a build.
    fn say(&self, text: &str) {
        match self.output {
            _ if print::is_quiet() => {}
            Output::Text => {
                let _ = print::text(text);
            }
            Output::Json => print::note(text.trim_end()),
        }
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look_at_running(&self) {
        let mut tally = self.tally();
        if self.on_terminal {
            print::live(cut(&tally.live(Timestamp::now()), width()));
        } else if !tally.running.is_empty() && tally.said_at.elapsed() >= STILL {
            tally.said_at = Instant::now();
            let line = tally.live(Timestamp::now());
            drop(tally);
            self.say(&format!("{line}\n"));
        }
    }

    fn planned(&self, plan: &Plan, before: Option<&Plan>) -> String {
        let selection = Selection::of(&plan.steps, &self.only);
        let around = Context { wanted: selection.as_ref(), ..Context::at(plan.at) };
        let mut tally = self.tally();
        tally.take_in(plan, selection.as_ref());
        let known = tally.plans.insert(plan.workflow_id.clone(), plan.revision.clone());
        match known {
            None => {
                for step in plan.wanted(selection.as_ref()) {
                    if let Some(cause) = cause(&step.decision) {
                        tally.causes.insert((place_in(plan, &step.id), cause));
                    }
                }
                text::text(plan, &around, print::medium())
            }
            Some(revision) => {
                let mut said = String::new();
                if revision != plan.revision {
                    said = format!(
                        "{}  {} is at {} now. {}\n",
                        plan.workflow_id,
                        plan.reference,
                        plan.revision.short(),
                        text::summary(plan, &around)
                    );
                }
                said + &tally.news(plan, before, &around)
            }
        }
    }

    fn told(&self, origin: &Origin<'_>, event: &Event<'_>) -> Option<String> {
        let place = |step: &StepId| (workflow_of(origin), step.clone());
        let mut tally = self.tally();
        if let Event::Ended(attempt) | Event::TakenOver(attempt) = event {
            tally.ended.push(ended(&workflow_of(origin), attempt, event));
        }
        Some(match event {
            Event::Started(attempt) => tally.started(place(&attempt.step_id), attempt, "started"),
            Event::Resumed(attempt) => tally.started(place(&attempt.step_id), attempt, "followed"),
            Event::Ended(attempt) => {
                tally.is_over(place(&attempt.step_id), attempt);
                let name = tally.name(&place(&attempt.step_id));
                format!(
                    "{} {name} {}\n{}",
                    tally.count(),
                    ending(attempt, Timestamp::now()),
                    details(attempt)
                )
            }
            Event::TakenOver(attempt) => {
                tally.is_over(place(&attempt.step_id), attempt);
                let name = tally.name(&place(&attempt.step_id));
                format!(
                    "{} {name} takes over {} {} of an earlier build\n",
                    tally.count(),
                    attempt.ami_id.as_ref().map_or("", AmiId::as_str),
                    attempt.intent.ami_name
                )
            }
            Event::Updated(step) => {
                tally.updated += 1;
                tally.leaves(place(&step.id));
                format!("{} {} updated, no build\n", tally.count(), tally.name(&place(&step.id)))
            }
            Event::Superseded(step) => format!(
                "{} {} cancelled: git says something else by now\n",
                tally.count(),
                tally.name(&place(step))
            ),
            Event::CancelRequested { step, by } => format!(
                "{} {} cancelled: {by} asked for it\n",
                tally.count(),
                tally.name(&place(step))
            ),
            Event::Unknown { step, build } => format!(
                "{} {} build {build} is ended: the inventory knows nothing of it\n",
                tally.count(),
                tally.name(&place(step))
            ),
            Event::Rewritten { old, new } => format!(
                "{}: history was rewritten: {} does not descend from {}\n",
                origin.repository,
                new.short(),
                old.short()
            ),
            Event::Waiting(lease) | Event::Standby(lease) => {
                tally.waiting.insert(lease.workflow_id.clone());
                waiting(lease)
            }
            Event::Holding { .. } if tally.waiting.remove(&workflow_of(origin)) => {
                "the lease is free: going on\n".to_owned()
            }
            Event::Recovered { what, .. } => format!("{what} works again\n"),
            Event::Lost => format!(
                "the lease of workflow {} is lost: another reconciler may act now\n",
                workflow_of(origin)
            ),
            // A command that ends gives back what it holds when it ends.
            Event::GivenBack(_)
            | Event::TakenAgain
            | Event::Holding { .. }
            | Event::Planned { .. }
            | Event::Failing(_) => return None,
        })
    }
}

impl Observer for Teller {
    fn notice(&self, origin: &Origin<'_>, event: &Event<'_>) {
        let said = match event {
            Event::Planned { plan, before } => self.planned(plan, *before),
            Event::Failing(failing) => {
                print::diagnostic(&failing.error.diagnostic());
                String::new()
            }
            other => self.told(origin, other).unwrap_or_default(),
        };
        if said.is_empty() {
            return;
        }
        let live = {
            let mut tally = self.tally();
            tally.said_at = Instant::now();
            tally.live(Timestamp::now())
        };
        if self.on_terminal {
            print::live(cut(&live, width()));
        }
        self.say(&said);
    }
}

fn place_in(plan: &Plan, step: &StepId) -> Place {
    (plan.workflow_id.clone(), step.clone())
}

fn workflow_of(origin: &Origin<'_>) -> WorkflowId {
    match origin.workflow {
        Some(workflow) => workflow.clone(),
        None => WorkflowId::new(""),
    }
}

impl Tally {
    /// What a plan leaves to do.
    fn take_in(&mut self, plan: &Plan, selection: Option<&Selection>) {
        let place = |step: &PlannedStep| (plan.workflow_id.clone(), step.id.clone());
        self.left.retain(|(workflow, _)| *workflow != plan.workflow_id);
        for step in plan.wanted(selection) {
            let to_do = matches!(
                step.decision,
                Decision::Build(_)
                    | Decision::TakeOver(_)
                    | Decision::Update(_)
                    | Decision::Building(_)
            );
            if to_do {
                self.done.remove(&place(step));
                self.left.insert(place(step));
            }
            let built = step.record.as_ref().and_then(|record| record.built.as_ref());
            if let Some(took) = built.and_then(|built| seconds(built.build_seconds)) {
                self.last.insert(place(step), took);
            }
        }
        self.all = self.all.max(self.left.len() + self.done.len());
    }

    /// What a later plan says beside what builds and updates tell themselves.
    fn news(&self, plan: &Plan, before: Option<&Plan>, around: &Context<'_>) -> String {
        let line = |change: Change<'_>| match change {
            Change::Troubled(step)
                if around.wants(&step.id)
                    && matches!(
                        step.decision,
                        Decision::Broken(_)
                            | Decision::AwaitingManual(_)
                            | Decision::NameTaken(_)
                            | Decision::Stopped(_)
                    ) =>
            {
                let place = (plan.workflow_id.clone(), step.id.clone());
                let said = sentence(step, around);
                Some(format!("{} {} {said}\n", self.count(), self.name(&place)))
            }
            _ => None,
        };
        changes(before, plan).into_iter().filter_map(line).collect()
    }

    fn started(&mut self, place: Place, attempt: &Attempt, verb: &str) -> String {
        let line = format!(
            "{} {} {verb}: build {} of {}\n",
            self.count(),
            self.name(&place),
            attempt.build_id,
            attempt.intent.ami_name
        );
        let since = attempt.started_at;
        self.running.insert(attempt.build_id.clone(), Running { place, since });
        line
    }

    fn is_over(&mut self, place: Place, attempt: &Attempt) {
        self.running.remove(&attempt.build_id);
        self.recorded += usize::from(attempt.is_recorded());
        if let Progress::Failed(failure) = &attempt.progress {
            self.causes.insert((place.clone(), failure.cause.clone()));
            self.failed.insert(place.clone());
        } else {
            self.failed.remove(&place);
        }
        self.leaves(place);
    }

    fn leaves(&mut self, place: Place) {
        self.left.remove(&place);
        self.done.insert(place);
        self.all = self.all.max(self.left.len() + self.done.len());
    }

    fn count(&self) -> String {
        format!("[{}/{}]", self.done.len(), self.all)
    }

    /// The step; with its workflow where there are several.
    fn name(&self, (workflow, step): &Place) -> String {
        if self.plans.len() > 1 { format!("{workflow} {step}") } else { step.to_string() }
    }

    /// `[3/60] building web 3m of 12m, db 40s`; empty if nothing is built.
    fn live(&self, now: Timestamp) -> String {
        let one = |running: &Running| {
            let so_far = duration_words(now.duration_since(running.since));
            let of = match self.last.get(&running.place) {
                Some(last) => format!(" of {}", duration_words(*last)),
                None => String::new(),
            };
            format!("{} {so_far}{of}", self.name(&running.place))
        };
        if self.running.is_empty() {
            return String::new();
        }
        let running: Vec<_> = self.running.values().map(one).collect();
        format!("{} building {}", self.count(), running.join(", "))
    }
}

/// How a build ended, for programs.
fn ended(workflow: &WorkflowId, attempt: &Attempt, event: &Event<'_>) -> Value {
    let (state, failure) = match &attempt.progress {
        _ if matches!(event, Event::TakenOver(_)) => ("taken_over", None),
        Progress::Failed(failure) => ("failed", Some(failure)),
        _ => ("recorded", None),
    };
    json!({
        "workflow_id": workflow,
        "step_id": attempt.step_id,
        "build_id": attempt.build_id,
        "state": state,
        "ami_id": attempt.ami_id,
        "ami_name": attempt.intent.ami_name,
        "failure": failure,
    })
}

/// What a failure says beside its line, for whoever looks closer.
fn details(attempt: &Attempt) -> String {
    let Progress::Failed(failure) = &attempt.progress else {
        return String::new();
    };
    let lines = failure.details.lines();
    let told = lines.fold(String::new(), |said, line| said + "  | " + &printable(line) + "\n");
    let time = (!failure.phases.is_empty()).then(|| format!("time: {}", line(&failure.phases)));
    let changed =
        (!failure.changed.is_empty()).then(|| format!("since it last worked: {}", failure.changed));
    let more = time.iter().chain(&changed);
    more.fold(told, |said, line| said + "  " + &printable(line) + "\n")
}

/// How a build ended, and what can be done about it.
pub(crate) fn ending(attempt: &Attempt, now: Timestamp) -> String {
    match &attempt.progress {
        Progress::Recorded { build_seconds } => {
            let took = i64::try_from(*build_seconds).unwrap_or(i64::MAX);
            let id = attempt.ami_id.as_ref().map_or("", AmiId::as_str);
            format!("recorded {id} {}", duration_words(SignedDuration::from_secs(took)))
        }
        Progress::Failed(failure) => {
            let next = match (failure.class, failure.retry_at) {
                (FailureClass::Transient, Some(at)) if at > now => {
                    format!("; next try in {}", duration_words(at.duration_since(now)))
                }
                _ => String::new(),
            };
            format!(
                "failed: {}{next} (`reconciler logs {}`)",
                printable(&failure.cause),
                attempt.step_id
            )
        }
        _ => "goes on".to_owned(),
    }
}

/// Whose lease is waited for, how long, and what to do meanwhile.
pub(crate) fn waiting(lease: &Lease) -> String {
    let holder =
        lease.holder.as_deref().map_or_else(|| "another reconciler".to_owned(), holder_words);
    let what = match holder_of(Some(lease)) {
        Process::Stopped => {
            "it is stopped by a signal (SIGSTOP): its lease runs out, or end it".to_owned()
        }
        _ => format!(
            "it builds what git says (`reconciler status --watch`); if it ends or is gone, this goes on, and if it lives, this gives up within {}",
            duration_words(SignedDuration::from_secs(
                i64::try_from(lease.duration_seconds).unwrap_or(i64::MAX)
            ))
        ),
    };
    format!(
        "waiting: {holder}, holds the lease of workflow {}\n  {what}; Ctrl-C ends the wait\n",
        lease.workflow_id
    )
}
