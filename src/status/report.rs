//! The status of one workflow as a value: made from a plan, the attempts and the lease. Pure; time is an argument.
//!
//! As JSON its schema is `reconciler.status/1`, described in `docs/output.md`. Fields are added, never changed.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::ids::{AmiId, AmiName, BuildId, Revision, StepId, WorkflowId};
use crate::inventory::Lease;
use crate::inventory::journal::{Attempt, Progress as Stage};
use crate::plan::Plan;
use crate::plan::decision::Decision;
use crate::plan::planner::PlannedStep;
use crate::plan::progress::{Progress, seconds};
use crate::plan::tree::branches;
use crate::plan::words::{LineCounts, sentence, state};

/// The version of the JSON form.
pub const SCHEMA: &str = "reconciler.status/1";

/// The status of one workflow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
    /// Who acts on the workflow; none if nobody does.
    pub held_by: Option<String>,
    /// More of that; none if nobody does.
    pub lease: Option<LeaseReport>,
    /// Whether EC2 was asked.
    pub looked_at_ec2: bool,
    /// Every step, in the order of the tree.
    pub steps: Vec<StepReport>,
}

/// Who acts on a workflow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
}

fn lease_report(lease: &Lease, now: Timestamp) -> Option<LeaseReport> {
    let ago = now.duration_since(lease.renewed_at).as_secs();
    Some(LeaseReport {
        holder: lease.holder.clone()?,
        token: lease.token,
        duration_seconds: lease.duration_seconds,
        renewed_at: lease.renewed_at,
        renewed_seconds_ago: ago,
        overdue: ago > i64::try_from(lease.duration_seconds).unwrap_or(i64::MAX),
    })
}

/// The status of one step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StepReport {
    /// The step.
    pub step_id: StepId,
    /// Whose image it starts from.
    pub parent: Option<StepId>,
    /// How deep it stands in the tree.
    #[serde(skip)]
    pub indent: String,
    /// Exactly one of the states of `docs/output.md`.
    pub state: &'static str,
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
}

/// A build that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BuildReport {
    /// Its id.
    pub build_id: BuildId,
    /// How far it is.
    pub stage: &'static str,
    /// Since when, in seconds.
    pub elapsed_seconds: i64,
    /// How long the last one took.
    pub last_seconds: Option<u64>,
    /// The host that runs it.
    pub host: String,
}

/// Makes a report.
#[must_use]
pub fn report(plan: &Plan, attempts: &HashMap<StepId, Attempt>, lease: Option<&Lease>) -> Report {
    let rows = branches(&plan.steps);
    let mut steps: Vec<StepReport> = rows
        .into_iter()
        .map(|row| step_report(plan, row.step, row.indent, attempts))
        .collect();
    steps.extend(plan.orphans.iter().map(|orphan| StepReport {
        step_id: orphan.step_id.clone(),
        parent: None,
        indent: String::new(),
        state: "orphaned",
        reason: "recorded, but not in git".to_owned(),
        ami_id: Some(orphan.ami_id.clone()),
        ami_name: Some(orphan.ami_name.clone()),
        created_at: None,
        revision: None,
        build: None,
        next_try: None,
    }));
    Report {
        workflow_id: plan.workflow_id.clone(),
        repository: plan.repository.clone(),
        folder: plan.folder.clone(),
        reference: plan.reference.clone(),
        revision: plan.revision.clone(),
        at: plan.at,
        held_by: lease.and_then(|lease| lease.holder.clone()),
        lease: lease.and_then(|lease| lease_report(lease, plan.at)),
        looked_at_ec2: plan.looked_at_ec2,
        steps,
    }
}

fn step_report(
    plan: &Plan,
    step: &PlannedStep,
    indent: String,
    attempts: &HashMap<StepId, Attempt>,
) -> StepReport {
    let record = step.record.as_ref();
    let build = match &step.decision {
        Decision::Building(_) => attempts
            .get(&step.id)
            .map(|attempt| build_report(plan, step, attempt)),
        _ => None,
    };
    let mut reason = sentence(step, &LineCounts::new(), plan.at);
    if let Some(BuildReport { stage, .. }) = &build {
        reason = format!("{reason} ({stage})");
    }
    StepReport {
        step_id: step.id.clone(),
        parent: step.parent.clone(),
        indent,
        state: state(&step.decision),
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
    }
}

fn build_report(plan: &Plan, step: &PlannedStep, attempt: &Attempt) -> BuildReport {
    let stage = match &attempt.progress {
        Stage::Intended => "starting",
        Stage::Started { .. } => "packer runs",
        Stage::ImageSeen => "waiting for the image",
        Stage::Available => "tagging",
        Stage::Tagged => "recording",
        Stage::Recorded { .. } | Stage::Failed(_) => "over",
    };
    let built = step
        .record
        .as_ref()
        .and_then(|record| record.built.as_ref());
    BuildReport {
        build_id: attempt.build_id.clone(),
        stage,
        elapsed_seconds: plan.at.duration_since(attempt.started_at).as_secs(),
        last_seconds: built
            .map(|built| built.build_seconds)
            .filter(|seconds| *seconds > 0),
        host: attempt.intent.host.clone(),
    }
}

impl BuildReport {
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
    /// How many steps are in each state, in the order in which the states come.
    #[must_use]
    pub fn counts(&self) -> Vec<(&'static str, usize)> {
        let mut counts: Vec<(&'static str, usize)> = Vec::new();
        for step in &self.steps {
            match counts.iter_mut().find(|(state, _)| *state == step.state) {
                Some((_, n)) => *n += 1,
                None => counts.push((step.state, 1)),
            }
        }
        counts
    }

    /// Whether every image is what git says.
    #[must_use]
    pub fn is_in_sync(&self) -> bool {
        self.steps
            .iter()
            .all(|step| matches!(step.state, "in-sync" | "suspended"))
    }
}
