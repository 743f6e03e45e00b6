//! The status of one workflow as a value: made from a plan, the attempts and the lease. Pure; time
//! is an argument.
//!
//! As JSON its schema is `reconciler.status/1`, described in `docs/output.md`. Fields are added,
//! never changed.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::plan::decision::Decision;
use crate::plan::forecast::{Forecast, Outlook};
use crate::plan::planner::PlannedStep;
use crate::plan::progress::{Progress, seconds};
use crate::plan::selection::Selection;
use crate::plan::sentences::{Context, sentence, state, totals};
use crate::plan::sight::{Attended, BuildProcess, BuildSight, Process, Sights};
use crate::plan::tree::branches;
use crate::plan::{Plan, RecordsFrom};
use reconciler_model::ids::{AmiId, AmiName, BuildId, Revision, StepId, WorkflowId};
use reconciler_model::inventory::Lease;
use reconciler_model::inventory::journal::{Attempt, Progress as Stage};

/// The version of the JSON form.
pub const SCHEMA: &str = "reconciler.status/1";

/// The status of one workflow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The workflow.
    pub workflow_id: WorkflowId,
    /// The repository.
    pub repository: String,
    /// Its folder.
    pub folder: String,
    /// What is followed.
    pub reference: String,
    /// The commit that the states are about.
    pub revision: Revision,
    /// When this was seen.
    pub at: Timestamp,
    /// Who acts on the workflow; none if nobody does, as far as can be seen.
    pub held_by: Option<String>,
    /// The lease; none if nobody holds it. Its holder may have ended.
    pub lease: Option<LeaseReport>,
    /// Whether EC2 was asked.
    pub looked_at_ec2: bool,
    /// Which inventory was read.
    pub records_from: RecordsFrom,
    /// Every step, in the order of the tree.
    pub steps: Vec<StepReport>,
    /// When all that waits for nobody is in sync; none where nothing is left, nobody acts, or nobody
    /// knows.
    #[serde(default)]
    pub forecast: Option<Forecast>,
}

/// Who acts on a workflow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseReport {
    /// `host/pid/start-mark` of the holder.
    pub holder: String,
    /// The fencing token: how often the lease has changed hands.
    pub token: u64,
    /// How long the holder may be silent.
    pub duration_seconds: u64,
    /// When it gave its last heartbeat, by its own clock.
    pub renewed_at: Timestamp,
    /// How long ago that is, by the clock of whoever asks.
    pub renewed_seconds_ago: i64,
    /// Whether that is longer than it may be silent: it is gone, or the two clocks differ.
    pub overdue: bool,
    /// What can be seen of the holder from where this is asked.
    pub seen: Process,
}

fn lease_report(lease: &Lease, seen: Process, now: Timestamp) -> Option<LeaseReport> {
    let ago = now.duration_since(lease.renewed_at).as_secs();
    Some(LeaseReport {
        holder: lease.holder.clone()?,
        token: lease.token,
        duration_seconds: lease.duration_seconds,
        renewed_at: lease.renewed_at,
        renewed_seconds_ago: ago,
        overdue: ago > i64::try_from(lease.duration_seconds).unwrap_or(i64::MAX),
        seen,
    })
}

/// The status of one step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepReport {
    /// The step.
    pub step_id: StepId,
    /// Whose image it starts from.
    pub parent: Option<StepId>,
    /// How deep it stands in the tree.
    #[serde(skip)]
    pub indent: String,
    /// Whether it is meant: it was named, or a step that was named starts from it.
    pub asked_for: bool,
    /// Exactly one of the states of `docs/output.md`.
    pub state: Cow<'static, str>,
    /// Why, in words a person can act on.
    pub reason: String,
    /// The recorded image.
    pub ami_id: Option<AmiId>,
    /// Its name.
    pub ami_name: Option<AmiName>,
    /// When EC2 created it.
    pub created_at: Option<Timestamp>,
    /// The commit that it was built from.
    pub revision: Option<Revision>,
    /// A build that runs.
    pub build: Option<BuildReport>,
    /// When it is tried again.
    pub next_try: Option<Timestamp>,
    /// When it is in sync, as is foretold.
    #[serde(default)]
    pub in_sync_at: Option<Timestamp>,
    /// Its place in the line for a build slot; the first is 1.
    #[serde(default)]
    pub place_in_line: Option<usize>,
}

/// A build that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildReport {
    /// Its id.
    pub build_id: BuildId,
    /// How far it is.
    pub stage: Cow<'static, str>,
    /// Since when, in seconds.
    pub elapsed_seconds: i64,
    /// How long the last one took.
    pub last_seconds: Option<u64>,
    /// The host that runs it.
    pub host: String,
    /// What can be seen of it from where this is asked.
    pub seen: BuildProcess,
    /// When Packer ended, where that is known.
    pub ended_at: Option<Timestamp>,
    /// When its supervisor gave its last sign of life, of a build on another host and by that
    /// host's clock.
    pub last_sign_at: Option<Timestamp>,
    /// What Packer does without a word, where its log on this host tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silence: Option<String>,
}

/// What a report is made from beside the plan.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The newest attempt at each step.
    pub attempts: &'a BTreeMap<StepId, Attempt>,
    /// The lease.
    pub lease: Option<&'a Lease>,
    /// What can be seen of processes.
    pub sights: &'a Sights,
    /// The steps that are meant; none: all.
    pub wanted: Option<&'a Selection>,
    /// What is foretold.
    pub outlook: Option<&'a Outlook>,
}

impl<'a> Facts<'a> {
    /// What its sentences are said in view of.
    #[must_use]
    pub fn context(&self, now: Timestamp) -> Context<'a> {
        Context {
            sights: Some(self.sights),
            attended: self.sights.attended(self.lease),
            wanted: self.wanted,
            // Where nobody acts nothing is foretold.
            outlook: self.outlook.filter(|_| self.sights.attended(self.lease) == Attended::Yes),
            ..Context::at(now)
        }
    }
}

/// Makes a report.
#[must_use]
pub fn report(plan: &Plan, facts: &Facts<'_>) -> Report {
    let rows = branches(&plan.steps);
    let mut steps: Vec<StepReport> =
        rows.into_iter().map(|row| step_report(plan, row.step, row.indent, facts)).collect();
    let orphans = plan.orphans.iter().filter(|_| facts.wanted.is_none());
    steps.extend(orphans.map(|orphan| StepReport {
        step_id: orphan.step_id.clone(),
        parent: None,
        indent: String::new(),
        asked_for: true,
        state: "orphaned".into(),
        reason: orphan.words(),
        ami_id: Some(orphan.ami_id.clone()),
        ami_name: Some(orphan.ami_name.clone()),
        created_at: None,
        revision: None,
        build: None,
        next_try: None,
        in_sync_at: None,
        place_in_line: None,
    }));
    Report {
        workflow_id: plan.workflow_id.clone(),
        repository: plan.repository.clone(),
        folder: plan.folder.clone(),
        reference: plan.reference.clone(),
        revision: plan.revision.clone(),
        at: plan.at,
        held_by: facts
            .lease
            .filter(|_| facts.sights.holder != Process::Ended)
            .and_then(|lease| lease.holder.clone()),
        lease: facts.lease.and_then(|lease| lease_report(lease, facts.sights.holder, plan.at)),
        looked_at_ec2: plan.looked_at_ec2,
        records_from: plan.records_from.clone(),
        steps,
        forecast: facts.context(plan.at).outlook.and_then(|outlook| outlook.forecast.clone()),
    }
}

fn step_report(plan: &Plan, step: &PlannedStep, indent: String, facts: &Facts<'_>) -> StepReport {
    let record = step.record.as_ref();
    let around = facts.context(plan.at);
    let build = match &step.decision {
        Decision::Building(_) => {
            facts.attempts.get(&step.id).map(|attempt| build_report(plan, step, attempt, &around))
        }
        _ => None,
    };
    let foretold = around.outlook.and_then(|outlook| outlook.step(&step.id));
    let mut reason = sentence(step, &around);
    // What is seen of it is in the sentence, and says more.
    if let Some(build) = build.as_ref().filter(|build| build.seems_to_run()) {
        reason = format!("{reason} ({})", build.stage);
    }
    StepReport {
        step_id: step.id.clone(),
        parent: step.parent.clone(),
        indent,
        asked_for: around.wants(&step.id),
        state: state(&step.decision).into(),
        reason,
        ami_id: record.map(|record| record.ami_id.clone()),
        ami_name: record.map(|record| record.ami_name.clone()),
        created_at: record.map(|record| record.create_at),
        revision: record
            .and_then(|record| record.built.as_ref())
            .map(|built| built.revision.clone()),
        build,
        next_try: match &step.decision {
            Decision::BackingOff { until, .. } => Some(*until),
            _ => None,
        },
        in_sync_at: foretold.and_then(|step| step.ends_at),
        place_in_line: foretold.and_then(|step| step.place),
    }
}

/// How far a build is: what is seen of it, where that is newer than what the journal says.
fn stage(progress: &Stage, seen: BuildProcess, attended: Attended) -> &'static str {
    match (progress, seen) {
        (Stage::Recorded { .. } | Stage::Failed(_), _) => "over",
        (Stage::ImageSeen | Stage::Available | Stage::Tagged, _) if attended == Attended::No => {
            "not recorded yet"
        }
        (Stage::ImageSeen, _) => "waiting for the image",
        (Stage::Available, _) => "tagging",
        (Stage::Tagged, _) => "recording",
        (_, BuildProcess::Ended | BuildProcess::Gone) => "packer has ended",
        (_, BuildProcess::NeverStarted) => "never started",
        (_, BuildProcess::Stopped) => "stopped",
        (Stage::Intended, BuildProcess::Unknown | BuildProcess::Starting) => "starting",
        (Stage::Intended | Stage::Started { .. }, _) => "packer runs",
    }
}

fn build_report(
    plan: &Plan,
    step: &PlannedStep,
    attempt: &Attempt,
    around: &Context<'_>,
) -> BuildReport {
    let sight = around.sights.map_or(BuildSight::default(), |sights| sights.of(&attempt.build_id));
    let built = step.record.as_ref().and_then(|record| record.built.as_ref());
    BuildReport {
        build_id: attempt.build_id.clone(),
        stage: stage(&attempt.progress, sight.seen, around.attended).into(),
        elapsed_seconds: plan.at.duration_since(attempt.started_at).as_secs(),
        last_seconds: built.map(|built| built.build_seconds).filter(|seconds| *seconds > 0),
        host: attempt.intent.host.clone(),
        seen: sight.seen,
        ended_at: sight.ended_at,
        last_sign_at: sight.last_sign_at,
        silence: None,
    }
}

impl BuildReport {
    /// Whether nothing that is seen speaks against it.
    #[must_use]
    pub fn seems_to_run(&self) -> bool {
        matches!(self.seen, BuildProcess::Unknown | BuildProcess::Starting | BuildProcess::Runs)
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress {
            elapsed: jiff::SignedDuration::from_secs(self.elapsed_seconds),
            last: self.last_seconds.and_then(seconds),
        }
    }
}

impl Report {
    /// Adds to running builds what Packer does without a word: `silence` tells it of a build.
    #[must_use]
    pub fn with_silences(mut self, silence: impl Fn(&BuildId) -> Option<String>) -> Self {
        for step in &mut self.steps {
            if let Some(build) = &mut step.build
                && matches!(build.seen, BuildProcess::Runs | BuildProcess::Unsupervised)
            {
                build.silence = silence(&build.build_id);
                if let Some(said) = &build.silence {
                    step.reason = format!("{}; {said}", step.reason);
                }
            }
        }
        self
    }

    /// How many steps are in each state, in words.
    #[must_use]
    pub fn totals(&self) -> String {
        let states = self.wanted().map(|step| step.state.as_ref());
        totals(states, self.steps.len() - self.wanted().count())
    }

    /// The steps that are meant.
    pub fn wanted(&self) -> impl Iterator<Item = &StepReport> {
        self.steps.iter().filter(|step| step.asked_for)
    }

    /// Whether every image is what git says.
    #[must_use]
    pub fn is_in_sync(&self) -> bool {
        self.wanted().all(|step| matches!(step.state.as_ref(), "in-sync" | "suspended"))
    }
}
